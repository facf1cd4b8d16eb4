"""The program `prune-env`: one file per verb, one dataclass per verb, tyro makes the options."""

from prune_env.cli.main import main

__all__ = ["main"]
