"""Self-attention on packed tokens: exact lengths, no padding, no mask."""

from collections.abc import Callable
from itertools import pairwise

import torch

from prune_env.evaluation.fast.plan import Chunk, Group
from prune_env.evaluation.fast.workspace import Scratch

# Sentences times heads in one product. The number of heads differs from mask to mask, and oneDNN,
# which prepares a kernel for each new shape, would do little else: so there are two sizes.
_LARGE, _SMALL = 256, 64
# A sum of exponentials beyond these may have lost a term, or be about to overflow.
_SMALLEST_SUM, _LARGEST_SUM = 1e-25, 1e30


def packed_attention(
    x: torch.Tensor,
    chunk: Chunk,
    out: torch.Tensor,
    *,
    to_qkv: Callable[[torch.Tensor], torch.Tensor],
    head_dim: int,
    scratch: Scratch,
) -> None:
    """Write the contexts of every head for every token of a chunk.

    Args:
        x: (T, D), what enters the layer.
        chunk: Where the sentences lie.
        out: (.., h * d), of all chunks; the rows of this one are written.
        to_qkv: From x to scaled queries, keys and values of h heads, (T, 3 * h * d).
        head_dim: d.
        scratch: Memory.
    """
    qkv = to_qkv(x)
    out = out[chunk.tokens]
    heads = qkv.shape[1] // (3 * head_dim)
    # On a CPU a softmax over rows as short as sentences takes half the time of the attention.
    fast = qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16
    for group in chunk.groups:
        pairs, longest = group.count * heads, group.longest
        ends = _block_ends(pairs) if fast else [0, pairs]
        rows = ends[-1] * longest
        flat, scores = scratch.take(rows * (3 * head_dim + longest), qkv).split(
            [rows * 3 * head_dim, rows * longest]
        )
        blocks = flat.view(3, ends[-1], longest, head_dim)
        scores = scores.view(ends[-1], longest, longest)
        by_head = blocks[:, :pairs].view(3, group.count, heads, longest, head_dim)
        for run, place in zip(group.runs, group.places, strict=True):
            parts = qkv[run.tokens].view(run.count, run.length, 3, heads, head_dim)
            own = by_head[:, place]
            own[:, :, :, : run.length] = parts.permute(2, 0, 3, 1, 4)
            own[:, :, :, run.length :] = 0
        query, key, value = blocks
        _blockwise(query, key.transpose(1, 2), ends, scores)
        _hide_padding(scores[:pairs].view(group.count, -1, longest), group)
        sums = _exponentials(scores[:pairs]) if fast else None
        if sums is None:
            if fast:
                _blockwise(query, key.transpose(1, 2), ends, scores)
                _hide_padding(scores[:pairs].view(group.count, -1, longest), group)
            scores = scores.softmax(-1, dtype=torch.float32).to(qkv.dtype)
        contexts = _blockwise(scores, value, ends, query)[:pairs]  # the queries are not read again
        if sums is not None:
            contexts.div_(sums)
        contexts = contexts.view(by_head.shape[1:])
        for run, place in zip(group.runs, group.places, strict=True):
            target = out[run.tokens].view(run.count, run.length, heads, head_dim)
            target.copy_(contexts[place, :, : run.length].transpose(1, 2))


def _hide_padding(scores: torch.Tensor, group: Group) -> None:
    """Set the scores (S, Q, T) of keys beyond the end of their sentence to -inf."""
    for run, place in zip(group.runs[:-1], group.places[:-1], strict=True):
        scores[place, :, run.length :] = -torch.inf


def _exponentials(scores: torch.Tensor) -> torch.Tensor | None:
    """Replace scores (P, T, T) by their exponentials; return the sums, float32 (P, T, 1).

    With sums, contexts need one division each instead of one per weight. The largest score is not
    subtracted before, so scores must be moderate: otherwise None is returned.
    """
    sums = scores.exp_().sum(-1, keepdim=True, dtype=torch.float32)
    least, most = sums.aminmax()
    safe = least.item() > _SMALLEST_SUM and most.item() < _LARGEST_SUM
    return sums if safe else None


def _block_ends(pairs: int) -> list[int]:
    """Return 0 and where each block ends; the last may reach beyond the pairs."""
    ends = [0]
    while ends[-1] < pairs:
        ends.append(ends[-1] + (_LARGE if pairs - ends[-1] > _LARGE - _SMALL else _SMALL))
    return ends


def _blockwise(
    left: torch.Tensor, right: torch.Tensor, ends: list[int], out: torch.Tensor
) -> torch.Tensor:
    """Write the products (P, T, U) of (P, T, V) and (P, V, U) to `out`, in calls of few shapes."""
    for start, end in pairwise(ends):
        torch.bmm(left[start:end], right[start:end], out=out[start:end])
    return out


def first_token_attention(
    x: torch.Tensor,
    chunk: Chunk,
    out: torch.Tensor,
    *,
    query: tuple[torch.Tensor, torch.Tensor],
    key: torch.Tensor,
    value: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Write the contexts of the first token of each sentence of a chunk.

    Only one query per sentence is needed, so the key and value maps move past the sums over
    tokens: with q_h the query, x_t the tokens and K_h, V_h the maps of a head,
    `q_h . K_h x_t = (K_h^T q_h) . x_t` and `sum_t a_t V_h x_t = V_h sum_t a_t x_t`. No token is
    mapped to a key or a value. The key's bias moves all weights of a head alike and drops out.

    Args:
        x: (T, D), packed tokens of the chunk.
        chunk: Where the sentences lie.
        out: (.., h * d), of all sentences; the rows of this chunk's are written.
        query: Weight (h, d, D) and bias (h, 1, d).
        key: Weight (h, d, D).
        value: Weight (h, d, D) and bias (h, 1, d).
    """
    heads, head_dim, features = key.shape
    first = x[chunk.first]
    queries = torch.baddbmm(query[1], first.expand(heads, -1, -1), query[0].transpose(1, 2))
    probes = torch.bmm(queries * head_dim**-0.5, key).transpose(0, 1)
    pooled = x.new_empty(len(first), heads, features)
    for group in chunk.groups:
        tokens = x.new_zeros(group.count, group.longest, features)
        for run, place in zip(group.runs, group.places, strict=True):
            part = x[run.tokens].view(run.count, run.length, features)
            tokens[place, : run.length] = part
        scores = torch.bmm(probes[group.sentences], tokens.transpose(1, 2))
        _hide_padding(scores, group)
        weights = scores.softmax(-1, dtype=torch.float32).to(x.dtype)
        torch.bmm(weights, tokens, out=pooled[group.sentences])
    contexts = torch.baddbmm(value[1], pooled.transpose(0, 1), value[0].transpose(1, 2))
    out[chunk.sentences] = contexts.transpose(0, 1).reshape(len(first), heads * head_dim)
