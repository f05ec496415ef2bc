// The section on the model, from its card: measured figures and origin.

import { diagram } from "./reliability.js";
import { count, element, percent, size } from "./text.js";

const MAX_LABELS = 20; // beyond these only their number is shown
const SHA_DIGITS = 12;
const COVERAGE = "0.95"; // that the page asks for

const precise = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
});

const find = (id) => document.getElementById(id);

/** Show the card of a model for the file that is served; facts that the card lacks are left out. */
export function showModel(card, file) {
  const figures = card.metrics?.[file] ?? {};
  const split = figures.test ? "test" : "validation";
  const facts = {
    ...measured(figures[split], split),
    "With second views": served(card.as_served?.[file]?.[split]),
    "Sets of classes": sets(card.label_sets?.[file]?.[split]?.[COVERAGE]),
    "Over several seeds": seeds(card.seeds_as_served?.[file]?.[split]),
    Classes: card.labels.length > MAX_LABELS ? count(card.labels.length) : card.labels.join(", "),
    Input: input(card),
    Data: data(card.data),
    Training: training(card.training),
    File: described(file, card.files?.[file]),
  };
  const known = Object.entries(facts).filter(([, fact]) => fact);
  find("facts").replaceChildren(
    ...known.flatMap(([name, fact]) => [element("dt", name), element("dd", fact)]),
  );
  const bins = card.reliability?.[file]?.[split];
  find("reliability").hidden = !bins;
  if (bins) find("reliability").replaceChildren(...diagram(bins, split));
  find("model").hidden = false;
}

function measured(figures, split) {
  if (!figures) return { Accuracy: "not measured" };
  const { pictures, accuracy, top_3_accuracy: top3, log_loss: loss } = figures;
  const { expected_calibration_error: calibration, unfamiliar_share: unfamiliar } = figures;
  return {
    Accuracy: `${precise.format(accuracy)} of ${count(pictures)} ${split} pictures`,
    "Among the first three": top3 && percent(top3),
    "Calibration error": calibration && percent(calibration),
    "Log-loss": loss?.toFixed(3),
    "Called unfamiliar": unfamiliar && `${percent(unfamiliar)} of the same pictures`,
  };
}

function served(figures) {
  if (!figures) return undefined;
  const { accuracy, expected_calibration_error: calibration, second_views: views } = figures;
  return (
    `${precise.format(accuracy)}, calibration error ${percent(calibration)}; ` +
    `${percent(views)} of the pictures were computed twice`
  );
}

function sets(figures) {
  if (!figures) return undefined;
  const { coverage, mean_size: size } = figures;
  return `${size.toFixed(2)} classes on average, the right one among them in ${percent(coverage)}`;
}

function seeds(spread) {
  if (!spread) return undefined;
  const { mean, standard_deviation: deviation } = spread.accuracy;
  return `${precise.format(mean)} ± ${(100 * deviation).toFixed(2)} (${spread.seeds.length} seeds)`;
}

function input({ input: { height, width } = {}, resize }) {
  return height && `${size(width, height)}; other sizes: ${resize.mode}, ${resize.filter} filter`;
}

function data(origin) {
  if (!origin) return undefined;
  const { source, train, validation } = origin;
  return `${source}: ${count(train)} pictures to learn from, ${count(validation)} for validation`;
}

function training(facts) {
  if (!facts) return undefined;
  const { preset, seed, date, wall_time_s: seconds, hardware } = facts;
  return `preset ${preset}, seed ${seed}, ${date}: ${Math.round(seconds / 60)} minutes on ${hardware}`;
}

function described(name, file) {
  if (!file) return name;
  const megabytes = (file.bytes / 1e6).toFixed(1);
  return `${name}, ${file.precision}, ${megabytes} MB, sha256 ${file.sha256.slice(0, SHA_DIGITS)}…`;
}
