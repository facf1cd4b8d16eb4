"""`python -m prune_env`: the program `prune-env`."""

import sys

from prune_env.cli import main

if __name__ == "__main__":
    sys.exit(main())
