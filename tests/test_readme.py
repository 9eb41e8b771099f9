"""What the README says is so: its example runs, its commands and flags exist."""

import re
from pathlib import Path

import pytest
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import datagen, decoder, eval, trainer
from t2t_lite.problems.problem import get_problem

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf8")
COMMANDS = {"t2t-datagen": datagen, "t2t-trainer": trainer, "t2t-eval": eval, "t2t-decoder": decoder}


def test_the_example_of_a_problem_is_one(tmp_path):
    (code,) = re.findall(r"<!-- example: reverse_words\.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "reverse_words.py").write_text(code)
    with registry.problems.temporary():
        registry.import_usr_dirs([str(tmp_path)])
        problem = get_problem("reverse_words")
        for split in problem.splits:
            examples = [problem.convert(item) for item in problem.examples(split, tmp_path)]
            assert examples == [problem.convert(item) for item in problem.examples(split, tmp_path)]
            for example in examples:
                assert example["targets"].split() == example["inputs"].split()[::-1]


def _commands():
    """Each command line of the README's blocks, joined where it is continued."""
    for block in re.findall(r"```\n(.*?)```", README, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("t2t-"):
                yield line


@pytest.mark.parametrize("line", list(_commands()))
def test_command_lines_parse(line):
    command, *arguments = line.partition("  #")[0].split()
    flags = FlagValues()
    COMMANDS[command].define(flags)
    arguments = [re.sub(r"(--train_steps=)<<\w+>>", r"\g<1>1", argument) for argument in arguments]
    assert flags([command, *arguments]) == [command]
