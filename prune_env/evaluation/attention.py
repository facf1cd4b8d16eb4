"""Self-attention on packed tokens: exact lengths, no padding, no mask."""

import torch

from prune_env.evaluation.plan import Chunk

# Sentences times heads in one product. The number of heads differs from mask to mask, and a
# library that prepares a kernel for each new shape would do little else.
_BLOCK = 64


def packed_attention(qkv: torch.Tensor, chunk: Chunk, head_dim: int, out: torch.Tensor) -> None:
    """Write the contexts of every head for every token of a chunk.

    Args:
        qkv: (T, 3 * h * d), scaled queries, keys and values of h heads.
        chunk: Where the sentences lie.
        head_dim: d.
        out: (T, h * d), written.
    """
    width = qkv.shape[1] // 3
    heads = width // head_dim
    for run in chunk.runs:
        shape = (run.count, run.length, heads, head_dim)
        pairs = run.count * heads
        blocks = -(-pairs // _BLOCK)
        query, key, value = qkv.new_empty(3, blocks * _BLOCK, run.length, head_dim)
        for target, part in zip((query, key, value), qkv[run.tokens].split(width, 1), strict=True):
            split = target[:pairs].view(run.count, heads, run.length, head_dim)
            split.copy_(part.view(shape).transpose(1, 2))
        scores = _blockwise(query, key.transpose(1, 2), run.length)
        # A softmax that reads bfloat16 and writes float32 takes half the time of one that does not.
        weights = scores.softmax(-1, dtype=torch.float32).to(qkv.dtype)
        contexts = _blockwise(weights, value, head_dim)
        split = contexts[:pairs].view(run.count, heads, run.length, head_dim)
        out[run.tokens].view(shape).copy_(split.transpose(1, 2))


def _blockwise(left: torch.Tensor, right: torch.Tensor, width: int) -> torch.Tensor:
    """Return the products (P, T, width) of P pairs, in calls of one shape whatever P is."""
    out = left.new_empty(len(left), left.shape[1], width)
    for start in range(0, len(left), _BLOCK):
        here = slice(start, start + _BLOCK)
        torch.bmm(left[here], right[here], out=out[here])
    return out


def first_token_attention(
    x: torch.Tensor,
    chunk: Chunk,
    query: tuple[torch.Tensor, torch.Tensor],
    key: torch.Tensor,
    value: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return the contexts (S, h * d) of the first token of each of S sentences.

    Only one query per sentence is needed, so the key and value maps move past the sums over
    tokens: with q_h the query, x_t the tokens and K_h, V_h the maps of a head,
    `q_h . K_h x_t = (K_h^T q_h) . x_t` and `sum_t a_t V_h x_t = V_h sum_t a_t x_t`. No token is
    mapped to a key or a value. The key's bias moves all weights of a head alike and drops out.

    Args:
        x: (T, D), packed tokens of the chunk.
        chunk: Where the sentences lie.
        query: Weight (h, d, D) and bias (h, 1, d).
        key: Weight (h, d, D).
        value: Weight (h, d, D) and bias (h, 1, d).
    """
    heads, head_dim, features = key.shape
    first = x[chunk.first]
    queries = torch.baddbmm(query[1], first.expand(heads, -1, -1), query[0].transpose(1, 2))
    probes = torch.bmm(queries * head_dim**-0.5, key).transpose(0, 1)
    pooled = x.new_empty(len(first), heads, features)
    done = 0
    for run in chunk.runs:
        here = slice(done, done + run.count)
        tokens = x[run.tokens].view(run.count, run.length, features)
        scores = torch.bmm(probes[here], tokens.transpose(1, 2))
        weights = scores.softmax(-1, dtype=torch.float32).to(x.dtype)
        torch.bmm(weights, tokens, out=pooled[here])
        done += run.count
    contexts = torch.baddbmm(value[1], pooled.transpose(0, 1), value[0].transpose(1, 2))
    return contexts.transpose(0, 1).reshape(len(first), heads * head_dim)
