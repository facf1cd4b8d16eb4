// The page: a view a run, each with a stream of events that the browser opens again by itself.

import { el } from "./dom.js";
import { RunView } from "./run_view.js";

const connection = document.getElementById("connection");
const views = [];

async function begin() {
  const runs = await (await fetch("runs")).json();
  const place = document.getElementById("runs");
  place.classList.toggle("two", runs.length > 1);
  document.title = `${runs.map((run) => run.name).join(" and ")} · prune-env watch`;
  runs.forEach((run, index) => {
    const view = new RunView(index, run);
    views.push(view);
    place.append(view.element);
    listen(view, index);
  });
}

function listen(view, index) {
  const source = new EventSource(`runs/${index}/events`);
  source.addEventListener("open", () => { connection.textContent = "live"; });
  source.addEventListener("events", (message) => view.take(JSON.parse(message.data)));
  source.addEventListener("state", (message) => view.setState(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    connection.textContent = "The server has gone; what came so far stays. `prune-env watch RUN` opens the run again.";
  });
}

function setTheme(theme) {
  document.documentElement.style.colorScheme = theme;
  document.getElementById("theme").textContent = theme === "dark" ? "Light" : "Dark";
  views.forEach((view) => view.repaint());
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const themeNow = () => document.documentElement.style.colorScheme || (dark.matches ? "dark" : "light");
setTheme(themeNow());
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
document.getElementById("theme").addEventListener("click", () => setTheme(themeNow() === "dark" ? "light" : "dark"));

begin().catch((error) => {
  document.getElementById("runs").append(el("p", { class: "notice", text: `The page could not begin: ${error.message}` }));
});
