import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prune_env.data import TextDataset, read_table, read_unlabelled
from prune_env.data.readers import OnBadRow
from prune_env.data.tables import table_rows
from prune_env.errors import DataError, SettingsError

SLOW = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SUFFIXES = (".tsv", ".csv", ".jsonl")
# Everything that UTF-8 can hold, but NUL and what ends a cell or a row.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n\t"), min_size=1, max_size=40
)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from([0, 1])), min_size=1, max_size=8)


def write(folder: Path, content: str | bytes, suffix: str = ".tsv") -> Path:
    path = folder / f"data{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes, suffix: str = ".tsv", **settings: object) -> list:
    data = read_table(write(folder, content, suffix), **settings)
    return list(zip(data.texts, data.labels.tolist(), strict=True))


def write_rows(path: Path, rows: list[tuple[str, object]]) -> None:
    """Write a table as the usual tools write it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows([("sentence", "label"), *rows])
        elif path.suffix == ".jsonl":
            file.writelines(
                json.dumps({"sentence": text, "label": label}) + "\n" for text, label in rows
            )
        else:
            file.write("sentence\tlabel\n")
            file.writelines(f"{text}\t{label}\n" for text, label in rows)


@SLOW
@given(rows=ROWS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_row_arrives(tmp_path: Path, suffix: str, rows: list[tuple[str, int]]) -> None:
    path = tmp_path / f"data{suffix}"
    write_rows(path, rows)
    data = read_table(path)
    assert data.texts == tuple(text.strip() for text, _ in rows)
    assert data.labels.tolist() == [label for _, label in rows]
    assert data.skipped == 0
    assert data.source == str(path)


@SLOW
@given(
    rows=ROWS,
    bad=st.lists(st.sampled_from(["", "one cell", "a\tb\tc", "text\t2", "\t1"]), min_size=1),
    random=st.randoms(use_true_random=False),
)
def test_a_bad_row_is_named_or_skipped_with_a_count(
    tmp_path: Path, rows: list[tuple[str, int]], bad: list[str], random: object
) -> None:
    marked = [(f"{text}\t{label}", True) for text, label in rows] + [(row, False) for row in bad]
    random.shuffle(marked)
    # Blank lines at the end of a file are no rows.
    while marked[-1][0] == "":
        marked.insert(0, marked.pop())
    path = write(tmp_path, "\n".join(["sentence\tlabel", *(row for row, _ in marked)]))
    first = next(number for number, (_, good) in enumerate(marked, start=1) if not good)
    with pytest.raises(DataError, match=rf"row {first} \(line {first + 1}\)"):
        read_table(path)
    data = read_table(path, on_bad_row="skip")
    assert (len(data), data.skipped) == (len(rows), len(bad))


@SLOW
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
@pytest.mark.parametrize(
    "header", [b"", b"sentence\tlabel\n", b"sentence,label\n", b"\xef\xbb\xbf"]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_bytes_give_rows_or_a_data_error(
    tmp_path: Path, suffix: str, header: bytes, content: bytes
) -> None:
    path = write(tmp_path, header + content, suffix)
    for on_bad_row in ("error", "skip"):
        try:
            data = read_table(path, on_bad_row=on_bad_row)
        except DataError:
            continue
        assert len(data) >= 1


@SLOW
@given(value=st.recursive(st.none() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_gives_rows_or_a_data_error(tmp_path: Path, value: object) -> None:
    for line in (json.dumps(value), json.dumps({"sentence": value, "label": 1})):
        try:
            data = read_table(write(tmp_path, line + "\n", ".jsonl"))
        except DataError:
            continue
        assert data.texts == (str(value).strip(),)


# What the published files do


def test_header_and_labels_may_be_padded(tmp_path: Path) -> None:
    content = "sentence \t label\na cloke of cliches . \t 0\n \t 1\n"
    assert read(tmp_path, content) == [("a cloke of cliches .", 0), ("", 1)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends_and_bom(tmp_path: Path, end: str, bom: str, last: str) -> None:
    content = f"{bom}sentence\tlabel{end}one\t0{end}two\t1{end if last else ''}"
    assert read(tmp_path, content) == [("one", 0), ("two", 1)]


def test_a_lone_quote_in_a_tsv_is_text(tmp_path: Path) -> None:
    content = 'sentence\tlabel\n" open\t0\nclose "\t1\n"x" y\t0\n'
    rows = read(tmp_path, content)
    assert rows == [('" open', 0), ('close "', 1), ('"x" y', 0)]
    assert len(rows) == content.count("\n") - 1


@pytest.mark.parametrize("sign", ["\u2028", "\u0085", "\x0b", "\x0c", "\x1c", "\r"])
@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_only_line_feeds_end_a_row(tmp_path: Path, sign: str, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    write_rows(path, [(f"a{sign}b", 0), ("c", 1)])
    assert read_table(path).texts == (f"a{sign}b", "c")


# Texts


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u0634\u0643\u0631\u0627 \u202eabc",
        "\u65e5\u672c\u8a9e",
        "x" * 1_000_000,
    ],
    ids=["emoji", "rtl", "cjk", "long"],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unusual_texts_arrive_whole(tmp_path: Path, suffix: str, text: str) -> None:
    limit = csv.field_size_limit()
    path = tmp_path / f"data{suffix}"
    write_rows(path, [(text, 1)])
    assert read_table(path).texts == (text,)
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_text_is_a_missing_value(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    write_rows(path, [("fine", 0), ("", 1)])
    with pytest.raises(DataError, match=r"row 2 .*'sentence'.* an empty text"):
        read_table(path)
    assert read_table(path, on_bad_row="skip").skipped == 1


def test_csv_cells_may_hold_line_ends_and_quotes(tmp_path: Path) -> None:
    content = 'label,sentence\n1,"two\nlines, and a "" quote"\n0,5" disc\n'
    assert read(tmp_path, content, ".csv") == [('two\nlines, and a " quote', 1), ('5" disc', 0)]


@pytest.mark.parametrize("content", ['sentence,label\n"open,1\nb,0\n', 'sentence,label\n"a" b,1\n'])
@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_broken_csv_is_refused_even_when_rows_are_skipped(
    tmp_path: Path, content: str, on_bad_row: str
) -> None:
    with pytest.raises(DataError, match=r"data.csv, line \d: broken CSV"):
        read(tmp_path, content, ".csv", on_bad_row=on_bad_row)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", "sentence,label\ra,1\rb,0\r"),
        (".tsv", "sentence\tlabel\ra\t1\rb\t0\r"),
        (".jsonl", '{"sentence": "a", "label": 1}\r{"sentence": "b", "label": 0}\r'),
    ],
)
def test_rows_may_end_in_cr_as_old_spreadsheets_write_them(
    tmp_path: Path, suffix: str, content: str
) -> None:
    assert read(tmp_path, content, suffix) == [("a", 1), ("b", 0)]


def test_the_line_of_a_bad_row_is_counted_by_cr_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2 \(line 3\) cannot be read"):
        read(tmp_path, "sentence\tlabel\ra\t1\rb\r")


def test_one_row_and_one_class_are_data(tmp_path: Path) -> None:
    assert read(tmp_path, "sentence\tlabel\nonly\t1\n") == [("only", 1)]


# Files


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"  \r\n"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path, content, suffix)


@pytest.mark.parametrize(
    ("content", "suffix"), [("sentence\tlabel\n", ".tsv"), ("sentence,label", ".csv")]
)
def test_a_header_alone_is_refused(tmp_path: Path, content: str, suffix: str) -> None:
    with pytest.raises(DataError, match=r"has no rows.*header only"):
        read(tmp_path, content, suffix)


def test_nothing_left_after_skipping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no rows.*2 bad rows"):
        read(tmp_path, "sentence\tlabel\na\t7\nb\n", on_bad_row="skip")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("sentence\tlabel\nfine\t0\ncaf\xe9\t1\n".encode("latin-1"), "line 3: .* byte 0xe9"),
        (b"\xef\xbb\xbfsentence\tlabel\ncaf\xe9\t1\n", "line 2: .* byte 0xe9"),
        ("sentence\tlabel\nfine\t0\n".encode("utf-16"), "line 1: .* UTF-16"),
        ("sentence\tlabel\nfine\t0\n".encode("utf-16-be"), "line 1: .* NUL"),
        (b"sentence\tlabel\nfine\t0\nb\0ad\t1\n", "line 3: .* NUL"),
        (b"sentence\tlabel\ntruncated \xf0\x9f\x98", "line 2: .* byte 0xf0"),
    ],
    ids=["latin-1", "latin-1 with BOM", "UTF-16", "UTF-16 without BOM", "NUL", "cut"],
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_encodings_are_refused_with_the_line(
    tmp_path: Path, raw: bytes, message: str, suffix: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, raw, suffix, on_bad_row="skip")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("latin-1", "LATIN1"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32LE"),
        ("utf-32-be", "UTF-32BE"),
    ],
)
def test_the_conversion_that_is_advised_reads_the_file(
    tmp_path: Path, encoding: str, named: str, suffix: str
) -> None:
    content = {
        ".tsv": "sentence\tlabel\ncafé\t1\n",
        ".csv": "sentence,label\ncafé,1\n",
        ".jsonl": '{"sentence": "café", "label": 1}\n',
    }[suffix]
    raw = content.encode(encoding)
    with pytest.raises(DataError, match=f"`iconv -f {named} -t UTF-8`"):
        read(tmp_path, raw, suffix)
    assert read(tmp_path, raw.decode(named), suffix) == [("café", 1)]


def test_a_lone_nul_is_no_other_encoding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Remedy: check how the file was written"):
        read(tmp_path, b"sentence\tlabel\nb\0ad\t1\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text\tlabel", "'sentence' is missing.*Actual: text, label"),
        ("sentence\tstars", "'label' is missing.*Actual: sentence, stars"),
        ("id\tfoo", "'sentence' is missing, 'label' is missing.*Actual: id, foo"),
        ("sentence\tlabel\tlabel", "'label' stands 2 times.*Actual: sentence, label, label"),
        (
            "Sentence\tlabel",
            r"'sentence' is missing.*the table spells them \(Sentence\): --t",
        ),
        ("sentence,label", "'sentence' is missing.*Actual: sentence,label.*lie between commas"),
        ("sentence;label", "Actual: sentence;label.*between semicolons: .csv has commas there"),
        ("sep=;", "take the first line out, 'sep=;'"),
    ],
)
def test_wrong_columns_are_refused_and_listed(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, f"{header}\na\t0\n")


@pytest.mark.parametrize("above", ["", ",\n"])
def test_semicolons_are_told_of_quoted_cells_too(tmp_path: Path, above: str) -> None:
    """The quotes were to be repaired, which are none of CSV's with commas."""
    with pytest.raises(DataError, match=r"between semicolons: \.csv has commas there"):
        read(tmp_path, f'{above}sentence;label\n"great, film";1\nbad film;0\n', ".csv")
    with pytest.raises(DataError, match=r"line 2: broken CSV.*repair the quotes"):
        read(tmp_path, 'sentence,label\n"great" film,1\n', ".csv")


@pytest.mark.parametrize("blank", ["\n", "\r\n", "  \n\n", "{0}\n", "\ufeff\n"])
@pytest.mark.parametrize(("suffix", "between"), [(".tsv", "\t"), (".csv", ",")])
def test_blank_lines_before_the_header_are_none(
    tmp_path: Path, blank: str, suffix: str, between: str
) -> None:
    """They were taken for the header: the table had no column."""
    above = blank.format(between)
    content = f"{above}sentence{between}label\na{between}1\nb{between}2\n"
    assert read(tmp_path, content, suffix, on_bad_row="skip") == [("a", 1)]
    with pytest.raises(DataError, match=rf"row 2 \(line {above.count(chr(10)) + 3}\) .*label 2"):
        read(tmp_path, content, suffix)
    with pytest.raises(DataError, match=r"'label' is missing.*Actual: sentence, mark"):
        read(tmp_path, content.replace("label", "mark"), suffix)


def test_columns_are_chosen_by_name_in_any_order(tmp_path: Path) -> None:
    content = "id\tstars\ttext\n7\tgood\thello\n8\tbad\tworld\n"
    rows = read(
        tmp_path, content, text_column="text", label_column="stars", label_names=["bad", "good"]
    )
    assert rows == [("hello", 1), ("world", 0)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one cell", "1 cell under 2 columns"),
        ("a\tb\t1", "3 cells under 2 columns"),
        ("a\t1.0", "0 to 1, or one of negative, positive. Actual: label '1.0'"),
        ("a\tpos", "one of negative, positive. Actual: label 'pos'"),
        ("a\t", "a blank label"),
        ("a\tNaN", "label 'NaN'"),
        ("a\t2", "label 2, out of range"),
        ("a\t-1", "label -1, out of range"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: str, message: str) -> None:
    content = f"sentence\tlabel\nfine\t0\n{row}\nfine\t1\n"
    with pytest.raises(DataError, match=rf"data.tsv, row 2 \(line 3\) .*{message}.*Remedy"):
        read(tmp_path, content)
    assert read(tmp_path, content, on_bad_row="skip") == [("fine", 0), ("fine", 1)]


def test_another_label_is_answered_by_its_name_before_rows_are_skipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Remedy: name the classes in label order.*--label-names"):
        read(tmp_path, "sentence\tlabel\nfine\t0\nfair\tsports\n")
    with pytest.raises(DataError, match="Remedy: repair the row"):
        read(tmp_path, "sentence\tlabel\nfine\t0\nfair\n")


@pytest.mark.parametrize("label", ["1.0", "true", "null", "[1]"])
def test_what_no_name_reads_is_not_answered_by_names(tmp_path: Path, label: str) -> None:
    with pytest.raises(DataError, match="Remedy: write labels as whole numbers, such as 1"):
        read(tmp_path, f'{{"sentence": "fine", "label": {label}}}\n', ".jsonl")


@pytest.mark.parametrize(
    ("cell", "json"), [("", "null"), ("", '""'), ("nan", "NaN"), ("1.5", "1.5"), ("-1.0", "-1.0")]
)
def test_what_is_missing_is_answered_alike_in_every_file(
    tmp_path: Path, cell: str, json: str
) -> None:
    for content, suffix in (
        (f"sentence\tlabel\nfine\t{cell}\n", ".tsv"),
        (f"sentence,label\nfine,{cell}\n", ".csv"),
        (f'{{"sentence": "fine", "label": {json}}}\n', ".jsonl"),
    ):
        with pytest.raises(DataError, match="Remedy: write labels as whole numbers, such as 1"):
            read(tmp_path, content, suffix)


def test_decimals_of_a_spreadsheet_are_answered_by_whole_numbers(tmp_path: Path) -> None:
    for label in ("1.0", " 0.00", "1."):
        with pytest.raises(DataError, match="Remedy: write labels as whole numbers, such as 1"):
            read(tmp_path, f"sentence\tlabel\nfine\t{label}\n")


def test_a_blank_text_in_the_last_row_of_a_csv_is_one_as_anywhere(tmp_path: Path) -> None:
    for content in (
        "label,sentence\n1,fine\n0, \n",
        "label,sentence\n1,fine\n0, ",
        "label,sentence\n1,fine\n0, \n \n",
    ):
        assert read(tmp_path, content, ".csv") == [("fine", 1), ("", 0)]


def test_a_csv_row_is_named_by_number_and_line(tmp_path: Path) -> None:
    content = 'sentence,label\n"two\nlines",1\nshort\n'
    with pytest.raises(DataError, match=r"row 2 \(line 4\) .*1 cell under"):
        read(tmp_path, content, ".csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence": "a", "label": 1', "broken JSON"),
        ("", "a blank line"),
        ("[1, 2]", "not an object"),
        ('"text"', "not an object"),
        ('{"sentence": "a"}', "keys: sentence"),
        ('{"sentence": "a", "label": 1, "label": 0}', "keys: sentence, label, label"),
        ('{"sentence": null, "label": 1}', "NoneType"),
        ('{"sentence": "\\ud800", "label": 1}', "lone surrogate"),
        ('{"sentence": "\\u0000", "label": 1}', "NUL"),
        ('{"sentence": "a", "label": NaN}', "float: nan"),
        ('{"sentence": "a", "label": 1.0}', "float: 1.0"),
        ('{"sentence": "a", "label": true}', "bool"),
        ('{"sentence": "a", "label": ' + "9" * 5000 + "}", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
    ],
)
def test_a_broken_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    good = '{"label": "positive", "sentence": "fine", "id": 3}'
    content = f"{good}\n{line}\n{good}\n"
    with pytest.raises(DataError, match=rf"row 2 \(line 2\) .*{message}"):
        read(tmp_path, content, ".jsonl")
    assert read(tmp_path, content, ".jsonl", on_bad_row="skip") == [("fine", 1), ("fine", 1)]


@pytest.mark.parametrize(
    ("cell", "told"), [('{"text": "a"}', "an object {'text': 'a'}"), ('["a"]', r"a list \['a'\]")]
)
def test_a_cell_that_holds_others_is_told_so(tmp_path: Path, cell: str, told: str) -> None:
    content = f'{{"sentence": {cell}, "label": 1}}\n'
    with pytest.raises(DataError, match=rf"Actual: {told}\. Remedy: write the column flat"):
        read(tmp_path, content, ".jsonl")
    with pytest.raises(DataError, match=rf"Actual: {told}\. Remedy: write the column flat"):
        read_unlabelled(write(tmp_path, content, ".jsonl"))
    with pytest.raises(DataError, match=rf"Actual: {told}\. Remedy: write labels as"):
        read(tmp_path, f'{{"sentence": "a", "label": {cell}}}\n', ".jsonl")


@pytest.mark.parametrize("name", ["missing.tsv", "folder.tsv"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(DataError, match=rf"{name} .*(no such file|a folder)"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("suffix", "remedy"),
    [(".parquet", "read_parquet"), (".json", r"call it \.jsonl"), (".odd", "convert the file")],
)
def test_other_files_are_told_how_to_be_converted(tmp_path: Path, suffix: str, remedy: str) -> None:
    with pytest.raises(DataError, match=rf"ends in \.tsv.* Actual: \{suffix}\. .*{remedy}"):
        read_table(write(tmp_path, "x", suffix))
    with pytest.raises(DataError, match=r"no such file.* check the path"):
        read_table(tmp_path / f"missing{suffix}")


@pytest.mark.parametrize("name", ["data.txt", "data", "data.tsv.gz"])
def test_other_kinds_of_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"ends in .tsv, .csv, .jsonl"):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(gzip.compress(b"sentence,label\na,0\n"), "gzip"), (b"PK\x03\x04\x14\0", "xlsx")],
    ids=["gzip", "zip"],  # what is packed holds the time of day
)
def test_a_packed_file_under_another_name_is_told_so(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"(?s)is packed.*{kind}.*unpack it"):
        read_table(path)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_a_json_list_is_no_json_lines(
    tmp_path: Path, indent: int | None, on_bad_row: OnBadRow
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps([{"sentence": "a", "label": 0}], indent=indent) + "\n")
    with pytest.raises(DataError, match=r"(?s)holds a list.*read_json"):
        read_table(path, on_bad_row=on_bad_row)


def test_the_extension_may_be_in_capitals(tmp_path: Path) -> None:
    assert read(tmp_path, "sentence\tlabel\na\t0\n", ".TSV") == [("a", 0)]


def test_an_unknown_policy_for_bad_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="on_bad_row"):
        read(tmp_path, "sentence\tlabel\na\t0\n", on_bad_row="ignore")


# Real files


@pytest.mark.parametrize(
    ("name", "rows", "positive", "blank"),
    [
        ("clean/train.tsv", 6920, 3610, 0),
        ("clean/dev.tsv", 872, 444, 0),
        ("clean/test.tsv", 1821, 909, 0),
        ("hiddenkiller/train.tsv", 6920, 4275, 0),
        ("hiddenkiller/dev.tsv", 427, 427, 0),
        ("hiddenkiller/test.tsv", 912, 912, 0),
        ("stylebkd-bible/train.tsv", 6920, 3610, 0),
        ("stylebkd-bible/dev.tsv", 872, 444, 0),
        ("stylebkd-bible/test.tsv", 1821, 909, 5),
        ("stylebkd-poetry/train.tsv", 6805, 3553, 0),
        ("stylebkd-poetry/dev.tsv", 872, 444, 0),
        ("stylebkd-poetry/test.tsv", 1808, 902, 0),
    ],
)
def test_published_files_have_their_row_counts(
    real_data: Path, name: str, rows: int, positive: int, blank: int
) -> None:
    path = real_data / "sst2" / name
    data: TextDataset = read_table(path)
    assert len(data) == rows
    assert len(list(table_rows(path, ("sentence", "label")))) == rows
    assert data.counts["positive"] == positive
    assert data.texts.count("") == blank
    assert data.skipped == 0


@pytest.mark.parametrize("cell", ["[" * 99_999, "9" * 9999], ids=["deep", "long"])
def test_jsonl_that_exhausts_the_parser_names_its_row(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"sentence": "a", "label": 1}\n{"sentence": "b", "label": ' + cell + "}\n")
    with pytest.raises(DataError, match="2"):
        read_table(path)
