"""Metrics read off the weights; they look at no sentence."""

import numpy as np
import numpy.typing as npt
import torch

from prune_env.importance.probe import Probe
from prune_env.models.heads import LayerHeads, Projection


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


def _row_squares(layer: LayerHeads, part: Projection) -> torch.Tensor:
    """Return the summed squares (num_heads,) of each head's rows."""
    rows = part.weight().detach().double()
    squares: torch.Tensor = rows.unflatten(0, (-1, layer.head_dim)).square().sum((1, 2))
    owners = [head * len(squares) // layer.num_heads for head in range(layer.num_heads)]
    return squares[owners]


def _output_squares(weight: torch.Tensor) -> torch.Tensor:
    """Return the summed squares (num_heads,) of output columns (out_features, heads, head_dim)."""
    squares: torch.Tensor = weight.detach().double().square().sum((0, 2))
    return squares
