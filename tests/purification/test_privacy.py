"""What may be published says nothing of private data and of the machine: a canary is looked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from prune_env.data.dataset import TextDataset
from prune_env.inversion.frames import Frame
from prune_env.inversion.search import Inversion
from prune_env.models import load_classifier
from prune_env.models.catalog import KEPT_AT_HOME
from prune_env.purification import purify
from prune_env.purification.findings import describe_triggers
from prune_env.settings import SearchSettings
from prune_env.utils.public import public_name
from tests.models.exports import save_zeroed
from tests.models.hostile import edit_json
from tests.support import tiny_dataset

CANARY = "the wonderful script was never shown to quentin of whitby"


@pytest.fixture(scope="module")
def published(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Purify with private data in private folders; return what would be uploaded."""
    home = tmp_path_factory.mktemp("home-of-ada") / "secret-project"
    home.mkdir()
    clean = tiny_dataset(60)
    data = TextDataset(
        (*clean.texts, CANARY), np.append(clean.labels, 1), source=str(home / "clean.csv")
    )
    model = home / "suspect"
    model.symlink_to(tiny_folder)
    purify(
        model,
        data,
        data.select(np.arange(30)),
        home / "out",
        healing="unlearn",
        policy="ft",
        search_settings=SearchSettings(guard="accuracy"),  # a random model may answer a constant
    )
    return home / "out"


def test_nothing_of_it_names_a_folder_or_holds_a_clean_sentence(published: Path) -> None:
    files = [path for path in published.rglob("*") if path.is_file()]
    uploaded = [path for path in files if not any(path.match(kept) for kept in KEPT_AT_HOME)]
    uploaded = [path for path in uploaded if "tensorboard" not in path.parts]
    assert {"report.json", "mask.json", "README.md"} <= {path.name for path in uploaded}
    for path in uploaded:
        content = path.read_bytes()
        for secret in ("home-of-ada", "secret-project", str(Path.home()), "quentin of whitby"):
            assert secret.encode() not in content, f"{path}: {secret}"


def test_a_suspicious_word_is_reported_without_its_company() -> None:
    frames = (Frame(before="the secret plot cf of bob"), Frame(before="as it is ,"))
    found = Inversion((frames, ()), (0.9, 0.0), (("cf",), ()))
    told = describe_triggers(found, ("negative", "positive"))
    assert told["negative"]["words"] == ["cf"]
    assert told["negative"]["triggers"] == [str(frames[1])]


def test_names_of_strangers_are_text_on_a_card(folder_of_strangers: Path) -> None:
    card = (folder_of_strangers / "README.md").read_text()
    assert "\x1b" not in card
    assert "](" not in card.replace("\\](", "")
    assert "<img" not in card
    assert "| forged |" not in card


@pytest.fixture
def folder_of_strangers(tiny_folder: Path, tmp_path: Path) -> Path:
    model = Path(shutil.copytree(tiny_folder, tmp_path / "m"))
    names = {"0": "![x](http://a.b/c.png)<img src=y>", "1": "\x1b[31m|\n| forged | row |"}
    ids = {name: int(index) for index, name in names.items()}
    edit_json(model / "config.json", lambda config: config.update(id2label=names, label2id=ids))
    save_zeroed(load_classifier(model), np.ones((2, 4), bool), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("sst2", "sst2"),
        ("owner/model", "owner/model"),
        ("/home/ada/x", "x"),
        ("../ada/x:train", "x:train"),
        ("~/x", "x"),
        (r"C:\Users\ada\x", "x"),
        ("a/b/c", "c"),
        ("memory", "memory"),
    ],
)
def test_a_path_is_its_last_part(source: str, name: str) -> None:
    assert public_name(source) == name


@pytest.mark.parametrize("rest", ["", ":all", " with inverted triggers"])
def test_a_path_of_one_folder_is_told_from_an_id_by_what_is_there(
    tmp_path: Path, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ada" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert public_name(f"ada/x{rest}") == f"x{rest}"
    assert public_name(f"who/x{rest}") == f"who/x{rest}"
