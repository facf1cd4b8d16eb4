// Curves over the frames of a run, by uPlot. The legend is ours: names of rewards are text.

import uPlot from "./uplot/uPlot.esm.js";
import { el, percent, plain, wilson } from "./dom.js";
import { KINDS, colour } from "./colours.js";

const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [12, 4], [1, 2]];
const HEIGHT = 190;

/** One chart; `onPick(index)` is called for a click. */
class Chart {
  constructor(title, onPick) {
    this.onPick = onPick;
    this.title = title;
    this.place = el("div", { class: "plot" });
    this.names = el("ul", { class: "legend" });
    this.element = el("figure", { class: "chart" }, el("figcaption", { text: title }), this.place, this.names);
    this.plot = null;
    this.index = 0;
    this.key = "";
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** Draw series `{name, values, colour, dash, width, hidden, write}`; `bands` of uPlot. */
  draw(series, index, { bands = [], write }) {
    this.index = index;
    this.write = write;
    const length = Math.max(...series.map((each) => each.values.length));
    const data = [Array.from({ length }, (_, at) => at), ...series.map((each) => each.values)];
    const key = JSON.stringify(series.map((each) => each.name));
    if (!this.plot || key !== this.key) this.make(series, data, bands, key);
    else this.plot.setData(data);
    this.names.replaceChildren(...this.legend(series).map((each) =>
      el("li", {}, swatch(each), " ", el("bdi", { text: each.name }), " ", el("b", { text: each.value }))));
  }

  /** What is under a chart: every curve with its value where the mark is. */
  legend(series) {
    return series.filter((each) => !each.hidden).map(({ name, values, colour: own, dash }) =>
      ({ name, colour: own, dash, value: this.write(values[this.index]) }));
  }

  make(series, data, bands, key) {
    this.key = key;
    this.series = series;
    this.bands = bands;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), data, this.place);
    this.plot.over.addEventListener("click", () => {
      const at = this.plot.cursor.idx;
      if (at !== null && at !== undefined) this.onPick(at);
    });
  }

  /** What uPlot is told; everything is so many times as large as on the page. */
  options(times = 1) {
    const grid = { stroke: colour("--line"), width: times };
    const axis = { stroke: colour("--quiet"), grid, ticks: { show: false }, font: `${12 * times}px system-ui`, gap: 5 * times };
    return {
      width: this.width * times, height: HEIGHT * times, legend: { show: false }, cursor: { y: false, drag: { setScale: false } },
      scales: { x: { time: false, range: (_, low, high) => [low, Math.max(high, low + 1)] }, y: { range: room } },
      axes: [
        { ...axis, size: 26 * times, space: 50 * times, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
        { ...axis, size: 58 * times, space: 30 * times, values: (_, ticks) => ticks.map((tick) => this.write(tick)) },
      ],
      series: [{}, ...this.series.map((each) => ({
        stroke: each.hidden ? undefined : colour(each.colour), width: times * (each.width ?? 2), dash: (each.dash ?? []).map((part) => times * part),
        points: { show: (plot, at) => !each.hidden && alone(plot.data[at]) }, spanGaps: true,
      }))],
      bands: this.bands.map((band) => ({ ...band, fill: fade(colour("--blue")) })),
      hooks: { draw: [(plot) => this.mark(plot, times)] },
    };
  }

  /** Draw it anew for a picture: its canvas, of two pixels a point whatever the screen has. */
  async picture() {
    if (!this.plot) return null;
    const legend = this.legend(this.series.map((each, at) => ({ ...each, values: this.plot.data[at + 1] })));
    const options = this.options(2 / devicePixelRatio);
    const plot = await new Promise((resolve) => {
      options.hooks.ready = [resolve];
      new uPlot(options, this.plot.data, document.createElement("div"));
    });
    plot.destroy();
    return { canvas: plot.ctx.canvas, title: this.title, legend };
  }

  get width() {
    return Math.max(200, this.place.clientWidth);
  }

  resize() {
    if (this.plot && this.plot.width !== this.width) this.plot.setSize({ width: this.width, height: HEIGHT });
  }

  /** Make it anew, in the colours of the theme. */
  repaint() {
    if (this.plot) this.make(this.series, this.plot.data, this.bands, this.key);
  }

  mark(plot, times) {
    const x = Math.round(plot.valToPos(this.index, "x", true));
    const { top, height } = plot.bbox;
    const pen = plot.ctx;
    pen.save();
    pen.strokeStyle = colour("--text");
    pen.lineWidth = times * devicePixelRatio;
    pen.setLineDash([]);
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
    pen.stroke();
    pen.restore();
  }
}

/** Accuracy against tau, with its interval. */
export class AccuracyChart extends Chart {
  constructor(onPick) {
    super("Accuracy on clean validation rows, over the masks", onPick);
  }

  show(story, frames, index) {
    const rows = (frame) => story.modelOf(frame)?.rows;
    const known = frames.map((frame) => wilson(frame.accuracy, rows(frame)));
    this.draw([
      { name: "upper end", hidden: true, values: known.map((each) => each?.[1] ?? null), width: 0 },
      { name: "lower end", hidden: true, values: known.map((each) => each?.[0] ?? null), width: 0 },
      { name: "accuracy", values: frames.map((frame) => frame.accuracy ?? null), colour: "--blue" },
      { name: "tau", values: frames.map((frame) => story.modelOf(frame)?.tau ?? null), colour: "--vermilion", dash: [6, 4] },
    ], index, { bands: [{ series: [1, 2] }], write: (value) => percent(value) });
  }
}

/** What was paid, by its terms. */
export class RewardChart extends Chart {
  constructor(onPick) {
    super("Reward and its terms", onPick);
  }

  show(frames, index) {
    const terms = [...new Set(frames.flatMap((frame) => Object.keys(frame.terms)))].slice(0, KINDS.length - 1);
    const paid = frames.map((frame) => frame.reward ?? null);
    this.element.hidden = !terms.length && paid.every((value) => value === null);
    if (this.element.hidden) return;
    const one = terms.length === 1;
    // A test of an agent tells what it was paid, and not by which term; of one there is no doubt.
    const told = (frame, name) => frame.terms[name] ?? (one ? frame.reward : null) ?? null;
    this.draw([
      ...(one ? [] : [{ name: "reward", values: paid, colour: "--text", width: 2.5 }]),
      ...terms.map((name, at) => ({
        name, values: frames.map((frame) => told(frame, name)), colour: KINDS[at], dash: DASHES[at],
      })),
    ], index, { write: plain });
  }
}

/** Whether there is no line to draw, only a point: asked at each draw, as values come. */
function alone(values) {
  return values.filter((value) => value !== null).length < 2;
}

/** The ends of the y axis; where all values are equal, near to them. */
function room(_, low, high) {
  if (low === null || low < high) return uPlot.rangeNum(low ?? 0, high ?? 1, 0.1, true);
  const beside = 0.1 * Math.abs(low) || 0.1;
  return [low - beside, low + beside];
}

function swatch(series) {
  const mark = el("i", { class: "swatch" });
  mark.style.borderTopColor = `var(${series.colour})`;
  mark.style.borderTopStyle = series.dash?.length ? "dashed" : "solid";
  return mark;
}

function fade(rgb) {
  return rgb.replace("rgb(", "rgba(").replace(")", ", 0.18)");
}
