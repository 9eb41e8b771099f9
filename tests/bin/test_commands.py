"""Help, listings, errors and exit statuses of the commands. None of these may import TensorFlow."""

import os
import re
import subprocess
import sys
import types

import pytest

from t2t_lite.bin import trainer
from t2t_lite.hparams import HParams

COMMANDS = ["datagen", "inspect", "trainer", "eval", "decoder", "exporter"]

USER_MODULE = """
'''Things of the user's own.'''
from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.problems import Mixture, Problem, Text

@registry.problems.register
class UsrReverse(Problem):
    '''Words of the user, backwards.'''
    inputs = Text()
    targets = Text()

@registry.problems.register
class UsrCopy(UsrReverse):
    '''Words of the user, once more.'''

registry.mixtures.register(Mixture({"usr_reverse": 1, "usr_copy": 1}, "Both."), name="usr_both")

@registry.models.register
class UsrModel:
    '''A model.'''

@registry.hparams_sets.register
def usr_set():
    '''Small.'''
    return HParams(hidden_size=32)
"""

# Runs a command as its script would; exits with status 99 if it has imported a package that takes seconds.
RUN = """
import importlib, sys
status = importlib.import_module("t2t_lite.bin." + sys.argv.pop(1)).main()
slow = {"tensorflow", "tensorflow_text", "keras", "sentencepiece", "tensorflow_datasets"} & set(sys.modules)
print(slow, file=sys.stderr) if slow else None
sys.exit(99 if slow else status)
"""


def run(command, *arguments):
    return subprocess.run([sys.executable, "-c", RUN, command, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def usr(tmp_path):
    """Flags that name a folder of the user's own items, a data folder and a run folder, all existing."""
    for folder in ("usr", "data", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "usr" / "usr_things.py").write_text(USER_MODULE)
    return [f"--{flag}={tmp_path / folder}" for flag, folder in (("t2t_usr_dir", "usr"), ("data_dir", "data"))] + [
        f"--output_dir={tmp_path / 'run'}"
    ]


def fails(status, message, command, *arguments):
    done = run(command, *arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(r"t2t-[\w-]+: error: .*\n", done.stderr), done.stderr  # one line: no traceback
    assert message in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_describes_the_flags(command):
    done = run(command, "--help", "--even=when", "--the=rest", "is wrong")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"t2t-{command}: ")
    for flag in ("problem", "data_dir", "t2t_usr_dir"):
        assert f"  --{flag}=...\n        " in done.stdout


def test_help_of_the_command_that_needs_no_data():
    done = run("avg_all", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("t2t-avg-all: ")
    for flag in ("output_dir", "n", "averaged_dir", "t2t_usr_dir"):
        assert f"  --{flag}=...\n        " in done.stdout


def test_help_has_defaults_and_choices():
    text = run("trainer", "--help").stdout
    assert "Default: multi_model." in text
    assert "<auto|one_device|mirrored|multi_worker>" in text
    assert "--[no]dry_run" in text


def test_a_command_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "t2t_lite.bin.datagen", "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("t2t-datagen: error: unknown flag --nonsense")


def test_registry_help_lists_all_kinds(usr):
    done = run("trainer", "--registry_help", usr[0])
    assert (done.returncode, done.stderr) == (0, "")
    for kind in ("Problems:", "Mixtures:", "Modalities", "Models", "Hparams sets:", "Suites of experiments:"):
        assert kind in done.stdout
    assert re.search(r"usr_reverse +Words of the user, backwards\.", done.stdout)
    assert re.search(r"usr_both +Both\.", done.stdout)
    assert re.search(r"multimodel_base +The paper's MultiModel", done.stdout)


def test_list_of_datagen(usr):
    done = run("datagen", "--list", usr[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "usr_copy" in done.stdout and "usr_both" in done.stdout and "multimodel_base" not in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf8"])
def test_characters_that_standard_output_does_not_have_are_escaped(usr, tmp_path, encoding):
    module = USER_MODULE.replace("Words of the user", "Wörter \u20ac")
    (tmp_path / "usr" / "usr_things.py").write_text(module, encoding="utf8")
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    expected = "Wörter €, backwards.".encode(encoding, "backslashreplace")
    for command in (["trainer", "--registry_help"], ["datagen", "--list"]):
        done = subprocess.run([sys.executable, "-c", RUN, *command, usr[0]], capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert expected in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_not_utf8_or_moves_the_cursor_is_escaped(command):
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    flag = b"--t2t_usr_dir=/d\xc3\xa4\xff\x1b[2J"
    done = subprocess.run([sys.executable, "-c", RUN, command, flag], capture_output=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == f"t2t-{command}: error: --t2t_usr_dir: no folder '/d\\xe4\\udcff\\x1b[2J'\n".encode()


def test_a_reader_that_leaves_early_is_no_error():
    line = f"{sys.executable} -m t2t_lite.bin.trainer --registry_help | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("message", "command", "flag"),
    [
        ("unknown flag --problm; did you mean --problem", "trainer", "--problm=x"),
        ("unknown flag --decode_interactiv; did you mean --decode_interactive", "decoder", "--decode_interactiv"),
        ("unknown flag --data-dir; did you mean --data_dir", "eval", "--data-dir=x"),
        (" more (--help lists them)", "trainer", "--qqqq"),
        ("--train_steps=many: expected a whole number, at least 1", "trainer", "--train_steps=many"),
        ("--num_workers=0: expected a whole number, at least 1", "datagen", "--num_workers=0"),
        ("unknown --distribute 'one_devise'; did you mean 'one_device'?", "trainer", "--distribute=one_devise"),
        ("--dry_run=perhaps: expected true or false", "trainer", "--dry_run=perhaps"),
        ("unexpected argument 'stray'", "eval", "stray"),
        ("Missing value for flag --data_dir", "eval", "--data_dir"),
        ("--problem is required", "eval", "--split=dev"),
        ("--problem: an item between commas is empty", "datagen", "--problem=a,,b"),
    ],
)
def test_a_wrong_flag_is_status_2(message, command, flag):
    fails(2, message, command, flag)


def test_a_missing_flag_is_status_2(usr):
    fails(2, "--data_dir is required", "datagen", "--problem=usr_copy", usr[0])
    fails(2, "--hparams_set is required", "trainer", "--problem=usr_copy", *usr)
    fails(2, "--train_steps is required", "trainer", "--problem=usr_copy", "--hparams_set=usr_set", *usr)
    fails(2, "--output_dir is required", "eval", "--problem=usr_copy", *usr[:2])
    fails(2, "--output_dir is required", "avg_all", "--n=2")


def test_an_unknown_name_gets_a_suggestion_and_status_1(usr):
    train = ["trainer", *usr, "--problem=usr_both", "--hparams_set=usr_set", "--model=usr_model", "--train_steps=1"]
    fails(
        1, "unknown problem or mixture 'usr_copi'; did you mean 'usr_copy'", "datagen", *usr[:2], "--problem=usr_copi"
    )
    fails(1, "unknown problem or mixture 'usr_copi'; did you mean 'usr_copy'", "eval", *usr, "--problem=usr_copi")
    fails(1, "unknown problem or mixture 'usr_bot'; did you mean 'usr_both'", *train, "--problem=usr_copy,usr_bot")
    fails(1, "unknown hparams set 'usr_sett'; did you mean 'usr_set'", *train, "--hparams_set=usr_sett")
    fails(1, "unknown model 'usr_modl'; did you mean 'usr_model'", *train, "--model=usr_modl")
    fails(1, "no hparam 'hiden_size'; did you mean 'hidden_size'", *train, "--hparams=hiden_size=4")
    fails(1, "--gin_file: no file 'none.gin'", *train, "--gin_file=none.gin")
    fails(1, "no hparam 'sed'; did you mean 'seed'", *train, "--gin_param=hparams.sed = 4")
    decode = ["decoder", *usr, "--problem=usr_copy", "--show=1"]
    fails(
        1, "--decode_hparams: no hparam 'beam_sise'; did you mean 'beam_size'", *decode, "--decode_hparams=beam_sise=1"
    )


def test_registered_items_of_a_wrong_type_are_refused(usr, tmp_path):
    (tmp_path / "usr" / "usr_wrong.py").write_text(WRONG)
    train = ["trainer", *usr, "--train_steps=1", "--hparams_set=usr_set"]
    fails(1, "--hparams_set: 'wrong_name' fails: ", *train, "--problem=usr_copy", "--hparams_set=wrong_name")
    fails(1, "'no_return' must return HParams, not NoneType", *train, "--problem=usr_copy", "--hparams_set=no_return")
    fails(1, "--problem: 'no_problem' is registered as a problem, but is no subclass", *train, "--problem=no_problem")


WRONG = """
from t2t_lite import registry
from t2t_lite.hparams import HParams

@registry.hparams_sets.register
def wrong_name():
    return HParams(hidden_sizes=64)

@registry.hparams_sets.register
def no_return():
    HParams()

@registry.problems.register
class NoProblem:
    pass
"""


def test_missing_folders_and_files_are_named_before_the_work(usr, tmp_path):
    evaluate = ["eval", *usr, "--problem=usr_copy"]
    decode = ["decoder", *usr, "--problem=usr_copy"]
    fails(1, "none'; t2t-datagen makes it", *evaluate, f"--data_dir={tmp_path}/none")
    fails(1, "no folder '~nobody-of-that-name/x'", *evaluate, "--data_dir=~nobody-of-that-name/x")
    fails(1, "none'; t2t-trainer makes it", *evaluate, f"--output_dir={tmp_path}/none")
    fails(1, "--json_out: cannot write", *evaluate, f"--json_out={tmp_path}/none/x.json")
    fails(1, f"--json_out: cannot write '{tmp_path}': a folder", *evaluate, f"--json_out={tmp_path}")
    fails(1, "--decode_from_file: no file 'none.txt'", *decode, "--decode_from_file=none.txt", "--decode_to_file=x")
    fails(
        1, "--decode_from_file: '.' is a folder; expected a file", *decode, "--decode_from_file=", "--decode_to_file=x"
    )
    fails(1, "--t2t_usr_dir: no folder 'none'", *evaluate, "--t2t_usr_dir=none")


def test_the_decoder_wants_exactly_one_mode(usr):
    decode = ["decoder", *usr]
    fails(2, "give one of --decode_from_file", *decode, "--problem=usr_copy")
    fails(2, "give one of --decode_from_file", *decode, "--problem=usr_copy", "--decode_interactive", "--show=1")
    fails(2, "--brackets: not with --show", *decode, "--problem=usr_copy", "--brackets", "--show=1")
    fails(2, "--decode_to_file is required", *decode, "--problem=usr_copy", "--decode_from_file=x")
    to_both = ["--decode_from_file=-", "--decode_to_file=x"]
    fails(2, "--decode_to_file: only with a file of inputs; other answers", *decode, "--problem=usr_copy", *to_both)
    fails(2, "one problem at a time, not 2", *decode, "--problem=usr_both", "--decode_interactive")


def test_a_broken_module_of_the_users_shows_its_own_error(usr, tmp_path):
    (tmp_path / "usr" / "usr_broken.py").write_text("import no_such_thing\n")
    message = f"{tmp_path}/usr/usr_broken.py:1: ModuleNotFoundError: No module named 'no_such_thing'"
    fails(1, message, "trainer", "--registry_help", usr[0])


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Replaces the training loop, and records the calls: [(function, keyword arguments)]."""
    from t2t_lite import registry
    from t2t_lite.problems import Problem, Text
    from t2t_lite.training.train import Plan

    kept = []
    attributes = {"inputs": Text(), "targets": Text(), "__module__": __name__}
    for name, entry in (("train", "train"), ("dry_run", "dry_run")):
        module = types.SimpleNamespace(**{"Plan": Plan, entry: lambda _name=name, **k: kept.append((_name, k))})
        monkeypatch.setitem(sys.modules, f"t2t_lite.training.{name}", module)
    monkeypatch.setattr(registry.models, "check", lambda name: None)
    with registry.problems.temporary():
        registry.problems.register(type("TestWords", (Problem,), attributes))
        yield kept


def test_the_trainer_resolves_hparams_in_order_and_makes_one_call(calls, tmp_path):
    gin_file = tmp_path / "a.gin"
    gin_file.write_text("hparams.hidden_size = 64\nhparams.seed = 1\nhparams.dropout = 0.1\n")
    flags = ["--problem=test_words", "--hparams_set=multimodel_single", f"--data_dir={tmp_path}", "--train_steps", "5"]
    changes = [f"--gin_file={gin_file}", "--gin_param=hparams.seed=2", "--gin_param=hparams.dropout=0.2"]
    assert trainer.main([*flags, *changes, f"--output_dir={tmp_path}/run", "--hparams=dropout=0.3"]) == 0
    ((name, call),) = calls
    assert name == "train"
    assert call["hparams"] == HParams(num_experts=60, hidden_size=64, seed=2, dropout=0.3)
    assert call["names"] == ["test_words"] and list(call["problems"]) == ["test_words"]
    assert (call["plan"].train_steps, call["output_dir"]) == (5, tmp_path / "run")
    # A second call in the process knows nothing of the first.
    assert trainer.main([*flags, "--dry_run"]) == 0
    name, call = calls[1]
    assert (name, call["hparams"]) == ("dry_run", HParams(num_experts=60))


@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (KeyboardInterrupt(), 130, "t2t-trainer: error: interrupted\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "t2t-trainer: error: /x/y: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "t2t-trainer: error: No space left on device\n"),
    ],
)
def test_interruptions_and_file_errors_are_one_line(calls, monkeypatch, tmp_path, capsys, raised, status, text):
    def fail(**_):
        raise raised

    monkeypatch.setattr(sys.modules["t2t_lite.training.train"], "train", fail)
    flags = ["--problem=test_words", "--hparams_set=multimodel_base", f"--data_dir={tmp_path}", "--train_steps=5"]
    assert trainer.main([*flags, f"--output_dir={tmp_path}"]) == status
    assert capsys.readouterr().err == text
