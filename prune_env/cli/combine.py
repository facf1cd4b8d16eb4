"""`prune-env combine`: weights of rewards, learned on audits of simulated backdoors."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.markup import escape

from prune_env.cli.options import as_it_is, printable_lines, show
from prune_env.errors import SettingsError

if TYPE_CHECKING:
    from prune_env.research.audit import Correlation, Judgement

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Combine:
    """Learn from audits how rewards are to be weighed, and judge it.

    It is judged on audits that were not learned from. The weighted sum is printed as a formula,
    which `--reward` takes. It is fitted so that it ranks masks as the calibrated LFR does (ridge
    regression on ranks). Without --test the sum learned on all but one audit is judged on that one,
    each in turn. A figure says something of unknown triggers only where the family of the trigger
    is in no audit learned from, and in no reward.

    Attributes:
        audits: Run folders of `prune-env audit`, of models whose backdoors are known.
        test: Run folders that are judged, and not learned from.
        rewards: Names, with commas; default: every reward that all audits have computed.
        max_drop: A mask counts as usable if it costs at most this much validation accuracy.
        json: Print JSON.
    """

    audits: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="AUDIT [AUDIT ...]")
    ]
    test: tuple[Path, ...] = ()
    rewards: str | None = None
    max_drop: float = 0.03
    json: bool = False

    def run(self) -> None:
        """Learn, judge, and print."""
        from rich.table import Table

        from prune_env.env.subject import split_names
        from prune_env.research.audit import Results, combine, judge, learnable, shared_rewards
        from prune_env.research.audit.combination import check_max_drop

        check_max_drop(self.max_drop)
        folders = (*self.audits, *self.test)
        if not self.audits:
            raise SettingsError(
                "There is no audit to learn from",
                expected="at least one AUDIT, a run folder of `prune-env audit`",
                actual="none",
            )
        if len(set(map(Path.resolve, folders))) < len(folders):
            raise SettingsError(
                "A combination is judged on audits that it was not learned from",
                expected="each folder named once",
                actual=", ".join(map(str, folders)),
            )
        held = {folder: Results.read(folder / "masks.json") for folder in folders}
        learned = [held[folder] for folder in self.audits]
        if self.rewards is None:
            rewards = shared_rewards(list(held.values()))
        else:
            rewards = tuple(dict.fromkeys(split_names(self.rewards)))
        combination = combine(learned, rewards)
        judged = {}
        for folder in self.test or (self.audits if len(self.audits) > 1 else ()):
            others = [each for each in learned if each is not held[folder]]
            if not any(map(learnable, others)):
                log.warning(
                    "%s is not judged: the LFR of every other audit stays as it is under all masks",
                    folder,
                )
                continue
            judged[folder] = judge(others, held[folder], rewards, max_drop=self.max_drop)
        page = Table(
            title="Rank correlation with the hidden calibrated LFR of audits not learned from"
        )
        page.add_column("audit")
        page.add_column("reward")
        for heading in ("all masks", "at fixed accuracy,\nheads and lean", "usable masks"):
            page.add_column(heading, justify="right", no_wrap=True)
        for folder, each in judged.items():
            for number, (label, cells) in enumerate(_rows(each)):
                page.add_row(as_it_is(str(folder)) if not number else "", label, *cells)
            page.add_section()
        value = {
            "formula": combination.formula,
            "penalty": combination.penalty,
            "learned_from": list(map(str, self.audits)),
            "judged": {str(folder): _plain(each) for folder, each in judged.items()},
        }
        names = ", ".join(map(str, self.audits))
        told = f"Learned from {names} (--reward takes it):\n{combination.formula}"
        show(self.json, value, *([page] if judged else []), escape(printable_lines(told)))


def _rows(judged: "Judgement") -> "list[tuple[str, list[str]]]":
    """Return the rows of an audit: what each is, and its correlations."""

    def cells(found: "dict[str, Correlation | None]") -> list[str]:
        shown = (str(found[column] or "-") for column in ("calibrated", "all", "usable"))
        return [cell.replace(" [", "\n[") for cell in shown]

    return [
        ("[bold]combination[/]", cells(judged.correlations)),
        (f"{escape(printable_lines(judged.alone))}\n(best where learned)", cells(judged.of_alone)),
        (f"{escape(printable_lines(judged.best))}\n(best in hindsight)", cells(judged.of_best)),
    ]


def _plain(judged: "Judgement") -> dict[str, object]:
    plain = asdict(judged)
    return {**plain, "combination": judged.combination.formula}
