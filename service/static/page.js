// One picture in, one answer out. All that is said about the model comes from the service.

const RETRY_MS = 2000;
const MAX_BARS = 20; // of a model with more classes, the likeliest

const find = (id) => document.getElementById(id);
const oneDecimal = new Intl.NumberFormat("en", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

let request = new AbortController(); // of the picture in flight: a newer one replaces it
let healthTimer;
let classes; // of the model, once it is known

function percent(probability) {
  // Rounding must not claim certainty.
  if (probability >= 0.9995 && probability < 1) return ">99.9%";
  if (probability < 0.0005 && probability > 0) return "<0.1%";
  return oneDecimal.format(probability);
}

function size(width, height) {
  return `${width}\u00a0×\u00a0${height}\u00a0pixels`; // one word to the line breaker
}

function line(className, text) {
  const paragraph = document.createElement("p");
  paragraph.className = className;
  paragraph.textContent = text;
  return paragraph;
}

function bar({ label, probability }, index) {
  const row = find("bar").content.cloneNode(true);
  const [name, progress, value] = row.firstElementChild.children;
  name.textContent = label;
  name.htmlFor = progress.id = `bar-${index}`;
  progress.value = probability;
  progress.ariaValueText = value.textContent = percent(probability);
  return row;
}

/** Of many classes only the likeliest are named: add what is left, if it can be seen. */
function withOthers(predictions) {
  const rest = predictions.reduce((left, { probability }) => left - probability, 1);
  return rest < 0.0005 ? predictions : [...predictions, { label: "all others", probability: rest }];
}

function showMessage(state, lines) {
  find("result").dataset.state = state;
  find("result").ariaBusy = "false";
  find("message").replaceChildren(...lines);
  // On a phone the answer lies below the fold.
  if (find("result").getBoundingClientRect().top > window.innerHeight / 2) {
    find("result").scrollIntoView();
  }
}

function showError(title, detail) {
  find("picture").hidden = find("seen").hidden = true;
  find("bars").replaceChildren();
  showMessage("error", [line("headline", title), line("", detail)]);
}

function showProblem({ title, status, detail, request_id: id }) {
  // What the service is to blame for can be looked up in its log.
  showError(title, status < 500 ? detail : `${detail} Request id: ${id}`);
}

function showPicture(picture) {
  URL.revokeObjectURL(find("picture").src);
  find("picture").src = URL.createObjectURL(picture);
  find("picture").hidden = false;
}

async function showInput(dataUrl) {
  const image = find("input");
  image.src = dataUrl;
  await image.decode();
  image.alt = "The picture as the model sees it";
  find("caption").textContent =
    `What the model sees: ${size(image.naturalWidth, image.naturalHeight)}`;
  find("seen").hidden = false;
}

async function showAnswer({ predictions, unfamiliar, image, input }, picture, took) {
  const [best] = predictions;
  const warning =
    "Unfamiliar: unlike the pictures the model learned from. Take the answer as a guess.";
  await showInput(input);
  showPicture(picture);
  find("bars").replaceChildren(...withOthers(predictions).map(bar));
  showMessage("answer", [
    line("headline", best.label),
    line("sure", percent(best.probability) + (unfamiliar ? "" : " sure")),
    ...(unfamiliar ? [line("unfamiliar", warning)] : []),
    line("facts", `Answered in ${Math.max(1, Math.round(took))} ms`),
    line("facts", `${image.format}, ${size(image.width, image.height)}`),
  ]);
}

/** Classify a Blob, or the one that a promise brings. */
async function classify(source) {
  request.abort();
  request = new AbortController();
  const { signal } = request;
  find("result").ariaBusy = "true";
  try {
    const picture = await source;
    const start = performance.now();
    const query = new URLSearchParams({ include_input: true });
    if (classes) query.set("top_k", Math.min(classes, MAX_BARS));
    const response = await fetch(`predict?${query}`, {
      method: "POST",
      body: picture,
      signal,
    });
    const body = await response.json();
    const took = performance.now() - start;
    if (response.ok) await showAnswer(body, picture, took);
    else showProblem(body);
  } catch (error) {
    if (signal.aborted) return;
    showError("No answer from the service", "Check that it is running, then try again.");
  }
  showHealth();
}

function describe({ status, model, version, provider, requested_provider: requested }) {
  const short = (name) => name.replace("ExecutionProvider", "");
  if (status === "loading") return "Loading the model …";
  if (status === "draining") return "Shutting down";
  const served = `${model} · version ${version} · ${short(provider)}`;
  return status === "ok" ? served : `${served}, degraded: ${short(requested)} was asked for`;
}

async function countClasses(model) {
  const { outputs } = await (await fetch(`v2/models/${encodeURIComponent(model)}`)).json();
  return outputs.find(({ name }) => name === "probabilities").shape.at(-1);
}

/** Say what is served; while nothing is, look again. */
async function showHealth() {
  clearTimeout(healthTimer);
  let health;
  try {
    health = await (await fetch("health")).json();
    find("health").textContent = describe(health);
  } catch {
    health = { status: "down" };
    find("health").textContent = "The service does not answer";
  }
  find("health").dataset.status = health.status;
  if (["ok", "degraded"].includes(health.status)) {
    classes = await countClasses(health.model).catch(() => classes);
  } else {
    healthTimer = setTimeout(showHealth, RETRY_MS);
  }
}

find("file").addEventListener("change", ({ target }) => {
  classify(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});

for (const button of find("samples").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    classify(fetch(button.firstElementChild.src).then((response) => response.blob()));
  });
}

function take({ files }, advice) {
  if (files.length > 0) classify(files[0]);
  else showError("That was not a picture", advice);
}

document.addEventListener("paste", (event) => {
  take(event.clipboardData, "Copy a picture, then paste it here.");
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
  take(event.dataTransfer, "Drop a picture file from your computer.");
});

showHealth();
