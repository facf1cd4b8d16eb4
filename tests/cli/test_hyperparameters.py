"""Hyperparameters as they are written on the command line."""

import pytest

from prune_env.cli.hyperparameters import one_each, several_each

FALLS = {"start": 0.001, "end": 1e-05}


@pytest.mark.parametrize("text", ["{start: 1e-3, end: 1e-5}", "{start: 0.001, end: 1.0e-5}"])
def test_a_schedule_takes_numbers_as_people_write_them(text: str) -> None:
    assert one_each((f"learning_rate={text}",)) == {"learning_rate": FALLS}
    assert several_each((f"learning_rate={text},1e-4",)) == {"learning_rate": [FALLS, 1e-4]}


def test_values_are_read_as_yaml() -> None:
    given = ("gamma=1e-1", "n_steps=8", "use_rms_prop=true", "target_kl=null")
    assert one_each(given) == {
        "gamma": 0.1,
        "n_steps": 8,
        "use_rms_prop": True,
        "target_kl": None,
    }
