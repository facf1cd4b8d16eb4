"""A cache that others can write is not used."""

import os
from pathlib import Path

import pytest

from prune_env.errors import StateError
from prune_env.utils.files import made_once


def _fill(folder: Path) -> None:
    (folder / "weights").write_text("1")


def _is_taken(made: Path) -> bool:
    """Whether what is there is taken as it is, and not made anew."""
    made_once(made, lambda folder: pytest.fail("it was made already"))
    return (made / "weights").read_text() == "1"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    place = tmp_path / "cache" / "models" / "a"
    made_once(place, _fill)
    return place


@pytest.mark.parametrize("part", [".", "weights", "..", "../.."])
def test_what_everybody_may_write_is_refused(made: Path, part: str) -> None:
    (made / part).chmod(0o777)
    with pytest.raises(StateError, match="Another user can change") as caught:
        made_once(made, _fill)
    assert "PRUNE_ENV_CACHE" in str(caught.value)


def test_nothing_is_made_where_everybody_may_write(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(StateError, match="everybody may write"):
        made_once(tmp_path / "cache" / "models" / "a", _fill)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
def test_the_cache_of_another_user_is_refused(made: Path) -> None:
    os.chown(made / "weights", 12345, 12345)
    with pytest.raises(StateError, match="belongs to the user 12345"):
        made_once(made, _fill)


def test_a_folder_for_all_with_the_sticky_bit_is_fine(made: Path) -> None:
    made.parents[1].chmod(0o1777)  # as /tmp has it: others can add, and not replace
    assert _is_taken(made)


def test_whoever_trusts_the_others_says_so(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.chmod(0o777)
    monkeypatch.setenv("PRUNE_ENV_TRUST_CACHE", "1")
    assert _is_taken(made)


def test_a_lock_among_hashes_that_were_kept_is_not_missed(made: Path) -> None:
    hashes = made / "sha256.json"
    hashes.write_text(hashes.read_text().replace("{", '{"scores.json.lock": "e3b0",', 1))
    assert _is_taken(made)
