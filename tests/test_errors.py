"""Errors keep their parts, also where another process raised them."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from prune_env import errors
from prune_env.errors import (
    LONGEST,
    DataError,
    OutputExistsError,
    PruneEnvError,
    SettingsError,
    UnknownNameError,
)


def kinds(kind: type[PruneEnvError] = PruneEnvError) -> Iterator[type[PruneEnvError]]:
    """Yield every error of the package that is told in four parts."""
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__ and each is not UnknownNameError:
            yield from kinds(each)


def told(error: PruneEnvError) -> tuple[object, ...]:
    return type(error), str(error), error.message, error.expected, error.actual, error.remedy


def refuse(name: str) -> None:
    raise UnknownNameError("reward", name, ["sparsity", "accuracy"])


def test_an_error_keeps_its_parts() -> None:
    error = DataError("A row is bad.", expected=2, actual=["a", 3], remedy="mend it.")
    assert told(error)[2:] == ("A row is bad", "2", "['a', 3]", "mend it")
    assert error.without_remedy == "A row is bad. Expected: 2. Actual: ['a', 3]."
    assert str(error) == f"{error.without_remedy} Remedy: mend it."
    whole = DataError("A row is bad", expected="none.", actual=OSError("disk is full."))
    assert str(whole) == "A row is bad. Expected: none. Actual: disk is full."
    short = DataError("A row is bad")
    assert told(short)[1:] == ("A row is bad.", "A row is bad", None, None, "")


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_error_is_the_same_in_another_process(kind: type[PruneEnvError]) -> None:
    error = kind("It is odd..", expected="even", actual="x" * 2 * LONGEST, remedy="is it new?")
    assert told(pickle.loads(pickle.dumps(error))) == told(error)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_an_error_that_is_raised_anew_by_its_class_says_the_same(kind: type[PruneEnvError]) -> None:
    error = kind("It is odd", expected="even", actual=3, remedy="add one")
    assert told(kind(error)) == told(error)


def test_an_unknown_name_that_is_raised_anew_says_the_same() -> None:
    with pytest.raises(UnknownNameError) as caught:
        refuse("sparsty")
    assert told(UnknownNameError(caught.value)) == told(caught.value)


def test_an_unknown_name_comes_back_from_a_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(UnknownNameError, match="did you mean 'sparsity'") as caught,
    ):
        pool.submit(refuse, "sparsty").result()
    assert caught.value.expected == "one of accuracy, sparsity"


@pytest.mark.parametrize("word", ["a. Remedy: none", "Remedy: "])
def test_a_cause_is_cut_where_its_remedy_begins_whatever_its_words(word: str) -> None:
    cause = OutputExistsError(f"The file '{word}' is there", actual=word, remedy="rename it")
    error = SettingsError("It cannot be written", actual=cause, remedy="choose another")
    assert error.actual == cause.without_remedy.rstrip(".")
    assert str(error) == f"It cannot be written. Actual: {error.actual}. Remedy: choose another."
    assert word.rstrip() in error.actual
    assert "rename it" not in str(error)
