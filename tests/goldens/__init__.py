"""What must not change while the package is rebuilt: written by `make.py`, compared by the tests.

Only public names are used (the command line, `prune_env`, `prune_env.agents`,
`prune_env.baselines`, ids of environments, and the imports that the documents show); the one
exception is `internal.py`.
"""
