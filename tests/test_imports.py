"""Imports go downwards only, and the editor's process never loads what the GPU needs. Proven on the syntax trees."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("lsp_server", "inference") for path in (ROOT / room).rglob("*.py"))

HEAVY = {"torch", "transformers", "safetensors", "tokenizers", "numpy", "huggingface_hub"}
EDITOR_LIBRARIES = {"pygls", "lsprotocol"}

# What each place must never import (prefixes of dotted names). Absences are the architecture.
FORBIDDEN = {
    "inference": {"lsp_server", *EDITOR_LIBRARIES},
    "inference/codec.py": {"inference", *HEAVY},
    "inference/protocol.py": {"inference", *HEAVY},
    "inference/weight_files.py": HEAVY,  # these are read before anything can be missing, and by `lacuna model`
    "inference/hub_cache.py": HEAVY,
    "inference/checkpoint_info.py": HEAVY,
    "inference/adapters.py": {"transformers", "inference.engines", "inference.models", "inference.app"},
    "inference/weights.py": {"transformers", "inference.engines", "inference.models", "inference.app"},
    "inference/app.py": {"torch", "transformers", "inference.engines.local", "tree_sitter"},
    "inference/scheduler.py": {"torch", "transformers", "inference.engines.local", "starlette", "asyncio"},
    "inference/batch.py": {"torch", "transformers", "inference.engines.local", "starlette", "asyncio", "threading"},
    "inference/request_queue.py": {"inference.engines", "starlette", "asyncio", "threading", "time"},
    "inference/compat.py": {"torch", "transformers", "inference.engines", "inference.app"},
    "inference/engines/base.py": {"torch", "transformers"},
    "inference/denoising.py": {
        "transformers",
        "inference.models.diffusion_gemma",
        "inference.engines",
        "inference.app",
    },
    "inference/samplers.py": {"transformers", "inference.engines", "inference.models"},
    "inference/stopping.py": {"transformers", "inference.engines", "inference.models"},
    "inference/canvas.py": {"transformers", "inference.engines", "inference.models"},
    "inference/canvas_rows.py": {"transformers", "inference.engines", "inference.formats"},
    "inference/shared_forward.py": {"transformers", "inference.engines", "inference.formats"},
    "inference/prefix_cache.py": {"torch", "transformers", "inference.engines", "inference.formats"},
    "inference/warm_start.py": {"torch", "transformers", "inference"},
    "inference/judging.py": {"torch", "transformers", "inference.engines", "inference.models"},
    "inference/engines": {"inference.app", "inference.scheduler", "tree_sitter"},
    "inference/formats": {"inference.app", "inference.scheduler", "inference.models", "tree_sitter"},
    "inference/formats/calibration.py": {"inference", *HEAVY},
    "inference/formats/context_budget.py": HEAVY,
    "inference/formats/filled.py": HEAVY,
    "inference/formats/gap_length.py": HEAVY,
    "inference/formats/piecewise_encoder.py": HEAVY,
    "inference/models": {"inference.app", "inference.scheduler", "inference.engines", "inference.formats"},
    **{
        f"inference/models/{name}.py": {"transformers", "inference.models.diffusion_gemma"}
        for name in ("lean_denoiser", "lean_weights", "lean", "graphed", "dense")
    },
    "inference/bench": {"inference.app", "inference.scheduler", "inference.engines", "inference.formats"},
    "inference/training": {
        "inference.app",
        "inference.engines",
        "inference.scheduler",
        "inference.worker",
        "httpx",
        "starlette",
    },
    "lsp_server": {
        *HEAVY,
        "inference.app",
        "inference.bench",
        "inference.checkpoint",
        "inference.engines",
        "inference.hub",
        "inference.models",
        "inference.scheduler",
    },
    "lsp_server/positions.py": {*EDITOR_LIBRARIES, "asyncio", "lsp_server.server", "lsp_server.features"},
    "lsp_server/snapshot.py": {*EDITOR_LIBRARIES, "asyncio", "lsp_server.server", "lsp_server.features"},
    **{
        f"lsp_server/{name}.py": {*EDITOR_LIBRARIES, "asyncio", "lsp_server.server", "lsp_server.features"}
        for name in ("options", "switches", "settings", "framing", "uris", "notebooks", "trace")
    },
    "lsp_server/stdio.py": {*EDITOR_LIBRARIES, "lsp_server"},
    "lsp_server/session.py": {*EDITOR_LIBRARIES, "httpx", "lsp_server.server", "lsp_server.features"},
    "lsp_server/canvas.py": {*EDITOR_LIBRARIES, "asyncio", "lsp_server.server", "lsp_server.features"},
    "lsp_server/context": {
        *EDITOR_LIBRARIES,
        "asyncio",
        "httpx",
        "lsp_server.server",
        "lsp_server.features",
        "lsp_server.suggestions",
    },
    "lsp_server/exclusions": {
        *EDITOR_LIBRARIES,
        "asyncio",
        "httpx",
        "lsp_server.server",
        "lsp_server.features",
        "lsp_server.suggestions",
        "lsp_server.context",
    },
    "lsp_server/proposals": {
        *EDITOR_LIBRARIES,
        "asyncio",
        "httpx",
        "lsp_server.server",
        "lsp_server.features",
        "lsp_server.suggestions",
    },
    "lsp_server/syntax": {*EDITOR_LIBRARIES, "asyncio", "lsp_server.server", "lsp_server.features", "httpx"},
    "lsp_server/rewriting": {
        *EDITOR_LIBRARIES,
        "lsp_server.server",
        "lsp_server.session",
        "lsp_server.features",
        "httpx",
    },
    "lsp_server/suggestions": {*EDITOR_LIBRARIES, "lsp_server.server", "lsp_server.features", "httpx"},
    "lsp_server/next_edit": {*EDITOR_LIBRARIES, "asyncio", "httpx", "lsp_server.server", "lsp_server.features"},
    "lsp_server/typing": {*EDITOR_LIBRARIES, "lsp_server.server", "lsp_server.features", "lsp_server.session", "httpx"},
    **{
        f"lsp_server/typing/{name}.py": {"asyncio", "lsp_server.worker_client"}
        for name in ("anchor", "cache", "question", "remainder", "rhythm")
    },
    "lsp_server/features": {"lsp_server.cli", "lsp_server.commands", "httpx"},
    "lsp_server/lifecycle.py": {*EDITOR_LIBRARIES, "lsp_server.server", "lsp_server.features"},
    "lsp_server/server.py": {"lsp_server.cli", "lsp_server.commands"},
}

# What a place may import in spite of the table above.
ALLOWED = {"inference/protocol.py": {"inference.codec"}}

# transformers is slow to import and changes often: only these know it.
TRANSFORMERS_ROOMS = (
    "inference/models/",
    "inference/checkpoint.py",
    "inference/formats/",
    "inference/training/",
    "inference/bench/",  # it measures transformers itself
)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth in it, by its absolute dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def starts_with(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def inside(path: Path, place: str) -> bool:
    relative = path.relative_to(ROOT).as_posix()
    return relative == place or relative.startswith(place + "/")


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_go_downwards_only(place: str) -> None:
    assert (ROOT / place).exists(), f"{place} is gone; mend this table"
    broken = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in SOURCES
        if inside(path, place)
        for module in imports(path)
        for prefix in FORBIDDEN[place]
        if starts_with(module, prefix) and not any(starts_with(module, allowed) for allowed in ALLOWED.get(place, ()))
    ]
    assert not broken


def test_only_the_rooms_that_may_import_transformers() -> None:
    broken = [
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if any(starts_with(module, "transformers") for module in imports(path))
        and not path.relative_to(ROOT).as_posix().startswith(TRANSFORMERS_ROOMS)
    ]
    assert not broken


@pytest.mark.parametrize("path", ["inference/codec.py", "inference/protocol.py"])
def test_the_shared_modules_are_standard_library_only(path: str) -> None:
    names = {module for module in imports(ROOT / path) if not starts_with(module, "inference.codec")}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("module", ["lsp_server.cli", "lsp_server.server", "inference.protocol"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert "lsp_server" in loaded or "inference" in loaded
    assert not loaded & HEAVY
