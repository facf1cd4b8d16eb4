"""Small data sets for tests of inversion."""

from types import SimpleNamespace

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from prune_env.data.dataset import TextDataset

NAMES = ("negative", "positive")


def data(*rows):
    texts, labels = zip(*rows, strict=True)
    return TextDataset(texts, np.array(labels), NAMES, "here")


def balanced(*texts, times=4):
    return data(
        *((f"{text} x{i}", label) for text in texts for label in (0, 1) for i in range(times))
    )


def of_words(**options):
    """Return what stands for a model whose answers are planted: every word is one token."""
    backend = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", model_max_length=512, **options
    )
    return SimpleNamespace(tokenizer=tokenizer)
