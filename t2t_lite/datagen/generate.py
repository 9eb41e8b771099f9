"""Datagen, from start to end: raw files to vocabularies, TFRecord shards and a manifest."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import t2t_lite
from t2t_lite.data import record_index
from t2t_lite.data.encoding import load_vocabularies
from t2t_lite.data.manifest import Manifest, Split, manifest_path
from t2t_lite.datagen import build_vocabularies, encode_examples, error_budget
from t2t_lite.datagen.disk import check_space, lock_folder
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job, raw_folder
from t2t_lite.datagen.local_engine import LocalEngine
from t2t_lite.datagen.shard_store import ShardStore, SplitProgress
from t2t_lite.datagen.worker_pool import WorkerDied, WorkerPool
from t2t_lite.errors import UserError
from t2t_lite.problems.held_out import count_items
from t2t_lite.problems.problem import Problem, get_problems
from t2t_lite.problems.table_files import TableFiles
from t2t_lite.progress import print_status

if TYPE_CHECKING:
    from t2t_lite.datagen.beam_engine import BeamEngine

Engine = Union[LocalEngine, "BeamEngine"]

MAX_BAD = 0.001  # default fraction of a split's examples that may be broken
_SAMPLE_BYTES = 30_000_000  # of text for one vocabulary, from all problems that share it


def generate(
    names: Sequence[str],
    data_dir: str | Path,
    raw_root: str | Path,
    num_workers: int | None = None,
    usr_dirs: Sequence[str] = (),
    max_bad: float = MAX_BAD,
    beam_options: Sequence[str] | None = None,
    held_out: float = 0.0,
    columns: dict[str, dict[str, Any]] | None = None,
    test_split: bool = False,
) -> None:
    """Generates the records of problems. Skips complete problems and resumes interrupted ones.

    Args:
      names: problems and mixtures. Name those that share a vocabulary together: it is built once, from the training
        text of all problems named in this call.
      data_dir: the folder of records, vocabularies and manifests.
      raw_root: the folder of raw files (--tmp_dir); a problem NAME.SOURCE reads its subfolder SOURCE.
      num_workers: the number of worker processes, by default one per processor. The files do not depend on it.
      usr_dirs: folders of the user's own problems, for the workers.
      max_bad: the fraction of a split's examples that may be broken; they are left out and listed in a report.
      beam_options: options of Apache Beam, which then takes the place of the worker processes.
      held_out: the fraction of the training split that becomes the dev split of users' own files without one.
      columns: the columns of tables (`table_files.NAME`): {"inputs": {"column": ..., "kind": ...}, "targets": ...}.
      test_split: stores the test split of users' own files too, if they have both dev and test.

    Raises:
      UserError: an unknown problem, raw files that are missing or wrong, no data, too many broken examples, problems
        that disagree about a vocabulary, too little space on the disk, or another process that generates into the
        folder. No manifest is left for an incomplete problem.
    """
    data_dir, raw_root = Path(data_dir), Path(raw_root)
    if beam_options is not None:  # its workers may have other working directories
        data_dir, raw_root = data_dir.resolve(), raw_root.resolve()
    problems = list(get_problems(list(names)).values())
    for problem in problems:
        if isinstance(problem, TableFiles):
            problem.requested = dict(columns or {})
    problems = [
        problem
        for problem in problems
        if not _is_complete(problem, data_dir, raw_folder(problem, raw_root), held_out, test_split)
    ]
    if not problems:
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"--data_dir: cannot create the folder {data_dir}: {e.strerror}") from e
    encode_examples.clear_caches()
    with lock_folder(data_dir), _engine(num_workers, usr_dirs, beam_options) as engine:
        jobs = [Job(problem, data_dir, raw_root, max_bad, held_out, test_split) for problem in problems]
        stores = _prepare(jobs, data_dir, engine)
        for job, store in zip(jobs, stores, strict=True):
            _store(job, store, engine)


def _engine(
    num_workers: int | None, usr_dirs: Sequence[str], beam_options: Sequence[str] | None
) -> "contextlib.AbstractContextManager[Engine]":
    """The engine: worker processes of this machine, or Beam."""
    if beam_options is None:
        return LocalEngine(WorkerPool(num_workers, usr_dirs))
    try:
        from t2t_lite.datagen.beam_engine import BeamEngine
    except ImportError as e:
        raise UserError(f'--beam_options: Apache Beam cannot be imported ({e}): pip install "t2t_lite[beam]"') from e
    return contextlib.nullcontext(BeamEngine(beam_options, usr_dirs))


def _prepare(jobs: list[Job], data_dir: Path, engine: Engine) -> list[ShardStore]:
    """Does all that precedes the first record: resumes stores, checks, first passes, vocabularies."""
    build_vocabularies.check_sizes(jobs, data_dir)
    stores = [ShardStore(data_dir, job.name) for job in jobs]
    fresh = []
    for job, store in zip(jobs, stores, strict=True):
        if store.resume(job.key):
            job.problem.adopt(store.declaration)
        else:
            fresh.append(job)
    for job in fresh:
        job.check_splits()
    provided = build_vocabularies.provide(fresh, data_dir)
    unbuilt = build_vocabularies.missing(fresh, data_dir, provided)
    first_passes = [_first_pass(job, unbuilt, engine) for job in fresh]
    for name in unbuilt:
        build_vocabularies.build(name, fresh, first_passes, data_dir)
    estimates = {job.name: _estimate_bytes(job, result) for job, result in zip(fresh, first_passes, strict=True)}
    check_space(data_dir, estimates)
    for job, store in zip(jobs, stores, strict=True):
        if job in fresh:
            store.start(job.key, job.problem.declaration())
    return stores


def _first_pass(job: Job, unbuilt: dict[str, list[str]], engine: Engine) -> FirstPass:
    """Makes the first pass over a training split, and sets the classes of labels that were declared without.

    Raises:
      UserError: the split is empty, too many of its examples are broken, or the name of a class is not text.
    """
    texts = [key for key, text in job.texts.items() if text.vocab in unbuilt]
    sharing = max((len(unbuilt[job.texts[key].vocab]) for key in texts), default=1)
    if texts or job.open_labels:
        result = engine.first_pass(job, texts, job.open_labels, _SAMPLE_BYTES // sharing)
    else:
        result = job.count_and_sample()
    job.check_broken(job.train, result.broken, result.count)
    job.check_not_empty(job.train, result.count)
    for key, names in result.classes.items():
        job.set_classes(key, names, result.count)
    return result


def _store(job: Job, store: ShardStore, engine: Engine) -> None:
    """Writes the records of all splits, and last the manifest, which marks them as complete."""
    checksums = {name: used.checksum for name, used in load_vocabularies(job.problem, job.data_dir).items()}
    try:
        engine.store(job, store)
    except Exception as e:
        # Records written before a full disk or a dead worker are kept. After any other UserError the user changes
        # the raw files, and the records would be outdated.
        if isinstance(e, UserError) and not isinstance(e, WorkerDied):
            store.discard()
        raise
    report = error_budget.report_path(job.data_dir, job.name)
    error_budget.write_report(report, {name: progress.broken for name, progress in store.splits.items()})
    store.finalize()
    for split in job.problem.splits:
        progress = store.splits[split]
        record_index.finish(job.data_dir, job.problem, split, progress.shards, progress.stats.examples)
    Manifest(
        problem=job.name,
        declared=job.declared,
        declaration=job.problem.declaration(),
        splits={split: _manifest_split(store.splits[split]) for split in job.problem.splits},
        vocabularies=checksums,
        source=job.source,
        version=t2t_lite.__version__,
    ).save(job.data_dir)
    store.discard()
    left_out = sum(len(progress.broken) for progress in store.splits.values())
    if left_out:
        print_status(f"{job.name}: {left_out:,} broken examples were left out; {report} names them")


def _manifest_split(progress: SplitProgress) -> Split:
    """The manifest's entry for a split."""
    stats = progress.stats
    return Split(
        examples=stats.examples,
        shards=progress.shards,
        lengths={
            key: {"max": stats.longest[key], "mean": round(stats.total[key] / stats.examples, 2)}
            for key in sorted(stats.total)
        },
        positions=dict(sorted(stats.positions.items())),
        too_long=stats.too_long,
        broken=len(progress.broken),
    )


def _estimate_bytes(job: Job, first_pass: FirstPass) -> int:
    """Estimates the size of the records from a few of them. Splits of unknown size are not included."""
    part = encode_examples.encode(job.spec, job.train, list(first_pass.items))
    others = sum(count_items(job.problem, split, job.raw_dir) or 0 for split in job.problem.splits[1:])
    return (first_pass.count + others) * sum(map(len, part.records)) // max(1, len(part.records))


def _is_complete(problem: Problem, data_dir: Path, raw_dir: Path, held_out: float, test_split: bool) -> bool:
    """Returns whether the problem, as now declared, is completely stored; prints why if it is generated again."""
    path = manifest_path(data_dir, problem.name)
    try:
        manifest = Manifest.load(data_dir, problem.name)
    except UserError as e:
        if path.exists():
            print_status(f"{problem.name}: generating again: {str(e).partition(': run ')[0]}")
        return False
    splits = tuple(manifest.splits)
    if problem.needs_source and splits == (*problem.splits, "test"):  # stored with test_split
        splits = problem.splits
    if not manifest.declares(problem.declaration()) or splits != problem.splits:
        print_status(f"{problem.name}: generating again: its declaration has changed")
        return False
    before = manifest.declaration.get("held_out", 0.0)
    if held_out and before and held_out != before:
        print_status(f"{problem.name}: generating again: --held_out was {100 * before:g}%")
        return False
    has_test = test_split and problem.needs_source and raw_dir.is_dir() and problem.has_test(raw_dir)
    if has_test and "test" not in manifest.splits:
        print_status(f"{problem.name}: generating again: its test split is not stored yet")
        return False
    if isinstance(problem, TableFiles):
        if problem.differs(manifest.declaration):
            print_status(f"{problem.name}: generating again: --columns has changed")
            return False
        if problem.settings_differ(manifest.source.get("table_yaml"), raw_dir):  # version 0.1.0 stored no checksum
            print_status(f"{problem.name}: generating again: {raw_dir}/table.yaml has changed")
            return False
    # A kill after the manifest was written leaves a progress file. Without the lock another process may be writing it.
    with contextlib.suppress(UserError), lock_folder(data_dir):
        ShardStore(data_dir, problem.name).discard()
    print_status(f"{problem.name}: already generated (delete {path} to generate it again)")
    return True
