// The grid of layers and heads: a button a head, reached by Tab and the arrow keys.

import { el, isNumber, plain, wide } from "./dom.js";
import { viridis } from "./colours.js";

const KEYS = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
};

/** Shows a mask; `onChoose(layer, head)` is called for a click. */
export class HeadGrid {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.tiles = [];
    this.chosen = null;
    this.grid = el("div", { class: "heads", role: "grid", "aria-label": "Layers and heads" });
    this.grid.addEventListener("keydown", (event) => this.move(event));
    this.low = el("span");
    this.high = el("span");
    this.scale = el("p", { class: "scale" }, this.low, el("i", { class: "viridis" }), this.high);
    this.units = el("p", { class: "quiet", hidden: true,
      text: "Behind the gap: groups of neurons, then steps of the strength of each map." });
    this.element = el("div", {}, wide(this.grid, "names"), this.units, this.scale, legend());
  }

  /**
   * Draw a state.
   * @param mask rows of "1" and "0"; `available` likewise: heads that exist
   * @param values numbers (L, H) to colour by, or null
   * @param marks {next, last}: [layer, head] or null; `base`: the mask without the user's changes
   * @param heads columns that are heads; behind them come groups of neurons and steps of strength
   */
  show({ mask, available, values, metric, next, last, base, heads }) {
    this.build(mask.length, mask[0].length, heads);
    this.units.hidden = heads >= mask[0].length;
    const all = (values ?? []).flat().filter((value, index) =>
      isNumber(value) && available[Math.floor(index / mask[0].length)]?.[index % mask[0].length] === "1");
    const low = Math.min(...all);
    const high = Math.max(...all);
    this.scale.hidden = !all.length;
    this.low.textContent = all.length ? `${metric}: ${plain(low)}` : "";
    this.high.textContent = all.length ? plain(high) : "";
    this.tiles.forEach((row, layer) => row.forEach((tile, head) => {
      const exists = available[layer]?.[head] === "1";
      const kept = mask[layer][head] === "1";
      const value = values?.[layer]?.[head];
      const is = (mark) => Boolean(mark) && mark[0] === layer && mark[1] === head;
      tile.disabled = !exists;
      const names = [
        !exists && "absent", exists && !kept && "pruned", is(next) && "next", is(last) && "last",
        base && base[layer][head] !== mask[layer][head] && "changed",
        this.chosen && is(this.chosen) && "chosen",
      ];
      tile.className = ["head", ...names.filter(Boolean)].join(" ");
      const shown = exists && kept && isNumber(value);
      tile.style.backgroundColor = shown ? viridis(high > low ? (value - low) / (high - low) : 0.5) : "";
      const kind = head < heads ? "head" : "unit";
      const told = [`Layer ${layer}, ${kind} ${head}`, exists ? (kept ? "kept" : "pruned") : `no ${kind}`];
      if (is(next)) told.push("pruned next");
      if (is(last)) told.push("pruned last");
      if (isNumber(value)) told.push(`${metric} ${plain(value)}`);
      tile.setAttribute("aria-label", told.join(", "));
      tile.setAttribute("aria-selected", String(Boolean(this.chosen && is(this.chosen))));
      tile.title = told.join(", ");
    }));
  }

  build(layers, columns, heads) {
    const built = [layers, columns, heads].join();
    if (this.built === built) return;
    this.built = built;
    const tiles = (count) => `repeat(${count}, minmax(22px, 1fr))`;
    const apart = heads < columns;
    this.grid.style.setProperty("--tiles", apart ? `${tiles(heads)} 6px ${tiles(columns - heads)}` : tiles(columns));
    const gap = (head) => (apart && head === heads ? [el("span", { "aria-hidden": "true" })] : []);
    const top = el("div", { role: "row", class: "row" }, el("span", { class: "corner", text: "layer" }));
    for (let head = 0; head < columns; head += 1) {
      top.append(...gap(head), el("span", { class: "name", role: "columnheader", text: head }));
    }
    this.tiles = [];
    const rows = [top];
    for (let layer = 0; layer < layers; layer += 1) {
      const row = el("div", { role: "row", class: "row" },
        el("span", { class: "name", role: "rowheader", text: layer }));
      this.tiles.push([]);
      for (let head = 0; head < columns; head += 1) {
        const tile = el("button", {
          type: "button", role: "gridcell", tabindex: layer + head ? -1 : 0,
          onclick: () => this.choose(layer, head),
        });
        this.tiles[layer].push(tile);
        row.append(...gap(head), tile);
      }
      rows.push(row);
    }
    this.grid.replaceChildren(...rows);
  }

  choose(layer, head) {
    this.focus(layer, head, false);
    this.chosen = [layer, head];
    this.onChoose(layer, head);
  }

  focus(layer, head, move = true) {
    const tile = this.tiles[layer]?.[head];
    if (!tile) return;
    this.tiles.flat().forEach((each) => { each.tabIndex = each === tile ? 0 : -1; });
    if (move) tile.focus();
  }

  move(event) {
    const step = KEYS[event.key];
    if (!step) return;
    const here = this.tiles.flat().indexOf(document.activeElement);
    if (here < 0) return;
    event.preventDefault();
    const width = this.tiles[0].length;
    this.focus(Math.floor(here / width) + step[0], (here % width) + step[1]);
  }
}

function legend() {
  const entry = (name, text) => el("li", {}, el("i", { class: `head ${name}` }), ` ${text}`);
  return el("ul", { class: "legend", "aria-label": "Signs" },
    entry("", "kept"), entry("pruned", "pruned"), entry("next", "pruned next"),
    entry("last", "pruned last"), entry("changed", "changed by you"));
}
