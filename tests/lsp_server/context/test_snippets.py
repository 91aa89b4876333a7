import pytest

from lsp_server.context.snippets import Snippet, render

AREA = Snippet("From area.py:", "def area(width, height):\n\n    return width * height\n# done")
VOLUME = Snippet("From volume.py:", "def volume(width, height, depth):\n    return 0")


def test_the_best_stands_last_next_to_the_prefix() -> None:
    text = render([AREA, VOLUME], "python", 1000)
    assert text.index("volume.py") < text.index("area.py")


def test_snippets_are_comments_of_the_language_within_the_budget() -> None:
    text = render([AREA], "python", 1000)
    assert text == "# From area.py:\n# def area(width, height):\n#\n#     return width * height\n# # done\n"
    assert render([AREA], "python", len(text)) == text
    assert render([AREA], "python", len(text) - 1) == text.removesuffix("# # done\n"), "the end may be left out"
    assert render([AREA], "python", 40) == "", "too little would be left"


@pytest.mark.parametrize(
    ("language_id", "mark"),
    [
        ("typescript", "// "),
        ("javascriptreact", "// "),
        ("rust", "// "),
        ("lua", "-- "),
        ("sql", "-- "),
        ("yaml", "# "),
    ],
)
def test_every_language_has_its_comments(language_id: str, mark: str) -> None:
    assert all(line.startswith(mark.strip()) for line in render([AREA], language_id, 1000).splitlines())
    assert render([AREA], language_id, 1000).startswith(f"{mark}From area.py:\n{mark}def area")


@pytest.mark.parametrize("language_id", ["markdown", "html", "json", "plaintext", "", "klingon"])
def test_where_no_line_can_be_a_comment_there_are_none(language_id: str) -> None:
    assert render([AREA], language_id, 1000) == ""
