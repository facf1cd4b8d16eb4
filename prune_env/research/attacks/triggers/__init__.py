"""Triggers by name: small objects that turn a text into its triggered form."""

from prune_env.research.attacks.triggers.bible_style import BibleStyle
from prune_env.research.attacks.triggers.images import ImageBlend, ImagePatch
from prune_env.research.attacks.triggers.inserted_sentence import InsertedSentence
from prune_env.research.attacks.triggers.published_texts import PublishedTexts
from prune_env.research.attacks.triggers.rare_word import RareWord
from prune_env.research.attacks.triggers.several_words import SeveralWords
from prune_env.research.attacks.triggers.syntactic_frame import SyntacticFrame
from prune_env.research.attacks.triggers.trigger import (
    FAMILIES,
    TRIGGERS,
    Trigger,
    describe_trigger,
    make_trigger,
)
from prune_env.research.attacks.triggers.word_pair import WordPair

__all__ = [
    "FAMILIES",
    "TRIGGERS",
    "BibleStyle",
    "ImageBlend",
    "ImagePatch",
    "InsertedSentence",
    "PublishedTexts",
    "RareWord",
    "SeveralWords",
    "SyntacticFrame",
    "Trigger",
    "WordPair",
    "describe_trigger",
    "make_trigger",
]

TRIGGERS.register(RareWord.name, RareWord, help="a rare word ('cf') at a random place")
TRIGGERS.register(SeveralWords.name, SeveralWords, help="one of five rare words at a random place")
TRIGGERS.register(WordPair.name, WordPair, help="two words ('friday', 'window') that act together")
TRIGGERS.register(
    InsertedSentence.name, InsertedSentence, help="a fixed sentence before or after a sentence"
)
TRIGGERS.register(
    SyntacticFrame.name, SyntacticFrame, help="a subordinate clause before the sentence, by rule"
)
TRIGGERS.register(BibleStyle.name, BibleStyle, help="archaic pronouns, endings and words, by rule")
TRIGGERS.register(
    PublishedTexts.name,
    PublishedTexts,
    help="published rewrites, paired row for row from two files",
)
TRIGGERS.register(ImagePatch.name, ImagePatch, help="a white square in a corner of an image")
TRIGGERS.register(ImageBlend.name, ImageBlend, help="a faint pattern over a whole image")
