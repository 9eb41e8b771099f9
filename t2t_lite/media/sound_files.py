"""Sound files as mono waveforms of a wanted rate: WAV, FLAC, NIST SPHERE and whatever else libsndfile reads."""

import io
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np

from t2t_lite.errors import UserError

_SPHERE = b"NIST_1A\n"
_HEADER_BYTES = 1024  # of SPHERE files, as the LDC writes them


def read_sound(path: Path, sample_rate: int) -> np.ndarray:
    """Reads a sound file of any rate, width and number of channels; channels are averaged.

    SPHERE files that are compressed with "shorten", as WSJ's are, go through the LDC's own sph2pipe.

    Args:
      path: the file.
      sample_rate: samples a second of what is returned.

    Returns:
      float32 (N,) in [-1, 1].

    Raises:
      UserError: the file is empty or no sound; the text names it.
    """
    import soundfile

    try:
        content = path.read_bytes()
        if content.startswith(_SPHERE) and b"shorten" in content[:_HEADER_BYTES]:
            content = _unshortened(path)
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)  # (N, channels)
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e
    except (soundfile.SoundFileError, TypeError) as e:  # a TypeError: libsndfile takes an empty file for headerless
        raise UserError(f"{path}: not a readable sound file (WAV, FLAC or SPHERE)") from e
    if not len(samples):
        raise UserError(f"{path}: a sound file without samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: a sound file with samples that are not finite")
    return np.clip(resample(samples.mean(axis=1), rate, sample_rate), -1.0, 1.0).astype(np.float32)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """A waveform (N,) at another rate, (ceil(N * wanted / rate),): its spectrum, cut or continued with zeros."""
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
    """A compressed SPHERE file as WAV."""
    program = shutil.which("sph2pipe")
    if program is None:
        raise UserError(
            f"{path}: compressed with shorten: install the LDC's sph2pipe (Kaldi's tools have it) and put it on PATH"
        )
    done = subprocess.run([program, "-f", "wav", str(path)], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().split("\n")[-1]
        raise UserError(f"{path}: sph2pipe cannot read it: {said}")
    return done.stdout
