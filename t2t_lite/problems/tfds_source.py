"""The base class of problems on TensorFlow Datasets (tfds), which downloads, checks and stores the corpora."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from t2t_lite.errors import UserError
from t2t_lite.problems.problem import Problem
from t2t_lite.progress import print_status
from t2t_lite.quiet import import_tensorflow


class TfdsProblem(Problem):
    """A problem on a dataset of tfds: names the dataset and its splits, and makes examples of its rows.

    tfds stores its files in `tensorflow_datasets/` below the folder of raw files (--tmp_dir), or in the folder that the
    environment variable TFDS_DATA_DIR names. Archives to be downloaded by hand go into --tmp_dir itself.

    Attributes:
      dataset: its name in tfds, "name" or "name/config".
      tfds_splits: {split: its name in tfds}, such as "train[:90%]" or "train+extra".
      examples_per_row: about how many examples are made of a row.
    """

    dataset: str
    tfds_splits: ClassVar[dict[str, str]]
    examples_per_row: int = 1

    def rows(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the rows of a split in tfds's order; pictures as the bytes of their files.

        Raises:
          UserError: tfds cannot prepare the dataset.
        """
        builder = self._prepared(raw_dir)
        import tensorflow_datasets as tfds

        decoders = {"image": tfds.decode.SkipDecoding()} if "image" in builder.info.features else None
        yield from tfds.as_numpy(builder.as_dataset(split=self.tfds_splits[split], decoders=decoders))

    def count(self, split: str, raw_dir: Path) -> int | None:
        """Returns the number of rows that tfds states, times `examples_per_row`."""
        splits = self._prepared(raw_dir).info.splits
        return self.examples_per_row * splits[self.tfds_splits[split]].num_examples if splits else None

    def _prepared(self, raw_dir: Path) -> Any:
        """Returns the dataset's builder, after downloading and preparing the rows if necessary."""
        import_tensorflow()
        import tensorflow_datasets as tfds

        folder = os.environ.get("TFDS_DATA_DIR") or str(raw_dir / "tensorflow_datasets")
        builder = tfds.builder(self.dataset, data_dir=folder)
        if not builder.is_prepared():
            print_status(f"{self.name}: tfds downloads and prepares '{self.dataset}' in {folder}")
            config = tfds.download.DownloadConfig(manual_dir=str(raw_dir))
            try:
                builder.download_and_prepare(download_config=config)
            except Exception as e:
                reason = str(e).strip().split("\n")[0]
                raise UserError(
                    f"problem '{self.name}': tfds cannot prepare '{self.dataset}' in {folder} "
                    f"({type(e).__name__}: {reason}); how to get it: the docstring of {type(self).__name__}"
                ) from e
        return builder


def tfds_lines(*path: str) -> tuple[str, ...]:
    """Returns the words of a text file of the package tensorflow_datasets, without its slow import."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    assert spec is not None and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]).joinpath(*path)
    return tuple(file.read_text(encoding="utf8").split())
