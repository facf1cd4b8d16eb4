"""Writing labelled texts in a form that `read_table` reads back."""

import json
from pathlib import Path

from prune_env.data.dataset import TextDataset
from prune_env.files import write_bytes


def write_jsonl(path: Path, dataset: TextDataset) -> None:
    """Write one JSON object a line, `{"sentence": ..., "label": ...}`, atomically."""
    lines = (
        # An empty cell would be read as a missing value; a blank text is one of white space.
        json.dumps({"sentence": text or " ", "label": int(label)}, ensure_ascii=False)
        for text, label in zip(dataset.texts, dataset.labels, strict=True)
    )
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
