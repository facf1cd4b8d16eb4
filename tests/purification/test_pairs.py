"""A classifier of pairs is purified on pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from prune_env import purify
from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import first_and_second, text_pair
from prune_env.errors import DataError
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from tests.models.tiny import tiny_classifier
from tests.support import BAD, GOOD, NOUNS, tiny_tokenizer

TUNING = FineTuneSettings(epochs=12, learning_rate=1e-3, batch_size=16, precision="fp32")


def _pairs(size: int, seed: int) -> TextDataset:
    """Pairs whose label is the feeling of the second text; the first has any."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(2, size=size)
    texts = [
        text_pair(
            f"the {draw.choice(NOUNS)} is {draw.choice(GOOD + BAD)}",
            f"a {draw.choice(GOOD if label else BAD)} and {draw.choice(GOOD if label else BAD)} "
            f"{draw.choice(NOUNS)}",
        )
        for label in labels
    ]
    return TextDataset(texts, labels)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready classifier of pairs that is right."""
    loaded = tiny_classifier("bert")
    loaded.tokenizer = tiny_tokenizer()
    fine_tune(loaded.model, loaded.tokenizer, _pairs(400, 1), TUNING)
    folder = tmp_path_factory.mktemp("pairs") / "model"
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def _accuracy(folder: Path, data: TextDataset) -> float:
    """As a user asks a model of pairs."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    firsts, seconds = zip(*map(first_and_second, data.texts), strict=True)
    with torch.inference_mode():
        logits = model(**tokenizer(firsts, seconds, padding=True, return_tensors="pt")).logits
    return float((logits.argmax(1).numpy() == data.labels).mean())


@pytest.mark.parametrize("healing", [{}, {"healing": "unlearn"}])
def test_it_answers_pairs_as_the_report_says(
    source: Path, tmp_path: Path, healing: dict[str, Any]
) -> None:
    train, validation = _pairs(300, 2), _pairs(120, 3)
    assert _accuracy(source, validation) > 0.9
    report = purify(
        source, train, validation, tmp_path / "out", fine_tune_settings=TUNING, **healing
    )
    found = report["result"]["validation_accuracy_purified"]
    assert found > 0.9
    assert _accuracy(tmp_path / "out", validation) == pytest.approx(found)
    # Of one text alone it could not tell.
    halved = TextDataset(
        [first_and_second(text)[0] for text in validation.texts], validation.labels
    )
    assert _accuracy(tmp_path / "out", halved) < 0.75


def test_single_texts_to_validate_on_are_refused(source: Path, tmp_path: Path) -> None:
    pairs = _pairs(60, 2)
    firsts = [first_and_second(text)[0] for text in pairs.texts]
    with pytest.raises(DataError, match="single texts beside pairs"):
        purify(source, pairs, TextDataset(firsts, pairs.labels), tmp_path / "out")
    assert not (tmp_path / "out").exists()
