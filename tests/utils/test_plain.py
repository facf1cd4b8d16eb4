"""Settings as plain values, and back."""

from dataclasses import asdict, dataclass, field

import pytest

from prune_env.errors import SettingsError
from prune_env.utils.plain import from_plain, later, to_plain


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    new: str | None = later(None)


@dataclass(frozen=True)
class Outer:
    names: tuple[str, ...]
    inner: Inner = field(default_factory=Inner)
    sizes: dict[str, int] = field(default_factory=dict)


def test_a_later_field_is_left_out_while_it_has_its_default() -> None:
    assert to_plain(Outer(("a",))) == {"names": ("a",), "inner": {"rate": 0.5}, "sizes": {}}
    changed = Outer(("a",), Inner(new="b"))
    assert to_plain(changed) == asdict(changed)


def test_what_was_written_is_read_back() -> None:
    for each in (Outer(("a", "b"), sizes={"x": 1}), Outer((), Inner(1.0, "c"))):
        assert from_plain(Outer, to_plain(each), "here") == each


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ([], "no table"),
        ({}, "lacks names"),
        ({"names": "a"}, "must be a list"),
        ({"names": [], "nmaes": []}, "unknown key 'nmaes'"),
        ({"names": [], "sizes": [1]}, "must be a table"),
        ({"names": [], "sizes": {"x": "1"}}, "wrong type"),
        ({"names": [], "inner": {"rate": True}}, "wrong type"),
    ],
)
def test_anything_else_is_refused_with_its_reason(content: object, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        from_plain(Outer, content, "here")
