// Drawings: constituency trees, attention heat maps, spectrograms.

const SVG = "http://www.w3.org/2000/svg";
const LEVEL = 52; // pixels from a node to its children
const WORDS = /[\p{L}\p{N}]+(?:[-'\u2019][\p{L}\p{N}]+)*|[^\p{L}\p{N}\s]/gu;

const WORD_START = /^[\u2581 ]/; // a piece that starts a word: a space, or sentencepiece's mark for one

/** Returns a colour of the style sheet. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Returns a piece in readable form: sentencepiece's mark becomes a space. */
export const readable = (piece) => piece.replaceAll("\u2581", " ").trim() || (piece ? "␣" : "");

/** Sizes a canvas in CSS pixels at the screen's pixel density; returns its context. */
function context(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const c = canvas.getContext("2d");
  c.scale(density, density);
  return c;
}

/**
 * Parses brackets, "(S (NP DT NN )NP )S" or "(S (NP (DT a) (NN cat)))".
 * @returns {{root: object, complete: boolean}} a node is {label, children, leaf}; unclosed brackets are closed.
 */
export function readTree(text) {
  const root = { label: "", children: [] };
  const open = [root];
  let complete = true;
  for (const token of text.match(/\([^\s()]*|\)[^\s()]*|[^\s()]+/g) || []) {
    const top = open[open.length - 1];
    if (token[0] === "(") {
      const node = { label: token.slice(1), children: [] };
      top.children.push(node);
      open.push(node);
    } else if (token[0] !== ")") {
      top.children.push({ label: token, children: [], leaf: true });
    } else if (open.length > 1 && (token === ")" || token.slice(1) === top.label)) {
      open.pop();
    } else {
      complete = false;
    }
  }
  complete &&= open.length === 1 && root.children.length === 1;
  return { root: root.children.length === 1 ? root.children[0] : root, complete };
}

const leaves = (node) => (node.leaf ? [node] : node.children.flatMap(leaves));

/** Draws a tree as SVG, with the words below their tags if there are as many words as tags. */
export function drawTree(text, sentence) {
  const { root, complete } = readTree(text);
  const ends = leaves(root);
  const words = sentence.match(WORDS) || [];
  const tagged = ends.length === words.length;
  if (tagged) ends.forEach((leaf, i) => { leaf.word = words[i]; });
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = "15px system-ui, sans-serif";
  const width = (label) => measure.measureText(label).width * 1.05 + 18;
  let depth = 0;
  /** Places a node and its descendants, starting at x; returns the x where they end. */
  function place(node, x, level) {
    depth = Math.max(depth, level);
    node.level = level;
    const own = Math.max(width(node.label), width(node.word || ""));
    let end = x;
    for (const child of node.children) end = place(child, end, level + 1);
    const short = Math.max(0, own - (end - x)); // for a label wider than its children
    if (short && node.children.length) node.children.forEach((child) => shift(child, short / 2));
    const [first, last] = [node.children[0], node.children[node.children.length - 1]];
    node.x = first ? (first.x + last.x) / 2 : x + own / 2;
    return end + short;
  }
  function shift(node, by) {
    node.x += by;
    node.children.forEach((child) => shift(child, by));
  }
  const total = place(root, 0, 0);
  const height = 20 + depth * LEVEL + (tagged ? 24 : 0) + 16;
  const svg = document.createElementNS(SVG, "svg");
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  set(svg, { class: "tree", width: total, height, viewBox: `0 0 ${total} ${height}`, role: "img", "aria-label": `Tree: ${text}` });
  const add = (name, attributes, content = "") => {
    const element = set(document.createElementNS(SVG, name), attributes);
    element.textContent = content;
    svg.append(element);
  };
  // Tags stand in one row at the bottom, above their words.
  const y = (node) => 20 + LEVEL * (node.leaf ? depth : node.level);
  (function draw(node) { // lines first, so that labels cover them
    for (const child of node.children) {
      const middle = (y(node) + y(child)) / 2;
      add("path", { d: `M${node.x} ${y(node) + 12}C${node.x} ${middle} ${child.x} ${middle} ${child.x} ${y(child) - 12}` });
      draw(child);
    }
  })(root);
  (function label(node) {
    if (!node.leaf && node.label) {
      const wide = width(node.label) - 4;
      add("rect", { x: node.x - wide / 2, y: y(node) - 13, width: wide, height: 26, rx: 7 });
    }
    add("text", { x: node.x, y: y(node), class: node.leaf ? "tag" : "label" }, node.label);
    if (node.word) add("text", { x: node.x, y: y(node) + 24 }, node.word);
    node.children.forEach(label);
  })(root);
  return { svg, complete: complete && tagged };
}

/** Draws weights (T, S) as a heat map: a row for each piece of the answer, a column for each of the input. */
export function drawHeatMap(canvas, weights, rows, columns) {
  const font = "13px system-ui, sans-serif";
  const c = context(canvas, 1, 1);
  c.font = font;
  const longest = (labels) => Math.max(0, ...labels.map((label) => c.measureText(label).width)) + 8;
  const [S, T] = [weights[0].length, weights.length];
  const named = columns.some(Boolean);
  const left = longest(rows);
  const top = named ? Math.min(120, longest(columns)) : 6;
  const cell = { height: 24, width: named ? 26 : Math.max(2, Math.min(12, 480 / S)) };
  const [width, height] = [left + S * cell.width + 6, top + T * cell.height + 2];
  const d = context(canvas, width, height);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.style.maxWidth = "none";
  d.font = font;
  d.textBaseline = "middle";
  const strongest = Math.max(...weights.flat(), 1e-9);
  weights.forEach((line, t) => {
    d.globalAlpha = 1;
    d.fillStyle = colour("ink");
    d.fillText(rows[t] || "", 0, top + (t + 0.5) * cell.height);
    d.fillStyle = colour("tint");
    d.fillRect(left, top + t * cell.height, S * cell.width, cell.height - 1);
    d.fillStyle = colour("accent");
    line.forEach((weight, s) => {
      d.globalAlpha = weight / strongest;
      d.fillRect(left + s * cell.width, top + t * cell.height, cell.width - (named ? 1 : 0), cell.height - 1);
    });
  });
  d.globalAlpha = 1;
  d.fillStyle = colour("ink");
  if (named) {
    columns.forEach((label, s) => {
      d.save();
      d.translate(left + (s + 0.5) * cell.width, top - 5);
      d.rotate(-Math.PI / 2);
      d.fillText(label, 0, 0);
      d.restore();
    });
  }
}

/** Draws a picture dimmed where the weights, a grid [rows, columns] over it, are small. */
export function drawLook(canvas, picture, weights, [rows, columns]) {
  const size = 88;
  const c = context(canvas, size, size);
  c.imageSmoothingEnabled = picture.width > size;
  c.drawImage(picture, 0, 0, size, size);
  const mask = document.createElement("canvas");
  mask.width = columns;
  mask.height = rows;
  const m = mask.getContext("2d");
  const pixels = m.createImageData(columns, rows);
  const strongest = Math.max(...weights, 1e-9);
  weights.forEach((weight, i) => { pixels.data[4 * i + 3] = 215 * (1 - weight / strongest); });
  m.putImageData(pixels, 0, 0);
  c.imageSmoothingEnabled = true;
  c.drawImage(mask, 0, 0, size, size);
}

const HEAT = [[5, 3, 30], [58, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

function heat(value) {
  const at = Math.max(0, Math.min(0.9999, value)) * (HEAT.length - 1);
  const [low, high] = [HEAT[Math.floor(at)], HEAT[Math.floor(at) + 1]];
  return low.map((channel, i) => channel + (high[i] - channel) * (at % 1));
}

/** Returns the power of N/2 frequencies of N samples, N a power of two: a Cooley-Tukey FFT, in place. */
function power(re) {
  const N = re.length;
  const im = new Float32Array(N);
  for (let i = 1, j = 0; i < N; i++) {
    let bit = N >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [re[i], re[j]] = [re[j], re[i]];
  }
  for (let size = 2; size <= N; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const [wr, wi] = [Math.cos((-2 * Math.PI * k) / size), Math.sin((-2 * Math.PI * k) / size)];
      for (let i = k; i < N; i += size) {
        const j = i + size / 2;
        const [xr, xi] = [re[j] * wr - im[j] * wi, re[j] * wi + im[j] * wr];
        [re[j], im[j]] = [re[i] - xr, im[i] - xi];
        [re[i], im[i]] = [re[i] + xr, im[i] + xi];
      }
    }
  }
  return re.subarray(0, N / 2).map((value, i) => value * value + im[i] * im[i]);
}

/** Draws a spectrogram: time from left to right, frequency upwards, a range of 60 dB from dark to bright. */
export function drawSpectrogram(canvas, samples, rate) {
  const N = rate > 12000 ? 512 : 256;
  const columns = Math.min(900, Math.max(100, Math.floor(samples.length / 32)));
  const frames = Array.from({ length: columns }, (_, t) => {
    const middle = ((t + 0.5) * samples.length) / columns;
    return power(Float32Array.from({ length: N }, (_, i) => {
      const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (N - 1));
      return window * (samples[Math.round(middle - N / 2 + i)] || 0);
    }));
  });
  const loudest = frames.reduce((most, frame) => Math.max(most, ...frame), 1e-12);
  canvas.width = columns;
  canvas.height = N / 2;
  const c = canvas.getContext("2d");
  const pixels = c.createImageData(columns, N / 2);
  frames.forEach((frame, t) => frame.forEach((value, f) => {
    const level = 1 + Math.log10(Math.max(value, 1e-12) / loudest) / 6;
    const at = 4 * ((N / 2 - 1 - f) * columns + t);
    pixels.data.set([...heat(level), 255], at);
  }));
  c.putImageData(pixels, 0, 0);
}

/** Places the words of a transcript over its spectrogram, each at the mean time of its pieces' attention. */
export function placeWords(over, { weights, output_pieces }) {
  const marked = output_pieces.some((piece) => WORD_START.test(piece));
  const words = []; // {text, time: a fraction of the sound, pieces: their number}
  output_pieces.forEach((piece, t) => {
    const sum = weights[t].reduce((total, weight) => total + weight, 0) || 1;
    const time = weights[t].reduce((total, weight, s) => total + weight * (s + 0.5), 0) / sum / weights[t].length;
    const word = words[words.length - 1];
    if (word && marked && !WORD_START.test(piece)) {
      word.text += piece;
      word.time = (word.time * word.pieces + time) / ++word.pieces;
    } else {
      words.push({ text: piece.replace(WORD_START, ""), time, pieces: 1 });
    }
  });
  over.replaceChildren(...words.flatMap(({ text }) => [Object.assign(document.createElement("span"), { textContent: text }), " "]));
  over.classList.add("placed");
  const ends = []; // of each line of words, in pixels; a word that would overlap goes a line down
  [...over.children].forEach((span, i) => {
    const width = span.offsetWidth;
    const left = Math.max(0, Math.min(over.clientWidth - width, words[i].time * over.clientWidth - width / 2));
    let line = ends.findIndex((end) => end <= left);
    if (line < 0) line = ends.length;
    ends[line] = left + width + 6;
    span.style.left = `${(100 * left) / over.clientWidth}%`;
    span.style.top = `${0.2 + 1.5 * line}em`;
  });
}
