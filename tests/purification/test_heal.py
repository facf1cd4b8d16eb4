"""What is done once the mask is on, whatever the model."""

import importlib
from pathlib import Path

import pytest
import torch

from prune_env.data import read_images
from prune_env.errors import UnknownNameError
from prune_env.models import find_heads, full_mask
from prune_env.purification import fine_tune_suspicious, heal, make_subject, prepare, purify
from prune_env.settings import FineTuneSettings
from prune_env.training.phases import TrainingRun
from tests.models.tiny import tiny_classifier, write_tiny_images
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
    subject = make_subject(loaded, "here", train, validation)
    healed = heal(subject, [full_mask(subject.shape)], TrainingRun(TUNING), healing="head").model
    encoder = find_heads(loaded.model).layers[0].name.partition(".")[0]
    changed = {
        name
        for name, value in healed.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert not any(name.startswith(f"{encoder}.") for name in changed)
    assert all(parameter.requires_grad for parameter in healed.model.parameters())


@pytest.mark.parametrize(("protocol", "healing"), [("Direct", "none"), ("direct", "Head")])
def test_names_are_checked(protocol: str, healing: str, tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"Direct|Head"):
        purify(
            tiny_folder,
            TRAIN,
            VALIDATION,
            tmp_path / "out",
            policy="gradient",
            protocol=protocol,  # type: ignore[arg-type]
            healing=healing,  # type: ignore[arg-type]
        )


def test_a_ready_classifier_is_moved_to_the_device(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(prepare.__module__)  # the package has a function of that name
    monkeypatch.setattr(module, "pick_device", lambda: torch.device("meta"))
    assert fine_tune_suspicious(tiny_folder, TRAIN, TrainingRun(TUNING)).model.device.type == "meta"
