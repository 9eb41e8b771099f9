// Sounds: decoding, recording, writing WAV.

/** Formats seconds as 0:07. */
export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** Decodes any sound that the browser supports into one channel at a rate (Float32Array). Rejects other files. */
export async function decode(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate); // it resamples to its own rate
  const buffer = await context.decodeAudioData(await blob.arrayBuffer());
  const mean = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((value, i) => { mean[i] += value / buffer.numberOfChannels; });
  }
  return mean;
}

/** Returns the bytes to send: a 16-bit PCM WAV file unchanged, of other sounds the samples as one. */
export async function toWav(blob, samples, rate) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return isPcm16(bytes) ? bytes : writeWav(samples, rate);
}

function isPcm16(bytes) {
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (bytes.length < 44 || name(0) !== "RIFF" || name(8) !== "WAVE" || name(12) !== "fmt ") return false;
  const view = new DataView(bytes.buffer);
  return view.getUint16(20, true) === 1 && view.getUint16(34, true) === 16;
}

function writeWav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  write(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Uint8Array(view.buffer);
}

/** Returns why this page cannot record, or null if it can. */
export function whyNotRecord() {
  if (navigator.mediaDevices && window.MediaRecorder) return null;
  return window.isSecureContext ? "This browser cannot record." : "Recording works only on localhost or over https.";
}

/**
 * Records from the microphone.
 * @returns {Promise<{stop: function, sound: Promise<Blob>}>} rejects if there is no microphone or no permission.
 */
export async function record(longest, onTick) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  const start = performance.now();
  const ticking = setInterval(() => {
    const seconds = (performance.now() - start) / 1000;
    onTick(seconds);
    if (seconds >= longest) stop();
  }, 200);
  function stop() {
    if (recorder.state !== "inactive") recorder.stop();
  }
  recorder.ondataavailable = (event) => parts.push(event.data);
  const sound = new Promise((resolve) => {
    recorder.onstop = () => {
      clearInterval(ticking);
      stream.getTracks().forEach((track) => track.stop());
      resolve(new Blob(parts, { type: recorder.mimeType }));
    };
  });
  recorder.start();
  onTick(0);
  return { stop, sound };
}
