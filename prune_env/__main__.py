"""`python -m prune_env`, or `prune-env`: the program."""

import sys


def start() -> int:
    """Run the program and return its exit status; Ctrl-C counts from the first moment."""
    try:
        from prune_env.cli import main  # noqa: PLC0415 - takes a second on a slow machine
    except KeyboardInterrupt:
        print("Interrupted: nothing half written was left.", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(start())
