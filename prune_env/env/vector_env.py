"""The environment for N episodes at a time: one model in memory, N masks scored together."""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium.error import Error
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from prune_env.data.table_format import Named
from prune_env.env.arguments import reset_options, unit_settings, whole_number
from prune_env.env.batch_core import BatchCore
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.factory import make_core
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.observation import DEFAULT_OBSERVATION
from prune_env.env.policy import Observation
from prune_env.env.render import MODES, check_mode, draw
from prune_env.env.rewards.reward import Reward, WeightedSum
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.importance import DEFAULT_METRICS
from prune_env.settings import Guard

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Step = tuple[Observation, Floats, Bools, Bools, dict[str, Any]]


class HeadPruningVectorEnv(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """N independent episodes of `HeadPruningEnv`, stepped together.

    Every episode is what the single environment would play for the same actions and seed (seed + i
    for the i-th); the masks of all are scored in one call. Other arguments are `HeadPruningEnv`'s.

    Args:
        num_envs: N.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        autoreset_mode: `NextStep` (an ended episode begins anew at the next step, whose action
            is ignored), `SameStep` (at once; the end is in `infos["final_obs"]` and
            `infos["final_info"]`) or `Disabled` (`reset(options={"reset_mask": mask})`).
        render_mode: `ansi` or `rgb_array`; `render` returns one picture per episode.

    Attributes:
        core: The episodes.

    Example:
        >>> import gymnasium as gym, prune_env
        >>> envs = gym.make_vec("prune_env/Landscape-v0", num_envs=3)
        >>> observations, infos = envs.reset(seed=0)
        >>> observations["mask"].shape, infos["action_mask"].shape
        ((3, 6, 12), (3, 73))
        >>> _, rewards, terminations, _, _ = envs.step(np.array([0, 1, 72]))
        >>> terminations
        array([False, False,  True])
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        **HeadPruningEnv.metadata,
        "render_modes": list(MODES),
    }

    def __init__(
        self,
        num_envs: int = 1,
        model: str | Subject | None = None,
        data: Named | None = None,
        *,
        evaluator: "Evaluator | None" = None,
        importance: npt.ArrayLike | None = None,
        pool: Sequence[str | Subject] | None = None,
        metrics: str | Sequence[str] = DEFAULT_METRICS,
        tau: float | None = 0.85,
        max_drop: float = 0.03,
        reward: str | Reward | WeightedSum = "sparsity",
        observation: str | Sequence[str] = DEFAULT_OBSERVATION,
        flat: bool = False,
        prune_step: int = 1,
        backtrack: bool = True,
        min_heads_per_layer: int = 1,
        max_evaluations: int | None = None,
        guard: Guard = "auto",
        end_on_illegal: bool = False,
        success_share: float = 0.25,
        illegal_penalty: float = 0.0,
        neuron_groups: int = 0,
        map_steps: int = 0,
        recorded: bool = False,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        self._set_up(num_envs, render_mode, _autoreset_mode(autoreset_mode))
        self.core: BatchCore = make_core(
            model,
            data,
            evaluator=evaluator,
            importance=importance,
            pool=pool,
            metrics=metrics,
            reward=reward,
            observation=observation,
            flat=flat,
            settings=EpisodeSettings(
                tau=tau,
                max_drop=max_drop,
                prune_step=prune_step,
                backtrack=backtrack,
                min_heads_per_layer=min_heads_per_layer,
                max_evaluations=max_evaluations,
                end_on_illegal=end_on_illegal,
                success_share=success_share,
                illegal_penalty=illegal_penalty,
            ),
            guard=guard,
            units=unit_settings(neuron_groups, map_steps),
            recorded=recorded,
            num_envs=self.num_envs,
            max_episode_steps=max_episode_steps,
        )
        self._set_spaces()

    def _set_up(self, num_envs: Any, render_mode: str | None, mode: AutoresetMode) -> None:
        """Keep what needs no model, and refuse it before one is loaded."""
        check_mode(render_mode)
        self.num_envs, self.render_mode = whole_number("num_envs", num_envs, 1), render_mode
        self.autoreset_mode = mode
        self.metadata = {**self.metadata, "autoreset_mode": mode}  # type: ignore[misc]
        self._ended = np.zeros(self.num_envs, np.bool_)

    def _set_spaces(self) -> None:
        self.single_observation_space = self.core.observation_space
        self.single_action_space = self.core.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin new episodes.

        Args:
            seed: One per episode; a single number s means s, s + 1, ..., s + N - 1.
            options: `{"model": name or Subject}`; `{"reset_mask": bool (N,)}` resets only some.

        Returns:
            Observations of all episodes, and the infos of those that were reset.

        Raises:
            SettingsError: An option is unknown, or the seeds or the reset mask do not fit.
            gymnasium.error.Error: A seed is none, as of the single environment.
        """
        options = reset_options(options)
        chosen = self._check_reset_mask(options.pop("reset_mask", None))
        slots = np.flatnonzero(chosen).tolist()
        seeds = self._spread(seed)
        results = self.core.reset([seeds[slot] for slot in slots], options, slots)
        self._ended[chosen] = False
        infos: dict[str, Any] = {}
        for slot, (_, info) in zip(slots, results, strict=True):
            infos = self._add_info(infos, info, slot)
        return self._observe(), infos

    def step(self, actions: Any) -> Step:
        """Take one action in every episode.

        Returns:
            Observations, rewards, terminations, truncations and infos, with a leading axis N.

        Raises:
            SettingsError: These are not N actions.
            StateError: The environment was never reset; or the mode is `Disabled` and an ended
                episode was not reset.
        """
        self._check_actions(actions)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise StateError(
                f"The episodes {np.flatnonzero(self._ended).tolist()} have ended",
                remedy="reset them with options={'reset_mask': mask} before the next step",
            )
        infos = self._begin_again(np.flatnonzero(self._ended), {})
        playing = np.flatnonzero(~self._ended).tolist()
        outcomes = self.core.step([actions[slot] for slot in playing], playing)
        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, np.bool_)
        truncations = np.zeros(self.num_envs, np.bool_)
        for slot, outcome in zip(playing, outcomes, strict=True):
            rewards[slot] = outcome.reward
            terminations[slot] = outcome.terminated
            truncations[slot] = outcome.truncated
        self._ended = terminations | truncations
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        for slot, outcome in zip(playing, outcomes, strict=True):
            info = outcome.info
            if same_step and self._ended[slot]:
                info = {"final_obs": outcome.observation, "final_info": info}
            infos = self._add_info(infos, info, slot)
        if same_step:
            infos = self._begin_again(np.flatnonzero(self._ended), infos)
            self._ended[:] = False
        return self._observe(), rewards, terminations, truncations, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return one picture per episode, see `HeadPruningEnv.render`; None without a mode."""
        if self.render_mode is None:
            return None
        return tuple(
            draw(self.core.episode(slot), self.metrics, self.render_mode)
            for slot in range(self.num_envs)
        )

    def action_masks(self) -> Bools:
        """Return which actions are legal, bool (N, L * H + 1)."""
        return self.core.action_masks()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the importance metrics, in the order of the observation."""
        return self.core.pool.metrics

    def _begin_again(self, slots: npt.NDArray[np.intp], infos: dict[str, Any]) -> dict[str, Any]:
        """Reset slots and add their infos."""
        chosen = slots.tolist()
        for slot, (_, info) in zip(chosen, self.core.reset(slots=chosen), strict=True):
            infos = self._add_info(infos, info, slot)
        return infos

    def _observe(self) -> Observation:
        observations = [self.core.observe(slot) for slot in range(self.num_envs)]
        return {part: np.stack([one[part] for one in observations]) for part in observations[0]}

    def _check_actions(self, actions: Any) -> None:
        many = hasattr(actions, "__getitem__") and not isinstance(actions, str | bytes | Mapping)
        try:
            found = len(actions) if many else None
        except TypeError:  # an array without an axis
            found = None
        if found != self.num_envs:
            raise SettingsError(
                "Every episode takes one action",
                expected=f"a sequence or array of {self.num_envs} actions",
                actual=f"{type(actions).__name__} {actions!r:.200}" if found is None else found,
            )

    def _spread(self, seed: Any) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, Sequence) and np.ndim(seed) == 0:
            first = _check_seed(seed)
            return list(range(first, first + self.num_envs))
        if len(seed) != self.num_envs:
            raise SettingsError(
                "Every episode takes one seed", expected=self.num_envs, actual=len(seed)
            )
        return [None if each is None else _check_seed(each) for each in seed]

    def _check_reset_mask(self, mask: Any) -> Bools:
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or not mask.any():
            raise SettingsError(
                "reset_mask chooses the episodes to reset",
                expected=f"bool array of shape ({self.num_envs},) with at least one True",
                actual=mask,
            )
        if mask.shape != (self.num_envs,):
            raise SettingsError(
                "reset_mask has one entry per episode",
                expected=f"shape ({self.num_envs},)",
                actual=f"shape {mask.shape}",
            )
        return mask


def _check_seed(seed: Any) -> int:
    """Return a seed, Python's own; raise what Gymnasium does where it is none."""
    if not isinstance(seed, Integral) or seed < 0:
        raise Error(f"A seed must be a whole number >= 0, actual value: {seed!r:.80}")
    return int(seed)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise SettingsError(
            "Unknown autoreset mode",
            expected=", ".join(known.value for known in AutoresetMode),
            actual=mode,
        ) from None
