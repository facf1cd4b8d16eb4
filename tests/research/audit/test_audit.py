"""Audits of a tiny model, from the values to the report."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from prune_env.env.rewards.reward import REWARDS, Reward
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError, UnknownNameError
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.metrics import calibrated_threshold, label_flip_rate
from prune_env.evaluation.suspect import Suspect
from prune_env.models import load_classifier
from prune_env.research.audit import AuditSettings, audit, write_report
from prune_env.research.audit.audit import HIDDEN, LEAN
from prune_env.research.audit.correlation import COLUMNS, Correlation
from prune_env.research.audit.report import ranked
from prune_env.research.audit.results import Results
from prune_env.utils.registry import Entry
from tests.models.hostile import edit_json

SETTINGS = AuditSettings(rewards=("sparsity", "accuracy"), masks=14, paths=("magnitude",))


@pytest.fixture(scope="module")
def parts(tiny_folder, tiny_data):
    loaded = load_classifier(tiny_folder)
    clean = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data)
    negatives = tiny_data.where(0)
    triggered = ReferenceEvaluator(loaded.model, loaded.tokenizer, negatives)
    importance = np.arange(8.0).reshape(2, 4, 1)
    texts = Suspect(loaded, tiny_data, tiny_data, clean)
    return Subject(clean, importance, ("magnitude",), texts=texts), triggered


def test_every_mask_is_measured(parts, tmp_path):
    subject, triggered = parts
    result = audit(subject, triggered, SETTINGS, tmp_path / "masks.json")
    assert set(result.hidden) == set(HIDDEN)
    assert set(result.rewards) == {"sparsity", "accuracy", LEAN}
    assert set(result.correlations["sparsity"]) == set(COLUMNS)
    pruned = (~result.masks).sum(axis=(1, 2))
    assert np.array_equal(result.hidden["pruned"], pruned)
    assert np.allclose(result.rewards["sparsity"], pruned / 8)
    assert np.array_equal(result.rewards["accuracy"], subject.evaluator.accuracy(result.masks))
    logits = subject.evaluator.evaluate(result.masks).logits
    hits = triggered.evaluate(result.masks).logits
    for row in range(len(result.masks)):
        threshold = calibrated_threshold(logits[row], subject.evaluator.labels)
        assert result.hidden["lfr"][row] == label_flip_rate(hits[row]).percent / 100
        calibrated = label_flip_rate(hits[row], threshold=threshold).percent / 100
        assert result.hidden["lfr_calibrated"][row] == calibrated


def test_a_reward_that_knows_the_lfr_is_told_apart_from_its_opposite(parts, tmp_path, monkeypatch):
    subject, triggered = parts

    class Knows(Reward):
        name = "knows"

        def score(self, subject, masks, accuracy):
            clean, hits = subject.evaluator.evaluate(masks), triggered.evaluate(masks)
            return np.array(
                [
                    -label_flip_rate(
                        after, threshold=calibrated_threshold(before, clean.labels)
                    ).percent
                    for before, after in zip(clean.logits, hits.logits, strict=True)
                ]
            )

    monkeypatch.setattr(REWARDS, "_entries", dict(REWARDS._entries))
    REWARDS.register("knows", Knows, help="the hidden LFR")
    settings = AuditSettings(rewards=("knows", "-1 * knows"), masks=40, paths=())
    result = audit(subject, triggered, settings, tmp_path / "masks.json")
    assert result.correlations["knows"]["calibrated"].value == pytest.approx(1)
    assert result.correlations["-1 * knows"]["calibrated"].value == pytest.approx(-1)


def test_a_stopped_audit_goes_on_and_computes_only_what_is_missing(parts, tmp_path, monkeypatch):
    subject, triggered = parts
    path = tmp_path / "masks.json"
    whole = audit(subject, triggered, SETTINGS, path)
    content = json.loads(path.read_text())
    for name in content["columns"]:
        content["columns"][name] = content["columns"][name][:5]
    del content["columns"]["reward accuracy"]
    path.write_text(json.dumps(content))
    asked = []
    evaluate = type(triggered).evaluate  # the class's: the evaluator itself is shared

    def counted(self, masks):
        if self is triggered:
            asked.append(len(masks))
        return evaluate(self, masks)

    monkeypatch.setattr(type(triggered), "evaluate", counted)
    again = audit(subject, triggered, SETTINGS, path)
    assert sum(asked) == len(whole.masks) - 5
    assert all(np.array_equal(again.rewards[name], whole.rewards[name]) for name in whole.rewards)
    asked.clear()
    more = AuditSettings(**{**vars(SETTINGS), "rewards": ("sparsity", "0.5 * accuracy")})
    audit(subject, triggered, more, path)
    assert asked == []  # the hidden LFR is known


def test_a_second_audit_is_refused_while_one_is_under_way(parts, tmp_path, monkeypatch):
    """It would judge other rewards, which the first one then writes over."""
    path = tmp_path / "masks.json"
    slow, fast = (replace(SETTINGS, rewards=(name,)) for name in ("sparsity", "accuracy"))
    extend = Results.extend
    tried = []

    def meanwhile(self, values):
        if not tried:
            tried.append(path)
            with pytest.raises(StateError, match=r"Another process audits into .*masks\.json"):
                audit(*parts, fast, path)
        extend(self, values)

    monkeypatch.setattr(Results, "extend", meanwhile)
    audit(*parts, slow, path)
    assert tried
    audit(*parts, fast, path)
    assert set(Results.read(path).rewards) == {"sparsity", "accuracy"}
    assert list(tmp_path.iterdir()) == [path]


def test_values_of_another_audit_are_refused(parts, tmp_path):
    subject, triggered = parts
    path = tmp_path / "masks.json"
    audit(subject, triggered, SETTINGS, path)
    with pytest.raises(StateError, match=r"another audit\. Expected: seed: 1\. Actual: seed: 0\."):
        audit(subject, triggered, AuditSettings(**{**vars(SETTINGS), "seed": 1}), path)
    path.write_text('{"format": "other"}')
    with pytest.raises(StateError, match="no file of an audit"):
        audit(subject, triggered, SETTINGS, path)


def test_other_training_data_is_another_audit(parts, tmp_path):
    subject, triggered = parts
    path = tmp_path / "masks.json"
    audit(subject, triggered, SETTINGS, path)
    shorter = replace(subject.suspect, train=subject.suspect.train.select(np.arange(20)))
    other = replace(subject, texts=shorter)
    with pytest.raises(StateError, match=r"another audit\. Expected: train"):
        audit(other, triggered, SETTINGS, path)
    content = json.loads(path.read_text())
    del content["identity"]["train"]  # as files of earlier versions
    path.write_text(json.dumps(content))
    audit(other, triggered, SETTINGS, path)


def test_an_audit_goes_on_in_its_own_precision(parts, tmp_path, monkeypatch):
    """Half of its values would carry a rounding that the other half does not."""
    path = tmp_path / "masks.json"
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    audit(*parts, SETTINGS, path)
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "bf16")
    with pytest.raises(StateError, match=r"Actual: fp32\. Remedy: set PRUNE_ENV_PRECISION=fp32,"):
        audit(*parts, SETTINGS, path)
    edit_json(path, lambda content: content["identity"].pop("precision"))  # as earlier versions
    audit(*parts, SETTINGS, path)


def test_a_reward_goes_on_with_its_own_code_only(parts, tmp_path, monkeypatch):
    """That of others changes under a name that stays; one column would hold values of two."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from prune_env.env.rewards.reward import Sparsity\nclass Paid(Sparsity): name = 'paid'"
    for module, more in (("judged_before", ""), ("judged_after", "; new = 1")):
        (tmp_path / f"{module}.py").write_text(text + more)
    path = tmp_path / "masks.json"

    def go_on(module, *rewards):
        monkeypatch.setitem(REWARDS._entries, "paid", Entry("paid", "", f"{module}:Paid"))
        audit(*parts, replace(SETTINGS, rewards=rewards), path)

    go_on("judged_before", "sparsity")
    go_on("judged_before", "2 * paid", "accuracy")
    go_on("judged_before", "2 * paid")
    kept = path.read_bytes()
    with pytest.raises(StateError, match=r"Expected: 2 \* paid: code of paid \w+\. Actual: 2 \*"):
        go_on("judged_after", "2 * paid")
    assert path.read_bytes() == kept
    go_on("judged_after", "sparsity", "accuracy", "paid")  # further rewards are welcome
    go_on("judged_before", "2 * paid")
    edit_json(path, lambda content: content["columns"].pop("reward 2 * paid"))
    go_on("judged_after", "2 * paid")  # stopped before the first value
    with pytest.raises(StateError, match="another audit"):
        go_on("judged_before", "2 * paid")
    edit_json(path, lambda content: content["identity"].pop("code"))  # as files of earlier versions
    go_on("judged_before", "2 * paid")
    edit_json(path, lambda content: content["identity"].update(code=5))
    with pytest.raises(StateError, match="no file of an audit"):
        go_on("judged_before", "2 * paid")


def test_the_report_names_every_reward_and_draws_it(parts, tmp_path):
    subject, triggered = parts
    result = audit(subject, triggered, SETTINGS, tmp_path / "masks.json")
    write_report(result, tmp_path, {"model": "tiny", "clean": "tiny"})
    text = (tmp_path / "report.md").read_text()
    assert "| sparsity |" in text
    assert LEAN in text
    for name in ("sparsity", "accuracy", "no-lean-to-the-target"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 5000
        assert f"figures/{name}.png" in text
    value = json.loads((tmp_path / "audit.json").read_text())
    assert value["model"] == "tiny"
    for name in ("sparsity", "accuracy"):
        found = value["correlations"][name]["calibrated"]
        assert -1 <= found["low"] <= found["value"] <= found["high"] <= 1
    # Nothing is left of a reward that is itself held fixed.
    assert value["correlations"]["sparsity"]["pruned"] is None
    assert value["correlations"]["accuracy"]["accuracy"] is None


def test_each_reward_has_a_picture_of_its_own(parts, tmp_path):
    names = ("2 * sparsity", "-2 * sparsity", "2*sparsity")
    settings = replace(SETTINGS, rewards=names)
    write_report(audit(*parts, settings, tmp_path / "masks.json"), tmp_path, {})
    text = (tmp_path / "report.md").read_text()
    shown = re.findall(r"!\[(.*) against the hidden LFR\]\((.*)\)", text)
    assert {name for name, _ in shown} == {*names, LEAN}
    assert len({(tmp_path / picture).read_bytes() for _, picture in shown}) == 4


def test_the_best_reward_is_on_top_and_those_not_ranked_below_all_others(parts, tmp_path):
    result = audit(*parts, SETTINGS, tmp_path / "masks.json")
    values = {LEAN: 0.9, "unranked": None, "worst": -0.8, "best": 0.7, "none": 0.0}
    found = {
        name: {"all": None if value is None else Correlation(value, value, value, 14)}
        for name, value in values.items()
    }
    result = replace(result, correlations=found)
    assert ranked(result) == ["best", "none", "worst", "unranked", LEAN]


def test_settings_are_checked(parts, tmp_path):
    for wrong in ({"rewards": ()}, {"masks": 7}, {"max_drop": 2.0}):
        with pytest.raises(SettingsError):
            AuditSettings(**{**vars(SETTINGS), **wrong})
    unknown = AuditSettings(rewards=("nonsense",))
    with pytest.raises(UnknownNameError):
        audit(*parts, unknown, tmp_path / "masks.json")
