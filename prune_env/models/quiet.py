"""Calls of libraries: silent on the terminal, and their errors turned into a `ModelError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.utils import logging

from prune_env.errors import ModelError, PruneEnvError
from prune_env.utils.full_disk import wanted


@contextmanager
def as_model_error(what: str, *, expected: object = None, remedy: str) -> Iterator[None]:
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


@contextmanager
def writing(folder: str | Path) -> Iterator[None]:
    """Raise a `ModelError` for whatever a library raises where a model cannot be written.

    A full disk is an error of another class in each of them. They are silent meanwhile.
    """
    what = f"The model cannot be written into {wanted(Path(folder))}"
    remedy = "make room on the disk, or choose another folder"
    with (
        as_model_error(what, expected="space, and leave to write", remedy=remedy),
        quiet_transformers(),
    ):
        yield


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers below errors, and its bars; restore the settings afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
