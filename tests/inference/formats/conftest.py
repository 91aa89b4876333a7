from pathlib import Path
from typing import Any

import pytest

from inference.formats.chat import ChatFormat
from tests.support.chat_checkpoint import write_chat_tokenizer

CONFIG: dict[str, Any] = {"canvas_length": 256, "text_config": {"vocab_size": 400, "max_position_embeddings": 4096}}


def chat_format(folder: Path, template: str = "current", **text_config: int) -> ChatFormat:
    write_chat_tokenizer(folder, template=template)
    return ChatFormat.load(folder, CONFIG | {"text_config": CONFIG["text_config"] | text_config})


@pytest.fixture(scope="session")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    """A chat checkpoint's format, with today's template."""
    return chat_format(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="session")
def launch_chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    """With the template of launch, which writes the empty thought block."""
    return chat_format(tmp_path_factory.mktemp("launch"), "launch")


@pytest.fixture(scope="session")
def narrow_chat(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    """With room for about a hundred tokens of context."""
    return chat_format(tmp_path_factory.mktemp("narrow"), max_position_embeddings=780)
