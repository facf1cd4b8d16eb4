"""Episodes to the digit: what the environments answer to fixed actions."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

import prune_env
from prune_env.agents.sb3.vec_env import PruneVecEnv


@dataclass(frozen=True)
class Case:
    """Arguments of an environment, and how it is played.

    Attributes:
        kwargs: Arguments of `gym.make`.
        env_id: Id of the environment.
        seed: Of the reset and of the actions.
        steps: Actions at most.
        illegal: Share of actions that are drawn from all, and some out of range.
        options: Of the reset.
    """

    kwargs: dict[str, Any] = field(default_factory=dict)
    env_id: str = "prune_env/Landscape-v0"
    seed: int = 0
    steps: int = 14
    illegal: float = 0.1
    options: dict[str, Any] | None = None


def _landscape(layers: int, heads: int, seed: int = 0) -> dict[str, Any]:
    return {"model": f"landscape:layers={layers},heads={heads},seed={seed}"}


_SMALL, _MIDDLE = _landscape(2, 4), _landscape(4, 6, 3)
_POOL = ["landscape:layers=2,heads=4", "landscape:layers=3,heads=3,seed=5"]
LANDSCAPES = {
    "default": Case(),
    "small": Case(_SMALL),
    "small, other seed": Case(_landscape(2, 4, 11), seed=11),
    "one layer": Case(_landscape(1, 5, 2), seed=2),
    "middle": Case(_MIDDLE, seed=3, steps=24),
    "few sentences": Case({"model": "landscape:layers=3,heads=4,sentences=37"}, seed=4),
    "accuracy": Case({**_MIDDLE, "reward": "accuracy", "tau": 0.7}),
    "sum": Case({**_MIDDLE, "reward": "sparsity + 0.5 * accuracy", "tau": 0.75}, seed=1),
    "negative sum": Case({**_SMALL, "reward": "0.3 * accuracy + -2.0 * sparsity", "tau": 0.5}),
    "tau 0.6": Case({**_MIDDLE, "tau": 0.6}, seed=5, steps=24),
    "tau that nothing keeps": Case({**_SMALL, "tau": 1.0}),
    "max_drop": Case({**_MIDDLE, "tau": None, "max_drop": 0.05}, seed=6),
    "prune_step 10": Case({**_MIDDLE, "prune_step": 10}, seed=7, steps=30),
    "prune_step 10, no backtrack": Case(
        {**_MIDDLE, "prune_step": 10, "backtrack": False}, seed=7, steps=30
    ),
    "prune_step 3": Case({**_MIDDLE, "prune_step": 3, "tau": 0.8}, seed=8, steps=24),
    "prune_step 3, no backtrack": Case(
        {**_MIDDLE, "prune_step": 3, "backtrack": False, "tau": 0.8}, seed=8, steps=24
    ),
    "no backtrack": Case({**_MIDDLE, "backtrack": False}, seed=9),
    "budget": Case({**_MIDDLE, "max_evaluations": 5, "tau": 0.5}, seed=10),
    "budget within a group": Case(
        {**_MIDDLE, "max_evaluations": 3, "prune_step": 4, "tau": 0.8}, seed=10, steps=24
    ),
    "min_heads_per_layer 0": Case({**_SMALL, "min_heads_per_layer": 0, "tau": 0.0}, illegal=0),
    "min_heads_per_layer 3": Case({**_SMALL, "min_heads_per_layer": 3, "tau": 0.0}),
    "illegal": Case({**_SMALL, "tau": 0.5}, illegal=0.7, steps=20, seed=12),
    "time limit": Case({**_MIDDLE, "tau": 0.0, "max_episode_steps": 6}, seed=13, illegal=0),
    "observation": Case({**_SMALL, "observation": "mask,importance,status,legal"}),
    "observation of one part": Case({**_SMALL, "observation": "status"}),
    "metrics": Case({**_SMALL, "metrics": "magnitude,gate_gradient"}),
    "pool": Case({"pool": _POOL, "model": None, "tau": 0.7}, seed=14),
    "pool, another seed": Case({"pool": _POOL, "model": None, "tau": 0.7}, seed=16),
    "pool, by name": Case(
        {"pool": _POOL, "model": None, "tau": 0.7}, seed=14, options={"model": _POOL[1]}
    ),
    "HeadPruning-v0": Case(_SMALL, env_id="prune_env/HeadPruning-v0", seed=15),
}
VECTORS = {
    "NextStep": {**_SMALL, "num_envs": 3, "autoreset_mode": "NextStep"},
    "SameStep": {**_SMALL, "num_envs": 3, "autoreset_mode": "SameStep"},
    "Disabled": {**_SMALL, "num_envs": 2, "autoreset_mode": "Disabled", "tau": 0.6},
    "groups": {**_MIDDLE, "num_envs": 4, "prune_step": 3, "reward": "sparsity + 0.5 * accuracy"},
    "pool": {"pool": _POOL, "model": None, "num_envs": 4, "tau": 0.6},
}
Actions = Sequence[Any]


def digest(observation: Any) -> str:
    """Return 16 digits that name an observation: keys, types, shapes and every bit of it."""
    parts = hashlib.sha256()
    for name in sorted(observation):
        array = np.ascontiguousarray(observation[name])
        parts.update(f"{name} {array.dtype} {array.shape} ".encode())
        parts.update(array.tobytes())
    return parts.hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return a value as JSON holds it; arrays of 0 and 1 as text, a layer a word."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return [plain(each) for each in value]
        if value.dtype in (np.bool_, np.int8) and value.ndim:
            layers = value.astype(int).reshape(-1, value.shape[-1])
            return " ".join("".join(map(str, layer)) for layer in layers)
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def kinds(info: dict[str, Any]) -> dict[str, str]:
    """Return the type of each entry of an info."""
    return {
        key: f"{value.dtype} {value.shape}"
        if isinstance(value, np.ndarray)
        else type(value).__name__
        for key, value in info.items()
    }


def choose(case: Case) -> Callable[[dict[str, Any]], Any]:
    """Return what draws actions: mostly legal ones, STOP seldom, and a few that are refused."""
    random = np.random.default_rng(case.seed)

    def draw(info: dict[str, Any]) -> Any:
        legal = np.flatnonzero(info["action_mask"])
        count = len(info["action_mask"])
        if random.random() < case.illegal:
            return [int(random.integers(count - 1)), -1, count, 1.5][int(random.integers(4))]
        if len(legal) > 1 and random.random() < 0.97:
            legal = legal[:-1]
        return int(random.choice(legal))

    return draw


def episode(case: Case, actions: Actions | None = None) -> dict[str, Any]:
    """Play an episode.

    Args:
        case: What is played.
        actions: Which actions; None draws them.

    Returns:
        The types in the info, and a row a step: action, digest of the observation, reward,
        terminated, truncated, and the values of the info in the order of the types.
    """
    env = gym.make(case.env_id, disable_env_checker=True, **case.kwargs)
    observation, info = env.reset(seed=case.seed, options=case.options)
    draw = choose(case)
    types = kinds(info)
    rows = [[None, digest(observation), None, None, None, *_values(info, types)]]
    for at in range(len(actions) if actions is not None else case.steps):
        action = draw(info) if actions is None else actions[at]
        observation, reward, terminated, truncated, info = env.step(action)
        assert kinds(info) == types
        assert type(reward) is float
        ends = [terminated, truncated]
        rows.append([action, digest(observation), reward, *ends, *_values(info, types)])
        if actions is None and (terminated or truncated):
            break
    return {"info": types, "steps": rows}


def _values(info: dict[str, Any], types: Iterable[str]) -> list[Any]:
    return [plain(info[key]) for key in types]


def vector(kwargs: dict[str, Any], steps: int = 9) -> dict[str, Any]:
    """Play several episodes together, and return a row a step."""
    envs = gym.make_vec("prune_env/Landscape-v0", **kwargs)
    random = np.random.default_rng(0)
    observations, infos = envs.reset(seed=7)
    rows = [[digest(observations), _all(infos)]]
    for _ in range(steps):
        legal = envs.unwrapped.action_masks()
        actions = (legal * random.random(legal.shape)).argmax(axis=1)
        observations, rewards, terminations, truncations, infos = envs.step(actions)
        ends = plain(rewards), plain(terminations), plain(truncations)
        rows.append([digest(observations), actions.tolist(), *ends, _all(infos)])
        ended = terminations | truncations
        if kwargs.get("autoreset_mode") == "Disabled" and ended.any():
            observations, infos = envs.reset(options={"reset_mask": ended})
            rows.append([digest(observations), _all(infos)])
    return {"steps": rows}


def _all(infos: dict[str, Any]) -> Any:
    """Return the infos of all episodes, without the masks `_name` that are True everywhere."""
    out = {}
    for key, value in sorted(infos.items()):
        if key == "final_obs":
            one = isinstance(value, dict)
            out[key] = digest(value) if one else [each and digest(each) for each in value]
        elif isinstance(value, dict):
            out[key] = _all(value)
        elif not (key.startswith("_") and np.all(value)):
            out[key] = value
    return plain(out)


def stable_baselines3() -> dict[str, Any]:
    """Play three episodes through the adapter for Stable-Baselines3."""
    env = gym.make("prune_env/Landscape-v0", observation="mask,importance,status,legal", **_SMALL)
    envs = PruneVecEnv.beside(env, num_envs=3)
    envs.seed(5)
    rows = [[digest(envs.reset()), plain(envs.reset_infos)]]
    random = np.random.default_rng(1)
    for _ in range(12):
        legal = np.stack(envs.env_method("action_masks"))
        actions = (legal * random.random(legal.shape)).argmax(axis=1)
        observations, rewards, dones, infos = envs.step(actions)
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = digest(info["terminal_observation"])
            if "episode" in info:
                info["episode"] = {k: v for k, v in info["episode"].items() if k != "t"}
        row = [digest(observations), actions.tolist(), plain(rewards), plain(dones)]
        rows.append([*row, [plain(info) for info in infos]])
    return {"steps": rows}


def from_objects() -> dict[str, Any]:
    """Play an environment that is built from objects, paid by the oracle."""
    evaluator = prune_env.LandscapeEvaluator(layers=3, heads=4, seed=2)
    triggered = prune_env.LandscapeEvaluator(layers=3, heads=4, seed=8)
    env = prune_env.HeadPruningEnv(
        evaluator=evaluator,
        importance=evaluator.importance(),
        reward=prune_env.Oracle(triggered),
        tau=0.7,
    )
    _, info = env.reset(seed=0)
    draw, rows = choose(Case(illegal=0)), []
    for _ in range(8):
        action = draw(info)
        observation, reward, terminated, truncated, info = env.step(action)
        rows.append([action, digest(observation), reward, terminated, truncated, plain(info)])
        if terminated or truncated:
            break
    return {"importance": plain(evaluator.importance()), "steps": rows}


def on_text(reward: str) -> Any:
    """Play fixed actions on the classifier of the folder that one is in, paid by a reward.

    Returns:
        The first observation, a row a step, and the episode as `write_states` writes it.
    """
    env = gym.make(
        "prune_env/HeadPruning-v0",
        model="suspect",
        data="clean.jsonl",
        reward=reward,
        tau=0.5,
        observation="mask,importance,status,legal",
        disable_env_checker=True,
    )
    observation, info = env.reset(seed=0)
    shown = plain(observation)
    parts = ("mask", "accuracy", "evaluations", "illegal", "ended", "reward_terms")
    rows = [[None, plain(observation["status"]), 0.0, False, *_values(info, parts)]]
    for action in (5, 2, 2, 7, 8):
        observation, paid, terminated, _, info = env.step(action)
        status = plain(observation["status"])
        rows.append([action, status, paid, terminated, *_values(info, parts)])
        if terminated:
            break
    state = env.unwrapped.state.to_dict()
    return {"first_observation": shown, "steps": rows, "state": state}
