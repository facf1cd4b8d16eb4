"""What the documentation site makes from the project itself while it is built.

MkDocs calls these functions (`hooks:` in mkdocs.yml). They show the documents at the top of the
tree as pages, the notebooks of `examples/notebooks` as pages, and in place of the comments
`<!-- table: KIND -->` and `<!-- api -->` what the registries and public names of the package hold.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
AT_TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Documents at the top of the tree, and the pages that they are."""
NOTEBOOKS = "examples/notebooks"
ROOMS = {
    "env": "The environment",
    "importance": "Importance of heads",
    "evaluation": "Evaluation",
    "models": "Models",
    "purification": "Purification",
    "data": "Data",
    "errors": "Errors",
}
"""Headings of the API reference, by the room of the package that holds a name."""
ENVIRONMENTS = ("HeadPruningEnv", "HeadPruningVectorEnv")
"""What has a page of its own, the reference of the environment."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents at the top of the tree, and the notebooks."""
    for name, page in AT_TOP.items():
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, page, content=_moved_into_docs(text)))
    for script in sorted((ROOT / NOTEBOOKS).glob("*.py")):
        page = f"notebooks/{script.stem}.md"
        text = notebook_as_markdown(script.read_text("utf-8"))
        note = f"\n*This page is the script `{NOTEBOOKS}/{script.name}`, which the tests run.*\n"
        files.append(File.generated(config, page, content=text + note))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated, and point links to documents at the top to their pages."""
    del page, config, files
    for name, target in AT_TOP.items():
        markdown = markdown.replace(f"](../{name}", f"]({target}")
    markdown = re.sub(r"<!-- table: ([\w-]+) -->", lambda found: _table(found[1]), markdown)
    return markdown.replace("<!-- api -->", _api())


def _moved_into_docs(text: str) -> str:
    """Return a document of the top as a page: its links start in docs, badges stay outside."""
    text = re.sub(r"^\[!\[.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("](docs/", "](")
    for name, target in AT_TOP.items():
        text = text.replace(f"]({name}", f"]({target}")
    return text


def notebook_as_markdown(script: str) -> str:
    """Return a script in cells (`# %%`, and `# %% [markdown]`) as Markdown."""
    parts = []
    for cell in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        body = body.strip()
        if "[markdown]" in kind:
            parts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE))
        elif body:
            parts.append(f"```python\n{body}\n```")
    return "\n\n".join(parts) + "\n"


def _table(kind: str) -> str:
    """Return the names of a kind with their lines of help, as `prune-env list` has them."""
    from prune_env import OBSERVATIONS
    from prune_env.cli.list import names

    entries = {
        **names(),
        "observations": {entry.name: entry.help for entry in OBSERVATIONS},
    }[kind]
    rows = [f"| `{name}` | {line} |" for name, line in entries.items()]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def _api() -> str:
    """Return a directive of mkdocstrings for every public name, under headings by room."""
    import prune_env

    by_room: dict[str, list[str]] = {}
    for name, home in prune_env._HOMES.items():
        if name not in ENVIRONMENTS:
            by_room.setdefault(home.partition(".")[0], []).append(name)
    parts = []
    for room, heading in ROOMS.items():
        parts.append(f"## {heading}\n")
        for name in by_room.pop(room):
            parts.append(f"::: prune_env.{name}\n")
    if by_room:
        raise ValueError(f"docs/hooks.py knows no heading for the rooms {', '.join(by_room)}")
    return "\n".join(parts)
