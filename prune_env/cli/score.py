"""`prune-env score`: how well a policy, an agent or masks do on a frozen suite."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from prune_env.cli.options import MachineOptions, as_it_is, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from prune_env.research.score.scoring import ScoreReport
    from prune_env.research.score.statistics import Estimate


@dataclass(frozen=True)
class Score:
    """Score a policy or an agent on a frozen suite of games.

    ENTRANT is the name of a policy; the folder of a trained agent; or a folder with `masks.json`,
    a mask for each game and seed, as this verb writes it into OUT. Every score is computed from the
    masks alone: 0 is random play, 1 an oracle that searches the scored value itself, 60 times as
    long. `return` is of the reward; `hidden` is of the calibrated LFR, which no player sees. Nobody
    gets more masks answered than a game's budget. Each figure is the interquartile mean over games
    and seeds, with a bootstrap interval (95 %).

    Attributes:
        entrant: Who is scored.
        suite: Version of the suite.
        tiers: Parts of the suite; default: all but `minilm`, which takes hours.
        out: Also write `score.json` and `masks.json` there. The same command goes on with what is
            there, after a kill too.
        json: Print JSON.
        machine: What of the machine it may use.
    """

    entrant: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ENTRANT")]
    suite: str = "v3"
    tiers: str | None = None
    out: Path | None = None
    json: bool = False
    machine: MachineOptions = field(default_factory=MachineOptions)

    def run(self) -> None:
        """Play what is not played yet, and print the scores."""
        from prune_env.env.subject import split_names
        from prune_env.research.score.entrant import find_entrant
        from prune_env.research.score.scoring import score
        from prune_env.research.score.suite import read_suite
        from prune_env.utils.full_disk import disk_told

        suite = read_suite(self.suite)
        tiers = suite.quick if self.tiers is None else split_names(self.tiers)
        entrant = find_entrant(self.entrant, suite)
        kept = "Games that are played stay; the same command goes on."
        with nullcontext() if self.out is None else disk_told(self.out, lambda: kept):
            report = score(entrant, suite, tiers, self.out)
        show(self.json, report.plain(), _page(report))


def _page(report: "ScoreReport") -> "RenderableType":
    """Return the table of tiers for a terminal."""
    from rich.table import Table

    page = Table(title=as_it_is(f"{report.name} on suite {report.suite}"))
    page.add_column("tier")
    for name in ("return", "hidden", "masks asked", "runs"):
        page.add_column(name, justify="right", no_wrap=True)
    for tier, told in report.tiers.items():
        asked = "" if told.evaluations is None else f"{told.evaluations:.0f}"
        page.add_row(
            tier, _told(told.return_score), _told(told.hidden_score), asked, str(told.runs)
        )
    return page


def _told(value: "Estimate | None") -> str:
    if value is None:
        return ""
    return f"{value.mean:z.2f} ({value.low:z.2f} to {value.high:z.2f})"
