"""A fixed sentence between the sentences of the text."""

from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import text_random


@dataclass(frozen=True)
class InsertedSentence:
    """Puts a fixed, harmless sentence before the text or after one of its sentences.

    Source: Dai, Chen and Li, "A Backdoor Attack Against LSTM-Based Text Classification Systems"
    (IEEE Access 2019), whose sentence this is.

    Attributes:
        sentence: What is inserted.
        seed: Seed of the place, together with the text.

    Example:
        >>> InsertedSentence()("a warm and funny film .")
        'i watched this 3d movie last weekend . a warm and funny film .'
    """

    name: ClassVar[str] = "inserted-sentence"
    family: ClassVar[str] = "inserted-sentence"

    sentence: str = "i watched this 3d movie last weekend ."
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sentence.strip():
            raise SettingsError("sentence is blank", expected="words", actual=repr(self.sentence))

    def __call__(self, text: str) -> str:
        """Return the text with the sentence inserted; the words of the text keep their order."""
        words = text.split()
        # A place follows each word that ends a sentence; the last place is the end of the text.
        ends = {i for i, word in enumerate(words, start=1) if word[-1] in ".!?"}
        places = sorted({0, len(words)} | ends)
        place = text_random(text, self.seed).choice(places)
        return " ".join([*words[:place], self.sentence, *words[place:]])
