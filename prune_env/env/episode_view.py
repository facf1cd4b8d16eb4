"""What an environment tells of one of its episodes."""

from typing import TYPE_CHECKING

from prune_env.env.batch_core import BatchCore
from prune_env.env.episode import Episode
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.rewards.reward import WeightedSum
from prune_env.env.subject import Subject
from prune_env.models.masks import Mask

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator


class EpisodeView:
    """The episode in a slot of a core, its model and its rules, to be read.

    Attributes:
        core: The episodes.
        slot: The place of this one.
    """

    core: BatchCore
    slot: int = 0

    @property
    def episode(self) -> Episode:
        """The episode that is being played; a `StateError` before the first reset."""
        return self.core.episode(self.slot)

    @property
    def subject(self) -> Subject:
        """The model that is being played; before the first reset, the first of the pool."""
        episode = self.core.episodes[self.slot]
        board = self.core.pool.boards[0] if episode is None else episode.board
        return board.subject

    @property
    def evaluator(self) -> "Evaluator":
        """The evaluator of `subject`."""
        return self.subject.evaluator

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the importance metrics, in the order of the observation."""
        return self.core.pool.metrics

    @property
    def reward(self) -> WeightedSum:
        """What is paid."""
        return self.core.reward

    @property
    def settings(self) -> EpisodeSettings:
        """The rules."""
        return self.core.settings

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H) of observations and actions."""
        return self.core.pool.shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), True where the model that is played has a head."""
        return self.core.pool.lay_out(self.subject).available

    @property
    def mask(self) -> Mask:
        """Bool, in the model's own shape, True = kept: the mask that the episode leaves."""
        return self.episode.board.crop(self.episode.mask).copy()

    @property
    def accuracy(self) -> float:
        """Accuracy on clean validation data under `mask`."""
        return self.episode.accuracy

    @property
    def total_reward(self) -> float:
        """What the episode has paid so far, not discounted."""
        return self.core.total_reward(self.slot)
