"""One recommendation of two masks."""

import pytest

from prune_env.agents.recommended import recommend


def reached(reward: float, accuracy: float, keeps_tau: bool = True) -> dict:
    return {"total_reward": reward, "accuracy": accuracy, "keeps_tau": keeps_tau}


@pytest.mark.parametrize(
    ("played", "met", "expected"),
    [
        ((0.5, 0.9), (0.6, 0.8), "best_met"),
        ((0.6, 0.8), (0.5, 0.9), "best"),
        ((0.5, 0.962), (0.5, 0.87), "best"),
        ((0.5, 0.87), (0.5 - 1e-16, 0.962), "best_met"),
        ((0.5, 0.9), (0.5, 0.9), "best"),
        ((0.1, 0.9), (0.6, 0.8, False), "best"),
        ((0.1, 0.9), None, "best"),
        (None, (0.6, 0.8), "best_met"),
        (None, (0.6, 0.8, False), None),
        (None, None, None),
    ],
)
def test_reward_counts_first_and_accuracy_between_equals(played, met, expected) -> None:
    best = played and {"models": [reached(*played)]}
    assert recommend(best, met and reached(*met)) == expected


def test_an_agent_of_several_models_is_recommended_for_them() -> None:
    assert recommend({"models": [reached(0.1, 0.9)] * 2}, reached(0.9, 0.9)) == "best"
