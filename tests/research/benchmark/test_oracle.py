"""The ceiling keeps the same tau as every defence."""

import numpy as np
import pytest

from prune_env.evaluation.guard import LEAST
from prune_env.models import LoadedModel
from prune_env.purification import make_subject
from prune_env.research.benchmark.oracle import oracle_search
from prune_env.settings import SearchSettings
from tests.support import tiny_dataset


def test_tau_is_never_so_low_that_a_constant_passes(tiny_model: LoadedModel) -> None:
    data = tiny_dataset(40, 0)
    subject = make_subject(tiny_model, "here", data, data)
    found = oracle_search(
        subject, data.where(0), 1, SearchSettings(max_drop=1.0, budget=4, importance_sentences=8)
    )
    assert subject.accuracy < 1
    assert (found.guard, found.tau) == ("balanced", LEAST)  # at 0 any constant would pass


def test_it_keeps_tau_as_the_guard_of_the_grid_counts(tiny_model: LoadedModel) -> None:
    data = tiny_dataset(40, 0)
    subject = make_subject(tiny_model, "here", data, data)
    settings = SearchSettings(max_drop=1.0, budget=30, importance_sentences=8, guard="balanced")
    found = oracle_search(subject, data.where(0), 1, settings)
    assert found.tau == LEAST
    recalls = subject.evaluator.evaluate(found.mask[None]).correct[0]
    value = np.mean([recalls[data.labels == label].mean() for label in (0, 1)])
    assert found.accuracy == pytest.approx(value)
