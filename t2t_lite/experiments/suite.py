"""A suite: the problems of the experiments, their share of the joint training, and their roles in the tables."""

import math
from dataclasses import dataclass

from t2t_lite import registry
from t2t_lite.errors import UserError

TABLES = ("joint_vs_alone", "small_problem", "ablation", "models", "transfer")


@dataclass(frozen=True)
class Task:
    """One problem of a suite."""

    label: str  # as tables name it
    kind: str  # its place in the paper's tables: "image", "ende", "enfr", "speech" or "parsing"; another: none
    rate: float = 1.0  # its share of the steps of joint training
    seconds: float = 0.25  # of a step of multimodel_tiny on two idle cores, for the estimate before the first run


@dataclass(frozen=True)
class Suite:
    """The problems of the experiments, each with its role.

    suite = Suite({...}, small="mine", foreign="pictures", ablated=("pictures",), __doc__="...")
    registry.suites.register(suite, name="my_suite")
    """

    tasks: dict[str, Task]  # {problem: task}, all trained in the joint run
    small: str  # the problem of table small_problem: one of the tasks, or one that takes the place of `replaces`
    foreign: str  # the problem of another kind that it is trained with
    ablated: tuple[str, ...]  # the problems of table ablation
    __doc__: str
    small_task: Task | None = None  # of `small`, if it is not one of the tasks
    replaces: str = ""  # the task whose place `small` takes when it is trained with all
    train_steps: int = 1200  # of the joint run
    hparams_set: str = "multimodel_tiny"  # if --hparams_set names none
    raw_files: bool = False  # whether the problems read raw files (--tmp_dir)
    raw_advice: str = ""  # how to make the raw files

    def __post_init__(self) -> None:
        for name, task in self.tasks.items():
            if not 0 < task.rate < math.inf:
                raise ValueError(f"suite: the rate of '{name}' is {task.rate}; it must be a number above 0")
        roles = {"foreign": self.foreign, **{f"ablated[{i}]": name for i, name in enumerate(self.ablated)}}
        if self.small not in self.tasks:
            roles["replaces"] = self.replaces
            if self.small_task is None:
                raise ValueError(f"suite: small='{self.small}' is not one of the tasks and has no small_task")
        for role, name in roles.items():
            if name not in self.tasks:
                raise ValueError(f"suite: {role}='{name}' is not one of its tasks, {', '.join(self.tasks)}")

    def task(self, problem: str) -> Task:
        """Returns the task of a problem, `small` included."""
        if problem == self.small and self.small_task is not None:
            return self.small_task
        return self.tasks[problem]

    @property
    def problems(self) -> tuple[str, ...]:
        """All problems: the tasks, and `small` if it is not one of them."""
        return tuple(dict.fromkeys([*self.tasks, self.small]))

    def with_all(self, problem: str) -> tuple[str, ...]:
        """Returns the problems of joint training with `problem` in it: `small` stands in the place of `replaces`."""
        if problem in self.tasks:
            return tuple(self.tasks)
        return tuple(problem if name == self.replaces else name for name in self.tasks)


def divide_steps(suite: Suite, train_steps: int) -> dict[str, int]:
    """Divides the steps of joint training by the rates of the tasks, to whole numbers that sum to `train_steps`.

    Returns:
      {problem: steps}; `small` gets those of the task that it replaces.

    Raises:
      UserError: a problem would get no step.
    """
    total = sum(task.rate for task in suite.tasks.values())
    shares = {name: train_steps * task.rate / total for name, task in suite.tasks.items()}
    steps = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(steps, key=lambda name: steps[name] - shares[name])
    for name in by_remainder[: train_steps - sum(steps.values())]:
        steps[name] += 1
    if not all(steps.values()):
        none = next(name for name, count in steps.items() if not count)
        raise UserError(f"--train_steps={train_steps}: leaves no step for problem '{none}'; give more")
    return steps | {suite.small: steps[suite.replaces if suite.small not in steps else suite.small]}


registry.suites.register(
    Suite(
        tasks={
            "microworld_speech": Task("Speech to text", "speech", 3, 0.30),
            "microworld_image": Task("Picture to class", "image", 3, 0.15),
            "microworld_caption": Task("Picture to caption", "caption", 2, 0.25),
            "microworld_parsing": Task("Sentence to tree", "parsing", 2, 0.28),
            "microworld_ende": Task("English to German", "ende", 1.5, 0.20),
            "microworld_ende_rev": Task("German to English", "deen", 1.5, 0.20),
            "microworld_enfr": Task("English to French", "enfr", 1.5, 0.20),
            "microworld_enfr_rev": Task("French to English", "fren", 1.5, 0.20),
        },
        small="microworld_parsing_small",
        small_task=Task("Sentence to tree, 500 sentences", "parsing", 2, 0.28),
        replaces="microworld_parsing",
        foreign="microworld_image",
        ablated=("microworld_image", "microworld_enfr"),
        __doc__="The paper's eight kinds of problem on generated data; nothing to download.",
    ),
    name="microworld",
)

registry.suites.register(
    Suite(
        tasks={
            "real_recordings": Task("Speech to text", "speech", 2, 0.40),
            "real_openmoji": Task("Picture to class", "image", 3, 0.20),
            "real_stamps": Task("Picture to caption", "caption", 1, 0.30),
            "real_linkgrammar": Task("Sentence to tree", "parsing", 2, 0.40),
            "real_ende": Task("English to German", "ende", 2, 0.30),
            "real_deen": Task("German to English", "deen", 2, 0.30),
            "real_enfr": Task("English to French", "enfr", 2, 0.30),
            "real_fren": Task("French to English", "fren", 2, 0.30),
        },
        small="real_stamps",
        foreign="real_recordings",
        ablated=("real_openmoji", "real_enfr"),
        raw_files=True,
        raw_advice="python examples/real_eight.py raw --output=RAW makes it",
        hparams_set="multimodel_real_eight",
        __doc__="Eight real problems on data out of packages; needs the files that examples/real_eight.py writes.",
    ),
    name="real_eight",
)
