"""Where an output folder may stand."""

from pathlib import Path

import pytest

from prune_env.errors import OutputExistsError
from prune_env.utils.output import require_outside


def test_outside_is_outside(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    require_outside(tmp_path / "model-2", tmp_path / "model")
    require_outside(tmp_path / "out", "org/name-on-the-hub")


@pytest.mark.parametrize("out", ["model/out", "model/a/b", "model", "model/../model/out", "link/x"])
def test_inside_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    with pytest.raises(OutputExistsError, match="inside the model's own folder"):
        require_outside(tmp_path / out, tmp_path / "model")
