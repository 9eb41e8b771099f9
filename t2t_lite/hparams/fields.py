"""Parses the fields of an hparams dataclass from text or JSON, and checks their names and types."""

import dataclasses
import math
from typing import Any

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.tensor2tensor_names import hint

_MAX_WEIGHT = 1e9


def parse_fields(config: type, text: str, where: str) -> dict[str, Any]:
    """Returns {field: value} of `"hidden_size=64,dropout=0.1"`, converted to the fields' types.

    Args:
      config: a dataclass whose fields are of type int, float, bool or str and have defaults.
      text: the fields; if a name comes twice, the last one counts. A part without `=` continues the text before it:
        `"loss_weights=a:1,b:2,freeze=encoder,image,seed=3"`.
      where: the flag or file that messages name.

    Raises:
      UserError: a name is unknown (the nearest is suggested), a value is wrong, or a part is not `name=value`.
    """
    numbers = {field.name for field in dataclasses.fields(config) if not isinstance(field.default, str)}
    values: dict[str, Any] = {}
    name = ""
    for part in filter(None, (p.strip() for p in text.split(","))):
        if "=" not in part and name and name not in numbers:
            values[name] += f",{part}"
            continue
        name, equals, value = (p.strip() for p in part.partition("="))
        if not equals:
            raise UserError(f"{where}: '{part}' is not of the form name=value")
        values[name] = value
    return convert_fields(config, values, where)


def convert_fields(config: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns the values converted to the types of their fields: parses text, takes an int for a float.

    Raises:
      UserError: as `parse_fields`.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for name in values:
        if name not in defaults:
            kind = "decode hparam" if where == "--decode_hparams" else "hparam"
            raise UserError(f"{where}: no hparam '{name}'{hint(kind, name) or did_you_mean(name, defaults)}")
    return {name: _convert(name, value, type(defaults[name]), where) for name, value in values.items()}


def parse_weights(text: str, where: str) -> dict[str, float]:
    """Returns {name: weight} of `"name:2,other:0.5"`.

    Raises:
      UserError: a part is not of that form, a weight is not a number from 0 to 1e9, or a name comes twice.
    """
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = (p.strip() for p in part.rpartition(":"))
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        # Above the bound sums of weights, and losses times them, could overflow.
        if not name or not 0 <= weight <= _MAX_WEIGHT:
            raise UserError(
                f"{where}: '{part}' is not of the form name:weight, the weight a number from 0 to {_MAX_WEIGHT:.0e}"
            )
        if name in weights:
            raise UserError(f"{where}: '{name}' comes twice")
        weights[name] = weight
    return weights


def _convert(name: str, value: Any, expected_type: type, where: str) -> Any:
    if expected_type is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    try:
        if expected_type in (int, float) and not isinstance(value, bool):
            converted = expected_type(value)
            if math.isfinite(converted) and (isinstance(value, str) or converted == value):
                return converted
        if expected_type is str and isinstance(value, str):
            return value
    except (TypeError, ValueError, OverflowError):
        pass
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[expected_type]
    raise UserError(f"{where}: {name}={value}: expected {expected}")
