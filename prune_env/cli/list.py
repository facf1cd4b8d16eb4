"""`prune-env list`: everything that is chosen by name."""

from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

from rich.markup import escape

from prune_env.cli.options import make_console, show

Kind = Literal[
    "policies",
    "rewards",
    "metrics",
    "triggers",
    "attacks",
    "datasets",
    "models",
    "environments",
    "ready-made",
    "observations",
]


@dataclass(frozen=True)
class List:
    """Describe everything that is chosen by name.

    Policies, rewards, importance metrics, triggers, attacks, data sets, models to attack or purify,
    environments, the ready-made models that an environment plays, and what an agent may observe.

    Attributes:
        kind: Show only this kind: policies, rewards, metrics, triggers, attacks, datasets, models,
            environments, ready-made or observations.
        json: Print JSON.
    """

    kind: Kind | None = None
    json: bool = False

    def run(self) -> None:
        """Print the names."""
        tables = {
            kind: entries
            for kind, entries in names().items()
            if self.kind is None or kind == self.kind
        }
        show(self.json, tables, _page(tables))


def _page(tables: dict[str, dict[str, str]]) -> str:
    """Return the names in two columns, for the width of the terminal."""
    page = make_console()
    widest = max(len(name) for entries in tables.values() for name in entries)
    lines = []
    for kind, entries in tables.items():
        lines.append(f"[bold]{kind}[/]")
        for name, told in entries.items():
            first, *others = wrap(escape(told), max(page.width - widest - 5, 20)) or [""]
            lines.append(f"  {name:<{widest}}  {first}")
            lines += [f"{'':<{widest + 4}}{each}" for each in others]
    return "\n".join(line.rstrip() for line in lines)


def names() -> dict[str, dict[str, str]]:
    """Return kind -> name -> line of help."""
    from prune_env.data.loading import DATASETS
    from prune_env.env.observation import OBSERVATIONS
    from prune_env.env.policy import POLICIES
    from prune_env.env.registration import ENVIRONMENTS
    from prune_env.env.rewards.reward import REWARDS
    from prune_env.env.subjects import SUBJECTS
    from prune_env.importance import METRICS
    from prune_env.models.catalog import MODELS
    from prune_env.research.attacks import ATTACKS, TRIGGERS

    registries = {
        "policies": POLICIES,
        "rewards": REWARDS,
        "metrics": METRICS,
        "triggers": TRIGGERS,
        "attacks": ATTACKS,
        "datasets": DATASETS,
        "models": MODELS,
        "environments": ENVIRONMENTS,
        "ready-made": SUBJECTS,
        "observations": OBSERVATIONS,
    }
    return {
        kind: {entry.name: entry.help for entry in registry}
        for kind, registry in registries.items()
    }
