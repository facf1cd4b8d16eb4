"""`prune-env list`: everything that is chosen by name."""

from dataclasses import dataclass
from typing import Literal

from prune_env.cli.options import show

Kind = Literal[
    "policies", "rewards", "metrics", "triggers", "attacks", "datasets", "models", "environments"
]


@dataclass(frozen=True)
class List:
    """Describe everything that is chosen by name.

    Policies, rewards, metrics, triggers, attacks, data sets, models, environments.

    Attributes:
        kind: Show only this kind.
        json: Print JSON.
    """

    kind: Kind | None = None
    json: bool = False

    def run(self) -> None:
        """Print the names."""
        from rich.table import Table

        tables = {
            kind: entries
            for kind, entries in names().items()
            if self.kind is None or kind == self.kind
        }
        out = Table.grid(padding=(0, 2))
        out.add_column(no_wrap=True)
        out.add_column()
        for kind, entries in tables.items():
            out.add_row(f"[bold]{kind}[/]", "")
            for name, help_line in entries.items():
                out.add_row(f"  {name}", help_line)
        show(self.json, tables, out)


def names() -> dict[str, dict[str, str]]:
    """Return kind -> name -> line of help."""
    from prune_env.data.loading import DATASETS
    from prune_env.env.policy import POLICIES
    from prune_env.env.registration import ENVIRONMENTS
    from prune_env.env.rewards.reward import REWARDS
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
    }
    return {
        kind: {entry.name: entry.help for entry in registry}
        for kind, registry in registries.items()
    }
