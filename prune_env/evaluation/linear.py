"""Linear maps made ready for one precision, with what follows them in the same pass."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# What oneDNN computes while the product is still in registers, by activation: name and variant.
_FUSED_ACTIVATIONS = {"GELU": ("gelu", "none"), "GELUActivation": ("gelu", "none")}


class LinearMap:
    """`x W^T + b` with W in the given precision.

    On a CPU the weight is laid out once as oneDNN wants it, and the activation is computed in the
    same pass; everywhere else it is torch's own linear. oneDNN serves float32 too: the library that
    torch takes for it may be tuned for processors of its own maker only.

    Args:
        weight: (out, in).
        bias: (out,) or None.
        dtype: Precision of weight, input and output.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        self._bias = None if bias is None else bias.to(dtype)
        self._weight = weight.to(dtype)
        known = weight.device.type == "cpu" and dtype in (torch.bfloat16, torch.float32)
        self._fused = _fused_ops() if known else None
        if self._fused is not None:
            self._weight = self._fused._reorder_linear_weight(self._weight.contiguous(), _ROWS)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., out) of (..., in)."""
        if self._fused is not None:
            return self._pointwise(x, "none", "")
        return F.linear(x, self._weight, self._bias)

    def activated(
        self, x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return the activation of the map."""
        known = _FUSED_ACTIVATIONS.get(type(activation).__name__)
        if self._fused is not None and known is not None:
            return self._pointwise(x, *known)
        return activation(self(x))

    def plus(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Return the map plus a residual (..., out)."""
        return self(x).add_(residual)

    def _pointwise(self, x: torch.Tensor, name: str, variant: str) -> torch.Tensor:
        assert self._fused is not None
        output: torch.Tensor = self._fused._linear_pointwise(
            x, self._weight, self._bias, name, [], variant
        )
        return output


_ROWS = 1024  # a hint to oneDNN: about how many rows a product will have


def _fused_ops() -> Any:
    """Return torch's oneDNN operators, or None where this build has none."""
    if not torch.backends.mkldnn.is_available():
        return None
    ops = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return ops if all(hasattr(ops, name) for name in names) else None


def layer_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Normalise rows in the precision of `x`."""
    return F.layer_norm(
        x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps
    )
