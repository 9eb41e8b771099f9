"""Gin support: `--gin_file` and `--gin_param` bind hparams and the user's own gin configurables."""

import contextlib
import dataclasses
import functools
import importlib.util  # noqa: F401, gin uses it without importing it
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.hparams.fields import convert_fields, parse_fields
from t2t_lite.hparams.hparams import HParams
from t2t_lite.tensor2tensor_names import hint


def resolve(hparams: HParams, gin_files: Sequence[str], gin_params: Sequence[str], overrides: str) -> HParams:
    """Returns hparams with fields replaced by the gin files, then the gin bindings, then the overrides.

    Clears gin's state first, which an earlier run in the process may have set. Afterwards gin holds the bindings of
    these files and parameters, for the user's own configurables.

    Raises:
      UserError: a file is missing or wrong, a name is unknown (the nearest is suggested), a value is wrong.
    """
    gin = _gin()
    gin.clear_config()
    changes: dict[str, Any] = {}
    for file in gin_files:
        path = Path(os.path.expanduser(file))
        if not path.is_file():
            raise UserError(f"--gin_file: no file '{file}'")
        changes |= _parse(functools.partial(gin.parse_config_file, str(path)), f"--gin_file {file}")
    for binding in gin_params:
        changes |= _parse(functools.partial(gin.parse_config, binding), f"--gin_param '{binding}'")
    return hparams.replace(**changes | parse_fields(HParams, overrides, "--hparams"))


def operative_config(hparams: HParams) -> str:
    """Returns a gin file that sets these hparams and makes all other gin bindings of this run."""
    lines = [f"hparams.{name} = {value!r}" for name, value in dataclasses.asdict(hparams).items()]
    return "\n".join([_gin().config_str(), "# Every hparam of the run.", *lines]).lstrip() + "\n"


def bind_from_file(path: Path) -> None:
    """Makes the gin bindings in a run's file, if it exists, for the user's own configurables.

    Raises:
      UserError: the file is wrong.
    """
    if path.exists():
        gin = _gin()
        gin.clear_config()
        _parse(functools.partial(gin.parse_config_file, str(path), skip_unknown=True), str(path))


@contextlib.contextmanager
def preserve_bindings() -> Iterator[None]:
    """Restores gin's bindings after the block."""
    gin = _gin()
    before = gin.config_str()
    try:
        yield
    finally:
        gin.clear_config()
        gin.parse_config(before, skip_unknown=True)


@functools.cache
def _gin() -> Any:
    """Imports gin at the first use, and registers `hparams` with it."""
    import gin

    gin.register("hparams", module="t2t_lite")(HParams)
    return gin


def _parse(parse: Callable[[], Any], where: str) -> dict[str, Any]:
    """Calls `parse`, which reads a gin file or binding; returns all hparams bound so far."""
    gin = _gin()
    logging.disable(logging.ERROR)  # gin logs a missing include besides raising it
    try:
        parse()
        bound = gin.get_bindings("hparams")
    except Exception as e:  # a gin file may import and call anything, which may raise any error
        raise UserError(f"{where}: {_explain(e)}") from e
    finally:
        logging.disable(logging.NOTSET)
    for field in dataclasses.fields(HParams):
        if field.name not in bound and gin.get_bindings(f"{field.name}/gin.macro"):
            raise UserError(f"{where}: '{field.name}' is a macro here that sets nothing; write hparams.{field.name}")
    return convert_fields(HParams, bound, where)


def _explain(error: Exception) -> str:
    """Returns gin's error in one line; for an unknown hparam, suggests the nearest."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {(error.text or '').strip()}: {error.msg}"
    text = str(error).strip()
    line = re.search(r"line (\d+)\n", text)
    parameter = re.search(r"'hparams' doesn't have a parameter named '(\w+)'", text)
    macro = re.search(r"'macro' .* in scope '(\w+)'", text)
    if parameter:
        known = [f.name for f in dataclasses.fields(HParams)]
        reason = f"no hparam '{parameter[1]}'{hint('hparam', parameter[1]) or did_you_mean(parameter[1], known)}"
    elif text.startswith("No configurable matching"):
        reason = text.split("\n")[0] + " Hparams are set as hparams.NAME = VALUE."
    else:
        reason = f"macro %{macro[1]} is not defined" if macro else f"{type(error).__name__}: " + text.split("\n")[0]
    return f"line {line[1]}: {reason}" if line else reason
