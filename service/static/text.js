// Formats numbers and text for display.

const whole = new Intl.NumberFormat("en");
const oneDecimal = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

export const count = (number) => whole.format(number);

export function percent(share) {
  // A rounded 100% or 0% would claim certainty.
  if (share >= 0.9995 && share < 1) return ">99.9%";
  if (share < 0.0005 && share > 0) return "<0.1%";
  return oneDecimal.format(share);
}

export function size(width, height) {
  return `${width}\u00a0×\u00a0${height} pixels`; // no line break inside
}

/** An element that holds text. */
export function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}
