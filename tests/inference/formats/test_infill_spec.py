import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.formats.infill_spec import InfillSpec

DATA: dict[str, Any] = {
    "version": 1,
    "format": "fim",
    "bos": 2,
    "suffix": 3,
    "prefix": 4,
    "gap_end": 7,
    "gap_more": 8,
    "pads": [9, 10, 11, 12, 13, 14, 15],
    "languages": {"python": 16, "plaintext": 37},
    "noise_low": 56,
    "noise_high": 8192,
    "canvas_buckets": [16, 32, 64, 128],
    "max_prompt_tokens": 448,
    "confidence_floor": 0.4,
}
TEXT_IDS = st.lists(st.integers(56, 8191), max_size=140)


def write(folder: Path, **changes: Any) -> Path:
    (folder / "infill.json").write_text(json.dumps(DATA | changes))
    return folder


@pytest.fixture
def spec(tmp_path: Path) -> InfillSpec:
    return InfillSpec.load(write(tmp_path))


def test_prompt_puts_the_suffix_first(spec: InfillSpec) -> None:
    assert spec.prompt("python", [100, 101], [200]) == [2, 16, 3, 200, 4, 100, 101]


def test_an_unknown_language_is_plain_text(spec: InfillSpec) -> None:
    assert spec.prompt("cobol", [], []) == [2, 37, 3, 4]


def test_pads_cycle_after_the_end_of_the_gap(spec: InfillSpec) -> None:
    assert spec.canvas([100], 12) == [100, 7, 9, 10, 11, 12, 13, 14, 15, 9, 10, 11]


def test_a_gap_that_fits_exactly_ends_with_its_end_token(spec: InfillSpec) -> None:
    assert spec.canvas([100, 101, 102], 4) == [100, 101, 102, 7]


def test_a_gap_that_does_not_fit_is_cut_and_says_so(spec: InfillSpec) -> None:
    assert spec.canvas([100, 101, 102, 103], 4) == [100, 101, 102, 8]
    assert spec.gap([100, 101, 102, 8]) == ([100, 101, 102], False)


def test_any_control_token_ends_the_gap_but_only_one_closes_it(spec: InfillSpec) -> None:
    assert spec.gap([100, 9, 7]) == ([100], False)
    assert spec.gap([100, 101]) == ([100, 101], False)
    assert spec.gap([7, 100]) == ([], True)


@given(TEXT_IDS, st.sampled_from([16, 32, 64, 128]))
def test_canvas_and_gap_are_inverse(gap: list[int], length: int) -> None:
    spec = InfillSpec(**(DATA | {"pads": tuple(DATA["pads"]), "canvas_buckets": (16, 32, 64, 128)}))
    canvas = spec.canvas(gap, length)
    assert len(canvas) == length
    assert spec.gap(canvas) == (gap[: length - 1], len(gap) < length)


def test_what_is_saved_loads_again(spec: InfillSpec, tmp_path: Path) -> None:
    spec.save(tmp_path)
    assert InfillSpec.load(tmp_path) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("version", True),
        ("format", "psm"),
        ("bos", -1),
        ("bos", "2"),
        ("suffix", 2.0),
        ("pads", [9, 10]),
        ("pads", 9),
        ("pads", [9, 9, 9, 9, 9, 9, 9]),
        ("languages", []),
        ("languages", {"python": 16}),
        ("noise_low", 30),
        ("noise_high", 56),
        ("canvas_buckets", []),
        ("canvas_buckets", [32, 16]),
        ("max_prompt_tokens", 1),
        ("confidence_floor", 1.5),
        ("confidence_floor", "high"),
    ],
)
def test_a_bad_field_is_one_sentence_with_file_and_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*infill\.json: .*" + field) as error:
        InfillSpec.load(write(tmp_path, **{field: value}))
    assert "\n" not in str(error.value)


def test_missing_and_unknown_fields_are_named(tmp_path: Path) -> None:
    write(tmp_path, colour=1)
    with pytest.raises(ValueError, match="field 'colour' is not known"):
        InfillSpec.load(tmp_path)
    (tmp_path / "infill.json").write_text(json.dumps({k: v for k, v in DATA.items() if k != "bos"}))
    with pytest.raises(ValueError, match="field 'bos' is missing"):
        InfillSpec.load(tmp_path)


@pytest.mark.parametrize(("content", "reason"), [("{", "not valid JSON"), ("[]", "JSON object")])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "infill.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        InfillSpec.load(tmp_path)


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"infill\.json: cannot be read"):
        InfillSpec.load(tmp_path)
