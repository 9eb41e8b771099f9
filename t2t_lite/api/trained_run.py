"""A trained run: answers, evaluations, scores of given answers, attention and experts."""

import functools
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2t_lite import registry
from t2t_lite.api.arguments import (
    Folder,
    Names,
    existing_folder,
    input_places,
    list_names,
    search_settings,
    start_tensorflow,
)
from t2t_lite.decoding.answer import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import Image, Text
from t2t_lite.problems.problem import get_problems
from t2t_lite.progress import print_status

if TYPE_CHECKING:
    from t2t_lite.decoding.decode import Answerer
    from t2t_lite.decoding.search import Decoder
    from t2t_lite.evaluation.curve import EvaluationCurve

WEIGHT_TYPES = ("float32", "bfloat16", "int8")  # in which an export stores weights


def open_run(
    output_dir: Folder,
    *,
    checkpoint: str | int = "latest",
    data_dir: Folder | None = None,
    usr_dirs: Names = (),
) -> "TrainedRun":
    """Opens a run; its weights are loaded when they are needed first.

    Args:
      output_dir: the folder of the run.
      checkpoint: "latest", "best" or a step.
      data_dir: the folder of its vocabularies, for a run so old that it keeps no copies.
      usr_dirs: folders of your own problems, modalities and models that it was trained with.

    Raises:
      UserError: there is no run in the folder.
    """
    registry.import_usr_dirs(list_names(usr_dirs))
    folder = existing_folder(output_dir, "output_dir", "t2t-trainer makes it")
    vocabularies = existing_folder(data_dir, "data_dir", "t2t-datagen makes it") if data_dir else None
    start_tensorflow()
    run = TrainedRun(folder, str(checkpoint), vocabularies)
    run.problems  # noqa: B018  # raises UserError if there is no run
    return run


@dataclass(frozen=True)
class Inside:
    """What a model does for one input and one output."""

    input_pieces: list[str]  # S; all "" for a picture or a sound
    output_pieces: list[str]  # T, the end token last; empty for a class
    # (T, S): of each output piece to the encoded input, mean over layers and heads; rows sum to 1
    attention: np.ndarray
    grid: tuple[int, ...]  # rows and columns of a picture's S positions; () for other inputs
    experts: dict[str, np.ndarray]  # {"encoder": (E,), "decoder": (E,)}: how many positions each expert served


class TrainedRun:
    """A trained model: answers, evaluates, scores given answers, and shows what happens inside.

    Attributes:
      folder: the run's folder.
    """

    def __init__(self, folder: Path, checkpoint: str = "latest", data_dir: Path | None = None):
        self.folder = folder
        self._checkpoint, self._data_dir = checkpoint, data_dir
        self._answerers: dict[Any, Answerer] = {}
        self._decoders: dict[DecodeHParams, Decoder] = {}

    def __repr__(self) -> str:
        return f"TrainedRun('{self.folder}', checkpoint '{self._checkpoint}', problems {', '.join(self.problems)})"

    @functools.cached_property
    def _run(self) -> Any:
        from t2t_lite.runs.run import Run

        return Run.open(self.folder)

    @property
    def problems(self) -> list[str]:
        """The names of the problems it was trained on."""
        return list(self._run.declarations)

    @property
    def hparams(self) -> HParams:
        """Its hparams."""
        return self._run.hparams

    @property
    def parameters(self) -> int:
        """The number of its weights' elements."""
        return sum(math.prod(weight.shape) for weight in self._loaded[0].weights)

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self._loaded[1]

    @property
    def model(self) -> Any:
        """The network with the checkpoint's weights, a Keras model."""
        return self._loaded[0]

    def dataset(self, problem: str, data_dir: Path | None = None) -> Any:
        """Returns a problem of the run as a `data.reading.Dataset`.

        Args:
          problem: the problem.
          data_dir: the folder of its records; None: without records, and with the run's vocabularies.

        Raises:
          UserError: the problem was not trained in this run, or its data are missing or have another vocabulary.
        """
        return self._run.open_datasets(data_dir or self._data_dir, [problem])[problem]

    @functools.cached_property
    def _loaded(self) -> tuple[Any, int]:
        from t2t_lite.decoding.decode import load_model

        return load_model(self._run, self.folder, self._checkpoint)

    def answer(self, problem: str, inputs: Sequence[Any], *, brackets: bool = False, **search: Any) -> list[Answer]:
        """Answers inputs of one problem.

        Args:
          problem: the problem, one of `problems`.
          inputs: texts; or pictures as paths, bytes of a file, uint8 arrays or Pillow's pictures; or sounds as paths,
            bytes of a file, arrays at the problem's rate, or pairs (array, rate).
          brackets: writes trees as Penn Treebank brackets over the input's words.
          **search: settings of the search, as in --decode_hparams: beam_size=4, return_beams=2, sampling=True, ...

        Returns:
          An `Answer` for each input, in order: text (or a class), score (log-probability in nats), finished (False if
          the length limit cut it), alternatives (further answers, the best first), input_cut.

        Raises:
          UserError: an input cannot be read (its place is named), or a problem or a setting is unknown.
        """
        answerer = self.answerer([problem], search_settings(search), brackets)
        return list(answerer.answer(problem, input_places(inputs)))

    def answerer(self, names: Sequence[str], search: DecodeHParams, brackets: bool = False) -> "Answerer":
        """Returns what `answer` and t2t-decoder use."""
        from t2t_lite.decoding.decode import Answerer

        key = (tuple(names), search, brackets)
        if key not in self._answerers:
            self._answerers[key] = Answerer(
                names,
                self._data_dir,
                self.folder,
                search,
                brackets=brackets,
                load=lambda: (self._decoder(search), self.step),
            )
        return self._answerers[key]

    def _decoder(self, search: DecodeHParams) -> "Decoder":
        """Returns the search with these settings. It is kept, since a new one traces a new graph."""
        from t2t_lite.decoding.decode import make_decoder

        if search not in self._decoders:
            self._decoders[search] = make_decoder(self._loaded[0], search)
        return self._decoders[search]

    def evaluate(
        self,
        problem: Names = (),
        data_dir: Folder | None = None,
        *,
        split: str = "dev",
        eval_steps: int | None = None,
        inputs: Sequence[Any] | None = None,
        targets: Sequence[str] | None = None,
        **search: Any,
    ) -> dict[str, Any]:
        """Evaluates problems on generated data, or one problem on given inputs and targets.

        Args:
          problem: problems and mixtures; all that were trained by default.
          data_dir: the folder that datagen wrote; by default that of `open_run`.
          split: the split to evaluate.
          eval_steps: batches of each problem, drawn evenly from the split; None for the whole split.
          inputs: inputs as `answer` takes them, instead of a split.
          targets: the text or the class that belongs to each.
          **search: settings of the search for answers, as for `answer`.

        Returns:
          {"step": N, "teacher_forced": [names of metrics], "problems": {name: {metric: value}}}, as --json_out of
          t2t-eval; `t2t_lite.api.report(scores)` returns its tables.

        Raises:
          UserError: there are no data, the data are not those of the run, or an input or a target is wrong.
        """
        from t2t_lite.evaluation import metrics
        from t2t_lite.evaluation.evaluate import TEACHER_FORCED, evaluate

        names = list(get_problems(list_names(problem))) or self.problems
        settings = search_settings(search)
        if settings.return_beams > 1:
            raise UserError("--decode_hparams: return_beams must be 1, as one answer per example is scored")
        datasets: dict[str, Any]
        if inputs is None and targets is None:
            folder = data_dir or self._data_dir
            if folder is None:
                raise UserError("data_dir: required, the folder that t2t-datagen wrote; or give inputs and targets")
            datasets = self._run.open_datasets(existing_folder(folder, "data_dir", "t2t-datagen makes it"), names)
        else:
            if len(names) != 1:
                raise UserError(f"problem: one problem at a time for given inputs and targets, not {len(names)}")
            given = (() if values is None else values for values in (inputs, targets))
            datasets = {names[0]: self._pairs(names[0], *given)}
        for dataset in datasets.values():
            metrics.check(dataset.problem)
        net, decoder, limit = self._loaded[0], self._decoder(settings), settings.max_length
        scores = evaluate(net, datasets, self.hparams, split, eval_steps, decoder=decoder, max_length=limit)
        return {"step": self.step, "teacher_forced": list(TEACHER_FORCED), "problems": scores}

    def evaluate_checkpoints(
        self,
        problem: Names = (),
        data_dir: Folder | None = None,
        *,
        watch_seconds: float | None = None,
        split: str = "dev",
        eval_steps: int | None = None,
        **search: Any,
    ) -> Iterator["EvaluationCurve"]:
        """Evaluates each checkpoint once, the oldest first, and appends its scores to eval_curve.jsonl in the folder.

        Checkpoints whose scores are in the file, with the same problems, split and settings, are not evaluated again.
        This run's own weights and step stay as they are.

        Args:
          problem, data_dir, split, eval_steps, search: as for `evaluate`.
          watch_seconds: looks for new checkpoints every so many seconds, without end; None: returns after the last one.

        Yields:
          The scores so far, after each checkpoint: `curve.scores` is {step: {problem: {metric: value}}}. At least once.
        """
        from t2t_lite.evaluation.curve import EvaluationCurve
        from t2t_lite.runs.checkpoints import Checkpoints, finished_steps

        names = list(get_problems(list_names(problem))) or self.problems
        settings = {"split": split, "eval_steps": eval_steps, "search": search_settings(search).changing_answers()}
        curve = EvaluationCurve(self.folder / "eval_curve.jsonl", settings)
        evaluated, net = TrainedRun(self.folder, data_dir=self._data_dir), None
        yielded = False
        while True:
            steps = finished_steps(self.folder)
            if not steps and watch_seconds is None:
                raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
            for step in sorted(step for step in steps if not curve.scores.get(step, {}).keys() >= set(names)):
                net = net or self._run.build_model()
                try:
                    Checkpoints(self.folder, net).restore_weights(step)
                except UserError as e:  # damaged, or removed in the meantime to keep only the last ones
                    if step in finished_steps(self.folder):
                        raise
                    print_status(f"checkpoint {step} was removed before it was evaluated: {e}")
                    continue
                evaluated.__dict__["_loaded"] = net, step
                scores = evaluated.evaluate(names, data_dir, split=split, eval_steps=eval_steps, **search)
                curve.add(step, scores["problems"])
                yield curve
                yielded = True
            if watch_seconds is None:
                if not yielded:
                    yield curve
                return
            time.sleep(watch_seconds)

    def score(self, problem: str, inputs: Sequence[Any], targets: Sequence[str]) -> list[float]:
        """Returns the log-probability in nats of each target given its input, the end token included.

        Raises:
          UserError: an input cannot be read, or a target is no class of the problem.
        """
        import tensorflow as tf

        pairs, (net, _), scores = self._pairs(problem, inputs, targets), self._loaded, []
        for batch in pairs.batches():
            loss = net.score(problem, batch).loss
            scores += tf.reduce_sum(tf.reshape(loss, [len(loss), -1]), axis=1).numpy().tolist()
        return [-score for score in scores]

    def look_inside(self, problem: str, value: Any, output: str | None = None) -> Inside:
        """Returns the attention and the use of the experts for an input and an output.

        Args:
          problem: the problem.
          value: an input, as `answer` takes it.
          output: the text or class; the model's own answer by default.
        """
        import tensorflow as tf

        net, _ = self._loaded
        if isinstance(self.dataset(problem).problem.inputs, tuple):
            raise UserError(f"problem '{problem}': look_inside shows problems with one input")
        text = self.answer(problem, [value])[0].text if output is None else output
        pairs = self._pairs(problem, [value], [text])
        (batch,) = pairs.batches()
        sums = net.score(problem, batch).expert_sums.numpy()  # (layers, 3, E): importance, load, positions served
        experts = dict(zip(("encoder", "decoder"), sums[:, 2], strict=False)) if self.hparams.use_experts else {}
        encoded, _ = net.encode(problem, batch)
        features = (pairs.problem.inputs, batch["inputs"]), (pairs.problem.targets, batch["targets"])
        input_pieces, output_pieces = (
            [pairs.vocabularies[feature.vocab].piece(int(i)) for i in ids[0]] if isinstance(feature, Text) else []
            for feature, ids in features
        )
        attention = np.zeros([len(output_pieces), encoded.x.shape[1]], np.float32)
        if output_pieces and self.hparams.use_attention:
            embedded = net.net(pairs.problem.targets).embed_targets(batch["targets"])
            with net.body.watch_source_attention() as seen:
                net.body.decode(embedded, encoded.x, encoded.valid, net.command(problem, 1))
            attention = tf.reduce_mean(tf.stack(list(seen.values())), axis=[0, 2])[0].numpy()
        grid = tuple(int(n) for n in encoded.grid) if isinstance(pairs.problem.inputs, Image) else ()
        return Inside(input_pieces or [""] * attention.shape[1], output_pieces, attention, grid, experts)

    def export(
        self, export_dir: Folder, problem: Names = (), *, data_dir: Folder | None = None, **options: Any
    ) -> None:
        """Writes an export of some of its problems, all by default, as t2t-exporter does.

        Args:
          export_dir: the new folder; an earlier export there is replaced.
          problem: problems and mixtures.
          data_dir: the folder that datagen wrote, to evaluate quantized weights.
          **options: weights ("float32", "bfloat16" or "int8"), eval_steps, and settings of the search.

        Raises:
          UserError: a problem was not trained, a value is wrong, or the folder holds something else.
        """
        from t2t_lite.serving.export import export_run

        weights = options.get("weights", "float32")
        if weights not in WEIGHT_TYPES:
            raise UserError(f"weights: unknown type '{weights}'{did_you_mean(str(weights), WEIGHT_TYPES)}")
        own = {key: options.pop(key) for key in ("weights", "eval_steps") if key in options}
        export_run(
            list(get_problems(list_names(problem))) or self.problems,
            self.folder,
            Path(os.path.expanduser(export_dir)),
            data_dir=existing_folder(data_dir, "data_dir", "t2t-datagen makes it") if data_dir else self._data_dir,
            decode_hparams=search_settings(options),
            checkpoint=str(self.step) if "_loaded" in vars(self) else self._checkpoint,
            **own,
        )

    def _pairs(self, problem: str, inputs: Sequence[Any], targets: Sequence[str]) -> Any:
        """Returns inputs and targets as batches."""
        from t2t_lite.data.raw_pairs import RawPairs
        from t2t_lite.decoding.inputs import read_input

        dataset, placed = self.dataset(problem), input_places(inputs)
        if isinstance(targets, str):
            raise UserError("targets: expected a list of texts or classes, got one; put it into [ ]")
        if len(placed) != len(targets):
            raise UserError(f"{len(placed):,} inputs and {len(targets):,} targets: they must belong together")
        if not placed:
            raise UserError("inputs: none given")
        values = [read_input(dataset.problem, value, place) for place, value in placed.items()]
        return RawPairs(dataset, list(zip(values, targets, strict=True)))


def report(scores: Mapping[str, Any]) -> str:
    """Returns the tables that t2t-eval prints of the result of `evaluate`."""
    from t2t_lite.evaluation.report import format_report

    return format_report(scores)
