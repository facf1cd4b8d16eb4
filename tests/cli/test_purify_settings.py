import pytest

from prune_env.cli.purify import FineTuneOptions
from prune_env.errors import SettingsError


def test_epochs_that_nobody_asked_for_are_the_usual_ones() -> None:
    assert FineTuneOptions(learning_rate=1e-3).settings(usual=2).epochs == 2
    asked = FineTuneOptions(epochs=5, learning_rate=1e-3).settings(usual=2)
    assert (asked.epochs, asked.learning_rate) == (5, 1e-3)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="epochs"):
        FineTuneOptions(epochs=-1)
    with pytest.raises(SettingsError, match="learning_rate"):
        FineTuneOptions(learning_rate=0.0)
