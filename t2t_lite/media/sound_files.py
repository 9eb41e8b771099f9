"""Reads sound files as mono waveforms of a wanted sample rate: WAV, FLAC, NIST SPHERE, whatever libsndfile reads."""

import io
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.media.limits import length_error, rate_error
from t2t_lite.media.wav_chunks import with_data_size

_SPHERE = b"NIST_1A\n"
_HEADER_BYTES = 1024  # of SPHERE files, as the LDC writes them
_BLOCK = 1 << 20  # samples read at a time, of all channels together


def read_sound(file: Path | bytes, sample_rate: int) -> np.ndarray:
    """Reads a sound file of any width and number of channels, averages the channels and converts the sample rate.

    SPHERE files that are compressed with "shorten", as WSJ's are, go through the LDC's own sph2pipe. The samples of a
    WAV file whose header says 0 bytes, as streaming recorders leave it, reach to the end of the file.

    Args:
      file: its path, or its bytes.
      sample_rate: samples a second of the result.

    Returns:
      float32 (N,) in [-1, 1].

    Raises:
      UserError: not a sound file, empty, or beyond the limits (media/limits.py); the text names the file.
    """
    import soundfile

    name = "the sound" if isinstance(file, bytes) else printable(file)
    try:
        content = file if isinstance(file, bytes) else file.read_bytes()
        if content.startswith(_SPHERE) and b"shorten" in content[:_HEADER_BYTES] and isinstance(file, Path):
            content = _unshortened(file)
        with soundfile.SoundFile(io.BytesIO(with_data_size(content))) as opened:
            rate = opened.samplerate
            if error := rate_error(rate):
                raise UserError(f"{name}: {error}")
            samples = _mono(opened, name, sample_rate)
    except OSError as e:
        raise UserError(f"{name}: cannot be read: {e.strerror}") from e
    except (soundfile.SoundFileError, TypeError) as e:  # a TypeError: libsndfile takes an empty file for headerless
        raise UserError(
            f"{name}: not a readable sound file (WAV, FLAC, SPHERE, or another format of libsndfile)"
        ) from e
    if not len(samples):
        raise UserError(f"{name}: a sound file without samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{name}: a sound file with samples that are not finite")
    return np.clip(resample(samples, rate, sample_rate), -1.0, 1.0).astype(np.float32)


def _mono(file, name: str, sample_rate: int) -> np.ndarray:  # type: ignore[no-untyped-def]  # a soundfile.SoundFile
    """The mean of the channels of an open sound file, float32 (N,).

    Headers of compressed files may lie about the length, so the limit is checked while reading.
    """
    blocks, count, frames = [], 0, max(1, _BLOCK // file.channels)
    while len(block := file.read(frames, dtype="float32", always_2d=True)):  # (up to frames, channels)
        blocks.append(block.mean(axis=1))
        count += len(block)
        resampled = -(-count * sample_rate // file.samplerate)
        if error := length_error(max(count, resampled), max(file.samplerate, sample_rate)):
            raise UserError(f"{name}: {error}")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Converts a waveform (N,) to another rate, (ceil(N * wanted / rate),), by cutting or zero-padding its spectrum."""
    if rate == wanted or not len(samples):
        return samples
    common = math.gcd(rate, wanted)
    down, up = rate // common, wanted // common
    # Silence behind the end keeps it from wrapping round to the beginning, and makes both lengths whole.
    blocks = -(-(len(samples) + rate // 20) // down)
    spectrum = np.fft.rfft(samples.astype(np.float64), blocks * down)
    kept = min(len(spectrum), blocks * up // 2 + 1)
    changed = np.fft.irfft(spectrum[:kept], blocks * up) * (up / down)
    return changed[: -(-len(samples) * wanted // rate)]


def _unshortened(path: Path) -> bytes:
    """Decompresses a SPHERE file to WAV bytes."""
    program = shutil.which("sph2pipe")
    if program is None:
        raise UserError(
            f"{printable(path)}: compressed with shorten: install the LDC's sph2pipe (Kaldi's tools have it) and put "
            "it on PATH"
        )
    done = subprocess.run([program, "-f", "wav", str(path)], capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise UserError(f"{printable(path)}: sph2pipe cannot read it: {message}")
    return done.stdout
