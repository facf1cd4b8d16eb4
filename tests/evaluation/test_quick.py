"""Quick answers to any texts are those of the model itself."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.data import read_images
from prune_env.evaluation import quick
from prune_env.evaluation.quick import QuickAnswers
from prune_env.models import LoadedModel, forward
from prune_env.models.forward import answer
from prune_env.models.gates import HeadGates
from prune_env.models.inputs import Rows, make_rows
from tests.models.tiny import tiny_classifier, write_tiny_images
from tests.support import tiny_dataset

TEXTS = list(tiny_dataset(60, 0).texts)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect how many samples were packed at a time."""
    counts: list[int] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def engine(model: Any, samples: Any, rows: Any, size: int) -> Any:
            counts.append(len(rows))
            return function(model, samples, rows, size)

        return engine

    monkeypatch.setattr(quick, "PackedEngine", watched(quick.PackedEngine))
    return counts


def rows_of(loaded: LoadedModel) -> Rows:
    return make_rows(TEXTS, loaded.tokenizer, 128)


@pytest.mark.parametrize(
    ("model_type", "packs"),
    [("bert", True), ("roberta", True), ("distilbert", True), ("mpnet", False), ("gpt2", False)],
)
@pytest.mark.parametrize("tokens", [1, 1 << 13])
def test_quick_answers_are_those_of_the_model(
    model_type: str, packs: bool, tokens: int, packed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    monkeypatch.setattr(forward, "TOKENS", tokens)
    loaded = tiny_classifier(model_type)
    rows = rows_of(loaded)
    ask = QuickAnswers(loaded.model)
    for _ in range(2):  # as the weights are at the time
        truth = answer(loaded.model, rows)
        np.testing.assert_allclose(ask(rows), truth, atol=5e-4 * (1 + np.abs(truth).max()))
        with torch.no_grad():
            for weights in loaded.model.parameters():
                weights.mul_(1.1)
    proof = [quick.PROOF] * 2
    assert packed == ([*proof, *([1] * 60 if tokens == 1 else [60]) * 2] if packs else [])


def test_in_bfloat16_answers_are_near(packed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "bf16")
    loaded = tiny_classifier("bert")
    rows = rows_of(loaded)
    truth = answer(loaded.model, rows)
    found = QuickAnswers(loaded.model)(rows)
    assert packed == [quick.PROOF, quick.PROOF, 60]
    assert found.dtype == np.float32
    assert not np.array_equal(found, truth)
    np.testing.assert_allclose(found, truth, atol=0.02 * np.ptp(truth))


def test_few_long_texts_are_packed_by_themselves(
    packed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "TOKENS", 600)
    loaded = tiny_classifier("bert")
    texts = ["the film is great"] * 90 + ["the film is great " * 25] * 6
    rows = make_rows(texts, loaded.tokenizer, 128)
    truth = answer(loaded.model, rows)
    np.testing.assert_allclose(
        QuickAnswers(loaded.model)(rows), truth, atol=0.02 * (1 + np.abs(truth).max())
    )
    assert packed[2:] == [90, 5, 1]  # of 6 tokens, and of 102


def test_what_hangs_on_a_model_is_not_passed_by(packed: list[int]) -> None:
    loaded = tiny_classifier("bert")
    rows = rows_of(loaded)
    ask = QuickAnswers(loaded.model)
    free = ask(rows)
    packed.clear()
    with HeadGates(loaded.model) as gates:
        gates.set(np.arange(8).reshape(2, 4) % 2 == 0)
        closed = ask(rows)
        np.testing.assert_array_equal(closed, answer(loaded.model, rows, precision="auto"))
    assert not packed
    assert not np.allclose(closed, free, atol=1e-3)


def test_hidden_states_that_were_asked_for_before_change_nothing(packed: list[int]) -> None:
    loaded = tiny_classifier("bert")
    rows = rows_of(loaded)
    found = QuickAnswers(loaded.model)(rows)
    first = rows.batch(np.arange(2), loaded.model.device)
    loaded.model(**first, output_hidden_states=True)  # transformers leaves hooks of its own
    assert any(each._forward_hooks for each in loaded.model.modules())
    packed.clear()
    np.testing.assert_array_equal(QuickAnswers(loaded.model)(rows), found)
    assert packed


@pytest.mark.parametrize("part", ["", ".output"])
def test_a_model_that_packs_to_other_answers_is_asked_itself(
    part: str, packed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny_classifier("bert")
    rows = rows_of(loaded)
    # As a structure would that looks like a known one, and adds something of its own.
    changed = loaded.model.get_submodule(f"bert.encoder.layer.0{part}")
    own = changed.forward
    monkeypatch.setattr(changed, "forward", lambda *args, **how: 2 * own(*args, **how))
    truth = answer(loaded.model, rows, precision="auto")
    np.testing.assert_array_equal(QuickAnswers(loaded.model)(rows), truth)
    assert set(packed) == {quick.PROOF}


def test_images_are_asked_as_ever(tmp_path: Path, packed: list[int]) -> None:
    loaded = tiny_classifier("vit")
    images = read_images(write_tiny_images(tmp_path / "images"))
    rows = make_rows(list(images.texts), loaded.tokenizer, 128)
    truth = answer(loaded.model, rows, precision="auto")
    np.testing.assert_array_equal(QuickAnswers(loaded.model)(rows), truth)
    assert not packed


def test_packed_weights_go_with_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []

    class Watched(quick.PackedModel):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(weakref.ref(self))
            made.append(weakref.ref(self.block(0, b"")))

    monkeypatch.setattr(quick, "PackedModel", Watched)
    loaded = tiny_classifier("bert")
    rows, ask = rows_of(loaded), QuickAnswers(loaded.model)
    ask(rows)
    made.clear()
    gc.disable()
    try:
        ask(rows)
        assert len(made) == 2
        assert not any(each() for each in made)  # without a look for garbage
    finally:
        gc.enable()
