"""Policies for the tests of the runner: workers import this module as a plugin."""

import os
import signal
import time
from pathlib import Path

from prune_env.baselines.random_order import RandomOrder
from prune_env.env.policy import POLICIES


class Raises(RandomOrder):
    """Fails at its first action."""

    def choose(self, observation, legal):
        raise RuntimeError("no luck")


class Dies(RandomOrder):
    """Kills its process, as the system does when memory runs out."""

    def choose(self, observation, legal):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(RandomOrder):
    """Never answers."""

    def choose(self, observation, legal):
        time.sleep(1000)


HOLD = "PRUNE_ENV_TEST_HOLD"


class Waits(RandomOrder):
    """Acts once the file that HOLD names is gone."""

    def choose(self, observation, legal):
        while os.environ.get(HOLD) and Path(os.environ[HOLD]).exists():
            time.sleep(0.01)
        return super().choose(observation, legal)


def install(folder: Path) -> None:
    """Lay a distribution into `folder`; processes with it on their path know `waits`."""
    info = folder / "waits-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waits\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[prune_env.policies]\nwaits = {__name__}:Waits\n")


for _kind in (Raises, Dies, Hangs, Waits):
    POLICIES.register(_kind.__name__.lower(), _kind, help=_kind.__doc__ or "")
