"""Runs the benchmarks, each in a process of its own, and writes results.json and RESULTS.md.

    python benchmarks/run.py [--only=experts,decoding] [--tiny] [--out=benchmarks]
    python benchmarks/run.py --table     # writes RESULTS.md again, from results.json and NOTES.md

results.json keeps the rows of the benchmarks that --only leaves out if they were measured on the same code and machine;
others are dropped. Exits with status 1 if a benchmark failed.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from measure import FOLDER_VARIABLE, LeftOut, Row, from_json, number

HERE = Path(__file__).parent
# In the order of the table. first_step makes the data and the run that serving takes. base is left out: it takes long.
BENCHMARKS = (
    *("training", "accumulation", "joint", "first_step", "tracing", "replicas", "optimizers"),
    *("decoding", "serving", "experts", "dilated_convolution", "generation", "reading"),
)
IDLE = 0.5  # load average, or cores that other processes keep busy, above which figures are doubtful
MINUTES = 15  # that all benchmarks may take
_TIMEOUT = 900  # seconds of one benchmark


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, one repetition: only checks that they run")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of results.json and RESULTS.md")
    parser.add_argument("--table", action="store_true", help="only write RESULTS.md again")
    flags = parser.parse_args(arguments)
    names = chosen(parser, flags.only)
    path = flags.out / "results.json"
    if flags.table:
        if not path.exists():
            parser.error(f"{path} does not exist; `make bench` writes it")
        results = json.loads(path.read_text(encoding="utf8"))
    else:
        flags.out.mkdir(parents=True, exist_ok=True)
        results = describe_run("tiny" if flags.tiny else "full")
        if flags.only and path.exists():
            keep_valid(results, json.loads(path.read_text(encoding="utf8")))
        if results["load_before"] > IDLE:
            print(f"warning: the load of this machine is {results['load_before']:.2f}: figures are doubtful")
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                results["benchmarks"].pop(name, None)
                results["benchmarks"][name] = run(name, results["size"], Path(folder))
                path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
    (flags.out / "RESULTS.md").write_text(table(results), encoding="utf8")
    failed = [name for name, done in results["benchmarks"].items() if done["error"]]
    total = sum(done["seconds"] for done in results["benchmarks"].values())
    print(
        f"\n{flags.out / 'RESULTS.md'}; {total / 60:.1f} minutes" + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    if total > 60 * MINUTES:
        print(f"warning: more than {MINUTES} minutes")
    return 1 if failed else 0


def chosen(parser: argparse.ArgumentParser, only: str) -> Sequence[str]:
    names = only.split(",") if only else BENCHMARKS
    for name in names:
        if not (HERE / f"{name}.py").is_file():
            parser.error(f"--only: there is no benchmark '{name}'; choose from {', '.join(BENCHMARKS)}")
    return names


def run(name: str, size: str, folder: Path, package: Path = HERE.parent) -> dict[str, Any]:
    """Runs a benchmark on the package in a folder; returns its rows and how it went."""
    print(f"\n{name}", flush=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        FOLDER_VARIABLE: str(folder),
    }
    rows_file = folder / f"{name}.json"
    rows_file.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / f"{name}.py"), f"--json={rows_file}", *(["--tiny"] if size == "tiny" else [])]
    start, busy, own = time.perf_counter(), busy_seconds(), child_seconds()
    try:
        status = subprocess.run(command, env=environment, timeout=_TIMEOUT).returncode
        error = f"exit status {status}" if status else None
    except subprocess.TimeoutExpired:
        error = f"took more than {_TIMEOUT} seconds"
    elapsed, own = time.perf_counter() - start, child_seconds() - own
    others = max(0.0, busy_seconds() - busy - own) / elapsed
    if others > IDLE:
        print(f"warning: other processes kept {others:.1f} cores busy")
    rows = [] if error else json.loads(rows_file.read_text(encoding="utf8"))
    return {"seconds": elapsed, "cpu_seconds": own, "other_cores": others, "error": error, "rows": rows}


def describe_run(size: str) -> dict[str, Any]:
    """The machine, the versions, the date and the code of this run."""
    packages = ("tensorflow", "keras", "numpy", "ctranslate2")
    return {
        "size": size,
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory_gb(), 1)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
        "revision": git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--", "t2t_lite", "benchmarks/*.py")),
        "code": code_checksum(HERE.parent),
        "load_before": os.getloadavg()[0],
        "benchmarks": {},
    }


def keep_valid(results: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Adds the rows of an earlier run if the code, the sizes, the machine and the versions are the same."""
    same = all(results[key] == earlier[key] for key in ("code", "size", "machine", "versions"))
    if same:
        results["benchmarks"] = earlier["benchmarks"]
        results["load_before"] = max(results["load_before"], earlier["load_before"])


def code_checksum(root: Path) -> str:
    """A checksum of the package's and the benchmarks' Python files."""
    digest = hashlib.sha256()
    for path in sorted([*(root / "t2t_lite").rglob("*.py"), *(root / "benchmarks").glob("*.py")]):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def table(results: dict[str, Any]) -> str:
    """RESULTS.md."""
    machine, versions = results["machine"], results["versions"]
    revision = f"{results['revision'] or 'unknown'}{' with uncommitted changes' if results['dirty'] else ''}"
    known = ", ".join(f"{name} {v}" for name, v in versions.items() if v)
    done = results["benchmarks"].values()
    lines = [
        "# Results",
        "",
        "Written by `make bench`; do not edit. README.md says what is measured and how to read it.",
        "",
        f"{results['date']}, revision {revision} (code {results['code']}). {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB. {known}. {sum(one['seconds'] for one in done) / 60:.1f} minutes.",
        f"Load of the machine before: {results['load_before']:.2f}; cores that other processes kept busy meanwhile: "
        f"{max((one['other_cores'] for one in done), default=0.0):.2f} at most.",
    ]
    if results["size"] != "full":
        lines += ["", "**Tiny sizes: these figures mean nothing.**"]
    elif results["load_before"] > IDLE or any(one["other_cores"] > IDLE for one in done):
        lines += ["", "**The machine was not idle: these figures are doubtful.**"]
    lines += ["", "| measured | | reference | ratio | to reach | spread |", "|---|---|---|---|---|---|"]
    left_out = []
    for name, one in results["benchmarks"].items():
        found = [from_json(row) for row in one["rows"]]
        lines += [_line(row) for row in found if isinstance(row, Row)]
        left_out += [f"- {row.question}: {row.reason}." for row in found if isinstance(row, LeftOut)]
        if one["error"]:
            left_out.append(f"- `{name}.py`: {one['error']}.")
    if left_out:
        lines += ["", "Not measured:", "", *left_out]
    notes = HERE / "NOTES.md"
    return "\n".join(lines) + "\n" + (f"\n{notes.read_text(encoding='utf8')}" if notes.exists() else "")


def _line(row: Row) -> str:
    spread = "" if row.spread is None else f"{row.spread:.0%}"
    measured, ratio = f"{number(row.measured)} {row.unit}", number(row.ratio)
    if row.reached:
        measured, ratio = (f"**{measured}**", ratio) if row.target_unit else (measured, f"**{ratio}**")
    return f"| {row.question} | {measured} | {row.reference} | {ratio} | {row.target_text} | {spread} |"


def child_seconds() -> float:
    """CPU seconds of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started, with those that a host took away; 0 if unknown."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0.0
    idle = fields[3] + fields[4]  # and waiting for input and output
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git(*arguments: str) -> str:
    """What git prints; "" outside a repository."""
    done = subprocess.run(["git", "-C", str(HERE.parent), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
