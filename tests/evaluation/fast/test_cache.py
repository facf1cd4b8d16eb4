from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.evaluation.fast.cache import ByteCache


@dataclass
class Value:
    nbytes: int


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 20),
    st.lists(st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 6), st.integers(1, 12))),
)
def test_it_holds_the_latest_used_that_fit(limit: int, steps: list[tuple[str, int, int]]) -> None:
    cache: ByteCache[Value] = ByteCache(limit)
    model: list[tuple[int, Value]] = []  # oldest first
    for kind, key, size in steps:
        held = next((value for name, value in model if name == key), None)
        if kind == "get":
            assert cache.get(key) is held
            if held is not None:
                model = [(n, v) for n, v in model if n != key] + [(key, held)]
        else:
            value = Value(size)
            cache.put(key, value)
            model = [(n, v) for n, v in model if n != key]
            if size <= limit:
                while sum(v.nbytes for _, v in model) + size > limit:
                    model.pop(0)
                model.append((key, value))
        assert cache.nbytes == sum(v.nbytes for _, v in model) <= limit
        assert len(cache) == len(model)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
