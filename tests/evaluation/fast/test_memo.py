import numpy as np

from prune_env.evaluation.fast.memo import Memo, mask_keys

SAMPLES = 11


def draw(count: int, seed: int = 0) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    masks = np.unpackbits(np.arange(count, dtype=np.uint8)[:, None], axis=1)[:, None]
    keys = mask_keys(np.broadcast_to(masks, (count, 2, 8))[..., 3:] > 0)
    logits = random.normal(size=(count, SAMPLES, 2)).astype(np.float32)
    return keys, random.random((count, SAMPLES)) < 0.5, logits


def filled(count: int) -> tuple[Memo, list[bytes], np.ndarray]:
    keys, correct, logits = draw(count)
    held = Memo(SAMPLES, max_logits_bytes=1 << 20)
    for row in zip(keys, correct, logits, strict=True):
        held.put(*row)
    return held, keys, correct


def test_it_gives_back_what_it_was_given() -> None:
    held, keys, correct = filled(8)
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
    held = Memo(SAMPLES, max_logits_bytes=2 * logits[0].nbytes)
    for row in zip(keys, correct, logits, strict=True):
        held.put(*row)
    assert [held.logits(key) is not None for key in keys] == [False] * 3 + [True] * 2
    assert len(held) == 5
