import hashlib
from pathlib import Path

import pytest
import torch

from prune_env.errors import ModelError
from prune_env.models import inspect_source
from tests.models.tiny import write_tiny


def test_a_good_folder(tiny_folder: Path) -> None:
    report = inspect_source(tiny_folder)
    assert report.problems == report.notes == ()
    assert report.model_type == "bert"
    assert report.architecture == "BertForSequenceClassification"
    assert report.shape == (2, 4)
    assert report.config["hidden_size"] == 32
    for file in report.files:
        raw = (tiny_folder / file.name).read_bytes()
        assert (file.size, file.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert {file.name for file in report.files} == {path.name for path in tiny_folder.iterdir()}


@pytest.mark.parametrize("model_type", ["clip", "gpt2", "distilbert", "t5"])
def test_heads_are_told_from_any_config(model_type: str, tmp_path: Path) -> None:
    assert inspect_source(write_tiny(model_type, tmp_path)).shape == (2, 4)


def test_every_problem_is_listed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "evil", "auto_map": {}}')
    (tmp_path / "tokenizer_config.json").write_text("{")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    problems = inspect_source(tmp_path).problems
    found = [
        next(word for word in ("auto_map", "tokenizer_config", "evil", "pickles") if word in text)
        for text in problems
    ]
    assert found == ["auto_map", "pickles", "tokenizer_config", "evil"]


def test_a_folder_without_config_is_reported(tmp_path: Path) -> None:
    report = inspect_source(tmp_path)
    assert (report.model_type, report.architecture, report.shape) == ("unknown", "unknown", None)
    assert len(report.problems) == 2


def test_no_weight_reaches_a_model(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    assert inspect_source(tiny_folder).problems == ()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="a file"):
        inspect_source(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[" * 99_999, "too many entries"), ('{"a": ' + "9" * 9999 + "}", "is damaged")],
    ids=["deep", "long"],
)
def test_json_that_exhausts_the_parser_is_named(text: str, problem: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    assert any(problem in each for each in inspect_source(folder).problems)
