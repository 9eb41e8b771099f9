"""What the README says is so: its example runs, its commands and flags exist."""

import re
import sys
from pathlib import Path

import pytest
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import avg_all, bleu, datagen, decoder, eval, experiments, exporter, inspect, server, trainer
from t2t_lite.problems.problem import get_problem

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf8")
COMMANDS = {
    "t2t-datagen": datagen,
    "t2t-inspect": inspect,
    "t2t-trainer": trainer,
    "t2t-eval": eval,
    "t2t-decoder": decoder,
    "t2t-exporter": exporter,
    "t2t-avg-all": avg_all,
    "t2t-bleu": bleu,
    "t2t-server": server,
    "t2t-experiments": experiments,
}


@pytest.fixture
def example(tmp_path):
    """The folder that holds the README's example; what it registers is forgotten afterwards."""
    (code,) = re.findall(r"<!-- example: reverse_words\.py -->\n```python\n(.*?)```", README, re.DOTALL)
    assert len(code.splitlines()) <= 15
    folder = tmp_path / "my_problems"
    folder.mkdir()
    (folder / "reverse_words.py").write_text(code)
    with registry.problems.temporary():
        yield folder
    sys.modules.pop("reverse_words", None)


def test_the_example_is_a_problem(example, tmp_path):
    registry.import_usr_dirs([str(example)])
    problem = get_problem("reverse_words")
    for split in problem.splits:
        examples = [problem.convert(item) for item in problem.examples(split, tmp_path)]
        assert examples == [problem.convert(item) for item in problem.examples(split, tmp_path)]
        for row in examples:
            assert row["targets"].split() == row["inputs"].split()[::-1]


def test_the_example_is_generated_trained_and_decoded(example, tmp_path):
    shared = [f"--t2t_usr_dir={example}", "--problem=reverse_words", f"--data_dir={tmp_path}/data"]
    run = f"--output_dir={tmp_path}/run"
    small = "hidden_size=16,filter_size=16,num_heads=2,encoder_blocks=1,decoder_blocks=1,num_experts=2,batch_tokens=128"
    assert datagen.main([*shared, "--num_workers=1"]) == 0
    flags = ["--hparams_set=multimodel_tiny", f"--hparams={small}", "--train_steps=3", "--eval_steps=1"]
    assert trainer.main([*shared, run, *flags]) == 0
    (tmp_path / "in.txt").write_text("red green blue black\nwhite red red green\n")
    files = [f"--decode_from_file={tmp_path}/in.txt", f"--decode_to_file={tmp_path}/out.txt"]
    assert decoder.main([*shared, run, *files]) == 0
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 2


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
    assert flags([command, *arguments]) == [command]
