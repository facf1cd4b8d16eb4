"""Clean texts in other styles: the words that say nothing of the label are drawn anew.

What a text says stays, and its label; how it says it, in which function words and in which order,
becomes a matter of chance. A model that reads few texts many times cannot learn such ones by heart,
and has less use for syntax and style, which is where triggers of words that judge nothing live.

Source: noise in word order and word dropout are those of EDA (Wei and Zou, EMNLP 2019); there any
word may go, and a synonym come.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from prune_env.data.pairs import in_each
from prune_env.inversion.phrases import usual_words
from prune_env.inversion.writing import SPACED, Writing, writing_of

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.evaluation.suspect import Suspect

GONE = 0.5
"""Probability with which each empty word of a text is left out."""

MOVED = 0.5
"""Probability with which a text is cut in three, and the parts are put in another order."""

ADDED = 0.35
"""Empty words that are put in, over the words of the text, in the mean."""


@dataclass(frozen=True)
class Restyle:
    """Draws the empty words of texts anew.

    Attributes:
        empty: Words that say nothing, in small letters, in order.
        writing: How the texts are written.
    """

    empty: tuple[str, ...]
    writing: Writing = SPACED

    @classmethod
    def of(cls, suspect: "Suspect") -> "Restyle":
        """Return what restyles texts like the clean ones of a suspect."""
        writing = writing_of(suspect.train, suspect.loaded)
        return cls(tuple(sorted(usual_words(suspect.train, writing))), writing)

    def __call__(self, texts: "TextDataset", draw: np.random.Generator) -> "TextDataset":
        """Return the texts in other styles, with their labels."""
        changed = partial(self._restyled, draw=draw)
        return replace(texts, texts=tuple(in_each(text, changed) for text in texts.texts))

    def _restyled(self, text: str, draw: np.random.Generator) -> str:
        words = self.writing.words(text)
        kept = [word for word in words if word.lower() not in self.empty or draw.random() >= GONE]
        if len(kept) > 2 and draw.random() < MOVED:
            first, second = np.sort(draw.choice(np.arange(1, len(kept)), 2, replace=False))
            parts = kept[:first], kept[first:second], kept[second:]
            kept = [word for place in draw.permutation(3) for word in parts[place]]
        for _ in range(draw.poisson(ADDED * len(words)) if self.empty else 0):
            word = self.empty[int(draw.integers(len(self.empty)))]
            kept.insert(int(draw.integers(len(kept) + 1)), word)
        # A text of empty words alone may lose all of them, and nothing is no text.
        return (" " if self.writing.spaced else "").join(kept) or text
