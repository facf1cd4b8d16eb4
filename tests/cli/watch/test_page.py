"""The page in a real browser: runs that ended, go on, die; heads, texts, two of everything."""

import json
import re
import signal
import subprocess
import sys

import pytest

from prune_env.cli.watch.origin import Origin
from prune_env.data.dataset import write_jsonl
from prune_env.utils.event_kinds import (
    CellChanged,
    CellsPlanned,
    MaskSet,
    ModelShown,
    PhaseAdvanced,
    PhaseBegun,
    RunEnded,
)
from prune_env.utils.events import EVENTS, ORIGIN, EventLog, emit, recording
from tests.cli.watch.support import (
    HOSTILE,
    record_benchmark,
    record_healing,
    record_purify,
    served,
)
from tests.support import tiny_dataset

FULL = ["1111", "1111"]


@pytest.fixture(scope="module")
def asked_run(tiny_folder, tmp_path_factory):
    """A short run that says which model it is of, and on which data."""
    folder = tmp_path_factory.mktemp("asked")
    write_jsonl(folder / "clean.jsonl", tiny_dataset(80))
    record_purify(folder / "run", layers=2, heads=4, steps=3)
    told = Origin(model=str(tiny_folder), data=str(folder / "clean.jsonl")).to_json()
    (folder / "run" / ORIGIN).write_text(json.dumps(told), "utf-8")
    return folder / "run"


def go(page, place):
    """Open a page, and wait until all that the run has told is drawn."""
    page.goto(place)
    page.locator(".badge:is(.ended, .running, .died, .failed)").last.wait_for()


def head(page, layer, index):
    return page.get_by_label(f"Layer {layer}, head {index},")


def move(page, step):
    page.get_by_label("Time", exact=True).fill(str(step))


def test_a_finished_run_is_replayed(page, tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        assert page.locator(".badge").inner_text() == "purify ended"
        assert page.locator(".head.pruned:not(i)").count() == 40
        assert page.get_by_text("40 of 72").is_visible()
        move(page, 0)
        assert page.locator(".head.pruned:not(i)").count() == 0
        assert page.locator(".head.next:not(i)").count() == 1
        page.get_by_label("One on").click()
        assert page.locator(".head.pruned:not(i)").count() == 1
        assert page.get_by_text("2 of 41").is_visible()
        page.get_by_role("button", name="Play").click()
        page.get_by_text(re.compile(r"[1-3]\d of 41")).wait_for()  # any: each stands for a moment
        page.get_by_role("button", name="Pause").click()
        shown = page.locator(".facts").inner_text()
        assert "accuracy" in shown
        assert "[" in shown
        assert page.locator(".chart canvas").count() == 2


def test_what_healing_did_is_shown(page, tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        healing = page.get_by_label("Healing")
        told = healing.inner_text()
        assert "71.0 %" in told
        assert "7.9 %" in told
        assert "cf" in told
        healing.get_by_text("What each of 6 maps kept").click()
        assert healing.get_by_text("encoder.layer.5.output.dense").is_visible()


def test_the_accuracy_of_the_purified_model_is_the_last(page, tmp_path):
    with recording(tmp_path, "purify"):
        emit(ModelShown("model", FULL, 0.9125, 0.8, rows=80))
        emit(MaskSet(FULL, 0.9125, "chosen"))
        emit(MaskSet(FULL, 0.95, "healed"))
    with served(tmp_path) as place:
        go(page, place)
        assert re.search(r"accuracy\s+95.0 % \[", page.locator(".facts").inner_text())
        assert page.get_by_text("3 of 3 · purified model").is_visible()


@pytest.mark.parametrize(
    ("accuracy", "unpruned", "stage", "told"),
    [
        (0.8, 0.9125, "healed", "purify ended below tau"),
        (0.85, 0.9125, "healed", "purify ended"),
        (0.8, 0.9125, "chosen", "purify ended below tau"),
        (0.8, 0.0, "healed", "purify ended"),  # there was nothing to keep
    ],
)
def test_a_model_below_tau_is_a_warning(page, tmp_path, accuracy, unpruned, stage, told):
    with recording(tmp_path, "purify"):
        emit(ModelShown("model", FULL, unpruned, 0.85, rows=80))
        emit(MaskSet(FULL, 0.9, "search"))
        emit(MaskSet(FULL, accuracy, stage))
    with served(tmp_path) as place:
        go(page, place)
        below = told.endswith("tau")
        badge = page.locator(".badge")
        assert badge.inner_text() == told
        red, green, _ = map(
            int, re.findall(r"\d+", badge.evaluate("e => getComputedStyle(e).color"))
        )
        assert (red > green) == below  # amber, where it would be green
        notice = page.get_by_text("accuracy is 80.0 %, below tau 85.0 %")
        assert notice.is_visible() == below


def test_numbers_are_rounded_as_in_the_terminal(page, tmp_path):
    shares = [0.9125, 0.9375, 0.91251, 0.5, 0.125, 0.005, 0.0, 1.0, -0.9125, 1e22, 1 / 3, 0.0005]
    shares += [-0.0004, -0.00051, -0.0049, -0.0]
    with served(record_purify(tmp_path / "run", steps=1)) as place:
        go(page, place)
        script = """async (shares) => {
            const { percent } = await import("./dom.js");
            return shares.map((share) => [0, 1].map((digits) => percent(share, digits)));
        }"""
        written = page.evaluate(script, shares)
        assert len(written) == len(shares)
        for share, (whole, tenths) in zip(shares, written, strict=True):
            if share < 1e21:
                assert [whole, tenths] == [f"{100 * share:z.0f} %", f"{100 * share:z.1f} %"]


def test_large_numbers_have_commas_on_both_sides(page, tmp_path):
    with recording(tmp_path, "train"):
        emit(ModelShown("model", FULL, 0.9125, 0.8, rows=80))
        for step in range(1_234):
            emit(MaskSet(FULL, 0.9, "learn", step=step))
    with served(tmp_path) as place:
        go(page, place)
        page.get_by_text("1,235 of 1,235").wait_for()
        move(page, 1_000)
        assert page.get_by_text("1,001 of 1,235").is_visible()


INK = """canvas => {
  const [pen, blue] = [canvas.getContext("2d"), [0, 114, 178]];
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    count += blue.every((part, of) => data[at + of] === part);
  }
  return count;
}"""
"""Pixels of a canvas in the colour of the first curve."""


DRAWN = """
window.texts = [];
window.images = [];
const { fillText, drawImage } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
  window.texts.push(text);
  return fillText.call(this, text, ...place);
};
CanvasRenderingContext2D.prototype.drawImage = function (image, x, y, width, height) {
  const { a, d } = this.getTransform();
  window.images.push([image.width / (a * width), image.height / (d * height)]);
  return drawImage.call(this, image, x, y, width, height);
};
"""
"""Keeps the texts that are drawn on canvases, and by how much images are made smaller."""


def test_a_single_reward_is_a_point_on_an_axis_near_to_it(page, tmp_path):
    with recording(tmp_path, "purify"):
        emit(ModelShown("model", FULL, 0.9125, 0.8, rows=80))
        emit(MaskSet(FULL, 0.9125, "search", reward=0.0, terms={"sparsity": 0.0}, step=1))
        emit(MaskSet(FULL, 0.9125, "chosen"))
    page.add_init_script(DRAWN)
    with served(tmp_path) as place:
        go(page, place)
        canvas = page.get_by_role("figure").filter(has_text="Reward").locator("canvas")
        canvas.evaluate("() => new Promise(requestAnimationFrame)")
        assert canvas.evaluate(INK) > 4
        assert not page.evaluate("window.texts.filter((text) => Number(text) > 10)")


def test_what_a_test_was_paid_is_shown_where_the_reward_has_one_term(page, tmp_path):
    """A test tells its return and no terms: a training ended with a dash in place of the figure."""
    with recording(tmp_path, "train"):
        emit(ModelShown("model", FULL, 0.9, 0.8))
        for step, paid in enumerate((0.125, 0.25), 1):
            emit(MaskSet(FULL, 0.9, "learn", reward=paid, terms={"sparsity": paid}, step=step))
        emit(MaskSet(FULL, 0.9, "test", reward=0.375, step=3))
    with served(tmp_path) as place:
        go(page, place)
        chart = page.get_by_role("figure").filter(has_text="Reward")
        assert "0.3750" in chart.inner_text()


def test_points_go_once_there_is_a_line(page, tmp_path):
    """A page that was open from the first mask on draws as one that was opened at the end."""
    log = EventLog(tmp_path / EVENTS, "train")
    log.write(ModelShown("model", FULL, 0.9, 0.8))
    with served(tmp_path) as place:
        go(page, place)
        page.get_by_text("1 of 1 ").wait_for()
        for step in range(1, 30):
            log.write(MaskSet(FULL, 0.9 - step / 400, "learn", step=step))
        page.get_by_text("30 of 30").wait_for()
        canvas = page.locator(".chart canvas").first
        live = canvas.evaluate(INK)
        page.reload()
        page.get_by_text("30 of 30").wait_for()
        assert live == canvas.evaluate(INK)
    log.close()


def test_the_colours_follow_the_metric(page, tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        tile = head(page, 0, 0)
        move(page, 0)
        before = tile.evaluate("tile => tile.style.backgroundColor")
        page.get_by_label("Colour by", exact=True).select_option("magnitude")
        assert tile.evaluate("tile => tile.style.backgroundColor") != before
        assert page.get_by_text("magnitude:").is_visible()


def test_a_run_that_goes_on_is_followed_to_its_end(page, tmp_path):
    log = EventLog(tmp_path / EVENTS, "train")
    log.write(ModelShown("model", FULL, 0.9, 0.8, rows=100))
    log.write(PhaseBegun("Training ppo", 400))
    with served(tmp_path) as place:
        go(page, place)
        page.get_by_text("train running").wait_for()
        log.write(PhaseAdvanced(100))
        page.get_by_text("100 of 400").wait_for()
        log.write(MaskSet(["0111", "1111"], 0.88, "learn", step=7, terms={"sparsity": 0.1}))
        page.get_by_text("1 of 8").wait_for()
        assert page.locator(".head.pruned:not(i)").count() == 1
        move(page, 0)  # who looks back is not torn away by what comes
        log.write(MaskSet(["0011", "1111"], 0.86, "learn", step=8))
        page.get_by_text("1 of 3").wait_for()
        assert page.locator(".head.pruned:not(i)").count() == 0
        log.write(RunEnded("done"))
        log.close()
        page.get_by_text("train ended").wait_for()


RUN = """
import sys, time
from pathlib import Path
from prune_env.utils.event_kinds import ModelShown
from prune_env.utils.events import emit, recording
with recording(Path(sys.argv[1]), "train"):
    emit(ModelShown("model", ["11"], 0.9, 0.8))
    time.sleep(1000)
"""


def test_a_run_that_dies_is_told(page, tmp_path):
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)]) as run:
        while not (tmp_path / EVENTS).is_file() or b"\n" not in (tmp_path / EVENTS).read_bytes():
            assert run.poll() is None
        with served(tmp_path) as place:
            go(page, place)
            page.get_by_text("train running").wait_for()
            run.send_signal(signal.SIGKILL)
            page.get_by_text("train died").wait_for()
            assert page.get_by_text("ended without a word").is_visible()


def test_a_run_that_failed_says_why(page, tmp_path):
    with pytest.raises(ValueError, match="disk"), recording(tmp_path, "purify"):
        raise ValueError(f"no disk {HOSTILE}")
    with served(tmp_path) as place:
        go(page, place)
        page.get_by_text("purify failed").wait_for()
        assert page.get_by_text(f"no disk {HOSTILE}").is_visible()


def test_a_click_on_a_head_asks_the_model(page, asked_run):
    with served(asked_run) as place:
        go(page, place)
        move(page, 0)
        head(page, 1, 2).click()
        panel = page.get_by_label("One head")
        panel.get_by_text("Layer 1, head 2: kept").wait_for()
        assert "of 8 from below" in panel.inner_text()
        panel.locator(".token.framed").wait_for()
        assert panel.locator(".token.framed").inner_text() == "[CLS]"
        assert panel.locator("td .bar").count() == 4
        panel.get_by_role("button", name="Close this head").click()
        panel.get_by_text("Under the changed mask").wait_for()
        assert "On all 16 validation rows" in panel.inner_text()
        assert page.locator(".head.changed:not(i)").count() == 1
        facts = page.locator(".facts").inner_text()
        assert re.search(r"heads pruned\s+0 of 8", facts)  # what the accuracy beside it is of
        assert re.search(r"heads pruned with changes by hand\s+1 of 8", facts)
        panel.get_by_role("button", name="Back to the run's mask").click()
        assert page.locator(".head.changed:not(i)").count() == 0


def test_the_keyboard_alone_is_enough(page, asked_run):
    with served(asked_run) as place:
        go(page, place)
        move(page, 0)
        page.get_by_label("Colour by", exact=True).focus()
        page.keyboard.press("Tab")
        for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
        assert page.get_by_text("Layer 0, head 1: kept").is_visible()
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused).startswith("Layer 0, head 1,")
        page.keyboard.press("ArrowUp")  # there is nothing above
        assert page.evaluate(focused).startswith("Layer 0, head 1,")


def test_a_run_without_model_says_what_to_give(page, tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        head(page, 0, 0).click()
        assert page.get_by_text("--model MODEL --data DATA").is_visible()
        assert page.get_by_role("button", name="Close this head").count() == 0


def test_two_runs_stand_side_by_side(page, tmp_path):
    runs = [record_purify(tmp_path / f"run{seed}", seed=seed, steps=10 + seed) for seed in (0, 1)]
    with served(*runs) as place:
        go(page, place)
        page.get_by_text("11 of 11").wait_for()
        page.get_by_text("12 of 12").wait_for()
        left, right = (each.bounding_box() for each in page.locator(".run").all())
        assert left["x"] + left["width"] <= right["x"]
        assert left["y"] == right["y"]
        page.get_by_label("Time", exact=True).first.fill("0")
        assert page.get_by_text("1 of 11").is_visible()
        assert page.get_by_text("12 of 12").is_visible()


def test_two_pages_at_once_do_not_know_of_each_other(page, browser, tmp_path):
    log = EventLog(tmp_path / EVENTS, "train")
    log.write(ModelShown("model", FULL, 0.9, 0.8))
    other = browser.new_page()
    with served(tmp_path) as place:
        go(page, place)
        go(other, place)
        for step in range(1, 6):
            log.write(MaskSet(["0111", "1111"], 0.9, "learn", step=step))
        for each in (page, other):
            each.get_by_text("6 of 6").wait_for()
        move(page, 2)
        assert other.get_by_text("6 of 6").is_visible()
        other.close()
        log.write(MaskSet(["0111", "1111"], 0.9, "learn", step=6))
        page.get_by_text("3 of 7").wait_for()
    log.close()


def test_texts_of_others_stay_text(page, tmp_path):
    folder = tmp_path / "<b>run<b>"
    with recording(_made(folder), "purify"):
        emit(ModelShown(HOSTILE, FULL, 0.9, 0.8, importance={HOSTILE: [[1.0] * 4] * 2}))
        emit(PhaseBegun(HOSTILE, 3))
        emit(
            MaskSet(FULL, 0.9, "search", model=HOSTILE, reward=1.0, terms={HOSTILE: 1.0, "b": 2.0})
        )
        record_healing((HOSTILE, f"{HOSTILE} 2"), (HOSTILE,))
    hostile = record_benchmark(tmp_path / "grid", error=HOSTILE)
    with served(folder, hostile) as place:
        go(page, place)
        page.locator("q").first.wait_for()
        for tag in ("q", "th bdi", "td bdi", "option", ".legend bdi"):
            assert HOSTILE in page.locator(tag).all_text_contents()
        assert page.locator("img, b.run, script:not([src])").count() == 0
        assert page.title().startswith("<b>run<b>")
        assert page.get_by_text("<b>run<b>").is_visible()


def test_a_benchmark_is_a_table_that_fills(page, tmp_path):
    with served(record_benchmark(tmp_path / "grid")) as place:
        go(page, place)
        page.get_by_text("4 of 6: 3 done, 1 failed, 0 running").wait_for()  # the run has ended
        assert page.get_by_text("DivergedError: Training produced NaN").is_visible()
        assert page.get_by_text("No defender sees this").is_visible()
        assert page.locator("tbody tr").count() == 6
        assert page.get_by_label("Heads", exact=True).locator("visible=true").count() == 0


def test_a_changed_grid_in_the_same_folder_is_the_one_that_counts(page, tmp_path):
    folder = record_benchmark(tmp_path / "grid")
    with served(folder) as place, recording(folder, "benchmark"):
        emit(CellsPlanned([["0" * 16, "A on rare-word, seed 0"], ["f" * 16, "D on rare-word"]]))
        emit(CellChanged("f" * 16, "running"))
        go(page, place)
        page.get_by_text("1 of 2: 1 done, 0 failed, 1 running").wait_for()
        assert page.locator("tbody tr").count() == 2


def test_any_state_is_saved_as_picture_and_as_values(page, tmp_path):
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        move(page, 5)
        with page.expect_download() as found:
            page.get_by_label("Save this state as PNG").click()
        picture = found.value.path().read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 5000
        with page.expect_download() as found:
            page.get_by_label("Save this state as JSON").click()
        value = json.loads(found.value.path().read_text("utf-8"))
        assert value["state"] == 6
        assert "".join(value["frame"]["mask"]).count("0") == 5


@pytest.mark.parametrize("ratio", [1, 1.5, 2])
def test_a_picture_has_its_chart_sharp_with_title_and_legend(browser, tmp_path, ratio):
    context = browser.new_context(device_scale_factor=ratio)
    page = context.new_page()
    page.add_init_script(DRAWN)
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        move(page, 5)
        page.evaluate("window.texts.length = 0")
        with page.expect_download():
            page.get_by_label("Save this state as PNG").click()
        ((across, down),) = page.evaluate("window.images")
        assert (across, down) == (pytest.approx(1), pytest.approx(1))
        texts = page.evaluate("window.texts")
        assert "Accuracy on clean validation rows, over the masks" in texts
        shown = page.locator(".chart").first.locator("li").all_inner_texts()
        assert [" ".join(each.split()) for each in shown] == texts[-2:]
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser, tmp_path, scheme):
    runs = record_purify(tmp_path / "run"), record_benchmark(tmp_path / "grid")
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    with served(*runs) as place:
        go(page, place)
        page.get_by_text("41 of 41").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = head(page, 0, 11).bounding_box()
        assert box["x"] + box["width"] <= 390
        assert box["width"] >= 20
        text, ground = (
            page.evaluate(f"getComputedStyle(document.body).{name}")
            for name in ("color", "backgroundColor")
        )
        bright = [sum(map(int, each[4:-1].split(","))) for each in (text, ground)]
        assert (bright[0] > bright[1]) == (scheme == "dark")
    context.close()


def test_it_fits_a_window_that_is_narrower_than_any_phone(page, tmp_path):
    page.set_viewport_size({"width": 240, "height": 800})
    with served(record_purify(tmp_path / "run")) as place:
        go(page, place)
        page.get_by_text("41 of 41").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 240


def test_tables_are_in_the_frame_that_shows_what_is_behind_an_edge(browser, tmp_path):
    runs = record_purify(tmp_path / "run"), record_benchmark(tmp_path / "grid")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    with served(*runs) as place:
        go(page, place)
        page.get_by_label("Cells finished").wait_for()
        page.locator("table").nth(2).wait_for()  # each run comes when it is read
        assert (
            page.locator("table").count() == page.locator(".edges > .scroll > table").count() == 3
        )
        frame = page.locator(".edges", has=page.get_by_role("columnheader", name="excess").first)
        end = "(frame, side) => getComputedStyle(frame, side).opacity"
        page.wait_for_function(
            f"frame => ({end})(frame, '::after') === '1'", arg=frame.element_handle()
        )
        left = frame.evaluate("frame => getComputedStyle(frame, '::before').left")
        assert left == "1px"  # no column of it stays in sight
    context.close()


def _made(folder):
    folder.mkdir()
    return folder


def test_other_units_are_told_apart_from_heads(page, asked_run, tmp_path):
    """The model behind the run is there, and is not asked about a mask that it has no units for."""
    run = tmp_path / "run"
    run.mkdir()
    (run / ORIGIN).write_bytes((asked_run / ORIGIN).read_bytes())
    with recording(run, "purify"):
        emit(ModelShown("tiny", ["1" * 9, "1" * 9], 0.9, 0.8, heads=4))
        emit(MaskSet(["110111011", "111111111"], 0.9, "chosen", "tiny", action=[0, 6]))
    with served(run) as place:
        go(page, place)
        facts = page.locator(".facts").inner_text()
        assert re.search(r"heads pruned\s+1 of 8", facts)
        assert re.search(r"other units pruned\s+1 of 10", facts)
        assert page.get_by_text("Behind the gap: groups of neurons").is_visible()
        first, second, unit = (
            page.locator(".heads .row").nth(1).locator(".head").nth(column).bounding_box()
            for column in (0, 1, 4)
        )
        assert unit["x"] - (first["x"] + 4 * (second["x"] - first["x"])) == pytest.approx(9, abs=1)
        page.get_by_label("Layer 0, unit 6, pruned").click()
        panel = page.get_by_label("One head")
        assert panel.get_by_role("heading", name="Layer 0, unit 6: pruned").is_visible()
        assert panel.get_by_text("The model is asked about heads alone").is_visible()
        head(page, 0, 2).click()
        assert panel.get_by_role("heading", name="Layer 0, head 2: pruned").is_visible()
        assert not panel.get_by_role("button").filter(visible=True).count()


def wait_for_shadows(page, left, right):
    for side, shown in (("before", left), ("after", right)):
        found = f"getComputedStyle(document.querySelector('.edges'), '::{side}').opacity"
        page.wait_for_function(f"() => {found} === '{int(shown)}'")


def test_an_edge_with_more_columns_behind_it_is_in_shadow(page, tmp_path):
    with recording(_made(tmp_path / "run"), "purify"):
        emit(ModelShown("tiny", ["1" * 44] * 2, 0.9, 0.8, heads=12))
        emit(MaskSet(["1" * 44] * 2, 0.9, "chosen", "tiny"))
    with served(tmp_path / "run") as place:
        go(page, place)
        name = page.get_by_role("rowheader").first
        start = name.bounding_box()["x"]
        for moved, left, right in ((0, False, True), (60, True, True), (9_999, True, False)):
            page.locator(".edges .scroll").evaluate(
                "(each, at) => { each.scrollLeft = at; }", moved
            )
            wait_for_shadows(page, left, right)
        assert name.bounding_box()["x"] == pytest.approx(start, abs=4)  # the layers stay in sight
    with served(record_purify(tmp_path / "heads", steps=1)) as place:
        go(page, place)
        wait_for_shadows(page, left=False, right=False)
