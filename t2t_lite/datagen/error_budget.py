"""Examples that cannot be stored: how many are borne, and the report that names them."""

from pathlib import Path

from t2t_lite.data.manifest import write_atomically
from t2t_lite.errors import UserError

_EARLY = 10_000  # before so many examples of a split are seen, a share of them is taken for a share of this many


def check(split: str, broken: list[tuple[int, str]], items: int, max_bad: float, ended: bool, report: Path) -> None:
    """Raises UserError where more of a split's examples are broken than may be.

    Args:
      split: its name.
      broken: (number, what is wrong) of the broken ones.
      items: how many were seen, broken ones included.
      max_bad: the share of all that may be broken.
      ended: whether that was the whole split. Before, an unlucky beginning is borne.
      report: the file that will name the broken ones, if there are several.
    """
    if len(broken) <= max_bad * max(items, 0 if ended else _EARLY) + 1e-9:
        return
    more = ""
    if len(broken) > 1:
        write_report(report, {split: broken})
        more = f": {report} names them"
    raise UserError(
        f"{broken[0][1]} ({len(broken):,} of {items:,} examples of split '{split}'{'' if ended else ' so far'} are "
        f"broken, --max_bad={100 * max_bad:g}% are left out{more})"
    )


def report_path(data_dir: Path, problem: str) -> Path:
    """Where the broken examples of a problem are named."""
    return data_dir / f"{problem}.broken.tsv"


def write_report(path: Path, broken: dict[str, list[tuple[int, str]]]) -> None:
    """Names broken examples, {split: them}, one a line: split, number, what is wrong; no file where there is none."""
    lines = [
        f"{split}\t{number}\t{' '.join(reason.split())}\n"
        for split, examples in broken.items()
        for number, reason in examples
    ]
    if lines:
        write_atomically(path, "".join(lines).encode("utf8"))
    else:
        path.unlink(missing_ok=True)
