// The page: takes pictures that are chosen, dropped, pasted or photographed, and makes a card for each.

import { health, setKey } from "./api.js";
import { Card } from "./card.js";

const SAMPLES = [
  ["t-shirt-top.png", "T-shirt/top"], ["trouser.png", "Trouser"], ["pullover.png", "Pullover"],
  ["dress.png", "Dress"], ["coat.png", "Coat"], ["sandal.png", "Sandal"], ["shirt.png", "Shirt"],
  ["sneaker.png", "Sneaker"], ["bag.png", "Bag"], ["ankle-boot.png", "Ankle boot"],
  ["photo.jpg", "A dark boot on a light ground, as in a photo"],
];

const $ = (id) => document.getElementById(id);
const cards = new Set();
const unauthorized = new Set(); // cards that wait for an API key
let keyEntered = false;

/** Announces a sentence to screen readers. */
function announce(text) {
  const line = document.createElement("span");
  line.textContent = `${text}. `;
  $("status").append(line);
  while ($("status").childElementCount > 10) $("status").firstChild.remove();
}

/** Adds a card for each file, above the older cards. */
function addFiles(files) {
  const fresh = [...files].map((file) => new Card(file, { announce, onProblem, onRemove }));
  $("results").prepend(...fresh.map((card) => card.element));
  for (const card of fresh) {
    cards.add(card);
    card.send();
  }
  updateSections();
  const place = fresh[0]?.element.getBoundingClientRect();
  if (place?.top > innerHeight / 2) fresh[0].element.scrollIntoView({ block: "nearest" });
}

function onProblem(card, problem) {
  if (problem.status !== 401) return;
  unauthorized.add(card);
  if (!$("key-form").hidden) return;
  $("key-note").textContent = keyEntered ? "That key was refused. Is it complete?" : "Kept in this tab’s memory only.";
  $("key-form").hidden = false;
  $("key").focus();
}

function onRemove(card) {
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.element.remove();
  cards.delete(card);
  unauthorized.delete(card);
  updateSections();
  (next?.querySelector(".remove") ?? $("files")).focus({ preventScroll: true });
  announce(`${card.file.name} removed`);
}

function updateSections() {
  $("results-section").hidden = !cards.size;
  $("clear").hidden = cards.size < 2;
}

for (const input of [$("files"), $("camera")]) {
  input.addEventListener("change", () => {
    addFiles(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
}

$("clear").addEventListener("click", () => {
  for (const card of [...cards]) card.remove();
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey($("key").value.trim());
  keyEntered = true;
  $("key").value = "";
  $("key-form").hidden = true;
  $("files").focus();
  for (const card of unauthorized) card.send();
  unauthorized.clear();
});

addEventListener("paste", (event) => {
  const { files } = event.clipboardData;
  if (!files.length) return;
  event.preventDefault();
  addFiles(files);
});

let dragDepth = 0; // dragenter and dragleave fire for every element on the way
const showDropHint = (shown) => ($("drop-hint").hidden = !shown);
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

addEventListener("dragenter", (event) => carriesFiles(event) && showDropHint(++dragDepth > 0));
addEventListener("dragleave", (event) => carriesFiles(event) && showDropHint(--dragDepth > 0));
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  showDropHint((dragDepth = 0));
  if (!carriesFiles(event)) return;
  event.preventDefault();
  addFiles(event.dataTransfer.files);
});

for (const [name, title] of SAMPLES) {
  const image = Object.assign(new Image(), { src: `web/samples/${name}`, alt: title, title });
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(image);
  button.addEventListener("click", async () => {
    const blob = await (await fetch(image.src)).blob();
    addFiles([Object.assign(new File([blob], name, { type: blob.type }), { source: image.src })]);
  });
  const item = document.createElement("li");
  item.append(button);
  $("samples").append(item);
}

health().then((body) => {
  if (!body?.model) return;
  const { model, engine } = body;
  const accuracy = model.accuracy?.test ? `, ${(100 * model.accuracy.test).toFixed(2)} % right on the test set` : "";
  $("model").textContent = `${model.name} ${model.version}${accuracy} · ${engine.name} ${engine.precision} on ${engine.device}`;
});
