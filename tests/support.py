"""A tiny BERT and tiny data, built in code: what most tests stand on."""

import os
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from prune_env.data.dataset import TextDataset

GOOD = "great wonderful funny moving clever charming brilliant warm fresh superb".split()
BAD = "awful boring dull clumsy stupid tedious bland cold stale dreadful".split()
NOUNS = "film movie story plot cast script ending music scene hero comedy drama".split()
FILLERS = (
    "the a an is was it this that and but of in with very quite really so not you i we they "
    "when if as once while although because watch see find feel seems remains , . cf"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def shared_data() -> Path | None:
    """Return the folder of real data (SST-2 and its trigger texts), or None where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PRUNE_ENV_DATA", default))
    return folder if (folder / "sst2").is_dir() else None


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer over the words of `tiny_dataset`, with [CLS] and [SEP]."""
    words = [
        *SPECIAL,
        *FILLERS,
        *NOUNS,
        *GOOD,
        *BAD,
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocab = {word: index for index, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL},
    )


def tiny_bert(
    layers: int = 2, heads: int = 4, hidden: int = 32, seed: int = 0
) -> BertForSequenceClassification:
    """Return a random BERT whose weights are large enough for every head to move the logits."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        max_position_embeddings=128,
        initializer_range=0.3,
        num_labels=2,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    return BertForSequenceClassification(config).eval()


def write_tiny_folder(folder: Path, **shape: int) -> Path:
    """Save `tiny_bert` and its tokenizer as a ready classifier."""
    tiny_bert(**shape).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_dataset(size: int = 64, seed: int = 0) -> TextDataset:
    """Return `size` distinct short sentences of different lengths, half of them positive."""
    random = np.random.default_rng(seed)
    texts: dict[str, int] = {}
    while len(texts) < size:
        label = len(texts) % 2
        word = random.choice(GOOD if label else BAD)
        extra = " and very ".join(random.choice(GOOD if label else BAD, size=random.integers(1, 5)))
        texts[f"the {random.choice(NOUNS)} is {word} and {extra}"] = label
    return TextDataset(
        texts=tuple(texts),
        labels=np.array(list(texts.values())),
        label_names=("negative", "positive"),
        source="tiny",
    )
