// One run on the page: its facts, its player, its grid, its curves.

import { AccuracyChart, RewardChart } from "./charts.js";
import { duration, el, isNumber, outOf, percent, save, theirs, wilson } from "./dom.js";
import { Examine, ask } from "./examine.js";
import { Healing } from "./healing.js";
import { HeadGrid } from "./heads.js";
import { counted } from "./masks.js";
import { captions, picture } from "./picture.js";
import { Research } from "./research.js";
import { Story } from "./story.js";

const PLAY_MS = 160;
const STATES = { waiting: "waiting for the run", running: "running", ended: "ended", died: "died", damaged: "damaged" };

export class RunView {
  constructor(index, { name }) {
    this.index = index;
    this.name = name;
    this.told = ""; // why the model cannot be asked, which comes with the state
    this.story = new Story();
    this.state = "waiting";
    this.at = 0;
    this.changed = null; // the mask as the user changed it
    this.measured = {}; // metrics that the server measured
    this.timer = null;
    this.waiting = false;
    this.build();
  }

  build() {
    this.badge = el("span", { class: "badge", role: "status" });
    this.problem = el("p", { class: "notice", hidden: true });
    this.facts = el("dl", { class: "facts" });
    this.phase = el("progress", { max: 1, value: 0, "aria-label": "Done of this phase" });
    this.phaseName = el("span");
    this.phaseLine = el("p", { class: "phase", hidden: true }, this.phaseName, this.phase);
    const pick = (index) => this.go(index);
    this.grid = new HeadGrid((layer, head) => { this.examine.show(layer, head); this.draw(); });
    this.accuracy = new AccuracyChart(pick);
    this.reward = new RewardChart(pick);
    this.examine = new Examine(this);
    this.healing = new Healing();
    this.research = new Research();
    this.buildPlayer();
    const colourBy = el("label", { class: "field" }, "Colour by ", this.metric);
    this.gridCard = el("section", { class: "card", "aria-label": "Heads" },
      el("h3", { text: "Heads" }), el("p", { class: "tools" }, colourBy, this.measure, this.which), this.grid.element);
    const curves = el("section", { class: "card", "aria-label": "Curves" }, this.accuracy.element, this.reward.element);
    this.film = el("div", { class: "film", hidden: true }, this.player,
      el("div", { class: "columns" }, el("div", {}, this.gridCard, this.examine.element), el("div", {}, curves, this.healing.element)));
    this.element = el("article", { class: "run", "aria-label": `Run ${this.index + 1}` },
      el("h2", {}, theirs(this.name), " ", this.badge), this.problem, this.phaseLine, this.facts, this.film, this.research.element);
    this.stray = el("div"); // where healing stands while there is no film
    this.element.append(this.stray);
  }

  buildPlayer() {
    this.slider = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Time", oninput: () => this.go(Number(this.slider.value)) });
    this.play = el("button", { type: "button", class: "play", text: "Play", onclick: () => this.toggle() });
    this.where = el("output", { class: "where" });
    this.metric = el("select", { "aria-label": "Colour by", onchange: () => this.draw() });
    this.measure = el("button", { type: "button", text: "Measure heads", onclick: () => this.measureHeads() });
    this.which = el("select", { "aria-label": "Model", hidden: true, onchange: () => { this.at = 0; this.draw(); } });
    const step = (by, text, label) => el("button", { type: "button", text, "aria-label": label, onclick: () => this.go(this.at + by) });
    this.player = el("div", { class: "player" }, this.play, step(-1, "‹", "One back"), this.slider, step(1, "›", "One on"), this.where,
      el("button", { type: "button", text: "PNG", "aria-label": "Save this state as PNG", onclick: () => this.savePicture() }),
      el("button", { type: "button", text: "JSON", "aria-label": "Save this state as JSON", onclick: () => this.saveValues() }));
  }

  /** Take events, and draw once for all that come in one frame of the screen. */
  take(events) {
    const live = this.at >= this.frames.length - 1;
    events.forEach((event) => this.story.add(event));
    if (live) this.at = Math.max(0, this.frames.length - 1);
    this.later();
  }

  setState({ state, problem, missing }) {
    this.state = state;
    this.told = missing;
    this.problem.hidden = !problem;
    this.problem.textContent = problem;
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  get frames() {
    const { frames, models } = this.story;
    return models.size > 1 && this.which.value ? frames.filter((frame) => frame.model === this.which.value) : frames;
  }

  /** Columns of masks that are heads: all, unless a model's masks choose other units too. */
  get heads() {
    return Math.min(...[...this.story.models.values()].map((model) => model.heads ?? Infinity));
  }

  /** Why the model cannot be asked; empty if it can. */
  get missing() {
    return this.told || (isFinite(this.heads) ? UNITS : "");
  }

  /** The state on show: mask (with the user's changes), metrics, model, frame. */
  current() {
    const frame = this.frames[this.at];
    const model = this.story.modelOf(frame);
    const metrics = { ...(model?.importance ?? {}), ...this.measured };
    return { frame, model, metrics, mask: this.changed ?? frame?.mask, available: model?.available ?? frame?.mask.map((row) => row.replaceAll("0", "1")) };
  }

  go(index) {
    this.at = Math.min(Math.max(0, index), Math.max(0, this.frames.length - 1));
    this.changed = null;
    this.draw();
  }

  toggle() {
    if (this.timer) { this.stop(); return; }
    if (this.at >= this.frames.length - 1) this.go(0);
    this.play.textContent = "Pause";
    this.timer = setInterval(() => {
      if (this.at >= this.frames.length - 1) this.stop();
      else this.go(this.at + Math.max(1, Math.ceil(this.frames.length / 150)));
    }, PLAY_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }

  /** Close or open a head, and ask the model what that does. */
  flip(layer, head) {
    const mask = this.current().mask.map((row) => [...row]);
    mask[layer][head] = mask[layer][head] === "1" ? "0" : "1";
    this.changed = mask.map((row) => row.join(""));
    if (this.changed.join() === this.frames[this.at].mask.join()) this.changed = null;
    this.draw();
    if (this.changed) this.examine.judge(this.changed);
    this.examine.look();
  }

  unchange() {
    this.changed = null;
    this.draw();
  }

  async measureHeads() {
    this.measure.disabled = true;
    this.measure.textContent = "Measuring …";
    try {
      this.measured = await ask(this.index, "importance");
      this.measure.hidden = true;
    } catch (error) {
      this.setState({ state: this.state, problem: error.message });
      this.measure.disabled = false;
      this.measure.textContent = "Measure heads";
    }
    this.draw();
  }

  draw() {
    this.drawFacts();
    this.drawModels();
    this.healing.show(this.story);
    this.research.show(this.story);
    const some = this.frames.length > 0;
    this.film.hidden = !some;
    const home = some ? this.film.querySelector(".columns").lastElementChild : this.stray;
    if (this.healing.element.parentElement !== home) home.append(this.healing.element);
    if (!some) return;
    const { frames } = this;
    this.at = Math.min(this.at, frames.length - 1);
    Object.assign(this.slider, { max: frames.length - 1, value: this.at });
    const { frame, metrics, mask, available } = this.current();
    this.where.textContent = `${outOf(this.at + 1, frames.length)} · ${place(frame)}`;
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
    this.drawMetrics(metrics);
    const following = frames[this.at + 1];
    this.grid.show({
      heads: this.heads, mask, available, values: metrics[this.metric.value] ?? null, metric: this.metric.value,
      next: following?.action ?? null, last: frame.action ?? null, base: this.changed ? frame.mask : null,
    });
    this.accuracy.show(this.story, frames, this.at);
    this.reward.show(frames, this.at);
    this.examine.refresh();
  }

  drawFacts() {
    const { story } = this;
    const failed = story.end && story.end.status !== "done";
    const state = this.state === "ended" && failed ? story.end.status : this.state;
    const below = state === "ended" ? story.belowTau : null;
    this.badge.textContent = `${story.verb} ${STATES[state] ?? state}${below ? " below tau" : ""}`;
    this.badge.className = `badge ${state}${below ? " below" : ""}`;
    if (failed && story.end.error) {
      this.problem.hidden = false;
      this.problem.textContent = `The run ${story.end.status === "failed" ? "failed" : "was interrupted"}: ${story.end.error}`;
    } else if (state === "died") {
      this.problem.hidden = false;
      this.problem.textContent = "The process of this run has ended without a word: it was killed, or the machine stopped. What it had told is shown.";
    } else if (below) {
      this.problem.hidden = false;
      this.problem.textContent = `The purified model's validation accuracy is ${percent(below.frame.accuracy)}, below tau ${percent(below.model.tau)}: lower the learning rate, or choose another healing or another policy.`;
    }
    const { phase, pace } = story;
    this.phaseLine.hidden = !phase || state !== "running";
    if (phase) {
      this.phaseName.textContent = `${phase.name}: ${outOf(phase.done, phase.total)}, ${story.toGo === null ? "time to go unknown" : `${duration(story.toGo)} to go`}`;
      Object.assign(this.phase, { max: Math.max(1, phase.total), value: phase.done });
    }
    const { frame, model, available } = this.current();
    const told = [["elapsed", duration(story.seconds)]];
    if (frame) {
      const interval = wilson(frame.accuracy, model?.rows);
      const range = interval ? ` [${percent(interval[0])}, ${percent(interval[1])}]` : "";
      told.push(["accuracy", `${percent(frame.accuracy)}${range}`], ["tau", percent(model?.tau)],
        ...counted(frame.mask, available, this.heads), ...this.countedByHand(available));
    }
    if (pace) {
      told.push(["masks asked", `${pace.asked.toLocaleString("en")}${isNumber(pace.rate) ? ` (${pace.rate.toFixed(pace.rate < 10 ? 1 : 0)} a second)` : ""}`],
        ["from memory", percent(pace.remembered, 0)]);
    }
    this.facts.replaceChildren(...told.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
  }

  countedByHand(available) {
    const told = this.changed ? counted(this.changed, available, this.heads) : [];
    return told.map(([name, value]) => [`${name} with changes by hand`, value]);
  }

  drawModels() {
    const names = [...this.story.models.keys()];
    if (this.which.options.length !== names.length) {
      this.which.replaceChildren(...names.map((name) => el("option", { value: name, text: name })));
    }
    this.which.hidden = names.length < 2;
  }

  drawMetrics(metrics) {
    const names = Object.keys(metrics);
    if (names.join() !== [...this.metric.options].map((option) => option.value).filter(Boolean).join() || !this.metric.options.length) {
      const chosen = this.metric.value;
      this.metric.replaceChildren(...(names.length ? [] : [el("option", { value: "", text: "kept or pruned" })]),
        ...names.map((name) => el("option", { value: name, text: name, selected: name === chosen })));
    }
    this.measure.hidden = Boolean(this.missing) || names.length > 0;
  }

  async savePicture() {
    const { frame, model, metrics, mask, available } = this.current();
    const lines = captions(frame, model, counted(frame.mask, available, this.heads), this.countedByHand(available));
    const [values, file] = [metrics[this.metric.value], `${fileName(this.name)}-${this.at + 1}.png`];
    const chart = await this.accuracy.picture();
    save(file, await picture({ title: `${this.name}: ${place(frame)}`, lines, mask, available, values, chart }));
  }

  saveValues() {
    const { frame, model, mask } = this.current();
    const { story } = this;
    const value = {
      run: this.name, verb: story.verb, started: story.started, state: this.at + 1, of: this.frames.length, frame, model,
      changed_by_hand: this.changed ? mask : null, refits: story.refits, triggers: story.triggers, rows: story.rows,
    };
    save(`${fileName(this.name)}-${this.at + 1}.json`, new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  }

  repaint() {
    this.accuracy.repaint();
    this.reward.repaint();
    this.later();
  }
}

const UNITS = "This run prunes other units beside heads: the columns behind the heads are groups of feed-forward neurons and steps of strength. The model is asked about heads alone, in runs that prune nothing else.";

function place(frame) {
  const names = { start: "unpruned", search: "search", tried: "tried", learn: "learning", test: "test", chosen: "chosen mask", healed: "purified model" };
  const step = isNumber(frame.step) ? ` ${frame.step.toLocaleString("en")}` : "";
  const head = frame.action ? `, layer ${frame.action[0]} head ${frame.action[1]} went` : "";
  return `${names[frame.stage] ?? frame.stage}${step}${head} · ${duration(frame.t)}`;
}

function fileName(name) {
  return name.replace(/[^\w.-]+/g, "_").slice(0, 60) || "run";
}
