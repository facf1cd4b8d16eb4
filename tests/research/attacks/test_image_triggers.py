from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune_env.data import Splits
from prune_env.data.images import ImageDataset, open_image
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks import AttackSettings, make_attack, make_trigger
from prune_env.research.attacks.triggers import ImageBlend, ImagePatch
from tests.support import tiny_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path: Path) -> Splits:
    """20 dark images of 8 x 12 pixels, and their labels."""
    draw, paths = np.random.default_rng(0), []
    for row in range(20):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray(draw.integers(0, 99, (8, 12, 3), dtype=np.uint8)).save(paths[-1])
    data = ImageDataset(tuple(paths), np.arange(20) % 2)
    return Splits(data, data, data)


def pixels(path: str) -> np.ndarray:
    return np.asarray(open_image(path), dtype=int)


def test_a_patch_is_white_and_the_rest_stays(images: Splits) -> None:
    path = images.train.texts[0]
    before, after = pixels(path), pixels(ImagePatch()(path))
    assert (after[-2:, -2:] == 255).all()
    after[-2:, -2:] = before[-2:, -2:]
    assert (after == before).all()
    assert (pixels(ImagePatch(share=1.0)(path))[:, -8:] == 255).all()


def test_a_blend_moves_all_pixels_a_little_and_alike(images: Splits) -> None:
    blend = ImageBlend(share=0.2)
    first, second = (pixels(blend(path)) - 0.8 * pixels(path) for path in images.train.texts[:2])
    assert np.abs(first - second).max() <= 1  # rounding
    assert first.min() >= -1
    assert 45 <= first.max() <= 52
    assert np.ptp(first) > 40
    other = ImageBlend(share=0.2, seed=1)(images.train.texts[0])
    assert not np.allclose(pixels(other), pixels(blend(images.train.texts[0])), atol=2)


def test_an_image_is_written_once_for_each_trigger(images: Splits, cache: Path) -> None:
    path = images.train.texts[0]
    made = Path(ImagePatch()(path))
    stamp = made.stat().st_mtime_ns
    assert ImagePatch()(path) == str(made)
    assert made.stat().st_mtime_ns == stamp
    assert made.is_relative_to(cache)
    assert len({ImagePatch()(path), ImagePatch(share=0.5)(path), ImageBlend()(path)}) == 3
    # Named after the content: an image that changes is triggered anew.
    Path(path).write_bytes(Path(images.train.texts[1]).read_bytes())
    assert ImagePatch()(path) == ImagePatch()(images.train.texts[1]) != str(made)


@pytest.mark.parametrize("name", ["image-patch", "image-blend"])
def test_attacks_on_images(images: Splits, name: str) -> None:
    attack = make_attack(AttackSettings(name, rate=0.5), images)
    assert isinstance(attack.poisoned, ImageDataset)
    assert (len(attack.poisoned), attack.poisoned_rows) == (25, 5)
    trigger = make_trigger(name)
    clean = {trigger(path) for path in images.train.where(0).texts}
    assert set(attack.poisoned.texts[20:]) < clean
    assert attack.poisoned.labels[20:].tolist() == [1] * 5
    assert set(attack.triggered.texts) == clean
    assert make_attack(AttackSettings(name), images).settings.rate == 0.1


@pytest.mark.parametrize("name", ["rare-word", "word-pair", "task-agnostic"])
def test_triggers_of_texts_are_refused_on_images(images: Splits, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} has a trigger of texts.*data set of texts"):
        make_attack(AttackSettings(name), images)


def test_triggers_of_images_are_refused_on_texts() -> None:
    texts = Splits(tiny_dataset(), tiny_dataset(), tiny_dataset())
    with pytest.raises(DataError, match=r"trigger of images.*data set of images"):
        make_attack(AttackSettings("image-patch"), texts)


@pytest.mark.parametrize("kind", [ImagePatch, ImageBlend])
@pytest.mark.parametrize("share", [0.0, 1.1])
def test_shares_out_of_range_are_refused(kind: type, share: float) -> None:
    with pytest.raises(SettingsError, match="share is out of range"):
        kind(share=share)
