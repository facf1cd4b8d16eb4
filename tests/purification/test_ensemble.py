import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.cli import main
from prune_env.data.dataset import TextDataset
from prune_env.data.writers import write_jsonl
from prune_env.errors import PruneEnvError, SettingsError
from prune_env.models import LoadedModel, load_classifier
from prune_env.purification import Ensemble, load_ensemble, save_ensemble
from prune_env.purification.ensemble import together
from prune_env.scores import classify
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
    ensemble = together(tiny_model, models, MASKS)
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
        probabilities(together(deepcopy(tiny_model), [tiny_model.model], [mask]), tiny_data)
        for mask in MASKS
    ]
    vote = probabilities(together(tiny_model, [tiny_model.model], MASKS), tiny_data)
    assert not np.allclose(alone[0], alone[1])
    np.testing.assert_allclose(vote, np.mean(alone, axis=0), atol=1e-6)
    # A member that keeps every head is the model itself.
    np.testing.assert_allclose(alone[1], probabilities(tiny_model, tiny_data), atol=1e-6)


def test_sure_members_give_finite_logits(tiny_model: LoadedModel, tiny_data: TextDataset) -> None:
    tiny_model.model.classifier.weight.data *= 1e4
    vote = together(tiny_model, [tiny_model.model], MASKS)
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
            "models": {"weights_sha256": ["a", "b", "c"]},
            "names": {"label_names": 2},
        }
        text = "[]" if how == "no table" else json.dumps({**manifest, **changes[how]})
        (folder / "ensemble.json").write_text(text)


@pytest.mark.parametrize(
    "how",
    [
        "no manifest",
        "other weights",
        "no mask",
        "other format",
        "too many",
        "models",
        "names",
        "no table",
    ],
)
def test_a_damaged_ensemble_is_refused(tiny_model: LoadedModel, tmp_path: Path, how: str) -> None:
    save_ensemble(together(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
    damage(tmp_path / "out", how)
    with pytest.raises(PruneEnvError):
        load_ensemble(tmp_path / "out")


def test_an_ensemble_of_untrusted_files_is_loaded_as_strictly_as_a_model(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    save_ensemble(together(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
    config = tmp_path / "out" / "model-0" / "config.json"
    content = {**json.loads(config.read_text()), "auto_map": {"AutoModel": "evil.Model"}}
    config.write_text(json.dumps(content))
    with pytest.raises(PruneEnvError, match="auto_map"):
        load_ensemble(tmp_path / "out")


def test_members_are_ordinary_classifiers(
    tiny_model: LoadedModel, tiny_data: TextDataset, tmp_path: Path
) -> None:
    save_ensemble(together(tiny_model, [tiny_model.model], MASKS), tmp_path / "out")
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
