// Counting in masks: rows of "1" (kept) and "0" (pruned).

import { outOf } from "./dom.js";

/** How many heads are pruned, and how many other units where some stand behind them. */
export function counted(mask, available, heads) {
  const part = (from, to) => {
    const [own, all] = [mask, available].map((rows) => rows.map((row) => row.slice(from, to)));
    return outOf(pruned(own, all), count(all));
  };
  const told = [["heads pruned", part(0, heads)]];
  if (isFinite(heads)) told.push(["other units pruned", part(heads)]);
  return told;
}

function count(mask) {
  return mask.join("").replaceAll("0", "").length;
}

function pruned(mask, available) {
  return [...mask.join("")].filter((kept, index) => kept === "0" && available.join("")[index] === "1").length;
}
