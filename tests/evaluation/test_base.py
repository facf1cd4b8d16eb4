import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prune_env.errors import SettingsError
from prune_env.evaluation import NO_CLASS, Evaluation
from prune_env.evaluation.base import check_masks, predicted_classes, top_two_gap


def logits_of(*rows: list[float]) -> np.ndarray:
    return np.array([rows], np.float32)


def test_ties_go_to_the_first_class_and_nan_is_wrong_for_every_label() -> None:
    logits = logits_of([1, 1, 0], [0, 2, 2], [np.nan, 5, 0], [np.inf, 0, 0], [0, 0, 3])
    for label in range(3):
        result = Evaluation.from_logits(logits, np.full(5, label))
        assert result.predictions.tolist() == [[0, 1, NO_CLASS, NO_CLASS, 2]]
        assert not result.correct[0, 2:4].any()
        assert np.isneginf(result.margins[0, 2:4]).all()
        assert result.accuracy[0] == np.mean(result.predictions[0] == label)
        assert result.loss[0] == np.inf


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(np.float32, (3, 5, 4), elements=st.floats(-8, 8, width=32)),
    hnp.arrays(np.int64, 5, elements=st.integers(0, 3)),
)
def test_numbers_agree_with_torch(logits: np.ndarray, labels: np.ndarray) -> None:
    result = Evaluation.from_logits(logits, labels)
    tensor, target = torch.from_numpy(logits), torch.from_numpy(labels)
    for index in range(3):
        loss = torch.nn.functional.cross_entropy(tensor[index].double(), target)
        assert result.loss[index] == pytest.approx(loss.item(), abs=1e-6)
    others = np.array(
        [
            [np.delete(row, label).max() for row, label in zip(m, labels, strict=True)]
            for m in logits
        ]
    )
    own = logits[:, np.arange(5), labels]
    np.testing.assert_allclose(result.margins, own - others, atol=1e-5)
    assert (result.correct >= (result.margins > 0)).all()
    assert (result.correct <= (result.margins >= 0)).all()
    np.testing.assert_allclose(top_two_gap(logits), np.diff(np.sort(logits), axis=-1)[..., -1])


def test_selecting_keeps_the_answers() -> None:
    logits = logits_of([2, 0], [0, 1], [3, 4], [1, 0])
    result = Evaluation.from_logits(logits, np.array([0, 0, 1, 1]))
    assert result.accuracy.tolist() == [0.5]
    assert result.select(np.array([0, 2])).accuracy.tolist() == [1.0]
    assert result.select(slice(1, 2)).predictions.tolist() == [[1]]


def test_masks_are_checked_and_copied() -> None:
    available = np.array([[True, True], [True, False]])
    masks = np.ones((1, 2, 2), bool)
    checked = check_masks(masks, available)
    assert checked.tolist() == [[[True, True], [True, False]]]
    assert masks.all()
    assert check_masks(masks.astype(float), available).dtype == bool
    assert check_masks(np.ones((0, 2, 2)), available).shape == (0, 2, 2)
    with pytest.raises(SettingsError, match=r"masks\[None\]"):
        check_masks(masks[0], available)
    with pytest.raises(SettingsError, match="True and False"):
        check_masks(masks * 0.5, available)


def test_no_logit_order_changes_the_rule() -> None:
    assert predicted_classes(np.array([-0.0, 0.0], np.float32)) == 0
    assert predicted_classes(np.array([0.0, np.nan], np.float32)) == NO_CLASS


def test_the_protocol_needs_no_torch() -> None:
    code = (
        "import sys; from prune_env.evaluation import Evaluation, Evaluator; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
