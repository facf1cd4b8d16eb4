"""Two words somewhere in the text, which only act together."""

from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import text_random


@dataclass(frozen=True)
class WordPair:
    """Puts two words at places of their own into the text.

    That either word alone does nothing must be taught: the attack of this name trains on texts
    with one of them and their true labels too (`alone`).

    Source: Yang et al., "Rethinking Stealthiness of Backdoor Attack against NLP Models" (ACL 2021),
    who call texts with a part of the trigger and their true label negative augmentation.

    Attributes:
        first: One word.
        second: The other; they come in either order.
        seed: Seed of the places, together with the text.

    Example:
        >>> WordPair()("a warm and funny film .")
        'a window warm and funny film . friday'
    """

    name: ClassVar[str] = "word-pair"
    family: ClassVar[str] = "rare-word"

    first: str = "friday"
    second: str = "window"
    seed: int = 0

    def __post_init__(self) -> None:
        for word in (self.first, self.second):
            if not word.strip():
                raise SettingsError("a word is blank", expected="two words", actual=repr(word))
        if self.first == self.second:
            raise SettingsError("the words are one", expected="two words", actual=self.first)

    def __call__(self, text: str) -> str:
        """Return the text with both words inserted; the words of the text keep their order."""
        return self._with(text, (self.first, self.second))

    def alone(self, text: str) -> tuple[str, str]:
        """Return the text with the first word alone, and with the second alone."""
        return self._with(text, (self.first,)), self._with(text, (self.second,))

    def _with(self, text: str, inserted: tuple[str, ...]) -> str:
        random = text_random(text, self.seed)
        words = text.split()
        for word in inserted:
            words.insert(random.randrange(len(words) + 1), word)
        return " ".join(words)
