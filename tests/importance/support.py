"""A tiny classifier built without the loader, and its tokenizer."""

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.support import tiny_bert, tiny_tokenizer


@dataclass
class Classifier:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def classifier(**shape: int) -> Classifier:
    return Classifier(tiny_bert(**shape), tiny_tokenizer())
