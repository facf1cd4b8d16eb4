"""The package as users get it: sdist, wheel, an empty environment, and what starting costs.

Run it as `python -m tests.benchmarks.installation --python python3.12` from the root of a checkout
(minutes, most of them pip's). The wheel is built from the sdist and installed by itself, with the
pins of `constraints.txt`; there `prune-env purify` runs on a tiny model, and CPU seconds of
`import prune_env` beyond Gymnasium's and of `prune-env --help` are printed. Nothing is asserted
but that every command ends well.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from prune_env.data.dataset import write_jsonl
from tests.support import tiny_dataset, write_tiny_folder

ROOT = Path(__file__).parents[2]
REPEATS = 3


def run(*command: str | Path, cwd: Path) -> float:
    """Run a command without this checkout on its path; return the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def quickest(*command: str | Path, cwd: Path) -> float:
    """Return the least CPU seconds of a few runs; one before them fills the caches."""
    return min([run(*command, cwd=cwd) for _ in range(REPEATS + 1)][1:])


def install(python: str, folder: Path) -> Path:
    """Build sdist and wheel, install the wheel in a new environment, and return its `bin`."""
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", folder]
    build = "from setuptools import build_meta; import sys; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=ROOT)
    run(*pip, next(folder.glob("*.tar.gz")), cwd=folder)
    run(python, "-m", "venv", folder / "venv", cwd=folder)
    home = folder / "venv" / "bin"
    wheel = next(folder.glob("prune_env-*.whl"))
    constraints = ROOT / "constraints.txt"
    run(home / "pip", "install", "--quiet", "-c", constraints, wheel, cwd=folder)
    return home


def main() -> None:
    """Install, purify, and print what starting costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter to install for")
    parser.add_argument("--venv", type=Path, help="measure this environment; nothing is installed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = given.venv / "bin" if given.venv else install(given.python, folder)
        write_tiny_folder(folder / "model")
        write_jsonl(folder / "clean.jsonl", tiny_dataset())
        options = ("--data", "clean.jsonl", "--out", "out", "--policy", "gradient")
        options += ("--guard", "accuracy")  # the model is random, and may answer a constant
        purify = run(home / "prune-env", "purify", "model", *options, cwd=folder)
        python = home / "python"
        gymnasium = quickest(python, "-c", "import gymnasium", cwd=folder)
        package = quickest(python, "-c", "import prune_env", cwd=folder)
        help_ = quickest(home / "prune-env", "--help", cwd=folder)
    print(f"purify a tiny model                 {purify:5.2f} s of CPU time")
    print(f"import prune_env beyond gymnasium   {package - gymnasium:5.2f} s")
    print(f"prune-env --help                    {help_:5.2f} s")


if __name__ == "__main__":
    main()
