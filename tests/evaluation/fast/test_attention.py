import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prune_env.evaluation.fast.attention import _block_ends, first_token_attention, packed_attention
from prune_env.evaluation.fast.plan import Chunk, plan_packing
from prune_env.evaluation.fast.workspace import Scratch

HEADS, DIM, FEATURES = 3, 4, 10
LENGTHS = np.array([5, 1, 5, 2, 7])


def as_it_is(x: torch.Tensor) -> torch.Tensor:
    return x


def packed(dtype: torch.dtype, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, Chunk]:
    """Return queries, keys and values of a chunk, and the contexts that were written for them."""
    torch.manual_seed(0)
    (chunk,) = plan_packing(LENGTHS, 1000, torch.device("cpu")).chunks
    qkv = (scale * torch.randn(int(LENGTHS.sum()), 3 * HEADS * DIM)).to(dtype)
    out = torch.full((len(qkv), HEADS * DIM), torch.nan, dtype=dtype)
    packed_attention(qkv, chunk, out, to_qkv=as_it_is, head_dim=DIM, scratch=Scratch())
    return qkv, out, chunk


def by_sentence(qkv: torch.Tensor, chunk: Chunk) -> torch.Tensor:
    """Return the contexts (T, h * d) in the precision of `qkv`, one sentence after the other."""
    contexts = []
    for start, length in zip(chunk.first.tolist(), np.sort(LENGTHS), strict=True):
        sentence = qkv[start : start + length].view(length, 3, HEADS, DIM).permute(1, 2, 0, 3)
        attended = F.scaled_dot_product_attention(*sentence, scale=1.0)
        contexts.append(attended.transpose(0, 1).flatten(1))
    return torch.cat(contexts)


@pytest.mark.parametrize("sizes", [(2, 1), (8, 4), (256, 64)])
def test_packed_attention_is_attention_within_each_sentence(
    sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.evaluation.fast.attention._LARGE", sizes[0])
    monkeypatch.setattr("prune_env.evaluation.fast.attention._SMALL", sizes[1])
    qkv, out, chunk = packed(torch.float64)
    torch.testing.assert_close(out, by_sentence(qkv, chunk), rtol=1e-6, atol=1e-6)
    qkv, out, chunk = packed(torch.bfloat16)
    expected = by_sentence(qkv.double(), chunk)
    torch.testing.assert_close(out.double(), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("scale", [10.0, 30.0])
def test_scores_beyond_the_exponential_are_attended_too(scale: float) -> None:
    qkv, out, chunk = packed(torch.bfloat16, scale)
    # Rounded scores of 100 or more move weights a lot, so the same rounding is done here.
    for start, length in zip(chunk.first.tolist(), np.sort(LENGTHS), strict=True):
        sentence = qkv[start : start + length].view(length, 3, HEADS, DIM).permute(1, 2, 0, 3)
        query, key, value = sentence
        weights = (query @ key.transpose(1, 2)).softmax(-1, dtype=torch.float32)
        expected = (weights @ value.float()).transpose(0, 1).flatten(1)
        got = out[start : start + length].float()
        torch.testing.assert_close(got, expected, rtol=0.05, atol=0.02 * scale)


def test_pairs_are_cut_into_few_sizes() -> None:
    for pairs in range(1, 1500):
        sizes = set(np.diff(_block_ends(pairs)))
        assert sizes <= {64, 256}
        assert 0 <= _block_ends(pairs)[-1] - pairs < 64


def test_first_token_attention_is_the_first_row_of_it() -> None:
    torch.manual_seed(1)
    (chunk,) = plan_packing(LENGTHS, 1000, torch.device("cpu")).chunks
    x = torch.randn(int(LENGTHS.sum()), FEATURES, dtype=torch.float64)
    weight = torch.randn(3, HEADS, DIM, FEATURES, dtype=torch.float64)
    bias = torch.randn(3, HEADS, 1, DIM, dtype=torch.float64)
    queries, keys, values = (
        (x @ weight[part].flatten(0, 1).T + bias[part].flatten()) for part in range(3)
    )
    out = torch.empty(len(x), HEADS * DIM, dtype=torch.float64)
    qkv = torch.cat([queries * DIM**-0.5, keys, values], 1)
    packed_attention(qkv, chunk, out, to_qkv=as_it_is, head_dim=DIM, scratch=Scratch())
    got = torch.empty(len(LENGTHS), HEADS * DIM, dtype=torch.float64)
    query, value = (weight[0], bias[0]), (weight[2], bias[2])
    first_token_attention(x, chunk, got, query=query, key=weight[1], value=value)
    torch.testing.assert_close(got, out[chunk.first], rtol=1e-5, atol=1e-5)
