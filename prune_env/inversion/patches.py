"""Trigger inversion on images: the smallest patch a class that flips clean images to it.

A patch is searched as an opacity and a colour for every pixel, by gradient, on the suspicious model
and clean images alone. Of a class that a backdoor answers with, a smaller one does than of others.

Source: Neural Cleanse (Wang et al., S&P 2019), whose masks are searched class by class; here all of
them at once, each batch being shared out, so that many classes cost little more than few.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from prune_env.models.forward import Floats, answer, class_count, forward, in_precision
from prune_env.models.inputs import ImageRows
from prune_env.utils.progress import progress

if TYPE_CHECKING:
    from prune_env.data.dataset import TextDataset
    from prune_env.models import LoadedModel

GRID = 32
"""Cells of a patch either way, at most; of a larger image each stands for a square of pixels."""

BATCH = 32
STEPS = (200, 20, 1000)
"""Fewest steps of the search, steps a class, and most."""

RATE, BETAS = 0.1, (0.5, 0.9)
"""Of Adam, as in Neural Cleanse."""

FLIPPED = 0.85
"""Share of images that a patch shall flip: as long as it does, it is made smaller."""

WEIGHT, FASTER, LIGHTEST, HEAVIEST = 0.5, 1.05, 0.005, 500.0
"""Of a patch's mean opacity in the loss, and how it moves a step."""

IMAGES, FEWEST, MOST = 640, 4, 64
"""Images that all patches are tried on once they are found, and fewest and most of one."""

HELD = 256 << 20
"""Bytes of pixels that a search draws its batches from: to read files takes longer than to ask."""


@dataclass(frozen=True, eq=False)
class Patches:
    """A patch for each of K classes, which flips images to it.

    Attributes:
        opacity: Float32 (K, 1, G, G), 0 where the image stays, 1 where it is covered.
        colours: Float32 (K, 3, G, G), 0 black to 1 white.
        black: Float32 (3,), what the model reads of a black pixel.
        white: Likewise, of a white one.
        strength: For each class, the share of the other classes' images that its patch flips.
    """

    opacity: torch.Tensor
    colours: torch.Tensor
    black: torch.Tensor
    white: torch.Tensor
    strength: tuple[float, ...] = ()

    @property
    def covered(self) -> tuple[float, ...]:
        """Share of an image that each class's patch covers, faint parts in proportion."""
        return tuple(self.opacity.mean((1, 2, 3)).tolist())

    def over(self, pixels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) under the patches of some classes, int64 (B,); -1: none."""
        shape = pixels.shape[-2:]
        chosen = classes.clamp(min=0)
        opacity = functional.interpolate(self.opacity[chosen], shape)
        colours = functional.interpolate(self.colours[chosen], shape)
        opacity = opacity * (classes >= 0)[:, None, None, None]
        black, white = self.black[:, None, None], self.white[:, None, None]
        return pixels + opacity * (black + (white - black) * colours - pixels)


def invert_patches(
    loaded: "LoadedModel", train: "TextDataset", validation: "TextDataset", *, seed: int = 0
) -> Patches:
    """Search the smallest patch that flips images to each class.

    Args:
        loaded: A classifier of images.
        train: Clean images to search on, labels in the order of the logits.
        validation: Clean images to say how many are flipped, likewise.
        seed: Of every draw.
    """
    model, device = loaded.model, loaded.model.device
    classes = class_count(model)
    draw = np.random.default_rng(seed)
    images, known = _held(loaded, train, draw)
    search = _Search(*_range(loaded), images.shape[-2:], classes)
    least, each, most = STEPS
    steps = int(np.clip(each * classes, least, most))
    with (
        _frozen(model),
        in_precision(model, "auto"),
        progress("Inverting patches", steps) as advance,
    ):
        for step in range(steps):
            drawn = draw.integers(len(images), size=BATCH)
            turn = (step * BATCH + np.arange(BATCH)) % classes
            aims = torch.from_numpy(_others(turn, known[drawn], classes, draw)).to(device)
            shown = search.shown.over(images[drawn].to(device), aims)
            logits = model(pixel_values=shown).logits.float()
            search.step(logits, aims)
            advance(step + 1)
    return remeasure_patches(loaded, validation, search.found(), seed=seed)


def remeasure_patches(
    loaded: "LoadedModel",
    data: "TextDataset",
    found: Patches,
    *,
    seed: int = 0,
    clean: Floats | None = None,
) -> Patches:
    """Return patches with the strength that they have on a classifier, which may be another.

    Args:
        loaded: A classifier with the same classes.
        data: Clean images, labels in the order of the logits; those count that are answered
            correctly without a patch.
        found: The patches.
        seed: Of the draw of images.
        clean: Logits (N, K) of the data without a patch, where they are known.
    """
    model, classes = loaded.model, class_count(loaded.model)
    if clean is None:
        clean = answer(model, ImageRows(data.texts, loaded.tokenizer), precision="auto")
    right = np.flatnonzero(clean.argmax(axis=1) == data.labels)
    images = min(max(IMAGES // classes, FEWEST), MOST)
    strength = []
    for target in range(classes):
        others = right[data.labels[right] != target]
        others = np.random.default_rng((seed, target)).permutation(others)[:images]
        if not len(others):
            strength.append(0.0)
            continue

        def under(inputs: dict[str, torch.Tensor], target: int = target) -> torch.Tensor:
            pixels = inputs["pixel_values"]
            aims = torch.full((len(pixels),), target, device=pixels.device)
            logits: torch.Tensor = model(pixel_values=found.over(pixels, aims)).logits
            return logits

        rows = ImageRows([data.texts[row] for row in others], loaded.tokenizer)
        flipped = forward(model, rows, under, classes, precision="auto").argmax(axis=1) == target
        strength.append(float(flipped.mean()))
    return replace(found, strength=tuple(strength))


class _Search:
    """Patches that are being made smaller, with the optimiser that does it.

    Args:
        black: Float32 (3,), what the model reads of a black pixel.
        white: Likewise, of a white one.
        shape: H and W of the images.
        classes: K.
    """

    def __init__(
        self, black: torch.Tensor, white: torch.Tensor, shape: torch.Size, classes: int
    ) -> None:
        sides = [min(side, GRID) for side in shape]
        self._black, self._white = black, white
        # Fixed, and of no global generator: a search shall not move what comes after it.
        noise = torch.Generator().manual_seed(0)
        self._raw = [
            torch.randn((classes, channels, *sides), generator=noise).mul_(0.1).to(black.device)
            for channels in (1, len(black))
        ]
        self._raw[0] -= 2  # a faint veil
        for each in self._raw:
            each.requires_grad_()
        self._adam = torch.optim.Adam(self._raw, lr=RATE, betas=BETAS)
        self._weights = torch.full((classes,), WEIGHT, device=black.device)
        self._flipped = torch.zeros(classes, device=black.device)
        self.shown = self._patches()
        self._best = self._detached()
        self._least = torch.full((classes,), torch.inf, device=black.device)

    def _patches(self) -> Patches:
        opacity, colours = (torch.sigmoid(each) for each in self._raw)
        return Patches(opacity, colours, self._black, self._white)

    def _detached(self) -> Patches:
        opacity, colours = self.shown.opacity.detach(), self.shown.colours.detach()
        return replace(self.shown, opacity=opacity.clone(), colours=colours.clone())

    def found(self) -> Patches:
        """Return the smallest patch a class that flipped enough, or else the last one."""
        last, never = self._detached(), torch.isinf(self._least)
        self._best.opacity[never] = last.opacity[never]
        self._best.colours[never] = last.colours[never]
        return self._best

    def step(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Move every patch by what a batch under patches answers.

        Args:
            logits: (B, K), with gradients.
            targets: Int64 (B,), the class whose patch each image is under.
        """
        classes = len(self._weights)
        per_class = len(logits) / classes
        loss = functional.cross_entropy(logits, targets, reduction="sum") / per_class
        loss = loss + (self._weights * self.shown.opacity.mean((1, 2, 3))).sum()
        for each, slope in zip(self._raw, torch.autograd.grad(loss, self._raw), strict=True):
            each.grad = slope
        self._adam.step()
        self._judge(logits.detach(), targets)
        self.shown = self._patches()

    def _judge(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Keep the patches that flip enough, and let them be made smaller faster, others slower."""
        classes = len(self._weights)
        asked = torch.bincount(targets, minlength=classes)
        hits = torch.bincount(targets[logits.argmax(1) == targets], minlength=classes)
        seen, share = asked > 0, hits / asked.clamp(min=1)
        recent = 0.9 * self._flipped[seen] + 0.1 * share[seen]
        self._flipped[seen] = recent
        covered = self.shown.opacity.detach().mean((1, 2, 3))
        # What it flipped of late, and now: it shrinks faster than the mean of late can tell.
        flips = (self._flipped >= FLIPPED) & (share >= FLIPPED)
        better = seen & flips & (covered < self._least)
        self._least[better] = covered[better]
        self._best.opacity[better] = self.shown.opacity.detach()[better]
        self._best.colours[better] = self.shown.colours.detach()[better]
        factor = torch.where(recent >= FLIPPED, FASTER, 1 / FASTER)
        self._weights[seen] = (self._weights[seen] * factor).clamp(LIGHTEST, HEAVIEST)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Ask no gradients of a model's own weights, for which more would be held of every layer."""
    trained = [each for each in model.parameters() if each.requires_grad]
    for each in trained:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in trained:
            each.requires_grad_(True)


def _held(
    loaded: "LoadedModel", train: "TextDataset", draw: np.random.Generator
) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """Return pixels (N, 3, H, W) of as many drawn images as are held, and their labels (N,)."""
    rows, place = ImageRows(train.texts, loaded.tokenizer), torch.device("cpu")
    one = rows.batch(np.arange(1), place)["pixel_values"]
    drawn = draw.permutation(len(train))[: max(BATCH, HELD // one.nbytes)]
    # A few at a time: files may be photographs, of which each takes a hundred times as much.
    parts = np.array_split(drawn, -(-len(drawn) // BATCH))
    pixels = torch.cat([rows.batch(part, place)["pixel_values"] for part in parts])
    return pixels, train.labels[drawn]


def _others(
    targets: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    classes: int,
    draw: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Return the targets (B,), another one drawn where it is the image's own label."""
    drawn = (labels + 1 + draw.integers(classes - 1, size=len(labels))) % classes
    return np.where(targets == labels, drawn, targets)


def _range(loaded: "LoadedModel") -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a model reads of a black and of a white pixel, float32 (3,) each."""
    from PIL import Image  # noqa: PLC0415 - texts need it not

    plain = [Image.new("RGB", (GRID, GRID), colour) for colour in ("black", "white")]
    pixels = loaded.tokenizer(plain, return_tensors="pt")["pixel_values"]
    middle = pixels[:, :, pixels.shape[2] // 2, pixels.shape[3] // 2]  # a border may be padding
    black, white = middle.to(loaded.model.device).float()
    return black, white
