import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.evaluation.fast.plan import plan_packing


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=40),
    st.integers(1, 100),
    st.sampled_from([1, 16]),
)
def test_every_token_lies_in_one_run_of_its_sentence(
    lengths: list[int], size: int, unit: int
) -> None:
    device = torch.device("cpu")
    plan = plan_packing(np.array(lengths), size, device, row_unit=unit)
    assert sorted(plan.order.tolist()) == list(range(len(lengths)))
    assert plan.lengths.tolist() == [lengths[row] for row in plan.order]
    row = sentence = 0
    sizes = {chunk.tokens.stop - chunk.tokens.start for chunk in plan.chunks}
    assert sizes == {plan.chunk_rows}
    assert plan.chunk_rows % unit == 0
    for chunk in plan.chunks:
        assert chunk.tokens.start == row
        assert chunk.sentences.start == sentence
        inside = before = 0
        firsts = []
        runs = [run for group in chunk.groups for run in group.runs]
        for run in runs:
            assert run.start == inside
            assert set(plan.lengths[sentence : sentence + run.count]) == {run.length}
            firsts += range(inside, inside + run.count * run.length, run.length)
            assert run.sentences == slice(before, before + run.count)
            before += run.count
            inside += run.count * run.length
            sentence += run.count
            assert run.tokens == slice(run.start, inside)
        assert chunk.first.tolist() == firsts
        assert chunk.filled == inside <= plan.chunk_rows < size + max(lengths) + unit
        assert [run.length for run in runs] == sorted(run.length for run in runs)
        for group in chunk.groups:
            assert group.longest <= 1.5 * group.runs[0].length
            assert group.count == sum(run.count for run in group.runs)
        row = chunk.tokens.stop
        assert chunk.sentences.stop == sentence
    assert row == plan.rows
    assert sentence == len(lengths)
    assert sum(chunk.filled for chunk in plan.chunks) == sum(lengths)
