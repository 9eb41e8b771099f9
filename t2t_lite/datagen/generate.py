"""Datagen: from raw files to vocabularies, TFRecord shards and a manifest."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

import t2t_lite
from t2t_lite.data.encoding import load_vocabularies
from t2t_lite.data.manifest import Manifest, Split, manifest_path
from t2t_lite.datagen import build_vocabularies, encode_examples, error_budget
from t2t_lite.datagen.disk import check_space, lock_folder
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job
from t2t_lite.datagen.local_engine import LocalEngine
from t2t_lite.datagen.shard_store import ShardStore, SplitProgress
from t2t_lite.datagen.worker_pool import WorkerDied, WorkerPool
from t2t_lite.errors import UserError
from t2t_lite.problems.problem import Problem, get_problems
from t2t_lite.progress import print_status

if TYPE_CHECKING:
    from t2t_lite.datagen.beam_engine import BeamEngine

Engine = Union[LocalEngine, "BeamEngine"]

MAX_BAD = 0.001  # the share of a split's examples that may be broken, unless told otherwise
_SAMPLE_BYTES = 30_000_000  # of text, of all problems that share a vocabulary


def generate(
    names: Sequence[str],
    data_dir: str | Path,
    raw_root: str | Path,
    num_workers: int | None = None,
    usr_dirs: Sequence[str] = (),
    max_bad: float = MAX_BAD,
    beam_options: Sequence[str] | None = None,
) -> None:
    """Stores problems as records. What is stored whole already is passed over; what a killed run left is taken up.

    Args:
      names: problems and mixtures. Those that share a vocabulary are best named together: it is built from the
        training text of all that are named, and stays as it is from then on.
      data_dir: where records, vocabularies and manifests go.
      raw_root: the raw files (--tmp_dir); a problem NAME.SOURCE reads the folder SOURCE in it.
      num_workers: processes; by default one for each processor. The files do not depend on it.
      usr_dirs: folders of the user's own problems, for the workers.
      max_bad: the share of a split's examples that may be broken; they are left out and named in a report.
      beam_options: generate by Apache Beam, with these options of its own, in place of worker processes.

    Raises:
      UserError: an unknown problem, raw files that are missing or wrong, no data, too many broken examples, problems
        that disagree about a vocabulary, too little space on the disk, or another process that generates into the
        folder. Nothing that looks whole is left.
    """
    data_dir, raw_root = Path(data_dir), Path(raw_root)
    if beam_options is not None:  # its workers may work in other folders
        data_dir, raw_root = data_dir.resolve(), raw_root.resolve()
    problems = [problem for problem in get_problems(list(names)).values() if not _is_whole(problem, data_dir)]
    if not problems:
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"--data_dir: cannot make the folder {data_dir}: {e.strerror}") from e
    encode_examples.forget()
    with lock_folder(data_dir), _engine(num_workers, usr_dirs, beam_options) as engine:
        jobs = [Job(problem, data_dir, raw_root, max_bad) for problem in problems]
        stores = _prepare(jobs, data_dir, engine)
        for job, store in zip(jobs, stores, strict=True):
            _store(job, store, engine)


def _engine(
    num_workers: int | None, usr_dirs: Sequence[str], beam_options: Sequence[str] | None
) -> "contextlib.AbstractContextManager[Engine]":
    """What does the work: worker processes, or Beam."""
    if beam_options is None:
        return LocalEngine(WorkerPool(num_workers, usr_dirs))
    try:
        from t2t_lite.datagen.beam_engine import BeamEngine
    except ImportError as e:
        raise UserError(f'--beam_options: Apache Beam cannot be imported ({e}): pip install "t2t_lite[beam]"') from e
    return contextlib.nullcontext(BeamEngine(beam_options, usr_dirs))


def _prepare(jobs: list[Job], data_dir: Path, engine: Engine) -> list[ShardStore]:
    """All that comes before the first record: vocabularies, classes, a look at the disk; and what killed runs left."""
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
    unbuilt = build_vocabularies.missing(fresh, data_dir)
    surveys = [_survey(job, unbuilt, engine) for job in fresh]
    for name in unbuilt:
        build_vocabularies.build(name, fresh, surveys, data_dir)
    check_space(data_dir, {job.name: _estimate(job, found) for job, found in zip(fresh, surveys, strict=True)})
    for job, store in zip(jobs, stores, strict=True):
        if job in fresh:
            store.begin(job.key, job.problem.declaration())
    return stores


def _survey(job: Job, unbuilt: dict[str, list[str]], engine: Engine) -> FirstPass:
    """Looks at a training split, for the vocabularies that are to be built and for classes.

    Raises:
      UserError: the split is empty, too many of its examples are broken, or a class is no text.
    """
    texts = [key for key, text in job.texts.items() if text.vocab in unbuilt]
    sharing = max((len(unbuilt[job.texts[key].vocab]) for key in texts), default=1)
    if texts or job.open_labels:
        found = engine.survey(job, texts, job.open_labels, _SAMPLE_BYTES // sharing)
    else:
        found = job.look()
    job.check_broken(job.train, found.broken, found.count)
    job.check_not_empty(job.train, found.count)
    for key, names in found.classes.items():
        job.set_classes(key, names)
    return found


def _store(job: Job, store: ShardStore, engine: Engine) -> None:
    """Writes the records of all splits, and then, as proof that they are whole, the manifest."""
    checksums = {name: used.checksum for name, used in load_vocabularies(job.problem, job.data_dir).items()}
    try:
        engine.store(job, store)
    except Exception as e:
        # What was written before a full disk or a killed worker is good. After this the raw files are to be mended.
        if isinstance(e, UserError) and not isinstance(e, WorkerDied):
            store.discard()
        raise
    report = error_budget.report_path(job.data_dir, job.name)
    error_budget.write_report(report, {name: progress.broken for name, progress in store.splits.items()})
    store.publish()
    Manifest(
        problem=job.name,
        declared=job.declared,
        declaration=job.problem.declaration(),
        splits={split: _described(store.splits[split]) for split in job.problem.splits},
        vocabularies=checksums,
        source=job.source,
        version=t2t_lite.__version__,
    ).save(job.data_dir)
    store.discard()
    left_out = sum(len(progress.broken) for progress in store.splits.values())
    if left_out:
        print_status(f"{job.name}: {left_out:,} broken examples are left out: {report} names them")


def _described(progress: SplitProgress) -> Split:
    """A split for the manifest."""
    tally = progress.tally
    return Split(
        examples=tally.examples,
        shards=progress.shards,
        lengths={
            key: {"max": tally.longest[key], "mean": round(tally.total[key] / tally.examples, 2)}
            for key in sorted(tally.total)
        },
        positions=dict(sorted(tally.positions.items())),
        too_long=tally.too_long,
        broken=len(progress.broken),
    )


def _estimate(job: Job, found: FirstPass) -> int:
    """Bytes that the records will take, judged by a few; without the splits that nobody has counted yet."""
    part = encode_examples.encode(job.spec, job.train, list(found.items))
    others = sum(job.problem.count(split, job.raw_dir) or 0 for split in job.problem.splits[1:])
    return (found.count + others) * sum(map(len, part.records)) // max(1, len(part.records))


def _is_whole(problem: Problem, data_dir: Path) -> bool:
    """Whether the problem, as it is declared now, is stored whole; says so."""
    path = manifest_path(data_dir, problem.name)
    try:
        manifest = Manifest.load(data_dir, problem.name)
    except UserError as e:
        if path.exists():
            print_status(f"{problem.name}: generating again, because {str(e).partition(': run ')[0]}")
        return False
    if not manifest.declares(problem.declaration()) or tuple(manifest.splits) != problem.splits:
        print_status(f"{problem.name}: generating again, because its declaration has changed")
        return False
    ShardStore(data_dir, problem.name).discard()  # a run that was killed between its last two steps leaves a note
    print_status(f"{problem.name}: already generated (delete {path} to generate it again)")
    return True
