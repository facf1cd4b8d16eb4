"""The random generators that a whole process shares, and whose turn it is to use them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch

_TURN = RLock()


@contextmanager
def own_randomness() -> Iterator[None]:
    """Let the body seed and use the generators of torch (CPU), NumPy and Python by itself.

    Libraries draw from them, so of two threads each would change what the other one draws: bodies
    run one after the other. Afterwards the generators are as they were, for whoever called.
    """
    with _TURN:
        of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()
        of_python = random.getstate()
        try:
            yield
        finally:
            torch.set_rng_state(of_torch)
            np.random.set_state(of_numpy)
            random.setstate(of_python)
