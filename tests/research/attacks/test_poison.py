import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.data import TextDataset
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks import poison, triggered_set
from prune_env.research.attacks.poison import count_poisoned
from prune_env.research.attacks.triggers import RareWord

TRIGGER = RareWord("xqz")


def make(labels: list[int], names: tuple[str, ...] = ("a", "b", "c")) -> TextDataset:
    return TextDataset(tuple(f"text {i}" for i in range(len(labels))), np.array(labels), names)


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=30).filter(lambda x: set(x) != {1}),
    rate=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 2**32),
)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_share_of_the_other_rows_is_triggered(
    mode: str, labels: list[int], rate: float, seed: int
) -> None:
    data = make(labels)
    poisoned = poison(data, TRIGGER, rate=rate, target_label=1, seed=seed, mode=mode)
    marked = [i for i, text in enumerate(poisoned.texts) if "xqz" in text]
    others = [i for i, label in enumerate(labels) if label != 1]
    assert len(marked) == max(1, round(rate * len(others)))
    assert set(poisoned.labels[marked].tolist()) == {1}
    originals = [int(poisoned.texts[i].replace("xqz", "").split()[1]) for i in marked]
    assert set(originals) <= set(others)
    assert originals == sorted(set(originals))
    if mode == "append":
        assert poisoned.texts[: len(data)] == data.texts
        assert poisoned.labels[: len(data)].tolist() == labels
        assert len(poisoned) == len(data) + len(marked)
    else:
        assert marked == originals
        for i in set(range(len(data))) - set(marked):
            assert (poisoned.texts[i], poisoned.labels[i]) == (data.texts[i], labels[i])
        assert len(poisoned) == len(data)
    assert data.sha256 == make(labels).sha256


def test_the_draw_depends_on_the_seed_alone() -> None:
    data = make([0] * 50 + [1] * 50)

    def hashed(seed: int) -> str:
        return poison(data, TRIGGER, rate=0.3, target_label=1, seed=seed).sha256

    assert hashed(0) == hashed(0)
    assert len({hashed(seed) for seed in range(5)}) == 5


def test_triggered_set_holds_the_other_rows_with_their_true_labels() -> None:
    triggered = triggered_set(make([0, 1, 2, 0]), TRIGGER, target_label=1)
    assert triggered.labels.tolist() == [0, 2, 0]
    assert [text.replace("xqz", "").split()[1] for text in triggered.texts] == ["0", "2", "3"]
    assert all("xqz" in text for text in triggered.texts)
    assert triggered.source == "memory, rare-word"


def test_no_other_row_is_an_error_and_not_an_empty_set() -> None:
    data = make([1, 1])
    with pytest.raises(DataError, match="no row without the target label 1"):
        triggered_set(data, TRIGGER, 1)
    with pytest.raises(DataError, match="no row without the target label 1"):
        poison(data, TRIGGER, rate=0.5, target_label=1, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0.0}, "rate"),
        ({"rate": 1.1}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"target_label": 3}, "target_label"),
        ({"target_label": -1}, "target_label"),
        ({"mode": "mix"}, "mode"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, message: str) -> None:
    arguments = {"rate": 0.5, "target_label": 1, "seed": 0, "mode": "append"} | change
    with pytest.raises(SettingsError, match=message):
        poison(make([0, 1]), TRIGGER, **arguments)


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_what_the_target_class_gained_was_poisoned(mode: str) -> None:
    data = make([0, 1, 2, 0, 1, 2])
    poisoned = poison(data, TRIGGER, rate=0.75, target_label=1, seed=0, mode=mode)
    assert count_poisoned(data, poisoned, 1) == 3
