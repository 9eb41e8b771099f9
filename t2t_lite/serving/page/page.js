// The page: sends a sentence, picture or sound to all problems that take it, and shows the answers.

import { failCard, fillCard, language, make, title, waitingCard } from "./cards.js";
import { drawSpectrogram, placeWords } from "./draw.js";
import { clock, decode, record, toWav, whyNotRecord } from "./sound.js";

const $ = (id) => document.getElementById(id);
const KINDS = { text: "a sentence", image: "a picture", audio: "a sound" };
const BASE64 = 4 / 3;
const ENVELOPE = 1000; // bytes of a request besides its input
const MAX_SIDE = 1024; // pixels of a picture that the page converts to PNG, which is then below 5 MB
const DEFAULT_RATE = 16000; // Hz, for problems without a sample rate

let about; // export.json and the server's limits
let started = null; // the promise that loads them
let last; // the last action, for the button Try again
let turn = 0; // the number of requests so far; replies to an older one are dropped
let recording = null; // {stop}, from the request for the microphone on
const given = {}; // {kind: instance(problem)} of the last picture and sound, for problems with several inputs

/** An error for the user; others are faults of this page. */
class Trouble extends Error {}

/** Calls the server. Rejects with a Trouble of one line. */
async function call(path, body) {
  const start = performance.now();
  let response, content;
  try {
    const timeout = AbortSignal.timeout(1000 * ((about?.limits.answer_seconds ?? 30) + 10));
    response = await fetch(path, { method: body ? "POST" : "GET", body: body && JSON.stringify(body), signal: timeout });
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

const kindsOf = (problem) => [problem.inputs].flat();
const takes = (problem) => kindsOf(problem).map((kind) => KINDS[kind]).join(" and ");

/** Whether a problem takes this kind of input; one with several inputs only if all are given. */
function fits(problem, kind) {
  const kinds = kindsOf(problem);
  const texts = kinds.filter((one) => one === "text").length;
  const complete = kinds.length === 1 || (lines(texts).length >= texts && kinds.every((one) => one === "text" || given[one]));
  return kinds.includes(kind) && complete;
}

/** Returns the text as the inputs of a problem: all of it, or for several sentences a line each. */
function lines(count) {
  const text = $("text").value.trim();
  return (count > 1 ? text.split("\n") : [text]).map((line) => line.trim()).filter(Boolean);
}

/** Returns the value to send to a problem with several inputs. */
async function several(problem) {
  const kinds = kindsOf(problem);
  const texts = lines(kinds.filter((kind) => kind === "text").length);
  const values = await Promise.all(kinds.map((kind) => (kind === "text" ? texts.shift() : given[kind](problem))));
  return Object.fromEntries(values.map((value, i) => [`inputs_${i}`, value]));
}

/** Returns the problems to ask: the chosen one, or all that take this kind of input. */
function problemsFor(kind) {
  const chosen = $("problem").value;
  const all = Object.entries(about.problems);
  const rank = ([, problem]) => ["class", "text", "tree"].indexOf(problem.outputs);
  const fit = all.filter(([name, problem]) => fits(problem, kind) && (!chosen || name === chosen)).sort((a, b) => rank(a) - rank(b));
  if (fit.length) return fit;
  const taking = all.filter(([, problem]) => kindsOf(problem).includes(kind));
  if (!taking.length) throw new Trouble(`This model has no problem that takes ${KINDS[kind]}.`);
  const [name, problem] = taking.find(([one]) => !chosen || one === chosen) ?? [chosen, about.problems[chosen]];
  if (kindsOf(problem).includes(kind)) throw new Trouble(`“${title(name, problem)}” takes ${takes(problem)}. Give all of them.`);
  throw new Trouble(`“${title(name, problem)}” takes ${takes(problem)}, not ${KINDS[kind]}. Choose another problem, or “all that fit”.`);
}

/**
 * Sends an input to every problem that takes it and shows the answers as they arrive.
 * @param {object} input {kind, text, picture, instance(problem): the value to send, onAnswer(text, attend)}.
 */
async function ask(input) {
  const mine = ++turn;
  const problems = problemsFor(input.kind);
  const start = performance.now();
  const cards = problems.map(([name, problem]) => waitingCard(name, problem));
  $("answers").replaceChildren(...cards);
  $("answers").ariaBusy = "true";
  $("status").textContent = "Waiting for the model …";
  const likelihoods = [];
  const failures = (await Promise.all(problems.map(async ([name, problem], i) => {
    try {
      const isOne = kindsOf(problem).length === 1;
      const instance = await (isOne ? input.instance(problem) : several(problem));
      const reply = await predict(name, instance);
      const attention = `${name}/attention`;
      const attend = isOne && about.signatures.includes(attention)
        ? async (output) => (await predict(attention, { inputs: instance, outputs: output })).answer
        : null;
      fillCard(cards[i], problem, input, reply, attend);
      likelihoods.push({ card: cards[i], from: problem.from, to: problem.to, score: reply.answer.scores[0] });
      input.onAnswer?.(reply.answer.outputs[0], attend).catch(() => {}); // without attention, words are not placed
      return null;
    } catch (error) {
      failCard(cards[i], messageOf(error));
      return error;
    }
  }))).filter(Boolean);
  if (mine !== turn) return;
  $("answers").ariaBusy = "false";
  const count = problems.length - failures.length;
  const summary = `${count} ${count === 1 ? "answer" : "answers"} in ${Math.round(performance.now() - start)} ms.`;
  $("status").textContent = `${summary} ${input.kind === "text" ? chooseLanguage(likelihoods) : ""}`;
  if (failures.length === problems.length) {
    $("answers").replaceChildren();
    throw failures[0];
  }
}

/** Guesses a sentence's language from the likeliest translation; moves those from other languages to the end. */
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

/** Returns an error's message; logs an error that is a fault of this page. */
function messageOf(error) {
  if (error instanceof Trouble) return error.message;
  console.error(error);
  return `This page failed: ${error.message}`;
}

/** Runs a user's action; shows an error with a button to try again. */
async function attempt(action) {
  last = action;
  $("alert").hidden = true;
  try {
    await action();
  } catch (error) {
    $("status").textContent = "";
    $("alert-text").textContent = messageOf(error);
    $("alert").hidden = false;
  }
}

/** Shows an input in place of the previous one, whose object URLs are revoked: they keep files in memory. */
function show(...children) {
  for (const old of $("given").querySelectorAll("img, audio")) URL.revokeObjectURL(old.src);
  $("given").replaceChildren(...children);
  $("given").hidden = children.length === 0;
}

/** Removes the input that is shown. */
function forget() {
  show();
  delete given.image;
  delete given.audio;
}

async function askText() {
  const text = $("text").value.trim();
  if (!text) {
    $("text").focus();
    throw new Trouble("Type a sentence first, or choose a picture or a sound.");
  }
  await ready();
  if (!problemsFor("text").some(([, problem]) => kindsOf(problem).some((kind) => given[kind]))) forget();
  await ask({ kind: "text", text, instance: async () => text });
}

async function askFile(file) {
  await ready();
  const kind = await kindOf(file);
  // With a problem of several inputs, the file is shown first and may wait for a sentence.
  if (!Object.values(about.problems).some((problem) => kindsOf(problem).length > 1 && kindsOf(problem).includes(kind))) problemsFor(kind);
  await (kind === "image" ? askPicture(file) : askSound(file));
}

/** Throws a Trouble if a file, or its converted form, does not fit into a request. */
function checkSize(blob, name) {
  const most = Math.floor((about.limits.body_bytes - ENVELOPE) / BASE64);
  if (blob.size <= most) return;
  throw new Trouble(`${name || "This"} has ${megabytes(blob.size)}; this server takes files of up to ${megabytes(most)}.`);
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Returns the kind of a file, by its MIME type or its first bytes. */
async function kindOf(file) {
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  if (file.type.startsWith("image/") || /^(\x89PNG|\xff\xd8)/.test(start)) return "image";
  if (/^(audio|video)\//.test(file.type) || /^RIFF....WAVE/s.test(start)) return "audio";
  throw new Trouble(`${file.name || "This"} is neither a picture nor a sound.`);
}

async function askPicture(file) {
  const picture = new Image();
  picture.alt = "Your picture";
  picture.src = URL.createObjectURL(file);
  const known = file.type === "image/png" || file.type === "image/jpeg";
  let blob;
  try {
    blob = await picture.decode().then(() => (known ? file : toPng(picture))).catch(() => null);
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
  delete given.audio;
  given.image = async () => instance;
  await ask({ kind: "image", picture, instance: given.image });
}

/** Converts a picture of another format to PNG, scaled down if it is large; null if that fails. */
async function toPng(picture) {
  const sides = [picture.naturalWidth, picture.naturalHeight];
  const [width, height] = sides.map((side) => Math.ceil(side * Math.min(1, MAX_SIDE / Math.max(...sides))));
  const canvas = make("canvas", { width, height });
  const c = canvas.getContext("2d");
  c.imageSmoothingQuality = "high";
  c.drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

async function askSound(file) {
  checkSize(file, file.name);
  const hearing = Object.entries(about.problems).filter(([, problem]) => kindsOf(problem).includes("audio"));
  const [, first] = hearing.find(([name]) => name === $("problem").value) ?? hearing[0];
  const rate = first.sample_rate || DEFAULT_RATE;
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
  const instance = async (problem) => {
    const wanted = problem.sample_rate || DEFAULT_RATE;
    const own = wanted === rate ? samples : await decode(file, wanted);
    const wav = new Blob([await toWav(file, own, wanted)]);
    checkSize(wav, file.name);
    return { b64: await base64(wav) };
  };
  delete given.image;
  given.audio = instance;
  await ask({
    kind: "audio",
    instance,
    onAnswer: async (text, attend) => {
      if (over.textContent) return; // another problem has answered already
      over.textContent = text;
      if (attend && text) placeWords(over, await attend(text));
    },
  });
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Trouble("The file can no longer be read."));
    reader.readAsDataURL(blob);
  });
}

async function toggleRecording() {
  if (recording) {
    recording.stop();
    return;
  }
  recording = { stop() {} }; // a second press does nothing meanwhile
  try {
    await ready();
    recording = await record(about.limits.sound_seconds, (seconds) => {
      $("record-label").textContent = `Stop (${clock(seconds)})`;
    });
  } catch (error) {
    recording = null;
    if (error instanceof Trouble) throw error;
    throw new Trouble("The microphone is not available. Connect one and allow this page to use it.");
  }
  $("record").ariaPressed = "true";
  const sound = await recording.sound;
  recording = null;
  $("record").ariaPressed = "false";
  $("record-label").textContent = "Record";
  await attempt(() => askFile(sound));
}

function askAbout(file) {
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
    askAbout($("file").files[0]);
    $("file").value = ""; // the same file may be chosen again
  });
  $("record").addEventListener("click", () => attempt(toggleRecording));
  $("retry").addEventListener("click", () => attempt(last));
  document.addEventListener("paste", (event) => {
    const [file, text] = [event.clipboardData.files[0], event.clipboardData.getData("text/plain")];
    if (!file || (text && text !== file.name)) return; // office programs add a picture of the text
    event.preventDefault();
    askAbout(file);
  });
  const dropping = (yes) => (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // the browser handles dropped text
    event.preventDefault();
    $("drop").hidden = !yes;
    if (!yes) askAbout(event.dataTransfer.files[0]);
  };
  document.addEventListener("dragover", dropping(true));
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  document.addEventListener("drop", dropping(false));
}

/** Waits until the page has started; starts it again if that failed. */
function ready() {
  started ??= start().catch((error) => {
    started = null;
    throw error;
  });
  return started;
}

/** Loads the server's problems and limits, and shows the controls that its problems need. */
async function start() {
  about = (await call("about")).content;
  const kinds = new Set(Object.values(about.problems).flatMap(kindsOf));
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
  const accepted = files.map((kind) => KINDS[kind]).join(" or ");
  $("hint").textContent = [files.length && `Or drop ${accepted} anywhere on this page, or paste one.`, why].filter(Boolean).join(" ");
}

listen();
attempt(ready);
