"""Turning whatever a library raises on a hostile file into one typed error."""

from collections.abc import Iterator
from contextlib import contextmanager

from prune_env.errors import ModelError, PruneEnvError


@contextmanager
def guarded(what: str, *, expected: object = None, remedy: str) -> Iterator[None]:
    """Raise a `ModelError` for any error of the body; errors of this package pass unchanged.

    Configs, weights and tokenizers that contradict each other fail in as many ways as the
    libraries have lines, so the kinds cannot be listed.

    Args:
        what: Sentence for the user.
        expected: What would have been right.
        remedy: What the user can do.

    Raises:
        ModelError: The body failed.
    """
    try:
        yield
    except PruneEnvError:
        raise
    except BaseException as error:
        # A panic inside the Rust tokenizers is no Exception, and its class cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        actual = f"{type(error).__name__}: {error}"[:300]
        raise ModelError(what, expected=expected, actual=actual, remedy=remedy) from error
