"""`report.md` of a run folder, with its figures."""

from collections.abc import Sequence
from pathlib import Path

from prune_env.errors import StateError
from prune_env.research.benchmark import pictures
from prune_env.research.benchmark.cell import REFERENCES
from prune_env.research.benchmark.marks import marks
from prune_env.research.benchmark.pictures import Palette, is_paper
from prune_env.research.benchmark.results import RunResults, read_results
from prune_env.research.benchmark.summary import CellOutcome, Line
from prune_env.research.benchmark.table import table
from prune_env.research.benchmark.table_files import write_tables
from prune_env.settings import FineTuneSettings
from prune_env.utils.counts import count_of
from prune_env.utils.escape import markdown
from prune_env.utils.files import write_bytes

REPORT = "report.md"
LEGEND = """
Figures are percent, mean ± standard deviation over seeds (each seed has its own models). *floor*:
LFR of the benign model of the same seed; *excess* = LFR - floor; *cal*: with the decision
threshold shifted so that on clean validation data the target label is predicted as often as it
occurs, which takes away what a mere lean to another label gains. *excess cal, treated*: against
the benign model of the same seed under the same defence, on the same rows, in place of the
untreated one: a defence may move the floor itself; on the seeds for which that was run. *pruned*:
heads; *evals*: masks whose validation accuracy was computed; *time*: of search and protocol
together.

**Bold**: the best defence of the table, where it is better than the next by more than noise: by a
paired t-test over seeds (p < 0.05) *and* by more than 1.96 standard errors of a difference between
two shares of this many test rows. No bold figure in a column means that the best is not told
apart from the next. Lines in *italics* are no defences: references, and oracles, which read the
triggered test rows and show how low a mask of heads can go.
"""


def write_report(folder: str | Path) -> Path:
    """Write `report.md`, figures and tables into a run folder, from the cells that are there.

    Args:
        folder: Run folder of `prune-env benchmark`; the run may still be going on.

    Returns:
        Path of the report.

    Raises:
        StateError: It is no run folder, or no cell has ended yet.
    """
    folder = Path(folder)
    results = read_results(folder)
    for part in filter(Path.is_symlink, (folder / "tables", folder / "figures")):
        raise StateError(
            f"{part} is a link",
            expected="a folder of the run, in which files are written",
            remedy="remove the link",
        )
    for part in (folder / "tables", folder / "figures"):
        if part.exists() and not part.is_dir():
            raise StateError(
                f"{part} is a file", expected="a folder, or nothing", remedy="move it away"
            )
    if not results.done and not results.failed:
        raise StateError(
            f"No cell in {folder} has ended",
            remedy="wait for the first, or run `prune-env benchmark` with this --out again"
            + ", or see its logs folder" * (folder / "logs").is_dir(),
        )
    policies = {line.policy for line in results.lines() if line.cell.policy not in REFERENCES}
    palette = marks(sorted(policies, key=lambda name: ("(" in name, name)))
    parts = [
        f"# {markdown(results.config.title)}\n",
        f"{len(results.done):,} of {count_of(len(results.cells), 'cell')} done, "
        f"{len(results.failed):,} failed, {len(results.waiting):,} not run.\n",
        LEGEND,
    ]
    shown = {each.attack for each in results.done}
    parts += [_attack(results, attack, palette) for attack in results.attacks if attack in shown]
    parts += [pictures.cost(results), _failures(results), _waiting(results), _setting(results)]
    path = folder / REPORT
    write_bytes(path, "\n".join(part for part in parts if part).encode())
    return path


def _attack(results: RunResults, attack: str, palette: Palette) -> str:
    lines = results.lines(lambda each: each.attack == attack and _is_usual(results, each))
    usual = [line for line in lines if is_paper(line)]
    parts = [f"## {markdown(attack)}\n", _texts(results, attack)]
    used = {line.cell.protocol for line in usual} - {"none"}
    for protocol in sorted(used):
        shown = [line for line in usual if line.cell.protocol in ("none", protocol)]
        parts.append(f"### Protocol {protocol}\n\n{table(shown)}")
    if not used and usual:
        parts.append(table(usual))
    every = results.lines(lambda each: each.attack == attack)
    files = write_tables(results.folder / "tables", results.stems[attack], usual, every)
    parts += [
        "The tables of this attack as "
        + " and ".join(f"[{path.suffix[1:]}](tables/{path.name})" for path in files)
        + ".\n",
        pictures.acc_lfr(results, attack, usual, palette),
        _published_code(lines),
        _thresholds(results, attack, pictures.floors(lines)[1], palette),
        pictures.cls_maps(results, attack, usual),
        pictures.pruned_heads(results, attack, usual),
        _benign(results, attack),
    ]
    return "\n".join(part for part in parts if part)


def _texts(results: RunResults, attack: str) -> str:
    """Say where an attack's texts are from, and how strong it is."""
    records = (each.record for each in results.done if each.attack == attack)
    notes = {each.attack for each in records if each is not None and each.attack is not None}
    return "".join(
        f"{f'Texts from {markdown(note.files)}' if note.files else 'Triggers put in by its rule'}; "
        f"target label {markdown(str(note.target_label))}, "
        f"rate {'unknown' if note.rate is None else f'{note.rate:.2f}'}.\n"
        for note in sorted(notes, key=str)
    )


def _is_usual(results: RunResults, outcome: CellOutcome) -> bool:
    """Whether a cell belongs into the main tables: the backdoored model at the usual tau.

    What prunes nothing has no tau.
    """
    taus = (None, results.usual_tau)
    return outcome.cell.search.tau in taus and outcome.cell.target == "backdoored"


def _thresholds(results: RunResults, attack: str, floor: float, palette: Palette) -> str:
    """Return a figure over all thresholds, and a table for every one that is not the usual one."""
    lines = results.lines(
        lambda each: (
            each.attack == attack
            and each.cell.target == "backdoored"
            and not _is_usual(results, each)
        )
    )
    taus = sorted({line.cell.search.tau for line in lines}, key=_order)
    parts = [pictures.taus(results, attack, floor, palette)]
    parts += [
        f"{_tau(results, tau)}\n\n" + table([line for line in lines if line.cell.search.tau == tau])
        for tau in taus
    ]
    shown = "\n".join(part for part in parts if part)
    return f"### Threshold\n\n{shown}" if shown else ""


def _tau(results: RunResults, tau: float | None) -> str:
    """Return a threshold in words."""
    return f"FT - {results.config.search.max_drop:g}" if tau is None else f"tau {tau:g}"


def _published_code(lines: Sequence[Line]) -> str:
    """Return a table of what the published code does, with the paper's definitions beside it."""
    policies = {line.cell.policy for line in lines if not is_paper(line)}
    protocols = {line.cell.protocol for line in lines if not is_paper(line)}
    shown = [
        line
        for line in lines
        if line.cell.policy in policies
        and line.cell.protocol in protocols
        and line.cell.healing == "none"
    ]
    shown.sort(key=lambda line: (line.cell.policy, line.policy, line.protocol))
    return f"### What the published code does\n\n{table(shown)}" if shown else ""


def _benign(results: RunResults, attack: str) -> str:
    lines = results.lines(
        lambda each: (
            each.attack == attack and (each.cell.target == "benign" or each.cell.policy == "benign")
        )
    )
    if all(line.cell.policy == "benign" for line in lines):
        return ""
    taus = sorted({line.cell.search.tau for line in lines if line.cell.prunes}, key=_order)
    if len(taus) > 1:  # what prunes nothing has no threshold, and stands in every table
        shown = "\n".join(
            f"{_tau(results, tau)}\n\n"
            + table([line for line in lines if not line.cell.prunes or line.cell.search.tau == tau])
            for tau in taus
        )
    else:
        shown = table(lines)
    return (
        "### The same defences on the benign model\n\n"
        "A defence must not hurt a model that was never poisoned; its LFR can only fall below the "
        "floor by leaning to another label.\n\n" + shown
    )


def _order(tau: float | None) -> float:
    return tau or 0.0


def _failures(results: RunResults) -> str:
    rows = "".join(
        f"- {markdown(each.name)}: {markdown(each.record.error, 300)}\n"
        for each in results.failed
        if each.record is not None
    )
    return f"## Failed\n\n{rows}" if rows else ""


def _waiting(results: RunResults) -> str:
    rows = "".join(f"- {markdown(each.name)}\n" for each in results.waiting)
    return f"## Not run\n\n{rows}" if rows else ""


def _setting(results: RunResults) -> str:
    """Say what was run, and on which versions and machines."""
    search, models = results.config.search, results.config.models
    made_by = [each.record.made_by for each in results.done if each.record is not None]
    known = [each for each in made_by if each is not None]
    facts = {
        "data": results.config.data,
        **_rows(results),
        "model": models.model,
        "attacker": _training(models.attacker),
        "defender": _training(models.defender),
        "tau": _tau(results, results.usual_tau).removeprefix("tau "),
        "heads between two looks at the accuracy": search.prune_step,
        "budget": count_of(search.budget, "mask"),
        "versions": "; ".join(dict.fromkeys(each.versions for each in known)),
        "commit": ", ".join(sorted({each.code for each in known})),
        "machine": "; ".join(sorted({each.machine for each in known})),
    }
    return "## Setting\n\n" + "".join(
        f"- {name}: {markdown(str(value))}\n" for name, value in facts.items()
    )


def _rows(results: RunResults) -> dict[str, str]:
    """Return how many rows the data has, where the plan tells, and how many are trained on."""
    rows, drawn = results.plan.rows, results.config.models.train_sentences
    if rows is None:
        return {}
    train = f"{drawn:,} of {rows.train:,}" if 0 < drawn < rows.train else f"{rows.train:,}"
    told = f"{train} to train on, {rows.validation:,} for validation, {rows.test:,} for the test"
    return {"rows": told}


def _training(settings: FineTuneSettings) -> str:
    return f"{count_of(settings.epochs, 'epoch')}, learning rate {settings.learning_rate:g}"
