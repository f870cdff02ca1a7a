// The card of one picture: sends it, shows the answer, lets the user change the options, and removes it.

import { draw, largestAbsolute } from "./activation.js";
import { curlCommand, explain } from "./api.js";

const OPTIONS = {
  mode: [["auto", "Automatic"], ["native", "As it is"], ["photo", "Photo"]],
  background: [["auto", "Automatic"], ["light", "Light"], ["dark", "Dark"]],
};

let count = 0;

export class Card {
  /** Calls `announce` with sentences for screen readers, `onProblem` with every Problem, and `onRemove` when removed. */
  constructor(file, { announce, onProblem, onRemove }) {
    Object.assign(this, { file, announce, onProblem, onRemove });
    this.id = ++count;
    this.options = { mode: "auto", background: "auto" };
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.article = this.$("article");
    this.showPreview();
    this.addOptions();
    this.addListeners();
    this.$(".file").textContent = `${file.name} · ${bytes(file.size)}`;
    this.$(".headline").id = `card-${this.id}`;
    this.article.setAttribute("aria-labelledby", `card-${this.id}`);
    this.$(".remove").setAttribute("aria-label", `Remove ${file.name}`);
  }

  $(selector) {
    return this.element.querySelector(selector);
  }

  addListeners() {
    this.$(".remove").onclick = () => this.remove();
    this.$(".retry").onclick = () => this.send();
    this.$(".overlay").onchange = () => this.showMap(this.chosen);
    this.$(".copy").onclick = async () => {
      const copied = await navigator.clipboard?.writeText(this.$(".curl code").textContent).then(() => true, () => false);
      if (!copied) getSelection().selectAllChildren(this.$(".curl code")); // no clipboard without https; Ctrl-C works
      this.$(".copy").textContent = copied ? "Copied" : "Selected";
      this.announce(copied ? "Copied" : "The command is selected");
    };
  }

  showPreview() {
    const image = this.$(".fit img");
    this.url = URL.createObjectURL(this.file);
    image.onload = () => {
      const { naturalWidth: width, naturalHeight: height } = image;
      this.$(".fit").style.aspectRatio = `${width} / ${height}`;
      this.$(".fit").classList.toggle("tall", height > width);
      image.classList.toggle("pixelated", Math.max(width, height) <= 96);
      this.size = [width, height];
      this.$(".size").textContent = `${width}\u00a0×\u00a0${height}`;
      this.showCrop();
    };
    image.onerror = () => {
      this.$(".fit").hidden = true;
      this.$(".no-preview").hidden = false;
      if (!this.$(".problem").hidden) this.$(".views").hidden = true; // nothing to show at all
    };
    image.alt = `Your picture, ${this.file.name}`;
    image.src = this.url;
  }

  addOptions() {
    for (const [name, values] of Object.entries(OPTIONS)) {
      for (const [value, text] of values) {
        const [label, input] = radio(`${name}-${this.id}`, value, value === "auto");
        label.append(text);
        input.onchange = () => {
          this.options[name] = value;
          this.$(".background").disabled = this.options.mode === "native";
          this.send();
        };
        this.$(`.${name}`).append(label);
      }
    }
  }

  /** Sends the picture, and cancels an earlier request of this card. */
  async send() {
    this.request?.abort();
    const { signal } = (this.request = new AbortController());
    this.article.setAttribute("aria-busy", "true");
    this.$(".problem").hidden = true;
    if (!this.answer) this.setTitle("Classifying …");
    this.$(".curl code").textContent = curlCommand(this.file, this.options);
    this.$(".copy").textContent = "Copy";
    try {
      const answer = await explain(this.file, this.options, { signal, onWait: (seconds) => this.showWaiting(seconds) });
      await this.showAnswer(answer, signal);
    } catch (error) {
      if (!signal.aborted) this.showProblem(error);
    } finally {
      if (!signal.aborted) this.article.setAttribute("aria-busy", "false");
    }
  }

  showWaiting(seconds) {
    const text = `The server is busy; trying again in ${seconds} s …`;
    this.setTitle(text);
    this.announce(`${this.file.name}: ${text}`);
  }

  async showAnswer(answer, signal) {
    const seen = new Image();
    seen.src = answer.seen;
    await seen.decode();
    signal.throwIfAborted();
    Object.assign(this, { answer, seen, peak: largestAbsolute(answer.maps) });
    this.setTitle(answer.label, percent(answer.confidence));
    this.$(".outlier").hidden = !answer.out_of_distribution;
    this.$(".uncertain-background").hidden = answer.preprocessing?.certain !== false;
    const background = this.options.background;
    this.$(".uncertain-background strong").textContent =
      background === "auto" ? "The background was hard to tell." : `The background does not look clearly ${background}.`;
    this.article.classList.toggle("out-of-distribution", Boolean(answer.out_of_distribution));
    this.$(".preprocessing").textContent = describe(answer.preprocessing);
    for (const part of this.element.querySelectorAll(".views, .seen, .scores, .corrections")) part.hidden = false;
    this.showProbabilities();
    this.showMap(answer.label);
    this.showCrop();
    this.showTimings();
    const note = answer.out_of_distribution ? ", but perhaps none of the ten" : "";
    this.announce(`${this.file.name}: ${answer.label}, ${percent(answer.confidence)}${note}`);
  }

  showProblem(error) {
    this.answer = null;
    const title = error.title ?? "This page has an error";
    for (const part of this.element.querySelectorAll(".seen, .scores, .outlier, .uncertain-background, .crop")) part.hidden = true;
    const changed = Object.values(this.options).some((value) => value !== "auto");
    this.$(".corrections").hidden = !changed; // the user can undo the change
    this.$(".views").hidden = this.$(".fit").hidden;
    this.$(".retry").hidden = error.status >= 400 && error.status < 500 && error.status !== 408;
    this.$(".timings").replaceChildren();
    this.setTitle("No answer");
    this.$(".problem-title").textContent = title;
    this.$(".problem-detail").textContent = error.status === 401 ? ": enter it above." : `: ${error.detail ?? error}`;
    this.$(".problem").hidden = false;
    this.announce(`${this.file.name}: ${title}`);
    this.onProblem(this, error);
  }

  setTitle(label, confidence = "") {
    this.$(".label").textContent = label;
    this.$(".confidence").textContent = confidence;
  }

  /** Adds a radio button for each class. Choosing it shows its map, and so does moving the mouse over it. */
  showProbabilities() {
    const rows = Object.entries(this.answer.probabilities).map(([name, value]) => {
      const [label, input] = radio(`class-${this.id}`, name, name === this.answer.label);
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.setProperty("--share", value);
      label.append(span("name", name), bar, span("value", percent(value)));
      label.classList.toggle("top", name === this.answer.label);
      input.onchange = () => this.showMap(name);
      label.onpointerenter = () => this.showMap(name, false);
      label.onpointerleave = () => this.showMap(this.chosen, false);
      return label;
    });
    this.$(".bars").replaceChildren(this.$(".bars legend"), ...rows);
  }

  /** Shows the map of a class. `keep`: until another is chosen, not only while the mouse is over it. */
  showMap(name, keep = true) {
    if (keep) this.chosen = name;
    const on = this.$(".overlay").checked;
    const canvas = this.$("canvas");
    draw(canvas, this.seen, on ? this.answer.maps[name] : null, this.peak);
    const over = on ? `, with the activation map of ${name} over it` : "";
    canvas.setAttribute("aria-label", `The picture as the network saw it${over}`);
    canvas.dataset.shows = on ? name : "";
  }

  /** Shows the crop as a rectangle over the preview. */
  showCrop() {
    const box = this.answer?.preprocessing?.crop;
    const whole = !box || !this.size || (box[0] <= 0 && box[1] <= 0 && box[2] >= this.size[0] && box[3] >= this.size[1]);
    this.$(".crop").hidden = whole;
    if (whole) return;
    const [width, height] = this.size;
    const [left, top, right, bottom] = box;
    Object.assign(this.$(".crop").style, {
      left: `${(100 * left) / width}%`,
      top: `${(100 * top) / height}%`,
      width: `${(100 * (right - left)) / width}%`,
      height: `${(100 * (bottom - top)) / height}%`,
    });
  }

  showTimings() {
    const { timing_ms: parts = {}, batch_size: size, round_trip } = this.answer;
    const names = { decode: "Decoding", queue: "Waiting", inference: `Network, batch of ${size}` };
    const rows = Object.entries(parts).map(([name, value]) => [names[name] ?? name, value]);
    this.$(".timings").replaceChildren(
      ...[...rows, ["Round trip", round_trip]].map(([name, value]) => {
        const row = document.createElement("div");
        const [term, figure] = ["dt", "dd"].map((tag) => document.createElement(tag));
        term.textContent = name;
        figure.textContent = `${value.toFixed(value < 10 ? 1 : 0)} ms`;
        row.append(term, figure);
        return row;
      }),
    );
  }

  remove() {
    this.request?.abort();
    URL.revokeObjectURL(this.url);
    this.onRemove(this);
  }
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

const bytes = (size) =>
  size < 1000 ? `${size} B` : size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;

function describe(preprocessing) {
  if (!preprocessing) return "96 × 96";
  const parts = [preprocessing.mode === "photo" ? "read as a photo" : "taken as it is"];
  if (preprocessing.inverted) parts.push("light and dark exchanged");
  if (preprocessing.rotation) parts.push(`turned by ${preprocessing.rotation}°`);
  return parts.join(", ");
}

function span(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function radio(name, value, checked) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", className: "visually-hidden", name, value, checked });
  label.append(input);
  return [label, input];
}
