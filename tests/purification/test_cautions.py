"""What the user is warned of once a model is purified."""

import pytest

from prune_env.inversion.search import Inversion
from prune_env.purification.cautions import warn_of_triggers_left
from prune_env.purification.step import StepReport


def _report(before: tuple[float, float], after: tuple[float, float]) -> StepReport:
    inverted, left = (Inversion(((), ()), strength) for strength in (before, after))
    return StepReport(inverted=inverted, left=left)


def test_what_flips_as_much_as_before_is_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_triggers_left([StepReport(), _report((0.5, 0.28), (0.1, 0.39))], ("bad", "good"))
    (told,) = caplog.messages
    assert "flips 39 % to 'good' now, and flipped 28 % before" in told


@pytest.mark.parametrize(
    ("before", "after"), [((0.9, 0.5), (0.1, 0.2)), ((0.1, 0.19), (0.15, 0.19))]
)
def test_what_fades_or_is_noise_is_not(
    before: tuple[float, float], after: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_triggers_left([_report(before, after)], ("bad", "good"))
    assert not caplog.messages
