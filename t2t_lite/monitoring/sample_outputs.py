"""Decodes a few dev examples of each problem at each evaluation, for TensorBoard."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.decode import answer_batch, feature_text
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.hparams import HParams
from t2t_lite.monitoring import scalar_writer
from t2t_lite.problems.features import Audio, Image, Text, input_features

_COUNT = 2  # examples of each problem: decoding them must not take long beside the evaluation


class SampleOutputs:
    """Decodes the same few dev examples of each problem at each call.

    Args:
      model: the model in training.
      datasets: the problems.
      hparams: the resolved hparams.
    """

    def __init__(self, model: Any, datasets: Mapping[str, Dataset], hparams: HParams):
        self.decoder = GreedyDecoder(model)
        self._datasets = datasets
        self._hparams = hparams
        self._batches: dict[str, dict[str, tf.Tensor]] = {}

    def __call__(self) -> list[Any]:
        """Returns values for TensorBoard: for each problem a table of inputs, targets and outputs.

        The first call also returns the inputs that are pictures and sounds, which are the same at every call.
        """
        values = []
        for name, dataset in self._datasets.items():
            if not dataset.split("dev").examples:
                continue
            if name not in self._batches:
                self._batches[name] = self._examples(dataset)
                values += _input_values(dataset, self._batches[name])
            batch = self._batches[name]
            values.append(scalar_writer.text_value(f"dev/{name}/samples", self._table(dataset, batch)))
        return values

    def _examples(self, dataset: Dataset) -> dict[str, tf.Tensor]:
        """Returns the first batch of the dev split, of _COUNT examples at most."""
        small = self._hparams.replace(batch_max_examples=_COUNT, batch_tokens=1 << 20, batch_multipliers="")
        with dataset.reading():
            return next(iter(dataset.batches("dev", small)))

    def _table(self, dataset: Dataset, batch: Mapping[str, tf.Tensor]) -> str:
        """Returns the table in Markdown."""
        # An untrained model does not end its answers; twice the length of the target is enough to show that.
        limit = 2 * batch["targets"].shape[1] if isinstance(dataset.problem.targets, Text) else 0
        lines = ["| input | target | output |", "|---|---|---|"]
        for row, answer in enumerate(answer_batch(self.decoder, dataset, batch, limit)):
            number = int(batch["index"][row])
            cells = [feature_text(dataset, key, batch, row, number) for key in ("inputs", "targets")]
            cells.append(answer.text + ("" if answer.finished else " [length limit]"))
            lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines)


def _input_values(dataset: Dataset, batch: Mapping[str, tf.Tensor]) -> list[Any]:
    """Returns the pictures or sounds of a batch as values for TensorBoard."""
    values = []
    for key, feature in input_features(dataset.problem.inputs).items():
        for row, value in enumerate(batch[key].numpy()):
            tag = f"dev/{dataset.problem.name}/{key.replace('inputs', 'input')}_{int(batch['index'][row])}"
            if isinstance(feature, Image):
                values.append(scalar_writer.image_value(tag, value))
            elif isinstance(feature, Audio):
                sound = value[: int(batch[f"{key}_length"][row])]
                values.append(scalar_writer.audio_value(tag, sound, feature.sample_rate))
    return values
