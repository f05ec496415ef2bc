// Sends pictures to the service and shows its answers. Every URL is relative to the page, so that it
// works behind any path prefix; all facts about the model come from the service.

import { Card } from "./card.js";
import { Chooser } from "./chooser.js";
import { curl } from "./curl.js";
import { showModel } from "./model.js";

const RETRY_MS = 2000;
const NOTICEABLE_MS = 200;
const PARALLEL = 4; // requests at a time: enough to form a batch, few enough for other clients
const MAX_BARS = 20; // the likeliest classes of a model that has more
const MAX_BARS_OF_MANY = 5; // the same when there are several pictures
const COVERAGE = 0.95; // of the label sets, where the model has them

const find = (id) => document.getElementById(id);

let given = []; // the pictures whose answers are shown
let request = new AbortController(); // aborts the requests in flight when newer pictures come
let healthTimer;
let served; // the model whose card is shown, or is asked for
let classes; // how many that model has, once it is known
let hasLabelSets = false; // whether it has label sets of COVERAGE
let key; // the API key, once the user has entered one

/** Send a request; show the form for the API key if the service answers 401. */
async function ask(path, options) {
  const headers = key ? { "X-API-Key": key } : {};
  const response = await fetch(path, { ...options, headers });
  find("key-form").hidden = response.status !== 401;
  return response;
}

/** Classify pictures, each { name, blob } or { name, url }; their cards replace the present ones. */
async function classify(pictures) {
  request.abort();
  request = new AbortController();
  const { signal } = request;
  given = pictures;
  const cards = pictures.map((picture) => new Card(picture, () => command(picture)));
  // Waiting cards are shown only after a noticeable wait.
  const patience = setTimeout(() => replaceCards(cards), NOTICEABLE_MS);
  signal.addEventListener("abort", () => clearTimeout(patience));
  const waiting = cards.values();
  const work = async () => {
    for (const card of waiting) {
      await answer(card, signal);
      if (signal.aborted) return;
      clearTimeout(patience);
      if (!card.element.isConnected) replaceCards(cards);
      summarise(cards);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
  if (!signal.aborted) showHealth();
}

async function answer(card, signal) {
  const bars = given.length > 1 ? MAX_BARS_OF_MANY : MAX_BARS;
  const query = new URLSearchParams({ include_input: true });
  if (classes) query.set("top_k", Math.min(classes, bars));
  if (hasLabelSets) query.set("coverage", COVERAGE);
  let response, answer, start;
  try {
    const body = await card.read();
    start = performance.now();
    const path = `${chooser.path}predict?${query}`;
    response = await ask(path, { method: "POST", body, signal });
    answer = await response.json();
  } catch (error) {
    // Reading a file raises a DOMException, an answer that is not JSON a SyntaxError, and a failed
    // request a TypeError.
    if (error instanceof DOMException) {
      card.fail("That cannot be read", "If it is a folder, choose the pictures inside it.");
    } else if (error instanceof SyntaxError) {
      card.fail(`Error ${response.status}`, "A proxy answered in place of the service.");
    } else {
      card.fail("No answer from the service", "Check that it is running, then try again.");
    }
    return;
  }
  if (response.ok) await card.show(answer, performance.now() - start);
  else card.refuse(answer);
}

function replaceCards(cards) {
  find("result").dataset.count = cards.length;
  find("cards").replaceChildren(...cards.map(({ element }) => element));
  // On a phone the answers are below the visible part.
  if (find("result").getBoundingClientRect().top > window.innerHeight / 2) {
    find("result").scrollIntoView();
  }
}

/** Show the progress in one line, which screen readers announce. */
function summarise(cards) {
  const count = (state) => cards.filter((card) => card.state === state).length;
  const failed = count("error") ? `, ${count("error")} failed` : "";
  find("status").classList.toggle("unseen", cards.length === 1); // its card shows the same
  find("status").textContent =
    cards.length === 1
      ? cards[0].summary
      : `${count("answer")} of ${cards.length} pictures answered${failed}`;
}

function command(picture) {
  const guarded = Boolean(key) || !find("key-form").hidden;
  return curl(picture, new URL(`${chooser.path}predict`, document.baseURI), guarded);
}

function describe({ status, reason }) {
  const short = (name) => name.replace("ExecutionProvider", "");
  if (status === "loading") return "Loading the model …";
  if (status === "draining") return "Shutting down";
  if (!chooser.model) return reason ?? "No model is loaded";
  const { model, version, provider, requested_provider: requested } = chooser.model;
  const name = `${model} · version ${version} · ${short(provider)}`;
  if (status !== "degraded") return name;
  const why = provider === requested ? reason : `${short(requested)} was asked for`;
  return `${name}, degraded: ${why}`;
}

/** Show which model is served; ask again every RETRY_MS while none is. */
async function showHealth() {
  clearTimeout(healthTimer);
  let health;
  try {
    health = await (await fetch("health")).json();
    chooser.offer(health);
    find("health").textContent = describe(health);
  } catch {
    health = { status: "down" };
    find("health").textContent = "The service does not answer";
  }
  find("health").dataset.status = health.status;
  if (chooser.model) await showCardOf(chooser.model);
  if (!["ok", "degraded"].includes(health.status)) healthTimer = setTimeout(showHealth, RETRY_MS);
}

/** Show the card of a model, once for each version and file. */
async function showCardOf({ model, version, sha256 }) {
  const asked = [model, version, sha256].join("/");
  if (asked === served) return;
  served = asked;
  classes = undefined;
  hasLabelSets = false;
  const path = `models/${encodeURIComponent(model)}/versions/${version}`;
  const response = await ask(path).catch(() => undefined);
  if (served !== asked) return; // another one was chosen meanwhile
  if (!response?.ok) {
    served = undefined;
    return;
  }
  const { card, variant } = await response.json();
  classes = card.labels.length;
  hasLabelSets = COVERAGE in (card.files[variant]?.label_sets ?? {});
  showModel(card, variant);
}

function take(files, advice) {
  if (files.length > 0) {
    classify(Array.from(files, (blob) => ({ name: blob.name, blob })));
  } else {
    find("status").classList.remove("unseen");
    find("status").textContent = advice;
  }
}

const chooser = new Chooser(async () => {
  await showHealth();
  if (given.length > 0) classify(given);
});

find("file").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = ""; // so that the same files can be chosen again
});

for (const button of find("samples").querySelectorAll("button")) {
  const url = button.firstElementChild.src;
  button.addEventListener("click", () => classify([{ name: url.split("/").at(-1), url }]));
}

document.addEventListener("paste", (event) => {
  if (event.target === find("key")) return;
  take(event.clipboardData.files, "The clipboard holds no picture: copy one, then paste it here.");
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files, "That is not a file: drop files from your computer.");
});

find("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = find("key").value;
  await showHealth();
  if (given.length > 0) classify(given);
});

showHealth();
