// Research runs: figures that no defender sees, and the cells of a benchmark as they come.

import { duration, el, outOf, points, theirs, wide } from "./dom.js";

const FIGURES = [["acc", "ACC"], ["lfr", "LFR"], ["floor", "floor"], ["excess_lfr", "excess"], ["excess_lfr_calibrated", "cal. excess"]];

/** The tables of a demo or a benchmark. */
export class Research {
  constructor() {
    this.element = el("section", { class: "card research", hidden: true, "aria-label": "Research" });
    this.drawn = "";
  }

  show(story) {
    const cells = [...story.cells.values()];
    const key = `${story.rows.length} ${cells.map((cell) => cell.status).join()}`;
    if (key === this.drawn) return;
    this.drawn = key;
    this.element.hidden = !cells.length && !story.rows.length;
    if (this.element.hidden) return;
    this.element.replaceChildren(
      el("h3", { text: cells.length ? "Cells of the benchmark" : "Measured with the trigger" }),
      el("p", { class: "notice hatched" }, el("b", { text: "No defender sees this: " }),
        "LFR, floor and excess are measured on triggered texts, which only the evaluation holds."),
      cells.length ? counts(cells) : "",
      wide(table(cells.length ? cells : story.rows.map(asCell)), "tall"));
  }
}

function asCell(row) {
  return { name: [row.policy, row.protocol, row.healing].filter((part) => part && part !== "none").join(" + "), status: "done", row };
}

function counts(cells) {
  const count = (status) => cells.filter((cell) => cell.status === status).length;
  const finished = count("done") + count("failed");
  return el("p", {}, el("progress", { max: cells.length, value: finished, "aria-label": "Cells finished" }),
    ` ${outOf(finished, cells.length)}: ${count("done")} done, ${count("failed")} failed, ${count("running")} running`);
}

function table(cells) {
  const names = ["cell", "state", ...FIGURES.map(([, name]) => name), "pruned", "time"];
  return el("table", {},
    el("thead", {}, el("tr", {}, ...names.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...cells.map(line)));
}

function line(cell) {
  const { row } = cell;
  const first = [el("th", { scope: "row" }, theirs(cell.name)), el("td", {}, state(cell.status))];
  if (cell.error !== null && cell.error !== undefined) {
    return el("tr", { class: "failed" }, ...first, el("td", { colspan: FIGURES.length + 2 }, theirs(cell.error)));
  }
  const figures = FIGURES.map(([name], index) => el("td", { class: index ? "secret" : "", text: row ? points(row[name]) : "" }));
  return el("tr", {}, ...first, ...figures,
    el("td", { text: row ? `${row.heads_pruned ?? "–"}/${row.heads_total ?? "–"}` : "" }),
    el("td", { text: row ? duration(row.seconds) : "" }));
}

function state(status) {
  const sign = { done: "✓", failed: "✗", running: "▸", pending: "·" }[status] ?? "";
  return el("span", { class: `state ${status}`, text: `${sign} ${status}` });
}
