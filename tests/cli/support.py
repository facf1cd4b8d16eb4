"""How the tests call the command line."""

from prune_env.cli import main

TUNING = ["--epochs", "1", "--importance-sentences", "16", "--precision", "fp32"]
FAST = [*TUNING, "--max-drop", "0.1", "--healing", "none"]


def run(*arguments: object) -> int:
    """Return the exit status of `prune-env` with these arguments."""
    return main([str(argument) for argument in arguments])
