"""What the verbs are run on: clean data and an encoder, made once."""

from pathlib import Path

import pytest

from prune_env.data.dataset import write_jsonl
from tests.support import tiny_bert, tiny_dataset, tiny_tokenizer


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "clean.jsonl"
    write_jsonl(path, tiny_dataset(80))
    return path


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    for seed, part in enumerate(("train", "validation", "test")):
        write_jsonl(folder / f"{part}.jsonl", tiny_dataset(60, seed))
    return folder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tiny_bert().bert.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
