import pytest

from prune_env.cli.purify import FineTuning
from prune_env.errors import SettingsError


def test_epochs_that_nobody_asked_for_are_the_usual_ones() -> None:
    assert FineTuning(learning_rate=1e-3).settings(usual=2).epochs == 2
    asked = FineTuning(epochs=5, learning_rate=1e-3).settings(usual=2)
    assert (asked.epochs, asked.learning_rate) == (5, 1e-3)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="epochs"):
        FineTuning(epochs=-1)
    with pytest.raises(SettingsError, match="learning_rate"):
        FineTuning(learning_rate=0.0)
