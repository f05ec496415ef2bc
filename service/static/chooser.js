// The choice of a model, where the service has several.

import { element } from "./text.js";

export class Chooser {
  #select = document.getElementById("chooser");
  #models = new Map(); // what can be chosen, by the path below which it answers

  /** @param changed called when the user has chosen another model. */
  constructor(changed) {
    this.#select.addEventListener("change", changed);
  }

  /** Offer the models that can answer, as /health has them; keep the choice while it is there. */
  offer({ models, ...standard }) {
    const served = [standard, ...models].filter(({ version }) => version);
    const names = new Set();
    this.#models = new Map(served.map((model) => [path(model, standard, names), model]));
    const before = this.#select.value;
    const options = [...this.#models].map(([value, { model, version }]) => {
      const option = element("option", `${model} · version ${version}`);
      option.value = value;
      option.selected = value === before;
      return option;
    });
    this.#select.replaceChildren(...options);
    this.#select.parentElement.hidden = options.length < 2;
  }

  /** The chosen model, undefined where none can answer. */
  get model() {
    return this.#models.get(this.#select.value);
  }

  /** The path below which it answers, with a slash at its end; empty for the default model. */
  get path() {
    return this.#select.value;
  }
}

/** The first version of each name, which are in `names`, answers without its number. */
function path({ model, version }, standard, names) {
  const isFirst = !names.has(model);
  names.add(model);
  if (isFirst && model === standard.model) return "";
  const ofModel = `models/${encodeURIComponent(model)}/`;
  return isFirst ? ofModel : `${ofModel}versions/${version}/`;
}
