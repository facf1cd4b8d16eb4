"""Size and speed of a purified classifier in each form: whole, zeroed, sliced, ONNX.

Run it as `make bench`, or `python -m tests.benchmarks.export --pruned 36`. Nothing is asserted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
import tyro
from rich.console import Console
from rich.table import Table

from prune_env.data import load_named
from prune_env.models import (
    LoadedModel,
    find_heads,
    full_mask,
    load_classifier,
    load_pruned,
)
from prune_env.models.onnx import write_onnx
from tests.models.exports import save_sliced, save_zeroed

Answer = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        model: Folder of a model, or a registered name; an encoder gets a random head.
        pruned: Heads that are pruned, at random, one of each layer being kept.
        batch: Sentences of the movie reviews in the batch.
        repeats: Runs, of which the median counts.
        threads: Threads of torch and of onnxruntime.
    """

    model: str = "minilm"
    pruned: int = 36
    batch: int = 32
    repeats: int = 15
    threads: int = 1


def main(options: Options) -> None:
    """Measure and print the table."""
    torch.set_num_threads(options.threads)
    loaded = load_classifier(options.model)
    mask = random_mask(find_heads(loaded.model).shape, options.pruned)
    texts = list(load_named("rotten-tomatoes").test.texts[: options.batch])
    batch = loaded.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with TemporaryDirectory() as name:
        folder = Path(name)
        loaded.model.save_pretrained(folder / "whole")
        save_zeroed(loaded, mask, folder / "zeroed")
        save_sliced(loaded, mask, folder / "sliced")
        write_onnx(loaded, mask, folder / "zeroed" / "model.onnx", sliced=False)
        write_onnx(loaded, mask, folder / "sliced" / "model.onnx", sliced=True)
        forms = {
            "whole": (folder / "whole" / "model.safetensors", torch_answer(loaded, inputs)),
            "zeroed": (
                folder / "zeroed" / "model.safetensors",
                torch_answer(load_classifier(folder / "zeroed"), inputs),
            ),
            "sliced": (
                folder / "sliced" / "model.safetensors",
                torch_answer(load_pruned(folder / "sliced"), inputs),
            ),
        }
        for form in ("zeroed", "sliced"):
            path = folder / form / "model.onnx"
            forms[f"{form}, ONNX"] = path, onnx_answer(path, inputs, options.threads)
        report(forms, options, tuple(inputs["input_ids"].shape))


def random_mask(shape: tuple[int, int], pruned: int) -> np.ndarray:
    """Return a mask of which every layer keeps a head."""
    random = np.random.default_rng(0)
    mask = full_mask(shape)
    spared = {(layer, int(random.integers(shape[1]))) for layer in range(shape[0])}
    others = [place for place in np.ndindex(*shape) if place not in spared]
    for index in random.permutation(len(others))[:pruned]:
        mask[others[index]] = False
    return mask


def torch_answer(loaded: LoadedModel, inputs: dict[str, torch.Tensor]) -> Answer:
    """Return a function that runs the model once."""

    def run() -> np.ndarray:
        with torch.inference_mode():
            return loaded.model(**inputs).logits.numpy()

    return run


def onnx_answer(path: Path, inputs: dict[str, torch.Tensor], threads: int) -> Answer:
    """Return a function that runs the ONNX file once."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session: Any = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return lambda: session.run(["logits"], arrays)[0]


def report(forms: dict[str, tuple[Path, Answer]], options: Options, shape: tuple[int, ...]) -> None:
    """Time every form in turn, so that a busy machine is unjust to none, and print the table."""
    seconds: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(options.repeats):
        for form, (_, answer) in forms.items():
            started = time.perf_counter()
            answer()
            seconds[form].append(time.perf_counter() - started)
    expected = forms["zeroed"][1]()
    table = Table(
        title=f"{options.model}, {options.pruned} heads pruned, batch {shape}, "
        f"{options.threads} thread(s), median of {options.repeats}"
    )
    for column in ("form", "weights, MB", "ms", "speed", "difference of logits to zeroed"):
        table.add_column(column, justify="left" if column == "form" else "right")
    whole = median(seconds["whole"])
    for form, (path, answer) in forms.items():
        data = path.with_name(f"{path.name}.data")
        size = path.stat().st_size + (data.stat().st_size if data.exists() else 0)
        table.add_row(
            form,
            f"{size / 1e6:.1f}",
            f"{1000 * median(seconds[form]):.1f}",
            f"x {whole / median(seconds[form]):.2f}",
            "-" if form == "whole" else f"{np.abs(answer() - expected).max():.1e}",
        )
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
