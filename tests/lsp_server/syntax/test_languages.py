import re
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from lsp_server.syntax.languages import (
    CPP,
    LANGUAGES,
    MARKDOWN,
    RUST,
    TSX,
    TYPESCRIPT,
    Language,
    grammar,
    language_id_of,
    language_of,
    language_of_fence,
    model_language_id,
)

ROOT = Path(__file__).parents[3]
NODE_TYPES = ("strings", "comments", "bodies", "functions", "imports")


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_a_grammar_knows_every_node_type_that_the_table_names(language: Language) -> None:
    known = grammar(language)
    for field in NODE_TYPES:
        for node_type in getattr(language, field):
            assert known.id_for_node_kind(node_type, True) is not None, f"{field}: {node_type}"


def test_no_two_languages_claim_one_name() -> None:
    for field in ("suffixes", "files", "fences"):
        names = [name for language in LANGUAGES for name in getattr(language, field)]
        assert len(names) == len(set(names)), field
    ids = [id_ for language in LANGUAGES for id_ in (language.name, *language.ids)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("path", "language_id"),
    [
        ("a/b.rs", "rust"),
        ("B.CS", "csharp"),
        ("a.sh", "shellscript"),
        ("a.tsx", "typescriptreact"),
        ("a.jsx", "javascriptreact"),
        ("Gemfile", "ruby"),
        ("Cargo.lock", "toml"),
        ("notes", "plaintext"),
    ],
)
def test_a_file_name_tells_the_language(path: str, language_id: str) -> None:
    assert language_id_of(PurePath(path)) == language_id


def test_languages_are_known_by_id_else_by_name() -> None:
    assert language_of("typescriptreact") is TSX
    assert language_of("", "file:///a/b.ts") is TYPESCRIPT
    assert language_of("plaintext", "file:///a/README.md") is MARKDOWN
    assert language_of("rust", "file:///a/b.py") is RUST
    assert language_of("zig", "file:///a/b.py") is None
    assert language_of("", "") is None


@pytest.mark.parametrize(
    ("info", "name"), [("c++", "cpp"), ("C# {1}", "csharp"), ("sh", "shellscript"), ("yml", "yaml")]
)
def test_a_fence_names_its_language(info: str, name: str) -> None:
    found = language_of_fence(info)
    assert found
    assert found.name == name


def test_the_model_hears_one_name_per_grammar() -> None:
    assert model_language_id("bash") == "shellscript"
    assert model_language_id("cuda-cpp") == CPP.name
    assert model_language_id("zig") == "zig"
    assert model_language_id("") == "plaintext"


def test_the_model_knows_every_language() -> None:
    tokenizer = (ROOT / "inference" / "training" / "tokenizer.py").read_text(encoding="utf-8")
    for language in LANGUAGES:
        assert re.search(rf'"{language.name}"', tokenizer), language.name


def test_no_grammar_is_loaded_before_it_is_needed() -> None:
    code = "import sys, lsp_server.server; print([m for m in sys.modules if m.startswith('tree_sitter')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
