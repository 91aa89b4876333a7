"""Where a docstring stands, or would stand: ``‸`` is the cursor, ``⟦⟧`` the place."""

import pytest

from lsp_server.rewriting.docstrings import docstring_at
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.syntax.trees import SyntaxTrees


def found(marked: str, language_id: str) -> str:
    text = marked.replace("‸", "")
    snapshot = DocumentSnapshot("file:///a", 1, language_id, text)
    tree = SyntaxTrees().whole(snapshot)
    assert tree
    docstring = docstring_at(snapshot, tree, marked.index("‸"))
    if docstring is None:
        return "none"
    if docstring.hole:
        return docstring.hole.opened(snapshot, "⟦⟧").text
    assert docstring.span
    start, end = docstring.span
    return f"{text[:start]}⟦{text[start:end]}⟧{text[end:]}"


@pytest.mark.parametrize(
    ("language_id", "marked", "expected"),
    [
        ("python", "def f(‸a):\n    return a\n", 'def f(a):\n    """⟦⟧"""\n    return a\n'),
        ("python", 'def f(‸a):\n    """Old."""\n    return a\n', 'def f(a):\n    ⟦"""Old."""⟧\n    return a\n'),
        ("python", "class A:\n    @property\n    def ‸f(self,\n        a):\n        return a\n",
         'class A:\n    @property\n    def f(self,\n        a):\n        """⟦⟧"""\n        return a\n'),
        ("python", "def f(a):\n    ‸return a\n", "none"),
        ("python", "def f(‸a): return a\n", "none"),
        ("typescript", "export function ‸f(a) {\n  return a\n}\n",
         "/** ⟦⟧ */\nexport function f(a) {\n  return a\n}\n"),
        ("javascript", "class A {\n  f(‸a) {\n    return a\n  }\n}\n",
         "class A {\n  /** ⟦⟧ */\n  f(a) {\n    return a\n  }\n}\n"),
        ("javascript", "/** Old. */\nfunction ‸f() {\n}\n", "⟦/** Old. */⟧\nfunction f() {\n}\n"),
        ("go", "package a\n\nfunc ‸Area(w int) int {\n\treturn w\n}\n",
         "package a\n\n// Area ⟦⟧\nfunc Area(w int) int {\n\treturn w\n}\n"),
        ("rust", "fn ‸f() -> u32 {\n    1\n}\n", "/// ⟦⟧\nfn f() -> u32 {\n    1\n}\n"),
        ("c", "int ‸f(int a) {\n    return a;\n}\n", "/** ⟦⟧ */\nint f(int a) {\n    return a;\n}\n"),
        ("ruby", "class A\n  def ‸f\n    1\n  end\nend\n", "class A\n  # ⟦⟧\n  def f\n    1\n  end\nend\n"),
    ],
)  # fmt: skip
def test_docstring(language_id: str, marked: str, expected: str) -> None:
    assert found(marked, language_id) == expected
