"""Sections of a report that hold a figure: each draws it and returns its Markdown."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.research.benchmark import figures
from prune_env.research.benchmark.acc_lfr import acc_against_lfr
from prune_env.research.benchmark.cell import REFERENCES
from prune_env.research.benchmark.marks import Mark
from prune_env.research.benchmark.results import RunResults
from prune_env.research.benchmark.store import Embeddings, Store
from prune_env.research.benchmark.summary import Line

log = logging.getLogger(__name__)

Palette = dict[str, Mark]
"""Mark of each policy."""


FEWEST = 4
"""Vectors of a model, below which t-SNE has nothing to show."""


def is_paper(line: Line) -> bool:
    """Whether a line is of a policy as the paper defines it."""
    return line.cell.search.variant == "paper"


def acc_lfr(results: RunResults, attack: str, lines: Sequence[Line], palette: Palette) -> str:
    """Draw ACC against LFR of the lines of an attack."""
    points = [line for line in lines if line.rows and line.cell.policy not in REFERENCES]
    if not any(line.values("lfr") for line in points):
        return ""
    acc_against_lfr(_png(results, "acc-lfr", attack), points, floors(lines), palette, attack)
    return _image(results, "ACC against LFR; the dashed line is the floor", "acc-lfr", attack)


def floors(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the mean LFR of the benign models, plain and calibrated; NaN if it is unknown."""
    benign = [line for line in lines if line.cell.policy == "benign"]
    plain, calibrated = (
        benign[0].mean(name) if benign else float("nan") for name in ("lfr", "lfr_calibrated")
    )
    return plain, calibrated


def taus(results: RunResults, attack: str, floor: float, palette: Palette) -> str:
    """Draw LFR and ACC against tau, of what was tried at several thresholds.

    Args:
        results: The run.
        attack: Name of the attack.
        floor: Mean calibrated LFR of the benign models.
        palette: Mark of each policy.
    """
    lines = results.lines(
        lambda each: (
            each.attack == attack
            and each.cell.target == "backdoored"
            and each.cell.search.tau is not None
            and each.cell.search.variant == "paper"
            and each.cell.healing == "none"
        )
    )
    series: dict[tuple[str, str], dict[float, Line]] = {}
    for line in lines:
        if line.rows and line.cell.search.tau is not None:
            by_tau = series.setdefault((line.policy, line.protocol), {})
            by_tau[line.cell.search.tau] = line
    series = {name: _same_seeds(by_tau) for name, by_tau in series.items() if len(by_tau) > 1}
    if not series:
        return ""
    figures.lfr_against_tau(_png(results, "lfr-tau", attack), series, floor, palette, attack)
    return _image(results, "LFR and ACC against tau, on the seeds that all have", "lfr-tau", attack)


def _same_seeds(by_tau: dict[float, Line]) -> dict[float, Line]:
    """Return the lines with the seeds only that every tau has: others would bend the curve."""
    shared = set.intersection(*({row.seed for row in line.rows} for line in by_tau.values()))
    return {
        tau: Line(tuple(each for each in line.cells if each.seed in shared))
        for tau, line in by_tau.items()
        if shared
    }


def cls_maps(results: RunResults, attack: str, lines: Sequence[Line]) -> str:
    """Draw the backdoored model, FT, and the defence with the lowest calibrated excess LFR."""
    store = Store(results.folder)
    defences = [line for line in lines if line.contends and line.protocol and line.rows]
    defences = [line for line in defences if line.values("lfr_calibrated")]
    plain = [line for line in lines if not line.protocol]
    chosen = [line for line in plain if line.cell.policy in ("backdoored", "ft")]
    chosen += sorted(defences, key=lambda line: line.mean("excess_lfr_calibrated"))[:1]
    models: dict[str, Embeddings] = {}
    for line in chosen:
        done = next((each for each in line.cells if each.row), None)
        vectors = done and _vectors(store, done.key)
        if done and done.row and vectors and sum(map(len, vectors.values())) >= FEWEST:
            lfr = done.row.lfr
            flipped = "" if lfr is None else f", LFR\N{NO-BREAK SPACE}{lfr:.0f}"
            protocol = f" ({line.protocol})" if line.protocol else ""
            models[f"{line.policy}{protocol}, seed {done.seed}{flipped}"] = vectors
    if not models:
        return ""
    try:
        figures.cls_maps(_png(results, "cls", attack), models, attack)
    except ImportError:
        return "The map of [CLS] needs scikit-learn: `pip install 'prune-env[report]'`.\n"
    return _image(results, "t-SNE of [CLS] before and after", "cls", attack)


def _vectors(store: Store, key: str) -> Embeddings | None:
    """Return the vectors of a cell; None where there are none, or the file is damaged."""
    try:
        return store.read_embeddings(key)
    except StateError as error:
        log.warning("A figure is drawn without one of its panels: %s", error)
        return None


def pruned_heads(results: RunResults, attack: str, lines: Sequence[Line]) -> str:
    """Draw which heads each policy prunes."""
    masks: dict[str, list[npt.NDArray[np.bool_]]] = {}
    taken: set[tuple[str, int]] = set()
    for line in lines:
        for each in line.cells:
            found = None if each.record is None else each.record.masks
            if found is not None and line.protocol and (line.policy, each.seed) not in taken:
                taken.add((line.policy, each.seed))
                held = masks.setdefault(line.policy, [])
                held += [mask for mask in found if mask.shape == (held or found)[0].shape]
    shares = {policy: 1 - np.mean(np.array(held), axis=0) for policy, held in masks.items()}
    shares = {policy: share for policy, share in shares.items() if share.any()}
    if not shares:
        return ""
    figures.pruned_heads(_png(results, "heads", attack), shares, attack)
    return _image(results, "Heads pruned by each policy (mean number in brackets)", "heads", attack)


def cost(results: RunResults) -> str:
    """Draw what each policy costs on backdoored models, over all attacks."""
    lines = [
        line
        for line in results.lines(lambda each: each.cell.target == "backdoored")
        if line.protocol and line.rows and line.cell.healing == "none" and is_paper(line)
    ]
    if not lines:
        return ""
    path = results.folder / "figures" / "cost.png"
    figures.cost(path, lines)
    told = "Means over attacks and seeds, on backdoored models."
    return f"## Cost\n\n{told}\n\n![Masks evaluated and seconds](figures/{path.name})\n"


def _png(results: RunResults, kind: str, attack: str) -> Path:
    return results.folder / "figures" / f"{kind}-{results.stems[attack]}.png"


def _image(results: RunResults, text: str, kind: str, attack: str) -> str:
    return f"![{text}](figures/{_png(results, kind, attack).name})\n"
