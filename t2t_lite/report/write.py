"""Gathers the facts of runs and writes the page."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2t_lite.api.arguments import start_tensorflow
from t2t_lite.errors import UserError
from t2t_lite.output_file import OutputFile
from t2t_lite.report.facts import Example, RunFacts, check_folder, find_data, read_run

_RESULTS_FORMAT = 1
_CURVES = {"joint_vs_alone", "small_problem"}  # the tables of an experiment whose runs have their curves drawn


def write(
    folders: Sequence[Path],
    path: Path,
    results: Mapping[str, Any] | None,
    *,
    data_dir: Path | None,
    examples: int,
    seconds: float,
) -> None:
    """See `write_report`."""
    begin = time.monotonic()
    if not folders and results is None:
        raise UserError("--report: no run given")
    if data_dir is not None and not data_dir.is_dir():
        raise UserError(f"--data_dir: no folder '{data_dir}'; t2t-datagen makes it")
    if results is not None and results.get("format") != _RESULTS_FORMAT:
        raise UserError(f"results: expected those of a results.json with format {_RESULTS_FORMAT}")
    for folder in folders:
        check_folder(folder)
    file = OutputFile(path, "output_dir")
    if data_dir is None and results:
        data_dir = _existing(path.absolute().parent / results["data_dir"])
    start_tensorflow()
    from t2t_lite.report.content import Report
    from t2t_lite.report.model_facts import SAMPLE_EXAMPLES, look_into
    from t2t_lite.report.page import render
    from t2t_lite.report.samples import Sample, read_sample

    runs = [read_run(folder, title) for folder, title in zip(folders, _titles(folders), strict=True)]
    report = Report(runs, results=results)
    report.curves = _curves(runs, results or {}, path)
    samples: dict[str, Sample] = {}
    for name in report.problems:
        places = (find_data(run.folder, name, data_dir) for run in runs if name in run.kinds)
        place = next((each for each in places if each), None)
        if place is None:
            where = f"in {data_dir}" if data_dir else "in a folder `data` in or beside the run; give --data_dir"
            report.notes.append(f"{name}: no generated data {where}, so it has no examples")
            continue
        try:
            samples[name] = sample = read_sample(place, name, SAMPLE_EXAMPLES)
        except UserError as e:
            report.notes.append(f"{name}: {e}")
            continue
        report.splits[name] = sample.split
        report.examples[name] = [
            Example(tuple(value) if sample.several_inputs else (value,), reference)
            for value, reference in _spread(sample.pairs, examples)
        ]
    share = seconds / max(sum(len(run.kinds) for run in runs), 1)
    for number, run in enumerate(runs):
        if run.kinds:
            look_into(run, number, samples, report.examples, share)
    report.seconds = time.monotonic() - begin
    content = render(report).encode("utf8", "backslashreplace")
    file.write(content)


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _spread(pairs: Sequence[Any], most: int) -> list[Any]:
    """Returns at most so many items, evenly spread."""
    return [pairs[i * len(pairs) // most] for i in range(most)] if len(pairs) > most else list(pairs)


def _titles(folders: Sequence[Path]) -> list[str]:
    """Returns a short name for each folder: as many last parts of its path as make it different from the others."""
    absolute = [Path(os.path.abspath(folder)) for folder in folders]
    longest = max((len(folder.parts) for folder in absolute), default=1)
    for length in range(1, longest + 1):
        titles = ["/".join(folder.parts[-length:]) for folder in absolute]
        if len(set(titles)) == len(set(absolute)):
            return titles
    return [str(folder) for folder in absolute]


def _curves(runs: Sequence[RunFacts], results: Mapping[str, Any], path: Path) -> list[tuple[str, RunFacts]]:
    """Returns the runs whose learning curves are drawn, and their names; runs of one name share a colour.

    Those of an experiment are its joint runs, its runs of one problem alone and those of its small problem; the number
    of the seed is no part of their names. Without results, they are the given runs.
    """
    by_folder = {run.folder.absolute(): run for run in runs}
    stored = results.get("runs", [])
    chosen = [each for each in stored if _CURVES & set(each["tables"])] or stored
    curves = []
    for each in chosen:
        folder = path.absolute().parent / each["folder"]
        if (folder / "run.json").is_file():
            run = by_folder.get(folder) or read_run(folder, folder.name)
            name = re.sub(r"-seed\d+$", "", each["name"])
            curves.append(("alone" if name.startswith("alone-") else name, run))
    return curves or [(run.title, run) for run in runs]
