"""Parses requests and renders responses in TensorFlow Serving's REST format, by rows or by columns.

The format: https://www.tensorflow.org/tfx/serving/api_rest. All inputs of an export are string tensors (B,)."""

import base64
import binascii
import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2t_lite.errors import did_you_mean
from t2t_lite.serving.limits import RequestError
from t2t_lite.serving.model import ATTENTION

Row = dict[str, bytes]  # one input: its value for each argument of the signature
Answer = dict[str, np.ndarray]  # what the signature returns for one input, without the batch dimension

_KEYS = ("signature_name", "instances", "inputs")


@dataclass(frozen=True)
class PredictRequest:
    """A parsed request.

    Attributes:
      signature: the signature's name.
      rows: the inputs.
      by_columns: whether they came as `inputs` (columns) rather than as `instances` (rows).
    """

    signature: str
    rows: list[Row]
    by_columns: bool


def parse(body: bytes, signatures: Mapping[str, Sequence[str]]) -> PredictRequest:
    """Parses the body of a `:predict` request.

    Args:
      body: JSON.
      signatures: {name: its arguments}.

    Raises:
      RequestError: 400, the body is malformed; the text says where.
    """
    try:
        request = json.loads(body)
    except RecursionError as e:
        raise RequestError(400, "the body cannot be parsed: its JSON is nested too deeply") from e
    except ValueError as e:  # also UnicodeDecodeError
        raise RequestError(400, f"the body is not JSON: {e}") from e
    if not isinstance(request, dict):
        raise RequestError(400, 'the body must be a JSON object such as {"instances": ["a sentence"]}')
    for key in request:
        if key not in _KEYS:
            raise RequestError(400, f"unknown key {_short(key)}{did_you_mean(key[:100], _KEYS)}")
    if ("instances" in request) == ("inputs" in request):
        raise RequestError(400, "give either 'instances' (rows) or 'inputs' (columns)")
    name = _signature(request.get("signature_name"), signatures)
    if "instances" in request:
        return PredictRequest(name, _rows(request["instances"], signatures[name]), by_columns=False)
    return PredictRequest(name, _columns(request["inputs"], signatures[name]), by_columns=True)


def render(request: PredictRequest, answers: Sequence[Answer]) -> bytes:
    """Renders the answers, one for each row, as the body of a response. Non-finite numbers become null."""
    # Each row is dumped on its own: json.dumps holds the interpreter lock until it returns.
    if request.by_columns:
        stacks = {name: _stack([answer[name] for answer in answers]) for name in answers[0]}
        columns = {name: _array(stack[i, ...] for i in range(len(stack))) for name, stack in stacks.items()}
        named = _unnamed(columns)
        outputs = named if isinstance(named, str) else f"{{{','.join(f'{_json(k)}:{v}' for k, v in named.items())}}}"
        return f'{{"outputs":{outputs}}}'.encode()
    rows = [_json(_unnamed({name: _plain(value) for name, value in answer.items()})) for answer in answers]
    return f'{{"predictions":[{",".join(rows)}]}}'.encode()


def _signature(name: Any, signatures: Mapping[str, Sequence[str]]) -> str:
    if name is None:
        if len(problems := [name for name in signatures if not name.endswith(ATTENTION)]) == 1:
            return problems[0]
        raise RequestError(400, "'signature_name' is required; the model's /metadata lists the signatures")
    if isinstance(name, str) and name in signatures:
        return name
    near = difflib.get_close_matches(name[:100], signatures, n=1) if isinstance(name, str) else []
    hint = f"did you mean '{near[0]}'?" if near else "the model's /metadata lists the signatures"
    raise RequestError(400, f"unknown signature_name {_short(name)}; {hint}")


def _rows(instances: Any, arguments: Sequence[str]) -> list[Row]:
    if not isinstance(instances, list) or not instances:
        raise RequestError(400, "'instances' must be a list of at least one input")
    return [_row(item, arguments, f"instances[{i}]") for i, item in enumerate(instances)]


def _row(item: Any, arguments: Sequence[str], where: str) -> Row:
    if not isinstance(item, dict) or set(item) == {"b64"}:
        if len(arguments) > 1:
            raise RequestError(400, f"{where} must be an object with the keys {_listed(arguments)}")
        return {arguments[0]: _bytes(item, where)}
    _check_names(item, arguments, where)
    return {name: _bytes(item[name], f"{where}.{name}") for name in arguments}


def _columns(inputs: Any, arguments: Sequence[str]) -> list[Row]:
    if not isinstance(inputs, dict):
        if len(arguments) > 1:
            raise RequestError(400, f"'inputs' must be an object with the keys {_listed(arguments)}")
        inputs = {arguments[0]: inputs}
    _check_names(inputs, arguments, "inputs")
    columns = {}
    for name in arguments:
        if not isinstance(inputs[name], list) or not inputs[name]:
            raise RequestError(400, f"inputs.{name} must be a list of at least one input")
        columns[name] = [_bytes(item, f"inputs.{name}[{i}]") for i, item in enumerate(inputs[name])]
    if len({len(column) for column in columns.values()}) > 1:
        raise RequestError(400, "'inputs': the lists must be of the same length")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _check_names(item: dict[str, Any], arguments: Sequence[str], where: str) -> None:
    for name in item:
        if name not in arguments:
            raise RequestError(400, f"{where}: unknown key {_short(name)}{did_you_mean(name[:100], arguments)}")
    for name in arguments:
        if name not in item:
            raise RequestError(400, f"{where}: '{name}' is missing")


def _bytes(value: Any, where: str) -> bytes:
    """Returns the bytes of a JSON value: a string, or {"b64": "..."}."""
    try:
        if isinstance(value, str):
            return value.encode("utf8")
        if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
            return base64.b64decode(value["b64"], validate=True)
    except UnicodeEncodeError as e:
        raise RequestError(400, f"{where}: a lone surrogate is not a character") from e
    except (binascii.Error, ValueError) as e:
        raise RequestError(400, f"{where}: not base64: {_why_not_base64(value['b64'])}") from e
    raise RequestError(400, f'{where} must be a string or {{"b64": "..."}}')


def _why_not_base64(text: str) -> str:
    """Returns the first mistake in a text that Python's decoder refuses, and its remedy."""
    if text.startswith("data:"):
        return "it starts with 'data:'; send only the part of a data URL that follows the comma"
    data = text.rstrip("=")
    wrong = re.search(r"[^A-Za-z0-9+/]", data)
    if wrong is None:
        padding = {0: "no '='", 2: "'=='", 3: "'='"}
        if len(data) % 4 in padding:
            return f"its {len(data):,} characters need {padding[len(data) % 4]} as padding"
        return f"its {len(data):,} characters before the padding are one too many or too few"
    remedy = "is not in its alphabet"
    if wrong[0] in "-_":
        remedy = "is URL-safe base64; use the standard alphabet, with '+' and '/'"
    elif wrong[0].isspace():
        remedy = "is not allowed; leave out spaces and line breaks"
    elif wrong[0] == "=":
        remedy = "is padding, which may only end the text"
    return f"{wrong[0]!r} at position {wrong.start() + 1:,} {remedy}"


def _stack(values: list[np.ndarray]) -> np.ndarray:
    """Stacks the rows into one array; shorter ones are padded with zeros or empty strings."""
    shape = np.max([value.shape for value in values], axis=0).astype(int)
    empty = b"" if values[0].dtype == object else 0
    stacked = np.full((len(values), *shape), empty, values[0].dtype)
    for i, value in enumerate(values):
        window: tuple[Any, ...] = (i, *map(slice, value.shape))
        stacked[window] = value
    return stacked


def _plain(value: np.ndarray) -> Any:
    """Returns JSON values: text for bytes, each float by its shortest decimal, None for a non-finite one."""
    if value.dtype == object:
        return np.vectorize(lambda item: item.decode("utf8", "replace"), otypes=[object])(value).tolist()
    if value.dtype.kind == "f":
        shortest = value.astype(str).astype(np.float64)
        plain = np.array(shortest, object)  # Python floats
        plain[~np.isfinite(shortest)] = None
        return plain.tolist()
    return value.tolist()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _array(values: Iterable[np.ndarray]) -> str:
    return f"[{','.join(_json(_plain(value)) for value in values)}]"


def _unnamed(results: dict[str, Any]) -> Any:
    """Drops the name of a single result, as TensorFlow Serving does."""
    return results if len(results) > 1 else next(iter(results.values()))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
