import gc
import platform
import weakref

import numpy as np
import psutil
import pytest
import torch

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import ReferenceEvaluator
from prune_env.models import LoadedModel
from prune_env.models.forward import classify
from prune_env.utils.memory import give_back, in_parts, out_of_memory, remembering

CPU_ERROR = RuntimeError(
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA"), CPU_ERROR])
def test_rows_are_asked_in_parts_that_fit(error: BaseException) -> None:
    sizes = []

    def answer(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise error
        return rows[:, None].astype(np.float32)

    assert out_of_memory(error)
    assert in_parts(answer, np.arange(10))[:, 0].tolist() == list(range(10))
    assert sizes == [10, 5, 3, 2, 5, 3, 2]


def test_other_errors_and_a_single_row_too_many_pass() -> None:
    def broken(rows: np.ndarray) -> np.ndarray:
        raise RuntimeError("shapes do not fit")

    def full(rows: np.ndarray) -> np.ndarray:
        raise MemoryError

    with pytest.raises(RuntimeError, match="shapes"):
        in_parts(broken, np.arange(4))
    with pytest.raises(MemoryError):
        in_parts(full, np.arange(4))


def test_a_model_that_runs_out_of_memory_answers_in_smaller_batches(
    tiny_model: LoadedModel, tiny_data: TextDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = list(tiny_data.texts)
    mask = np.ones((1, 2, 4), bool)
    evaluator = ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, tiny_data)
    whole = classify(tiny_model.model, tiny_model.tokenizer, texts)
    predictions = evaluator.evaluate(mask).predictions
    forward = type(tiny_model.model).forward

    def narrow(self: torch.nn.Module, input_ids: torch.Tensor, **inputs: torch.Tensor) -> object:
        if len(input_ids) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, input_ids, **inputs)

    monkeypatch.setattr(type(tiny_model.model), "forward", narrow)
    parts = classify(tiny_model.model, tiny_model.tokenizer, texts)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    assert np.array_equal(evaluator.evaluate(mask).predictions, predictions)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_memory_goes_back_to_the_system_from_between_blocks_in_use() -> None:
    def held() -> int:
        return psutil.Process().memory_info().rss

    blocks = [bytearray(4_000) for _ in range(50_000)]
    blocks = blocks[::100]  # 2 MB of 200, all over the heap
    before = held()
    give_back()
    assert before - held() > 100_000_000
    assert len(blocks) == 500


def test_what_remembers_answers_does_not_keep_its_object() -> None:
    class Asked:
        def __init__(self) -> None:
            self.count = 0
            self.answer = remembering(self._answer, 2)

        def _answer(self, question: str) -> str:
            self.count += 1
            return question.upper()

    asked = Asked()
    assert [asked.answer(each) for each in ("a", "b", "a", "c", "c", "b")] == list("ABACCB")
    assert asked.count == 4  # the oldest of three was forgotten, and asked again
    gone = weakref.ref(asked)
    gc.disable()
    try:
        del asked
        assert gone() is None
    finally:
        gc.enable()
