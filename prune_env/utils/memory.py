"""Memory: smaller batches first where it runs out, then one clear message; and giving it back."""

import ctypes
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import ParamSpec, TypeVar, cast
from weakref import WeakMethod

import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
T = TypeVar("T")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the machine."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, of a GPU
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def in_parts(
    answer: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return `answer(rows)` (R, ...), asked in halves where all at once need too much memory.

    Args:
        answer: Takes rows (R,); its answer to a row must not depend on the others.
        rows: Rows (R,).

    Raises:
        MemoryError: A single row needs too much; or torch's error that says the same.
    """
    try:
        return answer(rows)
    except (MemoryError, RuntimeError) as error:
        if len(rows) < 2 or not out_of_memory(error):
            raise
    # Outside the handler, whose traceback would keep the memory of what failed.
    return np.concatenate([in_parts(answer, half) for half in np.array_split(rows, 2)])


def remembering(method: Callable[P, T], most: int) -> Callable[P, T]:
    """Return a bound method that remembers its last answers, to be kept by its own object.

    As `lru_cache` does, which would hold the object that holds it: such a circle stays, weights and
    all, until garbage is looked for.

    Args:
        method: Bound; its arguments are hashable, and its answers must not hold its object.
        most: Answers that are remembered.
    """
    own = WeakMethod(method)

    def ask(*arguments: P.args, **named: P.kwargs) -> T:
        bound = own()
        assert bound is not None, "what remembers is kept by the object alone"
        return bound(*arguments, **named)

    return cast(Callable[P, T], lru_cache(maxsize=most)(ask))


def keep_imports() -> None:
    """Leave what was imported out of every collection of garbage: it lives as long as the process.

    A training collects three times, and looking through the modules of torch and transformers takes
    longer than a small training does. To be called before there is a model, which must go again.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Return memory that nothing uses to the system, where the C library would keep it.

    What models and batches leave between longer-lived blocks stays with the process in glibc, and
    a worker that goes from one model to the next grows (docs/scaling.md has the figures).
    """
    gc.collect()
    trim()


def trim() -> None:
    """Return what is free already, without a look for what nothing uses: in milliseconds."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library, which knows no such function
            ctypes.CDLL("libc.so.6").malloc_trim(0)
