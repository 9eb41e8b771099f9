"""Generates with Apache Beam, on any of its runners, when one machine is too small.

The files are equal, byte for byte, to those of `local_engine`. The folders of data and of raw files must exist under
the same paths on every worker. An interrupted generation resumes after the last complete split.
"""

import bisect
import contextlib
import itertools
import logging
import pickle
import re
import threading
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from t2t_lite import registry
from t2t_lite.data.manifest import Shard, write_atomically
from t2t_lite.datagen import encode_examples
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job
from t2t_lite.datagen.shard_store import ShardStore, SplitProgress, incomplete, number_of_shards, shard_name
from t2t_lite.errors import UserError
from t2t_lite.problems.held_out import split_items
from t2t_lite.progress import print_status

_CHUNK = 64  # items per element of a collection
_import_lock = threading.Lock()

NumberedItems = list[tuple[int, Any]]
NumberedPart = tuple[int, encode_examples.EncodedPart]  # the number of its first item, and the part


class BeamEngine:
    """Makes the first pass over problems and writes their shards, in Beam pipelines.

    Args:
      options: Beam's own, such as ["--runner=DirectRunner", "--direct_num_workers=4"].
      usr_dirs: folders of the user's own problems, for the workers.
    """

    def __init__(self, options: Sequence[str], usr_dirs: Sequence[str] = ()):
        self._options = list(options)
        self._usr_dirs = list(usr_dirs)

    def first_pass(self, job: Job, texts: list[str], labels: list[str], sample_bytes: int) -> FirstPass:
        """Makes the first pass over the training split; see `LocalEngine.first_pass`."""
        print_status(f"{job.name}, {job.train}: first pass, with Beam")
        empty = FirstPass.empty(texts, labels, sample_bytes)
        result_file = incomplete(job.data_dir / f"{job.name}.first_pass")
        with self._pipeline() as pipeline:
            (
                self._chunks(pipeline, job, job.train)
                | "First pass" >> beam.Map(partial(_first_pass, job.spec, job.train, empty))
                | beam.CombineGlobally(_MergeFirstPasses(empty))
                | "Write result" >> beam.Map(partial(_write_result, result_file))
            )
        return _read_result(result_file)

    def store(self, job: Job, store: ShardStore) -> None:
        """Writes the shards of the splits that are missing; see `LocalEngine.store`."""
        for split in job.problem.splits:
            if split not in store.splits or not store.splits[split].done:
                print_status(f"{job.name}, {split}: with Beam")
                store.splits[split] = self._store_split(job, split)
            progress = store.splits[split]
            job.check_broken(split, progress.broken, progress.items)
            job.check_not_empty(split, progress.stats.examples)
            store.save_progress()

    def _store_split(self, job: Job, split: str) -> SplitProgress:
        result_file = incomplete(job.data_dir / f"{job.name}.split_progress")
        stem = f"{job.name}-{split}"
        with self._pipeline() as pipeline:
            parts = self._chunks(pipeline, job, split) | "Encode" >> beam.Map(partial(_encode, job.spec, split))
            merged = parts | "Count" >> beam.CombineGlobally(_MergeProgress())
            progress = beam.pvalue.AsSingleton(merged)
            shards = (
                parts
                | "Assign to shards" >> beam.FlatMap(_assign_to_shards, stem, job.shards(split), progress)
                | beam.GroupByKey()
                | "Write shard" >> beam.MapTuple(partial(_write_shard, job.data_dir))
                | beam.combiners.ToList()
            )
            shards | "Write result" >> beam.Map(partial(_write_progress, result_file), progress)
        return _read_result(result_file)

    @contextlib.contextmanager
    def _pipeline(self) -> Iterator[beam.Pipeline]:
        """A pipeline that runs on leaving. Raises a worker's UserError without the text that Beam adds."""
        logger = logging.getLogger("apache_beam")  # logs the traceback of each error that it raises
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            with beam.Pipeline(options=PipelineOptions(self._options)) as pipeline:
                yield pipeline
        except UserError as e:
            raise UserError(re.sub(r" \[while running '.*'\]$", "", str(e))) from e
        finally:
            logger.setLevel(level)

    def _chunks(self, pipeline: beam.Pipeline, job: Job, split: str) -> beam.PCollection:
        """The numbered items of a split in chunks: one worker reads them, then they are spread over all."""
        return (
            pipeline
            | beam.Create([split])
            | "Read" >> beam.FlatMap(partial(_read, job.spec, self._usr_dirs))
            | beam.Reshuffle()
            | "Import usr_dirs" >> beam.Map(partial(_after_import, self._usr_dirs))
        )


class _MergeFirstPasses(beam.CombineFn):
    """Merges the first passes of chunks."""

    def __init__(self, empty: FirstPass):
        self._empty = pickle.dumps(empty)

    def create_accumulator(self) -> FirstPass:
        return pickle.loads(self._empty)

    def add_input(self, accumulator: FirstPass, chunk: FirstPass) -> FirstPass:
        accumulator.merge(chunk)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[FirstPass]) -> FirstPass:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: FirstPass) -> FirstPass:
        return accumulator


class _MergeProgress(beam.CombineFn):
    """Merges all that is known of encoded parts, except their records, into a SplitProgress."""

    def create_accumulator(self) -> SplitProgress:
        return SplitProgress()

    def add_input(self, accumulator: SplitProgress, numbered: NumberedPart) -> SplitProgress:
        part = numbered[1]
        accumulator.items += part.items
        accumulator.stats.merge(part.stats)
        accumulator.broken += part.broken
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[SplitProgress]) -> SplitProgress:
        merged = SplitProgress(done=True)
        for accumulator in accumulators:
            merged.items += accumulator.items
            merged.stats.merge(accumulator.stats)
            merged.broken += accumulator.broken
        return merged

    def extract_output(self, accumulator: SplitProgress) -> SplitProgress:
        accumulator.broken.sort()
        return accumulator


def _read(spec: encode_examples.ProblemSpec, usr_dirs: list[str], split: str) -> Iterator[NumberedItems]:
    """Yields the numbered items of a split, in chunks."""
    _after_import(usr_dirs, None)
    items = enumerate(split_items(encode_examples.resolved_problem(spec), split, Path(spec.raw_dir)))
    return iter(lambda: list(itertools.islice(items, _CHUNK)), [])


def _after_import(usr_dirs: list[str], chunk: Any) -> Any:
    """Imports the user's folders in this worker; returns the chunk as it is."""
    with _import_lock:
        registry.import_usr_dirs(usr_dirs)
    return chunk


def _first_pass(spec: encode_examples.ProblemSpec, split: str, empty: FirstPass, chunk: NumberedItems) -> FirstPass:
    """The first pass over one chunk."""
    result = pickle.loads(pickle.dumps(empty))
    needed = [(number, item) for number, item in chunk if result.add_item(number, item)]
    result.add_values(encode_examples.extract(spec, split, result.keys, needed))
    return result


def _encode(spec: encode_examples.ProblemSpec, split: str, chunk: NumberedItems) -> NumberedPart:
    return chunk[0][0], encode_examples.encode(spec, split, chunk)


def _assign_to_shards(
    numbered: NumberedPart, stem: str, shards: int, progress: SplitProgress
) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """Yields (name of a shard, (position in the split, records)): record n goes into shard n modulo their number."""
    first, part = numbered
    start = first - bisect.bisect_left(progress.broken, (first, ""))  # broken examples have no position
    number = number_of_shards(progress.stats, shards)
    for shard in range(number):
        records = part.records[(shard - start) % number :: number]
        if records:
            yield shard_name(stem, shard, number), (start, b"".join(records))


def _write_shard(data_dir: Path, name: str, parts: Iterable[tuple[int, bytes]]) -> Shard:
    """Writes one shard, sorted in memory by position."""
    content = b"".join(records for _, records in sorted(parts))
    path = incomplete(data_dir / name)
    # A runner may execute this twice at the same time, so each execution has a file of its own.
    temporary = incomplete(data_dir / f"{name}.{uuid.uuid4().hex}")
    temporary.write_bytes(content)
    temporary.replace(path)
    return Shard(name, len(content), zlib.crc32(content))


def _write_progress(path: Path, shards: list[Shard], progress: SplitProgress) -> None:
    """Writes the progress of a complete split for the process that started the pipeline."""
    shards = sorted(shards, key=lambda shard: shard.name)
    _write_result(path, SplitProgress(progress.items, progress.stats, progress.broken, shards, done=True))


def _write_result(path: Path, result: Any) -> None:
    """Writes the result of a pipeline for the process that started it."""
    write_atomically(path, pickle.dumps(result))


def _read_result(path: Path) -> Any:
    result = pickle.loads(path.read_bytes())
    path.unlink()
    return result
