from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune_env.data import TextDataset, read_table
from prune_env.data.dataset import write_jsonl

TEXTS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")).map(str.strip), min_size=1
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=TEXTS, seed=st.integers(0, 99))
def test_what_is_written_is_read_back(tmp_path: Path, texts: list[str], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, size=len(texts))
    data = TextDataset(tuple(texts), labels, ("a", "b", "c"))
    write_jsonl(tmp_path / "out.jsonl", data)
    assert read_table(tmp_path / "out.jsonl", label_names=("a", "b", "c")).sha256 == data.sha256
