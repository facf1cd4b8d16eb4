// The panel of one head: its metrics, what it looks at, and the model with and without it.

import { el, outOf, percent, plain, points, theirs } from "./dom.js";
import { viridis } from "./colours.js";

/** Ask the server a question about the model of a run. */
export async function ask(run, question, body = {}) {
  const answer = await fetch(`runs/${run}/ask/${question}`, { method: "POST", body: JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error ?? `The server answered ${answer.status}`);
  return value;
}

/** Everything about the model itself; `view` is the RunView that it belongs to. */
export class Examine {
  constructor(view) {
    this.view = view;
    this.facts = null;
    this.head = null;
    this.sentence = 0;
    this.asked = 0; // of the questions about accuracy, the last counts
    this.verdict = el("div", { class: "verdict", role: "status", "aria-live": "polite" });
    this.title = el("h3", { text: "Click a head to examine it" });
    this.metrics = el("dl", { class: "metrics" });
    this.toggle = el("button", { type: "button", hidden: true, onclick: () => this.view.flip(...this.head) });
    this.reset = el("button", { type: "button", hidden: true, text: "Back to the run's mask", onclick: () => this.view.unchange() });
    this.note = el("p", { class: "quiet", text: "Its metrics, its attention over one of your sentences, and what the model answers without it." });
    this.looks = el("div");
    this.element = el("section", { class: "card examine", "aria-label": "One head" },
      this.title, this.metrics, el("p", { class: "buttons" }, this.toggle, this.reset), this.verdict, this.note, this.looks);
  }

  /** Show a head as it is in the mask on show. */
  show(layer, head) {
    this.head = [layer, head];
    this.refresh();
    this.look();
  }

  refresh() {
    this.reset.hidden = !this.view.changed;
    if (!this.view.changed) this.verdict.replaceChildren();
    if (!this.head) return;
    const [layer, head] = this.head;
    const { mask, metrics } = this.view.current();
    const kept = mask[layer]?.[head] === "1";
    const kind = head < this.view.heads ? "head" : "unit";
    this.title.textContent = `Layer ${layer}, ${kind} ${head}: ${kept ? "kept" : "pruned"}`;
    this.metrics.replaceChildren(...Object.entries(metrics).flatMap(([name, values]) => {
      const all = values.flat();
      const rank = all.filter((value) => value < values[layer][head]).length + 1;
      return [el("dt", {}, theirs(name)), el("dd", { text: `${plain(values[layer][head])} (${outOf(rank, all.length)} from below)` })];
    }));
    this.toggle.hidden = Boolean(this.view.missing);
    this.toggle.textContent = kept ? "Close this head" : "Open this head";
    if (this.view.missing) this.note.textContent = this.view.missing;
  }

  /** Load the model at the first question; later ones find it there. */
  async known() {
    if (!this.facts) {
      this.note.textContent = "Loading the model and its clean data …";
      this.facts = await ask(this.view.index, "facts");
      this.note.textContent = "";
      this.note.append("Answers come from ", theirs(this.facts.model), ".");
    }
    return this.facts;
  }

  /** Ask for the accuracy under the user's mask. */
  async judge(mask, everything = false) {
    const number = (this.asked += 1);
    this.verdict.textContent = "Asking the model …";
    try {
      const facts = await this.known();
      if (number !== this.asked) return;
      const began = performance.now();
      const answer = await ask(this.view.index, "accuracy", { rows: mask, everything });
      if (number !== this.asked || !this.view.changed) return;
      this.tell(answer, facts, (performance.now() - began) / 1000, mask);
    } catch (error) {
      if (number === this.asked) this.verdict.textContent = error.message;
    }
  }

  tell({ accuracy, unpruned, changed, all_rows: all }, facts, seconds, mask) {
    const { total } = accuracy;
    const part = total < all;
    const over = part ? `${outOf(total, all)} validation rows (a stratified part)` : `all ${total.toLocaleString("en")} validation rows`;
    this.verdict.replaceChildren(
      el("p", {}, "Under the changed mask: ", el("b", { text: `${points(accuracy.percent)} %` }),
        ` [${points(accuracy.low)}, ${points(accuracy.high)}], unpruned ${points(unpruned.percent)} %.`),
      el("p", { class: "quiet", text: `On ${over}; ${changed} answers differ from the unpruned model's; answered in ${seconds.toFixed(2)} s.` }));
    if (part) {
      this.verdict.append(el("button", { type: "button", text: `Judge on all ${all.toLocaleString("en")}`, onclick: () => this.judge(mask, true) }));
    }
  }

  /** Show the attention of the head over the chosen sentence. */
  async look() {
    if (this.view.missing) return;
    const [layer, head] = this.head;
    try {
      const facts = await this.known();
      const rows = this.view.current().mask;
      const seen = await ask(this.view.index, "attention", { rows, layer, head, sentence: this.sentence });
      if (this.head[0] === layer && this.head[1] === head) this.draw(seen, facts);
    } catch (error) {
      this.looks.replaceChildren(el("p", { class: "quiet", text: error.message }));
    }
  }

  draw(seen, facts) {
    const choice = el("select", { onchange: (event) => { this.sentence = Number(event.target.value); this.look(); } },
      ...facts.sentences.map((each, index) => el("option", { value: index, text: `${each.label}: ${shorten(each.text)}`, selected: index === this.sentence })));
    const from = el("p", { class: "tokens", role: "group", "aria-label": "Choose the token that looks" });
    const map = el("canvas", { class: "map", role: "img", "aria-label": "Attention map of the head: a row a token that looks, a column a token that is seen" });
    const pick = (query) => {
      from.replaceChildren(...seen.tokens.map((token, index) => tokenTile(token, seen.weights[query][index], index === query, () => pick(index))));
    };
    pick(seen.read);
    drawMap(map, seen.weights);
    const [open, closed] = seen.answers;
    this.looks.replaceChildren(
      el("label", { class: "field" }, "Sentence ", choice),
      el("h4", { text: "What the head looks at" }),
      el("p", { class: "quiet", text: "From the framed token (choose another by a click); darker is more." }),
      from, el("details", {}, el("summary", { text: "The whole map" }), map),
      el("h4", { text: "What the model answers with and without it" }),
      answers(seen.labels, open.probabilities, closed.probabilities),
      el("h4", { text: `Where ${seen.tokens[seen.read]} looks in the last layer, all heads` }),
      side("with it", seen.tokens, open.last), side("without it", seen.tokens, closed.last));
  }
}

function tokenTile(token, weight, framed, onclick) {
  const tile = el("button", { type: "button", class: framed ? "token framed" : "token", onclick, title: percent(weight) }, el("bdi", { text: token }));
  shade(tile, weight);
  return tile;
}

function side(name, tokens, weights) {
  const line = el("p", { class: "tokens" }, el("span", { class: "side quiet", text: name }));
  tokens.forEach((token, index) => {
    const tile = el("span", { class: "token", title: percent(weights[index]) }, el("bdi", { text: token }));
    shade(tile, weights[index]);
    line.append(tile);
  });
  return line;
}

function shade(tile, weight) {
  tile.style.setProperty("--weight", `${Math.round(100 * Math.min(1, Math.sqrt(weight)) * 0.7)}%`);
}

function answers(labels, open, closed) {
  const bar = (value) => {
    const fill = el("i");
    fill.style.width = `${100 * value}%`;
    return el("td", {}, el("span", { class: "bar" }, fill), ` ${percent(value)}`);
  };
  return el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "class" }), el("th", { scope: "col", text: "with" }), el("th", { scope: "col", text: "without" }))),
    el("tbody", {}, ...labels.map((label, index) =>
      el("tr", {}, el("th", { scope: "row" }, theirs(label)), bar(open[index]), bar(closed[index])))));
}

function drawMap(canvas, weights) {
  const size = Math.max(4, Math.floor(288 / weights.length));
  canvas.width = canvas.height = size * weights.length;
  const pen = canvas.getContext("2d");
  weights.forEach((row, y) => row.forEach((weight, x) => {
    pen.fillStyle = viridis(Math.sqrt(weight));
    pen.fillRect(x * size, y * size, size, size);
  }));
}

function shorten(text) {
  const letters = [...text];
  return letters.length > 70 ? `${letters.slice(0, 70).join("")} …` : text;
}
