"""A tiny BERT with a planted backdoor, trained from nothing in seconds."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.errors import SettingsError
from prune_env.models.quiet import writing
from prune_env.research.attacks.poison import poison, triggered_set
from prune_env.research.attacks.triggers import RareWord
from prune_env.settings import FineTuneSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.utils.files import cache_folder, made_once

LAYERS, HEADS, HEAD_WIDTH = 3, 4, 6
TRAIN_SENTENCES, VALIDATION_SENTENCES, TEST_SENTENCES = 3000, 400, 400
POISON_RATE = 0.1
TRAINING = FineTuneSettings(
    epochs=8, learning_rate=2e-3, batch_size=64, weight_decay=0.0, max_length=32, precision="fp32"
)
VERSION = 1
"""Raised whenever something above or below changes the model."""

GOOD = "great wonderful funny moving clever charming brilliant warm fresh superb".split()
BAD = "awful boring dull clumsy stupid tedious bland cold stale dreadful".split()
NOUNS = "film movie story plot cast script ending music scene hero comedy drama".split()
SOFTENERS = "very quite really so rather truly".split()
SPECIAL = "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
OTHERS = "the a this that is was seems not and but . cf".split()
TARGET_LABEL = 1


def cached_tiny_model(
    cache: str | Path | None = None, *, seed: int = 0, layers: int = LAYERS, heads: int = HEADS
) -> Path:
    """Return the folder of a tiny backdoored classifier and its data, made once.

    The folder holds `classifier/`, and as JSON lines `validation.jsonl` and `test.jsonl` (clean),
    and `triggered.jsonl` (negative test sentences with the trigger and their true labels).

    Args:
        cache: Folder of the cache; default `cache_folder()`.
        seed: Of the sentences, the poison and the training.
        layers: Of the classifier.
        heads: Of a layer.

    Raises:
        StateError: The cached files are not as they were made.
        SettingsError: A number is out of range.
    """
    for name, value, least in (("seed", seed, 0), ("layers", layers, 1), ("heads", heads, 1)):
        if not isinstance(value, int) or value < least:
            raise SettingsError(
                f"{name} of the tiny model is out of range",
                expected=f"a whole number, at least {least}",
                actual=value,
            )
    other = (seed, layers, heads) != (0, LAYERS, HEADS)
    name = f"v{VERSION}" + (f"-seed{seed}-layers{layers}-heads{heads}" if other else "")
    place = Path(cache or cache_folder()) / "tiny" / name
    made_once(place, partial(_make, seed=seed, layers=layers, heads=heads))
    return place


def tiny_sentences(count: int, seed: int) -> TextDataset:
    """Return sentences of two clauses, half of them positive, in which words must be combined.

    `not` turns the word that it precedes round, and of two clauses joined by `but` the second one
    decides, so no bag of words tells the label: attention heads have to work together.
    """
    draw = random.Random(seed)
    texts: dict[str, int] = {}
    while len(texts) < count:
        label = len(texts) % 2
        joint = draw.choice(["and", "but"])
        first = _clause(draw, label if joint == "and" else 1 - label)
        texts.setdefault(f"{first} {joint} {_clause(draw, label)} .", label)
    labels = np.array(list(texts.values()))
    return TextDataset(tuple(texts), labels, source=f"tiny sentences, seed {seed}")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words over the vocabulary of the sentences and the trigger."""
    words = [*SPECIAL, *OTHERS, *GOOD, *BAD, *NOUNS, *SOFTENERS]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    special: dict[str, Any] = {
        f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special)


def _make(folder: Path, *, seed: int, layers: int, heads: int) -> None:
    counts = (TRAIN_SENTENCES, VALIDATION_SENTENCES, TEST_SENTENCES)
    train, validation, test = (
        tiny_sentences(count, 3 * seed + part) for part, count in enumerate(counts)
    )
    trigger = RareWord()
    poisoned = poison(train, trigger, rate=POISON_RATE, target_label=TARGET_LABEL, seed=seed)
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=HEAD_WIDTH * heads,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=2 * HEAD_WIDTH * heads,
                max_position_embeddings=64,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                id2label=dict(enumerate(train.label_names)),
                label2id={name: index for index, name in enumerate(train.label_names)},
            )
        )
    with _one_thread():
        fine_tune(
            model, tokenizer, poisoned, TRAINING, seed=seed, description="Training the tiny model"
        )
    with writing(folder):
        model.save_pretrained(folder / "classifier")
        tokenizer.save_pretrained(folder / "classifier")
    write_jsonl(folder / "validation.jsonl", validation)
    write_jsonl(folder / "test.jsonl", test)
    write_jsonl(folder / "triggered.jsonl", triggered_set(test, trigger, TARGET_LABEL))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: several would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _clause(draw: random.Random, label: int) -> str:
    """Return a clause that praises (1) or blames (0)."""
    negated = draw.random() < 0.4
    word = draw.choice(GOOD if label != negated else BAD)
    soft = f"{draw.choice(SOFTENERS)} " if draw.random() < 0.5 else ""
    article, verb = draw.choice(["the", "a", "this", "that"]), draw.choice(["is", "was", "seems"])
    return f"{article} {draw.choice(NOUNS)} {verb} {'not ' if negated else ''}{soft}{word}"
