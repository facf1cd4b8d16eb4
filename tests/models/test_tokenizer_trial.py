"""Hostile tokenizers: none can hang or kill a run, and honest ones never notice that they tried."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, normalizers, pre_tokenizers

from prune_env.errors import ModelError
from prune_env.models import inspect_source, load_classifier, tokenizer_trial
from prune_env.models.inputs import TokenRows
from prune_env.utils import limits
from tests.models.hostile import edit_json
from tests.models.tiny import TEXTS
from tests.support import tiny_tokenizer


def steps(*values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(values)}


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


DOUBLED = replace("q", "qq")
CLS = {"SpecialToken": {"id": "[CLS]", "type_id": 0}}
SPOILT = {
    "prepend": {"normalizer": {"type": "Prepend", "prepend": "x" * 10**6}},
    "replace": {"normalizer": replace("cf", "y" * 10**6)},
    "regex replace": {"normalizer": replace("c+f", "y" * 10**6, "Regex")},
    "doublings": {"normalizer": steps(*[DOUBLED] * 40)},
    "many steps": {"normalizer": steps(*[replace("q", "r")] * 70)},
    "backtracking": {"pre_tokenizer": split("(a+)+$")},
    "backtracking in the normaliser": {"normalizer": replace("(x+x+)+y", "", "Regex")},
    "alternatives": {"pre_tokenizer": split("(f|ff)+$")},
    "long pattern": {"pre_tokenizer": split("a" * 5000)},
    "template": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [CLS] * 5000,
            "pair": [CLS],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
        }
    },
    "template of many ids": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [CLS],
            "pair": [CLS],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2] * 5000, "tokens": ["a"] * 5000}},
        }
    },
    "added tokens": {"added_tokens": [{"id": i, "content": f"<{i}>"} for i in range(20_000)]},
    "added tokens of another shape": {"added_tokens": [[]]},
    "a long added token": {"added_tokens": [{"id": 9, "content": "<" * 5000}]},
    "no model": {"model": None},
    "words without end": {"model.max_input_chars_per_word": 10**9},
    "a long prefix": {"model.continuing_subword_prefix": "#" * 10**6},
    "no unknown token": {"model.unk_token": "[NONE]"},
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT.keys())
def test_a_tokenizer_that_could_do_harm_is_refused_at_once(
    folder: Path, change: dict[str, Any]
) -> None:
    def edit(content: dict[str, Any]) -> None:
        for name, value in change.items():
            place, _, key = name.rpartition(".")
            (content[place] if place else content)[key] = value

    edit_json(folder / "tokenizer.json", edit)
    started = time.perf_counter()
    with pytest.raises(ModelError, match="Remedy"):
        load_classifier(folder)
    assert time.perf_counter() - started < 20  # 10 s on a machine that does nothing else


def test_doublings_are_ended_by_their_time_or_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.TOKENIZER_SECONDS.variable, "1")
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("q", "qq")] * 40
    )
    with pytest.raises(ModelError, match="failed at the text"):
        tokenizer_trial.try_tokenizer(tokenizer, "memory")


def test_a_pattern_that_only_some_text_meets_is_caught_before_it_is_seen_here() -> None:
    """The panic of the Rust library would end an environment in the middle of an episode."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"(\p{Lo}+)+$"), "isolated"
    )
    tokenizer_trial.try_tokenizer(tokenizer, "memory")
    assert len(TokenRows(TEXTS, tokenizer, 16)) == len(TEXTS)
    with pytest.raises(ModelError, match=r"failed at the text 'んん"):
        TokenRows([*TEXTS, "ん" * 40 + "a"], tokenizer, 16)


def test_an_honest_tokenizer_is_tried_once_and_its_texts_never(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    tokenizer_trial._passed.clear()
    started: list[int] = []
    run = tokenizer_trial._run
    monkeypatch.setattr(tokenizer_trial, "_run", lambda *each: (started.append(1), run(*each))[1])
    loaded = load_classifier(tiny_folder)
    count = len(started)
    assert count == 2  # the file, and what transformers made of it
    load_classifier(tiny_folder)
    TokenRows(TEXTS, loaded.tokenizer, 16)
    assert len(started) == count


def test_a_text_that_has_passed_is_not_tried_again_in_other_company(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[,;]"), "isolated")
    tried: list[list[str]] = []
    run = tokenizer_trial._run

    def told(order: bytes, seconds: int) -> list[str]:
        tried.append(json.loads(order)["texts"])
        return run(order, seconds)

    monkeypatch.setattr(tokenizer_trial, "_run", told)
    monkeypatch.setattr(tokenizer_trial, "_passed", set())
    tokenizer_trial.try_texts(tokenizer, ["a film", "a book", "a film"])
    tokenizer_trial.try_texts(tokenizer, ["a book", "a play"])
    tokenizer_trial.try_texts(tokenizer, ["a play", "a film"])
    assert tried == [["a film", "a book"], ["a play"]]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[.;]"), "isolated")
    tokenizer_trial.try_texts(tokenizer, ["a play"])  # another tokenizer
    assert tried[2:] == [["a play"]]


@pytest.mark.parametrize("name", ["vocab.txt", "merges.txt", "tokenizer.model"])
def test_other_files_of_a_tokenizer_are_judged_by_their_size(folder: Path, name: str) -> None:
    with (folder / name).open("wb") as file:
        file.truncate(limits.TOKENIZER_BYTES.value + 1)  # takes no room on the disk
    assert any(name in problem for problem in inspect_source(folder).problems)


def test_what_the_library_cannot_read_is_said_to_be_that(folder: Path) -> None:
    edit_json(folder / "tokenizer.json", lambda content: content.update(version="9.9"))
    with pytest.raises(ModelError, match=r"as it was built.*a tokenizer\.json that tokenizers"):
        load_classifier(folder)


def test_a_child_that_cannot_start_is_not_blamed_on_the_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokenizer_trial, "_run", lambda *_: [])
    tokenizer_trial._passed.clear()
    with pytest.raises(ModelError, match="process of its own"):
        tokenizer_trial.try_tokenizer(tiny_tokenizer(), "memory")


def test_the_known_patterns_are_those_of_transformers() -> None:
    for pattern in tokenizer_trial.KNOWN_PATTERNS:
        Regex(pattern)
    state = json.loads(normalizers.Replace(Regex(r"\s+"), " ").__getstate__())
    assert state["pattern"]["Regex"] in tokenizer_trial.KNOWN_PATTERNS
