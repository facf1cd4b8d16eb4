"""Transformers surgery, independent of Gymnasium: loading, heads, gates, export.

Names are imported at first use, so that masks can be read without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune_env.models.catalog import MODELS, find_source
    from prune_env.models.export import save_zeroed, zero_heads
    from prune_env.models.gates import HeadGates, check_gates
    from prune_env.models.heads import HeadMap, LayerHeads, Projection, find_heads
    from prune_env.models.inspection import FileInfo, SourceReport, inspect_source
    from prune_env.models.loading import LoadedModel, load_classifier
    from prune_env.models.masks import Mask, full_mask, load_mask, save_mask, validate_mask

_HOMES = {
    "MODELS": "catalog",
    "FileInfo": "inspection",
    "HeadGates": "gates",
    "HeadMap": "heads",
    "LayerHeads": "heads",
    "LoadedModel": "loading",
    "Mask": "masks",
    "Projection": "heads",
    "SourceReport": "inspection",
    "check_gates": "gates",
    "find_heads": "heads",
    "find_source": "catalog",
    "full_mask": "masks",
    "inspect_source": "inspection",
    "load_classifier": "loading",
    "load_mask": "masks",
    "save_mask": "masks",
    "save_zeroed": "export",
    "validate_mask": "masks",
    "zero_heads": "export",
}

__all__ = [
    "MODELS",
    "FileInfo",
    "HeadGates",
    "HeadMap",
    "LayerHeads",
    "LoadedModel",
    "Mask",
    "Projection",
    "SourceReport",
    "check_gates",
    "find_heads",
    "find_source",
    "full_mask",
    "inspect_source",
    "load_classifier",
    "load_mask",
    "save_mask",
    "save_zeroed",
    "validate_mask",
    "zero_heads",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
