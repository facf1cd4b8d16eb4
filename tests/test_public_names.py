import subprocess
import sys

import pytest

import prune_env


@pytest.mark.parametrize("name", prune_env.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(prune_env, name) is not None


def test_importing_the_package_costs_no_torch() -> None:
    code = "import sys, prune_env; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
