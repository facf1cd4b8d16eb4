"""What the documents point to is there, and what they tell users to type works."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import prune_env
from prune_env.cli import main
from prune_env.cli.main import _VERBS
from prune_env.data.dataset import write_jsonl
from prune_env.research.benchmark.config import read_config
from tests.goldens.names import options_of, verbs
from tests.support import shared_data, tiny_dataset

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "runs/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
ID = r"prune_env/\w+-v\d"
FILE = re.compile(rf"(?!{ID})(prune_env|agents|baselines|tests|docs|examples)/[\w./*-]+$")
CHEAP = ("list", "inspect")
READ = ("README.md", "docs/purify.md")
"""Documents that read what `purify` takes, from Python."""
READERS = ("__init__.py", "dataset.py", "loading.py")
OF_THE_PROGRAM = {"--help", "--version", "--debug", "--completion"}
"""Options that come before any verb."""


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for file, anchor in LINK.findall(document.read_text("utf-8")):
        target = document.parent / file if file else document
        assert target.exists(), f"{document.name} links to {file}"
        if anchor:
            assert anchor in anchors(target), f"{document.name} links to {file}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(ROOT)))
def test_files_that_are_named_are_there(document: Path) -> None:
    named = {each for each in SPAN.findall(document.read_text("utf-8")) if FILE.match(each)}
    assert not [each for each in named if not any(ROOT.glob(each.rstrip("/")))]


def test_members_that_the_reference_lists_are_there() -> None:
    """The site leaves out in silence what there is not."""
    text = (ROOT / "docs" / "environment-reference.md").read_text("utf-8")
    listed = re.findall(
        r"^::: prune_env\.(\w+)\n +options:\n +members: \[(.*)\]", text, re.MULTILINE
    )
    assert len(listed) == 2
    for name, members in listed:
        missing = set(members.split(", ")) - set(dir(getattr(prune_env, name)))
        assert not missing, name


def blocks() -> dict[str, list[str]]:
    """Return the commands of every document's code blocks, by how they are written."""
    found = {}
    for document in DOCUMENTS:
        for block in BLOCK.findall(document.read_text("utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True) if line.startswith("prune-env") else []
                if words:
                    found[" ".join(words)] = words[1:]
    return found


def spans() -> set[tuple[str, ...]]:
    """Return what stands in backquotes in a text and names a verb or an option."""
    texts = [BLOCK.sub("", each.read_text("utf-8")) for each in DOCUMENTS]
    said = {tuple(each.split()) for text in texts for each in SPAN.findall(text)}
    return {each for each in said if each[0] == "prune-env" or each[0].startswith("--")}


@pytest.mark.parametrize("words", blocks().values(), ids=blocks().keys())
def test_the_program_takes_the_commands(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in _VERBS:
        monkeypatch.setattr(verb, "run", lambda self: 0)
    assert main(words) == 0


def test_the_program_has_the_verbs_and_options_that_are_named() -> None:
    options = {verb: set(options_of(verb)["options"]) | {"--help"} for verb in verbs()}
    whole = set().union(*options.values(), OF_THE_PROGRAM)
    unknown = set()
    for span in spans():
        named = {word for word in span if re.fullmatch(r"--[a-z][a-z-]*", word)}
        of_verb = span[0] == "prune-env" and len(span) > 1 and span[1].isalpha()
        if of_verb and span[1] not in options:
            unknown.add(span)
        unknown |= {span} if named - (options.get(span[1], set()) if of_verb else whole) else set()
    assert not unknown


def test_the_grid_of_the_documents_is_whole(tmp_path: Path) -> None:
    text = (ROOT / "docs/attacks.md").read_text("utf-8")
    (tmp_path / "grid.toml").write_text(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])
    grid = read_config(tmp_path / "grid.toml")
    attacks = grid.for_labels(("World", "Sports", "Business", "Sci/Tech")).attacks
    assert [attack.number for attack in attacks] == [0, 1]
    real = shared_data()
    if real is not None:
        files = [file for attack in attacks for file in (attack.poisoned, attack.triggered)]
        assert [file for file in files if not (real / file).is_file()] == []


@pytest.mark.parametrize("verb", CHEAP)
def test_cheap_commands_run(verb: str, tiny_folder: Path) -> None:
    commands = [list(span[1:]) for span in spans() if span[:2] == ("prune-env", verb)]
    commands += [words for words in blocks().values() if words[0] == verb]
    assert commands
    for words in commands:
        given = [str(tiny_folder) if word == "MODEL" else word for word in words]
        if verb == "inspect" and len(given) == 1:
            continue  # the verb's name alone
        assert main(given) == 0


def test_citation_and_changelog_know_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == prune_env.__version__
    releases = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert releases[0] == prune_env.__version__


def test_every_extra_is_named_where_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "getting-started.md").read_text("utf-8")
    [listed] = re.findall(r"Extras: (.*?);", page, re.DOTALL)
    of_developers = {"dev", "docs"}
    assert set(SPAN.findall(listed)) == set(project["optional-dependencies"]) - of_developers


def reading(name: str) -> str:
    """Return the line of a document that reads what `purify` takes."""
    spans = SPAN.findall((ROOT / name).read_text("utf-8"))
    (line,) = [each for each in spans if each.startswith("train, validation =")]
    return line


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("file", ["clean.jsonl", "clean/train.jsonl"])
def test_reading_for_purify_runs_for_a_table_and_a_folder(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path(file), tiny_dataset(40))
    held: dict[str, Any] = {"prune_env": prune_env}
    exec(reading(name).replace("clean.tsv", Path(file).parts[0]), held)
    assert len(held["train"]) + len(held["validation"]) == 40


def test_reading_for_purify_passes_a_type_checker(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("\n".join(["import prune_env", *map(reading, READ), ""]), "utf-8")
    data = Path(prune_env.__file__).parent / "data"
    files = [prune_env.__file__, *(str(data / each) for each in READERS)]
    alone = ("--strict", "--config-file=", "--follow-imports=skip", "--ignore-missing-imports")
    command = [sys.executable, "-m", "mypy", *alone, "--cache-dir", str(tmp_path), str(program)]
    told = subprocess.run([*command, *files], capture_output=True, check=False, text=True)
    assert "checked 5 source files" in told.stdout, told
    assert program.name not in told.stdout, told
