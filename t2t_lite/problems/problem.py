"""A problem: where its examples come from, what they are made of, and how to score it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems import features


class Problem:
    """Something to learn, declared in about fifteen lines.

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

    A problem yields raw examples. Tokenizing, storing, batching and training are not its business.

    Attributes:
      inputs: the feature that goes in.
      targets: the feature that comes out.
      command: what the decoder is asked for, such as "to_english". Problems that ask for the same thing share it.
      languages: of inputs and targets, as codes such as "en", where both are known; an export tells them to its users.
      metrics: names of decoded metrics beside the teacher-forced ones that every problem has: "bleu", "chrf", "wer",
        "cer", "tree", "cider_d" (evaluation/metrics.py).
      splits: the splits that exist: "train", and "dev" for evaluations, are needed for training.
      random_flip: in training, left and right of a picture change places half of the time. Not where that changes the
        answer, as it does of digits, or of a caption that says "left".
      version: raise it when the examples change; it is written into the manifest.
      shards: files of the first split. More than the default where a file would otherwise exceed some hundred MB.
      source: the folder below --tmp_dir that it reads, where that is not --tmp_dir itself. A problem on the user's own
        files (`needs_source`) that names none may be asked for as NAME.SOURCE.
      name: the name it was asked for by, which names its files.
    """

    inputs: features.Feature
    targets: features.Feature
    command: str = ""
    languages: tuple[str, str] | None = None
    metrics: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train", "dev")
    random_flip: bool = False
    version: str = "1"
    shards: int = 10
    source: str = ""
    needs_source: bool = False

    def __init__(self, name: str):
        self.name = name
        self.source = self.source or name.partition(".")[2]

    def resolve(self, raw_dir: Path) -> None:
        """Fills in what only the raw files tell, such as languages. Datagen calls it first, in every process."""

    def examples(self, split: str, raw_dir: Path) -> Iterator[Any]:
        """Yields what `convert` turns into an example; by default the example itself: {"inputs": ..., "targets": ...}.

        In place of an example that is broken it may yield a UserError that names file and line: datagen leaves it out,
        and goes on as long as few are. The same files give the same examples, in the same order.

        Args:
          split: one of `splits`.
          raw_dir: the folder of raw files: --tmp_dir, or the folder `source` below it.
        """
        raise UserError(f"problem '{self.name}' does not define examples()")

    def count(self, split: str, raw_dir: Path) -> int | None:
        """About how many items `examples` yields, where that is known without going through them."""
        return None

    def convert(self, item: Any) -> dict[str, Any]:
        """Turns what `examples` yields into {"inputs": ..., "targets": ...}; slow work goes here, in parallel.

        A value that is slow to make may be a function without arguments: it is called only when the value is stored.
        """
        return item

    def declaration(self) -> dict[str, Any]:
        """What the records are made by, JSON-able; kept in the manifest. Metrics may change and the records stay."""
        return {
            "inputs": features.to_dict(self.inputs),
            "targets": features.to_dict(self.targets),
            "command": self.command,
            "version": self.version,
        }

    def adopt(self, declaration: dict[str, Any]) -> None:
        """Takes over a declaration that datagen kept."""
        self.inputs = features.from_dict(declaration["inputs"])
        self.targets = features.from_dict(declaration["targets"])
        self.command = declaration["command"]


def get_problem(name: str) -> Problem:
    """Returns the problem of that name, which may be `NAME.SOURCE` for a problem on the user's own files.

    Raises:
      UserError: no such problem, or one that takes no source.
    """
    registered, dot, source = name.partition(".")
    problem_class = registry.problems.get(registered)
    if not (isinstance(problem_class, type) and issubclass(problem_class, Problem)):
        raise UserError(f"--problem: '{registered}' is registered as a problem, but is no subclass of Problem")
    takes_source = problem_class.needs_source and not problem_class.source
    if dot and not (takes_source and source.replace("-", "_").isidentifier()):
        raise UserError(
            f"--problem: '{name}': '.SOURCE' must be a plain folder name and belongs to problems on your own files"
        )
    return problem_class(name)


def get_problems(names: Sequence[str], inside: tuple[str, ...] = ()) -> dict[str, Problem]:
    """Returns {name: problem} of a list of problems and mixtures, mixtures opened, each once, in the order named.

    Args:
      names: problems and mixtures.
      inside: the mixtures that are being opened, the outermost first.

    Raises:
      UserError: a name is neither a problem nor a mixture, or a mixture contains itself.
    """
    found: dict[str, Problem] = {}
    for name in names:
        if name in inside:
            raise UserError(f"mixture '{name}' contains itself: {' > '.join([*inside, name])}")
        if name in registry.mixtures:
            found |= get_problems(list(registry.mixtures.get(name).rates), (*inside, name))
        elif name.partition(".")[0] in registry.problems:
            found.setdefault(name, get_problem(name))
        else:
            raise registry.unknown("problem or mixture", name, registry.problems, registry.mixtures)
    return found
