// The page: takes what is given, asks the server for every problem that takes it, and shows the answers.

import { failCard, fillCard, language, make, title, waitingCard } from "./cards.js";
import { drawSpectrogram, placeWords } from "./draw.js";
import { clock, decode, record, toWav, whyNotRecord } from "./sound.js";

const $ = (id) => document.getElementById(id);
const KINDS = { text: "a sentence", image: "a picture", audio: "a sound" };
const BASE64 = 4 / 3;
const ENVELOPE = 1000; // bytes of a request beside its input
const SIDE = 1024; // pixels at most of a picture that the page draws anew: as PNG below 5 MB
const SPECTROGRAM_RATE = 16000; // where the problem names none

let about; // export.json and the server's limits
let started = null; // the promise of them
let last; // the question to try again
let turn = 0; // questions so far: answers to an older one are dropped
let recording = null; // {stop}, also while the microphone is asked for

class Trouble extends Error {}

/** Asks the server. Rejects with a Trouble that says in one line what is wrong. */
async function call(path, body) {
  const start = performance.now();
  let response, content;
  try {
    const patience = AbortSignal.timeout(1000 * ((about?.limits.answer_seconds ?? 30) + 10));
    response = await fetch(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), signal: patience });
    content = await response.json();
  } catch {
    throw new Trouble("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw new Trouble(content.error);
  const model = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "");
  return { content, milliseconds: performance.now() - start, model: model && Math.round(model[1]) };
}

async function predict(signature, instance) {
  const body = { signature_name: signature, instances: [instance] };
  const reply = await call(`v1/models/${encodeURIComponent(about.name)}:predict`, body);
  return { ...reply, answer: reply.content.predictions[0] };
}

/** The problems to ask: the one chosen, or all that take this kind. */
function problemsFor(kind) {
  const chosen = $("problem").value;
  const all = Object.entries(about.problems);
  const rank = ([, problem]) => ["class", "text", "tree"].indexOf(problem.outputs);
  const fit = all.filter(([name, problem]) => problem.inputs === kind && (!chosen || name === chosen)).sort((a, b) => rank(a) - rank(b));
  if (fit.length) return fit;
  if (!all.some(([, problem]) => problem.inputs === kind)) throw new Trouble(`This model has no problem that takes ${KINDS[kind]}.`);
  const problem = about.problems[chosen];
  throw new Trouble(`“${title(chosen, problem)}” takes ${KINDS[problem.inputs]}, not ${KINDS[kind]}. Choose another problem, or “by what is given”.`);
}

/**
 * Asks every problem that takes what is given and shows the answers as they come.
 * @param {object} given {kind, text, picture, instance(problem): the value to send, onAnswer(text, attend)}.
 */
async function ask(given) {
  const mine = ++turn;
  const problems = problemsFor(given.kind);
  const start = performance.now();
  const cards = problems.map(([name, problem]) => waitingCard(name, problem));
  $("answers").replaceChildren(...cards);
  $("answers").ariaBusy = "true";
  $("status").textContent = "Asking …";
  const likelihoods = [];
  const failures = (await Promise.all(problems.map(async ([name, problem], i) => {
    try {
      const instance = await given.instance(problem);
      const reply = await predict(name, instance);
      const attention = `${name}/attention`;
      const attend = about.signatures.includes(attention)
        ? async (output) => (await predict(attention, { inputs: instance, outputs: output })).answer
        : null;
      fillCard(cards[i], problem, given, reply, attend);
      likelihoods.push({ card: cards[i], from: problem.from, to: problem.to, score: reply.answer.scores[0] });
      given.onAnswer?.(reply.answer.outputs[0], attend).catch(() => {}); // words that find no place stay below
      return null;
    } catch (error) {
      failCard(cards[i], told(error));
      return error;
    }
  }))).filter(Boolean);
  if (mine !== turn) return;
  $("answers").ariaBusy = "false";
  const count = problems.length - failures.length;
  const took = `${count} ${count === 1 ? "answer" : "answers"} in ${Math.round(performance.now() - start)} ms.`;
  $("status").textContent = `${took} ${given.kind === "text" ? chooseLanguage(likelihoods) : ""}`;
  if (failures.length === problems.length) {
    $("answers").replaceChildren();
    throw failures[0];
  }
}

/** Guesses a sentence's language by which translation is likeliest; those from other languages go to the end, faint. */
function chooseLanguage(likelihoods) {
  const translations = likelihoods.filter(({ from, to }) => from && to).sort((a, b) => b.score - a.score);
  if (new Set(translations.map(({ from }) => from)).size < 2) return "";
  const { from } = translations[0];
  for (const { card } of translations.filter((one) => one.from !== from)) {
    card.classList.add("unlikely");
    $("answers").append(card);
  }
  return `The sentence looks like ${language(from)}.`;
}

/** What to tell of an error; what is none of ours goes to the console too. */
function told(error) {
  if (error instanceof Trouble) return error.message;
  console.error(error);
  return `This page failed: ${error.message}`;
}

/** Runs what a person asked for; trouble is shown with a button to try again. */
async function attempt(work) {
  last = work;
  $("alert").hidden = true;
  try {
    await work();
  } catch (error) {
    $("status").textContent = "";
    $("alert-text").textContent = told(error);
    $("alert").hidden = false;
  }
}

/** Shows what was given in place of what was; whose addresses, which keep files in memory, are given up. */
function show(...children) {
  for (const old of $("given").querySelectorAll("img, audio")) URL.revokeObjectURL(old.src);
  $("given").replaceChildren(...children);
  $("given").hidden = children.length === 0;
}

async function askText() {
  const text = $("text").value.trim();
  if (!text) {
    $("text").focus();
    throw new Trouble("Type a sentence first, or choose a picture or a sound.");
  }
  await ready();
  show();
  await ask({ kind: "text", text, instance: async () => text });
}

async function askFile(file) {
  await ready();
  const kind = await kindOf(file);
  problemsFor(kind);
  await (kind === "image" ? askPicture(file) : askSound(file));
}

/** Throws a Trouble where a file, or what was made of it, does not fit into a request. */
function checkSize(blob, name) {
  const most = Math.floor((about.limits.body_bytes - ENVELOPE) / BASE64);
  if (blob.size <= most) return;
  throw new Trouble(`${name || "This"} has ${megabytes(blob.size)}; this server takes files of up to ${megabytes(most)}.`);
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** By the type that the browser tells, or by the first bytes. */
async function kindOf(file) {
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  if (file.type.startsWith("image/") || /^(\x89PNG|\xff\xd8)/.test(start)) return "image";
  if (/^(audio|video)\//.test(file.type) || /^RIFF....WAVE/s.test(start)) return "audio";
  throw new Trouble(`${file.name || "This"} is neither a picture nor a sound.`);
}

async function askPicture(file) {
  const picture = new Image();
  picture.alt = "The picture that was given";
  picture.src = URL.createObjectURL(file);
  const known = file.type === "image/png" || file.type === "image/jpeg";
  let blob;
  try {
    blob = await picture.decode().then(() => (known ? file : redrawn(picture))).catch(() => null);
    if (!blob) throw new Trouble(`${file.name || "This"} cannot be read as a picture.`);
    checkSize(blob, file.name);
  } catch (error) {
    URL.revokeObjectURL(picture.src);
    throw error;
  }
  picture.classList.toggle("small", picture.naturalWidth <= 64);
  const size = `${picture.naturalWidth} × ${picture.naturalHeight} pixels`;
  show(make("figure", {}, picture, make("figcaption", { textContent: `${file.name || "picture"}, ${size}` })));
  const instance = { b64: await base64(blob) };
  await ask({ kind: "image", picture, instance: async () => instance });
}

/** A picture of a form that the server does not read, as PNG and not too large; null where it cannot be drawn. */
async function redrawn(picture) {
  const sides = [picture.naturalWidth, picture.naturalHeight];
  const [width, height] = sides.map((side) => Math.ceil(side * Math.min(1, SIDE / Math.max(...sides))));
  const canvas = make("canvas", { width, height });
  const c = canvas.getContext("2d");
  c.imageSmoothingQuality = "high";
  c.drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function askSound(file) {
  checkSize(file, file.name);
  const [, first] = problemsFor("audio")[0];
  const rate = first.sample_rate || SPECTROGRAM_RATE;
  let samples;
  try {
    samples = await decode(file, rate);
  } catch {
    throw new Trouble(`${file.name || "This"} cannot be read as a sound.`);
  }
  const seconds = samples.length / rate;
  const canvas = make("canvas", { className: "spectrogram", role: "img", ariaLabel: "Spectrogram: time from left to right, frequency upwards" });
  drawSpectrogram(canvas, samples, rate);
  const player = make("audio", { controls: true, src: URL.createObjectURL(file) });
  const caption = `${file.name || "recording"}, ${seconds.toFixed(1)} seconds`;
  const over = make("p", { className: "over" });
  show(make("figure", {}, make("div", { className: "heard" }, canvas, over), make("figcaption", { textContent: caption }), player));
  await ask({
    kind: "audio",
    onAnswer: async (text, attend) => {
      if (over.textContent) return; // another problem has heard it
      over.textContent = text;
      if (attend && text) placeWords(over, await attend(text));
    },
    instance: async (problem) => {
      const wanted = problem.sample_rate || SPECTROGRAM_RATE;
      const own = wanted === rate ? samples : await decode(file, wanted);
      const wav = new Blob([await toWav(file, own, wanted)]);
      checkSize(wav, file.name);
      return { b64: await base64(wav) };
    },
  });
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Trouble("The file cannot be read any more."));
    reader.readAsDataURL(blob);
  });
}

async function toggleRecording() {
  if (recording) {
    recording.stop();
    return;
  }
  recording = { stop() {} }; // a second press at once does nothing
  try {
    await ready();
    recording = await record(about.limits.sound_seconds, (seconds) => {
      $("record-label").textContent = `Stop (${clock(seconds)})`;
    });
  } catch (error) {
    recording = null;
    if (error instanceof Trouble) throw error;
    throw new Trouble("The microphone cannot be used: is there one, and may this page use it?");
  }
  $("record").ariaPressed = "true";
  const sound = await recording.sound;
  recording = null;
  $("record").ariaPressed = "false";
  $("record-label").textContent = "Record";
  await attempt(() => askFile(sound));
}

function giveFile(file) {
  if (file) attempt(() => askFile(file));
}

function listen() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(askText);
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    giveFile($("file").files[0]);
    $("file").value = ""; // the same file may be chosen again
  });
  $("record").addEventListener("click", () => attempt(toggleRecording));
  $("retry").addEventListener("click", () => attempt(last));
  document.addEventListener("paste", (event) => {
    const [file, text] = [event.clipboardData.files[0], event.clipboardData.getData("text/plain")];
    if (!file || (text && text !== file.name)) return; // office programs give a picture of the text, too
    event.preventDefault();
    giveFile(file);
  });
  const dropping = (yes) => (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // text goes where it is dropped
    event.preventDefault();
    $("drop").hidden = !yes;
    if (!yes) giveFile(event.dataTransfer.files[0]);
  };
  document.addEventListener("dragover", dropping(true));
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  document.addEventListener("drop", dropping(false));
}

/** What everything else needs: that the start has been made, or is made now where it has failed before. */
function ready() {
  started ??= start().catch((error) => {
    started = null;
    throw error;
  });
  return started;
}

/** Learns what the server has, and shows only what it can be asked. */
async function start() {
  about = (await call("about")).content;
  const kinds = new Set(Object.values(about.problems).map((problem) => problem.inputs));
  $("model").textContent = `${about.name}, step ${about.step.toLocaleString("en")}`;
  for (const [name, problem] of Object.entries(about.problems)) {
    $("problem").append(make("option", { value: name, textContent: title(name, problem), title: problem.description || name }));
  }
  const files = ["image", "audio"].filter((kind) => kinds.has(kind));
  $("text-field").hidden = $("answer").hidden = !kinds.has("text");
  $("choose").hidden = !files.length;
  $("file").accept = files.map((kind) => `${kind}/*`).join(",");
  $("record").hidden = !kinds.has("audio");
  const why = kinds.has("audio") ? whyNotRecord() : null;
  $("record").disabled = Boolean(why);
  const takes = files.map((kind) => KINDS[kind]).join(" or ");
  $("hint").textContent = [files.length && `Or drop ${takes} anywhere on this page, or paste one.`, why].filter(Boolean).join(" ");
}

listen();
attempt(ready);
