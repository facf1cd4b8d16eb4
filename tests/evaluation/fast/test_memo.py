from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.errors import StateError
from prune_env.evaluation.fast.memo import Memo, mask_keys

SHAPE, SAMPLES = (2, 5), 11


def memo(path: Path | None = None, fingerprint: str = "abc", size: int = 1 << 20) -> Memo:
    return Memo(SHAPE, SAMPLES, max_logits_bytes=size, path=path, fingerprint=fingerprint)


def draw(count: int, seed: int = 0) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    masks = np.unpackbits(np.arange(count, dtype=np.uint8)[:, None], axis=1)[:, None]
    keys = mask_keys(np.broadcast_to(masks, (count, 2, 8))[..., 3:] > 0)
    logits = random.normal(size=(count, SAMPLES, 2)).astype(np.float32)
    return keys, random.random((count, SAMPLES)) < 0.5, logits


def filled(path: Path | None, count: int) -> tuple[Memo, list[bytes], np.ndarray]:
    keys, correct, logits = draw(count)
    held = memo(path)
    for row in zip(keys, correct, logits, strict=True):
        held.put(*row)
    return held, keys, correct


def test_it_gives_back_what_it_was_given() -> None:
    held, keys, correct = filled(None, 8)
    assert len(set(keys)) == len(held) == 8
    for key, row in zip(keys, correct, strict=True):
        assert (held.correct(key) == row).all()
        bits = held.bits(key)
        assert bits is not None
        assert bits.bit_count() == row.sum()
        assert [bool(bits >> place & 1) for place in range(SAMPLES)] == row.tolist()
        assert held.logits(key) is not None
    assert held.bits(b"??") is None


def test_logits_give_way_and_bits_stay() -> None:
    keys, correct, logits = draw(5)
    held = memo(size=2 * logits[0].nbytes)
    for row in zip(keys, correct, logits, strict=True):
        held.put(*row)
    assert [held.logits(key) is not None for key in keys] == [False] * 3 + [True] * 2
    assert len(held) == 5


def test_a_file_outlives_the_memo(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.memo"
    _, keys, correct = filled(path, 6)
    again = memo(path)
    assert len(again) == 6
    assert all((again.correct(key) == row).all() for key, row in zip(keys, correct, strict=True))
    assert again.logits(keys[0]) is None
    size = path.stat().st_size
    filled(path, 6)
    assert path.stat().st_size == size  # known masks are not written twice


def test_two_writers_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.memo"
    keys, correct, logits = draw(6)
    first, second = memo(path), memo(path)
    for index, row in enumerate(zip(keys, correct, logits, strict=True)):
        (first if index % 2 else second).put(*row)
    assert len(memo(path)) == 6


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_damaged_tail_costs_only_the_tail(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("memo") / "a.memo"
    _, keys, correct = filled(path, 5)
    content = bytearray(path.read_bytes())
    header = content.index(b"\n") + 1
    record = (len(content) - header) // 5
    place = data.draw(st.integers(header, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    again = memo(path)
    assert len(again) == (place - header) // record
    for key, row in list(zip(keys, correct, strict=True))[: len(again)]:
        assert (again.correct(key) == row).all()
    filled(path, 5)  # the damaged part was cut off, so new records can be read again
    assert len(memo(path)) == 5


@pytest.mark.parametrize("fingerprint", ["other", ""])
def test_a_foreign_file_is_refused(tmp_path: Path, fingerprint: str) -> None:
    path = tmp_path / "a.memo"
    filled(path, 2)
    with pytest.raises(StateError, match=r"not the memo.*Remedy: delete"):
        memo(path, fingerprint)
    path.write_bytes(b"something else")
    with pytest.raises(StateError, match="not the memo"):
        memo(path)
    assert path.read_bytes() == b"something else"
