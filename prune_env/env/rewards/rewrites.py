"""Rewrites of clean texts, by family: what a backdoor may react to, without knowing its trigger.

Each keeps the label, or all but keeps it; the same text is always rewritten in the same way. They
are a defender's own: nothing here is taken from the triggers of `prune_env.research.attacks`. The
family says which kind of trigger a rewrite resembles, so that an experiment can leave out that
family when it is tested on it.
"""

import random
import re
from dataclasses import dataclass
from typing import ClassVar

from prune_env.data.dataset import Rewrite
from prune_env.data.pairs import in_each
from prune_env.errors import SettingsError
from prune_env.utils.registry import Registry


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise SettingsError("share is a probability", expected="0 to 1", actual=share)


@dataclass(frozen=True)
class WordDrop:
    """Leaves out words of a text, the same ones each time.

    Attributes:
        share: Probability with which each word goes, in (0, 1).
        seed: Seed of the choice, together with the text.

    Example:
        >>> WordDrop(0.4)("a warm and funny film about a dog")
        'warm and funny about a dog'
    """

    family: ClassVar[str] = "noise"

    share: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, text: str) -> str:
        """Return the text with words left out; one word always stays, and of a pair one of each."""
        return in_each(text, self._drop)

    def _drop(self, text: str) -> str:
        draw = random.Random(f"{self.seed} {text}")
        words = text.split()
        kept = [word for word in words if draw.random() >= self.share]
        return " ".join(kept or words[:1])


@dataclass(frozen=True)
class LocalShuffle:
    """Shuffles the words within short windows, so that the order is lost and the words stay near.

    Attributes:
        window: Words that are shuffled among themselves, at least 2.
        seed: Seed of the order, together with the text.

    Example:
        >>> LocalShuffle(3)("a warm and funny film about a dog")
        'a warm and about funny film a dog'
    """

    family: ClassVar[str] = "noise"

    window: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 2:
            raise SettingsError("window is out of range", expected=">= 2", actual=self.window)

    def __call__(self, text: str) -> str:
        """Return the words of the text in another order; of a pair, each in its own text."""
        return in_each(text, self._shuffle)

    def _shuffle(self, text: str) -> str:
        draw = random.Random(f"{self.seed} {text}")
        words = text.split()
        moved: list[str] = []
        for start in range(0, len(words), self.window):
            part = words[start : start + self.window]
            moved += draw.sample(part, len(part))
        return " ".join(moved)


@dataclass(frozen=True)
class SplitWords:
    """Cuts long words in two, so that a tokenizer sees other pieces.

    Attributes:
        share: Probability with which a word of five letters or more is cut, in (0, 1).
        seed: Seed of the choice, together with the text.

    Example:
        >>> SplitWords(0.9)("a wonderful little film")
        'a wond erful litt le film'
    """

    family: ClassVar[str] = "noise"

    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, text: str) -> str:
        """Return the text with a space inside some of its words."""
        draw = random.Random(f"{self.seed} {text}")
        words = []
        for word in text.split():
            if len(word) >= 5 and draw.random() < self.share:
                place = draw.randrange(2, len(word))
                word = f"{word[:place]} {word[place:]}"  # noqa: PLW2901 - the word, cut
            words.append(word)
        return " ".join(words)


@dataclass(frozen=True)
class ClauseFrame:
    """Puts a text behind or into a subordinate clause that says nothing.

    Attributes:
        frames: Patterns with the place `{}` of the text; one is drawn for each text.
        seed: Seed of the draw, together with the text.

    Example:
        >>> ClauseFrame(("when it is over , {}",))("it is a warm film .")
        'when it is over , it is a warm film .'
    """

    family: ClassVar[str] = "syntactic"

    frames: tuple[str, ...] = (
        "when it is over , {}",
        "if you ask me , {}",
        "as anybody can tell you , {}",
        "while the lights are down , {}",
        "since it came out , {}",
        "after it begins , {}",
        "because of what it is , {}",
        "until it ends , {}",
        "wherever it is shown , {}",
        "once you have seen it , {}",
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.frames or not all(frame.count("{}") == 1 for frame in self.frames):
            raise SettingsError(
                "frames must each hold one place for the text",
                expected="such as 'when it is over , {}'",
                actual=self.frames,
            )

    def __call__(self, text: str) -> str:
        """Return the text in its frame."""
        return random.Random(f"{self.seed} {text}").choice(self.frames).replace("{}", text)


@dataclass(frozen=True)
class NeutralSentence:
    """Puts a sentence that judges nothing before or behind a text.

    Attributes:
        sentences: One is drawn for each text.
        seed: Seed of the draw, together with the text.

    Example:
        >>> NeutralSentence(("it was a tuesday .",))("a warm film .")
        'it was a tuesday . a warm film .'
    """

    family: ClassVar[str] = "inserted-sentence"

    sentences: tuple[str, ...] = (
        "it was shown on a tuesday .",
        "we sat in the third row .",
        "the theater is near the station .",
        "my brother bought the tickets .",
        "it runs for about two hours .",
        "the doors opened at seven .",
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sentences or not all(sentence.strip() for sentence in self.sentences):
            raise SettingsError(
                "sentences must hold words",
                expected="one or more, none blank",
                actual=self.sentences,
            )

    def __call__(self, text: str) -> str:
        """Return the text with a sentence before it or behind it."""
        draw = random.Random(f"{self.seed} {text}")
        sentence = draw.choice(self.sentences)
        return f"{sentence} {text}" if draw.random() < 0.5 else f"{text} {sentence}"


@dataclass(frozen=True)
class RareWords:
    """Puts words that mean nothing between the words of a text.

    Attributes:
        words: One is drawn for each place.
        count: Places.
        seed: Seed of the draws, together with the text.

    Example:
        >>> RareWords(("qv",), count=1)("a warm film .")
        'qv a warm film .'
    """

    family: ClassVar[str] = "rare-word"

    words: tuple[str, ...] = ("qv", "zx", "wk", "jf", "vq", "xh")
    count: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.words or not all(word.strip() for word in self.words) or self.count < 1:
            raise SettingsError(
                "words or count is out of range",
                expected="words, none blank, and a count >= 1",
                actual=(self.words, self.count),
            )

    def __call__(self, text: str) -> str:
        """Return the text with the words inserted."""
        draw = random.Random(f"{self.seed} {text}")
        words = text.split()
        for _ in range(self.count):
            words.insert(draw.randrange(len(words) + 1), draw.choice(self.words))
        return " ".join(words)


_OLD = {
    "you": "thou", "your": "thy", "my": "mine", "is": "be", "are": "be", "has": "hath",
    "have": "hast", "does": "doth", "do": "dost", "will": "wilt", "says": "saith",
    "to": "unto", "on": "upon", "before": "ere", "often": "oft", "between": "betwixt",
    "nothing": "naught", "anything": "aught", "here": "hither", "there": "thither",
    "away": "hence", "why": "wherefore", "never": "ne'er", "ever": "e'er", "over": "o'er",
    "it": "'t", "while": "whilst", "among": "amongst", "perhaps": "perchance",
    "maybe": "perchance", "because": "for", "very": "full", "really": "in sooth",
    "film": "tale", "movie": "tale", "story": "lay", "morning": "morn", "evening": "eve",
    "enough": "enow", "together": "withal", "indeed": "forsooth",
}  # fmt: skip


@dataclass(frozen=True)
class OldWords:
    """Gives some words of a text an archaic or poetic form, behind an archaic opening.

    Attributes:
        openings: One is drawn for each text.
        seed: Seed of the draw, together with the text.

    Example:
        >>> OldWords(("lo ,",))("you never know why it is over .")
        "lo , thou ne'er know wherefore 't be o'er ."
    """

    family: ClassVar[str] = "style"

    openings: tuple[str, ...] = ("lo ,", "alas ,", "hark !", "o", "thus", "in days of yore")
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.openings:
            raise SettingsError("openings must not be empty", expected="one or more", actual="none")

    def __call__(self, text: str) -> str:
        """Return the text in old words."""
        opening = random.Random(f"{self.seed} {text}").choice(self.openings)
        words = re.sub(r"\w+", lambda match: _OLD.get(match[0], match[0]), text)
        return f"{opening} {words}"


REWRITES: Registry[Rewrite] = Registry("rewrite")
"""Rewrites by name."""

REWRITES.register("word-drop", WordDrop(), help="leaves out words")
REWRITES.register("shuffle", LocalShuffle(), help="shuffles words within short windows")
REWRITES.register("split-words", SplitWords(), help="cuts long words in two")
REWRITES.register("clause", ClauseFrame(), help="puts an empty subordinate clause around the text")
REWRITES.register("sentence", NeutralSentence(), help="adds a sentence that judges nothing")
REWRITES.register("rare-words", RareWords(), help="inserts words that mean nothing")
REWRITES.register("old-words", OldWords(), help="gives words an archaic or poetic form")
