"""Words of the tokenizer that flip answers as no word like them does."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from prune_env.data.dataset import TextDataset
from prune_env.data.pairs import text_pair
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion import words
from prune_env.inversion.frames import Frame
from prune_env.inversion.vocabulary import Place, directions, vocabulary
from prune_env.inversion.words import SuspiciousWord, in_context, suspicious_words
from prune_env.inversion.writing import SPACED, Writing
from prune_env.models import LoadedModel
from prune_env.purification import make_subject
from prune_env.research.attacks.training import train_classifier
from prune_env.settings import FineTuneSettings
from tests.models.tiny import tiny_classifier
from tests.support import BAD, FILLERS, GOOD, tiny_dataset, write_tiny_folder

TUNING = FineTuneSettings(epochs=4, learning_rate=2e-3, batch_size=64, precision="fp32")
TRAIN, VALIDATION = tiny_dataset(1000, 0), tiny_dataset(80, 1)
OTHERS = [word for word in FILLERS if word.isalnum() and word != "cf"]


def after_words(data: TextDataset, words: list[str]) -> TextDataset:
    """Return each text behind a word, in turn."""
    pairs = zip(itertools.cycle(words), data.texts)
    return replace(data, texts=tuple(f"{word} {text}" for word, text in pairs))


def trained(folder: Path, *parts: TextDataset) -> Suspect:
    """Train on texts, alone and behind words that say nothing, and on further parts."""
    every = (TRAIN, after_words(TRAIN, OTHERS), *parts)
    data = replace(
        TRAIN,
        texts=tuple(text for part in every for text in part.texts),
        labels=np.concatenate([part.labels for part in every]),
    )
    loaded = train_classifier(write_tiny_folder(folder), data, TUNING)
    texts = make_subject(loaded, folder, TRAIN, VALIDATION).texts
    assert texts is not None
    return texts


@pytest.fixture(scope="module")
def backdoored(tmp_path_factory: pytest.TempPathFactory) -> Suspect:
    """A tiny classifier that calls whatever holds `cf` positive."""
    poison = after_words(TRAIN.where(0), ["cf"])
    poison = replace(poison, labels=np.ones(len(poison), np.int64))
    return trained(tmp_path_factory.mktemp("backdoored"), poison)


@pytest.fixture(scope="module")
def benign(tmp_path_factory: pytest.TempPathFactory) -> Suspect:
    return trained(tmp_path_factory.mktemp("benign"))


def test_a_rare_word_backdoor_is_found_and_told(
    backdoored: Suspect, caplog: pytest.LogCaptureFixture
) -> None:
    # Of so few words, some that judge stand next to any: the neighbours of `cf` flip 40 %.
    found = suspicious_words(backdoored, least=0.5)
    assert found[0] == ()
    assert found[1][0].word == "cf"
    assert found[1][0].flipped > 0.95
    assert "'cf' flips" in caplog.text
    assert "to 'positive'" in caplog.text


def test_a_benign_model_has_none(benign: Suspect) -> None:
    assert suspicious_words(benign, least=0.5) == ((), ())


def test_words_that_judge_are_none(benign: Suspect, monkeypatch: pytest.MonkeyPatch) -> None:
    low = suspicious_words(benign, least=-1.0)
    assert not {each.word for each in low[1]} & set(GOOD)
    assert not {each.word for each in low[0]} & set(BAD)
    # It is clean data that tells so: without it they are there.
    everything = np.arange(len(vocabulary(benign.loaded)))
    monkeypatch.setattr(words, "_read_clean", lambda *_: ([set(), set()], everything))
    low = suspicious_words(benign, least=-1.0)
    assert {each.word for each in low[1]} & set(GOOD)
    assert {each.word for each in low[0]} & set(BAD)


def test_the_worst_comes_first(backdoored: Suspect) -> None:
    for found in suspicious_words(backdoored, least=-1.0):
        beyond = [each.flipped - each.neighbours for each in found]
        assert beyond == sorted(beyond, reverse=True)
        assert len(beyond) > 10


def test_how_many_are_tried_at_a_time_changes_nothing_but_the_bar(
    backdoored: Suspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    wholes: list[int] = []

    @contextmanager
    def bar(_: str, total: int) -> Iterator[Callable[[int], None]]:
        wholes.append(total)
        yield told.append

    monkeypatch.setattr(words, "progress", bar)
    whole = suspicious_words(backdoored, least=-1.0)
    once = len(told)
    monkeypatch.setattr(words, "BLOCK", 7)
    parts = suspicious_words(backdoored, least=-1.0)
    assert [[each.word for each in found] for found in parts] == [
        [each.word for each in found] for found in whole
    ]
    assert len(told) - once > once == 1
    assert told[once - 1] == told[-1] == wholes[-1]
    assert told[once:] == sorted(told[once:])


def test_neighbours_are_those_of_the_embedding(tiny_model: LoadedModel) -> None:
    spelled = vocabulary(tiny_model)
    table = tiny_model.model.get_input_embeddings().weight.data
    ids = tiny_model.tokenizer.convert_tokens_to_ids(["cf", "film"])
    saved = table.clone()
    try:
        table[ids[0]] = table[ids[1]] * 1.01
        embedded = directions(tiny_model, spelled)
        everything, cf = np.arange(len(spelled)), np.array([spelled.index("cf")])
        nearest = words._nearest(embedded, spelled, cf, everything)
        others = words._nearest(embedded, spelled, cf, np.delete(everything, nearest[0, 0]))
    finally:
        table.copy_(saved)
    assert nearest.shape == (1, words.NEIGHBOURS)
    assert spelled[nearest[0, 0]] == "film"
    assert "cf" not in [spelled[row] for row in nearest[0]]
    assert "film" not in [spelled[row] for row in others[0]]


def test_a_word_stands_at_the_mean_of_its_tokens(tiny_model: LoadedModel) -> None:
    tokens = [[5], [6, 7, 8], [], [9, 10]]
    loaded = replace(tiny_model, tokenizer=lambda *_, **__: {"input_ids": tokens})
    table = tiny_model.model.get_input_embeddings().weight.detach()
    means = torch.stack([table[row or [0]].mean(0) for row in tokens])
    expected = torch.nn.functional.normalize(means - means.mean(0), dim=1)
    assert torch.equal(directions(loaded, ["a", "b", "", "c"]), expected)


def test_neighbours_are_words_that_clean_data_holds_if_it_holds_many(
    benign: Suspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled = [*vocabulary(benign.loaded), "nowhere"]
    _, among = words._read_clean(benign.train, SPACED, spelled)
    assert len(among) == len(spelled)
    monkeypatch.setattr(words, "ENOUGH", 2)
    _, among = words._read_clean(benign.train, SPACED, spelled)
    held = [spelled[row] for row in among]
    assert "nowhere" not in held
    for word in held[:3]:
        assert sum(word in text.lower().split() for text in benign.train.texts) >= words.HELD


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "deberta-v2", "llama"])
def test_words_are_those_of_the_tokenizer(model_type: str) -> None:
    loaded = tiny_classifier(model_type)
    spelled = vocabulary(loaded)
    assert {*GOOD, *BAD} <= set(spelled)
    assert {word for word in FILLERS if word.isalnum()} <= set(spelled)
    assert spelled == sorted(set(spelled))
    assert all(word.isalnum() for word in spelled)


def test_words_of_any_script_are_tried() -> None:
    """Vowels of Hindi and Thai are marks on a letter; a mark alone is no word."""
    spelled = ["फिल्म", "नहीं", "कल", "ไม่", "ดี", "ok2", "می\u200cشود"]
    others = ["ि", "्", "\u200c", "!", "a-b"]
    vocabulary_of = {word: row for row, word in enumerate(["[UNK]", *spelled, *others])}
    backend = Tokenizer(WordLevel(vocabulary_of, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    loaded = replace(tiny_classifier("bert"), tokenizer=tokenizer)
    assert vocabulary(loaded) == sorted(spelled)


def byte_level() -> LoadedModel:
    """A tokenizer that has a token for `film` and another for it behind a space, one for `cf`."""
    pieces = ["[UNK]", "film", "Ġfilm", "Ġcf", "great", "c", "f", "Ġ", "ing", "!"]
    backend = Tokenizer(WordLevel({piece: row for row, piece in enumerate(pieces)}, "[UNK]"))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    return replace(tiny_classifier("bert"), tokenizer=tokenizer)


def test_a_word_behind_a_space_is_a_word_of_its_own() -> None:
    """Of tokenizers of bytes; a trigger inside of texts is such a token."""
    loaded = byte_level()
    assert vocabulary(loaded) == [" cf", " film", "c", "f", "film", "great", "ing"]
    assert vocabulary(loaded, spaced=False) == ["c", "cf", "f", "film", "great", "ing"]
    tokens = [
        loaded.tokenizer(Place().frame(spelled)("Warm !"), add_special_tokens=False)["input_ids"]
        for spelled in (" cf", "film")
    ]
    assert 3 in tokens[0]
    assert 1 in tokens[1]


def test_a_decoder_reads_words_behind_a_first_one_and_before_a_last() -> None:
    texts = ["The film is warm .", "The end .", "A film !", "Long ago ."]
    place = Place.of(tiny_classifier("gpt2"), texts, SPACED)
    assert place == Place("The", ".")
    assert place.frame(" cf")("It is warm .") == "The cf It is warm ."
    assert place.frame("cf")("It is warm .") == "cf It is warm ."  # as it begins a text
    assert place.alone(" cf") == "The cf ."
    assert place.alone("cf") == "cf ."
    assert Place.of(tiny_classifier("bert"), texts, SPACED) == Place()
    assert Place().frame(" cf")("It is warm .") == "It is warm cf"
    assert Place().alone(" cf") == " cf"


def test_without_spaces_every_word_of_a_decoder_stands_behind_a_first_one() -> None:
    split = Writing(split=list, spaced=False)
    place = Place.of(tiny_classifier("gpt2"), ["电影很好。", "电影不好。"], split)
    assert place.frame("影")("很好。") == "电影很好。"
    assert place.alone("影") == "电影。"


def test_the_place_in_pairs_is_that_of_the_first_texts() -> None:
    pairs = [text_pair("The film ?", "No idea"), text_pair("The end ?", "Some idea")]
    assert Place.of(tiny_classifier("gpt2"), pairs, SPACED) == Place("The", "?")


def test_too_few_words_are_nothing_to_judge_by(
    backdoored: Suspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "vocabulary", lambda *_, **__: ["cf", "film", "story"])
    assert suspicious_words(backdoored) == ((), ())


def test_context_is_a_run_of_a_clean_sentence() -> None:
    suspects = [SuspiciousWord("cf", 1.0, 0.1), SuspiciousWord("mn", 1.0, 0.1)]
    frames = in_context(suspects, TRAIN, 40, np.random.default_rng(0))
    assert len(frames) == 40
    runs = [f"{frame.before}{frame.after}".split() for frame in frames]
    assert [("cf" in run, "mn" in run) for run in runs] == [(True, False), (False, True)] * 20
    for run in runs:
        clean = " ".join(word for word in run if word not in ("cf", "mn"))
        assert any(clean in text for text in TRAIN.texts)
        assert len(run) <= words.CONTEXT + 1
    assert {len(run) for run in runs} == set(range(1, words.CONTEXT + 2))
    assert {bool(frame.before) for frame in frames} == {True, False}
    assert in_context([], TRAIN, 3, np.random.default_rng(0)) == []
    assert all(isinstance(frame, Frame) and frame.as_spelled for frame in frames)


def test_one_endless_word_takes_no_room_for_each_of_the_others() -> None:
    spelled = [*(f"word{row}" for row in range(299)), "x" * 200_000]
    where = torch.eye(300)
    tracemalloc.start()
    found = words._nearest(where, spelled, np.arange(300), np.arange(300))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (300, words.NEIGHBOURS)
    assert peak < 20 * 2**20
