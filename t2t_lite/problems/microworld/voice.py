"""A small formant synthesiser of speech.

A phoneme is one or more segments with targets for the vocal tract. Smoothed over frames, the targets become tracks of
filter parameters; pulses and noise, filtered accordingly, become the waveform.
"""

from dataclasses import dataclass

import numpy as np

from t2t_lite.problems.microworld.phonemes import pronounce, words_of

SAMPLE_RATE = 8000  # Hz
_HOP = 64  # samples from one frame to the next, 8 ms
_WINDOW = 2 * _HOP  # Hann windows of two hops, one hop apart, add up to one
_FFT = 256  # leaves room for the filter to ring out
_FREQUENCIES = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE).astype(np.float32)  # (129,)
_SHAPE = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
_BANDWIDTHS = (70.0, 100.0, 150.0)  # Hz, of the first three formants


@dataclass(frozen=True)
class Voice:
    """The parameters of a speaker.

    Attributes:
      pitch: mean, in Hz.
      tract: factor on the formants: shorter vocal tracts have higher ones.
      pace: factor on the speed.
      breath: noise mixed into the voice, as a fraction of its level.
    """

    pitch: float
    tract: float
    pace: float
    breath: float


VOICES = (
    Voice(pitch=95, tract=0.94, pace=0.95, breath=0.03),
    Voice(pitch=125, tract=1.0, pace=1.08, breath=0.08),
    Voice(pitch=150, tract=1.04, pace=1.0, breath=0.2),
    Voice(pitch=190, tract=1.1, pace=1.0, breath=0.05),
    Voice(pitch=220, tract=1.14, pace=0.95, breath=0.15),
    Voice(pitch=270, tract=1.2, pace=1.05, breath=0.06),
)

# A segment: milliseconds, F1, F2, F3 in Hz, level of the voice, of noise through the vocal tract (h), of hissing noise
# (s), and the centre and width of the hiss in Hz.
_VOWELS = {
    "IY": [(115, 280, 2250, 2950)],
    "IH": [(80, 400, 1950, 2550)],
    "EH": [(95, 560, 1780, 2480)],
    "AE": [(120, 710, 1650, 2400)],
    "AH": [(85, 640, 1190, 2390)],
    "AX": [(60, 500, 1420, 2450)],
    "AA": [(120, 740, 1090, 2440)],
    "AO": [(120, 560, 800, 2410)],
    "UH": [(85, 440, 1020, 2240)],
    "UW": [(115, 300, 820, 2240)],
    "ER": [(115, 480, 1300, 1650)],
    "EY": [(70, 510, 1850, 2500), (70, 320, 2200, 2800)],
    "AY": [(85, 730, 1150, 2450), (75, 340, 2100, 2700)],
    "OY": [(80, 550, 820, 2400), (80, 350, 2050, 2650)],
    "AW": [(85, 730, 1250, 2450), (75, 350, 830, 2300)],
    "OW": [(75, 540, 980, 2350), (70, 340, 780, 2250)],
}
_SONORANTS = {  # milliseconds, F1, F2, F3, level of the voice
    "M": (75, 250, 950, 2100, 0.35),
    "N": (70, 250, 1550, 2500, 0.35),
    "NG": (80, 250, 2150, 2600, 0.35),
    "L": (65, 340, 1050, 2950, 0.55),
    "R": (65, 330, 1100, 1450, 0.55),
    "W": (60, 290, 640, 2200, 0.5),
    "Y": (55, 260, 2300, 3050, 0.5),
}
_FRICATIVES = {  # milliseconds, F1, F2, F3, level of the voice, of the hiss, its centre and width
    "S": (105, 320, 1500, 2550, 0.0, 0.50, 3700, 350),
    "SH": (105, 320, 1750, 2450, 0.0, 0.50, 2450, 400),
    "F": (85, 320, 950, 2150, 0.0, 0.20, 1300, 900),
    "TH": (85, 320, 1350, 2550, 0.0, 0.16, 3000, 500),
    "Z": (80, 280, 1500, 2550, 0.25, 0.28, 3700, 350),
    "ZH": (80, 280, 1750, 2450, 0.25, 0.28, 2450, 400),
    "V": (60, 280, 950, 2150, 0.30, 0.08, 1300, 900),
    "DH": (50, 280, 1350, 2550, 0.30, 0.08, 3000, 500),
}
_STOPS = {  # F1, F2, F3 at the closure, whether voiced, centre and width of the burst
    "P": (300, 800, 2150, False, 700, 500),
    "B": (250, 800, 2150, True, 700, 500),
    "T": (300, 1750, 2700, False, 3500, 500),
    "D": (250, 1750, 2700, True, 3300, 500),
    "K": (300, 1950, 2250, False, 1800, 300),
    "G": (250, 1950, 2250, True, 1800, 300),
}


def _segments() -> dict[str, np.ndarray]:
    """Returns each phoneme's segments: float (segments, 9)."""
    table: dict[str, list[tuple[float, ...]]]
    table = {p: [(*s, 1.0, 0.0, 0.0, 2000, 500) for s in segments] for p, segments in _VOWELS.items()}
    table |= {p: [(*s, 0.0, 0.0, 2000, 500)] for p, s in _SONORANTS.items()}
    table |= {p: [(*s[:5], 0.0, *s[5:])] for p, s in _FRICATIVES.items()}
    table["HH"] = [(65, 500, 1500, 2500, 0.0, 0.25, 0.0, 2000, 500)]
    for phoneme, (*tract, voiced, centre, width) in _STOPS.items():
        closure = (45, *tract, 0.2, 0.0, 0.0, centre, width) if voiced else (60, *tract, 0.0, 0.0, 0.0, centre, width)
        burst = (16, *tract, 0.2 if voiced else 0.0, 0.0, 0.35 if voiced else 0.6, centre, width)
        table[phoneme] = [closure, burst]
        if not voiced:  # aspiration before the vowel distinguishes P, T, K from B, D, G
            table[phoneme].append((45, 450, *tract[1:], 0.0, 0.25, 0.1, centre, width))
    for phoneme, stop, hiss in (("CH", "T", "SH"), ("JH", "D", "ZH")):
        table[phoneme] = [table[stop][0], (70, *table[hiss][0][1:])]
    return {phoneme: np.array(segments, np.float32) for phoneme, segments in table.items()}


_SEGMENTS = _segments()
_SILENCE = (500, 1500, 2500, 0.0, 0.0, 0.0, 2000, 500)  # a segment without its milliseconds


def speak(sentence: str, rng: np.random.Generator, voice: Voice | None = None) -> np.ndarray:
    """Synthesises an English sentence.

    Args:
      sentence: words; digits are read one by one, other characters only separate words.
      rng: samples the voice, the pace, the loudness, and the noise.
      voice: the speaker; None samples one of `VOICES`.

    Returns:
      float32 (samples,) in [-1, 1], at SAMPLE_RATE.

    Raises:
      UserError: the sentence has no word to speak.
    """
    words = words_of(sentence)
    voice = voice or VOICES[rng.integers(len(VOICES))]
    voice = Voice(
        voice.pitch * rng.uniform(0.92, 1.08), voice.tract * rng.uniform(0.97, 1.03), voice.pace, voice.breath
    )
    tracks = _tracks(words, voice.pace, rng)
    pitch = voice.pitch * _melody(len(tracks), sentence.rstrip().endswith("?"), rng)
    sound = _synthesise(tracks, pitch, voice, rng)
    loudness = 0.1 * 10 ** rng.uniform(-0.4, 0.1)  # root mean square, within 10 dB
    sound *= loudness / np.sqrt(np.mean(sound**2))
    sound += loudness * 10 ** (-rng.uniform(20, 35) / 20) * _background(len(sound), rng)
    return np.clip(sound, -1, 1).astype(np.float32)


def _tracks(words: list[str], pace: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the filter parameters of each frame: float32 (frames, 8), those of a segment without its duration."""
    pauses = [rng.uniform(60, 180), *rng.uniform(0, 35, len(words) - 1), rng.uniform(60, 180)]
    parts: list[np.ndarray | list[tuple[float, ...]]] = [[(pauses[-1], *_SILENCE)]]
    for word, pause in zip(reversed(words), reversed(pauses[:-1]), strict=True):
        parts[:0] = [[(pause, *_SILENCE)], *(_SEGMENTS[phoneme] for phoneme in pronounce(word))]
    segments = np.concatenate(parts).astype(np.float32)
    durations = segments[:, 0] / pace * rng.uniform(0.72, 0.98) * rng.uniform(0.9, 1.1, len(segments))
    # A sentence of 4 to 11 words lasts 1 to 4 seconds.
    durations *= np.clip(durations.sum(), 252 * min(4, len(words)), 364 * max(11, len(words))) / durations.sum()
    ends = np.cumsum(durations) / 1000 * SAMPLE_RATE / _HOP
    targets = segments[np.searchsorted(ends, np.arange(int(ends[-1])) + 0.5), 1:]
    # Formants change within about 50 ms, levels within 16 ms, so that bursts stay short.
    return np.concatenate([_smooth(targets[:, :3], 7), _smooth(targets[:, 3:6], 3), targets[:, 6:]], axis=1)


def _smooth(tracks: np.ndarray, width: int) -> np.ndarray:
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(tracks, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(track, kernel / kernel.sum(), mode="valid") for track in padded.T], axis=1)


def _melody(frames: int, is_question: bool, rng: np.random.Generator) -> np.ndarray:
    """Returns a factor on the pitch for each frame: it falls and oscillates, and rises at the end of a question."""
    time = np.linspace(0, 1, frames)
    swing = 0.05 * np.sin(2 * np.pi * (rng.uniform(2, 5) * time + rng.random()))
    return 1.1 - 0.22 * time + swing + (0.35 * np.clip(time - 0.75, 0, 1) * 4 if is_question else 0)


def _synthesise(tracks: np.ndarray, pitch: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Filters pulses and noise by the tracks; returns float32 (frames * _HOP,)."""
    samples = len(tracks) * _HOP
    middles = (np.arange(len(tracks)) + 0.5) * _HOP
    level, breath, hiss = (np.interp(np.arange(samples), middles, track) for track in tracks[:, 3:6].T)
    noise = rng.standard_normal((2, samples), dtype=np.float32)
    pulses = _pulses(np.interp(np.arange(samples), middles, pitch))
    through_tract = level * (pulses + voice.breath * noise[0]) + breath * noise[0]
    spectra = _frames(through_tract) * _tract_filter(tracks[:, :3] * voice.tract)
    spectra += _frames(hiss * noise[1]) * _hiss_filter(tracks[:, 6:])
    return _overlap_add(np.fft.irfft(spectra, _FFT), samples)


def _pulses(pitch: np.ndarray) -> np.ndarray:
    """Returns pulses, one per period, of mean square 1: the sum of all harmonics below half the sample rate."""
    half_phase = np.pi * np.cumsum(pitch) / SAMPLE_RATE
    harmonics = int(SAMPLE_RATE / 2 / pitch.max())
    below = np.sin(half_phase)
    below[np.abs(below) < 1e-5] = 1e-5
    return (np.sin((2 * harmonics + 1) * half_phase) / below - 1) / np.sqrt(2 * harmonics)


def _frames(signal: np.ndarray) -> np.ndarray:
    """Returns the spectra of overlapping windows, one around the middle of each frame: complex (frames, 129)."""
    padded = np.pad(signal, _HOP // 2).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    return np.fft.rfft(windows * _SHAPE, _FFT)


def _overlap_add(pieces: np.ndarray, samples: int) -> np.ndarray:
    """Overlap-adds pieces (frames, 256). The zero-phase filters ring backwards too, wrapped around the end."""
    pieces = np.roll(pieces, (_FFT - _WINDOW) // 2, axis=1)
    hops = _FFT // _HOP
    total = np.zeros((len(pieces) + hops - 1, _HOP))
    for hop in range(hops):
        total[hop : hop + len(pieces)] += pieces[:, hop * _HOP : (hop + 1) * _HOP]
    start = (_FFT - _WINDOW) // 2 + _HOP // 2
    return total.ravel()[start : start + samples]


def _tract_filter(formants: np.ndarray) -> np.ndarray:
    """Returns the gain of the vocal tract with formants (frames, 3) in Hz: (frames, 129), of mean square 1."""
    power = 1 / (1 + (_FREQUENCIES / 1000) ** 2)  # the spectrum of the voice falls with frequency
    for formant, bandwidth in zip(formants.T[..., None].astype(np.float32), _BANDWIDTHS, strict=True):
        square = formant**2
        power = power * square**2 / ((square - _FREQUENCIES**2) ** 2 + (bandwidth * _FREQUENCIES) ** 2)
    return _normal(power**0.7)  # flatter than natural, so that noise does not mask the higher formants


def _hiss_filter(hiss: np.ndarray) -> np.ndarray:
    """Returns the gain of hissing noise with centres and widths (frames, 2) in Hz: (frames, 129), of mean square 1."""
    centre, width = hiss.T[..., None].astype(np.float32)
    return _normal(np.exp(-(((_FREQUENCIES - centre) / width) ** 2)))


def _normal(power: np.ndarray) -> np.ndarray:
    return np.sqrt(power / power.mean(axis=1, keepdims=True))


def _background(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Returns noise of mean square 1, from white to a low rumble."""
    noise = rng.standard_normal(samples + 1)
    noise = noise[1:] + rng.uniform(0, 0.9) * noise[:-1]
    return noise / np.sqrt(np.mean(noise**2))
