"""The languages whose gaps are found by their grammar: one table says all that differs between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from lsp_server.syntax.language import Blocks as Blocks
from lsp_server.syntax.language import Language as Language
from lsp_server.syntax.language import grammar as grammar

PLAIN_TEXT = "plaintext"


# A fallback where the grammar sees only errors, and for labels: what holds values rather than statements is left out.
_BRACE = (
    r"(?:\)|=>|->|\b(?:else|try|finally|do|static|unsafe|loop|async|move|const|default|init|get|set|select)|"
    r"\b(?:class|interface|enum|namespace|struct|union|impl|trait|mod|module|extern|record|switch|match|for|while|if|"
    r"function|func|fn|type|object)\b[^{}=]*|\)\s*(?::|->|[\w*\[\]. ])[^{}=]*)\s*\{\s*(?://.*)?$"
    r"|^\s*\{\s*$|^\s*(?:case\b.*|default)\s*:\s*(?://.*)?$"
)
_COLON = (
    r"^\s*(?:(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case)\b|\)).*"
    r":\s*(?:#.*)?$"
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PYTHON = Language(
    name="python",
    module="tree_sitter_python",
    suffixes=(".py", ".pyi", ".pyw"),
    fences=("python3", "py3", "pycon"),
    blocks=Blocks.COLON,
    opener=_COLON,
    import_words=("import", "from"),
    line_comment="#",
    block_comment=None,
    doc_marks=('"""', "'''"),
    strings=_words("string"),
    bodies=_words("block module"),
    functions=_words("function_definition"),
    imports=_words("import_statement import_from_statement future_import_statement"),
)
JAVASCRIPT = Language(
    name="javascript",
    module="tree_sitter_javascript",
    ids=("javascriptreact",),
    suffixes=(".js", ".mjs", ".cjs", ".jsx"),
    fences=("node",),
    opener=_BRACE,
    import_words=("import",),
    doc_marks=("/**",),
    strings=_words("string template_string regex"),
    comments=_words("comment html_comment"),
    bodies=_words("statement_block class_body switch_body class_static_block"),
    functions=_words(
        "function_declaration generator_function_declaration function_expression arrow_function method_definition"
    ),
    imports=_words("import_statement named_imports"),
)
TYPESCRIPT = replace(
    JAVASCRIPT,
    name="typescript",
    module="tree_sitter_typescript",
    function="language_typescript",
    ids=(),
    suffixes=(".ts", ".mts", ".cts"),
    fences=(),
    bodies=JAVASCRIPT.bodies | _words("interface_body object_type enum_body"),
)
TSX = replace(
    TYPESCRIPT,
    name="tsx",
    module="tree_sitter_typescript",
    function="language_tsx",
    ids=("typescriptreact",),
    suffixes=(".tsx",),
)
MARKDOWN = Language(
    name="markdown",
    module="tree_sitter_markdown",
    suffixes=(".md", ".markdown", ".mdown"),
    blocks=Blocks.NONE,
    line_comment="",
    block_comment=("<!--", "-->"),
    strings=frozenset(),
    comments=frozenset(),
)
JSON = Language(
    name="json",
    module="tree_sitter_json",
    ids=("jsonc", "json5"),
    suffixes=(".json", ".jsonc", ".json5", ".webmanifest", ".geojson"),
    blocks=Blocks.NONE,
    line_comment="",
    block_comment=None,
)
GO = Language(
    name="go",
    module="tree_sitter_go",
    suffixes=(".go",),
    fences=("golang",),
    opener=_BRACE,
    import_words=("import",),
    strings=_words("interpreted_string_literal raw_string_literal rune_literal"),
    bodies=_words(
        "block field_declaration_list interface_type expression_switch_statement type_switch_statement select_statement"
    ),
    functions=_words("function_declaration method_declaration func_literal"),
    imports=_words("import_declaration import_spec_list"),
)
RUST = Language(
    name="rust",
    module="tree_sitter_rust",
    suffixes=(".rs",),
    opener=_BRACE,
    import_words=("use", "extern"),
    doc_marks=("///", "//!", "/**", "/*!"),
    strings=_words("string_literal raw_string_literal char_literal"),
    comments=_words("line_comment block_comment"),
    bodies=_words(
        "block declaration_list field_declaration_list enum_variant_list match_block macro_definition"
        " ordered_field_declaration_list"
    ),
    functions=_words("function_item closure_expression"),
    imports=_words("use_declaration use_list extern_crate_declaration"),
)
JAVA = Language(
    name="java",
    module="tree_sitter_java",
    suffixes=(".java",),
    opener=_BRACE,
    import_words=("import",),
    doc_marks=("/**",),
    strings=_words("string_literal character_literal"),
    comments=_words("line_comment block_comment"),
    bodies=_words(
        "block class_body constructor_body interface_body enum_body switch_block annotation_type_body"
        " enum_body_declarations module_body"
    ),
    functions=_words("method_declaration constructor_declaration compact_constructor_declaration lambda_expression"),
    imports=_words("import_declaration"),
)
C = Language(
    name="c",
    module="tree_sitter_c",
    suffixes=(".c", ".h"),
    opener=_BRACE,
    flush_left="#",
    import_words=("#include", "#import"),
    doc_marks=("/**", "/*!", "///"),
    strings=_words("string_literal char_literal system_lib_string"),
    bodies=_words("compound_statement field_declaration_list enumerator_list declaration_list"),
    functions=_words("function_definition"),
    imports=_words("preproc_include"),
)
CPP = Language(
    name="cpp",
    module="tree_sitter_cpp",
    ids=("objective-cpp", "cuda-cpp"),
    suffixes=(".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".ipp", ".cu", ".cuh"),
    opener=_BRACE + r"|^\s*(?:public|private|protected)\s*:\s*$",
    flush_left="#",
    import_words=("#include", "using", "import"),
    doc_marks=("/**", "/*!", "///"),
    strings=_words("string_literal char_literal system_lib_string raw_string_literal"),
    bodies=_words("compound_statement field_declaration_list enumerator_list declaration_list"),
    functions=_words("function_definition lambda_expression"),
    imports=_words("preproc_include using_declaration"),
)
CSHARP = Language(
    name="csharp",
    module="tree_sitter_c_sharp",
    suffixes=(".cs", ".csx"),
    fences=("c#", "cs"),
    opener=_BRACE,
    flush_left="#",
    import_words=("using",),
    doc_marks=("///", "/**"),
    strings=_words(
        "string_literal verbatim_string_literal raw_string_literal interpolated_string_expression character_literal"
    ),
    bodies=_words("block declaration_list enum_member_declaration_list switch_body accessor_list switch_expression"),
    functions=_words(
        "method_declaration constructor_declaration destructor_declaration operator_declaration"
        " local_function_statement lambda_expression anonymous_method_expression accessor_declaration"
    ),
    imports=_words("using_directive extern_alias_directive"),
)
RUBY = Language(
    name="ruby",
    module="tree_sitter_ruby",
    suffixes=(".rb", ".rake", ".gemspec", ".ru", ".podspec"),
    files=("Gemfile", "Rakefile", "Vagrantfile", "Podfile"),
    blocks=Blocks.WORD,
    opener=(
        r"^\s*(?:(?:private|public|protected|module_function)\s+)?(?:def|class|module|if|unless|while|until|for|case|begin|"
        r"else|elsif|when|in|rescue|ensure)\b(?!.*(?:\bend|\bthen\b.*\S)\s*$)(?!.*\)\s*=\s)|"
        r"(?:\bdo|\{)\s*(?:\|[^|]*\|)?\s*(?:#.*)?$|=\s*(?:if|case|begin|unless)\b[^;]*$"
    ),
    closing=_words("end else elsif when in rescue ensure } ] )"),
    import_words=("require", "require_relative", "load", "autoload"),
    line_comment="#",
    block_comment=("=begin", "=end"),
    strings=_words("string heredoc_body string_array symbol_array regex subshell delimited_symbol"),
    bodies=_words("body_statement block_body then else do begin begin_block block do_block program"),
    functions=_words("method singleton_method"),
)
PHP = Language(
    name="php",
    module="tree_sitter_php",
    function="language_php",
    suffixes=(".php", ".phtml", ".php5"),
    opener=_BRACE + r"|\)\s*:\s*$|\belse\s*:\s*$",
    import_words=("use", "require", "require_once", "include", "include_once"),
    doc_marks=("/**",),
    strings=_words("string encapsed_string heredoc nowdoc shell_command_expression"),
    bodies=_words("compound_statement declaration_list switch_block match_block colon_block enum_declaration_list"),
    functions=_words("function_definition method_declaration anonymous_function arrow_function"),
    imports=_words("namespace_use_declaration namespace_use_group"),
)
LUA = Language(
    name="lua",
    module="tree_sitter_lua",
    suffixes=(".lua", ".rockspec"),
    blocks=Blocks.WORD,
    opener=r"\b(?:then|do|else|repeat)\s*(?:--.*)?$|\bfunction\b[^()]*\([^()]*\)\s*(?:--.*)?$",
    closing=_words("end else elseif until } )"),
    line_comment="--",
    block_comment=("--[[", "]]"),
    doc_marks=("---",),
    bodies=_words("block chunk"),
    functions=_words("function_declaration function_definition"),
)
BASH = Language(
    name="shellscript",
    module="tree_sitter_bash",
    ids=("bash", "sh", "zsh"),
    suffixes=(".sh", ".bash", ".zsh", ".ksh", ".bats"),
    files=(".bashrc", ".bash_profile", ".profile", ".zshrc", "PKGBUILD", "APKBUILD"),
    fences=("shell", "console"),
    blocks=Blocks.WORD,
    opener=(
        r"(?:^|[;\s])(?:then|do|else)\s*(?:#.*)?$|^\s*case\b.*\bin\s*$|(?:^|[\s)])[{(]\s*(?:#.*)?$|"
        r"^\s*\(?[^\s()=]+(?:\s*\|\s*[^\s()=]+)*\)\s*(?:#.*)?$"
    ),
    closing=_words("fi done esac else elif ;; } )"),
    import_words=("source", "."),
    line_comment="#",
    block_comment=None,
    strings=_words("string raw_string ansi_c_string translated_string heredoc_body"),
    bodies=_words("compound_statement do_group subshell"),
    functions=_words("function_definition"),
)
HTML = Language(
    name="html",
    module="tree_sitter_html",
    ids=("vue", "svelte", "jinja-html", "django-html"),
    suffixes=(".html", ".htm", ".xhtml"),
    blocks=Blocks.TAG,
    opener=(
        r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b|[/!?])[A-Za-z][\w:.-]*"
        r"(?:\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)?(?<!/)>\s*$"
    ),
    closing=_words("</"),
    line_comment="",
    block_comment=("<!--", "-->"),
    strings=_words("quoted_attribute_value"),
)
CSS = Language(
    name="css",
    module="tree_sitter_css",
    suffixes=(".css",),
    opener=r"\{\s*$",
    import_words=("@import", "@use", "@forward"),
    line_comment="",
    strings=_words("string_value"),
    comments=_words("comment js_comment"),
    bodies=_words("block keyframe_block_list"),
    imports=_words("import_statement"),
)
YAML = Language(
    name="yaml",
    module="tree_sitter_yaml",
    ids=("dockercompose", "github-actions-workflow"),
    suffixes=(".yaml", ".yml"),
    files=(".clang-format",),
    blocks=Blocks.INDENT,
    opener=r"^[^#]*(?:[^#:]:|:\s+(?:[|>][-+\d]*|&\S+|!\S+))\s*(?:#.*)?$|^\s*-\s*$",
    line_comment="#",
    block_comment=None,
    strings=_words("double_quote_scalar single_quote_scalar"),
    bodies=_words("block_mapping block_sequence"),
)
TOML = Language(
    name="toml",
    module="tree_sitter_toml",
    suffixes=(".toml",),
    files=("Cargo.lock", "poetry.lock", "uv.lock", "Pipfile"),
    blocks=Blocks.NONE,
    line_comment="#",
    block_comment=None,
)
SQL = Language(
    name="sql",
    module="tree_sitter_sql",
    suffixes=(".sql", ".ddl", ".psql"),
    opener=(
        r"(?i)(?:^|\s)(?:select|from|where|set|values|begin|then|else|loop|having|as|(?:group|order)\s+by)\s*(?:--.*)?$"
    ),
    closing=_words("end END ) else ELSE"),
    fences=("mysql", "postgresql", "postgres", "sqlite"),
    blocks=Blocks.NONE,
    line_comment="--",
    strings=_words("literal"),
    comments=_words("comment marginalia"),
)

LANGUAGES = (
    PYTHON, JAVASCRIPT, TYPESCRIPT, TSX, MARKDOWN, JSON, GO, RUST, JAVA, C, CPP, CSHARP, RUBY, PHP, LUA, BASH, HTML,
    CSS, YAML, TOML, SQL,
)  # fmt: skip

_BY_ID = {id_: language for language in LANGUAGES for id_ in (language.name, *language.ids)}
_BY_FENCE = _BY_ID | {
    word: language
    for language in LANGUAGES
    for word in (*language.fences, *(suffix.removeprefix(".") for suffix in language.suffixes))
}
_ID_BY_SUFFIX = {suffix: language.name for language in LANGUAGES for suffix in language.suffixes} | {
    ".jsx": "javascriptreact",
    ".tsx": "typescriptreact",
}
_ID_BY_FILE = {file: language.name for language in LANGUAGES for file in language.files}


def language_id_of(path: PurePath) -> str:
    """The LSP language id that an editor would give this file; ``plaintext`` if its name tells nothing."""
    return _ID_BY_FILE.get(path.name) or _ID_BY_SUFFIX.get(path.suffix.lower(), PLAIN_TEXT)


def language_of(language_id: str, uri: str = "") -> Language | None:
    """The language of a document, by its id, else by its file name; None means plain text rules."""
    known = _BY_ID.get(language_id)
    if known is None and language_id in ("", PLAIN_TEXT):
        known = _BY_ID.get(language_id_of(PurePath(uri)))
    return known


def language_of_fence(info: str) -> Language | None:
    """The language of a Markdown code fence, by the first word after its backticks."""
    words = info.split()
    return _BY_FENCE.get(words[0].lower()) if words else None


def model_language_id(language_id: str, uri: str = "") -> str:
    """The name that goes to the model: one grammar, one name."""
    known = language_of(language_id, uri)
    return known.name if known else language_id or PLAIN_TEXT
