"""What the program says of itself: the first screen, and the page of each verb."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from inspect import cleandoc
from pathlib import Path
from textwrap import fill
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import docstring_parser
import tyro
from rich.console import Console
from rich.markup import escape
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from prune_env.cli.examples import EXAMPLES
from prune_env.utils.registry import first_line

METAVARS = {
    "attack": "ATTACK",
    "audits": "AUDIT [AUDIT ...]",
    "backdoored": "MODEL",
    "benign": "MODEL",
    "config": "CONFIG",
    "data": "DATA",
    "entrant": "ENTRANT",
    "env": "ID",
    "healed": "POLICY ...",
    "healings": "HEALING ...",
    "host": "ADDRESS",
    "image_column": "COLUMN",
    "kind": "KIND",
    "label_column": "COLUMN",
    "minari": "NAMESPACE/NAME-vN",
    "mask": "FILE",
    "metrics": "METRIC ...",
    "model": "MODEL",
    "pair_column": "COLUMN",
    "paths": "POLICIES",
    "policies": "POLICY ...",
    "policy": "POLICY",
    "poisoned": "FILE",
    "pool": "MODEL ...",
    "protocols": "PROTOCOL ...",
    "push_to_hub": "USER/NAME",
    "reward": "REWARD",
    "rewards": "REWARDS",
    "run_folder": "RUN",
    "runs": "RUN [RUN2]",
    "set": "NAME=VALUE ...",
    "surrogate": "FILE",
    "test": "AUDIT ...",
    "text_column": "COLUMN",
    "unlabelled": "FILE",
    "tiers": "landscape,tiny,recorded,minilm",
    "trigger": "ATTACK",
    "triggered": "FILE",
    "validation": "DATA",
}
"""What a person reads in place of a value, by the name of the option."""

BY_TYPE = {int: "N", float: "X", str: "NAME", Path: "FOLDER"}
"""The same where the name says nothing of its own."""

WIDEST = 100
"""Columns of running text, however wide the terminal is."""

CHOSEN = tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes

_registry = ConstructorRegistry()


def parse(verb: type, arguments: Sequence[str]) -> Any:
    """Return the verb with its options; help and wrong usage end the program (0 and 2).

    Args:
        verb: Dataclass of the verb.
        arguments: What follows its name.
    """
    name = verb.__name__.lower()
    try:
        return tyro.cli(
            verb,
            prog=f"prune-env {name}",
            description=_description(verb),
            args=list(arguments),
            config=CHOSEN,
            registry=_registry,
        )
    except SystemExit as end:
        if not end.code:
            _print_examples(name)
        raise


def print_completion(verbs: Sequence[type], shell: str) -> None:
    """Print the script that lets a shell complete verbs and options.

    Args:
        verbs: Dataclasses of the verbs.
        shell: `bash` or `zsh`.
    """
    tyro.extras.subcommand_cli_from_dict(
        {verb.__name__.lower(): verb for verb in verbs},
        prog="prune-env",
        args=["--tyro-print-completion", shell],
        config=CHOSEN,
        registry=_registry,
    )


def print_first_screen(groups: Mapping[str, Sequence[type]]) -> None:
    """Print the verbs, a line each.

    Args:
        groups: Verbs by the title of their group.
    """
    page = Console(highlight=False)
    page.print(
        "usage: prune-env VERB ...\n\n"
        "Purify backdoored text transformers with clean data only, by pruning attention\n"
        "heads or refitting layers. Head pruning is also a Gymnasium environment.",
        soft_wrap=True,
    )
    for title, verbs in groups.items():
        page.print(f"\n[bold]{title}[/]", soft_wrap=True)
        for verb in verbs:
            told = escape(first_line(verb.__doc__))
            page.print(f"  [cyan]{verb.__name__.lower():<10}[/] {told}", soft_wrap=True)
    page.print(
        "\n[bold]prune-env VERB --help[/]   options and examples of a verb\n"
        "[bold]prune-env VERB --debug[/]  tell more, and where an error comes from\n"
        "[bold]--version[/]               print the version\n"
        "[bold]--completion SHELL[/]      print what bash or zsh needs to complete words",
        soft_wrap=True,
    )


def _print_examples(verb: str) -> None:
    page = Console(highlight=False)
    page.print("[bold]examples[/]")
    for purpose, command in EXAMPLES[verb]:
        page.print(f"  {escape(purpose)}", soft_wrap=True)
        # Two columns less than there are: a line that goes on ends in a backslash.
        lines = _fill(command, page.width - 2, "    ", "        ").replace("\n", " \\\n")
        page.print(f"[cyan]{escape(lines)}[/]", soft_wrap=True)


def _fill(text: str, width: int, first: str = "", further: str = "") -> str:
    return fill(
        text,
        min(width, WIDEST),
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _description(verb: type) -> str:
    """Return the paragraphs of a docstring for the width of the terminal.

    They are indented because tyro would join lines that begin with a letter, and on lines without
    a gap because it would double that.
    """
    text = docstring_parser.parse(verb.__doc__ or "").description or ""
    width = Console().width
    return "\n".join(_fill(part, width, "  ", "  ") for part in cleandoc(text).split("\n\n"))


@_registry.struct_rule
def _fields(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Tell tyro of a dataclass's fields: help on one line, a value's name, a default if it says."""
    kind = info.type
    own = isinstance(kind, type) and kind.__module__.partition(".")[0] == "prune_env"
    if not (own and is_dataclass(kind)):
        return None
    told = {
        each.arg_name: " ".join((each.description or "").split())
        for base in reversed(kind.__mro__)  # a field may be explained where it is inherited from
        if is_dataclass(base)
        for each in docstring_parser.parse(base.__doc__ or "").params
    }
    hints = get_type_hints(kind, include_extras=True)
    return StructConstructorSpec(
        instantiate=kind,
        fields=tuple(
            StructFieldSpec(
                name=each.name,
                type=_worded(each.name, hints[each.name], told.get(each.name, "")),
                default=_default(each, info.default),
                helptext=told.get(each.name, ""),
            )
            for each in fields(kind)
        ),
    )


@_registry.primitive_rule
def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Tell tyro of a choice that may be left out: it would offer None too, in any order."""
    kinds = [each for each in get_args(info.type) if each is not NoneType]
    union = info.type_origin in (Union, UnionType)
    if not (union and all(get_origin(kind) is Literal for kind in kinds)):
        return None
    choices = tuple(name for kind in kinds for name in get_args(kind))
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(choices)}}}",
        instance_from_str=lambda given: given[0],
        is_instance=lambda value: value is None or value in choices,
        str_from_instance=lambda value: [str(value)],
        choices=choices,
    )


def _default(each: "Field[Any]", whole: Any) -> Any:
    if is_dataclass(whole):
        return getattr(whole, each.name)
    if each.default is not MISSING:
        return each.default
    return tyro.MISSING if each.default_factory is MISSING else each.default_factory()


def _worded(name: str, hint: Any, told: str) -> Any:
    """Return the type of a field with the name of its value and what is said of its default."""

    def said(default: str) -> str:
        quiet = "default: " in told or default in ("None", "False", "")
        return "" if quiet else f"(default: {default})"

    own = any(getattr(each, "metavar", None) for each in getattr(hint, "__metadata__", ()))
    metavar = None if own else METAVARS.get(name) or _by_type(hint)
    if metavar is None:
        return Annotated[hint, tyro.conf.arg(help_behavior_hint=said)]
    return Annotated[hint, tyro.conf.arg(metavar=metavar, help_behavior_hint=said)]


def _by_type(hint: Any) -> str | None:
    """Return the name of a value of this type; None where tyro knows better, as of choices."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _by_type(inner[0])
    if origin in (Union, UnionType):
        kinds = [each for each in inner if each is not NoneType]
        if len(kinds) == 1 and get_origin(kinds[0]) is Literal:  # None is no choice
            return f"{{{','.join(get_args(kinds[0]))}}}"
        named = [_by_type(kind) for kind in kinds]
        return None if None in named else "|".join(map(str, named))
    if origin is tuple:
        single = _by_type(inner[0])
        return None if single is None else f"{single} ..."
    return BY_TYPE.get(hint)
