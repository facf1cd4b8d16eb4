"""Equal seeds give equal bytes, in two processes with different hash seeds."""

import json
import os
import subprocess
import sys
from pathlib import Path

from prune_env.cli import main
from prune_env.data.dataset import write_jsonl
from prune_env.utils.files import sha256_of
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
import torch
torch.set_num_threads(1)
from prune_env.utils.memory import keep_imports
from tests.purification.test_determinism import purify
keep_imports()
purify(sys.argv[1], sys.argv[2:])
"""
RUNS = {
    "learned": ["--policy", "epsilon-greedy"],
    "sliced": ["--protocol", "refinetune", "--export", "sliced"],
}
SETTINGS = "--epochs 1 --importance-sentences 16 --precision fp32 --max-drop 0.1 --budget 8".split()


def purify(folder: str | Path, arguments: list[str]) -> None:
    for out, options in RUNS.items():
        assert main(["purify", *arguments, "--out", str(Path(folder) / out), *options]) == 0


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    encoder, data = tmp_path / "encoder", tmp_path / "clean.jsonl"
    tiny_bert().bert.save_pretrained(encoder)
    tiny_tokenizer().save_pretrained(encoder)
    write_jsonl(data, tiny_dataset(60))
    arguments = [str(encoder), "--data", str(data), "--seed", "7", *SETTINGS]
    purify(tmp_path / "here", arguments)
    salt = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "there", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    for out in RUNS:
        first, second = (_written(tmp_path / place / out) for place in ("here", "there"))
        assert first == second
        assert {"model.safetensors", "mask.json", "README.md", "config.json"} <= set(first)


def _written(folder: Path) -> dict[str, object]:
    """Return the hash of each file; of the report, its content without time and code version."""
    found: dict[str, object] = {
        path.name: sha256_of(path)
        for path in folder.iterdir()
        if path.is_file() and path.name != "events.jsonl"  # it tells when things happened
    }
    report = json.loads((folder / "report.json").read_text())
    report["result"]["seconds"] = report["meta"]["commit"] = report["meta"]["source"] = None
    return {**found, "report.json": report}
