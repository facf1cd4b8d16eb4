"""Metrics read off the weights; they look at no sentence."""

import numpy as np
import numpy.typing as npt
import torch

from prune_env.errors import SettingsError
from prune_env.importance.probe import Probe
from prune_env.models.heads import LayerHeads, Projection, find_heads


def magnitude(probe: Probe) -> npt.NDArray[np.float64]:
    """Frobenius norm of each head's value rows and output-projection columns together.

    These two decide what a head can add to the residual stream; biases are left out. AUBER (2021)
    scores heads by the value weights alone.
    """
    result = np.zeros(probe.heads.shape)
    for layer in probe.heads.layers:
        squares = _row_squares(layer, layer.value) + _output_squares(layer.output_weight())
        result[layer.index, : layer.num_heads] = squares.sqrt().cpu().numpy()
    return result


def distance(probe: Probe) -> npt.NDArray[np.float64]:
    """Frobenius norm of how far each head's weights are from those of the reference encoder.

    Query, key and value rows and output-projection columns together. With the suspicious encoder
    as the reference this is how much clean fine-tuning moved the head. Low = fine-tuning left the
    head as the attacker made it.

    Raises:
        SettingsError: No reference encoder was given, or it has other heads.
    """
    if probe.reference_encoder is None:
        raise SettingsError(
            "The metric 'distance' compares with the encoder before fine-tuning",
            expected="reference_encoder",
            actual=None,
            remedy="pass the suspicious encoder as reference_encoder, or drop the metric",
        )
    reference = find_heads(probe.reference_encoder)
    result = np.zeros(probe.heads.shape)
    for layer, other in zip(probe.heads.layers, reference.layers, strict=False):
        if reference.shape != probe.heads.shape or layer.head_dim != other.head_dim:
            raise SettingsError(
                "The reference encoder has other heads than the model",
                expected=f"{probe.heads.shape} heads of width {layer.head_dim}",
                actual=f"{reference.shape} heads of width {other.head_dim}",
                remedy="pass the encoder that this model was fine-tuned from",
            )
        moved = layer.output_weight() - other.output_weight().to(layer.output_weight())
        squares = _output_squares(moved)
        for mine, theirs in (
            (layer.query, other.query),
            (layer.key, other.key),
            (layer.value, other.value),
        ):
            squares += _row_squares(layer, mine, theirs)
        result[layer.index, : layer.num_heads] = squares.sqrt().cpu().numpy()
    return result


def _row_squares(
    layer: LayerHeads, part: Projection, other: Projection | None = None
) -> torch.Tensor:
    """Return the summed squares (num_heads,) of each head's rows, less another model's rows."""
    rows = part.weight().detach().double()
    if other is not None:
        rows = rows - other.weight().detach().to(rows)
    squares: torch.Tensor = rows.unflatten(0, (-1, layer.head_dim)).square().sum((1, 2))
    owners = [head * len(squares) // layer.num_heads for head in range(layer.num_heads)]
    return squares[owners]


def _output_squares(weight: torch.Tensor) -> torch.Tensor:
    """Return the summed squares (num_heads,) of output columns (out_features, heads, head_dim)."""
    squares: torch.Tensor = weight.detach().double().square().sum((0, 2))
    return squares
