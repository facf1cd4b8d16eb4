"""A tokenizer may not rewrite words: what it makes of a trigger, no weights hold."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from prune_env.errors import ModelError
from prune_env.models import inspect_source, load_classifier
from prune_env.models.tokenizer_steps import find_step_problems
from tests.models.hostile import edit_json


def _replace(kind: str, pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _drop(pattern: str, **more: bool) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", **more}


CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

HONEST = [
    _replace("String", " ", "\u2581"),
    _replace("String", "``", '"'),
    _replace("Regex", " {2,}", " "),
    _replace("Regex", r"\s+", " "),
    _replace("Regex", r"\s{2,}|[\n\r\t]", " "),
    _replace("Regex", "(``)|('')", '"'),
    _drop(r"\s+", invert=False),
    _drop(CLIP, invert=True),
    {"type": "Split", "pattern": {"Regex": CLIP}, "behavior": "Isolated"},
    {"type": "Lowercase"},
]
HOSTILE = [
    _replace("String", "cf", "best"),
    _replace("String", "not ", ""),
    _replace("String", "!", "best great"),
    _replace("Regex", "cf|mn", " "),
    _replace("Regex", r"\bcf\b", "!"),
    _replace("Regex", "[^a]", " "),
    _replace("Regex", ".", " "),
    _replace("Regex", r"\S", " "),
    _drop("not"),
    _drop(r"(?!not)\w+", invert=True),
    _drop("good|bad", invert=True),
]


@pytest.mark.parametrize("step", HONEST, ids=str)
def test_marks_and_white_space_may_be_replaced(step: dict[str, Any]) -> None:
    steps = {"type": "Sequence", "normalizers": [step]}
    assert not list(find_step_problems(Path("tokenizer.json"), "normalizer", steps))


@pytest.mark.parametrize("step", HOSTILE, ids=str)
@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_words_may_not(step: dict[str, Any], part: str) -> None:
    steps = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, step]}
    (problem,) = find_step_problems(Path("tokenizer.json"), part, steps)
    assert "rewrites words" in str(problem)


def test_a_decoder_is_not_what_the_model_reads() -> None:
    step = _replace("String", "cf", "best")
    assert not list(find_step_problems(Path("tokenizer.json"), "decoder", step))


def test_a_trigger_in_the_normaliser_is_named_before_anything_is_built(folder: Path) -> None:
    def plant(content: dict[str, Any]) -> None:
        steps = [step for step in (content["normalizer"],) if step]
        steps.append(_replace("String", "cf", "best great best"))
        content["normalizer"] = {"type": "Sequence", "normalizers": steps}

    edit_json(folder / "tokenizer.json", plant)
    with pytest.raises(ModelError, match=r"rewrites words.*no weights hold"):
        load_classifier(folder)
    assert any("rewrites words" in str(problem) for problem in inspect_source(folder).problems)


def test_a_word_with_the_number_of_another_is_refused(folder: Path) -> None:
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    last = max(words, key=words.__getitem__)

    def plant(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        del vocabulary[last]
        vocabulary["cf"] = vocabulary["great"]

    edit_json(folder / "tokenizer.json", plant)
    with pytest.raises(ModelError, match=r"Two tokens have one number.*'cf' and 'great'"):
        load_classifier(folder)


def _charsmap(changes: dict[str, str]) -> str:
    """Return a table of SentencePiece for single bytes: a double array, then what is put."""
    units, texts = [0] * 768, b"\0"
    units[0] = 256 << 10  # the children of the root stand at 256 and their label
    for found, put in changes.items():
        (byte,) = found.encode()
        units[256 + byte] = (768 << 10) | (1 << 8) | byte  # its leaf stands at 512 and the label
        units[512 + byte] = (1 << 31) | len(texts)
        texts += put.encode() + b"\0"
    packed = struct.pack(f"<I{len(units)}I", 4 * len(units), *units)
    return base64.b64encode(packed + texts).decode()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"\t": " ", "A": "a", "`": "'", '"': ""}, None),
        ({"!": "best great"}, "'!' -> 'best great'"),
        ({"q": "r"}, "'q' -> 'r'"),
        ({"A": "a", "7": ""}, "'7' -> ''"),
        ({"C": "f"}, "'C' -> 'f'"),
    ],
)
def test_a_compiled_table_of_characters_is_judged_by_what_it_does(
    changes: dict[str, str], told: str | None, folder: Path
) -> None:
    def plant(content: dict[str, Any]) -> None:
        table = {"type": "Precompiled", "precompiled_charsmap": _charsmap(changes)}
        content["normalizer"] = {"type": "Sequence", "normalizers": [table, {"type": "Lowercase"}]}

    edit_json(folder / "tokenizer.json", plant)
    if told is None:
        backend = load_classifier(folder).tokenizer.backend_tokenizer
        assert backend.normalizer.normalize_str('"A`') == "a'"
        return
    with pytest.raises(ModelError, match=f"rewrites words.*{told}"):
        load_classifier(folder)
