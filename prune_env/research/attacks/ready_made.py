"""The backdoored models that environments name: made at first use, then cached.

A subject holds clean data alone; that its model is backdoored is all that it owes to this package.
"""

from collections.abc import Sequence

from prune_env.env.subject import Subject
from prune_env.env.subjects import load_subject
from prune_env.research.attacks.backdoor import cached_demo_model
from prune_env.research.attacks.tiny import cached_tiny_model


def minilm_demo(metrics: Sequence[str]) -> Subject:
    """Return the demo's model: MiniLM-L6, backdoored, fine-tuned on clean Rotten Tomatoes."""
    return load_subject(str(cached_demo_model()), "rotten-tomatoes", metrics)


def tiny(metrics: Sequence[str]) -> Subject:
    """Return the tiny BERT with its planted backdoor."""
    folder = cached_tiny_model()
    return load_subject(str(folder / "classifier"), str(folder / "validation.jsonl"), metrics)
