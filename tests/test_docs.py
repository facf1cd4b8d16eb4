"""What the documents point to is there."""

import re
from pathlib import Path

import pytest
import yaml

import prune_env

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "runs" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
VERB = re.compile(r"^prune-env ([a-z]+)", re.MULTILINE)


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


def test_commands_are_those_of_the_program() -> None:
    verbs = {each.stem for each in (ROOT / "prune_env" / "cli").glob("*.py")}
    told = {verb for each in DOCUMENTS for verb in VERB.findall(each.read_text("utf-8"))}
    assert {"purify", "train", "audit"} <= told <= verbs


def test_citation_and_changelog_know_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == prune_env.__version__
    releases = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert releases[0] == prune_env.__version__
