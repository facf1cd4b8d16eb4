"""Golden values are those of float32: bf16 is used by itself on some processors only."""

from collections.abc import Iterator

import pytest

from prune_env.utils.runtime import VARIABLE


@pytest.fixture(autouse=True, scope="module")
def one_precision() -> Iterator[None]:
    """Let `auto` be float32, as `make` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "fp32")
        yield
