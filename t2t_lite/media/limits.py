"""Limits on picture and sound files: datagen, the decoder and an exported model refuse what exceeds them."""

MAX_PIXELS = 1 << 25  # of a picture to be answered: a server holds several of them at once
MAX_TRAINING_PIXELS = 1 << 27  # of a picture to be stored: it is held alone, and stored smaller

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 2000, 400_000  # Hz: at a lower rate, resampling turns kilobytes into gigabytes
MAX_SAMPLES = 1 << 25  # per channel, as read and as resampled: 35 minutes at 16 kHz


def size_error(width: int, height: int, max_pixels: int) -> str:
    """What is wrong with the size of a picture; "" if nothing is."""
    if width * height <= max_pixels:
        return ""
    return f"{width} x {height} pixels, at most {max_pixels:,} are allowed"


def rate_error(rate: int) -> str:
    """What is wrong with the sample rate of a sound; "" if nothing is."""
    if MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        return ""
    return f"a sample rate of {rate:,} Hz; {MIN_SAMPLE_RATE:,} to {MAX_SAMPLE_RATE:,} Hz are allowed"


def length_error(samples: int, rate: int) -> str:
    """What is wrong with the length of a sound; "" if nothing is."""
    if samples <= MAX_SAMPLES:
        return ""
    return f"too long; at most {MAX_SAMPLES:,} samples are allowed, {MAX_SAMPLES / rate / 60:.3g} minutes at {rate} Hz"
