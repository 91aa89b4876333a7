"""Denoising steps as CUDA graphs: the host starts one recording instead of a thousand kernels.

A graph replays over tensors that stay where they are, so canvases are padded to a few shapes, prompts to a few lengths,
and each shape keeps its own frame. Padding is masked, or beyond what is handed back.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakSet

import torch
from torch import Tensor

from inference.models.frame import Frame, LeanPrompt, frame_bytes
from inference.models.lean import LeanModel
from inference.models.lean_denoiser import LeanDenoiser, LeanPrompts, prompts_of

CANVASES = (16, 32, 64, 128, 256)
_LEAST_PROMPT, _LEAST_FREE, _MOST_ROWS = 128, 16, 16
_RECORDINGS = 32
_TOLERANCE = 1e-2
"""Relative error of a replay, far above what sums in another order give."""

Work = Callable[[], Tensor]
Record = Callable[[Work], Work]
"""Runs work over static tensors once, and returns what repeats it; the tensor it returns is always the same one."""


@dataclass(frozen=True)
class Bucket:
    """Shapes that one recording serves: up to so many rows, canvas positions, free ones and prompt tokens."""

    rows: int
    canvas: int
    free: int
    prompt: int

    @classmethod
    def for_shapes(cls, rows: int, canvas: int, free: int, prompt: int) -> Bucket | None:
        """The smallest that fits; None when there is none."""
        length = next((length for length in CANVASES if canvas <= length), None)
        if length is None or rows > _MOST_ROWS or not free:
            return None
        height = _power_of_two(rows)
        return cls(
            rows=height,
            canvas=length,
            free=min(max(_LEAST_FREE, _power_of_two(free)), height * length),
            prompt=max(_LEAST_PROMPT, _power_of_two(prompt)),
        )

    def size_bytes(self, model: LeanModel) -> int:
        """What a recording holds: a frame, and logits, raw and soft-capped; the rest is small or shared with others."""
        logits = self.free * model.config.vocab_size * (model.dtype.itemsize + torch.float32.itemsize)
        return logits + frame_bytes(model.config, (self.rows, self.canvas), self.prompt, model.dtype)


class Recording:
    """One decoder forward over static tensors of a bucket's shape."""

    def __init__(self, denoiser: LeanDenoiser, bucket: Bucket, record: Record) -> None:
        model, device = denoiser.model, denoiser.device
        self._bucket = bucket
        self._taken_in: tuple[object, int, int] | None = None
        shape = bucket.rows, bucket.canvas
        self._frame = Frame(model.config, model.frequencies, shape, bucket.prompt, masked=True, dtype=model.dtype)
        self._canvas_ids = torch.zeros(shape, dtype=torch.int64, device=device)
        self._conditioning = torch.zeros(*shape, model.config.hidden_size, dtype=model.dtype, device=device)
        self._free = torch.zeros(bucket.free, dtype=torch.int64, device=device)

        def forward() -> Tensor:
            return model.denoise(self._canvas_ids, self._frame, self._conditioning, self._free)

        self._replay = record(forward)
        self._check(forward)

    def denoise(
        self, canvas_ids: Tensor, prompt: LeanPrompt | LeanPrompts, conditioning: Tensor, free: Tensor | None
    ) -> Tensor:
        """See :class:`~inference.models.base.Denoiser`; the shapes fit into the bucket."""
        rows, length = canvas_ids.shape
        self._take_in(prompt, rows, length)
        self._canvas_ids[:rows, :length] = canvas_ids
        self._conditioning[:rows, :length] = conditioning
        if free is None:
            free = torch.arange(rows * length, device=canvas_ids.device)
        wanted = len(free)
        self._free[:wanted] = free // length * self._bucket.canvas + free % length
        return self._replay()[:wanted].clone()  # the next replay writes over it

    def _take_in(self, prompt: LeanPrompt | LeanPrompts, rows: int, length: int) -> None:
        """Fill the frame, unless it was for these prompts that it was filled the last time."""
        known = self._taken_in
        if known is not None and known[0] is prompt and known[1:] == (rows, length):
            return
        prompts = prompts_of(prompt)
        if len(prompts) > 1:
            prompts += prompts[-1:] * (self._bucket.rows - rows)
        self._canvas_ids.zero_()
        self._conditioning.zero_()
        self._free.zero_()
        self._frame.fill(prompts, length)
        self._taken_in = prompt, rows, length

    def _check(self, forward: Work) -> None:
        """Replay over another canvas than the recorded one, and compare. Raises :class:`RuntimeError`."""
        self._canvas_ids += 1
        self._conditioning += 0.01
        expected, found = forward(), self._replay()
        error = float((found - expected).norm() / expected.norm())
        if not error < _TOLERANCE:
            raise RuntimeError(f"the replayed logits are off by {error:.1e}")


class GraphedDenoiser:
    """Behaves as ``inner``; what cannot be recorded, and shapes beyond the buckets, it leaves to ``inner``.

    Recordings hold at most ``limit_bytes``, by default a sixteenth of the device's memory; the one that was used the
    longest ago goes first.
    """

    def __init__(self, inner: LeanDenoiser, record: Record | None = None, limit_bytes: int | None = None) -> None:
        """``record`` is for tests; by default CUDA graphs, and on other devices nothing is recorded."""
        self._inner = inner
        self._record = record or (CudaGraphs() if inner.device.type == "cuda" else None)
        self._limit_bytes = _share_of_memory(inner.device) if limit_bytes is None else limit_bytes
        self._recordings: OrderedDict[Bucket, Recording] = OrderedDict()
        self._refused: set[Bucket] = set()

    @property
    def vocab_size(self) -> int:
        """Number of token ids, V."""
        return self._inner.vocab_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._inner.device

    @property
    def recordings(self) -> int:
        """How many shapes are recorded now."""
        return len(self._recordings)

    @property
    def recorded_bytes(self) -> int:
        """What they hold."""
        return sum(bucket.size_bytes(self._inner.model) for bucket in self._recordings)

    def encode(self, prompt_ids: Tensor, past: LeanPrompt | None = None, shared: int = 0) -> LeanPrompt:
        """Encode a prompt; see :class:`~inference.models.base.Denoiser`."""
        return self._inner.encode(prompt_ids, past, shared)

    def size_bytes(self, prompt: LeanPrompt) -> int:
        """Bytes of memory that ``prompt`` holds."""
        return self._inner.size_bytes(prompt)

    def side_by_side(self, prompts: Sequence[LeanPrompt]) -> LeanPrompts:
        """Lay prompts beside each other; see :class:`~inference.models.base.Denoiser`."""
        return self._inner.side_by_side(prompts)

    def embeddings(self, token_ids: Tensor) -> Tensor:
        """Scaled input embeddings of ``token_ids`` (...) int64, (..., D)."""
        return self._inner.embeddings(token_ids)

    def soft_embeddings(self, probabilities: Tensor) -> Tensor:
        """Expected input embeddings (F, D) under ``probabilities`` (F, V)."""
        return self._inner.soft_embeddings(probabilities)

    @torch.inference_mode()
    def denoise(
        self,
        canvas_ids: Tensor,
        prompt: LeanPrompt | LeanPrompts,
        conditioning: Tensor,
        free: Tensor | None = None,
    ) -> Tensor:
        """One decoder forward over ``canvas_ids`` (B, C) -> logits (F, V) float32."""
        rows, length = canvas_ids.shape
        longest = max(one.length for one in prompts_of(prompt))
        bucket = Bucket.for_shapes(rows, length, rows * length if free is None else len(free), longest)
        recording = None if bucket is None or self._record is None else self._recording(bucket, self._record)
        if recording is None:
            return self._inner.denoise(canvas_ids, prompt, conditioning, free)
        return recording.denoise(canvas_ids, prompt, conditioning, free)

    def score(self, rows: Sequence[Sequence[int]], prompt: LeanPrompt, shared: int) -> list[list[float]]:
        """Log p of continuations; see :class:`~inference.models.base.Denoiser`. Once per request: never recorded."""
        return self._inner.score(rows, prompt, shared)

    def release(self) -> None:
        """Drop the recordings, and what ``inner`` can make again."""
        self._recordings.clear()
        self._inner.release()

    def _recording(self, bucket: Bucket, record: Record) -> Recording | None:
        """The recording for ``bucket``, made at its first use; None where that failed once, or would be too large."""
        needed = bucket.size_bytes(self._inner.model)
        if bucket in self._refused or needed > self._limit_bytes:
            return None
        if bucket not in self._recordings:
            while len(self._recordings) >= _RECORDINGS or self.recorded_bytes + needed > self._limit_bytes:
                self._recordings.popitem(last=False)
            try:
                self._recordings[bucket] = Recording(self._inner, bucket, record)
            except RuntimeError as error:  # whatever CUDA cannot record, or has no memory for
                if isinstance(error, torch.OutOfMemoryError):
                    self.release()
                self._refused.add(bucket)
                logging.warning("steps of %s run without a CUDA graph: %s", bucket, str(error).splitlines()[0])
                return None
        self._recordings.move_to_end(bucket)
        return self._recordings[bucket]


class CudaGraphs:
    """Records work as CUDA graphs that share their memory: what one returns lasts until the next replay of any."""

    _WARM_UPS = 3

    def __init__(self) -> None:
        self._alive = WeakSet[torch.cuda.CUDAGraph]()

    def __call__(self, work: Work) -> Work:
        """Run ``work`` a few times aside, so that libraries set themselves up, then record it."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self._WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        if not self._alive:
            self._pool = torch.cuda.graph_pool_handle()  # one whose last graph is gone cannot be used again
        graph = torch.cuda.CUDAGraph()
        self._alive.add(graph)
        with torch.cuda.graph(graph, pool=self._pool):
            output = work()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay


def _share_of_memory(device: torch.device) -> int:
    """A sixteenth; where nothing is recorded, nothing."""
    return torch.cuda.get_device_properties(device).total_memory // 16 if device.type == "cuda" else 0


def _power_of_two(number: int) -> int:
    """The smallest that is at least ``number``."""
    return 1 << (number - 1).bit_length()
