"""How a purified model is written: zeroed, sliced, as an ensemble, in ONNX besides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune_env.models import LoadedModel, Mask, write_sliced, write_zeroed
from prune_env.models.ensemble import write_ensemble
from prune_env.models.onnx import write_onnx
from prune_env.settings import Export


def write_purified(
    purified: LoadedModel,
    masks: tuple[Mask, ...],
    folder: Path,
    *,
    export: Export,
    onnx: bool,
    facts: Mapping[str, Any],
    oracle: bool = False,
) -> None:
    """Write the purified model into an existing folder.

    Args:
        purified: What `heal` returned.
        masks: Bool (L, H) each, True = kept; several are those of an ensemble.
        folder: Where to.
        export: Form of the weights.
        onnx: Write `model.onnx`, of the same form, too.
        facts: What the model card says besides the model.
        oracle: Whether the trigger itself chose the mask, which `mask.json` then says; nothing
            chooses the masks of an ensemble so.

    Raises:
        ModelError: The model holds NaN or Inf, or cannot be written in this form.
    """
    if len(masks) > 1:
        write_ensemble(purified, folder, facts)
        return
    write = write_sliced if export == "sliced" else write_zeroed
    write(purified, masks[0], folder, facts, oracle=oracle)
    if onnx:
        write_onnx(purified, masks[0], folder / "model.onnx", sliced=export == "sliced")
