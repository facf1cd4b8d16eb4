"""From names to what an environment plays: subjects, found once per process."""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from prune_env.data.table_format import Named, TableFormat, named_data
from prune_env.env.recorded import recorded_of, recorded_subject
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.evaluation.suspect import Suspect
from prune_env.utils.registry import Registry

SUBJECTS: Registry[Callable[..., Subject]] = Registry("ready-made model")
"""Functions that make a subject from metric names, and from numbers written after its name."""

SUBJECTS.register(
    "landscape",
    "prune_env.env.landscape:landscape_subject",
    help="synthetic accuracy landscape; takes layers, heads, seed, sentences, groups, steps",
)
SUBJECTS.register(
    "minilm-demo",
    "prune_env.research.attacks.ready_made:minilm_demo",
    help="the demo's backdoored MiniLM-L6 on Rotten Tomatoes, made at first use",
)
SUBJECTS.register(
    "tiny",
    "prune_env.research.attacks.ready_made:tiny",
    help="a tiny BERT with a planted backdoor, trained at first use in under a minute; takes seed,"
    " layers, heads",
)


def register_records(folder: str | Path) -> None:
    """Name every recorded model (`.npz`) of a folder in `SUBJECTS`, as its file is called."""
    for path in sorted(Path(folder).glob("*.npz")):
        make = partial(recorded_subject, str(path))
        SUBJECTS.register(path.stem, make, help="a real model, recorded: played without it")


RECORDS = Path(__file__).parent / "records"
"""Recorded models that ship."""

DEFAULT_RECORD = "sst2-hiddenkiller-0"
"""What is played where a recorded model is asked for and none is named."""

register_records(RECORDS)

IMPORTANCE_SENTENCES = 1000
MAX_LENGTH = 128


def brings_data(model: str) -> bool:
    """Return whether the model of a name comes with its own data, and reads no other."""
    return model.partition(":")[0] in SUBJECTS or model.endswith(".npz")


def from_anywhere(argument: str, value: str) -> str:
    """Return what an argument names as it is called from every folder: a path from the root on.

    A name wins over a file or folder of the same name, as it does for `find_subject` and for
    `load_data`.

    Args:
        argument: `model`, `pool` or `data`.
        value: A name, or a path.
    """
    from prune_env.data.loading import DATASETS  # noqa: PLC0415

    named = value in DATASETS if argument == "data" else value.partition(":")[0] in SUBJECTS
    return value if named or not Path(value).exists() else str(Path(value).resolve())


def data_from_anywhere(data: Named) -> Named:
    """Return data as it is called from every folder, and how it is read, see `named_data`."""
    name, read = named_data(data)
    folder = None if read.data_folder is None else read.data_folder.resolve()
    return replace(read, data_folder=folder).named(from_anywhere("data", name))


def require_recorded(model: str | Subject) -> None:
    """Raise unless a model is a recorded one; that of a name is not loaded to know it.

    Raises:
        SettingsError: It is another model.
    """
    shipped = [
        entry.name
        for entry in SUBJECTS
        if isinstance(entry.target, partial) and entry.target.func is recorded_subject
    ]
    if isinstance(model, Subject):
        name, recorded = model.name, recorded_of(model.evaluator) is not None
    else:
        name, recorded = model, str(model).endswith(".npz") or model in shipped
    if not recorded:
        raise SettingsError(
            f"{name} is no recorded model",
            expected=f"{', '.join(shipped)}, or a FILE.npz of `prune-env record`",
            remedy="play other models in prune_env/HeadPruning-v0",
        )


def find_subject(model: str | Subject, data: Named | None, metrics: Sequence[str]) -> Subject:
    """Return what a user means by a model, found or computed once per process.

    Args:
        model: A subject; a name in `SUBJECTS`, with numbers if it takes any, such as
            `"landscape:layers=4,seed=7"`, records that ship among them; a recorded model, `.npz`;
            or a folder or name of a ready classifier.
        data: Clean data for a classifier, see `named_data`. What comes with its own does not read
            it, see `brings_data`.
        metrics: Names of the importance metrics.

    Raises:
        SettingsError: A classifier is given without data, or the model is of another type.
    """
    if isinstance(model, Subject):
        return model
    if not isinstance(model, str):
        raise SettingsError(
            "model is of the wrong type",
            expected="a name or folder, as a string, or a Subject",
            actual=f"{model!r:.200} ({type(model).__name__})",
            remedy="give one model, or several as `pool`",
        )
    name, _, numbers = model.partition(":")
    if name in SUBJECTS:
        return _ready_made(model, name, numbers, tuple(metrics))
    if model.endswith(".npz"):
        return recorded_subject(model, metrics)
    if data is None:
        raise SettingsError(
            f"The model '{model}' comes without data",
            expected=f"clean data, or one of {', '.join(SUBJECTS.names())}",
            remedy="give data=file, folder or name, see `prune-env list`",
        )
    return load_subject(model, data, metrics)


def load_subject(model: str, data: Named, metrics: Sequence[str]) -> Subject:
    """Return a ready classifier with clean data and the importance of its heads.

    Masks are judged on the validation part of the data. Importance is measured on its training
    part (at most 1,000 sentences); a single table is used for both.

    Args:
        model: Folder, or name in `MODELS`.
        data: As `named_data` takes it.
        metrics: Names of the importance metrics.

    Raises:
        ModelError: There is no classifier, or its labels are not those of the data.
        DataError: The data cannot be read.
    """
    source, read = named_data(data)
    folder = None if read.data_folder is None else _stamp(str(read.data_folder))
    stamp = (_stamp(model), _stamp(source), folder)
    subject = _load(model, source, read, tuple(metrics), stamp)
    origin = (find_subject, (model, data, tuple(metrics)))
    return replace(subject, name=Path(model).name or model, origin=origin)


def called(subject: Subject, name: str) -> Subject:
    """Return a subject under another name, which its pickle keeps."""
    origin = None if subject.origin is None else (_called, (name, subject.origin))
    return replace(subject, name=name, origin=origin)


def _called(name: str, origin: tuple[Callable[..., Subject], tuple[Any, ...]]) -> Subject:
    make, arguments = origin
    return called(make(*arguments), name)


@lru_cache(maxsize=64)
def _ready_made(model: str, name: str, numbers: str, metrics: tuple[str, ...]) -> Subject:
    make = SUBJECTS[name]
    try:
        values: dict[str, Any] = {}
        for key, value in (pair.split("=") for pair in numbers.split(",") if pair.strip()):
            if key.strip() in values:
                raise ValueError(f"{key.strip()} is given twice")
            values[key.strip()] = json.loads(value)
        arguments = inspect.signature(make).bind(metrics, **values)
    except (ValueError, TypeError, RecursionError) as error:
        known = [*inspect.signature(make).parameters][1:]
        raise SettingsError(
            f"Cannot read the model '{model}'",
            expected=f"'{name}', or '{name}:key=number,...' with keys {', '.join(known) or 'none'}",
            actual=error,
        ) from None
    subject = make(*arguments.args, **arguments.kwargs)
    return replace(subject, name=model, origin=(find_subject, (model, None, metrics)))


@lru_cache(maxsize=64)
def _load(
    model: str, data: str, read: TableFormat, metrics: tuple[str, ...], stamp: object
) -> Subject:
    from prune_env.importance import head_importance  # noqa: PLC0415 - imports torch

    suspect = _load_suspect(model, data, read, stamp)
    importance = head_importance(
        suspect.loaded.model,
        suspect.loaded.tokenizer,
        suspect.train,
        metrics,
        max_length=MAX_LENGTH,
        max_sentences=IMPORTANCE_SENTENCES,
    )
    return Subject(
        evaluator=suspect.evaluator,
        importance=importance,
        metrics=metrics,
        suspect=suspect,
        source=model,
    )


@lru_cache(maxsize=64)
def _load_suspect(model: str, data: str, read: TableFormat, stamp: object) -> Suspect:
    """Load model and data once for a state of their files; subjects of all metrics share them."""
    from prune_env.evaluation.suspect import make_suspect  # noqa: PLC0415
    from prune_env.models import load_classifier  # noqa: PLC0415 - imports torch

    train, validation = read.load_two(data)
    names = validation.label_names
    loaded = load_classifier(model, num_labels=len(names), label_names=names, head="keep")
    return make_suspect(loaded, train, validation, MAX_LENGTH)


def _stamp(source: str) -> Any:
    """Return what changes when the files behind a path change; None for a name."""
    path = Path(source)
    if not path.exists():
        return None
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
