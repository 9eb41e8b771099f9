"""The files of a checkpoint: their names, tensors, checksums and description.

ckpt-N.index, ckpt-N.data-*     the weights after N steps and their moving averages, in TensorFlow's format
ckpt-N.optimizer.index, .data-* the rest of the optimizer's state
ckpt-N.json                     the host's state, the best step so far, sizes and SHA-256 of the others, its own SHA-256

The JSON is written last and renamed into place: a checkpoint without it is incomplete and is ignored. Version 0.1.0
wrote the optimizer's state into the file of the weights, with TensorFlow's object graph; this is read too.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

OPTIMIZER = ".optimizer"  # follows ckpt-N in the names of the optimizer's files

Variables = dict[str, tf.Variable]  # {checkpoint key: variable}


class Damaged(Exception):
    """A checkpoint is incomplete or damaged; the text says which file."""


def steps_of_files(folder: Path, ending: str = r"[._].*") -> set[int]:
    """Returns the N of the files whose names are ckpt-N and an ending, by default those of incomplete ones too."""
    matches = (re.fullmatch(rf"ckpt-(\d+)(?:{ending})", path.name) for path in folder.glob("ckpt-*"))
    return {int(match[1]) for match in matches if match}


def tracked_variables(name: str, root: Any, without: Mapping[str, tf.Variable] | None = None) -> Variables:
    """Returns the variables that an object tracks by their checkpoint keys.

    The keys are those of tf.train.Checkpoint: the shortest path of attributes to a variable. They are promises.

    Args:
      name: the root's name, with which the keys begin.
      root: a trackable object, such as a layer or a tf.Module.
      without: variables to leave out.
    """
    variables: Variables = {}
    # Holds the objects themselves, so that no other one gets the id of one that is gone.
    seen = {id(item): item for item in (root, *(without or {}).values())}
    waiting = deque([(name, root)])
    while waiting:
        path, item = waiting.popleft()
        for attribute, child in tf.train.TrackableView.children(item).items():
            child = child.value if isinstance(child, keras.Variable) else child
            if id(child) in seen:
                continue
            seen[id(child)] = child
            child_path = f"{path}/{attribute.replace('.', '..').replace('/', '.S')}"
            if isinstance(child, tf.Variable):
                variables[f"{child_path}/.ATTRIBUTES/VARIABLE_VALUE"] = child
            else:
                waiting.append((child_path, child))
    return variables


def write_tensors(prefix: Path, keys: list[str], tensors: list[tf.Tensor]) -> None:
    """Writes tensors in TensorFlow's format: PREFIX.index and PREFIX.data-00000-of-00001."""
    with tf.device("CPU:0"):
        tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=keys, shape_and_slices=[""] * len(keys), tensors=tensors)


def assign_tensors(variables: Variables, reader: Any) -> None:
    """Assigns to the variables their values in a checkpoint file.

    Raises:
      ValueError: the file lacks one, or has one of another shape; no variable is changed.
    """
    shapes = reader.get_variable_to_shape_map()
    for key, variable in variables.items():
        if key not in shapes:
            raise ValueError(f"it has no {key}")
        if shapes[key] != variable.shape:
            raise ValueError(f"{key} has the shape {shapes[key]}, not {variable.shape.as_list()}")
    for key, variable in variables.items():
        variable.assign(reader.get_tensor(key))


def fingerprint(path: Path, before_block: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Returns the size and SHA-256 of a file; calls `before_block` before each MiB, which may raise to stop."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            before_block()
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def format_description(description: Mapping[str, Any]) -> str:
    """Returns the text of ckpt-N.json: the description with its own checksum at the top."""
    checksum = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return json.dumps({"sha256": checksum, **description}, indent=1) + "\n"


def read_description(folder: Path, step: int) -> dict[str, Any]:
    """Reads ckpt-N.json.

    Raises:
      Damaged: it is missing, or differs in any byte from what was written.
    """
    name = f"ckpt-{step}.json"
    try:
        text = (folder / name).read_text(encoding="utf8")
        description = json.loads(text)
        del description["sha256"]
        if format_description(description) == text:
            return dict(description)
    except FileNotFoundError:
        raise Damaged(f"ckpt-{step} was not finished, or {name} is missing") from None
    except (ValueError, TypeError, KeyError):
        pass
    raise Damaged(f"ckpt-{step} is damaged ({name})")


def verified_description(folder: Path, step: int, weights_only: bool) -> dict[str, Any]:
    """Returns the description of a checkpoint after comparing its files, or those of the weights, with their checksums.

    Raises:
      Damaged: a file is missing or differs.
    """
    description = read_description(folder, step)
    for name, written in description["files"].items():
        if weights_only and name.startswith(f"ckpt-{step}{OPTIMIZER}."):
            continue
        try:
            intact = fingerprint(folder / name) == written
        except FileNotFoundError:
            raise Damaged(f"ckpt-{step} is damaged ({name} is missing)") from None
        if not intact:
            raise Damaged(f"ckpt-{step} is damaged ({name})")
    return description
