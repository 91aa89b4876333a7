"""One model thread: it loads the engine, advances the requests under way together, and closes it. Nobody else does.

Every request that :meth:`Scheduler.submit` accepts gets exactly one outcome:

- its result, or the engine's own :class:`EngineError`; anything else the engine raises becomes ``internal``;
- ``superseded`` when a newer request for the same document arrives, waiting or under way;
- ``queue_full`` when its deadline passes while it waits: there is no best fill so far, and trying again later may help
  (``not_ready`` would send the client looking for another worker);
- ``cancelled`` when its client is gone, ``not_ready`` when the worker leaves or the model is out of use.

Each priority has ``engine.room`` places in the :class:`Batch`; background work is taken on, and advances, only while no
interactive work waits or is under way.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from inference.batch import Batch, is_out_of_memory
from inference.engines.base import Engine, ReportProgress
from inference.errors import Busy, Cancelled, EngineError, ModelBroken
from inference.job import Job
from inference.log_file import log_without_text
from inference.metrics import Metrics
from inference.protocol import EditRequest, ErrorCode, Health, Priority, WorkerState
from inference.request_queue import QueueFull, RequestQueue

CAPACITY = 64
"""How many requests of each priority may wait."""

CAPACITY_PER_CLIENT = CAPACITY // 4
"""How many of them may be one window's."""

UNLOAD_AFTER_S = 600.0
"""Seconds without work after which the engine gives the device's memory back."""

POLL_S = 1.0
MAX_RETRY_AFTER_S = 600
ASLEEP = "the model sleeps to free memory; the next request wakes it"

_log = logging.getLogger(__name__)


class Scheduler:
    """Owns the model thread. All methods may be called from any thread and return at once, except :meth:`close`.

    ``create_engine`` is called on the model thread, so that importing torch delays nobody. ``model`` and ``engine`` are
    the names that health shows until the engine is there to be asked. ``unload_after_s`` 0 keeps the model loaded.
    """

    def __init__(
        self,
        create_engine: Callable[[], Engine],
        *,
        model: str,
        engine: str,
        capacity: int = CAPACITY,
        unload_after_s: float = UNLOAD_AFTER_S,
        metrics: Metrics | None = None,
    ) -> None:
        self._create_engine = create_engine
        self._unload_after_s = unload_after_s or math.inf
        self._health = Health(state=WorkerState.STARTING, model=model, engine=engine, pid=os.getpid())
        self._queue = RequestQueue(capacity, CAPACITY_PER_CLIENT)
        self._metrics = metrics or Metrics()
        self._batch = Batch(self._metrics)
        self._metrics.watch(self._queue.waiting, lambda: len(self._batch.jobs))
        self._room = 1
        self._asleep = False
        self._closing = False
        self._changed = threading.Condition()
        self._used_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def health(self) -> Health:
        """What ``GET /health`` answers."""
        return self._health

    @property
    def metrics(self) -> Metrics:
        """What ``GET /metrics`` answers."""
        return self._metrics

    def start(self) -> None:
        """Start the model thread, which loads the engine."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn; the older one for the same document is superseded.

        Raises :class:`EngineError`: ``not_ready``, ``bad_request`` for an instruction to a model that takes none, or
        :class:`Busy`.
        """
        with self._changed:
            self._check(job)
            try:
                older = self._queue.add(job)
            except QueueFull as full:
                raise self._busy(str(full)) from None
            document = job.request.document
            running = [other for other in self._batch.jobs if other.request.document == document is not None]
            self._changed.notify()
        for superseded in (older, *running):
            if superseded is not None:
                message = "a newer request for the same document took this one's place"
                superseded.settle(EngineError(message, ErrorCode.SUPERSEDED))

    def cancel(self, job: Job) -> None:
        """Give a job up: waiting, it goes; under way, it leaves before the next step; settled, nothing happens."""
        with self._changed:
            self._queue.remove(job)
        job.settle(EngineError("the client closed the connection", ErrorCode.CANCELLED))

    def expire(self) -> None:
        """Answer the waiting jobs whose deadline has passed."""
        with self._changed:
            expired = self._queue.take_expired(time.monotonic())
        for job in expired:
            job.settle(self._busy(f"the deadline of {job.request.deadline_ms} ms passed in the queue"))

    def idle_seconds(self) -> float:
        """Seconds since the last request ended or loading did; 0 while there is work."""
        with self._changed:
            at_work = self._has_work() or self._health.state is not WorkerState.READY
            return 0.0 if at_work else time.monotonic() - self._used_at

    def close(self, limit_s: float) -> bool:
        """Give up every request and wait for the model thread, at most ``limit_s`` seconds; False if it still runs."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._give_up_all()
        if self._thread.is_alive():
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    # --- the model thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        engine: Engine | None = None
        try:
            self._report(0.0, "importing the engine")
            engine = self._created()
            while self._wait_for_work(engine):
                if self._awake(engine):
                    self._admit(engine.room)
                    self._batch.advance(engine)
                    self._used_at = time.monotonic()
        except Cancelled:
            _log.info("loading was given up")
        except BaseException as error:  # whatever it is, nobody may wait for this thread in vain
            self._put_out_of_use(error)
        finally:
            if engine is not None:
                self._batch.clear(engine)
                engine.close()

    def _created(self) -> Engine:
        with _told_as_a_load_failure():
            engine = self._create_engine()
            self._load(engine, self._report)
        ready = replace(self._health, state=WorkerState.READY, model=engine.model, engine=engine.name)
        self._health = replace(ready, device=engine.device, instructions=engine.takes_instructions)
        _log.info("%s is ready on %s (%s engine)", engine.model, engine.device, engine.name)
        return engine

    def _load(self, engine: Engine, report: ReportProgress) -> None:
        engine.load(report)
        self._used_at = time.monotonic()
        self._room = engine.room
        self._health = replace(self._health, progress=1.0, message="")

    def _wait_for_work(self, engine: Engine) -> bool:
        """Wait until there is something to do; False when the worker leaves. Idle for long, the engine is unloaded."""
        while not self._closing:
            self.expire()
            with self._changed:
                if self._has_work():
                    return True
                rest_s = math.inf if self._asleep else self._used_at + self._unload_after_s - time.monotonic()
                if rest_s > 0:
                    self._changed.wait(min(rest_s, POLL_S))
                    continue
            _log.info("%s sleeps after %g seconds without work", engine.model, self._unload_after_s)
            self._unload(engine)
        return False

    def _unload(self, engine: Engine) -> None:
        self._asleep = True
        try:
            engine.unload()
        except BaseException as error:  # the next load starts anew anyhow
            log_without_text(_log, "unloading failed", error)
        self._health = replace(self._health, progress=1.0, message=ASLEEP)

    def _awake(self, engine: Engine) -> bool:
        """Load the engine again if it sleeps; the jobs that need it wait in the queue. False if it cannot be now.

        Raises :class:`EngineError` when it never will be.
        """
        if not self._asleep:
            return True
        try:
            with _told_as_a_load_failure():
                self._load(engine, self._report_waking)
        except EngineError as error:
            if error.code is not ErrorCode.OUT_OF_MEMORY:
                raise
            self._unload(engine)
            self._give_up_all(error)
            return False
        self._asleep = False
        return True

    def _admit(self, room: int) -> None:
        """Take waiting jobs on while there is room for them."""
        with self._changed:
            interactive = self._queue.waiting(Priority.INTERACTIVE) or self._batch.count(Priority.INTERACTIVE)
            priority = Priority.INTERACTIVE if interactive else Priority.BACKGROUND
            while self._batch.count(priority) < room and (job := self._queue.take(priority)):
                self._batch.add(job)

    def _report(self, progress: float, message: str) -> None:
        if self._closing:
            raise Cancelled  # loading is given up at its next report
        self._health = replace(self._health, state=WorkerState.LOADING, progress=progress, message=message)

    def _report_waking(self, progress: float, message: str) -> None:
        if self._closing:
            raise Cancelled
        self._health = replace(self._health, progress=progress, message=f"the model wakes: {message}")

    # --- both sides -------------------------------------------------------------------------------------------------

    def _has_work(self) -> bool:
        return bool(len(self._queue) or self._batch.jobs)

    def _check(self, job: Job) -> None:
        if self._closing or self._health.state is not WorkerState.READY:
            raise EngineError(self._why_not_ready(), ErrorCode.NOT_READY)
        if isinstance(job.request, EditRequest) and job.request.instruction and not self._health.instructions:
            way_out = "leave 'instruction' empty or load a model that takes them"
            raise EngineError(f"{self._health.model} takes no instructions; {way_out}", ErrorCode.BAD_REQUEST)

    def _busy(self, why: str) -> Busy:
        """Say when to come back: when those who wait now will have had their turn, by the pace of the last requests."""
        wait_s = len(self._queue) * self._batch.request_s / max(self._room, 1)
        seconds = min(max(math.ceil(wait_s), 1), MAX_RETRY_AFTER_S)
        return Busy(f"{why}; try again in {seconds} s", seconds)

    def _put_out_of_use(self, error: BaseException) -> None:
        if isinstance(error, EngineError):
            message = str(error)
            _log.error("%s", message)
        else:
            message = "the worker failed; its log says where"
            log_without_text(_log, message, error)
        if isinstance(error, ModelBroken):
            message += "; it is out of use until the worker is restarted: lacuna worker stop, then start"
        with self._changed:
            self._health = replace(self._health, state=WorkerState.ERROR, message=message)
        self._give_up_all()

    def _give_up_all(self, outcome: EngineError | None = None) -> None:
        """Settle every job, waiting or under way."""
        with self._changed:
            given_up = [*self._queue.take_all(), *self._batch.jobs]
        for job in given_up:
            job.settle(outcome or EngineError(self._why_not_ready(), ErrorCode.NOT_READY))

    def _why_not_ready(self) -> str:
        if self._closing:
            return "the worker is leaving"
        return self._health.message or f"the worker is {self._health.state}"


@contextmanager
def _told_as_a_load_failure() -> Iterator[None]:
    """Turn whatever goes wrong into an :class:`EngineError` that says so."""
    try:
        yield
    except (Cancelled, EngineError):
        raise
    except BaseException as error:
        _log.error("loading failed", exc_info=error)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        code = ErrorCode.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorCode.INTERNAL
        raise EngineError(f"the engine failed to load: {what}", code) from error
