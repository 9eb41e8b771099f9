"""Size limits of picture and sound files, for datagen, the decoder and exported models."""

MAX_PIXELS = 1 << 25  # of a picture to be answered: a server holds several of them at once
MAX_TRAINING_PIXELS = 1 << 27  # of a picture to be stored: it is held alone, and stored smaller

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 2000, 400_000  # Hz: at a lower rate, resampling turns kilobytes into gigabytes
MAX_SAMPLES = 1 << 25  # per channel, as read and as resampled: 35 minutes at 16 kHz


def size_error(width: int, height: int, max_pixels: int) -> str:
    """Returns the error about a picture with too many pixels; "" if it is within the limit."""
    if width * height <= max_pixels:
        return ""
    return f"{width} x {height} pixels, at most {max_pixels:,} are allowed"


def rate_error(rate: int) -> str:
    """Returns the error about a sound whose sample rate is out of range; "" if it is within the limits."""
    if MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        return ""
    return f"a sample rate of {rate:,} Hz; {MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} Hz are allowed"


def length_error(samples: int, rate: int) -> str:
    """Returns the error about a sound with too many samples per channel; "" if it is within the limit."""
    if samples <= MAX_SAMPLES:
        return ""
    return f"too long; at most {MAX_SAMPLES:,} samples are allowed, {MAX_SAMPLES / rate / 60:.3g} minutes at {rate} Hz"
