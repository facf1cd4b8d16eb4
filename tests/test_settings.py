"""Settings are plain values, whatever kind of number they were given."""

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.agents.train_settings import TrainSettings
from prune_env.research.attacks.attack import AttackSettings
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.audit.audit import AuditSettings
from prune_env.settings import FineTuneSettings, SearchSettings, UnitSettings, check_seed
from prune_env.utils.plain import to_plain


def of_numpy(value: Any) -> Any:
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        return np.int64(value)
    return np.float32(value) if isinstance(value, float) else value


@pytest.mark.parametrize(
    "settings",
    [
        FineTuneSettings(),
        SearchSettings(tau=0.5),
        UnitSettings(),
        AttackSettings(rate=0.5),
        ModelSettings(),
        AuditSettings(("accuracy",)),
        TrainSettings(algorithm="epsilon-greedy"),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_numbers_of_numpy_become_pythons_own(settings: Any) -> None:
    given = {each.name: of_numpy(getattr(settings, each.name)) for each in fields(settings)}
    made = replace(settings, **given)
    assert json.loads(json.dumps(to_plain(made))).keys() == to_plain(settings).keys()
    for name in given:
        assert type(getattr(made, name)) is type(getattr(settings, name))


def test_a_number_of_torch_becomes_pythons_own() -> None:
    assert type(SearchSettings(tau=torch.tensor([0.5, 1.0]).mean()).tau) is float


def test_a_seed_becomes_pythons_own() -> None:
    assert type(check_seed(np.int64(3))) is int
