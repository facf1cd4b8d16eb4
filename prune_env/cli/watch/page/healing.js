// What healing did: refitted maps, inverted triggers before and after.

import { el, isNumber, percent, theirs, wide } from "./dom.js";

const SHOWN = 12;

/** The sections of healing that a run has. */
export class Healing {
  constructor() {
    this.element = el("section", { class: "card", hidden: true, "aria-label": "Healing" });
    this.drawn = "";
  }

  show(story) {
    const { refits, triggers } = story;
    const key = JSON.stringify([refits.length, triggers]);
    if (key === this.drawn) return;
    this.drawn = key;
    const parts = [
      refits.length ? refitted(refits) : null,
      triggers.before || triggers.after ? inverted(triggers) : null,
    ].filter(Boolean);
    this.element.hidden = !parts.length;
    this.element.replaceChildren(el("h3", { text: "Healing" }), ...parts);
  }
}

function refitted(refits) {
  const rows = refits.map((each, index) => el("tr", {},
    el("th", { scope: "row", text: index + 1 }), el("td", { text: each.strength.toPrecision(3) }),
    el("td", { text: percent(each.kept) }), el("td", { text: percent(each.accuracy) }),
    el("td", { text: each.unseen_tokens ?? 0 })));
  const table = el("table", {}, head("refit", "strength", "squared weights kept", "accuracy after", "unseen tokens replaced"), el("tbody", {}, ...rows));
  const maps = Object.entries(refits.at(-1).maps ?? {});
  const bars = maps.map(([name, kept]) => el("li", {}, theirs(name), bar(kept), ` ${percent(kept, 0)}`));
  return el("div", {}, el("h4", { text: "Refitted maps" }), wide(table),
    maps.length ? el("details", {}, el("summary", { text: `What each of ${maps.length} maps kept` }), el("ul", { class: "bars" }, ...bars)) : null);
}

function inverted(triggers) {
  const before = triggers.before ?? {};
  const after = triggers.after ?? {};
  const labels = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const rows = labels.map((label) => {
    const told = before[label] ?? after[label] ?? {};
    const found = [...list(told.words), ...list(told.triggers)];
    const few = found.slice(0, SHOWN).flatMap((text, index) => [index ? ", " : "", theirs(text, "q")]);
    const more = found.slice(SHOWN).flatMap((text) => [", ", theirs(text, "q")]);
    return el("tr", {}, el("th", { scope: "row" }, theirs(label)),
      el("td", {}, flipped(before[label])), el("td", {}, flipped(after[label])),
      el("td", { class: "phrases" }, ...(few.length ? few : ["none"]),
        more.length ? el("details", {}, el("summary", { text: `${found.length - SHOWN} more` }), ...more.slice(1)) : null));
  });
  return el("div", {}, el("h4", { text: "Inverted triggers" }),
    el("p", { class: "quiet", text: "What says nothing and yet flips answers, found on clean data (phrases and suspicious words, or patches on images): the share of the other classes' texts or images that they flip, before they are unlearned and after." }),
    wide(el("table", {}, head("flips to", "before", "after", "what"), el("tbody", {}, ...rows))));
}

function flipped(told) {
  return isNumber(told?.flipped) ? percent(told.flipped) : "–";
}

function list(value) {
  return Array.isArray(value) ? value.map(String) : [];
}

function head(...names) {
  return el("thead", {}, el("tr", {}, ...names.map((text) => el("th", { scope: "col", text }))));
}

function bar(share) {
  const fill = el("i");
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return el("span", { class: "bar" }, fill);
}
