from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import prune_env.agents
import prune_env.baselines  # noqa: F401 - registers the policies
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.policy import POLICIES, requirements_of
from prune_env.purification import Prepared, metrics_for, search
from prune_env.settings import SearchSettings
from tests.support import tiny_dataset

SHAPE = (2, 3)


class Forgetful:
    """Finds a mask while it learns, and has forgotten it when it plays."""

    best_mask = np.array([[True, True, False], [True, True, True]])
    best_return = 0.0

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0) -> "Forgetful":
        return cls()

    def learn(self, env: Any, *, total_steps: int, max_evaluations: int, callback: Any) -> None:
        callback(None)

    def predict(self, observation: Any, state: Any = None, **kwargs: Any) -> tuple[int, Any]:
        return SHAPE[0] * SHAPE[1], state  # STOP


@pytest.fixture
def prepared() -> Prepared:
    evaluator = LandscapeEvaluator(*SHAPE, seed=0)
    data = tiny_dataset(8)
    return Prepared(
        source="",
        finetuned=None,  # type: ignore[arg-type]  # a search does not touch the model
        train=data,
        validation=data,
        evaluator=evaluator,
        metrics=("magnitude",),
        importance=np.zeros((*SHAPE, 1)),
        accuracy=float(evaluator.accuracy(np.ones((1, *SHAPE), bool))[0]),
        seconds=0.0,
    )


@pytest.mark.parametrize(("best_return", "pruned"), [(0.2, 1), (-0.2, 0)])
def test_the_better_of_what_was_learned_and_what_is_played_is_handed_out(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, best_return: float, pruned: int
) -> None:
    monkeypatch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    POLICIES.register("forgetful", Forgetful, help="a test")
    monkeypatch.setattr(Forgetful, "best_return", best_return)
    found = search(prepared, "forgetful", SearchSettings(max_drop=1.0))
    assert found.heads_pruned == pruned
    assert found.accuracy == prepared.evaluator.accuracy(found.mask[None])[0]


def test_below_tau_nothing_is_pruned(prepared: Prepared) -> None:
    found = search(prepared, "random", SearchSettings(tau=1.0))
    assert found.heads_pruned == 0
    assert found.accuracy == prepared.accuracy


def test_a_fixed_policy_keeps_tau(prepared: Prepared) -> None:
    found = search(prepared, "random", SearchSettings(max_drop=0.02))
    assert found.accuracy >= found.tau == pytest.approx(prepared.accuracy - 0.02)


def test_the_released_loop_prunes_whole_groups_of_ten(prepared: Prepared) -> None:
    evaluator = LandscapeEvaluator(4, 12, seed=0)
    released = replace(
        prepared,
        evaluator=evaluator,
        metrics=("cls_variance_released",),
        importance=np.arange(48, dtype=float).reshape(4, 12, 1),
        accuracy=float(evaluator.accuracy(np.ones((1, 4, 12), bool))[0]),
    )
    found = search(released, "epsilon-greedy", SearchSettings(variant="released", tau=0.7))
    order = [head for head in range(48) if head % 12 != 11]  # a layer keeps its last head
    pruned = found.heads_pruned
    assert pruned in (10, 20, 30, 40)
    assert np.flatnonzero(~found.mask.ravel()).tolist() == order[:pruned]  # lowest variance first
    assert found.accuracy >= 0.7
    assert found.evaluations == pruned // 10 + 2  # the unpruned model, and the group that broke tau


def _is_own(name: str) -> bool:
    return not POLICIES[name].__module__.startswith("tests.")


OWN = [name for name in sorted(POLICIES.names()) if _is_own(name)]
"""Without the policies that other tests register, some of which end their process."""


def on_landscape(prepared: Prepared, layers: int, heads: int) -> Prepared:
    """Return a synthetic model that holds the metrics of every policy."""
    evaluator = LandscapeEvaluator(layers, heads, seed=0)
    metrics = metrics_for(requirements_of(name) for name in POLICIES.names())
    return replace(
        prepared,
        evaluator=evaluator,
        metrics=metrics,
        importance=evaluator.importance(metrics),
        accuracy=float(evaluator.accuracy(np.ones((1, layers, heads), bool))[0]),
    )


@pytest.mark.parametrize("prune_step", [1, 6])
@pytest.mark.parametrize("policy", OWN)
def test_no_policy_asks_more_masks_than_its_budget(
    prepared: Prepared, policy: str, prune_step: int
) -> None:
    model = on_landscape(prepared, 4, 6)
    for budget in (1, 5, 17):
        found = search(model, policy, SearchSettings(budget=budget, prune_step=prune_step))
        assert 1 <= found.evaluations <= budget
        assert found.accuracy >= found.tau


def test_a_fixed_order_prunes_as_far_as_its_budget_goes(prepared: Prepared) -> None:
    model = on_landscape(prepared, 4, 6)
    whole = search(model, "gradient", SearchSettings(tau=0.0))
    assert whole.heads_pruned == 20  # every layer keeps one
    cut = search(model, "gradient", SearchSettings(tau=0.0, budget=7))
    assert cut.heads_pruned == 6  # the unpruned model is one of the seven
