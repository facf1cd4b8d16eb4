"""The models that episodes draw from, laid out on one grid."""

from collections.abc import Callable, Sequence

import numpy as np

from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.models.masks import Mask
from prune_env.models.units import Kind
from prune_env.settings import Guard


class Board:
    """One subject on the grid of an environment; smaller models are padded.

    Args:
        subject: The model.
        shape: Layers and heads of the grid, at least those of the model.
        name: How a reset finds the model; by default as it is called.

    Attributes:
        subject: The model.
        name: How a reset finds the model.
        available: Bool (L, H) of the grid, True where the model has a head.
        importance: Float32 (L, H, M) of the grid, scaled; 0 where there is no head.
        total: Number of heads of the model; of units, where it has others.
    """

    def __init__(self, subject: Subject, shape: tuple[int, int], name: str | None = None) -> None:
        layers, heads = self._own = subject.shape
        self.subject = subject
        self.name = subject.name if name is None else name
        self.available = np.zeros(shape, np.bool_)
        self.available[:layers, :heads] = subject.evaluator.available
        self.importance = np.zeros((*shape, len(subject.metrics)), np.float32)
        self.importance[:layers, :heads] = subject.scaled_importance()
        self.total = int(self.available.sum())

    def crop(self, masks: Mask) -> Mask:
        """Return masks (..., L, H) of the grid in the model's own shape."""
        layers, heads = self._own
        return masks[..., :layers, :heads]

    def spare(self, mask: Mask, least_heads: int) -> Mask:
        """Return which units of a mask (L, H) of the grid may be pruned next, see `Units.spare`."""
        spare = np.zeros(mask.shape, np.bool_)
        layers, heads = self._own
        spare[:layers, :heads] = self.subject.units.spare(self.crop(mask), least_heads)
        return spare

    def pruned(self, mask: Mask) -> dict[Kind, int]:
        """Return how many units of each kind a mask (L, H) of the grid removes."""
        return self.subject.units.pruned(self.crop(mask))

    def __deepcopy__(self, memo: dict[int, object]) -> "Board":
        return self


class Pool:
    """The subjects of an environment; an episode plays one of them.

    Args:
        subjects: At least one, with the same metrics and different names.
        resolve: Finds a subject that the pool does not hold by name; None finds nothing else.
        guard: What counts as accuracy, of each subject, see `evaluation.guard`.
        check: Raises if a subject may not be played.

    Attributes:
        shape: Layers and heads of the grid: the largest of each.
        metrics: Names of the importance metrics.
        boards: One per subject.

    Raises:
        SettingsError: There is no subject, or names or metrics do not fit together.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        resolve: Callable[[str], Subject] | None = None,
        guard: Guard = "accuracy",
        check: Callable[[Subject], None] | None = None,
    ) -> None:
        if not subjects:
            raise SettingsError("The pool holds no model", remedy="give at least one")
        self.resolve = resolve
        self.guard: Guard = guard
        self._check = check
        self.metrics = subjects[0].metrics
        self.shape = (
            max(subject.shape[0] for subject in subjects),
            max(subject.shape[1] for subject in subjects),
        )
        self.boards = tuple(map(self.lay_out, subjects))
        names = self.names
        if len(set(names)) != len(names):
            raise SettingsError(
                "Two models of the pool have the same name",
                actual=", ".join(names),
                remedy="name each Subject",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each subject, in order."""
        return tuple(board.subject.name for board in self.boards)

    def lay_out(self, subject: Subject, name: str | None = None) -> Board:
        """Return a subject on this pool's grid.

        Args:
            subject: The model.
            name: How a reset finds it; by default as it is called.

        Raises:
            SettingsError: It has other metrics, does not fit on the grid, or may not be played.
        """
        if self._check is not None:
            self._check(subject)
        if subject.metrics != self.metrics:
            raise SettingsError(
                f"{subject.name} has other metrics than the rest of the pool",
                expected=", ".join(self.metrics),
                actual=", ".join(subject.metrics),
                remedy="compute the same metrics for every model",
            )
        if subject.shape[0] > self.shape[0] or subject.shape[1] > self.shape[1]:
            raise SettingsError(
                f"{subject.name} does not fit on the environment's grid",
                expected=f"at most {self.shape[0]} layers x {self.shape[1]} heads",
                actual=f"{subject.shape[0]} x {subject.shape[1]}",
                remedy="put the largest model into the pool",
            )
        return Board(subject.under_guard(self.guard), self.shape, name)

    def draw(self, random: np.random.Generator) -> Board:
        """Return a board at random; a pool of one draws nothing from `random`."""
        if len(self.boards) == 1:
            return self.boards[0]
        return self.boards[int(random.integers(len(self.boards)))]

    def find(self, name: str) -> Board:
        """Return the board of a name.

        Raises:
            UnknownNameError: No subject has this name.
            SettingsError: The subject of this name is none of the pool and does not fit.
        """
        for board in self.boards:
            if board.subject.name == name:
                return board
        if self.resolve is None:
            raise UnknownNameError("model of the pool", name, self.names, described="")
        return self.lay_out(self.resolve(name), name)
