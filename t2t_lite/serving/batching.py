"""Inputs of many requests answered together: a few milliseconds of waiting make a batch, which costs little more than
one input does."""

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
    """How batches come about."""

    rows: int = 32  # of a batch at most
    wait_seconds: float = 0.003  # that the first input of a batch waits for others
    threads: int = 2  # batches computed at once


@dataclass(frozen=True)
class Answered:
    """The answers to a request's rows, and what its slowest row took."""

    answers: list[Answer]
    wait_seconds: float
    batch_seconds: float


@dataclass(eq=False)
class _Waiting:
    row: Row
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.perf_counter)
    wait_seconds: float = 0.0
    batch_seconds: float = 0.0


class Batching:
    """A queue a signature, and a few threads that compute batches of them.

    Rows stand in the queues, not requests: one bad row spoils no other's answer, and who asks for many rows keeps
    nobody waiting longer than a batch takes. All methods belong to the event loop's thread.
    """

    def __init__(self, predict: Predict, plan: BatchPlan, limits: Limits, measures: ServerMetrics):
        self._predict, self._plan, self._limits, self._measures = predict, plan, limits, measures
        self._queues: defaultdict[str, deque[_Waiting]] = defaultdict(deque)
        self._gathering: set[str] = set()
        self._in_hand = 0
        self._free = asyncio.Semaphore(plan.threads)
        self._pool = ThreadPoolExecutor(plan.threads, "t2t-batch")
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, signature: str, rows: Sequence[Row]) -> Answered:
        """Answers the rows of a request.

        Raises:
          RequestError: the queue has no room for them (429), a row cannot be read (422), or it took too long (504).
        """
        if self._in_hand + len(rows) > self._limits.queue:
            raise RequestError(429, "too many inputs are waiting; try again in a second", {"Retry-After": "1"})
        queue, seconds = self._queues[signature], self._limits.answer_seconds
        waiting = [_Waiting(row, asyncio.get_running_loop().create_future()) for row in rows]
        for one in waiting:
            one.answer.add_done_callback(self._release)
        self._in_hand += len(rows)
        self._measures.queue_rows.set(self._in_hand)
        queue.extend(waiting)
        if signature not in self._gathering:
            self._gathering.add(signature)
            self._start(self._gather(signature))
        answers = [one.answer for one in waiting]
        try:
            _, pending = await asyncio.wait(answers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            # A list: asyncio logs errors that nobody looked at.
            for i, error in [(i, answer.exception()) for i, answer in enumerate(answers) if answer.done()]:
                if error:
                    raise error.of_input(i, len(rows)) if isinstance(error, RequestError) else error
            if pending:
                raise RequestError(504, f"no answer within {seconds:g} seconds")
        finally:
            for one in waiting:
                if not one.answer.done() or one.answer.cancelled():  # nobody waits for it any more
                    one.answer.cancel()
                    with contextlib.suppress(ValueError):
                        queue.remove(one)
        slowest = max(waiting, key=lambda one: one.wait_seconds + one.batch_seconds)
        return Answered([answer.result() for answer in answers], slowest.wait_seconds, slowest.batch_seconds)

    async def close(self) -> None:
        """Waits for the batches that are being computed."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
        self._pool.shutdown()

    async def _gather(self, signature: str) -> None:
        """Makes batches of a queue until it is empty."""
        queue = self._queues[signature]
        # Attention's shapes are those of the longest in a batch: alone, an answer does not depend on the others.
        rows = 1 if signature.endswith(ATTENTION) else self._plan.rows
        while queue:
            if len(queue) < rows:
                await asyncio.sleep(self._plan.wait_seconds)
            await self._free.acquire()  # while all threads are busy, the batch grows
            if batch := [queue.popleft() for _ in range(min(len(queue), rows))]:
                self._start(self._compute(signature, batch))
            else:  # all were given up
                self._free.release()
        self._gathering.discard(signature)

    async def _compute(self, signature: str, batch: list[_Waiting]) -> None:
        start = time.perf_counter()
        rows = [one.row for one in batch]
        outcomes = await asyncio.get_running_loop().run_in_executor(self._pool, self._run, signature, rows)
        self._free.release()
        seconds = time.perf_counter() - start
        self._measures.batch_rows.labels(signature).observe(len(batch))
        self._measures.batch_seconds.labels(signature).observe(seconds)
        for one, outcome in zip(batch, outcomes, strict=True):
            one.wait_seconds, one.batch_seconds = start - one.since, seconds
            self._measures.wait_seconds.labels(signature).observe(one.wait_seconds)
            if one.answer.done():  # given up
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)

    def _run(self, signature: str, rows: list[Row]) -> list[Answer | Exception]:
        """Computes a batch, in a thread of its own. Where it fails, halves of it are tried, down to the bad row."""
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
        self._tasks.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._tasks.discard)

    def _release(self, _: asyncio.Future[Answer]) -> None:
        self._in_hand -= 1
        self._measures.queue_rows.set(self._in_hand)
