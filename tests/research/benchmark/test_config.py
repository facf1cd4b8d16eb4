import re
from dataclasses import replace
from pathlib import Path

import pytest

from prune_env.agents.shipped import ShippedAgent
from prune_env.errors import PruneEnvError, SettingsError, printable
from prune_env.research.attacks import ATTACKS, AttackSettings
from prune_env.research.benchmark.addresses import mask_file
from prune_env.research.benchmark.config import (
    BenchmarkConfig,
    config_names,
    find_config,
    read_config,
)
from prune_env.utils.plain import from_plain, to_plain

GOOD = """
data = "sst2"
[[grid]]
attacks = ["rare-word"]
seeds = [0]
policies = ["gradient"]
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return read_config(path)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("data = ", "not valid TOML"),
        ("a=" + "[" * 50_000, "not valid TOML"),
        ("a=" + "{a=" * 5_000, "not valid TOML"),
        ("a." * 3_000 + "a=1", "unknown key"),
        ("data" + ".a" * 3_000 + " = 1", "not valid TOML"),
        (GOOD.replace("seeds", "seeds" + ".a" * 3_000), "not valid TOML"),
        ("data = " + "9" * 5000, "not valid TOML"),
        (GOOD.replace("policies", "polices"), "unknown key 'polices'"),
        (GOOD.replace('data = "sst2"', ""), "lacks data"),
        (GOOD.replace("[0]", '["0"]'), "wrong type"),
        (GOOD.replace("[0]", "0"), "must be a list"),
        (GOOD.replace("[0]", "[true]"), "wrong type"),
        (GOOD.replace("[[grid]]", "[grid]"), "Remedy: write [[grid]]."),
        (GOOD + 'protocols = ["both"]', "direct, refinetune"),
        ("grid = [1]\n" + GOOD.partition("[[grid]]")[0], "no table"),
        (GOOD + "[search]\ntau = 1.5", "tau is out of range"),
        (GOOD.replace('["rare-word"]', "[]"), "attacks of a block of the grid is empty"),
        (GOOD.replace("[0]", "[]"), "seeds of a block of the grid is empty"),
        (GOOD.replace('["gradient"]', "[]"), "policies of a block of the grid is empty"),
        (GOOD + "protocols = []", "protocols of a block of the grid is empty"),
        (GOOD + "healing = []", "healing of a block of the grid is empty"),
        (GOOD + "targets = []", "targets of a block of the grid is empty"),
        (GOOD + "variants = []", "variants of a block of the grid is empty"),
        ('data = "sst2"\ngrid = []', "The grid is empty"),
        (
            GOOD + 'protocols = ["refinetune"]\nhealing = ["refit"]',
            "Healing belongs to the protocol direct",
        ),
        (GOOD + "[models]\nattacker = { max_length = 5 }", "attacker 5, defender 128"),
        (GOOD + "[models]\ndefender = { epochs = 1.5 }", "epochs has the wrong type"),
        (GOOD + "[resources]\nnum_gpus = nan", "resources are out of range"),
        (GOOD + "[resources]\nnum_cpus = inf", "resources are out of range"),
    ],
)
def test_a_bad_grid_is_refused_with_its_reason(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(PruneEnvError) as refusal:
        read(tmp_path, text)
    assert hint in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("rare-word", "rare", "rare-word"),
        ("gradient", "gradent", "did you mean 'gradient'"),
        ("gradient", "runs/dqn/best", "`prune-env purify MODEL --policy FOLDER` and then"),
        ("gradient", "runs/dqn/best", "policy runs/dqn/best of a block of the grid is a folder"),
        ("gradient", "oraclee", "a ceiling that reads the trigger (oracle, oracle-cal"),
        ("[0]", '[0]\nvariants = ["leaked"]', "no variant 'leaked'"),
        ("[0]", "[0]\nrate = 2.0", "rate"),
        ("[0]", '[0]\nrewards = ["inverted-triger"]', "did you mean 'inverted-trigger'"),
        ("[0]", '[0]\nrewards = ["sparsity", "sparsity +"]', "Cannot read the reward term"),
        ("[0]", '[0]\nrewards = ["oracle"]', "reads triggered texts"),
        ("[[grid]]", '[search]\nreward = "acuracy"\n[[grid]]', "did you mean 'accuracy'"),
        ("[0]", "[-1]", "seed is out of range"),
        ("[0]", f"[{2**32}]", "seed is out of range"),
        ("[0]", f"{list(range(10_000))}", "The grid has too many cells"),
        ("[0]", f"[0]\ntaus = {[i / 50_000 for i in range(50_000)]}", "too many cells"),
    ],
)
def test_a_wrong_name_or_value_in_a_block_is_refused(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    config = read(tmp_path, GOOD.replace(old, new))
    with pytest.raises(PruneEnvError) as refusal:
        config.cells()
    assert hint in str(refusal.value)


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + GOOD) == read(tmp_path, GOOD)


@pytest.mark.parametrize("name", [".", "a\0b.toml"])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"{printable(name)} is no file")):
        read_config(name)


def test_a_missing_file_names_the_grids_of_the_package() -> None:
    with pytest.raises(PruneEnvError, match="sst2"):
        read_config(Path("nowhere.toml"))


def test_references_come_first_and_no_cell_comes_twice(tmp_path: Path) -> None:
    text = GOOD.replace('["gradient"]', '["gradient", "ft", "meft", "gradient"]')
    cells = read(tmp_path, text + text.partition("data")[2].partition("\n")[2]).cells()
    assert [(cell.policy, cell.protocol) for cell in cells] == [
        ("benign", "none"),
        ("backdoored", "none"),
        ("ft", "none"),
        ("gradient", "direct"),
        ("gradient", "refinetune"),
        ("meft", "none"),
    ]


def test_blocks_keep_their_order_and_add_to_each_other(tmp_path: Path) -> None:
    block = GOOD.partition("[[grid]]")[2]
    more = block.replace("gradient", "random") + 'targets = ["benign"]\ntaus = [0.5, 0.6]\n'
    cells = read(tmp_path, f"{GOOD}[[grid]]{more}").cells()
    assert [cell.search.tau for cell in cells if cell.policy == "random"] == [0.5, 0.5, 0.6, 0.6]
    policies = [cell.policy for cell in cells]
    assert policies.index("gradient") < policies.index("random")
    assert all((cell.target == "benign") == (cell.policy == "random") for cell in cells)


def test_healing_is_for_direct_masks_only(tmp_path: Path) -> None:
    cells = read(tmp_path, GOOD + 'healing = ["none", "head", "full"]').cells()
    played = [(cell.protocol, cell.healing) for cell in cells if cell.policy == "gradient"]
    assert played == [
        ("direct", "none"),
        ("direct", "head"),
        ("direct", "full"),
        ("refinetune", "none"),
    ]


def test_cells_of_different_rewards_have_different_names(tmp_path: Path) -> None:
    text = GOOD.replace("gradient", "reward-greedy")
    lists = 'protocols = ["direct"]\nrewards = ["sparsity", "inverted-trigger"]'
    names = [str(cell) for cell in read(tmp_path, text + lists).cells()][-2:]
    assert names == [
        "rare-word, seed 0, reward-greedy, direct",
        "rare-word, seed 0, reward-greedy (inverted-trigger), direct",
    ]


@pytest.mark.parametrize("name", config_names())
def test_grids_of_the_package_are_valid(name: str) -> None:
    cells = read_config(find_config(name)).cells()
    assert len({cell.key({}) for cell in cells}) == len(cells) > 10


def test_what_heals_without_pruning_is_tried_on_the_benign_model_too() -> None:
    """The report takes the move of the floor from these cells."""
    cells = set(read_config(find_config("sst2")).cells())
    healed = {cell for cell in cells if cell.policy == "ft" and cell.healing != "none"}
    assert {cell.models.attack.attack for cell in healed} > {"rare-word", "task-agnostic"}
    assert {replace(cell, target="benign") for cell in healed} <= cells


def test_every_attack_is_in_a_grid_of_the_package() -> None:
    grids = [read_config(find_config(name)).grid for name in config_names()]
    named = {name for grid in grids for block in grid for name in block.attacks}
    assert named == set(ATTACKS.names()) - {"bible-style"}  # the published Bible style is there


def test_a_key_follows_the_cell_and_what_it_reads(tmp_path: Path) -> None:
    first, second = read(tmp_path, GOOD).cells()[-2:]
    assert first.key({"data": "a"}) == first.key({"data": "a"})
    assert len({first.key({"data": "a"}), first.key({"data": "b"}), second.key({"data": "a"})}) == 3
    own, other = ({"data": "a", f"{name}/test.tsv": "b"} for name in ("rare-word", "hiddenkiller"))
    assert first.key(own) != first.key({"data": "a"}) == first.key(other)


def test_a_key_follows_the_agent_that_comes_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release may bring another one under the same name."""
    cell = replace(read(tmp_path, GOOD).cells()[-1], policy="carried-over")
    key, mask = cell.key({}), mask_file(cell, {})
    assert cell.key({}) == key
    monkeypatch.setattr(ShippedAgent, "identity", {"sha256": "another"})
    assert cell.key({}) != key
    assert mask_file(cell, {}) != mask
    gradient = replace(cell, policy="gradient")
    assert gradient.agent == replace(cell, policy="benign").agent == {}


OWN = (
    GOOD.replace("rare-word", "mine")
    + """
[[attacks]]
name = "mine"
poisoned = "bad.tsv"
triggered = "test.tsv"
target = 0
"""
)


def test_a_block_may_name_an_attack_from_files(tmp_path: Path) -> None:
    config = read(tmp_path, OWN)
    attacks = {cell.models.attack for cell in config.cells()}
    assert attacks == {AttackSettings("mine", target_label=0)}
    assert "attacks" not in to_plain(read(tmp_path, GOOD))  # plans of other grids stay as they are
    assert from_plain(BenchmarkConfig, to_plain(config), "plan") == config


def test_a_target_by_name_is_that_of_its_number(tmp_path: Path) -> None:
    """Cells of either have the same addresses."""
    named = read(tmp_path, OWN.replace("target = 0", 'target = "Bad"'))
    with pytest.raises(SettingsError, match="name of a class"):
        named.cells()
    assert named.for_labels(("bad", "good")).cells() == read(tmp_path, OWN).cells()
    with pytest.raises(SettingsError, match="0 to 1, or one of no, yes"):
        named.for_labels(("no", "yes"))


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('name = "mine"', 'name = "yours"', "Unknown attack 'mine'. Expected: an [[attacks]]"),
        ('name = "mine"', 'name = "rare-word"', "has the name of another"),
        ('name = "mine"', 'name = "a/b"', "plain name"),
        ("target = 0", "target = 0.5", "wrong type"),
        ("target = 0", 'poison = "some"', "mixed, added"),
        ('poisoned = "bad.tsv"', "", "lacks poisoned"),
    ],
)
def test_an_attack_that_is_wrongly_described_is_refused(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    with pytest.raises(PruneEnvError) as refusal:
        read(tmp_path, OWN.replace(old, new)).cells()
    assert hint in str(refusal.value)
