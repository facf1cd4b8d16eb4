"""What `prune-env purify` prints of its report."""

from pathlib import Path
from typing import Any

from prune_env.utils.counts import count_of


def list_facts(report: dict[str, Any], out: Path) -> list[tuple[str, str]]:
    """Return what is printed of the report of a purified model, line by line."""
    run = report["run"]
    result = report["result"]
    return [
        ("policy", f"{run['policy']}, protocol {run['protocol']}"),
        *_describe_oracle(run),
        ("healing", _describe_healing(report)),
        *_describe_skipped(report),
        *_describe_unlabelled(report),
        ("heads pruned", _describe_pruned(result)),
        *_describe_units(result),
        ("tau", _describe_tau(report)),
        ("validation accuracy", _describe_accuracy(report)),
        ("evaluations", _describe_evaluations(result)),
        ("time", f"{result['seconds']:.0f} s"),
        ("purified model", str(out)),
        *([("pushed to", report["pushed_to"])] if "pushed_to" in report else []),
    ]


def _describe_oracle(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a mask is good for that was chosen by the trigger itself."""
    told = "to compare with: the mask's reward reads the trigger, so no defence"
    return [("use it", told)] if "oracle" in (run["agent"] or {}) else []


def _describe_evaluations(result: dict[str, Any]) -> str:
    """Return how many masks were asked for, and in how many episodes where several were wanted."""
    asked = count_of(result["evaluations"], "mask")
    if "episodes" not in result:
        return asked
    return f"{asked}, the best of {count_of(result['episodes'], 'episode')}"


def _describe_pruned(result: dict[str, Any]) -> str:
    """Return how many heads a mask removes; of an ensemble, the rounded mean."""
    told = f"{result['heads_pruned']:,} of {result['heads_total']:,}"
    members = result.get("members")
    return told if members is None else f"{told} in the mean of {members} members"


def _describe_skipped(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many rows could not be read, if any were left out."""
    parts = report["data"].values()
    skipped, read = (sum(part[name] for part in parts) for name in ("rows_skipped", "rows"))
    told = f"{skipped:,} of {skipped + read:,}, which could not be read"
    return [("rows skipped", told)] if skipped else []


def _describe_unlabelled(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many texts a teacher labelled, and how good it is, if there were any."""
    told = report.get("unlabelled")
    if told is None:
        return []
    read, right = sum(told["labelled"].values()), 100 * told["teacher_accuracy"]
    labels = f"{read:,} of {told['texts']:,} read too, labelled by words ({right:.1f} % right)"
    return [("unlabelled texts", labels)]


def _describe_units(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return how many units beside heads were pruned, if there were any to choose from."""
    pruned = result.get("units_pruned")
    if pruned is None:
        return []
    groups, steps = count_of(pruned["neurons"], "group"), count_of(pruned["map"], "step")
    return [("other units", f"{groups} of neurons closed, {steps} of strength")]


GUARDED = {
    "accuracy": "validation accuracy",
    "balanced": "balanced validation accuracy",
    "recall": "validation recall of every class",
}


def _describe_accuracy(report: dict[str, Any]) -> str:
    """Return the accuracy before and after; where tau guards another number, that of rows."""
    result, told = report["result"], report["tau"]
    counted = "" if told["guard"] == "accuracy" else " (by rows; tau counts by classes)"
    return (
        f"{100 * result['validation_accuracy_unpruned']:.1f} % unpruned, "
        f"{100 * result['validation_accuracy_purified']:.1f} % purified{counted}"
    )


def _describe_tau(report: dict[str, Any]) -> str:
    """Return the threshold, whether it is kept, how sure that is, and what healing gave up."""
    result, told, change = report["result"], report["tau"], report["tau"]["change"]
    if change["unpruned"] == 0:
        after = f"{100 * told['value']:.1f} % on {count_of(told['rows'], 'row')} now"
        return f"none, for {GUARDED[told['guard']]} counted as 0: nothing was guarded ({after})"
    kept = "kept" if result["keeps_tau"] else "not kept"
    low, high = (f"{100 * end:.1f}" for end in told["interval"])
    before = 100 * change["unpruned"]
    moved = (
        f"{before:.1f} % unpruned, {count_of(change['lost'], 'row')} lost and {change['won']} won"
    )
    sure = "" if told["sure"] else ", which so few rows cannot tell for sure"
    what = "the last step of healing" if told["last_step_alone"] else "healing"
    milder = "" if told["force"] == 1 else f"; {what} at {told['force']:g} of its force"
    return (
        f"{100 * result['tau']:.1f} % {GUARDED[told['guard']]}, {kept}: "
        f"{100 * told['value']:.1f} % [{low}, {high}] on {count_of(told['rows'], 'row')} ({moved})"
        f"{sure}{milder}"
    )


def _describe_healing(report: dict[str, Any]) -> str:
    """Return what healed the model, what the refit left, and what unlearning found and left."""
    told = []
    if report["refits"]:
        replaced = report["refits"][0]["strangers"]
        if replaced:
            told.append(f"{count_of(replaced, 'unseen token')} replaced by their neighbours")
        kept = " and ".join(f"{100 * each['kept']:.0f} %" for each in report["refits"])
        told.append(f"{kept} of the squared weights kept")
    if report["inverted_triggers"]:
        found, left = report["inverted_triggers"][0], report["inverted_triggers"][-1]
        told.append(_describe_triggers(found, left))
    healing = str(report["run"]["healing"])
    return f"{healing}: {'; '.join(told)}" if told else healing


def _describe_triggers(found: dict[str, Any], left: dict[str, Any]) -> str:
    """Return what of the inverted triggers tells most, and what it flipped before and after."""
    if any("covered" in each for each in found.values()):
        from prune_env.purification.findings import smallest_first

        shares = ([float(each[key]) for each in found.values()] for key in ("flipped", "covered"))
        name = list(found)[smallest_first(*shares)[0]]
        what = f"{found[name]['triggers'][0]} (patches.png)"
    else:
        name = max(found, key=lambda label: float(found[label]["flipped"]))
        shown = found[name]["words"] or found[name]["triggers"]
        # Those that are made of the user's own words are not quoted.
        quoted = ", ".join(f"'{each}'" for each in shown[:3])  # the share is that of all of them
        what = f"triggers such as {quoted}" if quoted else "phrases of frequent words"
    flipped, after = (f"{100 * told[name]['flipped']:.0f} %" for told in (found, left))
    if not found[name]["flipped"]:
        return "no trigger was found that flips an answer"
    return f"{what} flipped {flipped} to {name}, afterwards {after}"
