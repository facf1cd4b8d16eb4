"""Every error that a user can cause: what was expected, what was found, what to do about it."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from gymnasium.error import MissingArgument

LONGEST = 2_000
"""Characters of each part of a message: names from files may have any length."""


GET_AGAIN = "get the model again from its publisher"
"""Remedy for a model whose files are damaged."""


def printable(text: str, limit: int | None = None) -> str:
    r"""Return text on one line, control characters, line breaks and lone surrogates spelt out.

    A name from a file may hold commands for a terminal, or a line break that forges a line.

    Args:
        text: Any text.
        limit: Longer text is cut to so many characters, and says so.

    Example:
        >>> printable("a\n\x1b[31mred")
        'a\\n\\x1b[31mred'
    """
    if limit is not None and len(text) > limit:
        text = f"{text[:limit]}... ({len(text):,} characters)"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class PruneEnvError(Exception):
    """Base of all errors of the package; the command line answers one with exit status 2.

    As text an error stands on one line and does nothing to a terminal, whatever a file of a
    stranger put into a part, such as a name; the parts by themselves are as they came.

    Args:
        what: One sentence that names the file, row, key or argument; or an error of the package,
            whose words this one repeats, as Gymnasium's `AsyncVectorEnv` asks for.
        expected: What would have been right.
        actual: What was found; of another error of the package, what it tells but its remedy.
        remedy: What the user can do.

    Attributes:
        message: The sentence `what`, without its full stop.
        expected: As text; None if it was not given.
        actual: As text; None if it was not given.
        remedy: Without its full stop; empty if it was not given.
    """

    message: str
    expected: str | None
    actual: str | None
    remedy: str

    def __init__(
        self,
        what: "str | PruneEnvError",
        *,
        expected: object = None,
        actual: object = None,
        remedy: str = "",
    ) -> None:
        if isinstance(what, PruneEnvError):
            # The error of a worker is raised anew there by its class, which is given itself.
            self.__dict__.update(what.__dict__)
            super().__init__(*what.args)
            return
        if isinstance(actual, PruneEnvError):
            # Of an error that was the cause, its own remedy would stand beside this one.
            actual = actual.without_remedy.rstrip(".")
        self.message = what.rstrip(".")
        self.expected = None if expected is None else str(expected)
        self.actual = None if actual is None else str(actual)
        self.remedy = remedy.rstrip(".")
        told = f"Remedy: {self.remedy}" if remedy else ""
        super().__init__(" ".join(filter(None, (self.without_remedy, _sentence(told)))))

    @property
    def without_remedy(self) -> str:
        """What is wrong, what was expected and what was found: for who knows what to do."""
        parts = [self.message]
        if self.expected is not None:
            parts.append(f"Expected: {self.expected}")
        if self.actual is not None:
            parts.append(f"Actual: {self.actual}")
        return " ".join(map(_sentence, parts))

    def __reduce__(self) -> tuple[Callable[..., "PruneEnvError"], tuple[Any, ...], dict[str, Any]]:
        # Another process puts it together as it is: what subclasses are made of is not kept.
        return _again, (type(self), self.args), self.__dict__


def _sentence(part: str) -> str:
    """Return a part of a message as a sentence; of none, nothing."""
    part = printable(part, LONGEST)
    return part if not part or part.endswith(("?", ".")) else f"{part}."


def _again(kind: type[PruneEnvError], args: tuple[Any, ...]) -> PruneEnvError:
    """Return an error of a kind that says what another one said."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class IncompleteError(PruneEnvError, ImportError):
    """A part of the package itself was not installed."""


class SettingsError(PruneEnvError, ValueError):
    """A setting or argument is outside its range, or contradicts another one."""


class MissingArgumentError(SettingsError, MissingArgument):
    """Nothing was given to play: what sweeps over Gymnasium's registry step over."""


class DataError(PruneEnvError, ValueError):
    """A table of texts cannot be read or does not fit the task."""


class ModelError(PruneEnvError, ValueError):
    """A model folder is incomplete, damaged, or does not fit the task."""


class UnsafeModelError(ModelError):
    """A model could run code or reach the network while it is loaded: refused."""


class UnsupportedModelError(ModelError):
    """The architecture is not on the allow-list, or its heads cannot be gated."""


class StateError(PruneEnvError, RuntimeError):
    """A saved state, checkpoint or run folder is damaged, foreign, or used out of order."""


class OutputExistsError(PruneEnvError, FileExistsError):
    """An output folder exists and would be overwritten."""


class BudgetError(PruneEnvError, RuntimeError):
    """More masks were asked than a search may have evaluated."""


class MetricError(PruneEnvError, ValueError):
    """A metric is undefined on this input (never reported as 0)."""


class DivergedError(PruneEnvError, RuntimeError):
    """Training produced NaN or Inf; nothing was saved over a good model."""


class UnknownNameError(PruneEnvError, KeyError):
    """A name is not registered; the message lists those that are.

    Args:
        kind: What is named; or an error whose words this one repeats, and nothing else.
        name: The name.
        known: Those that are registered.
        described: The command that describes them; empty where none does.
        besides: What may stand in place of a name, such as "a folder".
    """

    def __init__(
        self,
        kind: str | PruneEnvError,
        name: object = "",
        known: Iterable[str] = (),
        described: str = "prune-env list",
        besides: str = "",
    ) -> None:
        if isinstance(kind, PruneEnvError):
            super().__init__(kind)
            return
        known = sorted(known)
        close = get_close_matches(str(name), known, n=1)
        meant = f"did you mean '{close[0]}'?" if close else ""
        described = described and f"`{described}` describes every name"
        other = f"{besides}, or " if besides else ""
        super().__init__(
            f"Unknown {kind} '{name}'",
            expected=f"{other}one of {', '.join(known) or '(none registered)'}",
            remedy=" ".join(filter(None, (meant, described))),
        )

    __str__ = Exception.__str__  # KeyError would show the message in quotes
