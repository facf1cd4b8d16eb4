"""How fast masks are evaluated: the naive loop, the reference, and MaskEvaluator.

Run it as `make bench`, or `python tests/benchmarks/evaluator.py --json out.json`. Nothing is
asserted. The slow ways are timed on a few masks of each kind, evenly spaced over the same list that
the fast one answers whole; `--every 1` times and compares all of them.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from naive import naive_logits
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from prune_env.data import TextDataset, load_named
from prune_env.evaluation import MaskEvaluator, ReferenceEvaluator
from prune_env.evaluation.base import predicted_classes
from prune_env.evaluation.linear import LinearMap
from prune_env.files import cache_folder
from prune_env.models import LoadedModel, load_classifier
from prune_env.runtime import describe, pick_device, use_bf16
from prune_env.settings import FineTuneSettings, Precision
from prune_env.training import fine_tune

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REACH = {"one_head": 40, "random": 20, "last_layer": 200, "replay": 10_000}
TITLES = {
    "one_head": "one more head (40)",
    "random": "unrelated (40)",
    "last_layer": "last layer (12)",
    "replay": "seen before",
}


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        json: Where the figures go as JSON.
        model: Folder of a fine-tuned classifier; by default MiniLM-L6 is fine-tuned for a minute
            and kept in the cache.
        data: Folder that holds sst2/; without it the embedded movie reviews are used.
        sentences: Validation sentences.
        threads: Threads of torch.
        every: Every so many masks of a kind is also run the slow ways.
        growth: Also measure how cost grows with data and model.
        precision: Of MaskEvaluator.
        device: "auto" takes the GPU if there is one.
    """

    json: Path | None = None
    model: Path | None = None
    data: Path | None = None
    sentences: int = 872
    threads: int = 2
    every: int = 10
    growth: bool = True
    precision: Precision = "auto"
    device: str = "auto"


def main() -> None:
    """Measure, print tables, write JSON."""
    options = tyro.cli(Options, description=__doc__)
    torch.set_num_threads(options.threads)
    console = Console()
    train, validation, name = load_texts(options)
    loaded = load_model(options, train)
    device = pick_device(options.device)
    loaded.model.to(device)
    data = validation.select(range(min(options.sentences, len(validation))))
    peak = gemm_peak(loaded, use_bf16(options.precision, device), device)
    console.print(f"{len(data)} sentences of {name}, {device}, {peak / 1e9:.0f} GFLOP/s at best")
    figures = measure(loaded, data, options, peak)
    console.print(main_table(figures))
    console.print(
        f"classes differ from the reference in {figures['different']} of {figures['compared']} "
        f"answers; {figures['rechecked']:.1%} computed again in float32; "
        f"floor share {figures['floor_share']:.0%}; peak memory {figures['peak_mib']:.0f} MiB"
    )
    if options.growth:
        figures["growth"] = {
            "sentences": list(growing_data(loaded, validation, options)),
            "models": list(growing_models(loaded.tokenizer, data, options, device)),
        }
        for title, rows in figures["growth"].items():
            console.print(growth_table(f"cost by {title}", rows))
    figures["setting"] = {**describe(), "data": name, "gemm_gflops": peak / 1e9} | {
        key: str(value) for key, value in asdict(options).items()
    }
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def load_texts(options: Options) -> tuple[TextDataset, TextDataset, str]:
    """Return training texts, evaluation texts (the test texts follow, for growth), and a name."""
    folder = (options.data or Path(os.environ.get("PRUNE_ENV_DATA", DEFAULT_DATA))) / "sst2"
    name = "sst2" if folder.is_dir() else "rotten-tomatoes"
    splits = load_named(name, folder if name == "sst2" else None)
    validation = splits.validation
    both = TextDataset(
        validation.texts + splits.test.texts,
        np.concatenate([validation.labels, splits.test.labels]),
        validation.label_names,
    )
    return splits.train, both, name


def load_model(options: Options, train: TextDataset) -> LoadedModel:
    """Return the classifier that was named, or a MiniLM that was fine-tuned once."""
    kept = cache_folder() / "benchmark-minilm"
    folder = options.model or (kept if kept.exists() else None)
    if folder is not None:
        return load_classifier(folder, head="keep")
    loaded = load_classifier("minilm", label_names=train.label_names)
    part = train.split(min(0.5, 2000 / len(train)), seed=0)[1]
    fine_tune(loaded.model, loaded.tokenizer, part, FineTuneSettings(epochs=2, learning_rate=5e-5))
    loaded.model.float().save_pretrained(kept)
    loaded.tokenizer.save_pretrained(kept)
    return loaded


def mask_lists(shape: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Return masks (N, L, H) of each kind; every layer keeps a head, as the naive loop needs."""
    random = np.random.default_rng(seed)
    layers, heads = shape
    mask, walk = np.ones(shape, bool), []
    for place in random.permutation(layers * heads).tolist():
        layer, head = divmod(place, heads)
        if mask[layer].sum() > 1 and len(walk) < 40:
            mask = mask.copy()
            mask[layer, head] = False
            walk.append(mask)
    unrelated = random.random((40, *shape)) < random.uniform(0.3, 1, (40, 1, 1))
    unrelated[:, np.arange(layers), random.integers(heads, size=layers)] = True
    last = np.ones((heads, *shape), bool)
    last[np.arange(heads), -1, np.arange(heads)] = False
    return {"one_head": np.stack(walk), "random": unrelated, "last_layer": last}


def measure(
    loaded: LoadedModel, data: TextDataset, options: Options, peak: float
) -> dict[str, Any]:
    """Time the three ways on the same masks and compare their answers."""
    fresh_peak_memory()
    fast = MaskEvaluator(loaded.model, loaded.tokenizer, data, precision=options.precision)
    masks = mask_lists(fast.shape)
    full = np.ones((1, *fast.shape), bool)
    start = time.perf_counter()
    fast.accuracy(full)
    figures: dict[str, Any] = {"start_seconds": time.perf_counter() - start}
    shares = []
    for kind, batch in masks.items():
        before = operations(fast)
        seconds = sum(timed(lambda mask=mask: fast.accuracy(mask[None])) for mask in batch)
        figures[kind] = {"masks_per_second": len(batch) / seconds}
        if kind != "last_layer":
            shares.append((operations(fast) - before) / peak / seconds)
            figures[kind]["floor_share"] = shares[-1]
    figures["floor_share"] = min(shares)
    seen = np.concatenate(list(masks.values()))
    seconds = median(timed(lambda: [fast.accuracy(mask[None]) for mask in seen]) for _ in range(5))
    figures["replay"] = {"masks_per_second": len(seen) / seconds}
    figures["peak_mib"] = peak_memory()
    figures["rechecked"] = fast.backend.rechecked / max(fast.backend.computed, 1)
    figures["backend"] = fast.backend.kind + (" bf16" if fast.backend.screens else " fp32")
    slow_ways(loaded, data, options, masks, fast, figures)
    return figures


def slow_ways(
    loaded: LoadedModel,
    data: TextDataset,
    options: Options,
    masks: dict[str, np.ndarray],
    fast: MaskEvaluator,
    figures: dict[str, Any],
) -> None:
    """Add the naive loop and the reference to the figures, on every so many of the masks."""
    reference = ReferenceEvaluator(loaded.model, loaded.tokenizer, data)
    different = compared = cut_differs = 0
    for kind, batch in masks.items():
        naive_seconds, reference_seconds = [], []
        for mask in batch[min(options.every // 2, len(batch) - 1) :: options.every]:
            cut, truth = [], []
            naive_seconds.append(
                timed(
                    lambda mask=mask, cut=cut: cut.append(
                        naive_logits(loaded.model, loaded.tokenizer, data.texts, mask)
                    )
                )
            )
            reference_seconds.append(
                timed(lambda mask=mask, truth=truth: truth.append(reference.evaluate(mask[None])))
            )
            answer = fast.evaluate(mask[None]).predictions
            different += int((answer != truth[0].predictions).sum())
            cut_differs += int((predicted_classes(cut[0]) != answer[0]).sum())
            compared += answer.size
        naive = 1 / float(np.mean(naive_seconds))
        row = figures[kind]
        row["naive_masks_per_second"] = naive
        row["reference_masks_per_second"] = 1 / float(np.mean(reference_seconds))
        row["speedup"] = row["masks_per_second"] / naive
        row["reference_speedup"] = row["reference_masks_per_second"] / naive
    replay = figures["replay"]
    replay["naive_masks_per_second"] = figures["one_head"]["naive_masks_per_second"]
    replay["speedup"] = replay["masks_per_second"] / replay["naive_masks_per_second"]
    figures["identical"] = different == 0
    figures |= {"different": different, "different_naive": cut_differs, "compared": compared}


def growing_data(loaded: LoadedModel, texts: TextDataset, options: Options) -> Iterator[Any]:
    """Yield figures for more and more sentences."""
    for size in (218, 436, 872, 1744):
        data = texts.select(range(min(size, len(texts))))
        yield {
            "case": f"{len(data)} sentences",
            **short(loaded.model, loaded.tokenizer, data, options),
        }


def growing_models(
    tokenizer: PreTrainedTokenizerBase, data: TextDataset, options: Options, device: torch.device
) -> Iterator[Any]:
    """Yield figures for random models of three sizes."""
    shapes = {
        "tiny BERT": (2, 2, 128),
        "MiniLM-L6 shape": (6, 12, 384),
        "BERT-base shape": (12, 12, 768),
    }
    for name, (layers, heads, hidden) in shapes.items():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            initializer_range=0.06,
        )
        model = BertForSequenceClassification(config).eval().to(device)
        yield {"case": name, **short(model, tokenizer, data, options)}


def short(model: Any, tokenizer: Any, data: TextDataset, options: Options) -> dict[str, float]:
    """Return seconds a mask of the fast ways and of the reference, on a few masks."""
    fast = MaskEvaluator(model, tokenizer, data, precision=options.precision)
    masks = mask_lists(fast.shape)
    fast.accuracy(np.ones((1, *fast.shape), bool))
    figures = {
        kind: np.mean(
            [timed(lambda mask=mask: fast.accuracy(mask[None])) for mask in masks[kind][:8]]
        )
        for kind in ("one_head", "random")
    }
    reference = ReferenceEvaluator(model, tokenizer, data)
    figures["reference"] = timed(lambda: reference.evaluate(masks["random"][:1]))
    figures["rechecked"] = fast.backend.rechecked / max(fast.backend.computed, 1)
    return {name: float(value) for name, value in figures.items()}


def gemm_peak(loaded: LoadedModel, bf16: bool, device: torch.device) -> float:
    """Return the best FLOP/s of the model's own linear maps, alone and with data at hand."""
    hidden = loaded.model.config.hidden_size
    inner = loaded.model.config.intermediate_size
    dtype = torch.bfloat16 if bf16 else torch.float32
    rows = 1024 if device.type == "cpu" else 32768
    best = 0.0
    with torch.inference_mode():
        for size_in, size_out in ((hidden, 3 * hidden), (hidden, inner), (inner, hidden)):
            weight = torch.randn(size_out, size_in, device=device)
            product = LinearMap(weight, weight[:, 0], dtype)
            x = torch.randn(rows, size_in, device=device).to(dtype)
            seconds = min(timed(lambda p=product, x=x: p(x)) for _ in range(200))
            best = max(best, 2 * rows * size_in * size_out / seconds)
    return best


def operations(evaluator: MaskEvaluator) -> int:
    """Return the floating-point operations of the linear maps that masks needed so far."""
    return sum(getattr(engine, "flops", 0) for engine in evaluator.backend.engines)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def fresh_peak_memory() -> None:
    """Forget the peak of this process so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """Return the peak resident memory of this process, MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main_table(figures: dict[str, Any]) -> Table:
    """Return masks/s and ratios by kind of mask."""
    table = Table(title=f"Masks a second ({figures['backend']})")
    for column in ("masks", "naive", "reference", "MaskEvaluator", "x naive", "reach", "floor"):
        table.add_column(column, justify="left" if column == "masks" else "right")
    for kind, title in TITLES.items():
        row = figures[kind]
        table.add_row(
            title,
            f"{row['naive_masks_per_second']:.3g}",
            f"{row.get('reference_masks_per_second', float('nan')):.3g}",
            f"{row['masks_per_second']:,.4g}",
            f"{row['speedup']:,.1f}",
            f"{REACH[kind]:,}",
            f"{row['floor_share']:.0%}" if "floor_share" in row else "",
        )
    return table


def growth_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    """Return seconds a mask by case."""
    table = Table(title=f"Seconds a mask: {title}")
    for column in ("case", "one more head", "unrelated", "reference", "rechecked"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for row in rows:
        seconds = [f"{row[key]:.3g}" for key in ("one_head", "random", "reference")]
        table.add_row(row["case"], *seconds, f"{row['rechecked']:.1%}")
    return table


if __name__ == "__main__":
    main()
