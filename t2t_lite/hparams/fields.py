"""Reads the fields of a hparams dataclass from text or JSON, each checked by name and type."""

import dataclasses
import math
from typing import Any

from t2t_lite.errors import UserError, did_you_mean


def parse_fields(config: type, text: str, where: str) -> dict[str, Any]:
    """Returns the fields of `"hidden_size=64,dropout=0.1"`, converted to their types.

    Args:
      config: a dataclass whose fields are of type int, float, bool or str and have defaults.
      text: the fields; the last one wins where a name comes twice. A part such as `b:2`, which names no field, belongs
        to the value before it: `"loss_weights=a:1,b:2,seed=3"`.
      where: the flag or file that messages name.

    Raises:
      UserError: a name is unknown (the nearest is suggested), a value is wrong, or a part is not `name=value`.
    """
    found: dict[str, Any] = {}
    name = ""
    for part in filter(None, (p.strip() for p in text.split(","))):
        if "=" not in part and ":" in part and name:
            found[name] += f",{part}"
            continue
        name, equals, value = (p.strip() for p in part.partition("="))
        if not equals:
            raise UserError(f"{where}: '{part}' is not of the form name=value")
        found[name] = value
    return convert_fields(config, found, where)


def convert_fields(config: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values as the types of the fields that they name; text is parsed, an int will do for a float.

    Raises:
      UserError: as `parse_fields`.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name in values:
        if name not in defaults:
            raise UserError(f"{where}: no hparam '{name}'{did_you_mean(name, defaults)}")
    return {name: _convert(name, value, type(defaults[name]), where) for name, value in values.items()}


def parse_weights(text: str, where: str) -> dict[str, float]:
    """Returns {name: weight} of `"name:2,other:0.5"`.

    Raises:
      UserError: a part is not of that form, a weight is not a number of at least 0, or a name comes twice.
    """
    found: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = (p.strip() for p in part.rpartition(":"))
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if not name or not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"{where}: '{part}' is not of the form name:weight, the weight a number of at least 0")
        if name in found:
            raise UserError(f"{where}: '{name}' comes twice")
        found[name] = weight
    return found


def _convert(name: str, value: Any, wanted: type, where: str) -> Any:
    if wanted is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    try:
        if wanted in (int, float) and not isinstance(value, bool):
            converted = wanted(value)
            if math.isfinite(converted) and (isinstance(value, str) or converted == value):
                return converted
        if wanted is str and isinstance(value, str):
            return value
    except (TypeError, ValueError, OverflowError):
        pass
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[wanted]
    raise UserError(f"{where}: {name}={value}: expected {expected}")
