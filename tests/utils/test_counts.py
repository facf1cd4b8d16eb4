"""One of a thing is told in the singular, wherever things are counted."""

from pathlib import Path

import pytest

from prune_env.cli.purify_facts import list_facts
from prune_env.cli.train import _pruned
from prune_env.utils.counts import count_of


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "head", "0 heads"),
        (1, "head", "1 head"),
        (1.0, "head", "1 head"),
        (1.5, "head", "1.5 heads"),
        (2, "clean row", "2 clean rows"),
        (2, "class", "2 classes"),
        (3, "batch", "3 batches"),
        (20, "epoch", "20 epochs"),
        (12_034, "step", "12,034 steps"),
    ],
)
def test_a_noun_stands_in_the_plural_unless_there_is_one(
    number: float, noun: str, told: str
) -> None:
    assert count_of(number, noun) == told


def _report(number: int) -> dict[str, object]:
    """Return what `list_facts` reads of a report in which every count is this number."""
    return {
        "run": {"policy": "gradient", "protocol": "direct", "agent": None, "healing": "none"},
        "result": {
            "heads_pruned": number,
            "heads_total": 8,
            "units_pruned": {"head": number, "neurons": number, "map": number},
            "evaluations": number,
            "seconds": 2.0,
            "tau": 0.5,
            "keeps_tau": True,
            "validation_accuracy_unpruned": 0.75,
            "validation_accuracy_purified": 0.75,
        },
        "data": {"train": {"rows": 9, "rows_skipped": 0}},
        "tau": {
            "value": 0.75,
            "guard": "accuracy",
            "rows": number,
            "interval": [0.5, 1.0],
            "sure": True,
            "force": 1,
            "last_step_alone": False,
            "change": {"unpruned": 0.75, "lost": number, "won": 0},
        },
        "refits": [],
        "inverted_triggers": [],
    }


@pytest.mark.parametrize(("number", "end"), [(1, ""), (3, "s")])
def test_a_purified_model_is_told_of_by_that_rule(number: int, end: str) -> None:
    told = dict(list_facts(_report(number), Path("out")))
    assert told["evaluations"] == f"{number} mask{end}"
    units = f"{number} group{end} of neurons closed, {number} step{end} of strength"
    assert told["other units"] == units
    assert f"on {number} row{end} (75.0 % unpruned, {number} row{end} lost" in told["tau"]


def test_a_trained_agent_is_told_of_by_that_rule() -> None:
    played = {"heads_pruned": 1, "units_pruned": {"neurons": 1, "map": 2}}
    assert _pruned(played) == "1 head, 1 group of neurons and 2 steps of strength pruned"
