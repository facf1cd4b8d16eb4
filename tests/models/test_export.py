import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from prune_env.errors import (
    ModelError,
    OutputExistsError,
    SettingsError,
)
from prune_env.models import (
    HeadGates,
    LoadedModel,
    find_heads,
    inspect_source,
    load_classifier,
    load_mask,
    load_pruned,
    write_zeroed,
    zero_heads,
)
from tests.models.exports import save_sliced, save_zeroed
from tests.models.tiny import SIZES, gated, tiny_classifier, tiny_inputs

MASK = np.array([[True, False, True, True], [False, True, True, False]])


def test_zeroed_loads_with_plain_transformers(tiny_model: LoadedModel, tmp_path: Path) -> None:
    save_zeroed(tiny_model, MASK, tmp_path / "out", {"policy": "gradient", "ACC": 0.91234567})
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(["the film is great"], return_tensors="pt")
    with HeadGates(tiny_model.model) as gates, torch.no_grad():
        gates.set(MASK)
        assert torch.equal(model(**batch).logits, tiny_model.model(**batch).logits)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    meta = json.loads((tmp_path / "out" / "mask.json").read_text())["meta"]
    assert meta == {"source": "tiny", "source_sha256": tiny_model.sha256}


def test_the_model_card_tells_the_story(tiny_model: LoadedModel, tmp_path: Path) -> None:
    facts = {"policy": "gradient", "ACC": 0.91234567, "data": "a|b\n# <script>"}
    save_zeroed(tiny_model, MASK, tmp_path / "unknown")
    assert "| LFR | not measured" in (tmp_path / "unknown" / "README.md").read_text()
    save_zeroed(tiny_model, MASK, tmp_path / "out", {**facts, "LFR": 0.25})
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\npipeline_tag: text-classification\n")
    for line in (
        f"| source SHA-256 | {tiny_model.sha256} |",
        "| heads pruned | 3 of 8 |",
        "| policy | gradient |",
        "| ACC | 0.9123 |",
        "| LFR | 0.25 |",
        "| data | a\\|b # &lt;script> |",
        "- layer 1: 0, 3",
        'AutoModelForSequenceClassification.from_pretrained("path/to/this/folder")',
    ):
        assert line in card.splitlines() or line in card


def test_the_card_of_a_sliced_model_says_whether_a_head_is_cut(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    for mask, form in ((MASK, "sliced"), (np.ones_like(MASK), "sliced, though no head is cut out")):
        save_sliced(tiny_model, mask, tmp_path / form)
        assert f"| form | {form} |" in (tmp_path / form / "README.md").read_text()


def test_saving_leaves_the_model_as_it_was(tiny_model: LoadedModel, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in tiny_model.model.state_dict().items()}
    save_zeroed(tiny_model, MASK, tmp_path / "zeroed")
    save_sliced(tiny_model, MASK, tmp_path / "sliced")
    after = tiny_model.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_value_rows_go_only_if_no_kept_head_reads_them() -> None:
    loaded = tiny_classifier("qwen2")
    zero_heads(loaded.model, [[True, False, False, False], [True] * 4])
    value = find_heads(loaded.model).layers[0].value
    bias = value.bias()
    assert value.weight()[:8].any()
    assert not value.weight()[8:].any()
    assert bias is not None
    assert not bias[8:].any()


@pytest.mark.parametrize("save", [save_zeroed, save_sliced])
def test_an_existing_folder_is_kept(save: object, tiny_model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OutputExistsError):
        save(tiny_model, MASK, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("save", [save_zeroed, save_sliced])
def test_nothing_half_written_stays(save: object, tiny_model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        save(tiny_model, MASK[:1], tmp_path / "out")
    with torch.no_grad():
        tiny_model.model.classifier.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"classifier\.bias"):
        save(tiny_model, MASK, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_open_folder_can_be_written_into(tiny_model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    write_zeroed(tiny_model, MASK, tmp_path)
    assert inspect_source(tmp_path).problems == ()
    assert np.array_equal(load_mask(tmp_path / "mask.json"), MASK)


@pytest.mark.parametrize("model_type", sorted(SIZES))
def test_sliced_saves_and_loads(model_type: str, tmp_path: Path) -> None:
    loaded = tiny_classifier(model_type)
    mask = MASK[: len(find_heads(loaded.model).layers)]  # ALBERT's layers share one module
    save_sliced(loaded, mask, tmp_path / "sliced")
    save_zeroed(loaded, mask, tmp_path / "zeroed")
    again = load_pruned(tmp_path / "sliced")
    with torch.no_grad():
        actual = again.model(**tiny_inputs(loaded)).logits
    torch.testing.assert_close(actual, gated(loaded, mask), rtol=1e-5, atol=1e-5)
    assert again.label_names == loaded.label_names
    assert not again.new_head
    small, large = (
        (tmp_path / form / "model.safetensors").stat().st_size for form in ("sliced", "zeroed")
    )
    assert small < large
    assert "prune_env.load_pruned" in (tmp_path / "sliced" / "README.md").read_text()


@pytest.mark.parametrize("save", [save_zeroed, save_sliced])
def test_a_sliced_model_is_not_exported_again(
    save: object, tiny_model: LoadedModel, tmp_path: Path
) -> None:
    save_sliced(tiny_model, MASK, tmp_path / "once")
    once = load_pruned(tmp_path / "once")
    with pytest.raises(ModelError, match="sliced already"):
        save(once, np.ones(find_heads(once.model).shape), tmp_path / "twice")
    assert [path.name for path in tmp_path.iterdir()] == ["once"]


def edit(folder: Path, **changes: object) -> None:
    path = folder / "sliced.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 2},
        {"weights_sha256": "0" * 64},
        {"layers": None},
        {"layers": []},
        {"layers": [{"heads": [0, 1, 2, 3], "kv_heads": [0, 1, 2, 3]}] * 2},
        {"layers": [{"heads": [0, 9, 3], "kv_heads": [0, 2, 3]}] * 2},
        {"layers": [{"heads": [], "kv_heads": []}] * 2},
        {"layers": [{"heads": [0, 0, 1], "kv_heads": [0, 0, 1]}] * 2},
        {"layers": [{"heads": [0, 1], "kv_heads": [0, 1, 2]}] * 2},
        {"layers": [{"heads": "02", "kv_heads": [0]}] * 2},
        {"layers": [{"heads": [True], "kv_heads": [0]}] * 2},
        {"layers": [3, 4]},
    ],
    ids=str,
)
def test_a_tampered_manifest_is_refused(
    tiny_model: LoadedModel, tmp_path: Path, changes: dict[str, object]
) -> None:
    save_sliced(tiny_model, MASK, tmp_path / "out")
    load_pruned(tmp_path / "out")
    edit(tmp_path / "out", **changes)
    with pytest.raises(ModelError, match=r"sliced|manifest"):
        load_pruned(tmp_path / "out")


def test_tampered_weights_are_refused(tiny_model: LoadedModel, tmp_path: Path) -> None:
    save_sliced(tiny_model, MASK, tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ModelError, match="SHA-256"):
        load_pruned(tmp_path / "out")


def test_weights_in_shards_are_not_those_of_the_manifest(
    tiny_model: LoadedModel, tmp_path: Path
) -> None:
    save_sliced(tiny_model, MASK, tmp_path / "out")
    (tmp_path / "out" / "model.safetensors").rename(tmp_path / "out" / "part.safetensors")
    index = {"weight_map": {"classifier.bias": "part.safetensors"}}
    (tmp_path / "out" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="no such file"):
        load_pruned(tmp_path / "out")


def test_the_safe_loader_refuses_a_sliced_folder(tiny_model: LoadedModel, tmp_path: Path) -> None:
    save_sliced(tiny_model, MASK, tmp_path / "out")
    with pytest.raises(ModelError, match="load_pruned"):
        load_classifier(tmp_path / "out")
