"""Everything that a Stable-Baselines3 algorithm needs to go on as if it had never stopped."""

import random
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from prune_env.agents.checkpoint import Tensors
from prune_env.errors import StateError

COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls", "exploration_rate")
"""Plain attributes; `_n_calls` and `exploration_rate` are DQN's."""


def write_state(model: BaseAlgorithm) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return the state at the beginning of a rollout, without the weights of the network.

    Returns:
        Plain JSON values, and arrays by name: slow network, optimiser, replay buffer, the random
        states of Python, numpy and torch, counters, and the episodes being played.
    """
    envs: Any = model.get_env()
    kind, keys, *rest = np.random.get_state(legacy=True)
    scalars, tensors = _optimiser_state(model.policy.optimizer)
    spec: dict[str, Any] = {
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "recent": [{"r": info["r"], "l": info["l"]} for info in model.ep_info_buffer or ()],
        "successes": [bool(success) for success in model.ep_success_buffer or ()],
        "optimiser": scalars,
        "random": {"python": random.getstate(), "numpy": [kind, *rest]},
        "actions": model.action_space.np_random.bit_generator.state,
        "envs": envs.save(),
    }
    tensors |= {"random.numpy": np.array(keys), "random.torch": torch.get_rng_state().numpy()}
    if hasattr(model, "q_net_target"):
        target = model.q_net_target.features_extractor.network.state_dict()
        tensors |= {f"target.{name}": value.numpy() for name, value in target.items()}
    if isinstance(model, OffPolicyAlgorithm):
        spec["buffer"], more = _buffer_state(cast(DictReplayBuffer, model.replay_buffer))
        tensors |= more
    return spec, tensors


def read_state(model: BaseAlgorithm, spec: Mapping[str, Any], tensors: Tensors) -> None:
    """Take over what `write_state` returned; the network's weights are there already.

    Raises:
        StateError: The state was saved with other hyperparameters or another environment.
    """
    envs: Any = model.get_env()
    envs.restore(spec["envs"])
    model._last_obs = envs.observe()
    model._last_episode_starts = envs.episode_starts()
    for name in COUNTERS:  # and no other attribute, whatever the file names
        if name in spec["counters"]:
            setattr(model, name, spec["counters"][name])
    window = model._stats_window_size
    model.ep_info_buffer = deque(spec["recent"], maxlen=window)
    model.ep_success_buffer = deque(spec["successes"], maxlen=window)
    if hasattr(model, "q_net_target"):
        model.q_net_target.features_extractor.network.load_state_dict(_under(tensors, "target."))
    if "buffer" in spec:
        buffer = cast(OffPolicyAlgorithm, model).replay_buffer
        _restore_buffer(cast(DictReplayBuffer, buffer), spec["buffer"], tensors)
    _restore_optimiser(model.policy.optimizer, spec["optimiser"], tensors)
    # Last, since building and restoring may have drawn random numbers.
    version, internal, gauss = spec["random"]["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, *rest = spec["random"]["numpy"]
    np.random.set_state((kind, tensors["random.numpy"], *rest))
    torch.set_rng_state(torch.tensor(tensors["random.torch"]))
    model.action_space.np_random.bit_generator.state = spec["actions"]


def _optimiser_state(
    optimiser: torch.optim.Optimizer,
) -> tuple[dict[str, dict[str, float]], dict[str, npt.NDArray[Any]]]:
    scalars: dict[str, dict[str, float]] = {}
    tensors = {}
    for index, entries in optimiser.state_dict()["state"].items():
        scalars[str(index)] = {}
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser.{index}.{name}"] = value.numpy().copy()
            else:
                scalars[str(index)][name] = value
    return scalars, tensors


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, scalars: Mapping[str, Any], tensors: Tensors
) -> None:
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in scalars.items()}
    for path, value in _under(tensors, "optimiser.").items():
        index, name = path.split(".", 1)
        state[int(index)][name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _buffer_state(buffer: DictReplayBuffer) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    filled = buffer.buffer_size if buffer.full else buffer.pos
    tensors = {f"buffer.{name}": array[:filled].copy() for name, array in _arrays(buffer).items()}
    return {"pos": buffer.pos, "full": buffer.full, "size": buffer.buffer_size}, tensors


def _restore_buffer(buffer: DictReplayBuffer, spec: Mapping[str, Any], tensors: Tensors) -> None:
    if spec["size"] != buffer.buffer_size:
        raise StateError(
            "The checkpoint holds a replay buffer of another size",
            expected=buffer.buffer_size,
            actual=spec["size"],
            remedy="resume with the buffer_size and num_envs that it was saved with",
        )
    arrays = _arrays(buffer)
    missing = [name for name in arrays if f"buffer.{name}" not in tensors]
    if missing:
        raise StateError(
            "The replay buffer of the checkpoint lacks what is shown now",
            expected=", ".join(arrays),
            actual=f"no {', '.join(missing)}",
            remedy="resume with the version and the environment that it was saved with",
        )
    buffer.pos, buffer.full = spec["pos"], spec["full"]
    for name, array in arrays.items():
        held = tensors[f"buffer.{name}"]
        array[: len(held)] = held


def _arrays(buffer: DictReplayBuffer) -> dict[str, npt.NDArray[Any]]:
    return {
        **{f"observations.{key}": array for key, array in buffer.observations.items()},
        **{f"next_observations.{key}": array for key, array in buffer.next_observations.items()},
        "actions": buffer.actions,
        "rewards": buffer.rewards,
        "dones": buffer.dones,
        "timeouts": buffer.timeouts,
    }


def _under(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): torch.tensor(value)
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
