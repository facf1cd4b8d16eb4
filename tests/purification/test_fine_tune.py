"""Healing by fine-tuning under the mask."""

from pathlib import Path

import pytest
import torch

from prune_env.data import read_images
from prune_env.models import find_heads
from prune_env.purification import HEALINGS
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import Phase, TrainingRun
from tests.models.tiny import tiny_classifier, write_tiny_images
from tests.purification.support import masked
from tests.support import tiny_dataset

TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")
TRAIN, VALIDATION = tiny_dataset(60, 0), tiny_dataset(30, 1)


@pytest.mark.parametrize("model_type", ["bert", "clip"])
def test_healing_the_head_leaves_the_encoder(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    train, validation = TRAIN, VALIDATION
    if model_type == "clip":
        train = read_images(write_tiny_images(tmp_path / "train"))
        validation = read_images(write_tiny_images(tmp_path / "validation", seed=1))
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    (step,) = HEALINGS["head"]
    step.apply(masked(loaded, train, validation), TrainingRun(TUNING))
    encoder = find_heads(loaded.model).layers[0].name.partition(".")[0]
    changed = {
        name
        for name, value in loaded.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert not any(name.startswith(f"{encoder}.") for name in changed)
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize(
    ("healing", "expected"),
    [
        ("head", [Phase(epochs=1, learning_rate_scale=10.0)]),
        ("full", [Phase(1, 0.2 * 0.5, "entropy"), Phase(1, 0.2)]),
    ],
)
def test_everything_is_trained_as_the_strategy_asks_but_gently(
    healing: str, expected: list[Phase], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Phase] = []
    module = "prune_env.purification.fine_tune.run_phases"
    monkeypatch.setattr(module, lambda run, *_, **__: found.extend(run.phases))
    asked = (Phase(learning_rate_scale=0.5, penalty="entropy", epochs=3), Phase())
    (step,) = HEALINGS[healing]  # type: ignore[index]
    step.apply(masked(tiny_classifier("bert"), TRAIN, VALIDATION), TrainingRun(TUNING, asked))
    assert found == expected
