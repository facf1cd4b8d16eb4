"""Transformers surgery, independent of Gymnasium: loading, heads, gates, export.

Names are imported at first use, so that masks can be read without importing torch.
"""

from typing import TYPE_CHECKING

from prune_env.utils.lazy import lazy_names

if TYPE_CHECKING:
    from prune_env.models.card import model_card
    from prune_env.models.catalog import MODELS, find_source
    from prune_env.models.export import (
        load_pruned,
        write_sliced,
        write_zeroed,
    )
    from prune_env.models.gates import HeadGates, check_gates
    from prune_env.models.heads import HeadMap, LayerHeads, Projection, find_heads
    from prune_env.models.inspection import FileInfo, SourceReport, inspect_source
    from prune_env.models.loading import LoadedModel, head_shape, load_classifier
    from prune_env.models.masks import Mask, full_mask, load_mask, save_mask, validate_mask
    from prune_env.models.pruning import LayerCut, slice_heads, zero_heads
    from prune_env.models.source import is_sliced

_HOMES = {
    "MODELS": "catalog",
    "FileInfo": "inspection",
    "HeadGates": "gates",
    "HeadMap": "heads",
    "LayerCut": "pruning",
    "LayerHeads": "heads",
    "LoadedModel": "loading",
    "Mask": "masks",
    "Projection": "heads",
    "SourceReport": "inspection",
    "check_gates": "gates",
    "find_heads": "heads",
    "find_source": "catalog",
    "full_mask": "masks",
    "head_shape": "loading",
    "inspect_source": "inspection",
    "is_sliced": "source",
    "load_classifier": "loading",
    "load_mask": "masks",
    "load_pruned": "export",
    "model_card": "card",
    "save_mask": "masks",
    "slice_heads": "pruning",
    "validate_mask": "masks",
    "write_sliced": "export",
    "write_zeroed": "export",
    "zero_heads": "pruning",
}

__all__ = [
    "MODELS",
    "FileInfo",
    "HeadGates",
    "HeadMap",
    "LayerCut",
    "LayerHeads",
    "LoadedModel",
    "Mask",
    "Projection",
    "SourceReport",
    "check_gates",
    "find_heads",
    "find_source",
    "full_mask",
    "head_shape",
    "inspect_source",
    "is_sliced",
    "load_classifier",
    "load_mask",
    "load_pruned",
    "model_card",
    "save_mask",
    "slice_heads",
    "validate_mask",
    "write_sliced",
    "write_zeroed",
    "zero_heads",
]


if not TYPE_CHECKING:  # or type checkers would take every misspelt name
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
