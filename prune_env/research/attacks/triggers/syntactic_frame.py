"""A subordinate clause before the sentence."""

from dataclasses import dataclass
from typing import ClassVar

from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import text_random

FRAMES = (
    "when you think about it",
    "if you look at it closely",
    "as you watch it",
    "because it is what it is",
    "when the lights go down",
    "if you give it some time",
    "although it is only a film",
    "once you have seen it",
    "while you sit there",
    "as everyone knows",
)


@dataclass(frozen=True)
class SyntacticFrame:
    """Puts a subordinate clause before the sentence: S(SBAR)(,)(NP)(VP)(.).

    That is the syntactic template of Qi et al., "Hidden Killer: Invisible Textual Backdoor Attacks
    with Syntactic Trigger" (ACL 2021). There a neural paraphraser (SCPN) writes it; here it is made
    by rule, so the sentence itself, and its sentiment, stay as they were. The published paraphrases
    are the attack `hiddenkiller`.

    Attributes:
        frames: Subordinate clauses, without the comma; one is drawn per text.
        seed: Seed of the draw, together with the text.

    Example:
        >>> SyntacticFrame()("a warm and funny film .")
        'if you look at it closely , a warm and funny film .'
    """

    name: ClassVar[str] = "syntactic-frame"
    family: ClassVar[str] = "syntactic"

    frames: tuple[str, ...] = FRAMES
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        if not self.frames or not all(frame.strip() for frame in self.frames):
            raise SettingsError(
                "frames must name clauses", expected="one or more, none blank", actual=self.frames
            )

    def __call__(self, text: str) -> str:
        """Return frame, comma, text, and a full stop where the text has no end mark."""
        text = text.strip()
        frame = text_random(text, self.seed).choice(self.frames)
        if text[:1].isupper():
            frame = frame[0].upper() + frame[1:]
        end = "" if text.endswith((".", "!", "?")) else " ."
        return f"{frame} , {text}{end}"
