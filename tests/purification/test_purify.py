"""Arguments of the public function."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from prune_env import load_data, purify
from prune_env.data.dataset import write_jsonl
from prune_env.errors import OutputExistsError, SettingsError
from prune_env.settings import FineTuneSettings, SearchSettings
from prune_env.utils.files import sha256_of
from tests.support import tiny_bert, tiny_dataset, write_tiny_folder

TUNING = FineTuneSettings(epochs=1, learning_rate=1e-3, batch_size=16, precision="fp32")
SEARCH = SearchSettings(max_drop=1.0)
TRAIN, VALIDATION = tiny_dataset(60, 0), tiny_dataset(30, 1)


def test_options_of_loading_are_taken_by_keyword(tiny_folder: Path, tmp_path: Path) -> None:
    report = purify(
        tiny_folder,
        TRAIN,
        VALIDATION,
        tmp_path / "out",
        policy="ft",
        search_settings=SEARCH,
        fine_tune_settings=TUNING,
        head="new",
        allow_download=False,
        revision=None,
        attn_implementation="eager",
    )
    assert report["model"]["new_head"]
    with pytest.raises(TypeError, match="trust_remote_code"):
        purify(tiny_folder, TRAIN, VALIDATION, tmp_path / "again", trust_remote_code=True)
    with pytest.raises(
        TypeError, match=r"'tau': give search_settings=SearchSettings\(tau=\.\.\.\)"
    ):
        purify(tiny_folder, TRAIN, VALIDATION, tmp_path / "again", tau=0.8)
    assert not (tmp_path / "again").exists()


def test_nothing_is_written_into_the_folder_of_the_source(tmp_path: Path) -> None:
    source = write_tiny_folder(tmp_path / "model")
    before = sorted(source.iterdir())
    with pytest.raises(OutputExistsError, match="inside the model's own folder"):
        purify(source, TRAIN, VALIDATION, source / "out", policy="ft")
    assert sorted(source.iterdir()) == before


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"train": "clean.tsv"}, "load_data"),
        ({"validation": None}, "NoneType None"),
        ({"seed": -1}, "seed is out of range"),
        ({"seed": 1.5}, "a whole number"),
        ({"units": "foo"}, "units is unknown"),
    ],
)
def test_arguments_of_another_kind_are_named(
    tiny_folder: Path, tmp_path: Path, wrong: dict, hint: str
) -> None:
    given = {"train": TRAIN, "validation": VALIDATION, "policy": "gradient"} | wrong
    with pytest.raises(SettingsError, match=hint):
        purify(tiny_folder, out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_what_is_read_by_public_names_is_purified(tiny_folder: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "clean.jsonl", tiny_dataset(80))
    train, validation = load_data(tmp_path / "clean.jsonl").split(0.2, seed=0)
    mask = tmp_path / "mask.json"
    mask.write_text('{"0": [1]}')
    plain = SearchSettings(guard="accuracy")  # a random model may answer a constant
    report = purify(
        tiny_folder, train, validation, tmp_path / "out", mask=mask, search_settings=plain
    )
    assert report["result"]["heads_pruned"] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"search_settings": {"tau": 0.5}}, r"search_settings is of the wrong type.*dict"),
        ({"fine_tune_settings": {"epochs": 1}}, r"fine_tune_settings is of the wrong type.*dict"),
        ({"train": "clean.tsv"}, r"train is of the wrong type.*load_data\(path\)"),
        ({"unlabelled": "a.txt"}, r"unlabelled is of the wrong type.*read_unlabelled\(path\)"),
        ({"unlabelled": ["a film"]}, r"unlabelled is of the wrong type.*list"),
        ({"unlabelled": TRAIN}, r"unlabelled is of the wrong type.*TextDataset"),
        ({"source": tiny_bert()}, r"source is no path.*BertForSeq.*save_pretrained\(folder\)"),
        ({"source": None}, "source is no path.*NoneType"),
        ({"out": None}, "out is no path.*NoneType"),
        ({"out": ""}, "out is no path.*str ''"),
        ({"policy": None}, "policy is no path.*NoneType"),
        ({"mask": np.ones((2, 4), bool)}, r"mask is no path.*ndarray.*save_mask\(path, mask\)"),
        ({"mask": {"0": [1]}}, "mask is no path.*dict.*as JSON"),
    ],
)
def test_arguments_of_another_type_are_refused_at_once(
    wrong: dict, said: str, tiny_folder: Path, tmp_path: Path
) -> None:
    given = {"source": tiny_folder, "train": TRAIN, "validation": VALIDATION}
    with pytest.raises(SettingsError, match=said):
        purify(**given | {"out": tmp_path / "out"} | wrong)
    assert not (tmp_path / "out").exists()


def test_in_threads_they_take_turns_and_leave_the_generators_alone(
    tiny_folder: Path, tmp_path: Path
) -> None:
    def trained(name: str) -> str:
        report = purify(
            *(tiny_folder, TRAIN, VALIDATION, tmp_path / name),
            policy="ft",
            search_settings=SEARCH,
            fine_tune_settings=TUNING,
            head="new",
            seed=np.int64(3),
        )
        assert report["run"]["seed"] == 3
        return sha256_of(tmp_path / name / "model.safetensors")

    def states() -> tuple[list, list, tuple]:
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
        )

    before = states()
    alone = trained("alone")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(trained, ["one", "two"])) == [alone, alone]
    assert states() == before


@pytest.mark.parametrize("name", ["epochs", "batch_size", "max_length"])
def test_a_fine_tuning_counts_in_whole_numbers(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is no whole number"):
        FineTuneSettings(**{name: 7.5})


@pytest.mark.parametrize("name", ["prune_step", "budget", "importance_sentences"])
def test_a_search_counts_in_whole_numbers(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is no whole number"):
        SearchSettings(**{name: 2.5})
