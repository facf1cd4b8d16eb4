"""`report.md` of a run folder, with its figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.errors import StateError
from prune_env.research.benchmark import figures
from prune_env.research.benchmark.cell import REFERENCES
from prune_env.research.benchmark.store import Store
from prune_env.research.benchmark.summary import Entry, Line, Results, read_results, table
from prune_env.utils.files import write_bytes

REPORT = "report.md"
LEGEND = """
Figures are percent, mean ± standard deviation over seeds (each seed has its own models). *floor*:
LFR of the benign model of the same seed; *excess* = LFR - floor; *cal*: with the decision
threshold shifted so that on clean validation data the target label is predicted as often as it
occurs, which takes away what a mere lean to the other label gains. *pruned*: heads; *evals*: masks
whose validation accuracy was computed; *time*: of search and protocol together.

**Bold**: the best defence of the table, where it is better than the next by more than noise: by a
paired t-test over seeds (p < 0.05) *and* by more than 1.96 standard errors of a difference between
two shares of this many test sentences. No bold figure in a column means that the best is not told
apart from the next. Lines in *italics* are no defences: references, and oracles, which read the
triggered test texts and show how low a mask of heads can go.
"""


def write_report(folder: Path) -> Path:
    """Write `report.md` and `figures/*.png` into a run folder, from the cells that are there.

    Args:
        folder: Run folder of `prune-env benchmark`; the run may still be going on.

    Returns:
        Path of the report.

    Raises:
        StateError: It is no run folder, or no cell has a result yet.
    """
    results = read_results(folder)
    if not any(entry.row for entry in results.entries):
        raise StateError(
            f"No cell in {folder} is done", remedy="wait for the first, or see its logs folder"
        )
    policies = (each.policy for each in results.lines() if each.cell["policy"] not in REFERENCES)
    palette = figures.colours(sorted(set(policies), key=lambda name: ("(" in name, name)))
    done = sum(entry.row is not None for entry in results.entries)
    parts = [
        f"# {results.config['title']}\n",
        f"{done} of {len(results.entries)} cells done, {len(results.failed)} failed, "
        f"{len(results.waiting)} not run.\n",
        LEGEND,
    ]
    for attack in results.attacks:
        if any(entry.row and entry.attack == attack for entry in results.entries):
            parts.append(_attack(results, attack, palette))
    parts += [_cost(results), _failures(results), _waiting(results), _setting(results)]
    path = folder / REPORT
    write_bytes(path, "\n".join(part for part in parts if part).encode())
    return path


def _attack(results: Results, attack: str, palette: dict[str, Any]) -> str:
    lines = results.lines(lambda entry: entry.attack == attack and _main(results, entry))
    floor = _floor(lines)
    usual = [line for line in lines if _is_paper(line)]
    parts = [f"## {attack}\n"]
    for protocol in ("direct", "refinetune"):
        shown = [line for line in usual if line.cell["protocol"] in ("none", protocol)]
        if any(line.protocol for line in shown):
            parts.append(f"### Protocol {protocol}\n\n{table(shown)}")
    points = [line for line in usual if line.rows and line.cell["policy"] not in REFERENCES]
    if any(line.values("lfr") for line in points):
        figures.acc_against_lfr(_png(results, "acc-lfr", attack), points, floor, palette)
        parts.append(_image("ACC against LFR; the dashed line is the floor", "acc-lfr", attack))
    parts += [
        _released(lines),
        _taus(results, attack, floor[1], palette),
        _maps(results, attack, usual),
        _heads(results, attack, usual),
        _benign(results, attack),
    ]
    return "\n".join(part for part in parts if part)


def _main(results: Results, entry: Entry) -> bool:
    """Whether a cell belongs into the main tables: the backdoored model at the usual tau.

    What prunes nothing has no tau.
    """
    usual = entry.cell["search"]["tau"] in (None, results.config["search"]["tau"])
    return usual and entry.cell["target"] == "backdoored"


def _is_paper(line: Line) -> bool:
    return bool(line.cell["search"]["variant"] == "paper")


def _is_plain(line: Line) -> bool:
    return bool(line.cell["healing"] == "none") and _is_paper(line)


def _floor(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the mean LFR of the benign models, plain and calibrated; NaN if it is unknown."""
    benign = [line for line in lines if line.cell["policy"] == "benign"]
    plain, calibrated = (
        benign[0].mean(name) if benign else float("nan") for name in ("lfr", "lfr_calibrated")
    )
    return plain, calibrated


def _released(lines: Sequence[Line]) -> str:
    """Return a table of what the published code does, with the paper's definitions beside it."""
    policies = {line.cell["policy"] for line in lines if not _is_paper(line)}
    protocols = {line.cell["protocol"] for line in lines if not _is_paper(line)}
    shown = [
        line
        for line in lines
        if line.cell["policy"] in policies
        and line.cell["protocol"] in protocols
        and line.cell["healing"] == "none"
    ]
    shown.sort(key=lambda line: (line.cell["policy"], line.policy, line.protocol))
    return f"### What the published code does\n\n{table(shown)}" if shown else ""


def _taus(results: Results, attack: str, floor: float, palette: dict[str, Any]) -> str:
    lines = results.lines(
        lambda entry: (
            entry.attack == attack
            and entry.cell["target"] == "backdoored"
            and entry.cell["search"]["tau"] is not None
            and entry.cell["search"]["variant"] == "paper"
            and entry.cell["healing"] == "none"
        )
    )
    series: dict[tuple[str, str], dict[float, Line]] = {}
    for line in lines:
        if line.rows:
            by_tau = series.setdefault((line.policy, line.protocol), {})
            by_tau[line.cell["search"]["tau"]] = line
    series = {name: _same_seeds(by_tau) for name, by_tau in series.items() if len(by_tau) > 1}
    if not series:
        return ""
    figures.lfr_against_tau(_png(results, "lfr-tau", attack), series, floor, palette)
    parts = [
        "### Threshold\n",
        _image("LFR and ACC against tau, on the seeds that all have", "lfr-tau", attack),
    ]
    usual = results.config["search"]["tau"]
    for tau in sorted({tau for by_tau in series.values() for tau in by_tau} - {usual}):
        own = [line for line in lines if line.cell["search"]["tau"] == tau]
        parts.append(f"tau {tau:g}\n\n{table(own)}")
    return "\n".join(parts)


def _same_seeds(by_tau: dict[float, Line]) -> dict[float, Line]:
    """Return the lines with the seeds only that every tau has: others would bend the curve."""
    shared = set.intersection(*({row["seed"] for row in line.rows} for line in by_tau.values()))
    return {
        tau: Line(tuple(entry for entry in line.entries if entry.seed in shared))
        for tau, line in by_tau.items()
        if shared
    }


def _maps(results: Results, attack: str, lines: Sequence[Line]) -> str:
    """Draw the backdoored model, FT, and the defence with the lowest calibrated excess LFR."""
    store = Store(results.folder)
    defences = [line for line in lines if line.contends and line.protocol and line.rows]
    defences = [line for line in defences if line.values("lfr_calibrated")]
    plain = [line for line in lines if not line.protocol]
    chosen = [line for line in plain if line.cell["policy"] in ("backdoored", "ft")]
    chosen += sorted(defences, key=lambda line: line.mean("excess_lfr_calibrated"))[:1]
    models = {}
    for line in chosen:
        entry = next((entry for entry in line.entries if entry.row), None)
        vectors = entry and store.read_embeddings(entry.key)
        if entry and entry.row and vectors:
            lfr = entry.row["lfr"]
            flipped = "" if lfr is None else f", LFR\N{NO-BREAK SPACE}{lfr:.0f}"
            protocol = f" ({line.protocol})" if line.protocol else ""
            models[f"{line.policy}{protocol}, seed {entry.seed}{flipped}"] = vectors
    if not models:
        return ""
    try:
        figures.cls_maps(_png(results, "cls", attack), models)
    except ImportError:
        return "The map of [CLS] needs scikit-learn: `pip install 'prune-env[report]'`.\n"
    return _image("t-SNE of [CLS] before and after", "cls", attack)


def _heads(results: Results, attack: str, lines: Sequence[Line]) -> str:
    masks: dict[str, list[Any]] = {}
    taken: set[tuple[str, int]] = set()
    for line in lines:
        for entry in line.entries:
            found = entry.result and entry.result.get("found")
            if found and line.protocol and (line.policy, entry.seed) not in taken:
                taken.add((line.policy, entry.seed))
                masks.setdefault(line.policy, []).extend(found["masks"])
    shares = {policy: 1 - np.mean(np.array(held), axis=0) for policy, held in masks.items()}
    shares = {policy: share for policy, share in shares.items() if share.any()}
    if not shares:
        return ""
    figures.pruned_heads(_png(results, "heads", attack), shares)
    return _image("Heads pruned by each policy (mean number in brackets)", "heads", attack)


def _benign(results: Results, attack: str) -> str:
    lines = results.lines(
        lambda entry: (
            entry.attack == attack
            and (entry.cell["target"] == "benign" or entry.cell["policy"] == "benign")
        )
    )
    if all(line.cell["policy"] == "benign" for line in lines):
        return ""
    return (
        "### The same defences on the benign model\n\n"
        "A defence must not hurt a model that was never poisoned; its LFR can only fall below the "
        "floor by leaning to the other label.\n\n" + table(lines)
    )


def _cost(results: Results) -> str:
    lines = [line for line in results.lines() if line.protocol and line.rows and _is_plain(line)]
    if not lines:
        return ""
    path = results.folder / "figures" / "cost.png"
    figures.cost(path, lines)
    return f"## Cost\n\n![Masks evaluated and seconds](figures/{path.name})\n"


def _failures(results: Results) -> str:
    if not results.failed:
        return ""
    rows = "".join(
        f"- {entry.name}: {_one_line(entry.result['error'])}\n"
        for entry in results.failed
        if entry.result
    )
    return f"## Failed\n\n{rows}"


def _waiting(results: Results) -> str:
    if not results.waiting:
        return ""
    return "## Not run\n\n" + "".join(f"- {entry.name}\n" for entry in results.waiting)


def _setting(results: Results) -> str:
    """Say what was run, and on which versions and machines."""
    search, models = results.config["search"], results.config["models"]
    metas = [entry.result["meta"] for entry in results.entries if entry.row and entry.result]
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
        for meta in metas
    )
    machines = sorted(
        {f"{m['machine']['device']}, {m['machine']['threads']} threads" for m in metas}
    )
    facts = {
        "data": results.config["data"],
        "model": models["model"],
        "attacker": _training(models["attacker"]),
        "defender": _training(models["defender"]),
        "tau": search["tau"] if search["tau"] is not None else f"FT - {search['max_drop']:g}",
        "heads between two looks at the accuracy": search["prune_step"],
        "budget": f"{search['budget']} masks",
        "versions": "; ".join(versions),
        "commit": ", ".join(sorted({_code(meta) for meta in metas})),
        "machine": "; ".join(machines),
    }
    return "## Setting\n\n" + "".join(f"- {name}: {value}\n" for name, value in facts.items())


def _code(meta: dict[str, Any]) -> str:
    """Return what names the code that made a cell: its commit, or else a hash of its source."""
    if meta["commit"]:
        return str(meta["commit"])
    return f"source {meta['source']}" if meta.get("source") else "unknown"


def _training(settings: dict[str, Any]) -> str:
    return f"{settings['epochs']} epochs, learning rate {settings['learning_rate']:g}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _png(results: Results, kind: str, attack: str) -> Path:
    return results.folder / "figures" / f"{kind}-{attack}.png"


def _image(text: str, kind: str, attack: str) -> str:
    return f"![{text}](figures/{kind}-{attack}.png)\n"
