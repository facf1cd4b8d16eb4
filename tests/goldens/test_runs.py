"""The verbs write what they wrote."""

from pathlib import Path
from typing import Any

import pytest

from prune_env.utils import runtime
from tests.goldens import runs
from tests.goldens.files import differences, lost, plain, read

LAST_DIGITS = 1e-6
LOGITS = 1e-4  # after a training
POLICIES: dict[str, Any] = read("policies")


@pytest.mark.parametrize("name", runs.PURIFIED)
def test_purify(name: str, tmp_path: Path) -> None:
    old, new = read("purified")[name], plain(runs.purified(runs.prepare(tmp_path), name))
    assert differences(old.pop("logits"), new.pop("logits"), LOGITS) == []
    assert lost(old, new, LAST_DIGITS) == []


@pytest.mark.parametrize("name", ["default", "published mask"])
def test_a_precision_that_is_named_holds_for_searches_on_every_processor(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(runtime.VARIABLE)
    monkeypatch.setattr(runtime, "processor_has_bf16", lambda: True)
    new = plain(runs.purified(runs.prepare(tmp_path), name))
    assert differences(read("purified")[name]["logits"], new["logits"], LOGITS) == []


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_find_the_masks_that_they_found(policy: str, tmp_path: Path) -> None:
    new = plain(runs.found_by(runs.prepare(tmp_path), policy))
    assert differences(POLICIES[policy], new, LAST_DIGITS) == []


def test_evaluate_and_inspect(tmp_path: Path) -> None:
    new = plain(runs.measured(runs.prepare(tmp_path)))
    assert differences(read("measured"), new, LAST_DIGITS) == []


@pytest.mark.parametrize("name", runs.TRAINED)
def test_train(name: str, tmp_path: Path) -> None:
    new = plain(runs.trained(tmp_path, name))
    assert differences(read("trained")[name], new, LAST_DIGITS) == []


def test_benchmark_and_report(tmp_path: Path) -> None:
    """Addresses, plan and results stay; more files may lie beside them."""
    old, new = read("benchmark"), plain(runs.benchmarked(runs.prepare(tmp_path)))
    assert set(old.pop("files")) <= set(new.pop("files"))
    assert differences(old, new, LAST_DIGITS) == []
