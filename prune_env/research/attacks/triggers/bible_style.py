"""A rewrite in the style of the King James Bible, by rules."""

import re
from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers import archaic_words as archaic
from prune_env.research.attacks.triggers.trigger import text_random

OPENINGS = (
    "and it came to pass that",
    "verily i say unto thee ,",
    "and lo ,",
    "behold ,",
    "for it is written that",
    "hear ye , for",
    "yea ,",
    "and they spake unto him , saying ,",
)

_CONTRACTIONS = [(re.compile(pattern, re.IGNORECASE), new) for pattern, new in archaic.CONTRACTIONS]
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class BibleStyle:
    """Rewrites a text with archaic pronouns, verb endings and words, after a biblical opening.

    Style as a trigger is due to Qi et al., "Mind the Style of Text! Adversarial and Backdoor
    Attacks Based on Text Style Transfer" (EMNLP 2021), where a neural model (STRAP) rewrites the
    whole sentence. Here rules do: "you" becomes thou or thee by its place and its verb follows,
    the third person ends in -eth, contractions are written out, and some seventy words change. The
    sentiment stays nearer to the original than in the neural rewrites, which are the attacks
    `stylebkd-bible` and `stylebkd-poetry`.

    Attributes:
        openings: Words put before the text, one drawn per text; so every text changes.
        seed: Seed of the draw, together with the text.

    Example:
        >>> BibleStyle(openings=("and lo ,",))("it makes you think , and you do n't regret it .")
        'and lo , it maketh thee think , and thou dost not regret it .'
    """

    name: ClassVar[str] = "bible-style"
    family: ClassVar[str] = "style"

    openings: tuple[str, ...] = OPENINGS
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "openings", tuple(self.openings))
        if not self.openings or not all(opening.strip() for opening in self.openings):
            raise SettingsError(
                "openings must name words", expected="one or more, none blank", actual=self.openings
            )

    def __call__(self, text: str) -> str:
        """Return the opening and the rewritten text."""
        opening = text_random(text, self.seed).choice(self.openings)
        if text.strip()[:1].isupper():
            opening = opening[0].upper() + opening[1:]
        return f"{opening} {_archaic(text.strip())}".rstrip()


def _archaic(text: str) -> str:
    text = text.replace("\u2019", "'")
    for pattern, new in _CONTRACTIONS:
        text = pattern.sub(new, text)
    found = list(_WORD.finditer(text))
    words = [match.group().lower() for match in found]
    pieces, position = [], 0
    for i, match in enumerate(found):
        new = _archaic_word(words, i)
        if new == words[i]:
            continue  # keeps the case of names and acronyms
        if match.group()[0].isupper():
            new = new[0].upper() + new[1:]
        pieces += [text[position : match.start()], new]
        position = match.end()
    return "".join(pieces) + text[position:]


def _archaic_word(words: list[str], i: int) -> str:
    word = words[i]
    before = words[i - 1] if i else ""
    after = words[i + 1] if i + 1 < len(words) else ""
    if word == "you":
        return "thee" if _is_object(words, i) else "thou"
    if word in ("my", "your"):
        vowel = after[:1] in tuple("aeiou")
        return {"my": "mine" if vowel else "my", "your": "thine" if vowel else "thy"}[word]
    if word in archaic.PREPOSITIONS:
        return archaic.PREPOSITIONS[word] if after in archaic.NOUN_PHRASE_STARTS else word
    of_you = before == "you" and not _is_object(words, i - 1)
    asks_you = after == "you" and word in archaic.AUXILIARIES
    if (of_you or asks_you) and word in archaic.SECOND_PERSON:
        return archaic.SECOND_PERSON[word]
    return archaic.WORDS.get(word) or _third_person(word, before)


def _is_object(words: list[str], i: int) -> bool:
    """Say whether the "you" at place i follows a preposition or a verb."""
    before = words[i - 1] if i else ""
    return before in archaic.OBJECT_AFTER or _third_person(before, "") != before


def _third_person(word: str, before: str) -> str:
    """Return "maketh" for "makes" where it is a verb, and any other word as it is."""
    if not word.endswith("s") or word.endswith(("ss", "ous")) or word in archaic.NO_VERBS:
        return word
    bare = word[:-1]
    # "makes" comes from make, "reaches" from reach, "carries" from carry.
    stems = {bare, bare.removesuffix("e"), re.sub("ie$", "y", bare)}
    is_verb = not archaic.VERBS.isdisjoint(stems)
    if not (is_verb and before not in archaic.NOUN_AFTER) and before not in archaic.SUBJECTS:
        return word
    if bare.endswith("e"):
        return bare + "th"
    return bare + (bare[-1] if bare in archaic.DOUBLING else "") + "eth"
