"""Generating records: raw files to vocabularies, TFRecord shards and a manifest.

The package itself can be called: `t2t_lite.datagen("microworld", "data")`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from t2t_lite import registry


def datagen(
    problem: str | Sequence[str],
    data_dir: str | Path,
    tmp_dir: str | Path | None = None,
    *,
    num_workers: int | None = 1,
    usr_dirs: str | Sequence[str] = (),
    **options: Any,
) -> None:
    """Generates the records and vocabularies of problems, as t2t-datagen does; skips those that are there already.

    Args:
      problem: problems and mixtures: a list, or names separated by commas. Name those that share a vocabulary together.
      data_dir: the folder of records and vocabularies.
      tmp_dir: the folder of raw files, DATA_DIR/raw by default; a problem NAME.SOURCE reads its subfolder SOURCE.
      num_workers: worker processes; None: one per processor. More than one need `if __name__ == "__main__":` in a
        script, and know the problems of usr_dirs, but not those that a script or notebook registers.
      usr_dirs: folders of your own problems.
      **options: max_bad, held_out, test_split, columns, beam_options: see `t2t_lite.datagen.generate.generate`.

    Raises:
      UserError: an unknown problem, or raw files that are missing or wrong.
    """
    from t2t_lite.datagen.generate import generate

    names, folders = (each.split(",") if isinstance(each, str) else list(each) for each in (problem, usr_dirs))
    registry.import_usr_dirs(folders)
    data_dir = Path(os.path.expanduser(data_dir))
    raw_root = Path(os.path.expanduser(tmp_dir)) if tmp_dir else data_dir / "raw"
    generate(names, data_dir, raw_root, num_workers, folders, **options)


class _CallableModule(ModuleType):
    """Makes `t2t_lite.datagen(...)` call `datagen`, although the name is also that of this package."""

    __call__ = staticmethod(datagen)


sys.modules[__name__].__class__ = _CallableModule
