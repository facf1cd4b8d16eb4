"""A record as a Minari data set, for agents that learn offline, from files alone."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from prune_env.errors import OutputExistsError, SettingsError
from prune_env.models.units import Units
from prune_env.research.recording.table import MaskTable
from prune_env.utils.files import new_folder

if TYPE_CHECKING:
    from minari.data_collector import EpisodeBuffer

EPISODE_BYTES = 65_536
"""What HDF5 takes for an episode beside its values: 30,000 bytes were measured."""

Game = gym.Env[dict[str, Any], Any]


def check_minari(name: str) -> Path:
    """Return the folder of a Minari data set that is still to be written.

    Args:
        name: Such as `prune/mine-v0`.

    Raises:
        SettingsError: The packages are missing, or Minari takes no such name.
        OutputExistsError: There is a data set of this name.
    """
    try:
        import h5py  # noqa: F401, PLC0415 - what Minari writes with
        import minari  # noqa: F401, PLC0415 - an extra
        from minari.dataset.minari_dataset import parse_dataset_id  # noqa: PLC0415
        from minari.storage import get_dataset_path  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            "A Minari data set needs two packages more",
            expected="minari and h5py",
            actual=error,
            remedy="pip install 'prune-env[minari]'",
        ) from None
    try:
        parse_dataset_id(name)
    except (TypeError, ValueError):  # TypeError: a name without a version
        raise SettingsError(
            "This is no name of a Minari data set",
            expected="letters, digits, - and _, and a version, such as prune/mine-v0",
            actual=name,
        ) from None
    place: Path = get_dataset_path(name)
    if place.exists():
        raise OutputExistsError(
            f"There is a Minari data set {name}",
            expected="a new name",
            actual=place,
            remedy=f"count its version up, or `minari delete {name}`",
        )
    return place


def write_minari(
    table: MaskTable, surrogate: str | Path, name: str, *, episodes: int = 1_000, seed: int = 0
) -> int:
    """Write a Minari data set; every episode is a way to a mask of a record.

    An episode begins with all heads and other units, prunes those that the mask prunes, in random
    order but for the steps of a map, and stops. It is played on the surrogate, by the rules of
    `prune_env/Recorded-v0` with `tau=None`:
    a mask that costs too much accuracy ends it earlier. `infos` hold `action_mask` and `accuracy`
    before the first action and after each.

    Args:
        table: The record.
        surrogate: What was fitted to it, the `.npz`; the data set's environment holds this path.
        name: Of the data set, see `check_minari`.
        episodes: As many masks are drawn, all of them where there are fewer.
        seed: Of the masks and of the order.

    Returns:
        The number of episodes.

    Raises:
        SettingsError: See `check_minari`; or there is no mask to go to.
        OutputExistsError: There is a data set of this name.
        OSError: There is no room for it.
    """
    place = check_minari(name)
    from minari import __version__  # noqa: PLC0415 - an extra, as above
    from minari.dataset.minari_storage import MinariStorage  # noqa: PLC0415

    if episodes < 1 or len(table.masks) < 2:
        raise SettingsError("A Minari data set holds an episode at least", actual=episodes)
    reward, *_ = table.identity["rewards"]
    metrics = ",".join(table.identity["metrics"])
    env: Game = gym.make(
        "prune_env/Recorded-v0", model=str(surrogate), tau=None, reward=reward, metrics=metrics
    )
    random = np.random.default_rng(seed)
    rows = 1 + random.permutation(len(table.masks) - 1)[:episodes]
    with new_folder(place) as folder:
        steps = int((table.available & ~table.masks[rows]).sum()) + 2 * len(rows)
        step = 4 * gym.spaces.flatdim(env.observation_space) + 2 * table.available.size
        _require_room(folder, 2 * steps * step + len(rows) * EPISODE_BYTES)
        storage = MinariStorage.new(folder / "data", env_spec=env.spec)
        facts = {
            "dataset_id": name,
            "minari_version": __version__,
            "algorithm_name": "ways to recorded masks",
            "description": f"Ways to masks under which {Path(surrogate).stem} was recorded, heads "
            "or units in random order, answered by its surrogate (prune-env record)",
        }
        storage.update_metadata(facts)
        storage.update_episodes(_ways(env, table, rows, random))
        written: int = storage.total_episodes
    return written


def _require_room(folder: Path, size: int) -> None:
    """Raise an `OSError` unless so many bytes fit; HDF5 ends the process if a write fails."""
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _ways(
    env: Game, table: MaskTable, rows: Iterable[int], random: np.random.Generator
) -> Iterator["EpisodeBuffer"]:
    stop = table.available.size
    for row in rows:
        pruned = np.flatnonzero(table.available & ~table.masks[row])
        way = _legal(random.permutation(pruned), table.units)
        yield _play(env, [*way.tolist(), stop])


def _legal(way: npt.NDArray[np.int64], units: Units) -> npt.NDArray[np.int64]:
    """Return an order of units (N,) with the steps of each map in their order."""
    maps: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, action in enumerate(way.tolist()):
        unit = units.unit(*divmod(action, units.shape[1]))
        if unit.kind == "map":
            maps[unit.layer, unit.index].append(place)
    for own in maps.values():
        way[own] = np.sort(way[own])
    return way


def _play(env: Game, actions: list[int]) -> "EpisodeBuffer":
    """Return the episode of these actions, as far as it goes."""
    from minari.data_collector import EpisodeBuffer  # noqa: PLC0415 - an extra

    observation, info = env.reset()
    observations, infos = [observation], [info]
    steps = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        infos.append(info)
        steps.append((action, reward, terminated, truncated))
        if terminated or truncated:
            break
    taken, rewards, terminations, truncations = map(list, zip(*steps, strict=True))
    return EpisodeBuffer(
        observations=_stacked(observations, tuple(observation)),
        actions=taken,
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        infos=_stacked(infos, ("action_mask", "accuracy")),
    )


def _stacked(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: np.stack([row[name] for row in rows]) for name in names}
