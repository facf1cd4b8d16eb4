"""What a policy is paid: scores of a mask, by name, and sums of them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.models.masks import Mask
from prune_env.utils.registry import Registry
from prune_env.utils.source import source_of_others

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset

Scores = npt.NDArray[np.float64]


class Reward(ABC):
    """A score of masks; a step is paid by how much it raises the score.

    The return of an episode is therefore the score of the mask that it leaves minus that of the
    unpruned model, in whatever order the heads went, and idling earns nothing (potential-based
    rewards: Ng, Harada and Russell, ICML 1999).

    Derive from it, and register the class under its name to use it in `gym.make`:
    `REWARDS.register("mine", Mine, help="...")`.

    Attributes:
        name: Key in `info["reward_terms"]`.
        range: Least and greatest score.
        source: Where the idea comes from.
        reads: What the score is computed from.
        oracle: Whether it reads triggered data. Allowed for ceilings and for training on
            simulated backdoors; refused in whatever is called a defence.
    """

    name: ClassVar[str]
    range: ClassVar[tuple[float, float]]
    source: ClassVar[str]
    reads: ClassVar[str]
    oracle: ClassVar[bool] = False

    @abstractmethod
    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask; higher is better.

        Args:
            subject: The model.
            masks: Bool (N, L, H) in the model's own shape, True = kept.
            accuracy: Float64 (N,), the accuracy on clean validation data under each mask.

        Returns:
            Float64 (N,).
        """

    def check(self, subject: Subject) -> None:  # noqa: B027 - few rewards have demands
        """Raise a `SettingsError` if masks of this subject cannot be scored; by default, none."""

    def check_data(self, *parts: "TextDataset") -> None:  # noqa: B027 - few rewards have demands
        """Raise if no model of such clean data can be scored; asked before one is loaded."""

    def __deepcopy__(self, memo: dict[int, object]) -> "Reward":
        return self  # a function of the mask, possibly with a model inside


class Sparsity(Reward):
    """Share of the heads that are pruned, counted only while tau holds."""

    name = "sparsity"
    range = (0.0, 1.0)
    source = "The implicit aim of arXiv 2508.20032: as many heads as tau allows"
    reads = "the mask; the environment takes back what breaks tau"

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        total = int(np.count_nonzero(subject.evaluator.available))
        kept: Scores = np.count_nonzero(masks, axis=(1, 2)) / total
        return 1 - kept


class Accuracy(Reward):
    """Accuracy on clean validation data."""

    name = "accuracy"
    range = (0.0, 1.0)
    source = "AUBER (PLOS ONE 2021): the change of accuracy pays for each pruned head"
    reads = "clean validation data"

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the score of every mask, see `Reward.score`."""
        return accuracy


class WeightedSum:
    """Rewards with weights; what the environment really pays.

    Args:
        terms: Weight and reward of each term; names differ.

    Attributes:
        names: Name of each term.
        oracle: Whether any term reads triggered data.
    """

    def __init__(self, terms: Sequence[tuple[float, Reward]]) -> None:
        self.terms = tuple(terms)
        for _, reward in self.terms:
            name = getattr(reward, "name", None)
            if not isinstance(name, str) or not name:
                raise SettingsError(
                    f"The reward {type(reward).__name__} has no name",
                    expected='a class attribute, such as name = "mine"',
                    actual=repr(name),
                )
        self.names = tuple(reward.name for _, reward in self.terms)
        if not self.terms or len(set(self.names)) != len(self.names):
            raise SettingsError(
                "A reward names each of its terms once",
                actual=", ".join(self.names) or "no term",
                remedy="add the weights of equal terms",
            )
        if not all(np.isfinite(weight) for weight, _ in self.terms):
            raise SettingsError("The weight of a reward must be a finite number")
        # A state tells the weights, and a replay compares them: NumPy's numbers read otherwise.
        self.terms = tuple((float(weight), reward) for weight, reward in self.terms)

    @property
    def oracle(self) -> bool:
        """Whether any term reads triggered data."""
        return any(reward.oracle for _, reward in self.terms)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest weighted score."""
        ends = [sorted(weight * end for end in reward.range) for weight, reward in self.terms]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    def check(self, subject: Subject) -> None:
        """Raise a `SettingsError` if a term cannot score masks of this subject."""
        for _, reward in self.terms:
            reward.check(subject)

    def check_data(self, *parts: "TextDataset") -> None:
        """Raise if a term can score no model of such data, see `Reward.check_data`.

        Args:
            *parts: Clean training and validation data.

        Raises:
            SettingsError: They are of another kind, or of another number of classes.
            DataError: A class has no row.
        """
        for _, reward in self.terms:
            reward.check_data(*parts)

    def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
        """Return the weighted score of each term, float64 (N, T), see `Reward.score`.

        Raises:
            SettingsError: A term does not score every mask by a finite number.
        """
        scores = np.empty((len(masks), len(self.terms)))
        for place, (weight, reward) in enumerate(self.terms):
            # Copies: one that writes into them would change what the next one scores.
            found = reward.score(subject, masks.copy(), accuracy.copy())
            shape = getattr(found, "shape", None)
            if shape != (len(masks),) or found.dtype.kind not in "biuf":
                raise _no_scores(reward.name, f"{type(found).__name__} of shape {shape}", found)
            scores[:, place] = weight * found
        finite = np.isfinite(scores)
        if not finite.all():
            place = int(finite.all(axis=0).argmin())
            raise _no_scores(self.names[place], "not finite", scores[:, place])
        return scores

    def __str__(self) -> str:
        return " + ".join(
            name if weight == 1 else f"{weight!r} * {name}"
            for name, (weight, _) in zip(self.names, self.terms, strict=True)
        )


def _no_scores(name: str, fault: str, found: object) -> SettingsError:
    return SettingsError(
        f"The reward '{name}' does not score every mask",
        expected="float64 (N,), finite",
        actual=f"{fault}: {found!r:.200}",
        remedy="correct its method `score`",
    )


REWARDS: Registry[Callable[[], Reward]] = Registry("reward", "rewards")
"""Rewards by name; `prune_env/env/rewards/__init__.py` is the table."""

_TERM = re.compile(r"(?:(?P<weight>[^*\s]+)\s*\*\s*)?(?P<name>[A-Za-z_][\w-]*)")


def make_reward(
    reward: "str | Reward | WeightedSum", given: Mapping[str, Reward] | None = None
) -> WeightedSum:
    """Return a reward given by name, by formula or as an object.

    Args:
        reward: Such as `"sparsity"`, `"sparsity + 0.5 * accuracy"`, or an object.
        given: Rewards that come with the model, by name; they win over those of `REWARDS`.

    Raises:
        SettingsError: The formula cannot be read, or a name stands for no reward.
        UnknownNameError: No reward has this name.

    Example:
        >>> str(make_reward("sparsity + 0.5 * accuracy"))
        'sparsity + 0.5 * accuracy'
    """
    if isinstance(reward, WeightedSum):
        return reward
    if isinstance(reward, Reward):
        return WeightedSum([(1.0, reward)])
    if not isinstance(reward, str):
        raise SettingsError(
            "reward is of the wrong type",
            expected="a name, a sum of names in one string, or a Reward",
            actual=f"{reward!r:.200} ({type(reward).__name__})",
        )
    return WeightedSum([_parse_term(term, given or {}) for term in reward.split(" + ")])


def code_of_others(reward: WeightedSum) -> dict[str, str]:
    """Return which code defines the terms that are not this package's, by name.

    The version of this package does not tell when it changes, see `utils.source`.
    """
    found = {each.name: source_of_others(type(each)) for _, each in reward.terms}
    return {name: code for name, code in found.items() if code is not None}


def tell_code_of_others(reward: WeightedSum) -> str:
    """Return `code_of_others` as one text, empty where all of it is this package's."""
    return ", ".join(f"{name} {code}" for name, code in code_of_others(reward).items())


def _parse_term(text: str, given: Mapping[str, Reward]) -> tuple[float, Reward]:
    match = _TERM.fullmatch(text.strip())
    try:
        weight = float(match["weight"] or 1) if match else None
    except ValueError:
        weight = None
    if match is None or weight is None:
        raise SettingsError(
            f"Cannot read the reward term '{text.strip()}'",
            expected="'name' or 'number * name', joined by ' + '",
            remedy="write for example 'sparsity + 0.5 * accuracy'",
        )
    name = match["name"]
    return weight, given[name] if name in given else _make_named(name)


def _make_named(name: str) -> Reward:
    """Return the reward of a name, which may be another distribution's."""
    maker = REWARDS[name]
    expected = "a class derived from Reward, made without arguments"
    try:
        reward = maker()
    except TypeError as error:  # no class, an abstract one, or one that needs arguments
        raise SettingsError(
            f"The reward '{name}' cannot be made", expected=expected, actual=error
        ) from error
    if not isinstance(reward, Reward):
        raise SettingsError(
            f"What is registered as the reward '{name}' is none",
            expected=expected,
            actual=f"{reward!r:.200} ({type(reward).__name__})",
        )
    return reward
