"""Gates: switching heads off, or scaling them, without touching any weight."""

from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from prune_env.errors import GET_AGAIN, ModelError, SettingsError, UnsupportedModelError
from prune_env.models.heads import HeadMap, LayerHeads, find_heads


class HeadGates:
    """Multiplies every head's output by a gate, in front of the attention's output projection.

    A forward pre-hook on the projection does it, which is exact under every attention
    implementation; `head_mask` is silently ignored by transformers 5. A gate of 0 prunes the head,
    and dL/dgate is the sensitivity of Michel et al. (2019), "Are Sixteen Heads Really Better than
    One?", equation 2.

    Args:
        model: A transformers model.
        heads: Its heads; found by `find_heads` if None.

    Example:
        >>> from transformers import BertConfig, BertModel
        >>> model = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                              intermediate_size=8, vocab_size=5)).eval()
        >>> words = torch.tensor([[1, 2, 3]])
        >>> with HeadGates(model) as gates:
        ...     gates.set(np.array([[True, False]]))
        ...     pruned = model(words).last_hidden_state
        >>> torch.equal(pruned, model(words).last_hidden_state)
        False
    """

    def __init__(self, model: nn.Module, heads: HeadMap | None = None) -> None:
        self.heads = find_heads(model) if heads is None else heads
        self._gates: list[torch.Tensor | None] = [None] * len(self.heads.layers)
        self._handles: list[RemovableHandle] = [
            layer.projection.register_forward_pre_hook(self._hook(layer))
            for layer in self.heads.layers
        ]

    def set(self, gates: npt.NDArray[Any] | torch.Tensor | None) -> None:
        """Close, open or scale heads from the next forward pass on.

        Args:
            gates: (L, H) for all samples, or (B, L, H) with one row per sample of the next
                batches; bool, or numbers to multiply with; a float tensor that requires a gradient
                receives dL/dgate in backward. Entries of heads that do not exist are ignored.
                None opens every head.

        Raises:
            SettingsError: The last two dimensions are not (L, H).
        """
        if gates is None:
            self._gates = [None] * len(self.heads.layers)
            return
        tensor = torch.as_tensor(gates)
        if tensor.ndim not in (2, 3) or tuple(tensor.shape[-2:]) != self.heads.shape:
            raise SettingsError(
                "The gates do not fit the model",
                expected=f"(L, H) or (samples, L, H) with (L, H) = {self.heads.shape}",
                actual=tuple(tensor.shape),
                remedy="use a mask that was made for this model",
            )
        self._gates = [self._row(tensor, layer) for layer in self.heads.layers]

    def remove(self) -> None:
        """Detach from the model; doing it twice changes nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _row(self, gates: torch.Tensor, layer: LayerHeads) -> torch.Tensor | None:
        """Return one layer's gates, (heads, 1) or (B, 1, heads, 1), or None if they change nothing.

        The view fits the projection's input, (B, tokens, heads, head_dim).
        """
        row = gates[..., layer.index, : layer.num_heads]
        if not row.requires_grad and bool((row == 1).all()):
            return None
        parameter = next(layer.projection.parameters())
        row = row.to(device=parameter.device, dtype=parameter.dtype)[..., None]
        return row if gates.ndim == 2 else row[:, None]

    def _hook(self, layer: LayerHeads) -> Any:
        def multiply(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            gate = self._gates[layer.index]
            if gate is None:
                return None
            context: torch.Tensor = args[0]
            if gate.ndim == 4 and (context.ndim != 3 or context.shape[0] != gate.shape[0]):
                raise SettingsError(
                    "Gates per sample need a batch of the same size",
                    expected=f"{gate.shape[0]} samples",
                    actual=f"a projection input of shape {tuple(context.shape)}",
                    remedy="set the gates of each batch before its forward pass",
                )
            split = context.unflatten(-1, (layer.num_heads, layer.head_dim))
            return ((split * gate.to(context.dtype)).flatten(-2), *args[1:])

        return multiply


def check_gates(
    model: nn.Module,
    heads: HeadMap,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
) -> None:
    """Prove that gates work on this model, in one forward pass.

    One sample is repeated with each layer closed in turn: every closed layer must change the
    logits, unless its heads are dead already (all weights of its output projection are zero).

    Args:
        model: A classifier, in eval mode.
        heads: Its heads.
        input_ids: (1, T) token ids of any text, or (1, 3, height, width) pixels for an image model.
        attention_mask: (1, T), or None.

    Raises:
        ModelError: The logits are NaN or Inf.
        UnsupportedModelError: Closing a layer changes nothing.
    """
    layers = len(heads.layers)
    gates = np.ones((layers + 1, *heads.shape), dtype=bool)
    gates[np.arange(layers) + 1, np.arange(layers)] = False
    inputs = {str(model.main_input_name): input_ids[:1].repeat_interleave(layers + 1, 0)}
    if attention_mask is not None:
        inputs["attention_mask"] = attention_mask[:1].repeat_interleave(layers + 1, 0)
    with HeadGates(model, heads) as attached, torch.no_grad():
        attached.set(gates)
        logits = model(**inputs).logits.float()
    if not bool(logits.isfinite().all()):
        raise ModelError(
            "The model answers NaN or Inf",
            expected="finite logits",
            remedy=f"the weights are damaged: {GET_AGAIN}",
        )
    # Equal rows of one batch may differ by rounding, since kernels split a batch into blocks.
    moved = (logits[1:] - logits[0]).abs().amax(-1) > 1e-7 * (1 + logits.abs().max())
    for layer, changed in zip(heads.layers, moved.tolist(), strict=True):
        if not changed and bool(layer.output_weight().any()):
            raise UnsupportedModelError(
                f"Closing all heads of layer {layer.index} leaves the logits as they were",
                expected="another output",
                remedy=f"{type(model).__name__} cannot be pruned by gates; report it as an issue",
            )
