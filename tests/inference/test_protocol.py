"""The messages, their strict reading, and their equality with the committed JSON Schemas."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference import protocol
from inference.protocol import (
    Choice,
    Draft,
    DraftToken,
    EditRequest,
    Endpoint,
    ErrorBody,
    ErrorCode,
    ErrorDetail,
    Fill,
    FinishReason,
    Fixed,
    Health,
    InfillRequest,
    InfillResult,
    Masked,
    ProtocolError,
    Timings,
    Usage,
    WorkerState,
    decode,
    encode,
    infill_request,
)

SCHEMA = json.loads((Path(protocol.__file__).parent / "protocol.schema.json").read_text())

HEALTH = Health(state=WorkerState.LOADING, model="m", engine="local", progress=0.25, message="reading weights", pid=7)
MESSAGES = [
    InfillRequest(segments=(Fixed("def f("), Masked(16), Fixed("):\n"))),
    InfillRequest(segments=(Masked(1),), language_id="go", document="d", n=8, deadline_ms=5, seed=0, stream=True),
    Draft(3, 16, ("abc",), (DraftToken("ab", True), DraftToken("c", False))),
    InfillResult(
        choices=(Choice((Fill("x, y"),), 0.5, FinishReason.GAP_END), Choice((Fill(""),), 0.0, FinishReason.DEADLINE)),
        usage=Usage(prompt_tokens=9, cached_tokens=4, canvas_tokens=16, denoising_steps=5),
        timings_ms=Timings(queue=0.1, encode=2.0, denoise=30.5, total=33.0),
        model="lacuna-default",
        engine="local",
    ),
    EditRequest(selection="a", instruction="shorter", strength=0.25, client="w"),
    HEALTH,
    Endpoint(address="unix:/run/user/1000/lacuna/ab.sock", token="t", pid=1, model="m", engine="local"),
    ErrorBody(ErrorDetail(ErrorCode.QUEUE_FULL, "64 requests are waiting; try again shortly")),
]


def schema_of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}


def accepts(name: str, body: object) -> bool:
    return jsonschema.Draft202012Validator(schema_of(name)).is_valid(body)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire_and_fits_its_schema(message: Any) -> None:
    body = json.loads(json.dumps(encode(message)))
    jsonschema.validate(body, schema_of(type(message).__name__))
    assert decode(type(message), body) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_schema_and_dataclass_name_the_same_fields(message: Any) -> None:
    schema = SCHEMA["$defs"][type(message).__name__]
    assert set(schema["properties"]) == {f.name for f in fields(message)}


def test_a_token_never_shows_in_a_repr() -> None:
    assert "s3cret" not in repr(Endpoint(address="unix:/x", token="s3cret", pid=1, model="m", engine="e"))


def test_the_short_form_is_one_gap() -> None:
    request = infill_request({"prefix": "a", "suffix": "b", "max_tokens": 5, "seed": 3})
    assert request == InfillRequest(segments=(Fixed("a"), Masked(5), Fixed("b")), seed=3)


BAD = [
    ({}, "'prefix' is missing"),
    ([], "must be an object, not a list"),
    (None, "must be an object, not null"),
    ({"prefix": 1}, "'prefix' must be a string, not an integer"),
    ({"prefix": "a", "prefx": ""}, "unknown fields in 'InfillRequest': 'prefx'"),
    ({"prefix": "a", "n": 99}, "'n' must be between 1 and 8, not 99"),
    ({"prefix": "a", "n": True}, "'n' must be an integer, not true or false"),
    ({"prefix": "a", "seed": -1}, "'seed' must be between 0"),
    ({"prefix": "a", "max_tokens": 0}, "'max_tokens' must be between 1"),
    ({"prefix": "a", "priority": "now"}, "'priority' must be one of interactive, background"),
    ({"prefix": "a", "priority": []}, "'priority' must be one of interactive, background"),
    ({"segments": []}, "at least one masked segment"),
    ({"segments": "abc"}, "'segments' must be a list, not a string"),
    ({"segments": [{"type": "blank"}]}, "must be 'fixed' or 'masked', not 'blank'"),
    ({"segments": [{"type": ["fixed"]}]}, "must be 'fixed' or 'masked'"),
    ({"segments": [3]}, "must be 'fixed' or 'masked'"),
    ({"segments": [{"type": "masked", "max_tokens": 3, "text": "x"}]}, "unknown fields"),
]


@pytest.mark.parametrize(("body", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_a_bad_request_is_refused_in_one_sentence(body: object, sentence: str) -> None:
    with pytest.raises(ProtocolError) as error:
        infill_request(body)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    name = "InfillRequest" if isinstance(body, dict) and "segments" in body else "PrefixSuffixRequest"
    assert not accepts(name, body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"selection": ""}, "'selection' is empty; ask for an infill instead"),
        ({"prefix": "a"}, "'selection' is missing"),
        ({"selection": "a", "strength": 1.5}, "'strength' must be between 0 and 1, not 1.5"),
        ({"selection": "a", "strength": float("nan")}, "'strength' must be between 0 and 1, not nan"),
        ({"selection": "a", "strength": 10**400}, "'strength' is too large a number"),
        ({"selection": "a", "n": 9}, "'n' must be between 1 and 8, not 9"),
        ({"selection": "a", "segments": []}, "unknown fields in 'EditRequest': 'segments'"),
    ],
)
def test_a_bad_edit_is_refused_in_one_sentence(body: object, sentence: str) -> None:
    with pytest.raises(ProtocolError) as error:
        decode(EditRequest, body)
    assert sentence in str(error.value)


@pytest.mark.parametrize("field", ["prefix", "suffix", "document", "client", "language_id"])
def test_a_lone_surrogate_is_not_text(field: str) -> None:
    with pytest.raises(ProtocolError, match="lone surrogate"):
        infill_request({"prefix": "a"} | {field: "\ud800"})


@pytest.mark.parametrize("body", [{"prefix": "a", "x" * 10_000: 1}, {"prefix": "a", "priority": "x" * 10_000}])
def test_a_sentence_quotes_only_the_beginning(body: object) -> None:
    with pytest.raises(ProtocolError) as error:
        infill_request(body)
    assert len(str(error.value)) < 150


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats(-1, 2) | st.sampled_from(["fixed", "masked", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "max_tokens", "y"]), inner, max_size=3)
    ),
    max_leaves=4,
)


@example({"n": 1.0})
@example({"n": None})
@given(
    st.dictionaries(
        st.sampled_from(["segments", "n", "seed", "document", "language_id", "stream", "deadline_ms", "z"]),
        JSON_VALUES
        | st.just([{"type": "masked", "max_tokens": 4}])
        | st.just([{"type": "fixed", "text": "a"}, {"type": "masked", "max_tokens": 4}]),
        max_size=4,
    )
)
def test_reader_and_schema_agree_on_any_request(body: dict[str, object]) -> None:
    body.setdefault("segments", [{"type": "masked", "max_tokens": 4}])
    try:
        decode(InfillRequest, body)
        read = True
    except ProtocolError:
        read = False
    assert read == accepts("InfillRequest", body)


def test_answers_of_a_newer_worker_are_read_without_what_is_new() -> None:
    body = encode(HEALTH) | {"novelty": 1}
    assert decode(Health, body, ignore_unknown=True) == HEALTH
    with pytest.raises(ProtocolError, match="novelty"):
        decode(Health, body)
