from inference.protocol import Fixed, Masked
from lsp_server.canvas import Budget, context, segments
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.gaps import find_gap

CURSOR = "‸"


def sides(text: str, budget: Budget) -> tuple[str, str]:
    offset = text.index(CURSOR)
    snapshot = DocumentSnapshot("file:///a", 1, "plaintext", text.replace(CURSOR, ""))
    gap = find_gap(snapshot, offset, None, invoked=True)
    assert gap
    return context(snapshot, gap, budget)


def test_segments_are_prefix_gap_suffix() -> None:
    snapshot = DocumentSnapshot("file:///a", 1, "plaintext", "a = \nb\n")
    gap = find_gap(snapshot, 4, None)
    assert gap
    assert segments(snapshot, gap, Budget()) == (Fixed("a = "), Masked(gap.max_tokens), Fixed("\nb\n"))


def test_control_tokens_are_text() -> None:
    text = "<|gap_end|> [MASK] <bos>\n<|prefix|> ‸ <|suffix|>\n// =======\n"
    assert "".join(sides(text, Budget())) == text.replace(CURSOR, "")


def test_line_ends_become_lf() -> None:
    assert sides("a\r\nb = ‸\r\nc\r\n", Budget()) == ("a\nb = ", "\nc\n")
    assert sides("a\rb = ‸\rc\r", Budget()) == ("a\nb = ", "\nc\n")
    assert sides("a\rb\n\r\n‸", Budget())[0] == "a\nb\n\n"


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert sides("\ud83d = ‸", Budget())[0] == "\ufffd = "


def test_a_long_prefix_keeps_its_place_while_the_user_types() -> None:
    blocks = "".join(f"def f{n}():\n    return {n}\n\n" for n in range(200))
    starts = set()
    for typed in range(60):
        prefix, _ = sides(blocks + "x" * typed + " ‸", Budget(prefix=1000, suffix=0))
        assert len(prefix) <= 1000
        starts.add(prefix.split("\n", 1)[0])
        assert prefix.startswith("def f")
    assert len(starts) <= 2


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
