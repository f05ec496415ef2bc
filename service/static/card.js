// The card of one picture: the picture, the model's view of it, and the answer or the problem.

import { element, percent, size } from "./text.js";

const SETS = "95% of pictures like those that the model was measured on";

let bars = 0; // created so far; numbers the element ids

export class Card {
  state = "waiting"; // then "answer" or "error"
  summary = ""; // the outcome in one line
  #picture;
  #command;

  /**
   * @param picture { name, blob } for a file of the user's, { name, url } for a sample.
   * @param command returns the command line that sends the same request.
   */
  constructor(picture, command) {
    this.#picture = picture;
    this.#command = command;
    // cloneNode would keep the template's own document, which loads no images.
    const template = document.getElementById("card").content.firstElementChild;
    this.element = document.importNode(template, true);
    this.#find("h3").textContent = picture.name;
    const image = this.#find(".given img");
    image.src = picture.url ?? URL.createObjectURL(picture.blob);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    image.addEventListener("error", () => (this.#find(".given").hidden = true));
    const button = this.#find("button");
    button.ariaLabel = `${button.textContent}: ${picture.name}`;
    button.addEventListener("click", () => this.#copy());
  }

  /** The bytes of the picture. */
  async read() {
    return (this.#picture.blob ?? (await fetch(this.#picture.url))).arrayBuffer();
  }

  /** Show an answer of /predict, which took `took` milliseconds. */
  async show({ predictions, unfamiliar, image, input, label_set: set }, took) {
    const [best] = predictions;
    const sure = percent(best.probability) + (unfamiliar ? "" : " sure");
    const warning =
      "Unfamiliar: unlike the pictures the model learned from. Take the answer as a guess.";
    await this.#showInput(input);
    this.#find(".given figcaption").textContent =
      `${image.format}, ${size(image.width, image.height)}`;
    this.#find(".bars").replaceChildren(...withOthers(predictions).map(bar));
    this.#finish("answer", `${this.#picture.name}: ${best.label}, ${sure}`, [
      element("p", best.label, "headline"),
      element("p", sure, "sure"),
      ...(unfamiliar ? [element("p", warning, "unfamiliar")] : []),
      ...(set?.length > 1 ? [element("p", `${list(set)}: one of these in ${SETS}`)] : []),
      element("p", `Answered in ${Math.max(1, Math.round(took))} ms`, "facts"),
    ]);
  }

  /** Show a problem document. */
  refuse({ title, status, detail, request_id: id }) {
    // The id of a request finds a server error in the service's log.
    this.fail(title, status < 500 ? detail : `${detail} Request id: ${id}`);
  }

  fail(title, detail) {
    this.#finish("error", `${this.#picture.name}: ${title}`, [
      element("p", title, "headline"),
      element("p", detail),
    ]);
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #finish(state, summary, lines) {
    this.state = this.element.dataset.state = state;
    this.summary = summary;
    this.element.ariaBusy = "false";
    this.#find(".message").replaceChildren(...lines);
  }

  async #showInput(dataUrl) {
    const image = this.#find(".seen img");
    image.src = dataUrl;
    await image.decode();
    this.#find(".seen figcaption").textContent =
      `What the model sees: ${size(image.naturalWidth, image.naturalHeight)}`;
    this.#find(".seen").hidden = false;
  }

  async #copy() {
    const code = this.#find("code");
    code.textContent = this.#command();
    code.hidden = false;
    const done = this.#find(".command [role=status]");
    try {
      await navigator.clipboard.writeText(code.textContent);
      done.textContent = "Copied";
    } catch {
      // Browsers offer the clipboard only to pages from HTTPS or localhost.
      getSelection().selectAllChildren(code);
      done.textContent = "Selected: copy it with Ctrl+C";
    }
  }
}

function bar({ label, probability }) {
  const row = document.importNode(document.getElementById("bar").content.firstElementChild, true);
  const [name, progress, value] = row.children;
  name.textContent = label;
  name.htmlFor = progress.id = `bar-${++bars}`;
  progress.value = probability;
  progress.ariaValueText = value.textContent = percent(probability);
  return row;
}

/** Labels in words: "cat, dog or frog". */
function list(labels) {
  return `${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}`;
}

/** Add a bar for the classes that the answer leaves out, unless it would be too short to see. */
function withOthers(predictions) {
  const rest = predictions.reduce((left, { probability }) => left - probability, 1);
  return rest < 0.0005 ? predictions : [...predictions, { label: "all others", probability: rest }];
}
