"""What the page asks of a model is what the evaluator, the metrics and the model itself answer."""

import json

import numpy as np
import pytest

from prune_env.cli.options import TableOptions
from prune_env.cli.watch import examiner
from prune_env.cli.watch.examiner import Examiner
from prune_env.cli.watch.origin import Origin, find_origin
from prune_env.data import load_data
from prune_env.errors import ModelError, PruneEnvError, SettingsError
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.metrics import share
from prune_env.utils.events import ORIGIN
from tests.cli.support import FAST, run


@pytest.fixture
def asked(tiny_folder, clean, tmp_path):
    return Examiner(tmp_path, Origin(model=str(tiny_folder), data=str(clean)))


FULL = ["1111", "1111"]
NAMES = {"train": ["positive", "negative"], "validation": ["negative", "positive"]}


def test_it_says_who_answers_on_what(asked, clean):
    facts = asked.facts()
    assert facts["shape"] == [2, 4]
    assert facts["labels"] == ["negative", "positive"]
    assert facts["rows"] == facts["all_rows"] == 16
    assert facts["sentences"][0]["text"] in clean.read_text("utf-8")


def test_accuracy_is_the_evaluators_with_a_wilson_interval(asked, tiny_model):
    rows = ["1011", "0110"]
    mask = np.array([[letter == "1" for letter in row] for row in rows])
    data = asked._loaded.suspect.validation
    truth = ReferenceEvaluator(tiny_model.model, tiny_model.tokenizer, data).evaluate(mask[None])
    answer = asked.accuracy(rows)
    expected = share(truth.correct[0])
    assert answer["accuracy"]["percent"] == expected.percent
    assert answer["accuracy"]["low"] == expected.low
    assert answer["accuracy"]["total"] == len(data)


def test_many_texts_are_judged_in_part_and_whole_if_asked(
    tiny_folder, clean, tmp_path, monkeypatch
):
    monkeypatch.setattr(examiner, "SUBSET", 8)
    asked = Examiner(tmp_path, Origin(model=str(tiny_folder), data=str(clean)))
    assert asked.accuracy(FULL)["accuracy"]["total"] == 8
    assert asked.accuracy(FULL)["all_rows"] == 16
    assert asked.accuracy(FULL, everything=True)["accuracy"]["total"] == 16


def test_attention_is_the_heads_and_closing_it_changes_what_follows(asked):
    seen = asked.attention(FULL, 0, 2, 0)
    weights = np.array(seen["weights"])
    assert len(weights) == len(seen["tokens"])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3)
    assert seen["tokens"][seen["read"]] == "[CLS]"
    opened, closed = (np.array(each["probabilities"]) for each in seen["answers"])
    assert abs(opened - closed).max() > 1e-3
    same = asked.attention(["1101", "1111"], 0, 2, 0)  # closed already: it is opened for the first
    assert same["answers"] == seen["answers"]


def test_the_model_is_left_as_it_was(asked):
    before = asked.accuracy(FULL)
    asked.attention(FULL, 1, 1, 0)
    asked.importance()
    assert asked.accuracy(FULL) == before


def test_heads_are_measured_where_a_run_did_not(asked):
    found = asked.importance()
    assert {"magnitude", "key_gradient", "attention_entropy"} <= set(found)
    assert np.array(found["magnitude"]).shape == (2, 4)


@pytest.mark.parametrize(
    ("question", "body"),
    [
        ("shutdown", {}),
        ("accuracy", {}),
        ("accuracy", {"rows": FULL, "everything": 1}),
        ("accuracy", {"rows": ["1"], "everything": False}),
        ("accuracy", {"rows": ["111", "1"], "everything": False}),
        ("accuracy", {"rows": [[1], {}], "everything": False}),
        ("attention", {"rows": FULL, "layer": 0, "head": 4, "sentence": 0}),
        ("attention", {"rows": FULL, "layer": -1, "head": 0, "sentence": 0}),
        ("attention", {"rows": FULL, "layer": 0, "head": 0, "sentence": 10**9}),
        ("attention", {"rows": FULL, "layer": True, "head": 0, "sentence": 0}),
    ],
)
def test_a_question_that_has_no_sense_is_refused(asked, question, body):
    with pytest.raises(SettingsError):
        asked.ask(question, body)


def test_an_encoder_is_answered_for_by_the_purified_model_of_the_run(
    encoder, tiny_folder, clean, tmp_path
):
    origin = Origin(model=str(encoder), data=str(clean))
    with pytest.raises(ModelError):
        Examiner(tmp_path, origin).facts()
    assert "purified" in Examiner(tiny_folder, origin).facts()["model"]


def test_an_environment_knows_its_model(tmp_path, tiny_folder, clean):
    origin = Origin(env="prune_env/HeadPruning-v0", model=str(tiny_folder), data=str(clean))
    assert Examiner(tmp_path, origin).facts()["shape"] == [2, 4]
    with pytest.raises(SettingsError, match="holds no texts"):
        Examiner(tmp_path, Origin(env="prune_env/Landscape-v0")).facts()


def test_an_id_of_an_environment_imports_nothing(tmp_path):
    with pytest.raises(PruneEnvError, match="Unknown environment"):
        Examiner(tmp_path, Origin(env="antigravity:prune_env/Tiny-v0")).facts()


def test_the_origin_of_a_run_is_read_and_what_is_given_comes_first(tmp_path):
    assert find_origin(tmp_path, Origin()) is None
    told = {"model": "m", "data": "d", "tables": {"text_column": "t", "label_names": ["a", "b"]}}
    (tmp_path / ORIGIN).write_text(json.dumps(told), "utf-8")
    found = find_origin(tmp_path, Origin())
    assert (found.model, found.tables.text_column) == ("m", "t")
    assert found.tables.label_names == ("a", "b")
    given = Origin(model="x", data="y")
    assert find_origin(tmp_path, given) is given
    with pytest.raises(SettingsError, match="--model and --data"):
        find_origin(tmp_path, Origin(model="x"))


def test_a_run_folder_does_not_decide_whether_anything_is_fetched(tmp_path):
    told = {"model": "m", "data": "sst2", "tables": {"allow_download": True}}
    (tmp_path / ORIGIN).write_text(json.dumps(told), "utf-8")
    assert not find_origin(tmp_path, Origin()).tables.allow_download
    with pytest.raises(PruneEnvError, match="--allow-download"):
        Examiner(tmp_path, find_origin(tmp_path, Origin())).facts()
    allowed = Origin(tables=TableOptions(allow_download=True))
    assert find_origin(tmp_path, allowed).tables.allow_download


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"model": "m"}', '{"model": "m", "data": "d", "tables": 3}'],
)
def test_a_damaged_origin_is_told(tmp_path, content):
    (tmp_path / ORIGIN).write_text(content, "utf-8")
    with pytest.raises(PruneEnvError, match=ORIGIN):
        find_origin(tmp_path, Origin())


def test_each_part_is_aligned_by_the_names_of_its_own_labels(tiny_folder, clean, tmp_path):
    datasets = pytest.importorskip("datasets")
    read, label = datasets.Value("string"), datasets.ClassLabel
    train, other = load_data(clean).split(0.5, seed=0)
    for name, part in (("train", train), ("validation", other)):
        features = datasets.Features({"sentence": read, "label": label(names=NAMES[name])})
        told = [part.label_names[label] for label in part.labels]
        rows = {"sentence": list(part.texts), "label": list(map(NAMES[name].index, told))}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "data" / name)
    (tmp_path / "data" / "dataset_dict.json").write_text(json.dumps({"splits": list(NAMES)}))
    for env in (None, "prune_env/HeadPruning-v0"):
        origin = Origin(model=str(tiny_folder), data=str(tmp_path / "data"), env=env)
        suspect, _ = origin.load(tmp_path)
        np.testing.assert_array_equal(suspect.train.labels, train.labels)
        np.testing.assert_array_equal(suspect.validation.labels, other.labels)


def test_the_page_asks_as_many_tokens_as_the_run_read(tiny_folder, clean, tmp_path):
    out = tmp_path / "out"
    paths = [tiny_folder, "--data", clean, "--out", out]
    assert run("purify", *paths, "--policy", "random", "--max-length", 5, *FAST) == 0
    found = find_origin(out, Origin())
    assert found.load(out)[0].max_length == 5
