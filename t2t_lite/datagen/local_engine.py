"""Generates with worker processes of this machine; resumes after a kill."""

import itertools
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any

from t2t_lite.datagen import encode_examples
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job
from t2t_lite.datagen.shard_store import ShardStore, SplitWriter
from t2t_lite.datagen.worker_pool import WorkerPool
from t2t_lite.errors import UserError
from t2t_lite.progress import print_status, progress_counter


class LocalEngine:
    """Makes the first pass over problems and writes their shards, in a pool of worker processes."""

    def __init__(self, workers: WorkerPool):
        self._workers = workers

    def __enter__(self) -> "LocalEngine":
        self._workers.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._workers.__exit__(kind, error, trace)

    def first_pass(self, job: Job, texts: list[str], labels: list[str], sample_bytes: int) -> FirstPass:
        """Makes the first pass over the training split.

        Args:
          job: the problem.
          texts: the features whose text is sampled.
          labels: the features whose classes are collected.
          sample_bytes: the size of the text sample in memory.

        Raises:
          UserError: too many examples are broken.
        """
        result = FirstPass.empty(texts, labels, sample_bytes)

        def check_broken() -> None:
            job.check_broken(job.train, result.broken, result.count, ended=False)

        def needed_items() -> Iterator[tuple[int, Any]]:
            for number, item in enumerate(job.examples(job.train)):
                if result.add_item(number, item):
                    yield number, item
                elif isinstance(item, UserError):
                    check_broken()

        extract = partial(encode_examples.extract, job.spec, job.train, result.keys)
        with progress_counter(f"{job.name}, {job.train}: first pass") as add:
            for extracted in self._workers.map(extract, needed_items()):
                result.add_values(extracted)
                check_broken()
                add(len(extracted))
        return result

    def store(self, job: Job, store: ShardStore) -> None:
        """Writes the missing records of all splits.

        Raises:
          UserError: too many examples are broken.
        """
        for split in job.problem.splits:
            writer = SplitWriter(job.data_dir, store, job.name, split, job.shards(split))
            progress = writer.progress
            job.check_broken(split, progress.broken, progress.items, ended=progress.done)
            if progress.done:
                continue
            if progress.items:
                print_status(f"{job.name}, {split}: resuming after {progress.items:,} examples")
            items = itertools.islice(enumerate(job.examples(split)), progress.items, None)
            with progress_counter(f"{job.name}, {split}") as add:
                for part in self._workers.map(partial(encode_examples.encode, job.spec, split), items):
                    writer.add(part)
                    job.check_broken(split, progress.broken, progress.items, ended=False)
                    add(part.items)
            job.check_broken(split, progress.broken, progress.items)
            job.check_not_empty(split, progress.stats.examples)
            writer.finish()
