"""Importance of units: what is said to first order is what small changes do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from prune_env.importance import head_importance
from prune_env.importance.units import unit_importance
from prune_env.models import LoadedModel
from prune_env.models.heads import linear_weight
from prune_env.models.unit_map import UnitMap, measure_units
from prune_env.settings import UnitSettings
from tests.models.tiny import tiny_classifier
from tests.support import tiny_dataset

DATA = tiny_dataset(12)
SETTINGS = UnitSettings(groups=3, steps=2)


@pytest.fixture(scope="module")
def cut() -> tuple[LoadedModel, UnitMap]:
    loaded = tiny_classifier("bert")
    return loaded, measure_units(loaded, tiny_dataset(60, 1), SETTINGS)


def losses(loaded: LoadedModel) -> np.ndarray:
    """Cross entropy of each sentence, float64."""
    found = []
    for text, label in zip(DATA.texts, DATA.labels.tolist(), strict=True):
        inputs = loaded.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            logits = loaded.model(**inputs).logits.double()
        found.append(float(cross_entropy(logits, torch.tensor([label]))))
    return np.array(found)


def test_closing_neurons_a_little_moves_the_loss_as_told(cut: tuple[LoadedModel, UnitMap]) -> None:
    loaded, unit_map = cut
    told = unit_importance(loaded, DATA, unit_map, ("gate_gradient",))[1, 4:7, 0]
    before = losses(loaded)
    weight = linear_weight(loaded.model.get_submodule(unit_map.neurons(1)))
    for group in range(3):
        members = unit_map.members(1, group)
        own = weight[:, members].clone()
        with torch.no_grad():
            weight[:, members] *= 0.999
        moved = np.abs(losses(loaded) - before).mean() / 0.001
        with torch.no_grad():
            weight[:, members] = own
        assert told[group] == pytest.approx(moved, rel=0.05)


def test_a_step_in_part_moves_the_loss_as_told(cut: tuple[LoadedModel, UnitMap]) -> None:
    loaded, unit_map = cut
    told = unit_importance(loaded, DATA, unit_map, ("gate_gradient",))
    before = losses(loaded)
    for index, maps in enumerate(unit_map.maps(1)):
        for _, ridge in maps:  # a thousandth of the way to the first strength
            weight, bias, _ = ridge.fitted(SETTINGS.strengths[0])
            with torch.no_grad():
                linear_weight(ridge.module).lerp_(weight, 0.001)
                ridge.module.get_parameter("bias").lerp_(bias, 0.001)
        moved = np.abs(losses(loaded) - before).mean() / 0.001
        for _, ridge in maps:
            ridge.fit(0.0)
        assert told[1, unit_map.units.columns_of(index).start, 0] == pytest.approx(moved, rel=0.1)


def test_the_norm_of_a_step_is_that_of_what_goes(cut: tuple[LoadedModel, UnitMap]) -> None:
    loaded, unit_map = cut
    told = unit_importance(loaded, DATA, unit_map, ("magnitude",))[0, :, 0]
    first, second = SETTINGS.strengths
    for index, maps in enumerate(unit_map.maps(0)):
        steps = [[ridge.fitted(each)[0] for each in (0.0, first, second)] for _, ridge in maps]
        for step in (0, 1):
            norm = np.sqrt(sum(float((w[step + 1] - w[step]).square().sum()) for w in steps))
            place = unit_map.units.columns_of(index).start + step
            assert told[place] == pytest.approx(norm, rel=1e-3)


@pytest.mark.parametrize("model_type", ["gpt2", "albert", "deberta-v2", "t5", "llama"])
def test_every_architecture_has_finite_importance(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    unit_map = measure_units(loaded, DATA, SETTINGS)
    metrics = ("gate_gradient", "magnitude", "key_gradient", "is_map")
    found = unit_importance(loaded, DATA, unit_map, metrics)
    assert np.isfinite(found).all()
    assert (found[..., 0] > 0).sum() > 0.8 * unit_map.units.available.sum()


def test_heads_keep_their_metrics_and_the_model_its_state(cut: tuple[LoadedModel, UnitMap]) -> None:
    loaded, unit_map = cut
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    metrics = ("gate_gradient", "magnitude", "cls_variance")
    found = unit_importance(loaded, DATA, unit_map, metrics)
    expected = head_importance(loaded.model, loaded.tokenizer, DATA, metrics)
    assert (found[:, :4] == expected).all()
    after = loaded.model.state_dict()
    assert all((after[name] == value).all() for name, value in before.items())
    watched = loaded.model.get_submodule(unit_map.neurons(0))
    assert not watched._forward_hooks
    assert not watched._forward_pre_hooks
    other = unit_importance(replace(loaded), DATA, unit_map, metrics, max_sentences=6)
    assert (other != found).any()
