"""Answers from a trained run, and examples of a split beside their references."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.encoding import encode_value
from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.answer import Answer, warnings_of
from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.inputs import read_input
from t2t_lite.decoding.sampling import SamplingDecoder
from t2t_lite.decoding.search import Decoder
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem, trees
from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step
from t2t_lite.runs.run import Run


class Answerer:
    """The weights of a run, ready to answer for some of its problems.

    Args:
      names: the problems.
      data_dir: where their data and vocabularies are.
      output_dir: the run's folder.
      decode_hparams: how to search.
      checkpoint: "latest", "best" or a step.
      brackets: `answer` gives trees in Penn Treebank brackets over the input's words, not in their linear form.

    Raises:
      UserError: no run, no checkpoint, a problem that was not trained, another vocabulary, a search that cannot be, or
        brackets of what is no tree.
    """

    def __init__(
        self,
        names: Sequence[str],
        data_dir: Path,
        output_dir: Path,
        decode_hparams: DecodeHParams,
        checkpoint: str = "latest",
        brackets: bool = False,
    ):
        run = Run.open(output_dir)
        self.datasets = run.open_datasets(data_dir, list(names))
        for name, dataset in self.datasets.items():
            if brackets and not ("tree" in dataset.problem.metrics and isinstance(dataset.problem.inputs, Text)):
                raise UserError(f"--brackets: problem '{name}' does not answer a sentence with its tree")
        self.brackets = brackets
        self.hparams = run.hparams
        self.output_dir, self.decode_hparams = output_dir, decode_hparams
        if any(isinstance(dataset.problem.targets, Text) for dataset in self.datasets.values()):
            decode_hparams.check_beams()
        self._model = run.build_model()
        self.step = Checkpoints(output_dir, self._model).restore_weights(chosen_step(output_dir, checkpoint))
        self._decoder = make_decoder(self._model, decode_hparams)

    def answer(self, name: str, inputs: Mapping[str, str]) -> Iterator[Answer]:
        """Answers inputs in their order. A text without a word is answered by none, whatever the model would say.

        Args:
          name: the problem.
          inputs: {where it comes from, such as FILE:LINE, for messages: a text, or the path of a picture or a sound}.

        Raises:
          UserError: an input cannot be read; the text names it.
        """
        dataset = self.datasets[name]
        read = iter(inputs.items())
        while batch := list(itertools.islice(read, self.decode_hparams.batch_size)):
            values = [read_input(dataset.problem, text, place) for place, text in batch]
            answers = self.answer_batch(name, _prepared(dataset, [place for place, _ in batch], values))
            for value, answer in zip(values, answers, strict=True):
                if isinstance(value, str) and not value.strip():
                    answer = _without_words(answer)
                elif self.brackets:
                    answer = _in_brackets(answer, value)
                yield answer._replace(input_cut=_is_cut(dataset, value))

    def answer_batch(self, name: str, batch: dict[str, tf.Tensor]) -> list[Answer]:
        """Answers a batch of the input pipeline."""
        hparams = self.decode_hparams
        return answer_batch(self._decoder, self.datasets[name], batch, hparams.max_length, hparams.return_beams)


def _prepared(dataset: Dataset, places: Sequence[str], values: Sequence[Any]) -> dict[str, tf.Tensor]:
    """The batch of some inputs. Raises UserError, naming the place, where Pillow took one and TensorFlow does not."""
    try:
        return dataset.inputs_batch(values)
    except tf.errors.InvalidArgumentError as e:
        if len(values) == 1:
            raise UserError(f"{places[0]}: {e.message}" if places[0] else e.message) from e
        for place, value in zip(places, values, strict=True):
            _prepared(dataset, [place], [value])
        raise


def make_decoder(model: Any, hparams: DecodeHParams) -> Decoder:
    """The search that the hparams ask for."""
    if hparams.sampling:
        return SamplingDecoder(
            model,
            hparams.return_beams,
            seed=hparams.seed,
            temperature=hparams.temperature,
            top_k=hparams.top_k,
            top_p=hparams.top_p,
        )
    if hparams.beam_size > 1:
        return BeamDecoder(model, hparams.beam_size, hparams.alpha, hparams.return_beams)
    return GreedyDecoder(model)


def answer_batch(
    decoder: Decoder, dataset: Dataset, batch: Mapping[str, tf.Tensor], max_length: int = 0, classes: int = 1
) -> list[Answer]:
    """Answers a batch of the input pipeline.

    Args:
      decoder: searches for texts; its model ranks classes.
      dataset: the problem's data.
      batch: `inputs` as the input pipeline gives them.
      max_length: tokens of an answer at most; 0: what the problem's target allows.
      classes: how many classes to name, where the targets are classes.
    """
    name, targets = dataset.problem.name, dataset.problem.targets
    if isinstance(targets, Label):
        ranked = tf.math.top_k(
            tf.nn.log_softmax(decoder.model.classify(name, batch)), min(classes, len(targets.classes))
        )
        rows = zip(ranked.indices.numpy(), ranked.values.numpy(), strict=True)
        return [
            _joined([Answer(targets.classes[i], float(s), True) for i, s in zip(*row, strict=True)]) for row in rows
        ]
    assert isinstance(targets, Text)
    decoded = decoder(name, batch, max_length or targets.max_length)
    vocabulary = dataset.vocabularies[targets.vocab]
    columns = zip(decoded.ids.numpy().tolist(), decoded.scores.numpy(), decoded.finished.numpy(), strict=True)
    answers = [Answer(vocabulary.decode(ids), float(score), bool(finished)) for ids, score, finished in columns]
    return [_joined(answers[i : i + decoder.answers]) for i in range(0, len(answers), decoder.answers)]


def _joined(answers: list[Answer]) -> Answer:
    return answers[0]._replace(alternatives=tuple(answers[1:]))


def _without_words(answer: Answer) -> Answer:
    """As many answers, all empty."""
    return Answer("", 0.0, True, tuple(map(_without_words, answer.alternatives)))


def _in_brackets(answer: Answer, sentence: str) -> Answer:
    """The answer and its alternatives in Penn Treebank brackets."""
    others = tuple(_in_brackets(other, sentence) for other in answer.alternatives)
    return answer._replace(text=trees.bracketed(answer.text, sentence), alternatives=others)


def _is_cut(dataset: Dataset, value: Any) -> bool:
    feature = dataset.problem.inputs
    if isinstance(feature, Image):
        return False
    return encode_value(feature, value, dataset.vocabularies)[1] > lengths.max_length(feature)


def show_examples(answerer: Answerer, problems: Sequence[Problem], *, count: int) -> None:
    """Prints answers to the first dev examples of each problem beside their references."""
    for problem in problems:
        dataset = answerer.datasets[problem.name]
        print(f"\n{problem.name}")
        for number, batch in enumerate(_first_examples(dataset, answerer, count)):
            best = answerer.answer_batch(problem.name, batch)[0]
            print(f"  input      {feature_text(dataset, 'inputs', batch, 0, number)}")
            print(f"  reference  {feature_text(dataset, 'targets', batch, 0, number)}")
            for answer in (best, *best.alternatives):
                told = "".join(f" [{fault}]" for fault in warnings_of(answer._replace(alternatives=())))
                print(f"  answer     {answer.text}{told}")
            print()


def _first_examples(dataset: Dataset, answerer: Answerer, count: int) -> Iterator[dict[str, tf.Tensor]]:
    """The first examples of the dev split, each a batch of one."""
    with dataset.reading():
        batches = dataset.batches("dev", answerer.hparams).unbatch()
        batches = batches.filter(lambda example: example["index"] < count)
        yield from sorted(batches.batch(1), key=lambda batch: int(batch["index"][0]))


def feature_text(dataset: Dataset, key: str, batch: Mapping[str, tf.Tensor], row: int, number: int) -> str:
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
