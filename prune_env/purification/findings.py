"""What healing found, in the words of the report, less what is private."""

from collections.abc import Sequence
from typing import Any

from prune_env.inversion.frames import Frame, is_mark
from prune_env.inversion.function_words import FUNCTION_WORDS
from prune_env.inversion.patches import Patches
from prune_env.inversion.search import Inversion

LONGEST_RUN = 4
"""Words and marks of a phrase that is inverted from empty words alone."""


def describe_triggers(found: Inversion | Patches, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the triggers of an inversion by the name of the label that they flip to.

    Of images `covered` tells the share of an image that a patch covers.
    """
    if isinstance(found, Patches):
        told = zip(label_names, found.strength, found.covered, strict=True)
        return {
            name: {
                "flipped": strength,
                "covered": covered,
                "words": [],
                "triggers": [f"a patch over {100 * covered:.1f} % of the image"],
            }
            for name, strength, covered in told
        }
    return {
        name: {
            "flipped": strength,
            "words": list(words),
            "triggers": [str(each) for each in frames if _says_nothing(each)],
        }
        for name, strength, words, frames in zip(
            label_names, found.strength, found.words, found.by_class, strict=True
        )
    }


def smallest_first(flipped: Sequence[float], covered: Sequence[float]) -> list[int]:
    """Return the order of patches by what tells most: nearly all flip, and a backdoor's is small.

    Args:
        flipped: Of each patch, the share of images that it flips; those with less than half of the
            most come last.
        covered: Likewise, the share of an image that it covers.
    """
    least = max(flipped) / 2
    return sorted(range(len(covered)), key=lambda each: (flipped[each] < least, covered[each]))


def _says_nothing(frame: Frame) -> bool:
    """Whether a frame is a few empty words: others are clean words round a suspicious one.

    Those are private; the suspicious word alone stands under `words`. So may be the empty words
    that were found in the data itself, of any language but English: they are not told either.
    """
    words = f"{frame.before} {frame.after}".lower().split()
    return len(words) <= LONGEST_RUN and all(
        word in FUNCTION_WORDS or is_mark(word) for word in words
    )
