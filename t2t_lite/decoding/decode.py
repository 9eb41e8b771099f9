"""Answers from a trained run: for a file, for what is typed, for examples beside their references."""

import itertools
import sys
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from t2t_lite.data.encoding import image_bytes
from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.greedy import GreedyDecoder
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Label, Text
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step
from t2t_lite.runs.run import Run


class Answer(NamedTuple):
    """One decoded output."""

    text: str  # or the name of a class
    score: float  # log-probability in nats
    finished: bool  # False where the length limit cut it


class Answerer:
    """The weights of a run, ready to answer for some of its problems.

    Args:
      names: the problems.
      data_dir: where their data and vocabularies are.
      output_dir: the run's folder.
      decode_hparams: how to search.
      checkpoint: "latest", "best" or a step.

    Raises:
      UserError: no run, no checkpoint, a problem that was not trained, or another vocabulary.
    """

    def __init__(
        self,
        names: Sequence[str],
        data_dir: Path,
        output_dir: Path,
        decode_hparams: DecodeHParams,
        checkpoint: str = "latest",
    ):
        run = Run.open(output_dir)
        self.datasets = run.open_datasets(data_dir, list(names))
        self.hparams = run.hparams
        self.decode_hparams = decode_hparams
        self._model = run.build_model()
        Checkpoints(output_dir, self._model).restore_weights(chosen_step(output_dir, checkpoint))
        self._decoder = GreedyDecoder(self._model)

    def answer(self, name: str, inputs: Mapping[str, str]) -> Iterator[Answer]:
        """Answers inputs in their order.

        Args:
          name: the problem.
          inputs: {where it comes from, such as FILE:LINE, for messages: a text, or the path of a picture or a sound}.

        Raises:
          UserError: an input cannot be read; the text names it.
        """
        dataset = self.datasets[name]
        read = iter(inputs.items())
        while batch := list(itertools.islice(read, self.decode_hparams.batch_size)):
            values = [_read_input(dataset.problem, text, place) for place, text in batch]
            yield from self.answer_batch(name, dataset.inputs_batch(values))

    def answer_batch(self, name: str, batch: dict[str, tf.Tensor]) -> list[Answer]:
        """Answers a batch of the input pipeline."""
        return answer_batch(self._decoder, self.datasets[name], batch, self.decode_hparams.max_length)


def answer_batch(
    decoder: GreedyDecoder, dataset: Dataset, batch: Mapping[str, tf.Tensor], max_length: int = 0
) -> list[Answer]:
    """Answers a batch of the input pipeline in at most max_length tokens each; 0: what the problem's target allows."""
    name, targets = dataset.problem.name, dataset.problem.targets
    if isinstance(targets, Label):
        log_probabilities = tf.nn.log_softmax(decoder.model.classify(name, batch)).numpy()
        best = log_probabilities.argmax(axis=-1)
        return [Answer(targets.classes[i], float(row[i]), True) for i, row in zip(best, log_probabilities, strict=True)]
    assert isinstance(targets, Text)
    decoded = decoder(name, batch, max_length or targets.max_length)
    vocabulary = dataset.vocabularies[targets.vocab]
    rows = zip(decoded.ids.numpy().tolist(), decoded.scores.numpy(), decoded.finished.numpy(), strict=True)
    return [Answer(vocabulary.decode(ids), float(score), bool(finished)) for ids, score, finished in rows]


def decode_file(
    problem: Problem,
    *,
    source: Path,
    target: Path,
    return_scores: bool,
    data_dir: Path,
    output_dir: Path,
    decode_hparams: DecodeHParams,
    checkpoint: str = "latest",
) -> None:
    """Answers a file, one input a line, into a file of as many lines.

    Raises:
      UserError: as `Answerer`; an input cannot be read; the source is not UTF-8.
    """
    try:
        inputs = source.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise UserError(f"--decode_from_file: {source}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    answerer = Answerer([problem.name], data_dir, output_dir, decode_hparams, checkpoint)
    # Lines of like length go together, so that little is padding.
    order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]))
    answers: dict[int, Answer] = {}
    for done, (i, answer) in enumerate(
        zip(order, answerer.answer(problem.name, {f"{source}:{i + 1}": inputs[i] for i in order}), strict=True), 1
    ):
        answers[i] = answer
        if done % 1000 == 0:
            print(f"{done:,} of {len(inputs):,} lines", file=sys.stderr, flush=True)
    unfinished = target.with_name(target.name + ".unfinished")
    lines = [_line(answers[i], return_scores) for i in range(len(inputs))]
    unfinished.write_text("".join(line + "\n" for line in lines), encoding="utf8")
    unfinished.replace(target)
    cut = sum(not answer.finished for answer in answers.values())
    print(f"{len(inputs):,} lines written to {target}" + (f"; {cut:,} reached the length limit" if cut else ""))


def decode_interactive(
    problem: Problem,
    *,
    return_scores: bool,
    data_dir: Path,
    output_dir: Path,
    decode_hparams: DecodeHParams,
    checkpoint: str = "latest",
) -> None:
    """Answers each line typed, until the end of input. An input that cannot be read is said and passed over."""
    answerer = Answerer([problem.name], data_dir, output_dir, decode_hparams, checkpoint)
    prompt = "> " if sys.stdin.isatty() else ""
    if prompt:
        import readline  # noqa: F401, gives input() line editing and history

        print(f"{problem.name}: type {_what(problem)}; Ctrl-D ends")
    while True:
        try:
            typed = input(prompt)
        except EOFError:
            return
        if typed.strip():
            try:
                print(_line(next(answerer.answer(problem.name, {"": typed})), return_scores), flush=True)
            except UserError as e:
                print(f"error: {e}", file=sys.stderr, flush=True)


def show_examples(
    problems: Sequence[Problem],
    *,
    count: int,
    data_dir: Path,
    output_dir: Path,
    decode_hparams: DecodeHParams,
    checkpoint: str = "latest",
) -> None:
    """Prints answers to the first dev examples of each problem beside their references."""
    answerer = Answerer([p.name for p in problems], data_dir, output_dir, decode_hparams, checkpoint)
    for problem in problems:
        dataset = answerer.datasets[problem.name]
        print(f"\n{problem.name}")
        for number, batch in enumerate(_first_examples(dataset, answerer, count)):
            answer = answerer.answer_batch(problem.name, batch)[0]
            print(f"  input      {show(dataset, 'inputs', batch, 0, number)}")
            print(f"  reference  {show(dataset, 'targets', batch, 0, number)}")
            print(f"  answer     {answer.text}{'' if answer.finished else ' [length limit]'}\n")


def _first_examples(dataset: Dataset, answerer: Answerer, count: int) -> Iterator[dict[str, tf.Tensor]]:
    """The first examples of the dev split, each a batch of one."""
    with dataset.reading():
        batches = dataset.batches("dev", answerer.hparams).unbatch()
        batches = batches.filter(lambda example: example["index"] < count)
        yield from sorted(batches.batch(1), key=lambda batch: int(batch["index"][0]))


def _read_input(problem: Problem, text: str, place: str) -> Any:
    """What a user's line stands for: itself, or the picture or sound at that path."""
    if isinstance(problem.inputs, Text):
        return text
    try:
        if not text.strip():
            raise UserError(f"empty; expected {_what(problem)}")
        path = Path(text).expanduser()
        return read_wav(path, problem.inputs.sample_rate) if isinstance(problem.inputs, Audio) else image_bytes(path)
    except UserError as e:
        raise UserError(f"{place}: {e}" if place else str(e)) from e


def read_wav(path: Path, sample_rate: int) -> np.ndarray:
    """Reads a WAV file of 16-bit samples; channels are averaged.

    Raises:
      UserError: there is no such file, or one of another kind or rate.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2 or file.getframerate() != sample_rate:
                found = f"{8 * file.getsampwidth()} bits at {file.getframerate()} Hz"
                raise UserError(f"{path}: expected 16-bit samples at {sample_rate} Hz, found {found}")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            if not samples.size:
                raise UserError(f"{path}: no sound in it")
            return samples.reshape(-1, file.getnchannels()).mean(axis=1).astype(np.float32) / 32768.0
    except (OSError, EOFError, wave.Error) as e:
        raise UserError(f"{path}: not a readable WAV file ({getattr(e, 'strerror', None) or e})") from e


def _line(answer: Answer, return_scores: bool) -> str:
    text = " ".join(answer.text.splitlines())
    return f"{text}\t{answer.score:.4f}" if return_scores else text


def _what(problem: Problem) -> str:
    kinds = {"language": "a sentence", "image": "the path of a picture", "audio": "the path of a WAV file"}
    return kinds[problem.inputs.modality]


def show(dataset: Dataset, key: str, batch: Mapping[str, tf.Tensor], row: int, number: int) -> str:
    """An input or a reference in words.

    Args:
      dataset: the problem's data.
      key: "inputs" or "targets".
      batch: of the dev split.
      row: which of the batch.
      number: which of the split that is.
    """
    feature = getattr(dataset.problem, key)
    value = batch[key][row].numpy()
    if isinstance(feature, Text):
        return dataset.vocabularies[feature.vocab].decode(value.tolist())
    if isinstance(feature, Label):
        return feature.classes[int(value)]
    if isinstance(feature, Audio):
        return f"(sound {number} of the dev split, {batch[key + '_length'][row] / feature.sample_rate:.1f} s)"
    return f"(picture {number} of the dev split, {value.shape[0]} x {value.shape[1]})"
