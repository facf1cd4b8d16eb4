"""The loop that published pruning code runs for every mask: what the evaluator is measured against.

For each mask the model is copied, the pruned heads are cut out of its weights, every sentence is
tokenised again and padded to 128 tokens, and the model runs in float32 with eager attention that
keeps every attention map.
"""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

LENGTH = 128
BATCH = 32


def naive_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: tuple[str, ...],
    mask: np.ndarray,
) -> np.ndarray:
    """Return float32 (S, C) under a mask (L, H) that keeps a head in every layer of a BERT."""
    pruned = copy.deepcopy(model)
    pruned.set_attn_implementation("eager")
    for layer, kept in zip(pruned.base_model.encoder.layer, mask, strict=True):
        cut_heads(layer.attention, kept)
    pruned.eval()
    logits = []
    with torch.no_grad():
        for batch in _batches(texts):
            inputs = tokenizer(
                batch, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
            )
            output = pruned(**inputs.to(model.device), output_attentions=True)
            logits.append(output.logits.cpu().numpy())
    return np.concatenate(logits)


def cut_heads(attention: nn.Module, kept: np.ndarray) -> None:
    """Take heads (H,) out of the weights of a BERT attention module, for good."""
    own = attention.self
    rows = torch.from_numpy(np.repeat(kept, own.attention_head_size)).nonzero().squeeze(1)
    rows = rows.to(own.query.weight.device)
    for name in ("query", "key", "value"):
        old = getattr(own, name)
        new = nn.Linear(old.in_features, len(rows), device=old.weight.device)
        new.weight.data, new.bias.data = old.weight.data[rows], old.bias.data[rows]
        setattr(own, name, new)
    old = attention.output.dense
    new = nn.Linear(len(rows), old.out_features, device=old.weight.device)
    new.weight.data, new.bias.data = old.weight.data[:, rows], old.bias.data
    attention.output.dense = new
    own.num_attention_heads = int(kept.sum())
    own.all_head_size = len(rows)


def _batches(texts: tuple[str, ...]) -> Iterator[list[str]]:
    for start in range(0, len(texts), BATCH):
        yield list(texts[start : start + BATCH])
