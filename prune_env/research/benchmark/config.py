"""A grid as a person writes it, in TOML, and the cells that it stands for."""

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

from prune_env.env.policy import POLICIES
from prune_env.env.rewards.reward import make_reward
from prune_env.errors import PruneEnvError, SettingsError, StateError, UnknownNameError
from prune_env.research.attacks.attack import AttackSettings, find_target
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.attacks.catalog import ATTACKS, check_own_names
from prune_env.research.attacks.own_files import AttackFiles
from prune_env.research.benchmark.cell import ORACLES, REFERENCES, Cell, Target
from prune_env.settings import FineTuneSettings, Healing, Protocol, SearchSettings
from prune_env.utils.cluster import ONE_CORE, Resources
from prune_env.utils.limits import CELLS, CONFIG_BYTES
from prune_env.utils.plain import from_plain, later
from prune_env.utils.reading import read_bounded

CONFIGS = Path(__file__).parent / "configs"
"""Grids that come with the package; the command line takes them by name."""


@dataclass(frozen=True)
class Models:
    """The models of every cell.

    Attributes:
        model: Clean encoder that is attacked; a folder or a name.
        train_sentences: Clean training sentences; 0 takes all.
        attacker: Training of the backdoored model.
        defender: Fine-tuning on clean data.
    """

    model: str = "minilm"
    train_sentences: int = 0
    attacker: FineTuneSettings = field(default_factory=lambda: FineTuneSettings(epochs=5))
    defender: FineTuneSettings = field(default_factory=FineTuneSettings)

    def __post_init__(self) -> None:
        """Check that all models read equally much of a text: else floor and LFR do not compare.

        Raises:
            SettingsError: They do not.
        """
        lengths = self.attacker.max_length, self.defender.max_length
        if lengths[0] != lengths[1]:
            raise SettingsError(
                "Attacker and defender read texts to another length",
                expected="one max_length for both",
                actual=f"attacker {lengths[0]}, defender {lengths[1]}",
            )


@dataclass(frozen=True)
class Block:
    """One rectangle of the grid: every combination of its lists.

    Attributes:
        attacks: Names of attacks.
        seeds: Each makes its own models.
        policies: Names of policies and oracles.
        protocols: What is done with each mask.
        healing: What is trained once the mask is on, under `direct`.
        targets: Models that are defended.
        taus: Thresholds; empty takes that of `search`.
        variants: Of the policies.
        rewards: What a policy that reads the reward is paid; empty takes that of `search`.
        rate: Share of the non-target rows that is poisoned; default: as published.
    """

    attacks: tuple[str, ...]
    seeds: tuple[int, ...]
    policies: tuple[str, ...]
    protocols: tuple[Protocol, ...] = ("direct", "refinetune")
    healing: tuple[Healing, ...] = ("none",)
    targets: tuple[Target, ...] = ("backdoored",)
    taus: tuple[float, ...] = ()
    variants: tuple[str, ...] = ("paper",)
    rewards: tuple[str, ...] = ()
    rate: float | None = None

    def __post_init__(self) -> None:
        """Check that cells come of it.

        Raises:
            SettingsError: A list is empty that they are made of, or nothing goes together.
        """
        names = ("attacks", "seeds", "policies", "protocols", "healing", "targets", "variants")
        for name in names:
            if not getattr(self, name):
                raise SettingsError(
                    f"{name} of a block of the grid is empty",
                    expected="at least one",
                    remedy="fill the list, or leave the block out",
                )
        if "direct" not in self.protocols and "none" not in self.healing:
            raise SettingsError(
                "Healing belongs to the protocol direct",
                expected='"direct" in protocols, or "none" in healing',
                actual=f"protocols {', '.join(self.protocols)}; healing {', '.join(self.healing)}",
            )


@dataclass(frozen=True)
class BenchmarkConfig:
    """A whole benchmark.

    Attributes:
        grid: Blocks, the most important first.
        data: A data set with all its parts: a name, or a folder.
        title: First line of the report.
        models: The models.
        search: The search; every policy has the same budget.
        attacks: Attacks from files of the user's own, which blocks may name; paths as `data`.
        resources: Of each task on a cluster.
    """

    grid: tuple[Block, ...]
    data: str
    title: str = "Benchmark"
    models: Models = field(default_factory=Models)
    search: SearchSettings = field(default_factory=SearchSettings)
    attacks: tuple[AttackFiles, ...] = later(())
    resources: Resources = later(ONE_CORE)  # noqa: RUF009 - immutable

    def __post_init__(self) -> None:
        """Check that there is a block, and that no two attacks have one name.

        Raises:
            SettingsError: There is none, or two have.
        """
        check_own_names([each.name for each in self.attacks])
        if not self.grid:
            raise SettingsError(
                "The grid is empty", expected="at least one block", remedy="write a [[grid]]"
            )

    def for_labels(self, names: Sequence[str]) -> "BenchmarkConfig":
        """Return the grid with the targets of its attacks as numbers.

        Args:
            names: Of the classes of the data, in label order.

        Raises:
            SettingsError: A target is no class.
        """
        attacks = [replace(each, target=find_target(each.target, names)) for each in self.attacks]
        return replace(self, attacks=tuple(attacks))

    def cells(self) -> list[Cell]:
        """Return the cells in the order in which they are run, each once.

        The references of an attack and a seed (benign, backdoored, FT) come before its first cell.

        Raises:
            UnknownNameError: A policy, a reward or an attack is not known.
            SettingsError: A target is still a name, a policy is a folder or has no such variant, a
                reward cannot be read or paid by name, a value is out of range, or there are too
                many cells.
        """
        for reward in (self.search.reward, *(name for each in self.grid for name in each.rewards)):
            make_reward(reward)
        CELLS.check(sum(map(_size, self.grid)), "The grid has too many cells", SettingsError)
        own = [each.name for each in self.attacks]
        cells: dict[Cell, None] = {}
        for block in self.grid:
            for name in block.attacks:
                if name not in ATTACKS and name not in own:
                    besides = f"an [[attacks]] of the grid ({', '.join(own)})" if own else ""
                    raise UnknownNameError(ATTACKS.kind, name, ATTACKS.names(), besides=besides)
            for name in block.policies:
                if name not in ORACLES and name not in POLICIES:
                    _refuse_folder(name)
                    besides = f"a ceiling that reads the trigger ({', '.join(ORACLES)})"
                    raise UnknownNameError("policy", name, POLICIES.names(), besides=besides)
            for cell in self._cells_of(block):
                cells.setdefault(cell.normal())
        return list(cells)

    def _cells_of(self, block: Block) -> list[Cell]:
        out = []
        targets = {each.name: each.number for each in self.attacks}
        for seed in block.seeds:
            for attack in block.attacks:
                models = ModelSettings(
                    model=self.models.model,
                    attack=AttackSettings(attack, block.rate, targets.get(attack, 1), seed),
                    train_sentences=self.models.train_sentences,
                    attacker=self.models.attacker,
                    defender=self.models.defender,
                    seed=seed,
                )
                out += [Cell(models, policy) for policy in (*REFERENCES, "ft")]
                out += [
                    Cell(models, policy, protocol, healing, target, search)
                    for policy in block.policies
                    for target in block.targets
                    for search in self._searches(block)
                    for protocol in block.protocols
                    for healing in block.healing
                    if protocol == "direct" or healing == "none"
                ]
        return out

    def _searches(self, block: Block) -> list[SearchSettings]:
        return [
            replace(self.search, variant=variant, tau=tau, reward=reward)
            for variant in block.variants
            for reward in block.rewards or (self.search.reward,)
            for tau in block.taus or (self.search.tau,)
        ]


def _refuse_folder(policy: str) -> None:
    """Refuse a trained agent's folder as a policy of a grid, and say how else it is measured.

    Whoever goes on with a run, works on its cells elsewhere or reports it asks what the policy
    requires, and a folder may have gone by then, or its agent have learned more.

    Raises:
        SettingsError: It is a path.
    """
    if Path(policy).name != policy or os.path.isdir(policy):
        raise SettingsError(
            f"The policy {policy} of a block of the grid is a folder",
            expected="the name of a policy, see `prune-env list --kind policies`",
            actual="a path",
            remedy="measure one agent by `prune-env purify MODEL --policy FOLDER` and then "
            "`prune-env evaluate`, or give it a name by the entry point prune_env.policies "
            "(docs/extend.md)",
        )


def _size(block: Block) -> int:
    """Return how many cells a block stands for, at most."""
    lists = (block.policies, block.targets, block.variants, block.protocols, block.healing)
    searches = max(1, len(block.rewards)) * max(1, len(block.taus))
    references = len(REFERENCES) + 1
    return len(block.seeds) * len(block.attacks) * (references + searches * prod(map(len, lists)))


def read_config(path: str | Path) -> BenchmarkConfig:
    """Read a TOML file.

    Raises:
        SettingsError: It is no TOML, or a key is unknown, missing, or of another type.
        StateError: There is no such file.
    """
    try:
        raw = read_bounded(Path(path), CONFIG_BYTES, SettingsError)
        return from_plain(BenchmarkConfig, tomllib.loads(raw.decode("utf-8-sig")), str(path))
    except FileNotFoundError:
        raise StateError(
            f"No file {path}",
            expected=f"a TOML file, or one of {', '.join(config_names())}",
            remedy="check the path",
        ) from None
    except PruneEnvError:
        raise
    except (ValueError, RecursionError) as error:  # also of numbers and nesting beyond all bounds
        raise SettingsError(
            f"{path} is not valid TOML", actual=error, remedy="correct the file"
        ) from None


def find_config(name_or_path: str) -> Path:
    """Return the file of a grid that comes with the package, or the path as it is."""
    return (
        CONFIGS / f"{name_or_path}.toml" if name_or_path in config_names() else Path(name_or_path)
    )


def config_names() -> list[str]:
    """Return the names of the grids that come with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))
