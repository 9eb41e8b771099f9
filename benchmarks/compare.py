"""Which rows became slower since another revision: `make bench-compare BASE=revision`.

    python benchmarks/compare.py --base=revision [--only=training,decoding] [--rounds=2] [--tiny]

Runs this checkout's benchmarks in turns on the package of the base, in a temporary git worktree, and on the present
one. A row counts as slower if its best run is by more than the spread, the larger one of that between the runs of one
revision and that within a run. Exits with status 1 if a row became slower or does not run any more.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import Row, from_json, number
from run import HERE, IDLE, chosen, describe_run, run

DEFAULT = "training,decoding,experts"
LEAST = 0.02  # differences below are never told


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="a git revision")
    parser.add_argument("--only", default=DEFAULT, help="benchmarks, separated by commas")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each benchmark on each revision")
    parser.add_argument("--tiny", action="store_true")
    flags = parser.parse_args(arguments)
    names, size = chosen(parser, flags.only), "tiny" if flags.tiny else "full"
    if (load := describe_run(size)["load_before"]) > IDLE:
        print(f"warning: the load of this machine is {load:.2f}: figures are doubtful")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        added = git("worktree", "add", "--detach", str(base), flags.base)
        if added.returncode:
            parser.error(f"--base={flags.base}: {added.stderr.strip().splitlines()[-1]}")
        try:
            before, after = [], []
            for number_of_round in range(flags.rounds):
                for name in names:
                    for kind, package, runs in (("base", base, before), ("present", HERE.parent, after)):
                        print(f"\nround {number_of_round + 1} of {flags.rounds}, {kind}:", end="")
                        work = Path(tempfile.mkdtemp(dir=folder))
                        runs.append({row.question: row for row in measured_rows(name, size, work, package)})
        finally:
            git("worktree", "remove", "--force", str(base))
    lines, slower = compare(before, after)
    print("\n" + "\n".join(lines))
    return 1 if slower else 0


def measured_rows(name: str, size: str, folder: Path, package: Path) -> list[Row]:
    rows = [from_json(row) for row in run(name, size, folder, package)["rows"]]
    return [row for row in rows if isinstance(row, Row)]


def compare(before: Sequence[Mapping[str, Row]], after: Sequence[Mapping[str, Row]]) -> tuple[list[str], list[str]]:
    """Compares runs of two revisions, each {question: row}.

    Returns:
      A line for each question, and the questions that became slower or lost their answer.
    """
    lines, slower = [], []
    for question in dict.fromkeys(question for rows in (*before, *after) for question in rows):
        old, new = ([rows[question] for rows in runs if question in rows] for runs in (before, after))
        if not old or not new:
            lines.append(f"{'only now' if new else 'NOT ANY MORE':14} {question}")
            slower += [] if new else [question]
            continue
        old_best, new_best = min(old, key=cost), min(new, key=cost)
        change = cost(new_best) / cost(old_best) - 1
        spread = max(LEAST, spread_of(old), spread_of(new))
        verdict = "SLOWER" if change > spread else "faster" if change < -spread else "the same"
        slower += [question] if verdict == "SLOWER" else []
        values = " -> ".join(f"{number(row.measured)} {row.unit}" for row in (old_best, new_best))
        lines.append(f"{verdict:14} {question}: {values}, spread {spread:.0%}")
    return lines, slower


def cost(row: Row) -> float:
    """The measured value in a unit of which less is better; times in seconds."""
    if row.unit.endswith("/s"):
        return 1 / row.measured
    return row.measured / 1000 if row.unit == "ms" else row.measured


def spread_of(rows: Sequence[Row]) -> float:
    """The larger spread of that between the runs and that within one."""
    costs = [cost(row) for row in rows]
    return max((max(costs) - min(costs)) / min(costs), *(row.spread or 0.0 for row in rows))


def git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", "-C", str(HERE.parent), *arguments], capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
