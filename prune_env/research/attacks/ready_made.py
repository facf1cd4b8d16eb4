"""The backdoored models that environments name: made at first use, then cached.

A subject holds clean data alone; that its model is backdoored is all that it owes to this package.
"""

from collections.abc import Sequence

from prune_env.env.subject import Subject
from prune_env.env.subjects import load_subject
from prune_env.research.attacks.backdoor import cached_demo_model
from prune_env.research.attacks.tiny import HEADS, LAYERS, cached_tiny_model


def minilm_demo(metrics: Sequence[str]) -> Subject:
    """Return the demo's model: MiniLM-L6, backdoored, fine-tuned on clean Rotten Tomatoes."""
    return load_subject(str(cached_demo_model()), "rotten-tomatoes", metrics)


def tiny(
    metrics: Sequence[str], seed: int = 0, layers: int = LAYERS, heads: int = HEADS
) -> Subject:
    """Return a tiny BERT with its planted backdoor."""
    folder = cached_tiny_model(seed=seed, layers=layers, heads=heads)
    return load_subject(str(folder / "classifier"), str(folder / "validation.jsonl"), metrics)
