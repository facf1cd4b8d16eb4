// Any state as a picture: drawn anew on a canvas, so that it needs nothing of the page.

import { percent } from "./dom.js";
import { colour, viridis } from "./colours.js";

const SIZE = 34;
const LEFT = 60;
const TOP = 96;

/** Return a PNG of a state: `title`, `lines` of text, `mask`, `available`, `values`, `chart`. */
export function picture({ title, lines, mask, available, values, chart }) {
  const heads = mask[0].length;
  const grid = LEFT + SIZE * heads + 20;
  const width = Math.max(720, grid, chart ? chart.canvas.width / 2 + 40 : 0);
  const below = TOP + SIZE * mask.length + 40;
  const height = below + (chart ? chart.canvas.height / 2 + 50 : 0);
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  pen.fillStyle = colour("--page");
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = colour("--text");
  pen.font = "600 18px system-ui";
  pen.fillText(title, 20, 30, width - 40);
  pen.font = "13px system-ui";
  lines.forEach((line, index) => pen.fillText(line, 20, 52 + 18 * index, width - 40));
  drawHeads(pen, mask, available, values);
  if (chart) drawChart(pen, chart, below);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

/** Draw a chart pixel by pixel, its title above and its legend below. */
function drawChart(pen, { canvas, title, legend }, top) {
  const [width, height] = [canvas.width / 2, canvas.height / 2];
  pen.fillStyle = colour("--text");
  pen.font = "600 14px system-ui";
  pen.fillText(title, 20, top, width);
  pen.drawImage(canvas, 20, top + 10, width, height);
  pen.font = "13px system-ui";
  let x = 20;
  const y = top + height + 28;
  for (const { name, value, colour: own, dash } of legend) {
    pen.strokeStyle = colour(own);
    pen.lineWidth = 3;
    pen.setLineDash(dash ?? []);
    pen.beginPath();
    pen.moveTo(x, y - 4.5);
    pen.lineTo(x + 22, y - 4.5);
    pen.stroke();
    const told = `${name} ${value}`;
    pen.fillText(told, x + 28, y);
    x += 28 + pen.measureText(told).width + 20;
  }
  pen.setLineDash([]);
}

function drawHeads(pen, mask, available, values) {
  const all = (values ?? []).flat();
  const low = Math.min(...all);
  const high = Math.max(...all);
  pen.font = "12px system-ui";
  mask.forEach((row, layer) => {
    const y = TOP + SIZE * layer;
    pen.fillStyle = colour("--quiet");
    pen.fillText(`layer ${layer}`, 8, y + 21);
    [...row].forEach((kept, head) => {
      const x = LEFT + SIZE * head;
      if (available[layer]?.[head] !== "1") return;
      const value = values?.[layer]?.[head];
      pen.fillStyle = kept === "1" ? colour("--blue") : colour("--line");
      if (kept === "1" && values) pen.fillStyle = viridis(high > low ? (value - low) / (high - low) : 0.5);
      pen.fillRect(x, y, SIZE - 3, SIZE - 3);
      if (kept === "1") return;
      pen.strokeStyle = colour("--quiet");
      pen.beginPath();
      pen.moveTo(x + 8, y + 8);
      pen.lineTo(x + SIZE - 11, y + SIZE - 11);
      pen.moveTo(x + SIZE - 11, y + 8);
      pen.lineTo(x + 8, y + SIZE - 11);
      pen.stroke();
    });
  });
}

/** The lines of text under the title of a picture; accuracy is always that of the run's mask. */
export function captions(frame, model, counted, byHand) {
  const tau = model ? `, tau ${percent(model.tau)}` : "";
  const [told, changed] = [counted, byHand].map((facts) => facts.map((fact) => fact.join(" ")).join(", "));
  return [`accuracy ${percent(frame.accuracy)}${tau}; ${told}`, ...(changed ? [changed] : [])];
}
