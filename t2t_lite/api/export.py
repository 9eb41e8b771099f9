"""A loaded export: answers and scores without the run it was made from."""

import io
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import t2t_lite
from t2t_lite.api.arguments import Folder, Names, existing_folder, input_places, list_names, start_tensorflow
from t2t_lite.decoding.answer import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Feature, Image, Label, Text, input_features, input_values
from t2t_lite.problems.problem import get_problems

_BATCH = 32  # inputs that an export answers at once


def demo_dir() -> Path:
    """Returns the folder of the packaged demo model, an export.

    Raises:
      UserError: this installation has none.
    """
    folder = Path(t2t_lite.__file__).parent / "demo_model"
    if not (folder / "export.json").is_file():
        raise UserError(
            f"--demo: {folder} holds no model; make one with examples/make_demo_model.py RUN, of a run on microworld "
            "(`make demo` trains one), or give --export_dir"
        )
    return folder


def load_export(export_dir: Folder) -> "Export":
    """Loads an export, which answers without the run, its data or your own Python files.

    Raises:
      UserError: the folder is not an export.
    """
    folder = existing_folder(export_dir, "export_dir", "t2t-exporter makes it")
    start_tensorflow()
    return Export(folder)


class Export:
    """A loaded export.

    Attributes:
      folder: its folder.
      problems: the names of its problems.
      about: the contents of export.json.
    """

    def __init__(self, folder: Path):
        from t2t_lite.serving.model import ExportedModel

        self.folder = folder
        self._model = ExportedModel(folder)
        self.about = self._model.about
        self.problems = list(self.about["problems"])

    def __repr__(self) -> str:
        return f"Export('{self.folder}', step {self.step}, problems {', '.join(self.problems)})"

    @property
    def step(self) -> int:
        """The step of the checkpoint that was exported."""
        return int(self.about["step"])

    def answer(self, problem: str, inputs: Sequence[Any], **search: Any) -> list[Answer]:
        """Answers inputs of one problem; inputs and answers are those of `TrainedRun.answer`.

        Raises:
          UserError: an input cannot be read, a problem is unknown, or settings of the search are given: they are fixed
            when the export is made.
        """
        if search:
            fixed = ", ".join(f"{key}={value}" for key, value in self.about.get("search", {}).items())
            raise UserError(
                f"{next(iter(search))}: the search of an export is fixed when it is made, here to {fixed}; export "
                "again with --decode_hparams, or ask the run"
            )
        return self._answer(problem, input_places(inputs))

    def _answer(self, problem: str, inputs: Mapping[str, Any]) -> list[Answer]:
        from t2t_lite.decoding.inputs import read_input

        stand_in, answers = self._stand_in(problem), list[Answer]()
        features = input_features(stand_in.inputs)
        rows = []
        for place, value in inputs.items():
            read = input_values(stand_in.inputs, read_input(stand_in, value, place))
            try:
                rows.append({key: _file_bytes(feature, read[key]) for key, feature in features.items()})
            except ValueError as e:  # a text that is no UTF-8
                raise UserError(f"{place}: {e}") from e
        places = list(inputs)
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            results = self._predict(problem, places[part], rows[part])
            columns = (results[key] for key in ("outputs", "scores", "cut", "too_long"))
            for texts, scores, cut, too_long in zip(*columns, strict=True):
                row = [
                    Answer(text.decode("utf8", "replace"), float(score), not is_cut)
                    for text, score, is_cut in zip(texts, scores, cut, strict=True)
                ]
                answers.append(row[0]._replace(alternatives=tuple(row[1:]), input_cut=bool(too_long)))
        return answers

    def _predict(self, problem: str, places: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Any:
        """Answers a batch.

        Raises:
          UserError: TensorFlow cannot decode a file that Pillow could read; the text names its place.
        """
        from t2t_lite.serving.limits import RequestError

        try:
            return self._model.predict(problem, {key: [row[key] for row in rows] for key in rows[0]})
        except RequestError as e:
            if len(rows) == 1:
                raise UserError(f"{places[0]}: {e}" if places[0] else str(e)) from e
            for place, row in zip(places, rows, strict=True):  # one of them fails alone too
                self._predict(problem, [place], [row])
            raise

    def answerer(self, problem: str, batch_size: int = _BATCH) -> tuple[Any, Problem]:
        """Returns what t2t-decoder uses: a stand-in for a run's decoder, and for the problem.

        Raises:
          UserError: the export does not have the problem.
        """
        return ExportAnswerer(self, batch_size), self._stand_in(problem)

    def evaluate(
        self, problem: Names = (), data_dir: Folder | None = None, *, split: str = "dev", examples: int | None = None
    ) -> dict[str, Any]:
        """Scores the answers to a split of generated data: the problems' metrics, or the accuracy of classes.

        Args:
          problem: problems and mixtures; all of the export by default. They must be registered.
          data_dir: the folder that datagen wrote.
          split: the split.
          examples: score the first so many of the split; None for all.

        Returns:
          {"step": N, "teacher_forced": [], "problems": {name: {metric: value}}}. Examples with the same inputs are one
          input with several references, all of those in the split, where they are so in `TrainedRun.evaluate`.

        Raises:
          UserError: there are no data, or no examples in the split; or a metric is unknown.
        """
        from t2t_lite.data.raw_pairs import stored_pairs
        from t2t_lite.data.reading import Dataset
        from t2t_lite.evaluation import metrics
        from t2t_lite.evaluation.evaluate import decode_rows

        if data_dir is None:
            raise UserError("data_dir: required, the folder that t2t-datagen wrote")
        folder = existing_folder(data_dir, "data_dir", "t2t-datagen makes it")
        names = list(get_problems(list_names(problem))) or self.problems
        scores: dict[str, Any] = {}
        for name in names:
            dataset = Dataset.open(folder, name)
            metrics.check(dataset.problem)
            pairs: list[tuple[Any, Any]] = list(stored_pairs(dataset, folder, split, examples))
            if not pairs:
                raise UserError(f"problem '{name}': no examples of the split '{split}' to score")
            scores[name] = {"examples": len(pairs)}
            if dataset.problem.metrics and metrics.has_several_references(dataset.problem):
                groups = dataset.input_groups(split)
                first = [(number, value) for number, (value, _) in enumerate(pairs) if groups.is_first[number]]
                pairs = [(value, decode_rows(dataset, groups.targets[number])) for number, value in first]
                if len(pairs) != scores[name]["examples"]:
                    scores[name]["answers"] = len(pairs)
            inputs, references = zip(*pairs, strict=True)
            answers = self.answer(name, inputs)
            texts = [answer.text for answer in answers]
            if isinstance(dataset.problem.targets, Label):
                right = [text == reference for text, reference in zip(texts, references, strict=True)]
                scores[name]["accuracy"] = sum(right) / len(right)
                continue
            scores[name] |= metrics.score(dataset.problem.metrics, texts, references)
            scores[name]["answers_cut"] = sum(not answer.finished for answer in answers)
            scores[name]["answers_empty"] = sum(not text.strip() for text in texts)
        return {"step": self.step, "teacher_forced": [], "problems": scores}

    def _stand_in(self, problem: str) -> Problem:
        """Returns a problem with the inputs that export.json describes."""
        if problem not in self.problems:
            raise UserError(f"problem: '{problem}' is not in {self.folder}{did_you_mean(problem, self.problems)}")
        about = self.about["problems"][problem]
        of_kind: dict[str, Feature] = {
            "text": Text(),
            "image": Image(),
            "audio": Audio(sample_rate=about["sample_rate"] or 0),
        }
        stand_in, kinds = Problem(problem), about["inputs"]
        stand_in.inputs = tuple(of_kind[kind] for kind in kinds) if isinstance(kinds, list) else of_kind[kinds]
        return stand_in


class ExportAnswerer:
    """An export in the place of a run's `Answerer`, for files, pipes and typed lines."""

    brackets = False

    def __init__(self, export: Export, batch_size: int):
        self._export = export
        self.output_dir, self.step = export.folder, export.step
        settings = {key: value for key, value in export.about.get("search", {}).items() if key != "batch_size"}
        self.decode_hparams = DecodeHParams(**settings, batch_size=batch_size)

    def answer(self, name: str, inputs: Mapping[str, Any]) -> Iterator[Answer]:
        """Yields the answers in the order of the inputs, {place: input}."""
        yield from self._export._answer(name, inputs)


def _file_bytes(feature: Feature, read: Any) -> bytes:
    """Returns an input as an export takes it, UTF-8, a PNG or JPEG file, or a WAV file; `read` is from `read_input`."""
    from t2t_lite.data.encoding import pcm16

    if isinstance(feature, Text):
        return bytes(read.encode("utf8"))
    if isinstance(feature, Image):
        return bytes(read)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(feature.sample_rate)  # type: ignore[union-attr]
        file.writeframes(pcm16(read).tobytes())
    return content.getvalue()
