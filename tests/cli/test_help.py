"""The help pages are whole, short where they should be, and true."""

import re
import shlex
import subprocess
import sys
from contextlib import suppress

import pytest

from prune_env.cli import main
from prune_env.cli.examples import EXAMPLES
from prune_env.cli.main import _VERBS

VERBS = [verb.__name__.lower() for verb in _VERBS]
EACH = [command for verb in EXAMPLES.values() for _, command in verb]


def page(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> list[str]:
    """Return what is printed on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with suppress(SystemExit):
        main(arguments)
    return capsys.readouterr().out.splitlines()


def test_the_first_screen_names_every_verb_on_one_screen(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = page(capsys, monkeypatch, "--help")
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    named = [found[1] for line in lines if (found := re.match(r"  ([a-z]+) {2,}\S", line))]
    assert named == VERBS


def test_no_verb_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "purify" in capsys.readouterr().out
    assert main(["purfy"]) == 2
    assert "did you mean 'purify'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["list", "--kind", "bogus"], "'policies', 'rewards', 'metrics', 'triggers'"),
        (["train", "--out", "x", "--guard", "None"], "'auto', 'accuracy', 'balanced', 'recall')"),
    ],
)
def test_a_choice_that_may_be_left_out_does_not_offer_none(
    arguments: list[str], choices: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().err).partition("Expected one of")[2]
    assert choices in said
    assert "None" not in said


@pytest.mark.parametrize("verb", VERBS)
def test_a_page_fits_and_says_each_default_once(
    verb: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = page(capsys, monkeypatch, verb, "--help")
    assert max(map(len, lines)) <= 80
    whole = re.sub(r"[\s│]+", " ", " ".join(lines))
    assert "None)" not in whole
    assert "{None" not in whole
    assert "[{" not in whole
    assert not re.search(r"\b(STR|INT|FLOAT|PATH)\b", whole)
    for option in whole.split(" --"):
        assert option.count("default: ") <= 1, option
    assert "examples" in lines


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(
    verb: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[str] = []
    for line in page(capsys, monkeypatch, verb, "--help"):
        if re.match("  --[a-z]", line):
            options.append("")
        if line.startswith("  ") and options:
            options[-1] += f" {line.strip()}"
    assert options
    for option in options:
        said = re.sub(r"^ --\S+|\{.*?\}|\(default: [^)]*\)|\(required\)|-{5,}", "", option)
        assert re.search(r"\b[A-Z]?[a-z]+\b", said), option


@pytest.mark.parametrize("command", EACH)
def test_the_examples_are_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in _VERBS:
        monkeypatch.setattr(verb, "run", lambda self: 0)
    program, *words = shlex.split(command)
    assert program == "prune-env"
    assert main(words) == 0


def test_every_verb_has_examples() -> None:
    assert set(EXAMPLES) == set(VERBS)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_verbs_and_options(shell: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--completion", shell])
    assert not end.value.code
    script = capsys.readouterr().out
    assert "purify" in script
    assert "validation-share" in script


def test_completion_is_for_shells_alone(capsys: pytest.CaptureFixture) -> None:
    assert main(["--completion", "basic"]) == 2
    assert "bash, zsh" in capsys.readouterr().err


def test_the_script_is_one_that_bash_can_read(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--completion", "bash"])
    script = capsys.readouterr().out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_first_screen_needs_no_torch() -> None:
    code = (
        "import sys\nfrom prune_env.cli import main\nmain(['--help'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
