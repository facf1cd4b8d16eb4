import numpy as np

from prune_env.counting import CountingEvaluator
from prune_env.landscape import LandscapeEvaluator


def test_it_counts_distinct_masks_of_its_own_caller() -> None:
    shared = LandscapeEvaluator(layers=2, heads=3, seed=0)
    masks = np.ones((3, 2, 3), bool)
    masks[1, 0, 0] = False
    first, second = CountingEvaluator(shared), CountingEvaluator(shared)
    answers = first.accuracy(masks)  # two of the three are equal
    assert first.evaluations == 2
    assert np.array_equal(second.accuracy(masks), answers)
    assert second.evaluations == 2  # though the evaluator beneath remembered them
    assert second.evaluate(masks[:1]).accuracy[0] == answers[0]
    assert second.evaluations == 2
