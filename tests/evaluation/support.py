"""Masks and comparisons that the tests of evaluators share."""

import numpy as np
import torch
from hypothesis import strategies as st

from prune_env.evaluation import Evaluator


def random_masks(evaluator: Evaluator, count: int, seed: int = 0) -> np.ndarray:
    """Return masks from full to nearly empty."""
    random = np.random.default_rng(seed)
    kept = np.linspace(1.01, 0.1, count)[:, None, None]
    return (random.random((count, *evaluator.shape)) < kept) & evaluator.available


def assert_same_answers(evaluator: Evaluator, reference: Evaluator, masks: np.ndarray) -> None:
    """Compare classes, correctness and accuracy, which must be equal, and logits, nearly."""
    got, expected = evaluator.evaluate(masks), reference.evaluate(masks)
    np.testing.assert_array_equal(got.predictions, expected.predictions)
    np.testing.assert_array_equal(got.correct, expected.correct)
    np.testing.assert_array_equal(evaluator.accuracy(masks), expected.accuracy)
    scale = np.abs(np.nan_to_num(expected.logits)).max()
    np.testing.assert_allclose(got.logits, expected.logits, atol=0.2 * scale)


def mask_walks(layers: int, heads: int, longest: int) -> st.SearchStrategy[np.ndarray]:
    """Draw masks of which many share rows: each changes some heads of an earlier one."""
    head = st.tuples(st.integers(0, layers - 1), st.integers(0, heads - 1))
    steps = st.tuples(st.integers(0, longest), st.sets(head, max_size=3))

    def build(changes: list[tuple[int, set[tuple[int, int]]]]) -> np.ndarray:
        masks = [np.ones((layers, heads), bool)]
        for origin, flipped in changes:
            mask = masks[origin % len(masks)].copy()
            for place in flipped:
                mask[place] ^= True
            masks.append(mask)
        return np.stack(masks)

    return st.lists(steps, max_size=longest).map(build)


def dead_classifier(model: torch.nn.Module) -> None:
    """Make every logit of a BERT classifier 0."""
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.zero_()
