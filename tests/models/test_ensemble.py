import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune_env.cli import main
from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.errors import ModelError, PruneEnvError, SettingsError
from prune_env.models import (
    LoadedModel,
    head_shape,
    inspect_source,
    load_classifier,
    load_pruned,
    save_mask,
)
from prune_env.models.ensemble import make_ensemble
from prune_env.models.forward import classify
from prune_env.purification import Ensemble, load_ensemble
from prune_env.utils.files import sha256_of
from tests.models.exports import save_ensemble
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer

MASKS = [np.array([[True, True, False, True], [True, False, True, True]]), np.ones((2, 4), bool)]


def probabilities(loaded: LoadedModel, data: TextDataset) -> np.ndarray:
    odds = np.exp(classify(loaded.model, loaded.tokenizer, list(data.texts)).astype(float))
    return odds / odds.sum(-1, keepdims=True)


@pytest.mark.parametrize("shared", [True, False])
def test_an_ensemble_is_read_back_equal(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path, shared: bool
) -> None:
    models = [tiny_model.model] if shared else [tiny_model.model, tiny_bert(seed=1)]
    ensemble = make_ensemble(tiny_model, models, MASKS)
    save_ensemble(ensemble, tmp_path / "out", {"policy": "random-ensemble"})
    again = load_ensemble(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*"))) == len(models)
    assert again.label_names == tiny_model.label_names
    before, after = (
        classify(each.model, each.tokenizer, list(tiny_data.texts)) for each in (ensemble, again)
    )
    assert np.array_equal(before, after)
    assert again.model.config.num_labels == 2


def test_the_vote_is_the_mean_of_probabilities(
    tiny_model: LoadedModel, tiny_data: TextDataset
) -> None:
    alone = [
        probabilities(make_ensemble(deepcopy(tiny_model), [tiny_model.model], [mask]), tiny_data)
        for mask in MASKS
    ]
    vote = probabilities(make_ensemble(tiny_model, [tiny_model.model], MASKS), tiny_data)
    assert not np.allclose(alone[0], alone[1])
    np.testing.assert_allclose(vote, np.mean(alone, axis=0), atol=1e-6)
    # A member that keeps every head is the model itself.
    np.testing.assert_allclose(alone[1], probabilities(tiny_model, tiny_data), atol=1e-6)


def test_sure_members_give_finite_logits(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    tiny_model.model.classifier.weight.data *= 1e4
    vote = make_ensemble(tiny_model, [tiny_model.model], MASKS)
    assert np.isfinite(classify(vote.model, vote.tokenizer, list(tiny_data.texts))).all()


def test_models_and_masks_must_fit_each_other(tiny_model: LoadedModel) -> None:
    with pytest.raises(SettingsError):
        Ensemble([tiny_model.model, tiny_model.model], [*MASKS, MASKS[0]])
    with pytest.raises(SettingsError):
        Ensemble([tiny_model.model], [np.ones((3, 4), bool)])


def damage(folder: Path, how: str) -> None:
    manifest = json.loads((folder / "ensemble.json").read_text())
    if how == "no manifest":
        (folder / "ensemble.json").unlink()
    elif how == "other weights":
        replacement = tiny_bert(seed=3)
        replacement.save_pretrained(folder / "model-0")
    elif how == "no mask":
        (folder / "mask-1.json").unlink()
    else:
        changes = {
            "other format": {"format": "else"},
            "too many": {"members": 3},
            "far too many": {"members": 10**9},
            "models": {"weights_sha256": ["a", "b", "c"]},
            "names": {"label_names": 2},
        }
        text = "[]" if how == "no table" else json.dumps({**manifest, **changes[how]})
        (folder / "ensemble.json").write_text(text)


def test_a_name_that_no_folder_can_have() -> None:
    for name in ("a\0b", "x" * 300):
        with pytest.raises(ModelError, match="is not an ensemble"):
            load_ensemble(name)


@pytest.mark.parametrize(
    "how",
    [
        "no manifest",
        "other weights",
        "no mask",
        "other format",
        "too many",
        "far too many",
        "models",
        "names",
        "no table",
    ],
)
def test_a_damaged_ensemble_is_refused(tiny_model: LoadedModel, tmp_path: Path, how: str) -> None:
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
    damage(tmp_path / "out", how)
    with pytest.raises(PruneEnvError):
        load_ensemble(tmp_path / "out")
    report = inspect_source(tmp_path / "out")
    assert report.problems
    assert not report.unsafe


def test_an_ensemble_is_inspected_with_its_members(
    tiny_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model, tiny_bert(seed=1)], MASKS), out)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was built")

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "__init__", refuse)
        report = inspect_source(out)
    assert (report.problems, report.members, report.shape) == ((), 2, (2, 4))
    assert report.architecture == "BertForSequenceClassification"
    assert {file.name: file.sha256 for file in report.files} == {
        path.relative_to(out).as_posix(): sha256_of(path)
        for path in out.rglob("*")
        if path.is_file()
    }
    again = inspect_source(out)
    assert again.sha256 == report.sha256
    assert load_ensemble(out).sha256 == report.sha256
    save_mask(out / "mask-1.json", MASKS[0])
    assert inspect_source(out).sha256 != report.sha256
    assert load_ensemble(out).sha256 == inspect_source(out).sha256


def test_the_card_of_an_ensemble_tells_the_story(tiny_model: LoadedModel, tmp_path: Path) -> None:
    ensemble = make_ensemble(tiny_model, [tiny_model.model], MASKS)
    save_ensemble(ensemble, tmp_path / "out", {"policy": "random-ensemble", "ACC": 0.91234567})
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\npipeline_tag: text-classification\n")
    for part in (
        f"| source SHA-256 | {tiny_model.sha256} |",
        "| architecture | BertForSequenceClassification |",
        "| form | ensemble |",
        "| heads pruned | 2, 0 of 8 |",
        "| policy | random-ensemble |",
        "| ACC | 0.9123 |",
        "the probabilities of 2 members",
        "### Member 0\n\n- layer 0: 2\n- layer 1: 1\n\n### Member 1\n\nNone.\n",
    ):
        assert part in card
    code = card.split("```python\n")[1].split("```")[0]
    scope: dict[str, LoadedModel] = {}
    exec(code.replace("path/to/this/folder", str(tmp_path / "out")), scope)
    assert isinstance(scope["loaded"].model, Ensemble)


@pytest.mark.parametrize("load", [load_classifier, load_pruned, head_shape])
def test_an_ensemble_is_no_source(tiny_model: LoadedModel, tmp_path: Path, load: Any) -> None:
    out = tmp_path / "out"
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model], MASKS), out)
    with pytest.raises(ModelError, match="holds an ensemble") as caught:
        load(out)
    for part in ("an encoder or a classifier", "load_ensemble", str(out / "model-0")):
        assert part in str(caught.value)


def test_an_ensemble_of_untrusted_files_is_loaded_as_strictly_as_a_model(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
    config = tmp_path / "out" / "model-0" / "config.json"
    content = {**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}
    config.write_text(json.dumps(content))
    with pytest.raises(PruneEnvError, match="auto_map"):
        load_ensemble(tmp_path / "out")


def test_members_are_ordinary_classifiers(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path
) -> None:
    save_ensemble(make_ensemble(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
    member = load_classifier(tmp_path / "out" / "model-0", head="keep")
    assert np.array_equal(
        probabilities(replace(tiny_model), tiny_data), probabilities(member, tiny_data)
    )


@pytest.mark.parametrize("protocol", ["direct", "refinetune"])
def test_purify_writes_an_ensemble_that_evaluate_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture, protocol: str
) -> None:
    data, out = tmp_path / "clean.jsonl", tmp_path / "out"
    write_jsonl(data, tiny_dataset(60))
    tiny_bert().bert.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    command = ["purify", tmp_path / "encoder", "--data", data, "--out", out, "--tau", "0.3"]
    command += ["--healing", "none"]
    options = ["--policy", "random-ensemble", "--protocol", protocol, "--validation", data]
    training = ["--epochs", "1", "--precision", "fp32", "--importance-sentences", "8", "--json"]
    assert main([str(each) for each in (*command, *options, *training)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(list(out.glob("mask-*.json"))) == 5
    assert len(list(out.glob("model-*"))) == (1 if protocol == "direct" else 5)
    card = (out / "README.md").read_text()
    for name, value in {
        "source SHA-256": inspect_source(tmp_path / "encoder").sha256,
        "policy": "random-ensemble",
        "protocol": protocol,
        "clean training data SHA-256": report["data"]["train"]["sha256"],
        "validation ACC, purified": f"{report['result']['validation_accuracy_purified']:.4g}",
    }.items():
        assert f"| {name} | {value} |" in card
    assert main(["inspect", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == 5
    assert main(["evaluate", str(out), "--data", str(data), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["model"]["acc"]["percent"]
    assert measured == pytest.approx(100 * report["result"]["validation_accuracy_purified"])


def test_healing_a_refinetuned_model_is_refused(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(60))
    command = ["purify", tiny_folder, "--data", tmp_path / "clean.jsonl", "--out", tmp_path / "out"]
    options = ["--protocol", "refinetune", "--healing", "full", "--importance-sentences", "8"]
    assert main([str(each) for each in (*command, *options)]) == 2
    assert "direct" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_members_whose_weights_diverged_are_not_written(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    spoilt = tiny_bert(seed=1)
    with torch.no_grad():
        next(spoilt.parameters())[0] = float("nan")
    ensemble = make_ensemble(tiny_model, [tiny_model.model, spoilt], MASKS)
    with pytest.raises(ModelError, match="finite"):
        save_ensemble(ensemble, tmp_path / "out", {})
