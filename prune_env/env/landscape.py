"""A synthetic accuracy landscape over masks: the environment without a transformer."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation.base import Evaluation, check_masks
from prune_env.importance import DEFAULT_METRICS
from prune_env.models.masks import Mask

# Chosen so that, of 72 heads at tau 0.85 and averaged over landscapes, random order prunes about
# 16, an order by single costs 33 and a greedy search 49: there is something to learn.
SPREAD = 0.7  # of the logarithm of the costs
HARMFUL = 1 / 6  # share of heads that do harm
HARM = 0.8  # the harm of a head, as a share of the cost that it would have had
BACKUP = 3.0  # cost of losing a head and its backup, in units of the dearer one
RUIN = 5.0  # cost of losing everything, in units of margin, at any size


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

    Args:
        layers: L.
        heads: H per layer.
        seed: Which landscape.
        sentences: S, imagined validation sentences.

    Attributes:
        evaluations: Masks computed so far.
        labels: Int64 (S,), both classes in turn.

    Raises:
        SettingsError: A size is not positive.

    Example:
        >>> landscape = LandscapeEvaluator(layers=2, heads=4)
        >>> masks = np.ones((1, 2, 4), bool)
        >>> landscape.accuracy(masks).shape
        (1,)
    """

    def __init__(
        self, layers: int = 6, heads: int = 12, seed: int = 0, sentences: int = 400
    ) -> None:
        for name, value in (("layers", layers), ("heads", heads), ("sentences", sentences)):
            if value < 1:
                raise SettingsError(f"{name} must be positive", expected=">= 1", actual=value)
        if seed < 0:
            raise SettingsError("seed must not be negative", expected=">= 0", actual=seed)
        self.evaluations = 0
        self._shape = (layers, heads)
        count = layers * heads
        random = np.random.default_rng([seed, layers, heads, sentences])
        cost = random.lognormal(mean=-1.0, sigma=SPREAD, size=count)
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
        self.fingerprint = hashlib.sha256(
            f"landscape {layers} {heads} {seed} {sentences}".encode()
        ).hexdigest()

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads (L, H)."""
        return self._shape

    @property
    def available(self) -> Mask:
        """Bool (L, H), all True."""
        return np.ones(self._shape, np.bool_)

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
        """
        count = len(self._cost)
        columns = []
        for name in metrics:
            digest = hashlib.sha256(f"{self.fingerprint} {name}".encode()).digest()
            noise = np.random.default_rng(int.from_bytes(digest[:8])).lognormal(size=count)
            size = abs(self._cost)
            columns.append(
                {
                    "gate_gradient": size,
                    "key_gradient": size * noise**0.5,
                    "cls_variance": size * noise,
                }.get(name, noise)
            )
        return np.stack(columns, axis=1).reshape(*self._shape, len(columns))

    def _margins(self, masks: Mask) -> npt.NDArray[np.float32]:
        masks = check_masks(masks, self.available)
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


def landscape_subject(
    metrics: Sequence[str] = DEFAULT_METRICS,
    layers: int = 6,
    heads: int = 12,
    seed: int = 0,
    sentences: int = 400,
) -> Subject:
    """Return a landscape with its importance metrics, as an environment plays it."""
    evaluator = LandscapeEvaluator(layers, heads, seed, sentences)
    arguments = (tuple(metrics), layers, heads, seed, sentences)
    return Subject(
        evaluator=evaluator,
        importance=evaluator.importance(metrics),
        metrics=tuple(metrics),
        name=f"landscape:layers={layers},heads={heads},seed={seed}",
        origin=(landscape_subject, arguments),
    )
