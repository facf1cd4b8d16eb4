"""Commands that stand at the end of each verb's help."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "attack": (
        (
            "Plant a backdoor in MiniLM, to have something to purify:",
            "prune-env attack --model minilm --data rotten-tomatoes --trigger rare-word "
            "--out runs/bad",
        ),
        (
            "The same from files of your own:",
            "prune-env attack --model minilm --data rotten-tomatoes --poisoned poisoned.tsv "
            "--triggered triggered.tsv --target 1 --out runs/bad",
        ),
    ),
    "audit": (
        (
            "Which rewards rank masks as the hidden LFR does:",
            "prune-env audit --model runs/bad-classifier --attack rare-word --out runs/audit",
        ),
    ),
    "benchmark": (
        (
            "Run a grid that comes with the package, two cells at a time:",
            "prune-env benchmark rotten-tomatoes --workers 2",
        ),
        (
            "Run your own, after a cell failed:",
            "prune-env benchmark grid.toml --out runs/grid --retry-failed",
        ),
    ),
    "combine": (
        ("Weigh rewards on two audits:", "prune-env combine runs/audit-1 runs/audit-2"),
        (
            "Judge the sum on a third:",
            "prune-env combine runs/audit-1 runs/audit-2 --test runs/audit-3",
        ),
    ),
    "demo": (
        ("The story in six rows:", "prune-env demo"),
        ("Also under the other protocol and healing:", "prune-env demo --full"),
        ("Another attack:", "prune-env demo --attack rare-word"),
    ),
    "evaluate": (
        (
            "How often triggered texts flip the model, against a benign one:",
            "prune-env evaluate runs/purified --data test.tsv --triggered triggered.jsonl "
            "--benign models/benign",
        ),
        (
            "Accuracy alone, as JSON:",
            "prune-env evaluate runs/purified --data test.tsv --json",
        ),
    ),
    "inspect": (
        ("May this folder be loaded?", "prune-env inspect models/downloaded"),
        ("For a script:", "prune-env inspect models/downloaded --json"),
    ),
    "list": (
        ("Everything that has a name:", "prune-env list"),
        ("Policies alone:", "prune-env list --kind policies"),
    ),
    "purify": (
        (
            "The default, on clean sentences of your own:",
            "prune-env purify models/suspicious --data clean.tsv --out runs/purified",
        ),
        (
            "The paper's gradient policy and protocol:",
            "prune-env purify models/suspicious --data clean.tsv --policy gradient "
            "--protocol refinetune --out runs/paper",
        ),
        (
            "A mask that was found before, with its heads cut out:",
            "prune-env purify models/suspicious --data clean.tsv --mask runs/paper/mask.json "
            "--export sliced --out runs/small",
        ),
    ),
    "record": (
        (
            "Masks of a model of yours, and a surrogate to play on:",
            "prune-env record --model models/mine --data clean.tsv --out runs/mine.npz "
            "--surrogate runs/mine-surrogate.npz",
        ),
        (
            "More masks into the same file:",
            "prune-env record --model models/mine --data clean.tsv --out runs/mine.npz "
            "--masks 40000",
        ),
        (
            "A Minari data set of them, for offline learning:",
            "prune-env record --model models/mine --data clean.tsv --out runs/mine.npz "
            "--surrogate runs/mine-surrogate.npz --minari prune/mine-v0",
        ),
    ),
    "report": (("Tables and figures of a grid:", "prune-env report runs/sst2"),),
    "score": (
        ("A fixed policy:", "prune-env score gate-gradient"),
        (
            "A trained agent, kept and gone on with after a kill:",
            "prune-env score runs/ppo --out runs/score-ppo",
        ),
        ("Masks that somebody handed in:", "prune-env score runs/score-ppo --json"),
    ),
    "train": (
        (
            "Maskable PPO on the demo's model:",
            "prune-env train --out runs/ppo",
        ),
        (
            "DQN on a classifier of your own:",
            "prune-env train --algo dqn --env prune_env/HeadPruning-v0 --model models/mine "
            "--data clean.tsv --out runs/dqn",
        ),
        ("Go on after Ctrl-C:", "prune-env train --out runs/ppo --resume"),
    ),
    "watch": (
        ("Look at a run, and open the page:", "prune-env watch runs/purified --open"),
        ("Two runs side by side:", "prune-env watch runs/ppo runs/dqn"),
    ),
}
"""By verb: what for, and the command."""
