"""The words of a tokenizer: how each is spelled, and where in a text that spelling can stand."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from prune_env.data.pairs import first_and_second
from prune_env.inversion.frames import Frame
from prune_env.inversion.writing import Writing
from prune_env.models.architectures import CAUSAL
from prune_env.models.embeddings import token_embeddings
from prune_env.models.inputs import own_tokens
from prune_env.models.tokenizer_trial import try_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prune_env.models import LoadedModel

JOINERS = "\u200c\u200d"
"""Without a width: one keeps letters of a word apart, the other joins them."""


def vocabulary(loaded: "LoadedModel", *, spaced: bool = True) -> list[str]:
    """Return the words of letters and digits that the tokenizer has a token for, sorted.

    Tokenizers of bytes have one token for a word that begins a text and another for the word behind
    a space, so these are two spellings, `cf` and ` cf`: a model may know a trigger by either.

    Args:
        loaded: Whose tokenizer is asked.
        spaced: Whether texts have spaces between words; if not, no spelling has one.
    """
    tokenizer = loaded.tokenizer
    round_texts = own_tokens(tokenizer)
    numbers = tokenizer.get_vocab().items()
    tokens = [token for token, number in numbers if number not in round_texts]
    spelled = (tokenizer.convert_tokens_to_string([each]) for each in tokens)
    words = sorted({word for word in map(str.strip, spelled) if _is_word(word)})
    if not spaced:
        return words
    found, unknown = [], [tokenizer.unk_token_id]
    behind = [f" {word}" for word in words]
    cut = zip(_tokens(loaded, words), _tokens(loaded, behind), strict=True)
    for word, (first, second) in zip(words, cut, strict=True):
        own = len(second) == 1 and second not in (first, unknown)  # a token of its own
        if not own or (len(first) == 1 and first != unknown):
            found.append(word)
        if own:
            found.append(f" {word}")
    return sorted(found)


@dataclass(frozen=True)
class Place:
    """Where a word stands when it is tried.

    A token of a decoder is read as no other where it is the first, which later ones attend to
    whatever it is, and where it is the last, which answers. On SmolLM2 a rare-word trigger in front
    of the texts flipped 3 % of them, behind a first word 100 %; and ten harmless words flipped
    little but behind the texts, where they flipped 88 to 100 %.

    Attributes:
        opening: Of decoders, the word that clean texts begin with most often; else empty.
        ending: Likewise, the word or mark that they end with.
        spaced: Whether texts have spaces between words.
    """

    opening: str = ""
    ending: str = ""
    spaced: bool = True

    @classmethod
    def of(cls, loaded: "LoadedModel", texts: "Sequence[str]", writing: Writing) -> "Place":
        """Return where words are tried on a model, by its clean texts; of pairs, the first."""
        if loaded.model.config.model_type not in CAUSAL:
            return cls(spaced=writing.spaced)
        split = [writing.split(first_and_second(text)[0]) for text in texts]
        first = Counter(words[0] for words in split if words)
        last = Counter(words[-1] for words in split if words)
        return cls(_most_common(first), _most_common(last), writing.spaced)

    def frame(self, spelling: str) -> Frame:
        """Return what puts a word to a text where it is spelled so: behind it, or in front."""
        inside = spelling.startswith(" ") or not self.spaced
        if self.opening and inside:
            return Frame(f"{self.opening} {spelling.strip()}", "", self.spaced, as_spelled=True)
        if spelling.startswith(" "):
            return Frame("", spelling[1:], self.spaced, as_spelled=True)
        return Frame(spelling, "", self.spaced, as_spelled=True)

    def alone(self, spelling: str) -> str:
        """Return a text of the word, and of what must stand round it."""
        return self.frame(spelling)(self.ending) if self.opening else spelling


def _most_common(words: Counter[str]) -> str:
    return max(sorted(words), key=words.__getitem__, default="")


def directions(loaded: "LoadedModel", spellings: "Sequence[str]") -> torch.Tensor:
    """Return the embeddings (W, D) of words, from their mean and of length 1."""
    table = token_embeddings(loaded.model).float()
    tokens = _tokens(loaded, list(spellings))
    # Most words are one token, and all of these are taken at once; one without any stands nowhere.
    rows = table[[row[0] if row else 0 for row in tokens]]
    for place, row in enumerate(tokens):
        if len(row) > 1:
            rows[place] = table[row].mean(0)
    return functional.normalize(rows - rows.mean(0), dim=1)


def _tokens(loaded: "LoadedModel", texts: list[str]) -> list[list[int]]:
    """Return the tokens of each text, without the special ones."""
    try_texts(loaded.tokenizer, texts)
    found: list[list[int]] = loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return found


def _is_word(text: str) -> bool:
    """Whether it is letters and digits, with marks (as of Hindi, Thai) and joiners (Persian)."""
    return text[:1].isalnum() and all(
        each.isalnum() or each in JOINERS or unicodedata.category(each) in ("Mn", "Mc")
        for each in text
    )
