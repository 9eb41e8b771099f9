"""Dynamic batching: inputs of concurrent requests wait a few milliseconds and are computed as one batch."""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2t_lite.serving.limits import Limits, RequestError
from t2t_lite.serving.model import ATTENTION
from t2t_lite.serving.rest import Answer, Row
from t2t_lite.serving.server_metrics import ServerMetrics

Predict = Callable[[str, dict[str, list[bytes]]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class BatchPlan:
    """The batcher's settings."""

    rows: int = 32  # of a batch at most
    wait_seconds: float = 0.003  # for which the first row of a batch waits for others
    threads: int = 2  # batches computed at once


@dataclass(frozen=True)
class BatchedAnswers:
    """The answers to a request's rows, and the times of its slowest row."""

    answers: list[Answer]
    wait_seconds: float
    batch_seconds: float


@dataclass(eq=False)
class _QueuedRow:
    row: Row
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.perf_counter)
    wait_seconds: float = 0.0
    batch_seconds: float = 0.0


class Batcher:
    """A queue for each signature, and a thread pool that computes batches from them.

    The queues hold rows, not requests: one bad row fails no other row, and a request with many rows delays others by
    one batch at most. All public methods must be called in the event loop's thread.
    """

    def __init__(self, predict: Predict, plan: BatchPlan, limits: Limits, metrics: ServerMetrics):
        self._predict, self._plan, self._limits, self._metrics = predict, plan, limits, metrics
        self._queues: defaultdict[str, deque[_QueuedRow]] = defaultdict(deque)
        self._gathering: set[str] = set()  # signatures whose queue has a _gather task
        self._pending_rows = 0
        self._free_threads = asyncio.Semaphore(plan.threads)
        self._pool = ThreadPoolExecutor(plan.threads, "t2t-batch")
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, signature: str, rows: Sequence[Row]) -> BatchedAnswers:
        """Answers the rows of a request.

        Raises:
          RequestError: the queue has no room for them (429), a row cannot be read (422), or it took too long (504).
        """
        if self._pending_rows + len(rows) > self._limits.queue:
            raise RequestError(429, "too many inputs are waiting; try again in a second", {"Retry-After": "1"})
        queue, seconds = self._queues[signature], self._limits.answer_seconds
        queued = [_QueuedRow(row, asyncio.get_running_loop().create_future()) for row in rows]
        for one in queued:
            one.answer.add_done_callback(self._count_done)
        self._pending_rows += len(rows)
        self._metrics.queue_rows.set(self._pending_rows)
        queue.extend(queued)
        if signature not in self._gathering:
            self._gathering.add(signature)
            self._start(self._gather(signature))
        answers = [one.answer for one in queued]
        try:
            _, pending = await asyncio.wait(answers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            # All exceptions are retrieved first: asyncio logs those that never are.
            for i, error in [(i, answer.exception()) for i, answer in enumerate(answers) if answer.done()]:
                if error:
                    raise error.for_input(i, len(rows)) if isinstance(error, RequestError) else error
            if pending:
                raise RequestError(504, f"no answer within {seconds:g} seconds")
        finally:
            for one in queued:
                if not one.answer.done() or one.answer.cancelled():  # the request was given up
                    one.answer.cancel()
                    with contextlib.suppress(ValueError):
                        queue.remove(one)
        slowest = max(queued, key=lambda one: one.wait_seconds + one.batch_seconds)
        return BatchedAnswers([answer.result() for answer in answers], slowest.wait_seconds, slowest.batch_seconds)

    async def close(self) -> None:
        """Waits for the batches that are being computed."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
        self._pool.shutdown()

    async def _gather(self, signature: str) -> None:
        """Makes batches from a queue until it is empty."""
        queue = self._queues[signature]
        # Attention is padded to the longest row of a batch. In batches of one, it does not depend on other requests.
        rows = 1 if signature.endswith(ATTENTION) else self._plan.rows
        while queue:
            if len(queue) < rows:
                await asyncio.sleep(self._plan.wait_seconds)
            await self._free_threads.acquire()  # while all threads are busy, the batch grows
            if batch := [queue.popleft() for _ in range(min(len(queue), rows))]:
                self._start(self._compute(signature, batch))
            else:  # all its rows were given up
                self._free_threads.release()
        self._gathering.discard(signature)

    async def _compute(self, signature: str, batch: list[_QueuedRow]) -> None:
        start = time.perf_counter()
        rows = [one.row for one in batch]
        outcomes = await asyncio.get_running_loop().run_in_executor(self._pool, self._run, signature, rows)
        self._free_threads.release()
        seconds = time.perf_counter() - start
        self._metrics.batch_rows.labels(signature).observe(len(batch))
        self._metrics.batch_seconds.labels(signature).observe(seconds)
        for one, outcome in zip(batch, outcomes, strict=True):
            one.wait_seconds, one.batch_seconds = start - one.since, seconds
            self._metrics.wait_seconds.labels(signature).observe(one.wait_seconds)
            if one.answer.done():  # given up
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)

    def _run(self, signature: str, rows: list[Row]) -> list[Answer | Exception]:
        """Computes a batch, in a thread of the pool. If it fails, splits it in halves until the bad rows are alone."""
        try:
            results = self._predict(signature, {name: [row[name] for row in rows] for name in rows[0]})
            return [{name: value[i] for name, value in results.items()} for i in range(len(rows))]
        except Exception as e:
            if len(rows) == 1:
                return [e]
        half = len(rows) // 2
        return self._run(signature, rows[:half]) + self._run(signature, rows[half:])

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the event loop keeps only a weak reference
        task.add_done_callback(self._tasks.discard)

    def _count_done(self, _: asyncio.Future[Answer]) -> None:
        self._pending_rows -= 1
        self._metrics.queue_rows.set(self._pending_rows)
