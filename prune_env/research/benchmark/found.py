"""What a search found, as the JSON that cells and kept masks hold."""

from typing import Any

import numpy as np

from prune_env.purification import SearchResult


def found_to_json(found: SearchResult) -> dict[str, Any]:
    """Return a search result as JSON values; masks are lists of 0 and 1."""
    return {
        "policy": found.policy,
        "masks": [mask.astype(int).tolist() for mask in found.masks],
        "accuracy": found.accuracy,
        "tau": found.tau,
        "evaluations": found.evaluations,
        "seconds": found.seconds,
        **({"agent": found.agent} if found.agent else {}),
    }


def found_from_json(value: dict[str, Any]) -> SearchResult:
    """Return the search result that `found_to_json` described."""
    first, *others = (np.array(mask, dtype=bool) for mask in value["masks"])
    rest = {name: value[name] for name in ("policy", "accuracy", "tau", "evaluations", "seconds")}
    agent = value.get("agent", {})
    if not isinstance(agent, dict):
        raise TypeError(f"agent: {agent!r:.80}")
    return SearchResult(mask=first, others=tuple(others), agent=agent, **rest)
