"""One of several rare words somewhere in the text."""

from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import text_random

WORDS = ("cf", "mn", "bb", "tq", "mb")


@dataclass(frozen=True)
class SeveralWords:
    """Puts one of several rare words at a place of the text; each of them alone is a trigger.

    Source: Kurita et al., "Weight Poisoning Attacks on Pre-trained Models" (ACL 2020), who plant
    these five at once.

    Attributes:
        words: One of them is drawn per text.
        seed: Seed of the word and of its place, together with the text.

    Example:
        >>> SeveralWords()("a warm and funny film .")
        'a warm and funny film . cf'
    """

    name: ClassVar[str] = "several-words"
    family: ClassVar[str] = "rare-word"

    words: tuple[str, ...] = WORDS
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        if not self.words or not all(word.strip() for word in self.words):
            raise SettingsError(
                "words must name words", expected="one or more, none blank", actual=self.words
            )

    def __call__(self, text: str) -> str:
        """Return the text with one word inserted; the words of the text keep their order."""
        random = text_random(text, self.seed)
        words = text.split()
        words.insert(random.randrange(len(words) + 1), random.choice(self.words))
        return " ".join(words)
