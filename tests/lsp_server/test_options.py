import pytest

from lsp_server.options import Options, read_options


def test_nothing_said_means_the_defaults() -> None:
    assert read_options(None) == (Options(), [])
    assert read_options({}) == (Options(), [])


def test_every_option_can_be_set() -> None:
    raw = {
        "enabled": False,
        "debounceMs": 0,
        "deadlineMs": 500,
        "candidates": 3,
        "confidenceFloor": 0.5,
        "prefixCharacters": 100,
        "suffixCharacters": 50,
        "contextSnippets": 300,
        "disabledLanguages": ["markdown"],
        "excludedFiles": ["*.lock"],
        "drafts": True,
    }
    options, problems = read_options(raw)
    assert problems == []
    assert options == Options(
        enabled=False,
        debounce_ms=0,
        deadline_ms=500,
        candidates=3,
        confidence_floor=0.5,
        prefix_characters=100,
        suffix_characters=50,
        context_snippets=300,
        disabled_languages=("markdown",),
        excluded_files=("*.lock",),
        drafts=True,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enabled", "yes"),
        ("enabled", 1),
        ("debounceMs", -1),
        ("debounceMs", 1.5),
        ("debounceMs", True),
        ("debounceMs", None),
        ("candidates", 99),
        ("confidenceFloor", "high"),
        ("confidenceFloor", float("nan")),
        ("disabledLanguages", "python"),
        ("excludedFiles", [1]),
    ],
)
def test_a_bad_value_is_a_message_and_the_default(name: str, value: object) -> None:
    options, problems = read_options({name: value})
    assert options == Options()
    assert len(problems) == 1
    assert repr(name) in problems[0]


@pytest.mark.parametrize("name", ["python", "interpreter", "url", "token", "model", "modelPath"])
def test_a_workspace_chooses_no_program_and_no_address(name: str) -> None:
    options, problems = read_options({name: "http://elsewhere"})
    assert options == Options()
    assert "machine or the user" in problems[0]


def test_unknown_names_and_shapes_are_told() -> None:
    assert "not known" in read_options({"debounce": 3})[1][0]
    assert "must be an object" in read_options([1])[1][0]


def test_good_values_survive_bad_neighbours() -> None:
    options, problems = read_options({"candidates": 2, "deadlineMs": "soon"})
    assert options == Options(candidates=2)
    assert len(problems) == 1
