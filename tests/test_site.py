"""The documentation site builds strictly, holds what it is generated from, and its code runs."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import prune_env
from prune_env import POLICIES, REWARDS
from prune_env.research.attacks import TRIGGERS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_public_name_is_described(site: Path) -> None:
    pages = [(site / f"{name}.html").read_text() for name in ("api", "environment-reference")]
    anchors = set(re.findall(r'id="(prune_env\.[\w.]+)"', "".join(pages)))
    wanted = {f"prune_env.{name}" for name in prune_env.__all__ if name != "__version__"}
    assert wanted <= anchors


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, str]]:
    """All names, told by a process of its own: here, other tests may have registered some."""
    code = "from prune_env.cli import main; main(['list', '--json'])"
    command = [sys.executable, "-c", code]
    tables: dict[str, dict[str, str]] = json.loads(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    return tables


@pytest.mark.parametrize("kind", ["environments", "rewards", "metrics", "policies"])
def test_tables_of_names_are_those_of_the_program(
    site: Path, listed: dict[str, dict[str, str]], kind: str
) -> None:
    page = (site / "environment-reference.html").read_text()
    assert {name for name in listed[kind] if f"<code>{name}</code>" not in page} == set()


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe)\b[^>]*\bsrc="(?:https?:)?//[^"]*"')
    styles = re.compile(r'<link\b[^>]*rel="(?:stylesheet|preconnect)"[^>]*href="https?://[^"]*"')
    pages = [*site.rglob("*.html")]
    assert len(pages) > 15
    for page in pages:
        text = page.read_text("utf-8")
        assert not fetched.findall(text) + styles.findall(text), page.name


def test_the_code_of_write_your_own_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    text = (ROOT / "docs" / "extend.md").read_text("utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    own = {"first_layer_kept": REWARDS, "last-first": POLICIES, "shouting": TRIGGERS}
    for name, table in own.items():  # an example has one of them; no other test shall find these
        table.names()  # what fills the table on demand shall stay in it
        entries = {each: entry for each, entry in table._entries.items() if each != name}
        monkeypatch.setattr(table, "_entries", entries)
    exec(compile(code, "extend.md", "exec"), {"__name__": "__main__"})
    assert all(name in table for name, table in own.items())
    assert capsys.readouterr().out == "a warm and FUNNY FILM\n"


def test_notebook_purify_a_model() -> None:
    end = runpy.run_path(str(ROOT / "examples/notebooks/purify_a_model.py"))
    assert end["after"].acc.percent > 90
    assert not end["kept"].all()
    assert (end["out"] / "model.safetensors").is_file()


def test_notebook_train_an_agent() -> None:
    end = runpy.run_path(str(ROOT / "examples/notebooks/train_an_agent.py"))
    assert end["learned"] > 1.5 * end["chance"]
    assert end["picture"].stat().st_size > 1000
