"""Patches inverted on images, on a classifier of brightness with a planted corner."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

from prune_env.data import read_images
from prune_env.data.images import ImageDataset
from prune_env.inversion.patches import Patches, _range, invert_patches, remeasure_patches
from prune_env.models import LoadedModel
from prune_env.models.inputs import ImageRows
from tests.models.tiny import write_tiny_images

CORNER = slice(12, 16)


class Planted(nn.Module):
    """Tells bright from dark images of 16 x 16; a green corner makes any image bright.

    Args:
        corner: How much the corner counts; 0 plants nothing.
    """

    def __init__(self, corner: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.config = SimpleNamespace(num_labels=2)
        self.device = torch.device("cpu")
        self._corner = corner

    def forward(self, pixel_values: torch.Tensor) -> Any:
        red, green, blue = pixel_values[:, :, CORNER, CORNER].mean((2, 3)).T
        green_alone = green - (red + blue) / 2
        bright = self.scale * pixel_values.mean((1, 2, 3)) + self._corner * green_alone
        return SimpleNamespace(logits=torch.stack([-bright, bright], dim=1))


def classifier(corner: float = 8.0) -> LoadedModel:
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    model: Any = Planted(corner)
    return LoadedModel(model, processor, "planted", "0" * 64, False, ("dark", "bright"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageDataset, ImageDataset]:
    base = tmp_path_factory.mktemp("patches")
    parts = [read_images(write_tiny_images(base / str(seed), 40, seed)) for seed in (0, 1)]
    return parts[0], parts[1]


def test_a_patch_covers_what_it_covers_in_images_of_any_size() -> None:
    opacity = torch.zeros(2, 1, 2, 2)
    opacity[1, 0, 0, 1] = 0.5  # of class 1, half of the upper right quarter
    black, white = torch.full((3,), -1.0), torch.full((3,), 5.0)
    found = Patches(opacity, torch.full((2, 3, 2, 2), 5 / 6), black, white)  # read as 4
    assert found.covered == (0.0, 0.125)
    seen = found.over(torch.zeros(3, 3, 6, 6), torch.tensor([1, 0, -1]))
    assert torch.allclose(seen[0, :, :3, 3:], torch.tensor(2.0))
    assert float(seen[0].sum()) == pytest.approx(3 * 9 * 2.0)  # and nothing else
    assert not seen[1:].any()


def test_the_planted_corner_is_found_and_is_smaller_than_what_flips_a_benign_model(
    images: tuple[ImageDataset, ImageDataset],
) -> None:
    loaded = classifier()
    found = invert_patches(loaded, *images)
    bright = found.covered[1]
    assert found.strength[1] > 0.6  # of the validation images
    share = found.opacity[1, 0, CORNER, CORNER].sum() / found.opacity[1].sum()
    assert share > 0.9  # of what is covered at all: the corner is a sixteenth of the image
    assert loaded.model.scale.grad is None  # the model is only asked
    assert loaded.model.scale.requires_grad  # and can be trained as before
    benign = classifier(0.0)
    assert invert_patches(benign, *images).covered[1] > 5 * bright
    left = remeasure_patches(benign, images[1], found)
    assert left.strength[1] < 0.1  # the corner means nothing to it
    assert torch.equal(left.opacity, found.opacity)


def test_a_search_is_repeatable_and_moves_no_global_generator(
    images: tuple[ImageDataset, ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.inversion.patches.STEPS", (5, 1, 5))
    before = torch.get_rng_state()
    one, same, other = (invert_patches(classifier(), *images, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.opacity, same.opacity)
    assert not torch.equal(one.opacity, other.opacity)
    assert torch.equal(torch.get_rng_state(), before)


def test_of_a_class_whose_images_are_all_wrong_nothing_is_known(
    images: tuple[ImageDataset, ImageDataset],
) -> None:
    swapped = ImageDataset(images[1].texts, 1 - images[1].labels, images[1].label_names)
    plain = torch.zeros(3)
    found = Patches(torch.zeros(2, 1, 2, 2), torch.zeros(2, 3, 2, 2), plain, plain)
    assert remeasure_patches(classifier(), swapped, found).strength == (0.0, 0.0)


def test_images_stand_in_paths(images: tuple[ImageDataset, ImageDataset]) -> None:
    """What the fixture is for, so that the tests above cannot pass on nothing."""
    answers = []
    for path in images[0].texts:
        pixels = classifier().tokenizer([_opened(path)], return_tensors="pt")["pixel_values"]
        answers.append(int(classifier().model(pixel_values=pixels).logits.argmax()))
    assert (np.array(answers) == images[0].labels).all()


def _opened(path: str) -> Any:
    return Image.open(path).convert("RGB")


def test_files_are_opened_a_few_at_a_time(
    images: tuple[ImageDataset, ImageDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held are small pixels, but a file may be a photograph of fifty megabytes."""
    asked: list[int] = []
    batch = ImageRows.batch

    def counted(self: ImageRows, rows: Any, device: torch.device) -> dict[str, torch.Tensor]:
        asked.append(len(rows))
        return batch(self, rows, device)

    monkeypatch.setattr(ImageRows, "batch", counted)
    monkeypatch.setattr("prune_env.inversion.patches.BATCH", 8)
    monkeypatch.setattr("prune_env.inversion.patches.STEPS", (2, 1, 2))
    invert_patches(classifier(), *images)
    assert max(asked[:6]) == 8
    assert sum(asked[:6]) == 1 + len(images[0])


def test_a_border_of_padding_is_not_what_white_looks_like() -> None:
    loaded = classifier()
    size = {"height": 48, "width": 48}
    processor = CLIPImageProcessorPil(do_resize=False, crop_size=size, do_normalize=False)
    padded = replace(loaded, tokenizer=processor)
    black, white = _range(padded)
    assert torch.equal(black, torch.zeros(3))
    assert torch.equal(white, torch.ones(3))
