"""The ceiling keeps the same tau as every defence."""

from prune_env.models import LoadedModel
from prune_env.purification import make_subject
from prune_env.research.benchmark.oracle import oracle_search
from prune_env.settings import SearchSettings
from tests.support import tiny_dataset


def test_tau_is_never_below_nothing(tiny_model: LoadedModel) -> None:
    data = tiny_dataset(40, 0)
    subject = make_subject(tiny_model, "here", data, data)
    found = oracle_search(
        subject, data.where(0), 1, SearchSettings(max_drop=1.0, budget=4, importance_sentences=8)
    )
    assert subject.accuracy < 1
    assert found.tau == 0
