"""Decodes inputs with a trained run, and prints examples of the dev split with their references."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from t2t_lite.problems.features import Audio, Image, Label, Text, input_features, input_values
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step
from t2t_lite.runs.run import Run


class Answerer:
    """A model with the weights of a run, which answers inputs of some of the run's problems.

    Args:
      names: the problems.
      data_dir: the folder of their data and vocabularies; None for the run's own copies of the vocabularies.
      output_dir: the run's folder.
      decode_hparams: the settings of the search.
      checkpoint: "latest", "best" or a step.
      brackets: `answer` returns trees in Penn Treebank brackets over the input's words, not in linear form.
      load: returns the search, over the run's model, and the model's step; by default the checkpoint is loaded.

    Raises:
      UserError: there is no run or no checkpoint, a problem was not trained or has another vocabulary, the search
        settings do not fit its targets, or brackets are asked for and its targets are not trees.
    """

    def __init__(
        self,
        names: Sequence[str],
        data_dir: Path | None,
        output_dir: Path,
        decode_hparams: DecodeHParams,
        checkpoint: str = "latest",
        brackets: bool = False,
        load: Callable[[], tuple[Decoder, int]] | None = None,
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
        if load:
            self._decoder, self.step = load()
        else:
            model, self.step = load_model(run, output_dir, checkpoint)
            self._decoder = make_decoder(model, decode_hparams)

    def answer(self, name: str, inputs: Mapping[str, Any]) -> Iterator[Answer]:
        """Yields the answers in the order of the inputs. A blank text gets an empty answer, not the model's.

        Args:
          name: the problem.
          inputs: {place, such as FILE:LINE, for messages: an input as `read_input` takes it}.

        Raises:
          UserError: an input cannot be read; the text names it and its place.
        """
        dataset = self.datasets[name]
        items = iter(inputs.items())
        while group := list(itertools.islice(items, self.decode_hparams.batch_size)):
            places = [place for place, _ in group]
            values = [read_input(dataset.problem, text, place) for place, text in group]
            answers = self.answer_batch(name, _inputs_batch(dataset, places, values))
            for value, answer in zip(values, answers, strict=True):
                if isinstance(value, str) and not value.strip():
                    answer = _emptied(answer)
                elif self.brackets:
                    answer = _bracketed(answer, value)
                yield answer._replace(input_cut=_is_cut(dataset, value))

    def answer_batch(self, name: str, batch: dict[str, tf.Tensor]) -> list[Answer]:
        """Decodes a batch of the input pipeline."""
        hparams = self.decode_hparams
        return answer_batch(self._decoder, self.datasets[name], batch, hparams.max_length, hparams.return_beams)


def load_model(run: Run, output_dir: Path, checkpoint: str) -> tuple[Any, int]:
    """Returns the model of a run with the weights of a checkpoint, and the checkpoint's step."""
    model = run.build_model()
    return model, Checkpoints(output_dir, model).restore_weights(chosen_step(output_dir, checkpoint))


def _inputs_batch(dataset: Dataset, places: Sequence[str], values: Sequence[Any]) -> dict[str, tf.Tensor]:
    """Batches inputs.

    Raises:
      UserError: TensorFlow cannot decode a file that Pillow could read; the text names its place.
    """
    try:
        return dataset.inputs_batch(values)
    except tf.errors.InvalidArgumentError as e:
        if len(values) == 1:
            raise UserError(f"{places[0]}: {e.message}" if places[0] else e.message) from e
        for place, value in zip(places, values, strict=True):  # one of them fails alone too
            _inputs_batch(dataset, [place], [value])
        raise


def make_decoder(model: Any, hparams: DecodeHParams) -> Decoder:
    """Returns the decoder for greedy search, beam search or sampling."""
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
    """Decodes or classifies a batch of the input pipeline.

    Args:
      decoder: searches for texts; its model ranks classes.
      dataset: the problem's data.
      batch: `inputs` as the input pipeline gives them.
      max_length: tokens of an answer at most; 0: the maximum of the problem's targets.
      classes: answers per input if the targets are classes.
    """
    name, targets = dataset.problem.name, dataset.problem.targets
    if isinstance(targets, Label):
        ranked = tf.math.top_k(
            tf.nn.log_softmax(decoder.model.classify(name, batch)), min(classes, len(targets.classes))
        )
        rows = zip(ranked.indices.numpy(), ranked.values.numpy(), strict=True)
        return [
            _with_alternatives([Answer(targets.classes[i], float(s), True) for i, s in zip(*row, strict=True)])
            for row in rows
        ]
    assert isinstance(targets, Text)
    decoded = decoder(name, batch, max_length or targets.max_length)
    vocabulary = dataset.vocabularies[targets.vocab]
    columns = zip(decoded.ids.numpy().tolist(), decoded.scores.numpy(), decoded.finished.numpy(), strict=True)
    answers = [Answer(vocabulary.decode(ids), float(score), bool(finished)) for ids, score, finished in columns]
    return [_with_alternatives(answers[i : i + decoder.answers]) for i in range(0, len(answers), decoder.answers)]


def _with_alternatives(answers: list[Answer]) -> Answer:
    return answers[0]._replace(alternatives=tuple(answers[1:]))


def _emptied(answer: Answer) -> Answer:
    """An empty answer with as many alternatives."""
    return Answer("", 0.0, True, tuple(map(_emptied, answer.alternatives)))


def _bracketed(answer: Answer, sentence: str) -> Answer:
    """The answer and its alternatives in Penn Treebank brackets."""
    alternatives = tuple(_bracketed(each, sentence) for each in answer.alternatives)
    return answer._replace(text=trees.bracketed(answer.text, sentence), alternatives=alternatives)


def _is_cut(dataset: Dataset, value: Any) -> bool:
    values = input_values(dataset.problem.inputs, value)
    return any(
        encode_value(feature, values[key], dataset.vocabularies)[1] > lengths.max_length(feature)
        for key, feature in input_features(dataset.problem.inputs).items()
        if not isinstance(feature, Image)
    )


def show_examples(answerer: Answerer, problems: Sequence[Problem], *, count: int) -> None:
    """Prints the first dev examples of each problem: input, reference and answers."""
    for problem in problems:
        dataset = answerer.datasets[problem.name]
        print(f"\n{problem.name}")
        for number, batch in enumerate(_first_examples(dataset, answerer, count)):
            best = answerer.answer_batch(problem.name, batch)[0]
            print(f"  input      {feature_text(dataset, 'inputs', batch, 0, number)}")
            print(f"  reference  {feature_text(dataset, 'targets', batch, 0, number)}")
            for answer in (best, *best.alternatives):
                warnings = "".join(f" [{warning}]" for warning in warnings_of(answer._replace(alternatives=())))
                print(f"  answer     {answer.text}{warnings}")
            print()


def _first_examples(dataset: Dataset, answerer: Answerer, count: int) -> Iterator[dict[str, tf.Tensor]]:
    """The first examples of the dev split, in batches of one."""
    with dataset.reading():
        batches = dataset.batches("dev", answerer.hparams).unbatch()
        batches = batches.filter(lambda example: example["index"] < count)
        yield from sorted(batches.batch(1), key=lambda batch: int(batch["index"][0]))


def feature_text(dataset: Dataset, key: str, batch: Mapping[str, tf.Tensor], row: int, number: int) -> str:
    """Describes an input or a reference in a line of text.

    Args:
      dataset: the problem's data.
      key: "inputs" or "targets", or that of one of several inputs.
      batch: a batch of the dev split.
      row: the example's row in the batch.
      number: the example's number in the split.
    """
    if key == "inputs" and isinstance(dataset.problem.inputs, tuple):
        keys = input_features(dataset.problem.inputs)
        return " + ".join(feature_text(dataset, each, batch, row, number) for each in keys)
    feature = dataset.problem.keyed_features[key]
    value = batch[key][row].numpy()
    if isinstance(feature, Text):
        return dataset.vocabularies[feature.vocab].decode(value.tolist())
    if isinstance(feature, Label):
        return feature.classes[int(value)]
    if isinstance(feature, Audio):
        return f"(sound {number} of the dev split, {batch[key + '_length'][row] / feature.sample_rate:.1f} s)"
    return f"(picture {number} of the dev split, {value.shape[0]} x {value.shape[1]})"
