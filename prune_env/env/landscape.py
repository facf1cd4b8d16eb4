"""A synthetic accuracy landscape over masks: the environment without a transformer."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from prune_env.env.arguments import whole_number
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, UnknownNameError
from prune_env.evaluation.base import Evaluation, check_masks
from prune_env.importance import DEFAULT_METRICS, METRICS
from prune_env.importance.registry import UNIT_FEATURES
from prune_env.importance.unit_features import unit_features
from prune_env.models.masks import Mask
from prune_env.models.units import Units

# Chosen so that, of 72 heads at tau 0.85 and averaged over landscapes, random order prunes about
# 16, an order by single costs 33 and a greedy search 49: there is something to learn.
SPREAD = 0.7  # of the logarithm of the costs
HARMFUL = 1 / 6  # share of heads that do harm
HARM = 0.8  # the harm of a head, as a share of the cost that it would have had
BACKUP = 3.0  # cost of losing a head and its backup, in units of the dearer one
RUIN = 5.0  # cost of losing everything, in units of margin, at any size

# Of units beside heads, after what they cost a tiny BERT: each step of a strength costs about three
# times the one before, and the loudest group of neurons about ten times the quietest.
MAPS = 4  # of a layer, as in a transformer
STEP_GROWTH = 3.0
GROUP_RANGE = 10.0
HEAD_METRICS = ("key_gradient", "cls_variance")  # imagined ones; a model has more
LARGEST = 16_000_000  # units times sentences: some 400 MB while it is made, 100 MB after it


class LandscapeEvaluator:
    """Accuracy of an imagined classifier in which heads help, hurt, back up and feed each other.

    The margin of sentence s, with p = 1 for pruned heads and 0 for the others, is

        margin_s = base_s - sum_i cost_si p_i - sum_(i, j) pair_sij p_i p_j

    and s is right while its margin is positive. Most heads cost little, a few much, and one in
    six does harm (a negative cost). Each head has one partner: the two *back up* each other
    (cheap alone, dear together: pair > 0), or one *feeds* the other (once one is gone the other
    is free: pair < 0), or they are strangers (pair = 0), a third each. So a fixed order by the
    cost of single heads is good at first and wrong later, as in real transformers.

    Computing a mask is as cheap as looking it up, so none is remembered.

    With groups or steps the columns of a mask are units, see `Units`: of four maps in each layer
    every step costs more than the one before, and of the groups of neurons each more than the one
    before, on average.

    Args:
        layers: L.
        heads: H per layer.
        seed: Which landscape.
        sentences: S, imagined validation sentences.
        groups: G per layer, imagined groups of neurons.
        steps: Of the strength of each of four imagined maps per layer.

    Attributes:
        evaluations: Masks computed so far.
        labels: Int64 (S,), both classes in turn.

    Raises:
        SettingsError: A size is no whole number, or not positive, or all are too large together.

    Example:
        >>> landscape = LandscapeEvaluator(layers=2, heads=4)
        >>> masks = np.ones((1, 2, 4), bool)
        >>> landscape.accuracy(masks).shape
        (1,)
    """

    def __init__(  # noqa: PLR0917 - its order is public
        self,
        layers: int = 6,
        heads: int = 12,
        seed: int = 0,
        sentences: int = 400,
        groups: int = 0,
        steps: int = 0,
    ) -> None:
        layers = whole_number("layers", layers, 1)
        heads = whole_number("heads", heads, 1)
        sentences = whole_number("sentences", sentences, 1)
        seed = whole_number("seed", seed, 0)
        groups, steps = whole_number("groups", groups, 0), whole_number("steps", steps, 0)
        maps = MAPS if steps else 0
        _check_size(layers * (heads + groups + maps * steps), sentences)
        self.evaluations = 0
        available = np.ones((layers, heads + groups + maps * steps), np.bool_)
        self.units = Units(available, heads, groups, maps, steps)
        count = available.size
        random = np.random.default_rng([seed, layers, heads, sentences])
        cost = random.lognormal(mean=-1.0, sigma=SPREAD, size=count)
        cost *= np.tile(_relative_costs(self.units), layers)
        cost *= np.where(random.random(count) < HARMFUL, -HARM, 1.0)
        order = random.permutation(count)
        half = count // 2
        self._first, self._second = order[:half], order[half : 2 * half]
        kind = np.arange(half) % 3
        weaker = np.minimum(abs(cost[self._first]), abs(cost[self._second]))
        stronger = np.maximum(abs(cost[self._first]), abs(cost[self._second]))
        pair = np.select([kind == 0, kind == 1], [BACKUP * stronger, -weaker], 0.0)
        unit = RUIN / count
        self._base = random.normal(1.5, 1.0, sentences).astype(np.float32)
        self._weights = np.concatenate(
            [
                unit * column[:, None] * random.gamma(2.0, 0.5, (len(column), sentences))
                for column in (cost, pair)
            ]
        ).astype(np.float32)
        self.labels = np.arange(sentences) % 2
        self._cost = cost
        cut = "" if self.units.heads_only else f" {groups} {steps}"
        self.fingerprint = hashlib.sha256(
            f"landscape {layers} {heads} {seed} {sentences}{cut}".encode()
        ).hexdigest()

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H), or layers and units (L, W)."""
        return self.units.shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), all True."""
        return self.units.available.copy()

    def accuracy(self, masks: Mask) -> npt.NDArray[np.float64]:
        """Return the accuracy (N,) under masks (N, L, H)."""
        right: npt.NDArray[np.float64] = (self._margins(masks) > 0).mean(axis=1)
        return right

    def evaluate(self, masks: Mask) -> Evaluation:
        """Return the answers under masks (N, L, H); the logits are the margin's two halves."""
        margins = self._margins(masks)
        sign = np.where(self.labels == 1, 0.5, -0.5).astype(np.float32)
        positive = margins * sign
        return Evaluation.from_logits(np.stack([-positive, positive], axis=2), self.labels)

    def importance(self, metrics: Sequence[str] = DEFAULT_METRICS) -> npt.NDArray[np.float64]:
        """Return imagined importance metrics, float64 (L, H, M).

        `gate_gradient` is the size of each head's own cost, `key_gradient` and `cls_variance`
        see it through noise, and every other name is noise: no metric knows of the pairs.

        With other units too, `gate_gradient` sees these through noise; the two metrics of heads
        alone give them the largest value of a head, and the `UNIT_FEATURES` are as of a model.
        """
        size, features = abs(self._cost).reshape(self.shape), unit_features(self.units)
        columns = []
        for name in metrics:
            digest = hashlib.sha256(f"{self.fingerprint} {name}".encode()).digest()
            noise = np.random.default_rng(int.from_bytes(digest[:8])).lognormal(size=self.shape)
            column = {
                "gate_gradient": size.copy(),
                "key_gradient": size * noise**0.5,
                "cls_variance": size * noise,
            }.get(name, noise)
            others = column[:, self.units.heads :]
            if name == "gate_gradient":
                others *= noise[:, self.units.heads :] ** 0.5
            elif name in HEAD_METRICS:
                others[:] = column[:, : self.units.heads].max()
            columns.append(column if self.units.heads_only else features.get(name, column))
        return np.stack(columns, axis=2) if columns else np.zeros((*self.shape, 0))

    def _margins(self, masks: Mask) -> npt.NDArray[np.float32]:
        masks = self.units.in_order(check_masks(masks, self.available))
        self.evaluations += len(masks)
        pruned = (~masks).reshape(len(masks), -1)
        both = pruned[:, self._first] & pruned[:, self._second]
        features = np.concatenate([pruned, both], axis=1).astype(np.float32)
        # One product per mask: a batched one may round differently, and the same mask must get
        # the same answer in any company.
        margins: npt.NDArray[np.float32] = np.stack(
            [self._base - row @ self._weights for row in features]
        )
        return margins


def _relative_costs(units: Units) -> npt.NDArray[np.float64]:
    """Return what a unit of each column (W,) costs on average, that of a head being 1."""
    groups = np.geomspace(1, GROUP_RANGE, units.groups)
    steps = np.tile(STEP_GROWTH ** np.arange(units.steps), units.maps)
    kinds = (np.ones(units.heads), groups, steps)
    return np.concatenate([kind / kind.mean() for kind in kinds if len(kind)])


def _check_size(units: int, sentences: int) -> None:
    """Raise a `SettingsError` if a landscape would fill the memory."""
    if units * sentences > LARGEST:
        raise SettingsError(
            "The landscape is too large",
            expected=f"at most {LARGEST:,} units times sentences",
            actual=f"{units:,} units, {sentences:,} sentences",
            remedy="give fewer layers, heads, groups, steps or sentences",
        )


def landscape_subject(  # noqa: PLR0917 - its order is public
    metrics: Sequence[str] = DEFAULT_METRICS,
    layers: int = 6,
    heads: int = 12,
    seed: int = 0,
    sentences: int = 400,
    groups: int = 0,
    steps: int = 0,
) -> Subject:
    """Return a landscape with its importance metrics, as an environment plays it.

    Raises:
        SettingsError: A size is no whole number, or not positive, or all are too large together.
        UnknownNameError: No importance metric has this name: it would be noise.
    """
    for name in metrics:
        if name not in UNIT_FEATURES and name not in METRICS:
            raise UnknownNameError("importance metric", name, [*METRICS.names(), *UNIT_FEATURES])
    evaluator = LandscapeEvaluator(layers, heads, seed, sentences, groups, steps)
    arguments = (tuple(metrics), layers, heads, seed, sentences, groups, steps)
    cut = "" if evaluator.units.heads_only else f",groups={groups},steps={steps}"
    return Subject(
        evaluator=evaluator,
        importance=evaluator.importance(metrics),
        metrics=tuple(metrics),
        name=f"landscape:layers={layers},heads={heads}{cut},seed={seed}",
        origin=(landscape_subject, arguments),
    )
