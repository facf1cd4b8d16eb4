// What the events of a run tell so far.

const WINDOW_S = 15; // over which masks a second are counted

/** The state of a run, built event by event. */
export class Story {
  constructor() {
    this.verb = "";
    this.started = "";
    this.seconds = 0;
    this.models = new Map();
    this.frames = []; // MaskSet events: what the slider goes through
    this.phase = null;
    this.counts = [];
    this.refits = [];
    this.triggers = {};
    this.cells = new Map();
    this.rows = [];
    this.end = null;
  }

  add(event) {
    this.seconds = Math.max(this.seconds, event.t ?? 0);
    const told = this[`on${event.kind}`];
    if (told) told.call(this, event);
  }

  onRunStarted(event) {
    this.verb = event.verb;
    this.started = event.started;
  }

  onModelShown(event) {
    this.models.set(event.model, event);
    this.end = null;
    const unpruned = { mask: event.available, accuracy: event.accuracy, stage: "start" };
    const last = this.frames.at(-1);
    if (!last || last.model !== event.model || last.stage !== "start") {
      this.frames.push({ terms: {}, ...unpruned, model: event.model, t: event.t });
    }
  }

  onPhaseBegun(event) {
    this.end = null;
    this.phase = { name: event.name, total: event.total, done: 0, began: event.t, now: event.t };
  }

  onPhaseAdvanced(event) {
    if (this.phase) Object.assign(this.phase, { done: event.done, now: event.t });
  }

  onPhaseEnded() {
    this.phase = null;
  }

  onMaskSet(event) {
    this.frames.push({ terms: {}, model: "model", ...event });
  }

  onMasksCounted(event) {
    this.counts.push(event);
    if (this.counts.length > 2000) this.counts.splice(1, 1000);
  }

  onRefitDone(event) {
    this.refits.push(event);
  }

  onTriggersFound(event) {
    this.triggers[event.moment] = event.by_label;
  }

  onCellsPlanned(event) {
    this.end = null;
    const known = this.cells;  // those of an older grid in the same folder are none of the run
    this.cells = new Map(
      event.cells.map(([key, name]) => [key, known.get(key) ?? { key, name, status: "pending" }]),
    );
  }

  onCellChanged(event) {
    const cell = this.cells.get(event.key) ?? { key: event.key, name: event.key };
    this.cells.set(event.key, {
      ...cell, status: event.status, row: event.row ?? null, error: event.error ?? null, t: event.t,
    });
  }

  onRowMeasured(event) {
    this.rows.push(event.row);
  }

  onRunEnded(event) {
    this.end = event;
    this.phase = null;
    for (const cell of this.cells.values()) {
      if (cell.status === "running") cell.status = "pending";
    }
  }

  /** The frame and model of a purified model that is below tau; null if tau holds, or held never. */
  get belowTau() {
    const frame = this.frames.at(-1);
    const model = this.modelOf(frame);
    if (this.verb !== "purify" || !["chosen", "healed"].includes(frame?.stage)) return null;
    return model?.accuracy > 0 && frame.accuracy < model.tau ? { frame, model } : null;
  }

  /** Seconds to the end of the phase at its pace so far; null where it is not known. */
  get toGo() {
    const { phase } = this;
    if (!phase || !phase.done || phase.now <= phase.began) return null;
    return ((phase.now - phase.began) / phase.done) * Math.max(0, phase.total - phase.done);
  }

  /** Masks asked a second of late, and the share that was remembered. */
  get pace() {
    const last = this.counts.at(-1);
    if (!last) return null;
    const from = this.counts.find((each) => each.t >= last.t - WINDOW_S) ?? last;
    const before = from === last ? { t: 0, asked: 0 } : from;
    const rate = last.t - before.t >= 1 ? (last.asked - before.asked) / (last.t - before.t) : null;
    const remembered = last.asked ? Math.max(0, 1 - last.computed / last.asked) : null;
    return { asked: last.asked, rate, remembered };
  }

  modelOf(frame) {
    return this.models.get(frame?.model) ?? [...this.models.values()].at(-1) ?? null;
  }
}
