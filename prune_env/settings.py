"""Settings of the main job, as plain values; they become command-line options and JSON."""

import math
from dataclasses import dataclass, field, fields
from numbers import Integral
from operator import index
from typing import Any, Literal, SupportsIndex, TypedDict

from prune_env.errors import SettingsError

Precision = Literal["auto", "bf16", "fp32"]

Protocol = Literal["direct", "refinetune"]
"""What is done with a mask, see `purification.heal`."""

Healing = Literal["none", "head", "full", "refit", "unlearn", "refit-unlearn"]
"""What heals a model once the mask is on, see `purification.heal`."""

Guard = Literal["auto", "accuracy", "balanced", "recall"]
"""What tau is compared with, see `evaluation.guard`."""

Export = Literal["zeroed", "sliced"]
"""How pruned heads are written."""

Pruned = Literal["heads", "hybrid"]
"""What a mask chooses from: heads, or also groups of neurons and strengths, see `UnitSettings`."""


SEEDS = 2**32
"""Seeds are below this: NumPy's older generators, which libraries use, take no others."""


def check_seed(seed: SupportsIndex, name: str = "seed") -> int:
    """Return a seed as Python's own number, or raise unless every library takes it.

    Raises:
        SettingsError: It is no whole number, or out of range.
    """
    try:
        own = int(index(seed))
    except TypeError:
        own = -1
    if not 0 <= own < SEEDS:
        raise SettingsError(
            f"{name} is out of range", expected=f"a whole number, 0 to {SEEDS - 1}", actual=seed
        )
    return own


def own_number(value: Any) -> Any:
    """Return a number of NumPy or torch as Python's own, which JSON takes; others as they are."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def own_numbers(settings: Any) -> None:
    """Make the numbers of a frozen dataclass Python's own, first of all in `__post_init__`."""
    for each in fields(settings):
        object.__setattr__(settings, each.name, own_number(getattr(settings, each.name)))


def check_whole_number(name: str, value: object) -> None:
    """Raise a `SettingsError` unless a number is a whole one."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingsError(f"{name} is no whole number", expected="such as 3", actual=repr(value))


def check_length(max_length: float) -> None:
    """Raise a `SettingsError` unless so many tokens hold one between the special ones."""
    check_whole_number("max_length", max_length)
    if not 3 <= max_length < math.inf:
        raise SettingsError(
            "max_length leaves no room for a sentence", expected=">= 3, finite", actual=max_length
        )


def least_accuracy(accuracy: float, tau: float | None, max_drop: float) -> float:
    """Return the accuracy, 0 to 1, that must stay; what all who speak of tau compute.

    Args:
        accuracy: Of the unpruned model, 0 to 1.
        tau: What the caller insists on; None takes `accuracy` minus `max_drop`.
        max_drop: Accuracy (0 to 1) that may be lost where `tau` is None.

    Example:
        >>> least_accuracy(0.5, tau=None, max_drop=0.75)
        0.0
    """
    return max(0.0, accuracy - max_drop) if tau is None else tau


class LoadingKeywords(TypedDict, total=False):
    """The fields of `LoadingSettings`, for a function that takes them by keyword."""

    head: Literal["auto", "keep", "new"]
    allow_download: bool
    revision: str | None
    attn_implementation: str


@dataclass(frozen=True)
class LoadingSettings:
    """How a model is loaded; see `prune_env.load_classifier`.

    Attributes:
        head: `auto` keeps the head of a ready classifier and gives an encoder a new one; `keep`
            insists on a ready classifier; `new` always makes a new one.
        allow_download: Fetch the model from the Hub if it is no local one.
        revision: Branch, tag or commit on the Hub.
        attn_implementation: `sdpa`, or `eager` where attention maps are needed.
    """

    head: Literal["auto", "keep", "new"] = "auto"
    allow_download: bool = False
    revision: str | None = None
    attn_implementation: str = "sdpa"


@dataclass(frozen=True)
class FineTuneSettings:
    """How a classifier is fine-tuned; the defaults are those that the results were measured with.

    The paper takes a learning rate of 2e-5, for BERT-base; 5e-5 is the default of transformers.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Peak of AdamW's rate, which falls linearly to 0.
        batch_size: Sentences per step; sentences of similar length share a batch.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are clipped to this norm.
        max_length: Tokens kept of a sentence; longer ones are truncated and counted in the log.
        precision: `bf16`, `fp32`, or `auto`: bf16 autocast where the hardware has it. `purify`
            searches in it too.
    """

    epochs: int = 3
    learning_rate: float = 5e-5
    batch_size: int = 32
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_length: int = 128
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        own_numbers(self)
        check_length(self.max_length)
        check_whole_number("epochs", self.epochs)
        check_whole_number("batch_size", self.batch_size)
        for name in ("epochs", "learning_rate", "batch_size", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(
                    f"{name} is out of range",
                    expected="> 0 and finite",
                    actual=getattr(self, name),
                )
        if not 0 <= self.weight_decay < math.inf:
            raise SettingsError(
                "weight_decay is out of range", expected=">= 0, finite", actual=self.weight_decay
            )
        if self.precision not in ("auto", "bf16", "fp32"):
            raise SettingsError(
                "precision is unknown", expected="auto, bf16 or fp32", actual=self.precision
            )


@dataclass(frozen=True)
class SearchSettings:
    """How a policy plays the environment.

    Attributes:
        variant: Of the policy: `paper`, or `released` for what the published code does.
        tau: Validation accuracy (0 to 1) that the mask must keep; the paper's is 0.85. None takes
            the fine-tuned model's accuracy minus `max_drop`.
        max_drop: Accuracy (0 to 1) that may be lost when `tau` is None.
        reward: What learning agents and `reward-greedy` climb: the name of a reward, or a formula
            such as `0.7 * inverted-trigger + 0.3 * entropy`.
        prune_step: Heads pruned between two evaluations; the paper's is 10.
        budget: Masks that a policy may have evaluated, learning included.
        importance_sentences: Clean sentences that the importance metrics are measured on.
        guard: What tau is compared with: `accuracy`; `balanced`, the mean of the classes' recalls;
            `recall`, the least of them. `auto` is accuracy where classes are about even and the
            constant answer is below tau, and else `balanced`: a constant answer never passes.
        episodes: How often a policy plays, while the budget lasts: once as it thinks best, then
            with another seed each time, exploring if it can. The mask of the episode that returns
            most is kept, so the reward should be one that sees a backdoor. An agent that learns, a
            search and the members of an ensemble play once.
    """

    variant: str = "paper"
    tau: float | None = None
    max_drop: float = 0.03
    reward: str = "sparsity"
    prune_step: int = 1
    budget: int = 400
    importance_sentences: int = 1000
    # As `utils.plain.later` has it: addresses of results from before this field stay.
    guard: Guard = field(default="auto", metadata={"later": True})
    episodes: int = field(default=1, metadata={"later": True})

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        own_numbers(self)
        if self.tau is not None and not 0 <= self.tau <= 1:
            raise SettingsError("tau is out of range", expected="0 to 1", actual=self.tau)
        if not 0 <= self.max_drop <= 1:
            raise SettingsError("max_drop is out of range", expected="0 to 1", actual=self.max_drop)
        for name in ("prune_step", "budget", "importance_sentences", "episodes"):
            check_whole_number(name, getattr(self, name))
            if getattr(self, name) < 1:
                raise SettingsError(
                    f"{name} is out of range", expected=">= 1", actual=getattr(self, name)
                )

    def threshold(self, accuracy: float) -> float:
        """Return the validation accuracy to keep, for a model that has this one unpruned."""
        return least_accuracy(accuracy, self.tau, self.max_drop)


WEAKEST = 0.02
"""lambda of the first step of a map's strength, over the mean variance of the map's inputs."""

STEP = 4.0
"""Each further step multiplies lambda by this."""


@dataclass(frozen=True)
class UnitSettings:
    """How a model is cut into units besides its heads, see `prune_env.models.unit_map`.

    Attributes:
        groups: Groups of feed-forward neurons in a layer; 0 for none.
        steps: Steps of the strength with which a map of a layer is refitted; 0 for none.
        sentences: Clean training sentences that are read for it.
    """

    groups: int = 8
    steps: int = 4
    sentences: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        own_numbers(self)
        for name, least, most in (("groups", 0, 1000), ("steps", 0, 16), ("sentences", 1, 10**6)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SettingsError(
                    f"{name} is out of range",
                    expected=f"a whole number, {least} to {most}",
                    actual=value,
                )

    @property
    def strengths(self) -> tuple[float, ...]:
        """Values of lambda, ascending, over the mean variance of a map's inputs."""
        return tuple(WEAKEST * STEP**step for step in range(self.steps))

    @property
    def heads_only(self) -> bool:
        """Whether there are no units but heads."""
        return not (self.groups or self.steps)
