"""Policies for the tests of the runner: workers import this module as a plugin."""

import os
import signal
import time

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


for _kind in (Raises, Dies, Hangs):
    POLICIES.register(_kind.__name__.lower(), _kind, help=_kind.__doc__ or "")
