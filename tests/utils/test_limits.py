"""The table of limits in the documents is that of the package."""

from pathlib import Path

import pytest

from prune_env.utils.limits import LIMITS, Limit, require_count

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_stands_in_the_documents_as_it_is(limit: Limit) -> None:
    (row,) = (
        line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{limit.name}`")
    )
    assert f"| {limit.default:,} {limit.unit} |" in row
    assert (limit.variable in row) != limit.fixed


def test_a_count_is_a_whole_number_within_its_ends() -> None:
    assert [require_count(value, 0, 2) for value in (0, 2)] == [0, 2]
    for value in (-1, 3, True, 1.0, "1", None):
        with pytest.raises(ValueError, match="a number from 0 to 2 is due"):
            require_count(value, 0, 2)
