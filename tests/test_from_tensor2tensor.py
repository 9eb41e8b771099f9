"""docs/from-tensor2tensor.md: its example runs, its command lines parse, and tensor2tensor's names get a hint."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl.flags import FlagValues
from test_readme import COMMANDS

from t2t_lite import registry
from t2t_lite.bin import datagen, trainer
from t2t_lite.data.manifest import Manifest
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UnknownNameError, UserError
from t2t_lite.hparams import HParams
from t2t_lite.hparams.fields import parse_fields
from t2t_lite.problems.problem import get_problems
from t2t_lite.tensor2tensor_names import CLASSES, DECODE_HPARAMS, DECORATORS, FLAGS, HPARAMS, ITEMS

PAGE = (Path(__file__).parents[1] / "docs" / "from-tensor2tensor.md").read_text(encoding="utf8")
PROBLEM_FLAGS = ["--problem=microworld_ende", "--data_dir=none"]


def test_the_ported_problem_generates_its_data(tmp_path):
    (code,) = re.findall(r"<!-- example: poetry_lines\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_problems").mkdir()
    (tmp_path / "my_problems" / "poetry_lines.py").write_text(code)
    (tmp_path / "poems.txt").write_text("".join(f"line {n} of a poem\n" * (n % 9 > 0) or "\n" for n in range(200)))
    flags = [f"--t2t_usr_dir={tmp_path}/my_problems", "--problem=poetry_lines", f"--tmp_dir={tmp_path}"]
    with registry.problems.temporary():
        assert datagen.main([*flags, f"--data_dir={tmp_path}/data", "--num_workers=1"]) == 0
    sys.modules.pop("poetry_lines", None)
    splits = Manifest.read(tmp_path / "data", "poetry_lines").splits
    assert splits["train"].examples > 100 and splits["dev"].examples > 3 and len(splits["train"].shards) == 9


@pytest.mark.parametrize("line", re.findall(r"^(t2t-\w+ (?:.*\\\n)*.*)$", PAGE, re.MULTILINE))
def test_command_lines_parse(line):
    command, *arguments = line.replace("\\\n", " ").split()
    flags = FlagValues()
    COMMANDS[command].define(flags)
    assert flags([command, *arguments]) == [command]


def test_old_names_are_not_names_here():
    fields = {field.name for field in dataclasses.fields(HParams)}
    assert not fields & HPARAMS.keys()
    assert not {field.name for field in dataclasses.fields(DecodeHParams)} & DECODE_HPARAMS.keys()
    for module in COMMANDS.values():
        flags = FlagValues()
        module.define(flags)
        assert not set(flags) & FLAGS.keys()
    kinds = (registry.problems, registry.models, registry.hparams_sets, registry.mixtures)
    assert not {name for kind in kinds for name in kind.describe()} & ITEMS.keys()
    assert len(FLAGS) + len(HPARAMS) + len(ITEMS) + len(DECORATORS) > 30


@pytest.mark.parametrize("name", ["schedule", "random_seed", "problems", "hp_dropout"])
def test_flags(name, capsys):
    assert trainer.main([*PROBLEM_FLAGS, f"--{name}=3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"unknown flag --{name}; " in error and f"tensor2tensor's --{name}" in error
    assert FLAGS.get(name, "--hparams=dropout=VALUE") in error


def test_hparams():
    with pytest.raises(UserError, match=r"no hparam 'batch_size'; instead of .*: batch_tokens; there it counted"):
        parse_fields(HParams, "batch_size=2048", "--hparams")
    with pytest.raises(UserError, match=r"no hparam 'extra_length'; instead of .*: max_length"):
        DecodeHParams.parse("beam_size=4,extra_length=50")
    with pytest.raises(UserError, match="return_beams is the number of answers"):
        DecodeHParams.parse("beam_size=4,return_beams=True")


def test_registered_items():
    with pytest.raises(UnknownNameError, match=r"unknown problem or mixture .*: translate_ende_wmt14"):
        get_problems(["translate_ende_wmt32k"])
    with pytest.raises(UnknownNameError, match=r"unknown hparams set 'transformer_small'; .*: transformer_base, with"):
        registry.hparams_sets.get("transformer_small")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from t2t_lite import registry\n@registry.register_problem\nclass A: pass\n",
            "my.py:2: AttributeError: .*: @registry.problems.register",
        ),
        (
            "from t2t_lite.problems import Text2TextProblem\n",
            r"my.py:1: ImportError: .*: Problem with inputs = Text\(\) and targets = Text\(\)",
        ),
        (
            "from tensor2tensor.utils import registry\n",
            "my.py:1: ModuleNotFoundError: .*; docs/from-tensor2tensor.md has what to import instead",
        ),
    ],
)
def test_imports(code, message, tmp_path):
    (tmp_path / "my.py").write_text(code)
    with pytest.raises(UserError, match=message):
        registry.import_usr_dirs([str(tmp_path)])


def test_other_names_stay_unknown():
    import t2t_lite.problems

    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        t2t_lite.problems.nothing  # noqa: B018
    assert not hasattr(registry, "nothing") and not hasattr(registry, "register_problem")
    assert "SubwordTextEncoder" in CLASSES
    code = "from t2t_lite.problems import nothing"
    assert (
        "cannot import name 'nothing'"
        in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    )
