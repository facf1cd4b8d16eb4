"""Makes the recorded models that ship: `python -m tests.benchmarks.records --out runs/records`.

Each is a backdoored MiniLM-L6 of SST-2, fine-tuned as `purify` does it, and judged on half of the
validation and some of the triggered sentences. A folder a model, its record and its surrogate,
named as they ship; what is there is gone on with. On one core 2,000 masks take half an hour.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from prune_env.cli.main import main as prune_env
from prune_env.data import TextDataset
from prune_env.purification.plan import usual_fine_tuning
from prune_env.purification.prepare import fine_tune_suspicious
from prune_env.settings import Pruned
from prune_env.training.phases import TrainingRun
from tests.benchmarks.purify import DEFAULT_DATA, Options, attacked_models

MODELS = (
    "hiddenkiller-1",
    "hiddenkiller-2",
    "stylebkd-poetry-0",
    "stylebkd-poetry-1",
    "stylebkd-bible-1",
)
"""Attack and seed of each; `hiddenkiller-0` and `stylebkd-bible-0` are older, without families."""


@dataclass(frozen=True)
class Recorded:
    """What is recorded.

    Attributes:
        out: Folder of the records.
        models: Attack and seed of each.
        masks: Of each model.
        units: What the masks choose from; a record of `hybrid` is called so.
        clean: Validation sentences that judge a mask.
        triggered: Triggered sentences that tell the LFR.
        data: Folder of SST-2.
    """

    out: Path
    models: tuple[str, ...] = MODELS
    masks: int = 2_000
    units: Pruned = "heads"
    clean: int = 436
    triggered: int = 240
    data: Path = DEFAULT_DATA


def main(options: Recorded) -> None:
    """Make each model, and record it."""
    torch.set_num_threads(1)
    for name in options.models:
        folder = options.out / f"sst2-{name}"
        if not (folder / "model" / "model.safetensors").exists():
            _prepare(name, folder, options)
        called = f"sst2-{name}{'' if options.units == 'heads' else '-hybrid'}"
        parts = {
            "model": folder / "model",
            "data": folder / "data",
            "triggered": folder / "triggered.tsv",
            "target-label": "positive",
            "masks": options.masks,
            "units": options.units,
            "out": options.out / f"{called}-record.npz",
            "surrogate": options.out / f"{called}.npz",
            "threads": 1,
        }
        status = prune_env(["record", *(f"--{name}={value}" for name, value in parts.items())])
        if status:
            raise SystemExit(status)


def _prepare(name: str, folder: Path, options: Recorded) -> None:
    """Write the fine-tuned model and the sentences that judge it; the model last."""
    attack, seed = name.rsplit("-", 1)
    models = attacked_models(attack, Options(attack=(attack,), seed=int(seed), data=options.data))
    run = TrainingRun(usual_fine_tuning("refit-unlearn", models.clean.train), seed=int(seed))
    tuned = fine_tune_suspicious(models.backdoored.encoder, models.clean.train, run)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    _write(models.clean.train, folder / "data" / "train.tsv")
    random = np.random.default_rng(0)
    validation = _some(models.sets.validation, options.clean, random)
    _write(validation, folder / "data" / "dev.tsv")
    _write(_some(models.sets.triggered, options.triggered, random), folder / "triggered.tsv")
    tuned.tokenizer.save_pretrained(folder / "model")
    tuned.model.save_pretrained(folder / "model")


def _some(data: TextDataset | None, count: int, random: np.random.Generator) -> TextDataset:
    assert data is not None
    return data.select(np.sort(random.permutation(len(data))[:count]))


def _write(data: TextDataset, path: Path) -> None:
    rows = zip((text.replace("\t", " ") for text in data.texts), data.labels, strict=True)
    lines = ["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(tyro.cli(Recorded))
