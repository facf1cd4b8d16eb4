// Viridis for amounts, Okabe and Ito's colours for kinds: both are told apart by colour-blind eyes.

const VIRIDIS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
];

/** The colour of an amount from 0 to 1. */
export function viridis(amount) {
  const place = Math.min(1, Math.max(0, amount)) * (VIRIDIS.length - 1);
  const low = Math.min(VIRIDIS.length - 2, Math.floor(place));
  const mixed = VIRIDIS[low].map((value, index) =>
    Math.round(value + (place - low) * (VIRIDIS[low + 1][index] - value)));
  return `rgb(${mixed.join(",")})`;
}

export const KINDS = ["--blue", "--vermilion", "--green", "--purple", "--orange", "--sky"];

/** What a custom property of the style sheet is now, in light or dark. */
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
