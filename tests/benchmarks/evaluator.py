"""How fast masks are evaluated: the naive loop, the reference, and MaskEvaluator.

Run it as `make bench`, or `python -m tests.benchmarks.evaluator --json out.json`. Nothing is
asserted. The slow ways are timed on a few masks of each kind, evenly spaced over the same list that
the fast one answers whole; `--every 1` times and compares all of them. Every part measures its own
baseline and its own peak of matrix products, so parts may be run one by one into one file:
`--parts one_head random --json out.json`.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from transformers import BertConfig, BertForSequenceClassification

from prune_env.data import TextDataset, load_named
from prune_env.evaluation import Evaluation, MaskEvaluator, ReferenceEvaluator
from prune_env.evaluation.base import predicted_classes
from prune_env.evaluation.fast.blocks import LinearMap
from prune_env.models import LoadedModel, load_classifier
from prune_env.settings import FineTuneSettings, Precision
from prune_env.training.fine_tuning import fine_tune
from prune_env.utils.files import cache_folder
from prune_env.utils.runtime import describe, pick_device, use_bf16
from tests.benchmarks.naive import naive_logits

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REACH = {"one_head": 40, "random": 20, "last_layer": 200, "replay": 10_000}
TITLES = {
    "one_head": "one more head (40)",
    "random": "unrelated (40)",
    "last_layer": "last layer (12)",
    "replay": "seen before",
}
SENTENCES = (218, 436, 872, 1744)
SHAPES = {"tiny-bert": (2, 2, 128), "minilm-l6": (6, 12, 384), "bert-base": (12, 12, 768)}
_FEW = 6  # masks of a kind, to see how cost grows
PARTS = (*TITLES, *map(str, SENTENCES), *SHAPES)


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        parts: Kinds of masks (one_head random last_layer replay), how cost grows with sentences
            (218 436 872 1744) and with models of random weights (tiny-bert minilm-l6 bert-base).
        json: Where the figures go; figures of other parts that are there already stay.
        model: Folder of a fine-tuned classifier; by default MiniLM-L6 is fine-tuned for a minute
            and kept in the cache.
        data: Folder that holds sst2/; without it the embedded movie reviews are used.
        sentences: Validation sentences.
        threads: Threads of torch.
        every: Every so many masks of a kind is also run the slow ways.
        precision: Of MaskEvaluator.
        device: "auto" takes the GPU if there is one.
    """

    parts: tuple[str, ...] = PARTS
    json: Path | None = None
    model: Path | None = None
    data: Path | None = None
    sentences: int = 872
    threads: int = 2
    every: int = 10
    precision: Precision = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse parts that do not exist."""
        if unknown := set(self.parts) - set(PARTS):
            raise SystemExit(f"unknown parts {sorted(unknown)}; there are: {' '.join(PARTS)}")


def main() -> None:
    """Measure, print tables, write JSON."""
    options = tyro.cli(Options, description=__doc__)
    kept = options.json is not None and options.json.exists()
    figures: dict[str, Any] = json.loads(options.json.read_text()) if kept else {}
    for part in options.parts:
        # Each in a process of its own: what the slow ways leave behind in memory counts for none.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(measure_part, options, part).result()
        if part in TITLES:
            figures[part] = found
        else:
            figures.setdefault("growth", {})[part] = found
    figures |= summary([figures[kind] for kind in TITLES if kind in figures])
    figures["setting"] = {**describe(), "data": load_texts(options)[2]} | {
        key: str(value) for key, value in asdict(options).items()
    }
    show(figures, Console())
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure_part(options: Options, part: str) -> dict[str, Any]:
    """Return the figures of one part."""
    torch.set_num_threads(options.threads)
    validation = load_texts(options)[1]
    data = validation.select(range(min(options.sentences, len(validation))))
    loaded = load_model(options)
    device = pick_device() if options.device == "auto" else torch.device(options.device)
    loaded.model.to(device)
    if part in TITLES:
        return measure(loaded, data, options, part)
    model = random_model(loaded, part).to(device) if part in SHAPES else loaded.model
    texts = validation.select(range(int(part))) if part.isdecimal() else data
    return short(model, loaded.tokenizer, texts, options)


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


def load_model(options: Options) -> LoadedModel:
    """Return the classifier that was named, or a MiniLM that was fine-tuned once."""
    kept = cache_folder() / "benchmark-minilm"
    if options.model is None and not kept.exists():
        # In a process of its own, so that its memory does not count here.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(make_model, options, kept).result()
    return load_classifier(options.model or kept, head="keep")


def make_model(options: Options, folder: Path) -> None:
    """Fine-tune a MiniLM on a part of the training texts."""
    torch.set_num_threads(options.threads)
    train = load_texts(options)[0]
    loaded = load_classifier("minilm", label_names=train.label_names)
    part = train.split(min(0.5, 2000 / len(train)), seed=0)[1]
    fine_tune(loaded.model, loaded.tokenizer, part, FineTuneSettings(epochs=2, learning_rate=5e-5))
    loaded.model.float().save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)


def mask_lists(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return masks (N, L, H) of each kind; every layer keeps a head, as the naive loop needs."""
    random = np.random.default_rng(0)
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


def measure(loaded: LoadedModel, data: TextDataset, options: Options, kind: str) -> dict[str, Any]:
    """Time the three ways on the same masks of one kind, and compare their answers."""
    fresh_peak_memory()
    bf16 = use_bf16(options.precision, loaded.model.device)
    peak = gemm_peak(loaded, bf16, loaded.model.device)
    fast = MaskEvaluator(loaded.model, loaded.tokenizer, data, precision=options.precision)
    masks = mask_lists(fast.shape)["last_layer" if kind == "replay" else kind]
    start = time.perf_counter()
    fast.accuracy(np.ones((1, *fast.shape), bool))
    figures: dict[str, Any] = {"start_seconds": time.perf_counter() - start}
    before = operations(fast)
    seconds = sum(timed(lambda mask=mask: fast.accuracy(mask[None])) for mask in masks)
    if kind in ("one_head", "random"):
        figures["floor_share"] = (operations(fast) - before) / peak / seconds
    if kind == "replay":
        again = [timed(lambda: [fast.accuracy(m[None]) for m in masks]) for _ in range(99)]
        seconds = median(again)
    figures["masks_per_second"] = len(masks) / seconds
    figures["peak_mib"] = peak_memory()
    figures["gemm_gflops"] = peak / 1e9
    figures["rechecked"] = fast.backend.rechecked / fast.backend.computed
    figures["backend"] = fast.backend.kind + (" bf16" if fast.backend.screens else " fp32")
    figures |= slow_ways(loaded, data, options, masks, fast)
    figures["speedup"] = figures["masks_per_second"] / figures["naive_masks_per_second"]
    return figures


def slow_ways(
    loaded: LoadedModel,
    data: TextDataset,
    options: Options,
    masks: np.ndarray,
    fast: MaskEvaluator,
) -> dict[str, Any]:
    """Return the figures of the naive loop and the reference on every so many of the masks."""
    reference = ReferenceEvaluator(loaded.model, loaded.tokenizer, data)
    different = cut_differs = 0
    naive_seconds, reference_seconds = [], []
    chosen = masks[min(options.every // 2, len(masks) - 1) :: options.every]
    for mask in chosen:
        cut: list[np.ndarray] = []
        truth: list[Evaluation] = []

        def naive(mask: np.ndarray = mask, cut: list[np.ndarray] = cut) -> None:
            cut.append(naive_logits(loaded.model, loaded.tokenizer, data.texts, mask))

        naive_seconds.append(timed(naive))
        reference_seconds.append(
            timed(lambda mask=mask, truth=truth: truth.append(reference.evaluate(mask[None])))
        )
        answer = fast.evaluate(mask[None]).predictions
        different += int((answer != truth[0].predictions).sum())
        cut_differs += int((predicted_classes(cut[0]) != answer[0]).sum())
    return {
        "naive_masks_per_second": 1 / float(np.mean(naive_seconds)),
        "reference_masks_per_second": 1 / float(np.mean(reference_seconds)),
        "different": different,
        "different_naive": cut_differs,
        "compared": len(chosen) * len(data),
    }


def summary(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what holds for all kinds of masks together."""
    if not kinds:
        return {}
    shares = [figures["floor_share"] for figures in kinds if "floor_share" in figures]
    return {
        "identical": not any(figures["different"] for figures in kinds),
        "compared": sum(figures["compared"] for figures in kinds),
        "peak_mib": max(figures["peak_mib"] for figures in kinds),
    } | ({"floor_share": min(shares)} if shares else {})


def random_model(loaded: LoadedModel, name: str) -> BertForSequenceClassification:
    """Return a BERT of a given shape with random weights that make heads matter."""
    layers, heads, hidden = SHAPES[name]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(loaded.tokenizer),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        initializer_range=0.06,
    )
    return BertForSequenceClassification(config).eval()


def short(model: Any, tokenizer: Any, data: TextDataset, options: Options) -> dict[str, float]:
    """Return seconds a mask of the fast ways and of the reference, on a few masks."""
    fast = MaskEvaluator(model, tokenizer, data, precision=options.precision)
    masks = mask_lists(fast.shape)
    fast.accuracy(np.ones((1, *fast.shape), bool))
    figures = {}
    for kind in ("one_head", "random"):
        seconds = []
        for mask in masks[kind]:  # a small model has few different ones
            before = fast.evaluations
            elapsed = timed(lambda mask=mask: fast.accuracy(mask[None]))
            seconds += [elapsed] * (fast.evaluations - before)
            if len(seconds) == _FEW:
                break
        figures[kind] = np.mean(seconds)
    reference = ReferenceEvaluator(model, tokenizer, data)
    figures["reference"] = timed(lambda: reference.evaluate(masks["random"][:1]))
    figures["rechecked"] = fast.backend.rechecked / fast.backend.computed
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


def show(figures: dict[str, Any], console: Console) -> None:
    """Print what was measured."""
    if "identical" in figures:
        console.print(main_table(figures))
        console.print(
            f"classes identical to the reference: {figures['identical']} "
            f"({figures['compared']} answers); peak memory {figures['peak_mib']:.0f} MiB"
        )
    growth = figures.get("growth", {})
    table = Table(title="Seconds a mask as data and models grow")
    for column in ("case", "one more head", "unrelated", "reference", "rechecked"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for case, row in sorted(growth.items(), key=lambda item: PARTS.index(item[0])):
        seconds = [f"{row[key]:.3g}" for key in ("one_head", "random", "reference")]
        name = f"{case} sentences" if case.isdecimal() else case
        table.add_row(name, *seconds, f"{row['rechecked']:.1%}")
    if growth:
        console.print(table)


def main_table(figures: dict[str, Any]) -> Table:
    """Return masks/s and ratios by kind of mask."""
    table = Table(title="Masks a second")
    columns = ("masks", "naive", "reference", "MaskEvaluator", "x naive", "reach", "floor", "again")
    for column in columns:
        table.add_column(column, justify="left" if column == "masks" else "right")
    for kind, title in TITLES.items():
        if kind in figures:
            row = figures[kind]
            table.add_row(
                title,
                f"{row['naive_masks_per_second']:.3g}",
                f"{row['reference_masks_per_second']:.3g}",
                f"{row['masks_per_second']:,.4g}",
                f"{row['speedup']:,.1f}",
                f"{REACH[kind]:,}",
                f"{row['floor_share']:.0%}" if "floor_share" in row else "",
                f"{row['rechecked']:.1%}",
            )
    return table


if __name__ == "__main__":
    main()
