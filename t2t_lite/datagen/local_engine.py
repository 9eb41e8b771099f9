"""Generating with the processes of this machine; what is written is kept when they are killed."""

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
    """Surveys and stores problems by worker processes.

    Args: those of `WorkerPool`.
    """

    def __init__(self, workers: WorkerPool):
        self._workers = workers

    def __enter__(self) -> "LocalEngine":
        self._workers.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._workers.__exit__(kind, error, trace)

    def survey(self, job: Job, texts: list[str], labels: list[str], size: int) -> FirstPass:
        """Looks at the training split.

        Args:
          job: the problem.
          texts: the features to sample text of.
          labels: the features to collect classes of.
          size: what the sample of text may take, in bytes.
        """
        found = FirstPass.of(texts, labels, size)

        def check_broken() -> None:
            job.check_broken(job.train, found.broken, found.count, ended=False)

        def wanted() -> Iterator[tuple[int, Any]]:
            for number, item in enumerate(job.examples(job.train)):
                if found.meet(number, item):
                    yield number, item
                elif isinstance(item, UserError):  # of other items nothing is known yet
                    check_broken()

        with progress_counter(f"{job.name}, {job.train}: first look") as add:
            for answers in self._workers.map(
                partial(encode_examples.extract, job.spec, job.train, found.keys), wanted()
            ):
                found.add(answers)
                check_broken()
                add(len(answers))
        return found

    def store(self, job: Job, store: ShardStore) -> None:
        """Writes what is missing of the shards.

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
                print_status(f"{job.name}, {split}: going on after {progress.items:,} examples")
            items = itertools.islice(enumerate(job.examples(split)), progress.items, None)
            with progress_counter(f"{job.name}, {split}") as add:
                for part in self._workers.map(partial(encode_examples.encode, job.spec, split), items):
                    writer.add(part)
                    job.check_broken(split, progress.broken, progress.items, ended=False)
                    add(part.items)
            job.check_broken(split, progress.broken, progress.items)
            job.check_not_empty(split, progress.tally.examples)
            writer.finish()
