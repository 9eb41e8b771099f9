// Answer cards: the answer of one problem, its alternatives, its tree or ranking, and its attention.

import { drawHeatMap, drawLook, drawTree, readable } from "./draw.js";

/** Returns a new element with attributes and children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const painters = new WeakMap(); // canvas -> the function that repaints it when the colour scheme changes

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const canvas of document.querySelectorAll("canvas")) painters.get(canvas)?.();
});

const languages = new Intl.DisplayNames(["en"], { type: "language" });

/** Returns the English name of a language code. */
export function language(code) {
  try {
    return languages.of(code);
  } catch {
    return code;
  }
}

/** Returns a problem's title: "English → German", "Tree", "Class", "Caption", "Transcript". */
export function title(name, problem) {
  if (problem.outputs === "tree") return "Tree";
  if (problem.outputs === "class") return "Class";
  if (problem.inputs === "image") return "Caption";
  if (problem.inputs === "audio") return "Transcript";
  return problem.from && problem.to ? `${language(problem.from)} → ${language(problem.to)}` : name.replaceAll("_", " ");
}

/** Formats a log-probability in nats as a percentage. */
function percent(score) {
  if (score === null) return "0 %";
  const percentage = 100 * Math.exp(Math.min(0, score));
  return percentage < 0.1 ? "< 0.1 %" : `${percentage.toFixed(percentage >= 10 ? 0 : 1)} %`;
}

/** Returns a card without an answer yet. */
export function waitingCard(name, problem) {
  const heading = make("h2", { textContent: title(name, problem), title: problem.description || name });
  const card = make("article", { className: "card waiting" });
  card.dataset.problem = name;
  if (problem.outputs === "tree" || problem.inputs === "audio") card.classList.add("wide");
  card.append(make("header", {}, heading, make("small")), make("p", { className: "said", textContent: "…" }));
  return card;
}

/** Shows an error in a card, below its heading. */
export function failCard(card, text) {
  settle(card, "");
  card.append(make("p", { className: "failed", textContent: text }));
}

function settle(card, time) {
  card.classList.remove("waiting");
  card.querySelector("header small").textContent = time;
  while (card.children.length > 1) card.lastChild.remove();
}

/**
 * Shows an answer in a card.
 * @param {object} input what the user entered: {kind, text, picture}.
 * @param {object} reply {answer, milliseconds, model}: outputs and scores, best first; total and model time.
 * @param {function(string): Promise<object>} attend fetches the attention for an output.
 */
export function fillCard(card, problem, input, reply, attend) {
  const { outputs, scores, cut, too_long } = reply.answer;
  const model = reply.model === null ? "" : ` · model ${reply.model} ms`;
  settle(card, `${Math.round(reply.milliseconds)} ms${model}`);
  if (problem.outputs === "class") {
    card.append(ranking(outputs, scores, true));
  } else if (problem.outputs === "tree") {
    showTree(card, outputs[0], input.text);
  } else {
    showText(card, outputs[0]);
  }
  if (problem.outputs !== "class") {
    card.append(make("p", { className: "hint", textContent: `Probability ${percent(scores[0])}` }));
  }
  if (too_long) note(card, "The input was too long for the model and was cut.");
  if (cut[0]) note(card, "The answer reached the length limit and is cut.");
  if (problem.outputs !== "class" && outputs.length > 1) {
    const rest = ranking(outputs, scores, false);
    card.append(make("details", { className: "alternatives" }, make("summary", { textContent: `Alternatives (${outputs.length - 1})` }), rest));
  }
  if (attend && outputs[0]) card.append(attention(input, problem.grid, () => attend(outputs[0])));
}

function showText(card, text) {
  const attributes = text ? { textContent: text } : { textContent: "The model returned an empty answer.", className: "nothing" };
  card.append(make("p", { className: "said" }, make("span", attributes)));
}

const note = (card, text) => card.append(make("p", { className: "note", textContent: text }));

function showTree(card, text, sentence) {
  const { svg, complete } = drawTree(text, sentence);
  card.append(make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Tree" }, svg));
  if (!complete) note(card, "The brackets do not form one tree over these words; the drawing shows the part that could be read.");
  const brackets = make("p", { className: "brackets", textContent: text });
  card.append(make("details", {}, make("summary", { textContent: "Brackets" }), brackets));
}

function ranking(outputs, scores, first) {
  const items = outputs.map((output, i) => make(
    "li",
    { className: first && i === 0 ? "first" : "" },
    make("span", { textContent: first ? output.replaceAll("_", " ") : output || "(nothing)" }),
    make("span", { textContent: percent(scores[i]) }),
    make("meter", { min: 0, max: 1, value: Math.exp(scores[i] ?? -Infinity), ariaHidden: "true" }),
  ));
  return make("ol", { className: "ranked" }, ...(first ? items : items.slice(1)));
}

/** Returns a section that fetches and shows the attention when it is opened. */
function attention(input, grid, load) {
  const summary = make("summary", { textContent: "Attention" });
  const body = make("div", {});
  const details = make("details", { className: "attention" }, summary, body);
  let requested = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || requested) return;
    requested = true;
    body.replaceChildren(make("p", { className: "hint", textContent: "…" }));
    try {
      body.replaceChildren(...drawAttention(input, grid, await load()));
    } catch (error) {
      requested = false;
      body.replaceChildren(make("p", { className: "failed", textContent: error.message }));
    }
  });
  return details;
}

function drawAttention(input, grid, { weights, output_pieces, input_pieces }) {
  const rows = output_pieces.map(readable);
  if (!weights.length || !weights[0].length) return [make("p", { className: "hint", textContent: "There is no attention for this answer." })];
  if (input.kind === "image" && grid) {
    const looks = weights.map((line, t) => {
      const canvas = make("canvas", { ariaHidden: "true" });
      drawLook(canvas, input.picture, line, grid);
      return make("li", {}, canvas, make("span", { textContent: rows[t] }));
    });
    return [hint("For each piece of the answer, the bright parts of the picture had the most attention."), make("ul", { className: "looks" }, ...looks)];
  }
  const columns = input_pieces.map(readable);
  const canvas = make("canvas", { role: "img", ariaLabel: describe(weights, rows, columns) });
  painters.set(canvas, () => drawHeatMap(canvas, weights, rows, columns));
  painters.get(canvas)();
  const across = columns.some(Boolean) ? "the input" : "time";
  return [
    hint(`Rows: pieces of the answer. Columns: ${across}.`),
    make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Heat map of attention" }, canvas),
  ];
}

const hint = (text) => make("p", { className: "hint", textContent: text });

/** Describes a heat map in words: for each piece of the answer, the piece of the input with the most attention. */
function describe(weights, rows, columns) {
  const strongest = weights.map((line) => line.indexOf(Math.max(...line)));
  return "Attention. " + strongest.map((s, t) => `${rows[t]}: ${columns[s] || `position ${s + 1}`}`).join("; ");
}
