"""N episodes played in step, whose masks are scored together; every environment stands on it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from prune_env.env.arguments import reset_options, whole_number
from prune_env.env.episode import Episode, Scoring
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.observation import ObservationPart
from prune_env.env.policy import Observation
from prune_env.env.pool import Board, Pool
from prune_env.env.rewards.reward import Scores, WeightedSum
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError
from prune_env.models.masks import Mask

Info = dict[str, Any]
PENALTY = "illegal"
"""Key of the penalty in `info["reward_terms"]`, where illegal actions cost something."""


class Outcome(NamedTuple):
    """What one episode answers to one action.

    Attributes:
        observation: The parts of the observation.
        reward: Rise of the weighted score, less the penalty of an illegal action.
        terminated: Whether the episode ended by its own rules.
        truncated: Whether it was cut off after `max_episode_steps`.
        info: See `HeadPruningEnv`, Information.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    info: Info


class BatchCore:
    """Plays N independent episodes and asks the evaluators for all their masks at once.

    The episodes do not know of each other: what happens in one slot is the same whatever the
    others do, and for any N. The classes of Gymnasium and Stable-Baselines3 are thin covers of it.

    Args:
        pool: The models.
        settings: The rules.
        reward: What is paid.
        parts: What is seen.
        num_envs: N, the number of slots.
        max_episode_steps: Steps after which an episode is truncated; None where a `TimeLimit`
            does it, or nothing.

    Attributes:
        episodes: The episode in each slot; None before its first reset.
        random: The random generator of each slot; it draws the models.
    """

    def __init__(
        self,
        pool: Pool,
        settings: EpisodeSettings,
        reward: WeightedSum,
        parts: Sequence[ObservationPart],
        *,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
    ) -> None:
        if max_episode_steps is not None:
            max_episode_steps = whole_number("max_episode_steps", max_episode_steps, 1)
        num_envs = whole_number("num_envs", num_envs, 1)
        for board in pool.boards:
            reward.check(board.subject)
        self.pool = pool
        self.settings = settings
        self.reward = reward
        self.parts = tuple(parts)
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.episodes: list[Episode | None] = [None] * num_envs
        self.random = [np.random.default_rng() for _ in range(num_envs)]
        self._steps = [0] * num_envs
        self._scores = np.zeros((num_envs, len(reward.terms)))
        self._first_scores = np.zeros_like(self._scores)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The space of one episode's observation, a `Dict`."""
        return spaces.Dict({part.name: part.space(self.pool) for part in self.parts})

    @property
    def action_space(self) -> spaces.Discrete[np.int64]:
        """`Discrete(L * H + 1)`: prune head `layer * H + head`, or STOP, the last."""
        layers, heads = self.pool.shape
        return spaces.Discrete(layers * heads + 1)

    def reset(
        self,
        seeds: Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[tuple[Observation, Info]]:
        """Begin new episodes.

        Args:
            seeds: One per slot that is reset; None leaves the slot's generator as it is.
            options: `{"model": name or Subject}` plays this model instead of drawing one.
            slots: Which slots; None for all.

        Returns:
            Observation and info of each slot that is reset, in the order of `slots`.

        Raises:
            SettingsError: An option is unknown, or the model does not fit.
        """
        slots = range(self.num_envs) if slots is None else slots
        given = reset_options(options)
        for slot, seed in zip(slots, seeds or [None] * len(slots), strict=True):
            if seed is not None:
                self.random[slot] = np.random.Generator(np.random.PCG64(seed))
            self.episodes[slot] = Episode(self._choose(slot, given), self.settings)
            self._steps[slot] = 0
        self._run({slot: self.episode(slot).start() for slot in slots})
        self._score(slots)
        self._first_scores[list(slots)] = self._scores[list(slots)]
        terms = np.zeros(len(self.reward.terms))
        return [(self.observe(slot), self._info(slot, terms)) for slot in slots]

    def step(self, actions: Sequence[Any], slots: Sequence[int] | None = None) -> list[Outcome]:
        """Take one action in each slot.

        Args:
            actions: One per slot; one that is not legal changes nothing and is reported.
            slots: Which slots; None for all.

        Returns:
            What each of the slots answers, in the order of `slots`.

        Raises:
            StateError: A slot was never reset, or its episode has ended.
        """
        slots = range(self.num_envs) if slots is None else slots
        self._run(
            {
                slot: self.episode(slot).play(action)
                for slot, action in zip(slots, actions, strict=True)
            }
        )
        old_scores = self._scores.copy()
        self._score([slot for slot in slots if self.episode(slot).mask_changed])
        return [self._outcome(slot, self._scores[slot] - old_scores[slot]) for slot in slots]

    def episode(self, slot: int) -> Episode:
        """Return the episode in a slot.

        Raises:
            StateError: The slot was never reset.
        """
        episode = self.episodes[slot]
        if episode is None:
            raise StateError("No episode has begun", remedy="call reset before step")
        return episode

    def total_reward(self, slot: int) -> float:
        """Return what the episode in a slot has paid so far, without penalties."""
        return float((self._scores[slot] - self._first_scores[slot]).sum())

    def save(self) -> list[dict[str, Any]]:
        """Return every slot as plain values, as JSON holds them, for a checkpoint."""
        return [
            {
                "episode": None if episode is None else episode.save(),
                "random": self.random[slot].bit_generator.state,
                "steps": self._steps[slot],
                "scores": self._scores[slot].tolist(),
                "first_scores": self._first_scores[slot].tolist(),
            }
            for slot, episode in enumerate(self.episodes)
        ]

    def restore(self, saved: Sequence[Mapping[str, Any]]) -> None:
        """Go on from what `save` returned, in a core made with the same arguments.

        Raises:
            StateError: The number of slots, the models or the rewards differ.
        """
        if len(saved) != self.num_envs:
            raise StateError(
                "The checkpoint holds another number of episodes",
                expected=self.num_envs,
                actual=len(saved),
                remedy="resume with the num_envs that it was saved with",
            )
        episodes = [
            one and Episode.restore(one, self.pool.find(one["model"]), self.settings)
            for one in (values["episode"] for values in saved)
        ]
        for slot, values in enumerate(saved):
            self.random[slot].bit_generator.state = values["random"]
            self._steps[slot] = values["steps"]
            self._scores[slot] = values["scores"]
            self._first_scores[slot] = values["first_scores"]
        self.episodes[:] = episodes

    def observe(self, slot: int) -> Observation:
        """Return the observation of a slot, in arrays that nobody else holds."""
        episode = self.episode(slot)
        return {part.name: part.build(episode) for part in self.parts}

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal, bool (N, L * H + 1)."""
        return np.stack([self.episode(slot).legal for slot in range(self.num_envs)])

    def _choose(self, slot: int, options: Mapping[str, Any]) -> Board:
        unknown = ", ".join(sorted(str(option) for option in options if option != "model"))
        if unknown:
            raise SettingsError(f"Unknown reset option {unknown}", expected="model")
        model = options.get("model")
        if model is None:
            return self.pool.draw(self.random[slot])
        board = self.pool.lay_out(model) if isinstance(model, Subject) else self.pool.find(model)
        if board not in self.pool.boards:
            self.reward.check(board.subject)
        return board

    def _run(self, games: Mapping[int, Scoring]) -> None:
        """Drive generators to their end; the masks that they ask for are scored together."""
        asked: dict[int, Mask] = {}
        answers: dict[int, float | None] = dict.fromkeys(games)
        while answers:
            asked.clear()
            for slot, answer in answers.items():
                mask = _advance(games[slot], answer)
                if mask is not None:
                    asked[slot] = mask
            answers = {}
            for board, slots in self._by_board(asked).items():
                masks = board.crop(np.array([asked[slot] for slot in slots]))
                accuracies = board.subject.evaluator.accuracy(masks)
                answers.update(zip(slots, accuracies.tolist(), strict=True))

    def _score(self, slots: Iterable[int]) -> None:
        """Update the weighted scores of the masks that slots would leave now."""
        for board, group in self._by_board(slots).items():
            masks = board.crop(np.array([self.episode(slot).mask for slot in group]))
            accuracy = np.array([self.episode(slot).accuracy for slot in group])
            self._scores[group] = self.reward.score(board.subject, masks, accuracy)

    def _by_board(self, slots: Iterable[int]) -> dict[Board, list[int]]:
        groups: dict[Board, list[int]] = {}
        for slot in slots:
            groups.setdefault(self.episode(slot).board, []).append(slot)
        return groups

    def _outcome(self, slot: int, terms: Scores) -> Outcome:
        self._steps[slot] += 1
        limit = self.max_episode_steps
        return Outcome(
            observation=self.observe(slot),
            reward=float(terms.sum()) + self.episode(slot).penalty,
            terminated=bool(self.episode(slot).ended),
            truncated=limit is not None and self._steps[slot] >= limit,
            info=self._info(slot, terms),
        )

    def _info(self, slot: int, terms: Scores) -> Info:
        episode = self.episode(slot)
        paid = dict(zip(self.reward.names, terms.tolist(), strict=True))
        if self.settings.illegal_penalty:
            paid[PENALTY] = episode.penalty
        info = {
            "action_mask": episode.legal.astype(np.int8),
            "mask": episode.mask.copy(),
            "accuracy": episode.accuracy,
            "tau": episode.tau,
            "heads_pruned": episode.heads_pruned,
            "unchecked": len(episode.group),
            "evaluations": episode.evaluations,
            "illegal": episode.illegal,
            "ended": episode.ended,
            "is_success": episode.success,
            "model": episode.board.subject.name,
            "reward_terms": paid,
        }
        if not episode.board.subject.units.heads_only:
            info["units_pruned"] = episode.board.pruned(episode.mask)
        return info


def _advance(game: Scoring, answer: float | None) -> Mask | None:
    """Send an answer (None at first); return the next mask to be scored, None at the end."""
    try:
        return next(game) if answer is None else game.send(answer)
    except StopIteration:
        return None
