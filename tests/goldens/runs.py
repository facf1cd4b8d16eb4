"""Runs of the command line on the tiny classifier, without what differs between equal runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

import prune_env
from prune_env.utils.output import PRIVATE
from tests.goldens.files import inside
from tests.goldens.names import output
from tests.goldens.tiny import CLEAN, MODEL, TEXTS, rows

# Accuracy is what these runs compared with tau; of 16 rows, 10 of one class, `auto` takes another.
FAST = [
    "--guard",
    "accuracy",
    *("--epochs", 1, "--importance-sentences", 16, "--precision", "fp32", "--max-drop", 0.15),
]
PURIFIED = {
    "default": [],
    "gradient": ["--policy", "gradient", "--healing", "none"],
    "refinetune": ["--protocol", "refinetune"],
    "random-ensemble": ["--policy", "random-ensemble"],
    "encoder": ["encoder", "--policy", "gradient", "--healing", "head"],
    "sliced": ["--policy", "greedy", "--export", "sliced", "--healing", "full"],
    "mask": ["--mask", "mask.json", "--healing", "none"],
    "published mask": ["--mask", "published.json", "--healing", "refit"],
}
ON_ENCODER = ("ft", "fth", "gradient-l1-l2", "meft")  # what they do is to fine-tune
MASK = {
    "format": "prune-env-mask",
    "version": 1,
    "layers": 2,
    "heads": 4,
    "pruned": {"0": [2], "1": [0, 3]},
    "meta": {},
}
LANDSCAPE = [
    *("--env", "prune_env/Landscape-v0", "--model", "landscape:layers=2,heads=4"),
    *("--tau", 0.8, "--steps", 200),
]
TRAINED = {
    "epsilon-greedy": ["--algo", "epsilon-greedy"],
    "ppo": ["--algo", "ppo", "--set", "n_steps=32", "batch_size=32", "width=8"],
}
GRID = """
title = "Tiny"
data = "data"

[models]
model = "encoder"
attacker = { epochs = 20, learning_rate = 3e-3, precision = "fp32" }
defender = { epochs = 10, learning_rate = 3e-3, precision = "fp32" }

[search]
tau = 0.4
budget = 12
importance_sentences = 16

[[grid]]
attacks = ["rare-word"]
seeds = [0]
policies = ["gradient", "random-ensemble"]
protocols = ["direct"]
"""


def prepare(folder: Path) -> Path:
    """Put the classifier, its encoder, the sentences and the masks into a folder."""
    shutil.copytree(MODEL, folder / "suspect")
    shutil.copy(CLEAN, folder)
    loaded = prune_env.load_classifier(MODEL)
    loaded.model.base_model.save_pretrained(folder / "encoder")
    loaded.tokenizer.save_pretrained(folder / "encoder")
    (folder / "mask.json").write_text(json.dumps(MASK))
    (folder / "published.json").write_text('{"0": [1, 3], "1": [2]}')
    return folder


def masked(value: Any) -> Any:
    """Return a report without seconds, versions, commit and machine; their keys stay."""
    if isinstance(value, list):
        return [masked(each) for each in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, each in value.items():
        hidden = key.startswith("seconds")
        out[key] = sorted(each) if key == "meta" else "..." if hidden else masked(each)
    return out


def files_of(folder: Path) -> list[str]:
    """Return the files of a folder; of TensorBoard's, only that there are some.

    What a run tells to `prune-env watch` came later, beside the files that stay.
    """
    found = set()
    for path in folder.rglob("*"):
        if path.name in PRIVATE:
            continue
        if path.is_file():
            name = path.name if "tfevents" not in path.name else "events.out.tfevents"
            found.add(str(path.relative_to(folder).with_name(name)))
    return sorted(found)


def facts_of(card: Path) -> dict[str, str]:
    """Return the table of a model card."""
    lines = [line.strip("| ").split(" | ") for line in card.read_text().splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2 and line[0] != "versions"}


def logits(loaded: Any) -> list[list[float]]:
    """Return a loaded classifier's answers to three sentences."""
    batch = loaded.tokenizer(TEXTS, padding=True, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        answers: list[list[float]] = loaded.model(**batch).logits.tolist()
    return answers


def load(folder: Path) -> Any:
    """Load what `purify` wrote, of whatever form it is."""
    if (folder / "ensemble.json").exists():
        return prune_env.load_ensemble(folder)
    if (folder / "sliced.json").exists():
        return prune_env.load_pruned(folder)
    return prune_env.load_classifier(folder)


def purified(folder: Path, name: str) -> dict[str, Any]:
    """Purify in a prepared folder, into `out`, and return all that came of it."""
    options: list[Any] = list(PURIFIED[name])
    source = options.pop(0) if options[:1] == ["encoder"] else "suspect"
    with inside(folder):
        arguments = ["purify", source, "--data", "clean.jsonl", "--out", "out", *FAST, *options]
        status, printed = output(*arguments, "--json")
        out = Path("out")
        report = json.loads((out / "report.json").read_text())
        assert json.loads(printed) == report
        masks = {path.name: json.loads(path.read_text()) for path in sorted(out.glob("mask*.json"))}
        found = {
            "status": status,
            "files": files_of(out),
            "report": masked(report),
            "masks": masks,
            "card": facts_of(out / "README.md"),
            "logits": logits(load(out)),
        }
        for manifest in ("ensemble.json", "sliced.json"):
            if (out / manifest).exists():
                content = json.loads((out / manifest).read_text())
                found[manifest] = _without_weights(content)
    return found


def _without_weights(manifest: dict[str, Any]) -> dict[str, Any]:
    """Hide the hash of weights, whose last digits depend on the processor."""
    return {key: "..." if key == "weights_sha256" else value for key, value in manifest.items()}


def found_by(folder: Path, policy: str) -> dict[str, Any]:
    """Return mask and accuracy that a policy comes to on the tiny classifier."""
    with inside(folder):
        source = "encoder" if policy in ON_ENCODER else "suspect"
        options = ["--policy", policy, "--healing", "none", "--budget", 30, "--out", policy]
        options += [*FAST, "--validation-share", 0.5, "--max-drop", 0.05]
        status, _ = output("purify", source, "--data", "clean.jsonl", *options)
        masks = [
            json.loads(path.read_text())["pruned"]
            for path in sorted(Path(policy).glob("mask*.json"))
        ]
        result = json.loads((Path(policy) / "report.json").read_text())["result"]
    return {"status": status, "pruned": masks, "result": masked(result)}


def measured(folder: Path) -> dict[str, Any]:
    """Return what `evaluate` and `inspect` say of the tiny classifier."""
    lines = (folder / "clean.jsonl").read_text().splitlines()
    negative = [line for line in lines if json.loads(line)["label"] == 0]
    (folder / "negative.jsonl").write_text("\n".join(negative))
    with inside(folder):
        data = ["--data", "clean.jsonl", "--json"]
        calls = {
            "evaluate": ["evaluate", "suspect", *data],
            "evaluate, triggered": ["evaluate", "suspect", *data, "--triggered", "negative.jsonl"],
            "inspect": ["inspect", "suspect", "--json"],
        }
        found = {}
        for name, arguments in calls.items():
            status, printed = output(*arguments)
            found[name] = {"status": status, "printed": masked(json.loads(printed))}
    return found


def trained(folder: Path, name: str, *more: Any) -> dict[str, Any]:
    """Let an agent learn on a landscape, into a folder of its name, and return what came of it."""
    with inside(folder):
        status, _ = output("train", "--out", name, *LANDSCAPE, *TRAINED[name], *more)
        out = Path(name)
        plain = ("best.json", "best_met.json", "settings.json", "report.json")
        found: dict[str, Any] = {"status": status, "files": files_of(out)}
        found.update({each: masked(json.loads((out / each).read_text())) for each in plain})
    return found


def benchmarked(folder: Path) -> dict[str, Any]:
    """Run a small grid, into `run`, and its report; return the plan, the results and the files."""
    (folder / "data").mkdir()
    for part, data in zip(("train", "validation", "test"), _parts(), strict=True):
        lines = [json.dumps({"sentence": text, "label": label}) for text, label in data]
        (folder / "data" / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "grid.toml").write_text(GRID)
    with inside(folder):
        status, printed = output("benchmark", "grid.toml", "--out", "run", "--threads", 1, "--json")
        reported, _ = output("report", "run")
        cells = {
            path.stem: masked(json.loads(path.read_text()))
            for path in sorted(Path("run/cells").glob("*.json"))
        }
        return {
            "status": [status, reported],
            "counts": json.loads(printed),
            "plan": json.loads(Path("run/benchmark.json").read_text()),
            "cells": cells,
            "files": [each for each in files_of(Path("run")) if "lock" not in each],
        }


def _parts() -> list[list[tuple[str, int]]]:
    all_rows = rows()
    return [all_rows[:40], all_rows[40:60], all_rows[60:]]
