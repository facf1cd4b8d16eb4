"""Pairs of texts are read from two columns, and no text is taken for one."""

from pathlib import Path

import pytest

from prune_env import load_data, read_unlabelled
from prune_env.data.checks import require_one_form
from prune_env.data.dataset import TextDataset, write_jsonl
from prune_env.data.pairs import BETWEEN, as_arguments, first_and_second, is_pair, shown, text_pair
from prune_env.data.table_format import TableFormat
from prune_env.data.unlabelled import Unlabelled
from prune_env.errors import DataError, SettingsError

PAIRS = (("a man sleeps", "nobody is awake"), ("it rains", "it is dry"))
ROWS = {
    "a.tsv": "premise\thypothesis\tlabel\na man sleeps\tnobody is awake\t1\n"
    "it rains\tit is dry\t0\n",
    "a.csv": 'label,hypothesis,premise\n1,nobody is awake,"a man sleeps"\n0,it is dry,it rains\n',
    "a.jsonl": '{"premise": "a man sleeps", "hypothesis": " nobody is awake ", "label": 1}\n'
    '{"premise": "it rains", "hypothesis": "it is dry", "label": 0}\n',
}
COLUMNS = {"text_column": "premise", "pair_column": "hypothesis"}


def _read(path: Path, content: str, **columns: str) -> TextDataset:
    path.write_text(content)
    data = load_data(path, **(columns or COLUMNS))
    assert isinstance(data, TextDataset)
    return data


@pytest.mark.parametrize("name", ROWS)
def test_both_columns_are_read(tmp_path: Path, name: str) -> None:
    data = _read(tmp_path / name, ROWS[name])
    assert tuple(map(first_and_second, data.texts)) == PAIRS
    assert data.labels.tolist() == [1, 0]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    data = TextDataset([text_pair(*pair) for pair in PAIRS], [1, 0])
    tables = TableFormat(text_column="a", pair_column="b")
    write_jsonl(tmp_path / "out.jsonl", data, tables.columns)
    assert '{"a": "it rains", "b": "it is dry", "label": 0}' in (tmp_path / "out.jsonl").read_text()
    assert tables.load(str(tmp_path / "out.jsonl")).sha256 == data.sha256  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("premise\tlabel\na man\t1\n", "column 'hypothesis' is missing"),
        (
            "premise\thypothesis\tlabel\na man\t\t1\n",
            "a text in column 'hypothesis'.*an empty text",
        ),
        ("premise\thypothesis\tlabel\n\tso\t1\n", "a text in column 'premise'.*an empty text"),
        (f"premise\thypothesis\tlabel\na {BETWEEN} b\tso\t1\n", r"U\+FDD0"),
    ],
)
def test_a_row_without_both_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _read(tmp_path / "a.tsv", content)


def test_a_plain_text_is_never_taken_for_a_pair(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"U\+FDD0"):
        _read(tmp_path / "a.tsv", f"sentence\tlabel\na {BETWEEN} b\t1\n", text_column="sentence")
    (tmp_path / "a.txt").write_text(f"a {BETWEEN} b\n")
    with pytest.raises(DataError, match=r"U\+FDD0"):
        read_unlabelled(tmp_path / "a.txt")


def test_columns_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(ROWS["a.tsv"])
    for wrong in ("premise", "label"):
        with pytest.raises(SettingsError, match=f"3 names.*{wrong}.*--pair-column"):
            load_data(tmp_path / "a.tsv", text_column="premise", pair_column=wrong)
    with pytest.raises(SettingsError, match="Images come one a row"):
        load_data(tmp_path / "a.tsv", image_column="premise", pair_column="hypothesis")
    with pytest.raises(SettingsError, match=r"A column is named by text.*int 2"):
        load_data(tmp_path / "a.tsv", text_column="premise", pair_column=2)  # type: ignore[call-overload]


def test_pairs_without_labels_come_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        ROWS["a.jsonl"] + '{"premise": "", "hypothesis": " ", "label": 0}\n'
    )
    found = read_unlabelled(tmp_path / "a.jsonl", **COLUMNS)
    assert tuple(map(first_and_second, found.texts)) == PAIRS
    (tmp_path / "a.txt").write_text("it rains\n")
    with pytest.raises(DataError, match="one text a line, and pairs of texts were asked for"):
        read_unlabelled(tmp_path / "a.txt", **COLUMNS)
    with pytest.raises(SettingsError, match=r"2 names.*premise, premise"):
        read_unlabelled(tmp_path / "a.jsonl", text_column="premise", pair_column="premise")
    (tmp_path / "c.jsonl").write_text(ROWS["a.jsonl"] + '{"premise": "so", "hypothesis": ""}\n')
    with pytest.raises(DataError, match=r"row 3.*column 'hypothesis'.*an empty text"):
        read_unlabelled(tmp_path / "c.jsonl", **COLUMNS)
    assert read_unlabelled(tmp_path / "c.jsonl", **COLUMNS, on_bad_row="skip").skipped == 1
    (tmp_path / "b.jsonl").write_text('{"premise": "so", "hypothesis": 3}\n')
    with pytest.raises(DataError, match=r"row 1 \(line 1\).*column 'hypothesis'.*int 3"):
        read_unlabelled(tmp_path / "b.jsonl", **COLUMNS)


def test_a_tokenizer_gets_two_texts_only_of_pairs() -> None:
    assert as_arguments(["a", "b"]) == (["a", "b"],)
    assert as_arguments([text_pair("a", "b"), "c"]) == (["a", "c"], ["b", ""])
    assert is_pair(text_pair("a", ""))
    assert shown(text_pair("a", "b")) == "a / b"


def test_the_library_datasets_gives_pairs_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    first, second = zip(*PAIRS, strict=True)
    table = {"premise": first, "hypothesis": second, "label": [1, 0]}
    datasets.Dataset.from_dict(table).save_to_disk(str(tmp_path / "saved"))
    data = load_data(tmp_path / "saved", **COLUMNS)
    assert tuple(map(first_and_second, data.texts)) == PAIRS  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [None, float("nan"), 3, text_pair("a", "b")])
def test_what_is_no_text_makes_no_pair(wrong: object) -> None:
    with pytest.raises(DataError, match="made of two texts"):
        text_pair("a man sleeps", wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="made of two texts"):
        text_pair(wrong, "a man sleeps")  # type: ignore[arg-type]


def test_pairs_and_single_texts_do_not_mix() -> None:
    pairs = TextDataset([text_pair(*pair) for pair in PAIRS], [1, 0], source="here")
    single = TextDataset(["it rains", "it is dry"], [1, 0], source="there")
    require_one_form(pairs, pairs)
    require_one_form(single, single, Unlabelled(("so",)))
    with pytest.raises(DataError, match="there holds single texts beside pairs of texts of here"):
        require_one_form(pairs, single)
    with pytest.raises(DataError, match=r"1 of 1 are pairs of texts.*pair_column"):
        require_one_form(single, Unlabelled((text_pair("a", "b"),)))
    with pytest.raises(DataError, match="2 of 4 are single texts"):
        require_one_form(pairs.joined(single))
