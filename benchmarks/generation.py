"""The speed of generating translation records over that of sentencepiece alone on the same lines; and peak memory.

python benchmarks/generation.py [--tiny]              # speed
python benchmarks/generation.py --memory=10000000     # peak memory with two files of so many lines
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import Result, Row, Timing, add_flags, readable, report, wider

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate

PAIRS, VOCAB_SIZE, REPETITIONS = 200_000, 8192, 2
TINY_PAIRS, TINY_VOCAB_SIZE = 500, 300
_LETTERS = "etaoinshrdlcumwfgypbvk"


def write_pairs(folder: Path, pairs: int, words: int) -> None:
    """Writes train.aa and train.bb, `pairs` lines of about `words` rare or common words, and a small dev split."""
    rng = random.Random(0)
    lexicon = ["".join(rng.choices(_LETTERS, range(len(_LETTERS), 0, -1), k=rng.randint(1, 10))) for _ in range(50_000)]
    lines = [
        " ".join(lexicon[min(int(rng.paretovariate(0.7)), 49_999)] for _ in range(rng.randint(1, 2 * words)))
        for _ in range(20_000)
    ]
    folder.mkdir(parents=True)
    for split, number in (("train", pairs), ("dev", 100)):
        for language in ("aa", "bb"):
            with (folder / f"{split}.{language}").open("w", encoding="utf8") as file:
                for _ in range(number):
                    file.write(f"{rng.choice(lines)} {rng.choice(lexicon)}\n")


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock seconds and CPU seconds of a call, including those of its child processes."""

    def cpu_seconds() -> float:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    start, cpu_start = time.perf_counter(), cpu_seconds()
    call()
    return time.perf_counter() - start, cpu_seconds() - cpu_start


def rows(size: str) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        yield from speed(Path(folder), size)


def speed(folder: Path, size: str) -> Iterator[Result]:
    """Generation and sentencepiece alone, as many threads as cores."""
    pairs, vocab_size = (PAIRS, VOCAB_SIZE) if size == "full" else (TINY_PAIRS, TINY_VOCAB_SIZE)
    write_pairs(folder / "raw", pairs, 12)
    lines = [line for path in sorted((folder / "raw").glob("train.*")) for line in path.read_text("utf8").splitlines()]
    model = Vocabulary.train(lines[: len(lines) // 10], vocab_size).model
    processor = Vocabulary(model)._processor
    cores = len(os.sched_getaffinity(0))
    runs = []
    for number in range(REPETITIONS if size == "full" else 1):
        data = folder / f"data{number}"
        data.mkdir()
        vocabulary_path(data, "subwords").write_bytes(model)
        runs.append(
            (
                *seconds(lambda: processor.encode(lines, num_threads=cores)),
                *seconds(lambda data=data: generate(["translate_files"], data, folder / "raw", cores)),
            )
        )
    wall, cpu, our_wall, our_cpu = (Timing.of(list(column)) for column in zip(*runs, strict=True))
    for clock, ours, theirs in (("wall-clock", our_wall, wall), ("CPU", our_cpu, cpu)):
        yield Row(
            f"generating {pairs:,} translation pairs with {cores} workers, {clock} time",
            *readable(ours.best),
            f"speed of sentencepiece alone on the same lines, {cores} threads: {theirs.best:.3g} s",
            theirs.best / ours.best,
            wider(ours.spread, theirs.spread),
            more_is_better=True,
        )


def memory(folder: Path, lines: int) -> None:
    write_pairs(folder / "raw", lines, 3)
    size = sum(path.stat().st_size for path in (folder / "raw").iterdir())
    print(f"two files of {lines:,} lines, {size / 1e6:,.0f} MB")
    command = [sys.executable, "-m", "t2t_lite.bin.datagen", "--problem=translate_files"]
    process = subprocess.Popen([*command, f"--tmp_dir={folder}/raw", f"--data_dir={folder}/data"])
    peaks: dict[int, int] = {}
    while process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for pid in (process.pid, *(map(int, children.read_text().split()) if children.exists() else ())):
            peaks[pid] = max(peaks.get(pid, 0), _peak(pid))
        time.sleep(0.5)
    assert process.returncode == 0
    main_peak = peaks.pop(process.pid)
    print(
        f"peak memory: {main_peak / 1e6:,.0f} MB in the main process, "
        f"{max(peaks.values(), default=0) / 1e6:,.0f} MB in a worker"
    )


def _peak(pid: int) -> int:
    """Peak resident memory of a process in bytes; 0 if it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return 1024 * max((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), default=0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", type=int, metavar="LINES", help="measure memory, with two files of LINES lines")
    add_flags(parser)
    flags = parser.parse_args(arguments)
    if not flags.memory:
        return report(rows("tiny" if flags.tiny else "full"), flags.json)
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder), flags.memory)


if __name__ == "__main__":
    main()
