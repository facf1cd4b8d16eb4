"""The table of limits in the documents is that of the package."""

from pathlib import Path

import pytest

from prune_env.utils.limits import LIMITS, Limit

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_stands_in_the_documents_as_it_is(limit: Limit) -> None:
    (row,) = (
        line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{limit.name}`")
    )
    assert f"| {limit.default:,} {limit.unit} |" in row
    assert (limit.variable in row) != limit.fixed
