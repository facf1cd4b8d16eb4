import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prune_env.evaluation.attention import first_token_attention, packed_attention
from prune_env.evaluation.plan import plan_packing

HEADS, DIM, FEATURES = 3, 4, 10
LENGTHS = np.array([5, 1, 5, 2, 7])


@pytest.mark.parametrize("block", [1, 4, 64])
def test_packed_attention_is_attention_within_each_sentence(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.evaluation.attention._BLOCK", block)
    torch.manual_seed(0)
    (chunk,) = plan_packing(LENGTHS, 1000, torch.device("cpu")).chunks
    qkv = torch.randn(int(LENGTHS.sum()), 3 * HEADS * DIM, dtype=torch.float64)
    out = torch.full((len(qkv), HEADS * DIM), torch.nan, dtype=torch.float64)
    packed_attention(qkv, chunk, DIM, out)
    for start, length in zip(chunk.first.tolist(), np.sort(LENGTHS), strict=True):
        sentence = qkv[start : start + length].view(length, 3, HEADS, DIM).permute(1, 2, 0, 3)
        expected = F.scaled_dot_product_attention(*sentence, scale=1.0)
        got = out[start : start + length].view(length, HEADS, DIM).transpose(0, 1)
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


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
    packed_attention(torch.cat([queries * DIM**-0.5, keys, values], 1), chunk, DIM, out)
    got = first_token_attention(x, chunk, (weight[0], bias[0]), weight[1], (weight[2], bias[2]))
    torch.testing.assert_close(got, out[chunk.first], rtol=1e-5, atol=1e-5)
