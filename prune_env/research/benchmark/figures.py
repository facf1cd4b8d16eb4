"""Figures of a benchmark, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, ScalarFormatter

from prune_env.research.benchmark.marks import MARKERS, Mark
from prune_env.research.benchmark.summary import Line
from prune_env.research.figure import save_figure

DPI = 150
WIDEST = 28
"""Letters of a line over a panel."""
TALLEST = 4
"""A grid of heads by its width: a file may tell of a thousand layers of one head."""

MOST_TICKS = 128
"""On an axis of heads or layers: each costs more than all that it stands for."""

KINDS = {
    "clean_target": ("clean, target label", "#4c78a8", "o"),
    "clean_other": ("clean, other label", "#9ecae9", "o"),
    "triggered": ("triggered", "#e45756", "^"),
}
"""What a point of a t-SNE figure stands for: name, colour, marker."""


TITLE = 11
"""Points of what stands over a figure."""


def lfr_against_tau(
    path: Path,
    series: dict[tuple[str, str], dict[float, Line]],
    floor: float,
    palette: dict[str, Mark],
    title: str = "",
) -> None:
    """Draw calibrated LFR and ACC against tau, one line a policy (the paper's Fig. 2b).

    Args:
        path: PNG file to write.
        series: By policy and protocol, the line at each tau.
        floor: Mean calibrated LFR of the benign model.
        palette: Mark of each policy.
        title: Over the whole, such as the attack.
    """
    protocols = list(dict.fromkeys(protocol for _, protocol in series))
    figure = Figure(figsize=(5 * len(protocols) + 1.6, 7), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    grid = figure.subplots(2, len(protocols), sharex=True, sharey="row", squeeze=False)
    for column, protocol in enumerate(protocols):
        for name, axis in zip(("lfr_calibrated", "acc_calibrated"), grid[:, column], strict=True):
            for (policy, own), by_tau in series.items():
                if own == protocol:
                    taus = sorted(by_tau)
                    means = [by_tau[tau].mean(name) for tau in taus]
                    axis.plot(taus, means, markersize=4, marker="o", **palette[policy].line())
            axis.grid(alpha=0.25)
        grid[0, column].set_title(protocol, fontsize=10)
        grid[0, column].axhline(floor, color="0.4", linestyle="--", linewidth=1)
        grid[1, column].set_xlabel("tau")
        grid[1, column].set_xticks(sorted({tau for by_tau in series.values() for tau in by_tau}))
        grid[1, column].tick_params(axis="x", labelrotation=60, labelsize=8)
    grid[0, 0].set_ylabel("LFR, calibrated (%)")
    grid[1, 0].set_ylabel("ACC, calibrated (%)")
    handles = [
        Line2D([], [], marker="o", markersize=4, label=policy, **palette[policy].line())
        for policy in dict.fromkeys(policy for policy, _ in series)
    ]
    handles.append(Line2D([], [], color="0.4", linestyle="--", label="floor"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    save(figure, path)


def cls_maps(path: Path, models: dict[str, dict[str, npt.NDArray[Any]]], title: str = "") -> None:
    """Draw t-SNE maps of [CLS] vectors, one panel a model (the paper's Fig. 2a).

    Args:
        path: PNG file to write.
        models: By title, the vectors (N, D) of each kind in `KINDS`.
        title: Over the whole, such as the attack.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    from sklearn.manifold import TSNE  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(4 * len(models), 4.5), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots(1, len(models), squeeze=False)[0]
    for axis, (name, vectors) in zip(axes, models.items(), strict=True):
        stacked = np.concatenate([vectors[kind] for kind in KINDS]).astype(np.float32)
        perplexity = min(30, max(2, (len(stacked) - 1) // 4))
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(stacked)
        ends = np.cumsum([len(vectors[kind]) for kind in KINDS])[:-1]
        for kind, part in zip(KINDS, np.split(points, ends), strict=True):
            label, colour, marker = KINDS[kind]
            axis.scatter(
                *part.T, s=22, c=colour, marker=marker, label=label, linewidths=0.3, edgecolors="w"
            )
        axis.set_title(fill(name, 44), fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(KINDS), frameon=False)
    save(figure, path)


def pruned_heads(path: Path, shares: dict[str, npt.NDArray[np.float64]], title: str = "") -> None:
    """Draw which heads each policy prunes, one grid a policy.

    Args:
        path: PNG file to write.
        shares: By policy, the share (L, H) of seeds (and members) in which a head is pruned.
        title: Over the whole, such as the attack.
    """
    columns = min(4, len(shares))
    rows = -(-len(shares) // columns)
    layers, heads = next(iter(shares.values())).shape
    titles = [fill(f"{policy} ({share.sum():.0f})", WIDEST) for policy, share in shares.items()]
    lines = 1 + max(each.count("\n") for each in titles)
    figure = Figure(
        figsize=(
            1 + 2.6 * columns,
            0.4 + rows * (0.15 + 0.2 * lines + 2.4 * min(layers / heads, TALLEST)),
        ),
        layout="constrained",
    )
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(shares) :]:
        axis.set_visible(False)
    panels = zip(axes.flat, titles, shares.values(), strict=False)
    for place, (axis, headed, share) in enumerate(panels):
        image = axis.imshow(share, vmin=0, vmax=1, cmap="Reds", aspect="equal")
        axis.set_title(headed, fontsize=9)
        axis.set_xticks(range(0, heads, max(1 if heads <= 6 else 3, heads // MOST_TICKS)))
        axis.set_yticks(range(0, layers, 1 + layers // MOST_TICKS))
        axis.tick_params(labelsize=7, length=2, labelbottom=place + columns >= len(shares))
        if max(layers, heads) <= MOST_TICKS:  # beyond, lines between heads would hide them
            axis.set_xticks(np.arange(heads + 1) - 0.5, minor=True)
            axis.set_yticks(np.arange(layers + 1) - 0.5, minor=True)
        axis.grid(which="minor", color="0.85", linewidth=0.5)
        axis.tick_params(which="minor", length=0)
    figure.supxlabel("head", fontsize=9)
    figure.supylabel("layer", fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("share of seeds", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    save(figure, path)


def cost(path: Path, lines: Sequence[Line]) -> None:
    """Draw what each policy costs: masks evaluated, and seconds for each protocol.

    Args:
        path: PNG file to write.
        lines: Of policies that prune, of all attacks.
    """
    policies = list(dict.fromkeys(line.policy for line in lines))
    figure = Figure(figsize=(10, 1.3 + 0.26 * len(policies)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("evaluations", "masks evaluated"), ("seconds", "seconds: search and protocol"))
    for axis, (name, label) in zip(axes, panels, strict=True):
        for protocol in dict.fromkeys(line.protocol for line in lines):
            for height, policy in enumerate(policies):
                means = [
                    line.mean(name)
                    for line in lines
                    if (line.policy, line.protocol) == (policy, protocol)
                ]
                if means:
                    marker = MARKERS.get(protocol, "D")
                    axis.plot(max(np.mean(means), 0.1), height, marker, color="#4c78a8", alpha=0.8)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter("")
        axis.set_xlabel(label)
        axis.grid(axis="x", alpha=0.3)
        axis.grid(axis="y", alpha=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(policies)), policies, fontsize=8)
    axes[0].invert_yaxis()
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            color="#4c78a8",
            marker=MARKERS.get(protocol, "D"),
            label=protocol,
        )
        for protocol in dict.fromkeys(line.protocol for line in lines)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    save_figure(figure, path, DPI)
