"""The environment as Stable-Baselines3 wants it: one model, N masks scored together."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from prune_env.agents.record import sum_terms
from prune_env.env.batch_core import PENALTY, BatchCore
from prune_env.env.episode_view import EpisodeView
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.observation import LegalPart
from prune_env.env.policy import Observation
from prune_env.env.render import draw
from prune_env.errors import SettingsError

UNHEARD = {
    *("OrderEnforcing", "PassiveEnvChecker", "TimeLimit"),
    *("ActionMasker", "Monitor", "RecordEpisodeStatistics"),
}
"""Wrappers that change nothing, or what copies of an environment have too."""


class PruneVecEnv(VecEnv):
    """A Stable-Baselines3 `VecEnv` over the core that all environments share.

    Each episode is what `HeadPruningEnv` would play for the same seed and actions. An ended
    episode begins anew in the same step; its last observation is in
    `info["terminal_observation"]`, whether it was cut off in `info["TimeLimit.truncated"]`, and
    its return and length in `info["episode"]`, as `Monitor` gives them, with the sum of each
    reward term.

    Args:
        core: The episodes; take that of `gym.make_vec`, or use `beside`.
        render_mode: None or `"rgb_array"`.

    Example:
        >>> import gymnasium as gym, prune_env
        >>> envs = gym.make_vec("prune_env/Landscape-v0", num_envs=4)
        >>> vec_env = PruneVecEnv(envs.unwrapped.core)
        >>> vec_env.reset()["mask"].shape
        (4, 6, 12)
    """

    def __init__(self, core: BatchCore, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise SettingsError("render_mode", expected="None or 'rgb_array'", actual=render_mode)
        self.core = core
        self._render_mode = render_mode
        self._lengths = [0] * core.num_envs
        self._terms: list[dict[str, float]] = [{} for _ in range(core.num_envs)]
        self._actions: npt.NDArray[np.int64] = np.zeros(core.num_envs, np.int64)
        super().__init__(core.num_envs, core.observation_space, core.action_space)

    @classmethod
    def beside(cls, env: gym.Env[Any, Any], num_envs: int) -> "PruneVecEnv":
        """Return N new episodes of what a single environment plays, on the same models.

        Args:
            env: A `HeadPruningEnv`, wrapped by nothing but `gym.make`.
            num_envs: N.

        Raises:
            SettingsError: `env` is another environment, or has a wrapper that would not be heard.
        """
        limit = _limit_of_bare(env)
        single = env.unwrapped
        if not isinstance(single, HeadPruningEnv):
            raise SettingsError(
                "Only a head-pruning environment can be vectorised here",
                expected="HeadPruningEnv",
                actual=type(single).__name__,
                remedy="use stable_baselines3.common.env_util.make_vec_env",
            )
        core = BatchCore(
            single.core.pool,
            single.core.settings,
            single.core.reward,
            single.core.parts,
            num_envs=num_envs,
            max_episode_steps=limit,
        )
        return cls(core, single.render_mode if single.render_mode == "rgb_array" else None)

    def reset(self) -> Observation:
        """Begin N episodes, with the seeds and options that were set before, and stack them."""
        observations = []
        for slot, (seed, options) in enumerate(zip(self._seeds, self._options, strict=True)):
            observation, info = self.core.reset([seed], options, [slot])[0]
            observations.append(observation)
            self.reset_infos[slot] = info
            self._begin(slot)
        self._reset_seeds()
        self._reset_options()
        return _stack(observations)

    def step_async(self, actions: npt.NDArray[np.int64]) -> None:
        """Take note of one action per episode."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the actions; episodes that end begin anew."""
        outcomes = self.core.step(list(self._actions))
        observations = [outcome.observation for outcome in outcomes]
        rewards = np.array([outcome.reward for outcome in outcomes], np.float32)
        dones = np.array([outcome.terminated or outcome.truncated for outcome in outcomes])
        infos = [outcome.info for outcome in outcomes]
        for slot, (outcome, info) in enumerate(zip(outcomes, infos, strict=True)):
            self._lengths[slot] += 1
            sum_terms(self._terms[slot], info)
            info["TimeLimit.truncated"] = outcome.truncated and not outcome.terminated
            if dones[slot]:
                info["terminal_observation"] = outcome.observation
                info["episode"] = {
                    "r": self.core.total_reward(slot) + self._terms[slot].get(PENALTY, 0.0),
                    "l": self._lengths[slot],
                    "terms": self._terms[slot],
                }
        ended = np.flatnonzero(dones).tolist()
        for slot, (observation, info) in zip(ended, self.core.reset(slots=ended), strict=True):
            observations[slot], self.reset_infos[slot] = observation, info
            self._begin(slot)
        return _stack(observations), rewards, dones, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal, bool (N, L * H + 1)."""
        return self.core.action_masks()

    def observe(self) -> Observation:
        """Return the present observation of every episode, stacked."""
        return _stack([self.core.observe(slot) for slot in range(self.num_envs)])

    def episode_starts(self) -> npt.NDArray[np.bool_]:
        """Return which episodes have not taken a step yet, bool (N,)."""
        return np.array([length == 0 for length in self._lengths])

    def save(self) -> dict[str, Any]:
        """Return every episode as plain values, as JSON holds them, for a checkpoint."""
        return {
            "core": self.core.save(),
            "lengths": list(self._lengths),
            "terms": [dict(terms) for terms in self._terms],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` returned.

        Raises:
            StateError: The number of episodes, the models or the rewards differ.
        """
        self.core.restore(saved["core"])
        self._lengths = list(saved["lengths"])
        self._terms = [dict(terms) for terms in saved["terms"]]

    def close(self) -> None:
        """Do nothing: the models belong to others too."""

    def get_images(self) -> Sequence[npt.NDArray[np.uint8] | None]:
        """Return a picture of each episode, uint8 (480, 480, 3)."""
        return self.env_method("render")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return `render_mode`, what `EpisodeView` tells of an episode, or a method."""
        return [getattr(slot, attr_name) for slot in self._slots(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the episodes share what they stand on.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(
            f"Cannot set '{attr_name}' of a running environment", remedy="make a new one"
        )

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call `action_masks` or `render` of single episodes."""
        return [getattr(slot, method_name)(*method_args, **kwargs) for slot in self._slots(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for `Monitor`, whose work is done here, and False for all others."""
        return [issubclass(wrapper_class, Monitor) for _ in self._slots(indices)]

    def _begin(self, slot: int) -> None:
        self._lengths[slot] = 0
        self._terms[slot] = {}

    def _slots(self, indices: VecEnvIndices) -> list["_Slot"]:
        chosen = self._get_indices(indices)
        return [_Slot(self.core, slot, self._render_mode) for slot in chosen]


class _Slot(EpisodeView):
    """One episode, with the attributes and methods that callers of a `VecEnv` ask for."""

    def __init__(self, core: BatchCore, slot: int, render_mode: str | None) -> None:
        self.core = core
        self.slot = slot
        self.render_mode = render_mode

    def action_masks(self) -> npt.NDArray[np.bool_]:
        return self.episode.legal.copy()

    def render(self) -> Any:
        return draw(self.episode, self.metrics, "rgb_array")


def _stack(observations: Sequence[Observation]) -> Observation:
    return {part: np.stack([one[part] for one in observations]) for part in observations[0]}


class LegalVecEnv(VecEnvWrapper):
    """Adds what the environment allows to what a `PruneVecEnv` shows.

    DQN, PPO and A2C hand no action masks to their network, and the other parts of the observation
    do not tell the rules: how many heads a layer must keep, whether the unpruned model is below
    tau, what is padding.

    Args:
        envs: The episodes.
    """

    def __init__(self, envs: PruneVecEnv) -> None:
        shown: Any = envs.observation_space
        legal = LegalPart().space(envs.core.pool)
        super().__init__(envs, spaces.Dict({**shown.spaces, LegalPart.name: legal}))

    def reset(self) -> Observation:
        """Begin new episodes; see `PruneVecEnv.reset`."""
        return self._show(self._envs.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Take the actions; see `PruneVecEnv.step_wait`."""
        observations, rewards, dones, infos = self._envs.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                legal = info["action_mask"].astype(np.float32)
                info["terminal_observation"][LegalPart.name] = legal
        return self._show(observations), rewards, dones, infos

    def observe(self) -> Observation:
        """Return the present observation of every episode, stacked."""
        return self._show(self._envs.observe())

    @property
    def _envs(self) -> Any:
        return self.venv

    def _show(self, observations: Observation) -> Observation:
        legal: npt.NDArray[np.bool_] = self._envs.action_masks()
        return {**observations, LegalPart.name: legal.astype(np.float32)}


def _limit_of_bare(env: gym.Env[Any, Any]) -> int | None:
    """Return the steps after which an environment is truncated; None where it never is.

    Raises:
        SettingsError: It is wrapped in what may change what is seen or paid.
    """
    limits: list[int] = []
    inner: Any = env
    while isinstance(inner, gym.Wrapper):
        if type(inner).__name__ not in UNHEARD:
            raise SettingsError(
                f"The agent plays copies of the environment, without {type(inner).__name__}",
                expected=f"no wrapper but {', '.join(sorted(UNHEARD))}",
                remedy="pay and show by `reward=` and `observation=` of the environment, or learn "
                "with Stable-Baselines3 itself",
            )
        if isinstance(inner, gym.wrappers.TimeLimit):  # an environment of no id has no `spec`
            limits.append(inner._max_episode_steps)
        inner = inner.env
    return min(limits, default=None)
