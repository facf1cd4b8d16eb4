"""How the tests call the command line."""

from prune_env.cli import main

TUNING = ["--epochs", "1", "--importance-sentences", "16", "--precision", "fp32"]
# Tiny models answer what they like, a constant too, which no other guard lets pass.
FAST = [*TUNING, "--max-drop", "0.1", "--healing", "none", "--guard", "accuracy"]


def run(*arguments: object) -> int:
    """Return the exit status of `prune-env` with these arguments."""
    return main([str(argument) for argument in arguments])
