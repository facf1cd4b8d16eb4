"""`prune-env inspect`: what a model folder holds, and what is suspicious about it."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from prune_env.cli.options import as_it_is, facts, show
from prune_env.utils.counts import count_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from prune_env.models import SourceReport

Verdict = Literal["loadable", "suspicious", "unreadable"]
STATUS: dict[Verdict, int] = {"loadable": 0, "suspicious": 1, "unreadable": 2}
MEANING: dict[Verdict, str] = {
    "loadable": "no file here can run code; whether the model holds a backdoor, files cannot tell",
    "suspicious": "a file here could run code or reach the network: do not load it",
    "unreadable": "this is no model that could be loaded",
}


@dataclass(frozen=True)
class Inspect:
    """Describe the files of a model, and whether one could run code.

    No weight is loaded into a model. Of an ensemble every model in it is described and judged.
    Files are judged, never a backdoor: whether the model holds one, files cannot tell.

    Exit status: 0 loadable, no file here can run code; 1 suspicious, it could run code or
    reach the network; 2 unreadable: missing, incomplete, damaged, or of an unsupported type.

    Attributes:
        model: Folder of a model, or a name from `prune-env list`.
        allow_download: Fetch MODEL from the Hugging Face Hub if it is no folder (safetensors only,
            no code).
        json: Print JSON.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    allow_download: bool = False
    json: bool = False

    @property
    def online(self) -> bool:
        """Whether libraries may reach for the network."""
        return self.allow_download

    def run(self) -> int:
        """Print the report and return the exit status."""
        from prune_env.models import find_source, inspect_source

        report = inspect_source(find_source(self.model, allow_download=self.allow_download))
        verdict: Verdict = "loadable"
        if report.problems:
            verdict = "suspicious" if report.unsafe else "unreadable"
        value = {**asdict(report), "path": str(report.path), "verdict": verdict}
        show(self.json, value, *_pages(report, verdict))
        return STATUS[verdict]


def _pages(report: "SourceReport", verdict: Verdict) -> "list[RenderableType]":
    from rich import box
    from rich.table import Table

    shape = "unknown"
    if report.shape is not None:
        layers, heads = report.shape
        shape = f"{count_of(layers, 'layer')} x {count_of(heads, 'head')}"
    head = facts(
        [
            ("model", str(report.path)),
            *([] if report.members is None else [("ensemble", count_of(report.members, "member"))]),
            ("type", report.model_type),
            ("architecture", report.architecture),
            ("heads", shape),
            ("SHA-256", report.sha256),
            ("files", f"{verdict}: {MEANING[verdict]}"),
        ]
    )
    files = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    files.add_column("file", overflow="fold")
    files.add_column("bytes", justify="right", no_wrap=True)
    files.add_column("SHA-256", overflow="fold")
    for file in report.files:
        files.add_row(as_it_is(file.name), f"{file.size:,}", file.sha256)
    problems = [as_it_is(f"problem: {text}", "red") for text in report.problems]
    notes = [as_it_is(f"note: {text}", "yellow") for text in report.notes]
    return [head, files, *problems, *notes]
