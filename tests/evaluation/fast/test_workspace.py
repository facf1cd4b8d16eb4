import gc

import torch

from prune_env.evaluation.fast.workspace import Scratch, Workspace


def test_memory_is_lent_again_once_nobody_holds_it() -> None:
    workspace = Workspace(torch.float32, torch.device("cpu"))
    first = workspace.lend(4, 2, 3)
    assert first.matrix.shape == (4, 2)
    assert first.nbytes == 4 * 3 * 4
    second = workspace.lend(4, 3, 3)
    places = {lease.matrix.data_ptr() for lease in (first, second)}
    assert len(places) == 2
    second.matrix[:] = 7
    del first
    gc.collect()
    third = workspace.lend(4, 1, 3)
    assert third.matrix.data_ptr() in places
    third.matrix[:] = 1
    assert (second.matrix == 7).all()
    assert workspace.lend(4, 4, 4).matrix.data_ptr() not in places


def test_memory_that_nobody_holds_is_given_back() -> None:
    workspace = Workspace(torch.bfloat16, torch.device("cpu"))
    lease = workspace.lend(8, 8, 8)
    held = workspace.lend(8, 8, 8)
    del lease
    gc.collect()
    assert sum(map(len, workspace._free.values())) == 1
    workspace.clear()
    assert not any(workspace._free.values())
    held.matrix[:] = 1


def test_scratch_grows_and_is_used_again() -> None:
    scratch = Scratch()
    like = torch.empty(1, dtype=torch.bfloat16)
    first = scratch.take(6, like)
    assert first.shape == (6,)
    assert first.dtype == torch.bfloat16
    assert scratch.take(4, like).data_ptr() == first.data_ptr()
    assert scratch.take(9, like).shape == (9,)
