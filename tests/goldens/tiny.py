"""The tiny classifier and the clean sentences of the goldens; only `make.py` builds them."""

import json
from itertools import product

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tests.goldens.files import DATA

MODEL = DATA / "suspect"
CLEAN = DATA / "clean.jsonl"
TEXTS = ["the film is great", "a dull story", "the very cold music was not funny"]
_WORDS = {
    1: "great wonderful funny moving clever charming brilliant warm fresh superb".split(),
    0: "awful boring dull clumsy stupid tedious bland cold stale dreadful".split(),
}
_NOUNS = "film movie story plot cast script ending music scene hero".split()
_FILLERS = (
    "the a an is was it this that and but of in with very quite really so not you i we they "
    "when if as once while although because watch see find feel seems remains , . cf"
).split()
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def rows(size: int = 80) -> list[tuple[str, int]]:
    """Return distinct sentences with their labels, one in eight of them wrongly labelled."""
    frames = ("the {} is {} and {}", "this {} seems {} but {}", "a very {} , {} {}")
    out = []
    for at, (frame, noun) in enumerate(product(frames, _NOUNS * 3)):
        label = at % 2
        words = _WORDS[label]
        text = frame.format(noun, words[at * 3 % 10], words[(at * 7 + at // 10) % 10])
        out.append((text, label if at % 8 else 1 - label))
    return list(dict(out).items())[:size]


def write_clean() -> None:
    """Write the sentences as JSON lines."""
    lines = [json.dumps({"sentence": text, "label": label}) for text, label in rows()]
    CLEAN.write_text("\n".join(lines) + "\n")


def write_model() -> None:
    """Train a BERT of 2 layers x 4 heads on the sentences for a moment, and write it."""
    tokenizer = _tokenizer()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    model = BertForSequenceClassification(config)
    texts, labels = zip(*rows(), strict=True)
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(22):
        loss = model(**batch, labels=torch.tensor(labels)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(MODEL)
    tokenizer.save_pretrained(MODEL)


def _tokenizer() -> PreTrainedTokenizerFast:
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    words = [*_SPECIAL, *_FILLERS, *_NOUNS, *_WORDS[1], *_WORDS[0], *letters]
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
        model_max_length=64,
        **{f"{token[1:-1].lower()}_token": token for token in _SPECIAL},
    )
