// Making elements and writing numbers. Whatever comes from a run is text: nothing here parses HTML.

/** Make an element: properties starting with "on" are listeners, the rest attributes. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A text of the user's: kept apart from its surroundings, whatever direction it is written in. */
export function theirs(text, tag = "bdi") {
  return el(tag, { class: "theirs", text: String(text) });
}

/**
 * As the terminal writes it: just between two, Python takes the even one, JavaScript the larger; and
 * what rounds to nothing has no sign.
 */
export function fixed(value, digits) {
  const exact = value.toFixed(100);
  const cut = exact.length - 100 + digits;
  const down = exact.slice(0, digits ? cut : cut - 1);
  const between = /^50*$/.test(exact.slice(cut));
  const told = between && Number(down.at(-1)) % 2 === 0 ? down : value.toFixed(digits);
  return Number(told) === 0 ? told.replace("-", "") : told;
}

export function percent(share, digits = 1) {
  return isNumber(share) ? `${fixed(100 * share, digits)} %` : "–";
}

export function points(value) {
  return isNumber(value) ? fixed(value, 1) : "–";
}

export function plain(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(2);
  return value.toFixed(size < 10 ? 4 : 1);
}

/** How many of how many, with commas as the terminal writes them. */
export function outOf(part, whole) {
  return `${part.toLocaleString("en")} of ${whole.toLocaleString("en")}`;
}

export function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** The 95 % Wilson interval of a share of `rows`, as shares; null where it is unknown. */
export function wilson(share, rows) {
  if (!isNumber(share) || !rows) return null;
  const z = 1.959963984540054;
  const middle = share + (z * z) / (2 * rows);
  const half = z * Math.sqrt((share * (1 - share)) / rows + (z * z) / (4 * rows * rows));
  const scale = 1 + (z * z) / rows;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}

/**
 * What may be wider than its card: it scrolls, and an edge with more behind it is in shadow.
 * Of kind `names` the first column stays in sight; of kind `tall` it scrolls down, too.
 */
export function wide(child, kind = "") {
  const inner = el("div", { class: "scroll" }, child);
  const frame = el("div", { class: `edges ${kind}` }, inner);
  const tell = () => {
    frame.classList.toggle("before", inner.scrollLeft > 1);
    frame.classList.toggle("after", inner.scrollWidth - inner.clientWidth - inner.scrollLeft > 1);
  };
  inner.addEventListener("scroll", tell, { passive: true });
  const watcher = new ResizeObserver(tell);
  [inner, child].forEach((each) => watcher.observe(each));
  return frame;
}

/** Write a file to the user's downloads. */
export function save(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
