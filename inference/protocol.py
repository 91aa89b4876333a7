"""What crosses the process boundary: the one module that the language server and the worker share.

Standard library only: importing it is cheap and loads no torch. Every message is a frozen dataclass; ``encode`` gives
its JSON form, ``decode`` reads it strictly and raises :class:`ProtocolError`, one sentence that names the field (see
``codec.py``). The same contracts stand as JSON Schema in ``protocol.schema.json`` beside this file; a test keeps the
two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import ClassVar

from inference.codec import ProtocolError as ProtocolError
from inference.codec import check_range, check_text
from inference.codec import decode as decode
from inference.codec import encode as encode

PROTOCOL_VERSION = 3
"""Raised when a message changes so that an older side would misread it."""

MAX_BODY_BYTES = 8 * 1024 * 1024
"""The largest request body the worker reads; beyond it answers 413."""

MAX_CANDIDATES = 8
MAX_PROPOSALS = 8
MAX_GAP_TOKENS = 16_384


class Priority(StrEnum):
    """Interactive requests run before background ones."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"


class FinishReason(StrEnum):
    """Why denoising ended: the gap closed itself, or tokens, steps or time ran out (then: the best so far)."""

    GAP_END = "gap_end"
    LENGTH = "length"
    STEPS = "steps"
    DEADLINE = "deadline"


class WorkerState(StrEnum):
    """States of a worker, as ``GET /health`` and ``lacuna worker status`` name them."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    ERROR = "error"


class ErrorCode(StrEnum):
    """The ``code`` of an error answer; :data:`HTTP_STATUS` gives the status it travels with."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    SUPERSEDED = "superseded"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    NOT_READY = "not_ready"
    OUT_OF_MEMORY = "out_of_memory"


HTTP_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.SUPERSEDED: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.QUEUE_FULL: 429,
    ErrorCode.CANCELLED: 499,
    ErrorCode.INTERNAL: 500,
    ErrorCode.NOT_READY: 503,
    ErrorCode.OUT_OF_MEMORY: 507,
}


@dataclass(frozen=True)
class Fixed:
    """Given text: context or pinned, never rewritten."""

    wire_type: ClassVar[str] = "fixed"
    text: str

    def __post_init__(self) -> None:
        check_text(text=self.text)


@dataclass(frozen=True)
class Masked:
    """A gap of unknown length, at most ``max_tokens`` model tokens."""

    wire_type: ClassVar[str] = "masked"
    max_tokens: int

    def __post_init__(self) -> None:
        check_range("max_tokens", self.max_tokens, 1, MAX_GAP_TOKENS)


Segment = Fixed | Masked
"""The text form of a canvas, the only form that crosses a process boundary. On the wire ``type`` tells which."""


@dataclass(frozen=True, kw_only=True)
class RequestOptions:
    """What an infill and an edit have in common.

    ``document`` is an opaque key: a newer request for the same document supersedes an older one (409).
    ``deadline_ms`` counts from the request's arrival at the worker; the best fill so far is returned when it passes.
    ``n`` asks for that many candidates. ``stream`` asks for SSE: ``draft`` events, then one ``result``.
    ``client`` is an opaque key of the window that asks: windows take turns.
    """

    language_id: str = "plaintext"
    document: str | None = None
    client: str | None = None
    n: int = 1
    max_denoising_steps: int | None = None
    deadline_ms: int | None = None
    seed: int | None = None
    priority: Priority = Priority.INTERACTIVE
    stream: bool = False

    def __post_init__(self) -> None:
        check_text(language_id=self.language_id, document=self.document, client=self.client)
        check_range("n", self.n, 1, MAX_CANDIDATES)
        check_range("max_denoising_steps", self.max_denoising_steps, 1, 1024)
        check_range("deadline_ms", self.deadline_ms, 1, 600_000)
        check_range("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class Proposal:
    """Text that may stand in the only gap: found elsewhere, in the same file for one, for the model to judge.

    ``evidence`` is the log-odds that it is exactly right, as far as whoever proposes it can tell without the model.
    """

    text: str
    evidence: float = 0.0

    def __post_init__(self) -> None:
        check_text(text=self.text)
        check_range("evidence", self.evidence, -100, 100)


@dataclass(frozen=True, kw_only=True)
class InfillRequest(RequestOptions):
    """``POST /v1/infill``: fill the masked segments. ``proposals`` are for one gap only, the likeliest first."""

    segments: tuple[Segment, ...]
    proposals: tuple[Proposal, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        gaps = sum(isinstance(segment, Masked) for segment in self.segments)
        if not gaps:
            raise ProtocolError("'segments' must hold at least one masked segment")
        if self.proposals and gaps > 1:
            raise ProtocolError("'proposals' are for a request with one masked segment")
        if len(self.proposals) > MAX_PROPOSALS:
            raise ProtocolError(f"'proposals' may hold at most {MAX_PROPOSALS}")


@dataclass(frozen=True, kw_only=True)
class EditRequest(RequestOptions):
    """``POST /v1/edit``: rewrite ``selection``, which stands between ``prefix`` and ``suffix``; answered as an infill.

    ``strength`` 0..1 is the share of the selection's tokens that start as noise: 0 keeps all as a draft, 1 starts anew.
    ``instruction`` says what to do, to a model that takes instructions; ``thinking`` lets such a model think first.
    """

    selection: str
    prefix: str = ""
    suffix: str = ""
    instruction: str = ""
    strength: float = 0.5
    thinking: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(selection=self.selection, prefix=self.prefix, suffix=self.suffix, instruction=self.instruction)
        if not self.selection:
            raise ProtocolError("'selection' is empty; ask for an infill instead")
        check_range("strength", self.strength, 0, 1)


@dataclass(frozen=True, kw_only=True)
class PrefixSuffix:
    """The short form of a request for one gap: the same options, with ``prefix`` and ``suffix`` for ``segments``."""

    prefix: str
    suffix: str = ""
    max_tokens: int = 64


@dataclass(frozen=True)
class DraftToken:
    """One canvas position of a draft: its text, and whether this step accepted it (else it is still noise)."""

    text: str
    accepted: bool


@dataclass(frozen=True)
class Draft:
    """SSE ``draft``: the argmax canvas of the best row after ``step`` of at most ``max_steps`` steps."""

    step: int
    max_steps: int
    fills: tuple[str, ...]
    tokens: tuple[DraftToken, ...] = ()


@dataclass(frozen=True)
class Fill:
    """The text of one gap."""

    text: str


@dataclass(frozen=True)
class Choice:
    """One candidate: a fill for each gap, in document order.

    ``confidence`` in 0..1 is exp(mean log p) of the final tokens, gap end included, at temperature 1; from a checkpoint
    that was calibrated, the probability that the fill is exactly right. ``proposed``: the text is one of the request's
    proposals.
    """

    fills: tuple[Fill, ...]
    confidence: float
    finish_reason: FinishReason
    proposed: bool = False


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens and steps spent.

    ``truncated_tokens`` were cut from the far ends to fit the context; ``warm_tokens`` canvas positions started from an
    earlier answer instead of noise.
    """

    prompt_tokens: int
    cached_tokens: int
    canvas_tokens: int
    denoising_steps: int
    truncated_tokens: int = 0
    warm_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Wall-clock milliseconds of each stage of one request."""

    queue: float
    encode: float
    denoise: float
    total: float


@dataclass(frozen=True, kw_only=True)
class InfillResult:
    """The answer to :class:`InfillRequest`: SSE ``result``, or the whole body.

    ``choices`` are best first, at most as many as the request's ``n``. Below ``confidence_floor`` the model's own
    evaluation says: rather show nothing.
    """

    choices: tuple[Choice, ...]
    usage: Usage
    timings_ms: Timings
    model: str
    engine: str
    confidence_floor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Health:
    """``GET /health``. ``progress`` is 0..1 while loading; ``message`` says what is going on or what went wrong.

    ``instructions``: the model follows the instruction of an edit.
    """

    state: WorkerState
    model: str
    engine: str
    device: str = ""
    progress: float = 0.0
    message: str = ""
    instructions: bool = False
    pid: int = 0
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The endpoint file: where the worker listens and who it is. ``address`` is ``unix:PATH`` or ``http://HOST:PORT``."""

    address: str
    token: str = field(repr=False)
    pid: int
    model: str
    engine: str
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class ErrorDetail:
    """What went wrong: a code for programs, one sentence for people."""

    code: ErrorCode
    message: str


@dataclass(frozen=True)
class ErrorBody:
    """The body of every answer that is not 200, and the SSE event ``error``."""

    error: ErrorDetail


def infill_request(body: object) -> InfillRequest:
    """Read the body of ``POST /v1/infill``, written with ``segments`` or with ``prefix`` and ``suffix``."""
    if isinstance(body, dict) and "segments" not in body:
        gap_names = {f.name for f in fields(PrefixSuffix)}
        gap = decode(PrefixSuffix, {name: value for name, value in body.items() if name in gap_names})
        segments = [encode(Fixed(gap.prefix)), encode(Masked(gap.max_tokens)), encode(Fixed(gap.suffix))]
        body = {name: value for name, value in body.items() if name not in gap_names} | {"segments": segments}
    return decode(InfillRequest, body)
