"""What crosses the process boundary: the one module that the language server and the worker share.

Standard library only: importing it is cheap and loads no torch. Every message is a frozen dataclass; ``encode`` gives
its JSON form, ``decode`` reads it strictly and raises :class:`ProtocolError`, one sentence that names the field. The
same contracts stand as JSON Schema in ``protocol.schema.json`` beside this file; a test keeps the two equal.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

PROTOCOL_VERSION = 1
"""Raised when a message changes so that an older side would misread it."""

MAX_BODY_BYTES = 8 * 1024 * 1024
"""The largest request body the worker reads; beyond it answers 413."""

MAX_CANDIDATES = 8
MAX_GAP_TOKENS = 16_384


class ProtocolError(ValueError):
    """A message does not fit the contract. The text is one sentence for a person and names the field."""


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

    text: str

    def __post_init__(self) -> None:
        try:
            self.text.encode("utf-8")
        except UnicodeEncodeError:
            raise ProtocolError("'text' holds a lone surrogate, which is not text; send valid Unicode") from None


@dataclass(frozen=True)
class Masked:
    """A gap of unknown length, at most ``max_tokens`` model tokens."""

    max_tokens: int

    def __post_init__(self) -> None:
        _in_range("max_tokens", self.max_tokens, 1, MAX_GAP_TOKENS)


Segment = Fixed | Masked
"""The text form of a canvas, the only form that crosses a process boundary. On the wire ``type`` tells which."""


@dataclass(frozen=True, kw_only=True)
class InfillRequest:
    """``POST /v1/infill``: fill the masked segments.

    ``document`` is an opaque key: a newer request for the same document supersedes an older one (409).
    ``deadline_ms`` counts from the request's arrival at the worker; the best fill so far is returned when it passes.
    ``n`` asks for that many candidates. ``stream`` asks for SSE: ``draft`` events, then one ``result``.
    """

    segments: tuple[Segment, ...]
    language_id: str = "plaintext"
    document: str | None = None
    n: int = 1
    max_denoising_steps: int | None = None
    deadline_ms: int | None = None
    seed: int | None = None
    priority: Priority = Priority.INTERACTIVE
    stream: bool = False

    def __post_init__(self) -> None:
        if not any(isinstance(segment, Masked) for segment in self.segments):
            raise ProtocolError("'segments' must hold at least one masked segment")
        _in_range("n", self.n, 1, MAX_CANDIDATES)
        _in_range("max_denoising_steps", self.max_denoising_steps, 1, 1024)
        _in_range("deadline_ms", self.deadline_ms, 1, 600_000)
        _in_range("seed", self.seed, 0, 2**63 - 1)


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

    ``confidence`` in 0..1 is exp(mean log p) of the final tokens, gap end included, at temperature 1.
    """

    fills: tuple[Fill, ...]
    confidence: float
    finish_reason: FinishReason


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens and steps spent; ``truncated_tokens`` were cut from the far ends to fit the context."""

    prompt_tokens: int
    cached_tokens: int
    canvas_tokens: int
    denoising_steps: int
    truncated_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Wall-clock milliseconds of each stage of one request."""

    queue: float
    encode: float
    denoise: float
    total: float


@dataclass(frozen=True, kw_only=True)
class InfillResult:
    """The answer to :class:`InfillRequest`: SSE ``result``, or the whole body. ``choices`` are best first.

    Below ``confidence_floor`` the model's own evaluation says: rather show nothing.
    """

    choices: tuple[Choice, ...]
    usage: Usage
    timings_ms: Timings
    model: str
    engine: str
    confidence_floor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Health:
    """``GET /health``. ``progress`` is 0..1 while loading; ``message`` says what is going on or what went wrong."""

    state: WorkerState
    model: str
    engine: str
    device: str = ""
    progress: float = 0.0
    message: str = ""
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


# --- the codec ------------------------------------------------------------------------------------------------------

_TAGS: Mapping[str, type[Segment]] = {"fixed": Fixed, "masked": Masked}
_NAMES: Mapping[object, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_T = TypeVar("_T")


def encode(message: Any) -> Any:
    """Return the JSON form of a message; fields that are None are left out."""
    if is_dataclass(message):
        body = {f.name: encode(value) for f in fields(message) if (value := getattr(message, f.name)) is not None}
        tag = next((name for name, kind in _TAGS.items() if type(message) is kind), None)
        return {"type": tag} | body if tag else body
    if isinstance(message, tuple):
        return [encode(item) for item in message]
    return message.value if isinstance(message, StrEnum) else message


def decode(kind: type[_T], body: object, *, ignore_unknown: bool = False) -> _T:
    """Read the JSON form of ``kind``. ``ignore_unknown`` is for answers, which a newer side may have extended."""
    message: _T = _decode(kind, body, kind.__name__, ignore_unknown)
    return message


def _decode(kind: Any, value: object, name: str, ignore_unknown: bool) -> Any:
    if is_dataclass(kind):
        return _decode_object(kind, value, name, ignore_unknown)
    if kind == Segment:
        tag = value.get("type") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(tag, str) or tag not in _TAGS:
            raise ProtocolError(f"'type' of a segment in {name!r} must be 'fixed' or 'masked', not {tag!r}")
        return _decode_object(_TAGS[tag], {k: v for k, v in value.items() if k != "type"}, name, ignore_unknown)
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(arg for arg in get_args(kind) if arg is not type(None))
        return None if value is None else _decode(inner, value, name, ignore_unknown)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ProtocolError(f"{name!r} must be a list, not {_name_of(value)}")
        return tuple(_decode(get_args(kind)[0], item, name, ignore_unknown) for item in value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if not isinstance(value, str) or value not in list(kind):
            raise ProtocolError(f"{name!r} must be one of {', '.join(kind)}, not {value!r}")
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has one kind of number: 1.0 is an integer
    if type(value) is not kind:
        raise ProtocolError(f"{name!r} must be {_NAMES[kind]}, not {_name_of(value)}")
    return value


def _decode_object(kind: Any, body: object, name: str, ignore_unknown: bool) -> Any:
    if not isinstance(body, dict):
        raise ProtocolError(f"{name!r} must be an object, not {_name_of(body)}")
    hints = _hints(kind)
    if not ignore_unknown and (unknown := sorted(set(body) - set(hints))):
        raise ProtocolError(f"unknown fields in {name!r}: {', '.join(map(repr, unknown))}")
    for f in fields(kind):
        if f.name not in body and f.default is MISSING and f.default_factory is MISSING:
            raise ProtocolError(f"{f.name!r} is missing in {name!r}")
    return kind(**{key: _decode(hints[key], body[key], key, ignore_unknown) for key in hints if key in body})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _name_of(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _in_range(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise ProtocolError(f"{name!r} must be between {low} and {high}, not {value}")
