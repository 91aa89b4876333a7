"""One model thread: it loads the engine, runs one request after the other, and closes it. Nobody else touches it.

Every request that :meth:`Scheduler.submit` accepts gets exactly one outcome:

- its result, or the engine's own :class:`EngineError`; anything else the engine raises becomes ``internal``;
- ``superseded`` when a newer request for the same document arrives, waiting or running;
- ``queue_full`` when its deadline passes while it waits: there is no best fill so far, and trying again later may help
  (``not_ready`` would send the client looking for another worker);
- ``cancelled`` when its client is gone, ``not_ready`` when the worker leaves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from inference.engines.base import Cancelled, Engine, EngineError
from inference.job import Job, Outcome
from inference.protocol import ErrorCode, Health, InfillResult, WorkerState
from inference.request_queue import QueueFull, RequestQueue

CAPACITY = 64
"""How many requests of each priority may wait."""

_log = logging.getLogger(__name__)


class Scheduler:
    """Owns the model thread. All methods may be called from any thread and return at once, except :meth:`close`.

    ``create_engine`` is called on the model thread, so that importing torch delays nobody. ``model`` and ``engine`` are
    the names that health shows until the engine is there to be asked.
    """

    def __init__(
        self, create_engine: Callable[[], Engine], *, model: str, engine: str, capacity: int = CAPACITY
    ) -> None:
        self._create_engine = create_engine
        self._health = Health(state=WorkerState.STARTING, model=model, engine=engine, pid=os.getpid())
        self._queue = RequestQueue(capacity)
        self._running: Job | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._used_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def health(self) -> Health:
        """What ``GET /health`` answers."""
        return self._health

    def start(self) -> None:
        """Start the model thread, which loads the engine."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn; the older one for the same document is superseded.

        Raises :class:`EngineError`: ``not_ready``, or ``queue_full``.
        """
        with self._changed:
            if self._closing or self._health.state is not WorkerState.READY:
                raise EngineError(self._why_not_ready(), ErrorCode.NOT_READY)
            try:
                older = self._queue.add(job)
            except QueueFull:
                message = f"{len(self._queue)} requests are waiting already; try again shortly"
                raise EngineError(message, ErrorCode.QUEUE_FULL) from None
            running = self._running
            self._changed.notify()
        same_document = running is not None and running.request.document == job.request.document is not None
        for superseded in (older, running if same_document else None):
            if superseded is not None:
                message = "a newer request for the same document took this one's place"
                superseded.settle(EngineError(message, ErrorCode.SUPERSEDED))

    def cancel(self, job: Job) -> None:
        """Give a job up: waiting, it goes; running, it ends within one denoising step; settled, nothing happens."""
        with self._changed:
            self._queue.remove(job)
        job.settle(EngineError("the client closed the connection", ErrorCode.CANCELLED))

    def expire(self) -> None:
        """Answer the waiting jobs whose deadline has passed."""
        with self._changed:
            expired = self._queue.take_expired(time.monotonic())
        for job in expired:
            message = f"the deadline of {job.request.deadline_ms} ms passed in the queue; try again shortly"
            job.settle(EngineError(message, ErrorCode.QUEUE_FULL))

    def idle_seconds(self) -> float:
        """Seconds since the last request ended or loading did; 0 while there is work."""
        with self._changed:
            at_work = self._running is not None or len(self._queue) or self._health.state is not WorkerState.READY
            return 0.0 if at_work else time.monotonic() - self._used_at

    def close(self, limit_s: float) -> bool:
        """Give up every request and wait for the model thread, at most ``limit_s`` seconds; False if it still runs."""
        with self._changed:
            self._closing = True
            given_up = [*self._queue.take_all(), *([self._running] if self._running else [])]
            self._changed.notify()
        for job in given_up:
            job.settle(EngineError(self._why_not_ready(), ErrorCode.NOT_READY))
        if self._thread.is_alive():
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    # --- the model thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        engine = self._load()
        if engine is None:
            return
        while (job := self._next()) is not None:
            job.settle(self._infill(engine, job))
            self._finish()
        engine.close()

    def _load(self) -> Engine | None:
        try:
            self._report(0.0, "importing the engine")
            engine = self._create_engine()
            engine.load(self._report)
        except BaseException as error:  # whatever it is, health tells it
            if self._closing:
                return None
            message = (
                str(error) if isinstance(error, EngineError) else f"the engine failed to load: {_described(error)}"
            )
            _log.error("%s", message, exc_info=not isinstance(error, EngineError))
            self._health = replace(self._health, state=WorkerState.ERROR, message=message)
            return None
        self._used_at = time.monotonic()
        ready = replace(self._health, state=WorkerState.READY, progress=1.0, message="")
        self._health = replace(ready, model=engine.model, engine=engine.name, device=engine.device)
        _log.info("%s is ready on %s (%s engine)", engine.model, engine.device, engine.name)
        return engine

    def _next(self) -> Job | None:
        while not self._closing:
            self.expire()
            with self._changed:
                self._running = self._queue.take()
                if self._running is not None:
                    return self._running
                self._changed.wait(timeout=1.0)
        return None

    def _infill(self, engine: Engine, job: Job) -> Outcome:
        started = time.monotonic()
        on_draft = job.draft if job.wants_drafts else None
        try:
            result = engine.infill(job.request, deadline=job.deadline, cancelled=job.settled, on_draft=on_draft)
        except Cancelled:
            return EngineError("the request was given up", ErrorCode.CANCELLED)
        except EngineError as error:
            return error
        except MemoryError:
            return EngineError("there is not enough memory for this request", ErrorCode.OUT_OF_MEMORY)
        except BaseException as error:  # the thread outlives every request
            log_without_text(_log, "the engine failed", error)
            return EngineError("the engine failed; the worker's log says where")
        return _timed(result, queue_ms=1000 * (started - job.arrived), total_ms=1000 * (time.monotonic() - job.arrived))

    def _finish(self) -> None:
        with self._changed:
            self._running = None
            self._used_at = time.monotonic()

    def _report(self, progress: float, message: str) -> None:
        if self._closing:
            raise Cancelled  # loading is given up at its next report
        self._health = replace(self._health, state=WorkerState.LOADING, progress=progress, message=message)

    def _why_not_ready(self) -> str:
        if self._closing:
            return "the worker is leaving"
        return self._health.message or f"the worker is {self._health.state}"


def log_without_text(log: logging.Logger, what: str, error: BaseException) -> None:
    """Log where an error arose; what it says may quote the user's buffer and is left to DEBUG."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, frames.rstrip())
    log.debug("%s: %r", what, error)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _timed(result: InfillResult, *, queue_ms: float, total_ms: float) -> InfillResult:
    return replace(result, timings_ms=replace(result.timings_ms, queue=queue_ms, total=total_ms))
