import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env.cli import main
from prune_env.data.dataset import write_jsonl
from prune_env.models import LoadedModel
from prune_env.models.ensemble import make_ensemble
from prune_env.utils.files import sha256_of
from tests.models.exports import save_ensemble
from tests.models.hostile import edit_json
from tests.support import tiny_dataset, write_tiny_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "model")


def inspect(
    folder: Path, capsys: pytest.CaptureFixture, status: int, verdict: str
) -> dict[str, object]:
    assert main(["inspect", str(folder), "--json"]) == status
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == verdict
    return report


def test_a_clean_folder(folder: Path, capsys: pytest.CaptureFixture) -> None:
    report = inspect(folder, capsys, 0, "loadable")
    assert (report["model_type"], report["shape"]) == ("bert", [2, 4])
    assert {file["name"]: (file["size"], file["sha256"]) for file in report["files"]} == {
        path.name: (path.stat().st_size, sha256_of(path)) for path in folder.iterdir()
    }


SUSPICIOUS = {
    "auto_map": ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}),
    "_attn_implementation_internal": (
        "config.json",
        {"_attn_implementation_internal": "evil/kernel"},
    ),
    "RagTokenizer": ("tokenizer_config.json", {"tokenizer_class": "RagTokenizer"}),
}


@pytest.mark.parametrize("hint", SUSPICIOUS)
def test_what_could_run_code_is_suspicious(
    hint: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    name, change = SUSPICIOUS[hint]
    edit_json(folder / name, lambda content: content.update(change))
    report = inspect(folder, capsys, 1, "suspicious")
    assert any(hint in problem for problem in report["problems"])


def test_pickles_alone_are_suspicious(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    report = inspect(folder, capsys, 1, "suspicious")
    assert any("pytorch_model.bin" in problem for problem in report["problems"])


def test_what_is_never_read_is_a_note(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "evil.py").write_text("")
    assert len(inspect(folder, capsys, 0, "loadable")["notes"]) == 2


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


UNREADABLE = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "half a file": _truncate,
    "another type": lambda folder: edit_json(
        folder / "config.json", lambda content: content.update(model_type="bloom")
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read(case: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    UNREADABLE[case](folder)
    assert inspect(folder, capsys, 2, "unreadable")["problems"]


def test_no_folder_at_all(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["inspect", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_unsafe_weighs_more_than_unreadable(folder: Path, capsys: pytest.CaptureFixture) -> None:
    change = {"model_type": "bloom", "auto_map": {}}
    edit_json(folder / "config.json", lambda content: content.update(change))
    report = inspect(folder, capsys, 1, "suspicious")
    assert (len(report["problems"]), report["unsafe"]) == (2, 1)


@pytest.fixture
def ensemble(tiny_model: LoadedModel, tmp_path: Path) -> Path:
    masks = [np.ones((2, 4), bool)] * 3
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model], masks), tmp_path / "ensemble")
    return tmp_path / "ensemble"


def test_an_ensemble_is_clean(ensemble: Path, capsys: pytest.CaptureFixture) -> None:
    report = inspect(ensemble, capsys, 0, "loadable")
    assert (report["members"], report["model_type"], report["shape"]) == (3, "bert", [2, 4])
    assert {"ensemble.json", "mask-2.json", "model-0/model.safetensors"} < {
        file["name"] for file in report["files"]
    }
    assert main(["inspect", str(ensemble)]) == 0
    assert "3 members" in capsys.readouterr().out


@pytest.mark.parametrize("manifest", ["whole", "damaged"])
def test_a_suspicious_member_makes_an_ensemble_suspicious(
    manifest: str, ensemble: Path, capsys: pytest.CaptureFixture
) -> None:
    change = {"auto_map": {"AutoModel": "evil.Model"}}
    edit_json(ensemble / "model-0" / "config.json", lambda content: content.update(change))
    if manifest == "damaged":
        (ensemble / "ensemble.json").write_text("{")
    report = inspect(ensemble, capsys, 1, "suspicious")
    assert "auto_map" in report["problems"][0]


@pytest.mark.parametrize("case", ["another type", "no weights", "half a file", "no config"])
def test_a_damaged_member_makes_an_ensemble_unreadable(
    case: str, ensemble: Path, capsys: pytest.CaptureFixture
) -> None:
    UNREADABLE[case](ensemble / "model-0")
    report = inspect(ensemble, capsys, 2, "unreadable")
    assert any("model-0" in problem for problem in report["problems"])


def test_an_ensemble_is_not_purified(
    ensemble: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(60))
    data = ["--data", str(tmp_path / "clean.jsonl"), "--out", str(tmp_path / "out")]
    assert main(["purify", str(ensemble), *data]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "holds an ensemble" in message
    assert "model-0" in message
    assert not (tmp_path / "out").exists()


def test_a_person_reads_the_same(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["inspect", str(folder)]) == 0
    page = capsys.readouterr().out
    for part in ("BertForSequenceClassification", "2 layers x 4 heads", "model.safetensors"):
        assert part in page


def test_a_file_cannot_write_commands_to_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "[red]\x1b]0;owned\x07.py").write_text("")
    change = {"model_type": "\x1b[2J", "architectures": ["\x1b[2J[bold]"]}
    edit_json(folder / "config.json", lambda content: content.update(change))
    assert main(["inspect", str(folder)]) == 2
    assert main(["purify", str(folder), "--data", "rotten-tomatoes", "--out", "x"]) == 2
    written = capsys.readouterr()
    assert "\x1b]0" not in written.out
    assert "\x1b[2J" not in written.out + written.err
    assert "[red]" in written.out
    assert "[bold]" in written.out


def test_no_weight_is_loaded_into_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was built")

    monkeypatch.setattr(torch.nn.Module, "__init__", refuse)
    assert main(["inspect", str(folder)]) == 0


def test_the_help_says_what_the_status_means() -> None:
    code = "from prune_env.cli import main; main(['inspect', '--help'])"
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Exit status: 0 loadable" in " ".join(page.stdout.replace("│", "").split())
