"""Every error that a user can cause: what was expected, what was found, what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches

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

    What a file of a stranger put into a part, such as a name, is shown on one line and does
    nothing to a terminal.

    Args:
        what: One sentence that names the file, row, key or argument.
        expected: What would have been right.
        actual: What was found.
        remedy: What the user can do.
    """

    def __init__(
        self, what: str, *, expected: object = None, actual: object = None, remedy: str = ""
    ) -> None:
        parts = [what.rstrip(".")]
        if expected is not None:
            parts.append(f"Expected: {expected}")
        if actual is not None:
            # Of an error that was the cause, its own remedy would stand beside this one.
            own = isinstance(actual, PruneEnvError)
            told = str(actual).split(" Remedy: ")[0].rstrip(".") if own else actual
            parts.append(f"Actual: {told}")
        if remedy:
            parts.append(f"Remedy: {remedy.rstrip('.')}")
        sentences = (printable(part, LONGEST) for part in parts)
        super().__init__(" ".join(each if each.endswith("?") else f"{each}." for each in sentences))


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
        kind: What is named.
        name: The name.
        known: Those that are registered.
        described: The command that describes them; empty where none does.
        besides: What may stand in place of a name, such as "a folder".
    """

    def __init__(
        self,
        kind: str,
        name: object,
        known: Iterable[str],
        described: str = "prune-env list",
        besides: str = "",
    ) -> None:
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
