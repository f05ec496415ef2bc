// The reliability diagram: accuracy against confidence.

import { count, element, percent } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 240; // of the square plot
const [LEFT, TOP, WIDTH, HEIGHT] = [60, 16, 324, 300];
const LARGEST = 12; // radius of the point that stands for most pictures
const SMALLEST = 2.5;

const x = (share) => LEFT + SIDE * share;
const y = (share) => TOP + SIDE * (1 - share);

/** Returns a caption, a diagram and a table of bins, each { confidence, accuracy, pictures }. */
export function diagram(bins, split) {
  const caption = element("figcaption");
  caption.append(
    element("strong", "How far to trust its percentages. "),
    `Each point is a group of ${split} pictures about which the model was about equally sure. ` +
      "On the line it is right as often as it says; larger points stand for more pictures.",
  );
  return [caption, picture(bins), figures(bins)];
}

function picture(bins) {
  const most = Math.max(...bins.map(({ pictures }) => pictures));
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  svg.ariaLabel = "Accuracy against confidence; the table below has the figures";
  for (const share of [0, 0.5, 1]) {
    svg.append(
      draw("line", { class: "grid", x1: x(0), x2: x(1), y1: y(share), y2: y(share) }),
      draw("line", { class: "grid", x1: x(share), x2: x(share), y1: y(0), y2: y(1) }),
      label(`${100 * share}%`, { x: x(share), y: y(0) + 18, "text-anchor": "middle" }),
      label(`${100 * share}%`, { x: x(0) - 8, y: y(share) + 4, "text-anchor": "end" }),
    );
  }
  svg.append(
    draw("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    ...bins.map(({ confidence, accuracy, pictures }) =>
      draw("circle", {
        cx: x(confidence),
        cy: y(accuracy),
        r: Math.max(SMALLEST, LARGEST * Math.sqrt(pictures / most)),
      }),
    ),
    label("how sure", { x: x(0.5), y: y(0) + 38, "text-anchor": "middle" }),
    label("how often right", {
      transform: `translate(12 ${y(0.5)}) rotate(-90)`,
      "text-anchor": "middle",
    }),
  );
  return svg;
}

function figures(bins) {
  const table = element("table");
  table.append(row("th", ["how sure", "how often right", "pictures"]));
  for (const { confidence, accuracy, pictures } of bins) {
    table.append(row("td", [percent(confidence), percent(accuracy), count(pictures)]));
  }
  const details = element("details");
  details.append(element("summary", "The figures"), table);
  return details;
}

function row(kind, texts) {
  const line = element("tr");
  line.append(...texts.map((text) => element(kind, text)));
  return line;
}

function label(text, attributes) {
  const node = draw("text", attributes);
  node.textContent = text;
  return node;
}

function draw(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
