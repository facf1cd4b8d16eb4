import sys
from pathlib import Path

import numpy as np
import pytest

from prune_env.data import load_named
from prune_env.data.images import open_image
from prune_env.errors import DataError


def test_digits_are_images_of_ten_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    data = load_named("digits")
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [1197, 200, 400]
    assert len({path for part in parts for path in part.texts}) == 1797
    assert all(min(part.counts.values()) >= 12 for part in parts)
    # Every image is the one of its label.
    images, labels = datasets.load_digits(return_X_y=True)
    known = {
        bytes(each.astype(np.uint8)): label for each, label in zip(images, labels, strict=True)
    }
    for path, label in zip(data.test.texts, data.test.labels, strict=True):
        pixels = np.asarray(open_image(path))[..., 0]
        assert known[bytes((pixels / 255 * 16).round().astype(np.uint8))] == label
    assert load_named("digits").train.sha256 == data.train.sha256


def test_digits_need_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"prune-env\[report\]"):
        load_named("digits")
