"""What the JSON files of a model folder may say; judged before any library reads them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prune_env.errors import GET_AGAIN, ModelError, UnsafeModelError, UnsupportedModelError
from prune_env.models.added_tokens import find_added_in
from prune_env.models.architectures import (
    IMAGE_PROCESSORS,
    IMAGE_TYPES,
    TEXT_TYPES,
    TOKENIZERS,
)
from prune_env.utils.limits import CONFIG_DEPTH, LABELS

FORBIDDEN_KEYS = ("auto_map", "trust_remote_code", "quantization_config", "transformers_weights")
FORBIDDEN_PREFIXES = ("_attn_implementation", "attn_implementation", "_experts_implementation")
"""Keys of any JSON file that name code, kernels or other files to load (CVE-2026-4372 and
CVE-2026-5241 get round `trust_remote_code=False` by such keys)."""
AUTOSET = "_attn_implementation_autoset"
"""Whether transformers 4.46 to 4.5x chose the implementation itself: a bool, no name."""

PROCESSORS = {
    "tokenizer_class": TOKENIZERS,
    "image_processor_type": IMAGE_PROCESSORS,
    "feature_extractor_type": IMAGE_PROCESSORS,
}
"""Keys that name such a class; transformers reads them in several files, config.json included."""

MAX_COUNT = 1000
COUNTED = re.compile(r"layers?$|heads?$|groups?(_num)?$|^num_labels$")
"""Sizes that cost time or memory before any weight is compared with them."""
SIDES = frozenset(
    {
        *("size", "crop_size", "pad_size", "height", "width", "max_height", "max_width"),
        *("shortest_edge", "longest_edge"),
    }
)
MAX_SIDE = 4096
"""Sizes in pixels to which an image would be scaled before any model refuses it."""
EPS = re.compile(r"(^|_)eps(ilon)?$")
MAX_EPS = 1
"""What keeps a norm from dividing by 0: much of it, and every text has one answer."""
GENERIC = re.compile(r"label_\d+", re.IGNORECASE)
"""The name that transformers gives to an output for want of another."""

Place = tuple[Any, ...]
"""Where an entry stands: the place of what holds it, and its key; () at the top."""


def find_forbidden(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Yield what no JSON file of a model may say, unsafe entries first."""
    entries = list(_entries(config))
    for place, key, item in entries:
        if key == AUTOSET and isinstance(item, bool):
            continue
        if key in FORBIDDEN_KEYS or key.startswith(FORBIDDEN_PREFIXES):
            yield UnsafeModelError(
                f"{path} sets '{_dotted(place)}', which can load code or other files",
                expected=f"no key '{key}'",
                actual=f"{item!r:.80}",
                remedy="do not use this model, or delete the key if you know why it is there",
            )
    for place, key, item in entries:
        yield from _foreign_class(path, place, key, item)
        sides = (item if isinstance(item, list) else [item]) if key in SIDES else []
        for side in sides:
            if type(side) in (int, float) and not side <= MAX_SIDE:
                yield ModelError(
                    f"{path} sets {_dotted(place)} to {side!r:.20} pixels",
                    expected=f"up to {MAX_SIDE}",
                    remedy=GET_AGAIN,
                )
    deepest = _depth(config)
    if deepest > CONFIG_DEPTH.value:
        yield CONFIG_DEPTH.exceeded(deepest, f"{path} is nested too deeply", ModelError)
    yield from find_added_in(path, config)


def _foreign_class(path: Path, place: Place, key: str, item: Any) -> Iterator[ModelError]:
    """Find a processor class from elsewhere in transformers."""
    known = PROCESSORS.get(key)
    if known is not None and item is not None:
        plain = str(item).removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
        if plain not in known:
            yield UnsafeModelError(
                f"{path} names the class '{item!s:.60}' as {_dotted(place)}",
                expected=f"one of {', '.join(sorted(known))}",
                remedy="save it again with a class of this list",
            )


def find_unsupported(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Yield why a model cannot be loaded, as its config.json tells."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in TEXT_TYPES | IMAGE_TYPES:
        yield UnsupportedModelError(
            f"{path} has the model type '{model_type!s:.60}'",
            expected=f"one of {', '.join(sorted(TEXT_TYPES | IMAGE_TYPES))}",
            remedy="use a model of a supported type",
        )
    names = config.get("architectures")
    if isinstance(names, list) and names[:1] == ["T5EncoderModel"]:
        yield UnsupportedModelError(
            f"{path} describes a T5 encoder alone, for which transformers has no classifier",
            expected="T5 with its decoder, such as T5ForConditionalGeneration",
            remedy="use the whole model: heads of its encoder are pruned",
        )
    for place, key, item in _entries(config):
        if COUNTED.search(key) and type(item) is int and not 0 <= item <= MAX_COUNT:
            yield ModelError(
                f"{path} sets {_dotted(place)} to {item!r:.20}",
                expected=f"0 to {MAX_COUNT}",
                remedy=GET_AGAIN,
            )
        if EPS.search(key) and type(item) in (int, float) and not 0 <= item <= MAX_EPS:
            yield ModelError(
                f"{path} sets {_dotted(place)} to {item!r:.20}",
                expected=f"0 to {MAX_EPS}, such as 1e-12",
                remedy=GET_AGAIN,
            )
    yield from _cut_heads(path, config)
    yield from _contradicting_labels(path, config)


def _cut_heads(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Find heads that `prune_heads` of older releases of transformers cut out of the weights."""
    cut = config.get("pruned_heads")
    layers = cut if isinstance(cut, dict) else {}
    named = [f"layer {layer!s:.10}: {heads!s:.60}" for layer, heads in layers.items() if heads]
    if named:
        yield ModelError(
            f"{path} says that heads were cut out of this model by prune_heads: "
            f"{', '.join(named[:20])}",
            expected="the weights of every head",
            remedy="take the model that they were cut from, and prune these heads again with "
            '--mask FILE, which holds {"layer": [heads]}',
        )


def _contradicting_labels(path: Path, config: dict[str, Any]) -> Iterator[ModelError]:
    """Find names of labels that stand for no order, and two lists of them that differ."""
    for key in ("id2label", "label2id"):
        count = len(config[key]) if isinstance(config.get(key), dict) else 0
        if count > LABELS.value:
            yield LABELS.exceeded(count, f"{path} names too many labels in {key}", ModelError)
            return
    own, inverse = _names_by_id(config), _names_by_inverse(config)
    named = config.get("label2id")
    if isinstance(named, dict) and named and not inverse and not _generic(list(named)):
        yield ModelError(
            f"{path} names labels that stand for no order",
            expected=f"label2id with the values 0 to {len(named) - 1}, each once",
            actual=f"{named}"[:200],
            remedy="correct id2label and label2id in config.json",
        )
    if own and inverse and not _generic(own) and not _generic(inverse) and own != inverse:
        yield ModelError(
            f"{path} names its labels in two ways that differ",
            expected=f"label2id as id2label has it: {', '.join(own)}"[:500],
            actual=", ".join(inverse)[:500],
            remedy="correct id2label and label2id in config.json",
        )


def with_label_names(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config whose `id2label` takes the names of `label2id` where it has none itself."""
    own, inverse = _names_by_id(config), _names_by_inverse(config)
    if not inverse or _generic(inverse) or (own and not _generic(own)):
        return config
    return {**config, "id2label": {str(index): name for index, name in enumerate(inverse)}}


def _names_by_id(config: dict[str, Any]) -> list[str]:
    """Return the names of `id2label` in order, none if they are not those of 0, 1, ..."""
    labels = config.get("id2label")
    labels = labels if isinstance(labels, dict) else {}
    names = [labels.get(str(index)) for index in range(len(labels))]
    return names if all(isinstance(name, str) for name in names) else []  # type: ignore[return-value]


def _names_by_inverse(config: dict[str, Any]) -> list[str]:
    """Return the names of `label2id` in order, none if they do not stand for 0, 1, ..."""
    labels = config.get("label2id")
    labels = labels if isinstance(labels, dict) else {}
    by_id = {_whole(index): name for name, index in labels.items()}
    names = [by_id.get(index) for index in range(len(labels))]
    return names if None not in names else []  # type: ignore[return-value]


def _whole(index: Any) -> int | None:
    """Return a class index, which hand-written files hold as a string too; None if it is none."""
    if isinstance(index, str) and re.fullmatch("[0-9]{1,9}", index):
        return int(index)
    return index if type(index) is int else None


def _generic(names: list[str]) -> bool:
    return all(GENERIC.fullmatch(name) for name in names)


def _entries(config: dict[str, Any]) -> Iterator[tuple[Place, str, Any]]:
    """Yield (place, key, value) of every entry at any depth, without recursion.

    A place is a chain, and is spelt out for a message only: the names of deep entries together
    are much longer than the file.
    """
    stack: list[tuple[Place, Any]] = [((), config)]
    while stack:
        inside, value = stack.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                yield (inside, key), key, item
                stack.append(((inside, key), item))
        elif isinstance(value, list):
            stack.extend((inside, item) for item in value)


def _dotted(place: Place) -> str:
    keys: list[str] = []
    while place:
        place, key = place
        keys.append(f"{key:.60}")
    return ".".join(reversed(keys))


def _depth(config: dict[str, Any]) -> int:
    """Return how many objects and lists stand inside each other."""
    depth = 0
    level: list[Any] = [config]
    while level:
        depth += 1
        held = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [item for each in held for item in each if isinstance(item, dict | list)]
    return depth
