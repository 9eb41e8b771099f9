"""Writes scalars as JSON lines and as TensorBoard events.

scalars.jsonl   one object a line: {"step": 12, "split": "train", "problem": "image_shapes", "loss": 2.1, ...}
events.*        the same scalars as SPLIT/PROBLEM/NAME, and histograms, texts, pictures and sounds
"""

import io
import json
import math
import os
import re
import socket
import time
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image as PilImage

from t2t_lite.errors import UserError
from t2t_lite.literal_path import literal_path

_FLUSH_SECONDS = 5.0
_SHARED_BY_PROBLEMS = ("learning_rate", "tokens_per_second", "step_seconds", "input_seconds")
_Event, _Summary = tf.compat.v1.Event, tf.compat.v1.Summary


class ScalarWriter:
    """Buffers scalars and writes them as JSON lines and as TensorBoard events.

        with ScalarWriter(output_dir, start_step=0) as scalars:
            scalars.add(1, "train", "reverse", {"loss": 2.0, "accuracy": 0.1})

    Args:
      folder: the run's folder.
      start_step: the number of steps done. Lines that an earlier process wrote for later steps are removed, because
        training repeats these steps.
      evaluated_step: the last step whose evaluation will not be repeated; start_step by default.

    Raises:
      UserError: the disk is full, or the folder cannot be written to; from any method.
    """

    def __init__(self, folder: Path, start_step: int, evaluated_step: int | None = None):
        self._path = folder / "scalars.jsonl"
        self._events_path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._lines: list[str] = []
        self._events: list[bytes] = []
        self._flushed = time.monotonic()
        try:
            _drop_later_lines(self._path, start_step, start_step if evaluated_step is None else evaluated_step)
            self._file = self._path.open("a", encoding="utf8")
            with literal_path(folder) as literal:
                self._writer = tf.io.TFRecordWriter(str(literal / self._events_path.name))
        except (OSError, tf.errors.OpError) as e:
            raise self._error(e) from e
        self._add_event(0, file_version="brain.Event:2")
        # Makes TensorBoard discard the events of earlier files from this step on.
        restart = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._add_event(start_step + 1, session_log=restart)

    def __enter__(self) -> "ScalarWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.flush()
            self._file.close()
            self._writer.close()
        except (UserError, OSError, tf.errors.OpError) as failure:
            if e is None:  # otherwise the first error is the one to report
                raise self._error(failure) from failure

    def add(self, step: int, split: str, problem: str, figures: Mapping[str, float]) -> None:
        """Adds the figures of a problem at a step; ignores values that are not numbers."""
        numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
        line = {"step": step, "split": split, "problem": problem}
        # JSON has no NaN or infinity.
        line |= {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        self._lines.append(json.dumps(line, allow_nan=False) + "\n")
        tags = {key: split if key in _SHARED_BY_PROBLEMS else f"{split}/{problem}" for key in numbers}
        self.add_values(
            step, [_Summary.Value(tag=f"{tags[key]}/{key}", simple_value=value) for key, value in numbers.items()]
        )

    def add_values(self, step: int, values: Sequence[Any]) -> None:
        """Adds values for TensorBoard made by `histogram_value`, `text_value`, `image_value` or `audio_value`."""
        self._add_event(step, summary=_Summary(value=values))
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes all buffered values; called before a checkpoint, so that the files are complete up to its step."""
        try:
            for event in self._events:
                self._writer.write(event)
            self._writer.flush()
            self._file.write("".join(self._lines))
            self._file.flush()
        except (OSError, tf.errors.OpError) as e:
            raise self._error(e) from e
        finally:
            self._lines.clear()
            self._events.clear()
            self._flushed = time.monotonic()

    def _add_event(self, step: int, **content: Any) -> None:
        self._events.append(_Event(wall_time=time.time(), step=step, **content).SerializeToString())

    def _error(self, e: Exception) -> UserError:
        if isinstance(e, UserError):
            return e
        path = getattr(e, "filename", None) or (self._path if isinstance(e, OSError) else self._events_path)
        reason = getattr(e, "strerror", None) or str(e).split(";")[-1].strip().splitlines()[0]
        return UserError(
            f"{path}: cannot write: {reason}; make room, then the same command goes on from its checkpoint"
        )


def histogram_value(tag: str, heights: Sequence[float]) -> Any:
    """Returns a histogram with a bar for each number; bar i is centred at i."""
    limits = [i + 0.5 for i in range(len(heights))]
    mean = float(np.average(range(len(heights)), weights=heights)) if sum(heights) else 0.0
    histogram = tf.compat.v1.HistogramProto(
        min=-0.5, max=limits[-1], num=sum(heights), sum=mean * sum(heights), bucket_limit=limits, bucket=heights
    )
    return _Summary.Value(tag=tag, histo=histogram)


def text_value(tag: str, text: str) -> Any:
    """Returns a text in Markdown."""
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="text")
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
    return _Summary.Value(tag=tag, metadata=metadata, tensor=tf.make_tensor_proto(text, tf.string))


def image_value(tag: str, pixels: np.ndarray) -> Any:
    """Returns a picture; pixels: uint8 (rows, columns, 3)."""
    rows, columns, _ = pixels.shape
    png = io.BytesIO()
    PilImage.fromarray(pixels).save(png, "PNG")
    image = _Summary.Image(height=rows, width=columns, colorspace=3, encoded_image_string=png.getvalue())
    return _Summary.Value(tag=tag, image=image)


def audio_value(tag: str, samples: np.ndarray, sample_rate: int) -> Any:
    """Returns a sound; samples: float (N,) in [-1, 1)."""
    wav = io.BytesIO()
    with wave.open(wav, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").tobytes())
    audio = _Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=len(samples),
        encoded_audio_string=wav.getvalue(),
        content_type="audio/wav",
    )
    return _Summary.Value(tag=tag, audio=audio)


def _drop_later_lines(path: Path, step: int, evaluated_step: int) -> None:
    """Truncates a file of JSON lines, whose steps ascend, before the first incomplete line or line of a later step."""
    if not path.exists():
        return
    kept = 0
    with path.open("rb") as file:
        for line in file:
            match = re.match(rb'\{"step": (\d+), "split": "(\w+)",.*\}\n', line)
            if not match or int(match[1]) > (evaluated_step if match[2] == b"dev" else step):
                break
            kept += len(line)
    os.truncate(path, kept)
