"""The generators of a process are used by one body at a time, and given back."""

import random
from threading import Thread

import numpy as np
import pytest
import torch

from prune_env.utils.randomness import own_randomness


def drawn() -> list[float]:
    return [torch.rand(1).item(), np.random.rand(), random.random()]


def seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_generators_are_as_they_were(error: type[BaseException] | None) -> None:
    seed(1)
    expected = drawn()
    seed(1)
    try:
        with own_randomness():
            seed(2)
            drawn()
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert drawn() == expected


def test_a_second_thread_waits_for_its_turn() -> None:
    found: list[str] = []

    def enter() -> None:
        with own_randomness():
            found.append("second")

    other = Thread(target=enter)
    with own_randomness():
        other.start()
        other.join(0.2)
        found.append("first")
    other.join(30)
    assert found == ["first", "second"]
