"""The base class of problems: the source of the examples, their features, and the metrics; and problems by name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems import features
from t2t_lite.progress import print_status


class Problem:
    """A task to learn, declared in about fifteen lines.

        @registry.problems.register
        class ReverseWords(Problem):
            '''The words of a sentence in reverse order.'''
            inputs = Text()
            targets = Text()
            command = "reverse"
            metrics = ("wer",)

            def examples(self, split, raw_dir):
                ...
                yield {"inputs": "red green blue", "targets": "blue green red"}

    A problem yields raw examples. It does not tokenize, store, batch or train.

    Attributes:
      inputs: the input feature; or a tuple of features, such as a picture and a question: an example then has a tuple
        of values, each goes through the modality net of its feature, and the parts stand one after the other.
      targets: the target feature.
      command: what the decoder is asked for, such as "to_english". Problems that ask for the same share it.
      languages: of inputs and targets, as codes such as "en", if both are known; an export shows them to its users.
      metrics: names of registered metrics of decoded answers, beside the teacher-forced ones that every problem has:
        "bleu", "chrf", "wer", "cer", "tree", "cider_d" (evaluation/metrics.py) or the user's own.
      several_references: whether the examples of a split with the same inputs are one input with several references,
        such as a picture with its captions: an evaluation then decodes it once and scores the answer against all of
        them. None: for pictures, if all metrics can do so, which are "bleu", "chrf" and "cider_d".
      splits: the names of the splits. Training needs "train", and "dev" for evaluations.
      random_flip: mirror half of the pictures in training. Not for pictures whose answer would change, such as digits,
        or a caption that says "left".
      version: raise it when the examples change; it is written into the manifest.
      shards: the number of files of the first split. Raise it if a file would exceed some hundred MB.
      source: the folder below --tmp_dir that the problem reads; "" for --tmp_dir itself. A problem on the user's own
        files (`needs_source`) that names none may be asked for as NAME.SOURCE.
      needs_source: whether the problem reads the user's own files.
      held_out: the fraction of the training split that is the dev split, for files without one (--held_out).
      name: the name it was asked for by; it names the files of records.
    """

    inputs: features.Inputs
    targets: features.Feature
    command: str = ""
    languages: tuple[str, str] | None = None
    metrics: tuple[str, ...] = ()
    several_references: bool | None = None
    splits: tuple[str, ...] = ("train", "dev")
    random_flip: bool = False
    version: str = "1"
    shards: int = 10
    source: str = ""
    needs_source: bool = False
    held_out: float = 0.0

    def __init__(self, name: str):
        self.name = name
        if isinstance(getattr(self, "inputs", None), list):  # as a class may well write several
            self.inputs = tuple(self.inputs)  # type: ignore[arg-type]
        self.source = self.source or name.partition(".")[2]
        self._printed: set[str] = set()

    def resolve(self, raw_dir: Path) -> None:
        """Reads attributes from the raw files, such as languages. Datagen calls it first, in every process."""

    def examples(self, split: str, raw_dir: Path) -> Iterator[Any]:
        """Yields the items of a split, which `convert` turns into examples {"inputs": ..., "targets": ...}.

        In place of a broken example it may yield a UserError that names file and line: datagen leaves it out, and goes
        on within the error budget (--max_bad). The same files must give the same items in the same order. Datagen may
        call it several times for a split.

        Args:
          split: one of `splits`.
          raw_dir: the folder of raw files: --tmp_dir, or the folder `source` below it.
        """
        raise UserError(f"problem '{self.name}' does not define examples()")

    def count(self, split: str, raw_dir: Path) -> int | None:
        """Returns about how many items `examples` yields, or None if that is unknown without reading them."""
        return None

    def convert(self, item: Any) -> dict[str, Any]:
        """Turns an item of `examples` into {"inputs": ..., "targets": ...}. Slow work goes here: it runs in parallel.

        A value that is slow to make may be a function without arguments: it is called only when the value is stored.
        The example may also have "where", the file and line that messages about it name.
        """
        return item

    def is_source(self, name: str) -> bool:
        """Whether a file or folder of this name is one of the user's files that the problem reads.

        By default those of train, dev and test. If one of them changes, an interrupted generation starts again.
        """
        return name.partition(".")[0] in ("train", "dev", "test")

    def has_dev(self, raw_dir: Path) -> bool:
        """Whether the user's own files have a dev split, or a test split that serves as one."""
        return any(path.name.partition(".")[0] in ("dev", "test") for path in raw_dir.glob("*"))

    def has_test(self, raw_dir: Path) -> bool:
        """Whether the user's own files have a test split beside a dev split."""
        return {"dev", "test"} <= {path.name.partition(".")[0] for path in raw_dir.glob("*")}

    def held_out_key(self, item: Any) -> Any:
        """Returns what decides whether an item is held out (`held_out`): by default its inputs.

        Items with the same key are on the same side. Of a path, the content of the file counts.
        """
        return item["inputs"] if isinstance(item, dict) and "inputs" in item else item

    def declaration(self) -> dict[str, Any]:
        """Returns the properties on which the records depend, as JSON values; the manifest stores them."""
        declaration = {
            "inputs": features.inputs_to_dict(self.inputs),
            "targets": features.to_dict(self.targets),
            "command": self.command,
            "version": self.version,
        }
        return declaration | ({"held_out": self.held_out} if self.held_out else {})

    def adopt(self, declaration: dict[str, Any]) -> None:
        """Restores the features and the command from a declaration that datagen stored."""
        self.inputs = features.inputs_from_dict(declaration["inputs"])
        self.targets = features.from_dict(declaration["targets"])
        self.command = declaration["command"]
        self.held_out = declaration.get("held_out", 0.0)

    @property
    def keyed_features(self) -> dict[str, features.Feature]:
        """The features by the keys of records and batches: {"inputs": ..., "targets": ...}; see `input_features`."""
        return features.input_features(self.inputs) | {"targets": self.targets}

    def print_once(self, line: str) -> None:
        """Prints a line on standard error, unless it was printed before: `examples` runs several times."""
        if line not in self._printed:
            self._printed.add(line)
            print_status(line)


def get_problem(name: str) -> Problem:
    """Returns the problem of that name, which may be `NAME.SOURCE` for a problem on the user's own files.

    Raises:
      UserError: the problem is unknown, or takes no source.
    """
    registered, dot, source = name.partition(".")
    problem_class = registry.problems.get(registered)
    if not (isinstance(problem_class, type) and issubclass(problem_class, Problem)):
        raise UserError(f"--problem: '{registered}' is registered as a problem, but is no subclass of Problem")
    takes_source = problem_class.needs_source and not problem_class.source
    if dot and not (takes_source and source.replace("-", "_").isidentifier()):
        raise UserError(
            f"--problem: '{name}': '.SOURCE' is for problems on your own files: the name of a folder, of letters, "
            "digits, - and _, not beginning with a digit"
        )
    return problem_class(name)


def get_problems(names: Sequence[str], inside: tuple[str, ...] = ()) -> dict[str, Problem]:
    """Returns {name: problem} for names of problems and mixtures, mixtures expanded, in the order named.

    Args:
      names: problems and mixtures.
      inside: the mixtures that are being expanded, the outermost first.

    Raises:
      UserError: a name is neither a problem nor a mixture, or a mixture contains itself.
    """
    problems: dict[str, Problem] = {}
    for name in names:
        if name in inside:
            raise UserError(f"mixture '{name}' contains itself: {' > '.join([*inside, name])}")
        if name in registry.mixtures:
            problems |= get_problems(list(registry.mixtures.get(name).rates), (*inside, name))
        elif name.partition(".")[0] in registry.problems:
            problems.setdefault(name, get_problem(name))
        else:
            raise registry.unknown("problem or mixture", name, registry.problems, registry.mixtures)
    return problems
