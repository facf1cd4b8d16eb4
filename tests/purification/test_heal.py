"""What is done once the mask is on, whatever the model."""

from pathlib import Path
from typing import get_args

import pytest

from prune_env.errors import UnknownNameError
from prune_env.models import find_heads, full_mask
from prune_env.purification import (
    HEALINGS,
    Ensemble,
    heal,
    make_subject,
    purify,
    removes_backdoor,
)
from prune_env.purification.step import MaskedModel, Step, StepReport
from prune_env.settings import FineTuneSettings, Healing
from prune_env.training.phases import TrainingRun
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset

TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")
RUN = TrainingRun(TUNING)
TRAIN, VALIDATION = tiny_dataset(60, 0), tiny_dataset(30, 1)


@pytest.mark.parametrize(("protocol", "healing"), [("Direct", "none"), ("direct", "Head")])
def test_names_are_checked(protocol: str, healing: str, tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"(Direct|Head).*`prune-env purify --help`"):
        purify(
            tiny_folder,
            TRAIN,
            VALIDATION,
            tmp_path / "out",
            policy="gradient",
            protocol=protocol,  # type: ignore[arg-type]
            healing=healing,  # type: ignore[arg-type]
        )


def test_every_healing_has_its_steps() -> None:
    assert set(HEALINGS) == set(get_args(Healing))
    removing = {name for name in HEALINGS if removes_backdoor(name)}
    assert removing == {"refit", "unlearn", "refit-unlearn"}
    assert not removes_backdoor("none")
    with pytest.raises(UnknownNameError, match="refit-unlearn"):
        removes_backdoor("Refit")  # type: ignore[arg-type]


class Remember(Step):
    """A step that remembers what it was given."""

    def __init__(self) -> None:
        self.models: list[MaskedModel] = []

    def apply(self, model: MaskedModel, run: TrainingRun) -> StepReport:
        assert run is RUN
        self.models.append(model)
        return StepReport()


def test_each_mask_goes_through_every_step_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Remember(), Remember()
    monkeypatch.setitem(HEALINGS, "refit", (first, second))
    subject = make_subject(tiny_classifier("bert"), "here", TRAIN, VALIDATION)
    masks = [full_mask(subject.shape) for _ in range(2)]
    masks[0][0, 1] = masks[1][1, 2] = False
    healed = heal(subject, masks, RUN, healing="refit")
    assert len(healed.reports) == 4
    assert first.models == second.models
    for model, mask, (layer, head) in zip(first.models, masks, ((0, 1), (1, 2)), strict=True):
        assert model.mask is mask
        assert model.loaded.model is not subject.require_suspect().loaded.model
        assert not find_heads(model.loaded.model).layers[layer].output_weight()[:, head].any()
    assert isinstance(healed.model.model, Ensemble)
