"""Generating translation records against sentencepiece alone, on the same lines and cores; and the memory it takes.

python benchmarks/generation.py                       # speed
python benchmarks/generation.py --memory=10000000     # lines of the files it makes, for the memory of each process
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate

PAIRS, REPETITIONS = 200_000, 3
_LETTERS = "etaoinshrdlcumwfgypbvk"


def write_pairs(folder: Path, pairs: int, words: int) -> None:
    """train.aa and train.bb of so many lines with so many words each, rare and common ones, and a small dev split."""
    draw = random.Random(0)
    known = ["".join(draw.choices(_LETTERS, range(len(_LETTERS), 0, -1), k=draw.randint(1, 10))) for _ in range(50_000)]
    lines = [
        " ".join(known[min(int(draw.paretovariate(0.7)), 49_999)] for _ in range(draw.randint(1, 2 * words)))
        for _ in range(20_000)
    ]
    folder.mkdir(parents=True)
    for split, number in (("train", pairs), ("dev", 100)):
        for language in ("aa", "bb"):
            with (folder / f"{split}.{language}").open("w", encoding="utf8") as file:
                for _ in range(number):
                    file.write(f"{draw.choice(lines)} {draw.choice(known)}\n")


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """(on the clock, of all cores' work) that a call takes, its processes included."""

    def worked() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    start, before = time.perf_counter(), worked()
    call()
    return time.perf_counter() - start, worked() - before


def speed(folder: Path) -> None:
    write_pairs(folder / "raw", PAIRS, 12)
    lines = [line for path in sorted((folder / "raw").glob("train.*")) for line in path.read_text("utf8").splitlines()]
    model = Vocabulary.train(lines[: len(lines) // 10], 8192).model
    processor = Vocabulary(model)._processor
    cores = len(os.sched_getaffinity(0))
    runs = 0

    def generated() -> None:
        nonlocal runs
        runs += 1
        data = folder / f"data{runs}"
        data.mkdir()
        vocabulary_path(data, "subwords").write_bytes(model)
        generate(["translate_files"], data, folder / "raw", cores)

    rows = []
    for _ in range(REPETITIONS):
        reference, whole = seconds(lambda: processor.encode(lines, num_threads=cores)), seconds(generated)
        rows.append((reference[0] / whole[0], reference[1] / whole[1]))
        print(f"{cores} cores, {len(lines):,} lines: sentencepiece {reference[0]:.1f} s, generation {whole[0]:.1f} s")
    clock, work = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"of the speed of sentencepiece alone: {clock:.2f} by the clock, {work:.2f} by the work of all cores")


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
    most = peaks.pop(process.pid)
    print(f"at most {most / 1e6:,.0f} MB in the main process, {max(peaks.values()) / 1e6:,.0f} MB in a worker")


def _peak(pid: int) -> int:
    """The most memory that a process has had, in bytes; 0 when it has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return 1024 * max((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), default=0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", type=int, metavar="LINES")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder), given.memory) if given.memory else speed(Path(folder))


if __name__ == "__main__":
    main()
