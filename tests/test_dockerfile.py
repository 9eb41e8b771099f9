"""The Dockerfile without an engine: its sources exist, its commands are those of the package, and pip can install."""

import re
import shlex
from pathlib import Path

import pytest
from absl.flags import FlagValues
from test_readme import COMMANDS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf8")
INSTRUCTIONS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]
KNOWN = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "EXPOSE", "CMD"}


def test_its_instructions_are_known_and_begin_with_from():
    assert {name for name, _ in INSTRUCTIONS} <= KNOWN
    assert INSTRUCTIONS[0][0] == "FROM"


def test_its_sources_exist_and_are_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf8").split()
    for source in [source for name, rest in INSTRUCTIONS if name == "COPY" for source in rest.split()[:-1]]:
        assert (ROOT / source).exists(), source
        assert source not in ignored


def test_all_that_setup_reads_is_copied():
    copied = {source for name, rest in INSTRUCTIONS if name == "COPY" for source in rest.split()[:-1]}
    read = set(re.findall(r'HERE / "([\w.]+)"', (ROOT / "setup.py").read_text(encoding="utf8")))
    assert read and read <= copied


@pytest.mark.parametrize("line", [*re.findall(r"t2t_lite (t2t-.*)", TEXT), " ".join(eval(INSTRUCTIONS[-1][1]))])
def test_its_commands_parse(line):
    command, *arguments = shlex.split(line)
    flags = FlagValues()
    COMMANDS[command].define(flags)
    assert "--help" in arguments or flags([command, *arguments]) == [command]


def test_the_gpu_line_replaces_an_argument_that_is_there():
    (name,) = re.findall(r"--build-arg (\w+)=", TEXT)
    (default,) = re.findall(rf'^ARG {name}="(.*)"$', TEXT, re.MULTILINE)
    assert f'"{default}"' in (ROOT / "setup.py").read_text(encoding="utf8")
    assert f'"${name}"' in TEXT
