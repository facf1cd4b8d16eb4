"""Rewards that were tried, and that the audit found blind to backdoors (docs/audit.md).

A purification that climbs a mixture of them was no better than one without. They stay reachable by
name, for `audit`, `combine` and comparisons; none is a default. They lie here and not in
`prune_env.research`, since they see no trigger, and since the table of rewards would then have to
name `research` in strings: a second way there for something that defends.
"""
