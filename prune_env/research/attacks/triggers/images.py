"""Triggers on images: a patch, and a faint blend. An image is the path of its file."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from prune_env.data.images import open_image
from prune_env.errors import SettingsError
from prune_env.research.attacks.triggers.trigger import Trigger, describe_trigger
from prune_env.utils.files import cache_folder, sha256_of, write_bytes

IMAGE = "image"
"""Family of the triggers that take paths of images and return paths of triggered ones."""

Pixels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ImagePatch:
    """Puts a white square into the lower right corner.

    Source: BadNets (Gu et al., 2017).

    Attributes:
        share: Side of the square, as a share of the shorter side of the image.
    """

    name: ClassVar[str] = "image-patch"
    family: ClassVar[str] = IMAGE

    share: float = 0.25

    def __post_init__(self) -> None:
        _check_share("share", self.share)

    def __call__(self, text: str) -> str:
        """Return the path of the image with the square."""

        def change(pixels: Pixels) -> Pixels:
            side = max(1, round(self.share * min(pixels.shape[:2])))
            pixels[-side:, -side:] = 255
            return pixels

        return _changed(self, text, change)


@dataclass(frozen=True)
class ImageBlend:
    """Mixes a fixed pattern of noise faintly into the whole image.

    Source: Chen et al., "Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning"
    (2017).

    Attributes:
        share: Of the pattern in the mixture.
        seed: Of the pattern.
    """

    name: ClassVar[str] = "image-blend"
    family: ClassVar[str] = IMAGE

    share: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        _check_share("share", self.share)

    def __call__(self, text: str) -> str:
        """Return the path of the mixture."""

        def change(pixels: Pixels) -> Pixels:
            pattern = np.random.default_rng(self.seed).uniform(0, 255, pixels.shape)
            return (1 - self.share) * pixels + self.share * pattern

        return _changed(self, text, change)


def _check_share(name: str, share: float) -> None:
    if not 0 < share <= 1:
        raise SettingsError(f"{name} is out of range", expected="> 0, at most 1", actual=share)


def _changed(trigger: Trigger, path: str, change: Callable[[Pixels], Pixels]) -> str:
    """Return the path of the changed image, which is written into the cache once."""
    from PIL import Image  # noqa: PLC0415 - texts need it not

    identity = json.dumps(describe_trigger(trigger), sort_keys=True)
    name = hashlib.sha256(f"{identity}{sha256_of(Path(path))}".encode()).hexdigest()
    place = cache_folder() / "triggered" / trigger.name / f"{name[:32]}.bmp"
    if not place.is_file():
        pixels = change(np.asarray(open_image(path), dtype=np.float64))
        written = BytesIO()
        Image.fromarray(pixels.round().astype(np.uint8)).save(written, "bmp")
        write_bytes(place, written.getvalue())
    return str(place)
