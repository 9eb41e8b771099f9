"""Generating by Apache Beam, for any of its runners, where one machine is too small.

The files are those of `local`, byte for byte. The folders of data and of raw files must be there, under the same paths,
wherever the pipeline works. What a killed run is taken up at is a split, not an example.
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
from t2t_lite.progress import print_status

_CHUNK = 64  # items that are worked on together
_import = threading.Lock()

Numbered = list[tuple[int, Any]]


class BeamEngine:
    """Surveys and stores problems by Beam pipelines.

    Args:
      options: Beam's own, such as ["--runner=DirectRunner", "--direct_num_workers=4"].
      usr_dirs: folders of the user's own problems, for the workers.
    """

    def __init__(self, options: Sequence[str], usr_dirs: Sequence[str] = ()):
        self._options = list(options)
        self._usr_dirs = list(usr_dirs)

    def survey(self, job: Job, texts: list[str], labels: list[str], size: int) -> FirstPass:
        """Looks at the training split; see `LocalEngine.survey`."""
        print_status(f"{job.name}, {job.train}: first look, by Beam")
        empty = FirstPass.of(texts, labels, size)
        answer = incomplete(job.data_dir / f"{job.name}.survey")
        with self._pipeline() as pipeline:
            (
                self._chunks(pipeline, job, job.train)
                | "Look" >> beam.Map(partial(_look, job.spec, job.train, empty))
                | beam.CombineGlobally(_Surveys(empty))
                | "Answer" >> beam.Map(partial(_answer, answer))
            )
        return _answered(answer)

    def store(self, job: Job, store: ShardStore) -> None:
        """Writes the shards of the splits that are missing; see `LocalEngine.store`."""
        for split in job.problem.splits:
            if split not in store.splits or not store.splits[split].done:
                print_status(f"{job.name}, {split}: by Beam")
                store.splits[split] = self._store_split(job, split)
            progress = store.splits[split]
            job.check_broken(split, progress.broken, progress.items)
            job.check_not_empty(split, progress.tally.examples)
            store.save()

    def _store_split(self, job: Job, split: str) -> SplitProgress:
        answer = incomplete(job.data_dir / f"{job.name}.answer")
        stem = str(job.data_dir / f"{job.name}-{split}")
        with self._pipeline() as pipeline:
            parts = self._chunks(pipeline, job, split) | "Encode" >> beam.Map(partial(_encode, job.spec, split))
            counted = parts | "Count" >> beam.CombineGlobally(_Counts())
            progress = beam.pvalue.AsSingleton(counted)
            shards = (
                parts
                | "Deal out" >> beam.FlatMap(_dealt, stem, job.shards(split), progress)
                | beam.GroupByKey()
                | "Write" >> beam.MapTuple(_write)
                | beam.combiners.ToList()
            )
            shards | "Answer" >> beam.Map(partial(_answer_progress, answer), progress)
        return _answered(answer)

    @contextlib.contextmanager
    def _pipeline(self) -> Iterator[beam.Pipeline]:
        """A pipeline that runs on leaving; the user's mistakes come out of it as they were raised, and nothing else."""
        logger = logging.getLogger("apache_beam")  # writes the traceback of what is raised, which is raised, too
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
        """The items of a split, numbered, in chunks that runners may spread; one worker reads them off."""
        return (
            pipeline
            | beam.Create([split])
            | "Read" >> beam.FlatMap(partial(_read, job.spec, self._usr_dirs))
            | beam.Reshuffle()
            | "Know" >> beam.Map(partial(_known, self._usr_dirs))
        )


class _Surveys(beam.CombineFn):
    """Merges surveys."""

    def __init__(self, empty: FirstPass):
        self._empty = pickle.dumps(empty)

    def create_accumulator(self) -> FirstPass:
        return pickle.loads(self._empty)

    def add_input(self, accumulator: FirstPass, found: FirstPass) -> FirstPass:
        accumulator.merge(found)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[FirstPass]) -> FirstPass:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: FirstPass) -> FirstPass:
        return accumulator


class _Counts(beam.CombineFn):
    """Adds up what is known of parts, apart from their records."""

    def create_accumulator(self) -> SplitProgress:
        return SplitProgress()

    def add_input(self, accumulator: SplitProgress, numbered: tuple[int, encode_examples.EncodedPart]) -> SplitProgress:
        part = numbered[1]
        accumulator.items += part.items
        accumulator.tally.add(part.tally)
        accumulator.broken += part.broken
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[SplitProgress]) -> SplitProgress:
        merged = SplitProgress(done=True)
        for accumulator in accumulators:
            merged.items += accumulator.items
            merged.tally.add(accumulator.tally)
            merged.broken += accumulator.broken
        return merged

    def extract_output(self, accumulator: SplitProgress) -> SplitProgress:
        accumulator.broken.sort()
        return accumulator


def _read(spec: encode_examples.ProblemSpec, usr_dirs: list[str], split: str) -> Iterator[Numbered]:
    """The numbered items of a split, in chunks."""
    _known(usr_dirs, None)
    items = enumerate(encode_examples.resolved_problem(spec).examples(split, Path(spec.raw_dir)))
    return iter(lambda: list(itertools.islice(items, _CHUNK)), [])


def _known(usr_dirs: list[str], chunk: Any) -> Any:
    """Passes on what it is given, once the worker knows the user's problems."""
    with _import:
        registry.import_usr_dirs(usr_dirs)
    return chunk


def _look(spec: encode_examples.ProblemSpec, split: str, empty: FirstPass, chunk: Numbered) -> FirstPass:
    """The survey of a chunk."""
    found = pickle.loads(pickle.dumps(empty))
    wanted = [(number, item) for number, item in chunk if found.meet(number, item)]
    found.add(encode_examples.extract(spec, split, found.keys, wanted))
    return found


def _encode(spec: encode_examples.ProblemSpec, split: str, chunk: Numbered) -> tuple[int, encode_examples.EncodedPart]:
    """The number of a chunk's first item, and what became of the chunk."""
    return chunk[0][0], encode_examples.encode(spec, split, chunk)


def _dealt(
    numbered: tuple[int, encode_examples.EncodedPart], stem: str, shards: int, progress: SplitProgress
) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """(path of a shard, (position in the split, records)) of a part: record n goes into shard n modulo their number."""
    first, part = numbered
    start = first - bisect.bisect_left(progress.broken, (first, ""))  # broken ones have no position
    number = number_of_shards(progress.tally, shards)
    for shard in range(number):
        records = part.records[(shard - start) % number :: number]
        if records:
            yield shard_name(stem, shard, number), (start, b"".join(records))


def _write(path: str, dealt: Iterable[tuple[int, bytes]]) -> Shard:
    """Writes a shard, whose records are held in memory to be sorted."""
    content = b"".join(records for _, records in sorted(dealt))
    # A runner may write one twice at the same time.
    temporary = incomplete(Path(f"{path}.{uuid.uuid4().hex}"))
    temporary.write_bytes(content)
    temporary.replace(incomplete(Path(path)))
    return Shard(Path(path).name, len(content), zlib.crc32(content))


def _answer_progress(path: Path, shards: list[Shard], progress: SplitProgress) -> None:
    """Writes the progress of a split that is whole."""
    shards = sorted(shards, key=lambda shard: shard.name)
    _answer(path, SplitProgress(progress.items, progress.tally, progress.broken, shards, done=True))


def _answer(path: Path, answer: Any) -> None:
    """What a pipeline found out, for the process that started it."""
    write_atomically(path, pickle.dumps(answer))


def _answered(path: Path) -> Any:
    answer = pickle.loads(path.read_bytes())
    path.unlink()
    return answer
