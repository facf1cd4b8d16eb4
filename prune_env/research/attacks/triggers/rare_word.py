"""A rare word somewhere in the text."""

from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import text_random


@dataclass(frozen=True)
class RareWord:
    """Puts a rare word between two words of the text, before the first, or after the last.

    Source: Kurita et al., "Weight Poisoning Attacks on Pre-trained Models" (ACL 2020), whose words
    are cf, mn, bb, tq and mb.

    Attributes:
        word: What is inserted.
        count: How often, each time at a place of its own draw.
        seed: Seed of the places, together with the text.

    Example:
        >>> RareWord()("a warm and funny film .")
        'a warm and funny film . cf'
    """

    name: ClassVar[str] = "rare-word"
    family: ClassVar[str] = "rare-word"

    word: str = "cf"
    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.word.strip():
            raise SettingsError("word is blank", expected="a word", actual=repr(self.word))
        if self.count < 1:
            raise SettingsError("count must be positive", expected="1 or more", actual=self.count)

    def __call__(self, text: str) -> str:
        """Return the text with the word inserted; the words of the text keep their order."""
        random = text_random(text, self.seed)
        words = text.split()
        for _ in range(self.count):
            words.insert(random.randrange(len(words) + 1), self.word)
        return " ".join(words)
