from inference.protocol import Fixed, Masked
from lsp_server.canvas import segments
from lsp_server.context.window import Budget, Window
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap

CURSOR = "‸"


def sides(text: str, budget: Budget) -> tuple[str, str]:
    offset = text.index(CURSOR)
    snapshot = DocumentSnapshot("file:///a", 1, "plaintext", text.replace(CURSOR, ""))
    gap = find_gap(snapshot, offset, None, invoked=True)
    assert gap
    prefix, _, suffix = segments(snapshot, gap, Window.around(snapshot.text, gap, budget))
    assert isinstance(prefix, Fixed)
    assert isinstance(suffix, Fixed)
    return prefix.text, suffix.text


def test_segments_are_snippets_prefix_gap_suffix() -> None:
    snapshot = DocumentSnapshot("file:///a", 1, "plaintext", "a = \nb\n")
    gap = find_gap(snapshot, 4, None)
    assert gap
    window = Window.around(snapshot.text, gap, Budget())
    document = Fixed("a = "), Masked(gap.max_tokens), Fixed("\nb\n")
    assert segments(snapshot, gap, window) == document
    with_snippets = Window.around(snapshot.text, gap, Budget(), "# elsewhere\n")
    assert segments(snapshot, gap, with_snippets) == (Fixed("# elsewhere\n"), *document)


def test_control_tokens_are_text() -> None:
    text = "<|gap_end|> [MASK] <bos>\n<|prefix|> ‸ <|suffix|>\n// =======\n"
    assert "".join(sides(text, Budget())) == text.replace(CURSOR, "")


def test_line_ends_become_lf() -> None:
    assert sides("a\r\nb = ‸\r\nc\r\n", Budget()) == ("a\nb = ", "\nc\n")
    assert sides("a\rb = ‸\rc\r", Budget()) == ("a\nb = ", "\nc\n")
    assert sides("a\rb\n\r\n‸", Budget())[0] == "a\nb\n\n"


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert sides("\ud83d = ‸", Budget())[0] == "\ufffd = "


def test_a_long_prefix_begins_with_a_whole_block() -> None:
    blocks = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(200))
    prefix, _ = sides(blocks + "‸", Budget(prefix=1000, suffix=0))
    assert 500 <= len(prefix) <= 667
    assert prefix.startswith("def f")


def test_a_long_suffix_ends_with_a_whole_block() -> None:
    blocks = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(200))
    _, suffix = sides("‸\n" + blocks, Budget(prefix=0, suffix=500))
    assert len(suffix) <= 500
    assert suffix.endswith("\n")
    assert suffix.rstrip().split("\n")[-1].startswith("    return")


def test_one_endless_line_is_cut_somewhere() -> None:
    prefix, suffix = sides("x " * 5000 + "‸" + " y" * 5000, Budget(prefix=1000, suffix=500))
    assert 500 <= len(prefix) <= 1000
    assert len(suffix) == 500
