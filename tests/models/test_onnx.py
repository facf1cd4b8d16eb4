import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.errors import ModelError, UnsupportedModelError
from prune_env.models import HeadGates
from prune_env.models import onnx as module
from prune_env.models.onnx import PACKAGES, write_onnx
from prune_env.utils.files import new_folder
from tests.models.tiny import tiny_classifier, tiny_inputs

MASK = np.array([[True, False, True, True], [False, True, True, False]])


@pytest.fixture
def _onnx() -> None:
    for name in PACKAGES:
        pytest.importorskip(name, reason="needs pip install 'prune-env[onnx]'")


@pytest.mark.usefixtures("_onnx")
@pytest.mark.parametrize(
    ("model_type", "layers", "sliced"),
    [
        ("bert", 2, False),
        ("bert", 2, True),
        ("mpnet", 1, True),  # of which a layer takes seconds, as of the next
        ("qwen3", 1, True),
        ("vit", 2, True),
    ],
)
def test_onnx_computes_what_the_gated_model_does(
    model_type: str, layers: int, sliced: bool, tmp_path: Path
) -> None:
    import onnxruntime  # noqa: PLC0415

    loaded, mask = tiny_classifier(model_type, num_hidden_layers=layers), MASK[:layers]
    write_onnx(loaded, mask, tmp_path / "model.onnx", sliced=sliced)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    whole = tiny_inputs(loaded)
    assert [each.name for each in session.get_inputs()] == list(whole)
    sizes = ["batch", 3, 16, 16] if model_type == "vit" else ["batch", "sequence"]
    assert session.get_inputs()[0].shape == sizes
    with HeadGates(loaded.model) as gates, torch.no_grad():
        gates.set(mask)
        for batch in (whole, {name: value[2:, :3] for name, value in whole.items()}):
            (logits,) = session.run(None, {name: value.numpy() for name, value in batch.items()})
            expected = loaded.model(**batch).logits
            torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("_onnx")
def test_onnx_is_told_which_token_is_of_which_text(tmp_path: Path) -> None:
    import onnxruntime  # noqa: PLC0415

    loaded = tiny_classifier("bert")
    own = loaded.tokenizer
    own.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    with torch.no_grad():
        loaded.model.bert.embeddings.token_type_embeddings.weight[1] += 3.0
    write_onnx(loaded, MASK, tmp_path / "model.onnx", sliced=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    pair = own(["a good film"], ["it was bad"], return_tensors="pt")
    assert pair["token_type_ids"].any()
    assert {each.name for each in session.get_inputs()} == set(own.model_input_names)
    (logits,) = session.run(None, {name: value.numpy() for name, value in pair.items()})
    with HeadGates(loaded.model) as gates, torch.no_grad():
        gates.set(MASK)
        expected = loaded.model(**pair).logits
        single = loaded.model(**{**pair, "token_type_ids": 0 * pair["token_type_ids"]}).logits
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-5)
    assert (single - expected).abs().max() > 0.01


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("onnx_from_nowhere",))
    with pytest.raises(ModelError, match=r"onnx_from_nowhere.*pip install"):
        write_onnx(tiny_classifier("bert"), MASK, tmp_path / "model.onnx")


@pytest.mark.usefixtures("_onnx")
def test_a_full_disk_is_no_fault_of_the_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", full)
    out = tmp_path / "out"
    with pytest.raises(ModelError) as told, new_folder(out) as folder:
        write_onnx(tiny_classifier("bert"), MASK, folder / "model.onnx")
    assert told.value.message == f"The model cannot be written into {out}"
    assert "make room" in told.value.remedy


@pytest.mark.usefixtures("_onnx")
def test_another_answer_is_an_error_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded = tiny_classifier("bert")

    def wrong(self: module._Logits, *inputs: torch.Tensor) -> torch.Tensor:
        ids, attended = inputs
        return (ids * attended).sum(1, keepdim=True) + torch.arange(2.0)

    monkeypatch.setattr(module._Logits, "forward", wrong)
    with pytest.raises(UnsupportedModelError, match="does not compute"):
        write_onnx(loaded, MASK, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
