"""One deterministic episode, whoever plays it."""

from typing import Any

import numpy as np
import pytest

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.landscape import landscape_subject
from prune_env.env.play import play_steps
from prune_env.errors import SettingsError


class Always:
    """Chooses one action, whatever is legal."""

    def __init__(self, action: int) -> None:
        self.action = action

    def predict(self, observation: Any, state: Any = None, **others: Any) -> tuple[Any, Any]:
        return np.array(self.action), state


@pytest.mark.parametrize("action", [0, 10**6, -1])
def test_a_policy_that_keeps_to_an_illegal_action_is_stopped(action: int) -> None:
    """Such an action changes nothing, so the episode would never end."""
    env = HeadPruningEnv(landscape_subject(layers=2, heads=4), tau=0.0)
    with pytest.raises(SettingsError, match=r"illegal action 100 times in a row.*allows, such as"):
        list(play_steps(env, Always(action), seed=0))  # type: ignore[arg-type]


class Answers:
    """Answers whatever it was made with."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, observation: Any, state: Any = None, **others: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        *(0, None, "ab", (0,), np.array([0, 1])),
        *((action, None) for action in (0.7, float("nan"), "stop", None, [0, 1], [[0], [1, 2]])),
    ],
    ids=repr,
)
def test_an_answer_that_is_no_action_is_told_and_never_cut_to_one(answer: Any) -> None:
    env = HeadPruningEnv(landscape_subject(layers=2, heads=4), tau=0.0)
    with pytest.raises(
        SettingsError, match=r"tests\.env\.test_play\.Answers answers with no action"
    ):
        list(play_steps(env, Answers(answer), seed=0))


@pytest.mark.parametrize("stop", [8, np.int64(8), np.array([8]), 8.0])
def test_a_whole_number_of_any_kind_is_an_action(stop: Any) -> None:
    env = HeadPruningEnv(landscape_subject(layers=2, heads=4), tau=0.0)
    assert [step.action for step in play_steps(env, Answers((stop, None)), seed=0)] == [8]


def test_who_has_no_predict_is_no_policy() -> None:
    env = HeadPruningEnv(landscape_subject(layers=2, heads=4), tau=0.0)
    with pytest.raises(SettingsError, match=r"builtins\.object is no policy"):
        list(play_steps(env, object(), seed=0))  # type: ignore[arg-type]
