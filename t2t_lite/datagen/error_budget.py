"""The error budget for broken examples (--max_bad) and the report that lists them."""

from pathlib import Path

from t2t_lite.data.manifest import write_atomically
from t2t_lite.errors import UserError
from t2t_lite.escapes import escape_controls

_MIN_EXAMPLES = 10_000  # before the end of a split, the budget is computed for at least this many examples


def check(split: str, broken: list[tuple[int, str]], items: int, max_bad: float, ended: bool, report: Path) -> None:
    """Raises UserError if more examples of a split are broken than the budget allows.

    Args:
      split: the split's name.
      broken: (number, reason) of the broken examples.
      items: the number of examples seen, broken ones included.
      max_bad: the fraction of examples that may be broken.
      ended: whether these are all examples of the split. If not, many broken ones at the beginning are tolerated.
      report: where to list the broken examples if there are several.
    """
    allowed = int(max_bad * max(items, 0 if ended else _MIN_EXAMPLES) + 1e-9)
    if len(broken) <= allowed:
        return
    more = ""
    if len(broken) > 1:
        write_report(report, {split: broken})
        more = f"; {report} names them"
    raise UserError(
        f"{broken[0][1]} ({len(broken):,} of {items:,} examples of split '{split}'{'' if ended else ' so far'} are "
        f"broken, --max_bad={100 * max_bad:g}% allows {allowed:,}{more})"
    )


def report_path(data_dir: Path, problem: str) -> Path:
    """The path of the report on a problem's broken examples."""
    return data_dir / f"{problem}.broken.tsv"


def write_report(path: Path, broken: dict[str, list[tuple[int, str]]]) -> None:
    """Writes one line `SPLIT<TAB>NUMBER<TAB>REASON` for each broken example; removes the file if there are none."""
    lines = [
        f"{split}\t{number}\t{escape_controls(' '.join(reason.split()))}\n"
        for split, examples in broken.items()
        for number, reason in examples
    ]
    if lines:
        write_atomically(path, "".join(lines).encode("utf8"))
    else:
        path.unlink(missing_ok=True)
