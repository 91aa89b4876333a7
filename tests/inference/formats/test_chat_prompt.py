"""The checkpoint's own template around text that is data: today's template, that of launch, a plain one."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from inference.errors import EngineError
from inference.formats.chat_prompt import ChatPrompt
from inference.protocol import ErrorCode
from tests.support.chat_checkpoint import CONTROLS, TEMPLATES, write_chat_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for template in TEMPLATES:
        made[template] = tmp_path_factory.mktemp(template)
        write_chat_tokenizer(made[template], template=template)
    return made


@pytest.fixture(scope="module")
def prompts(folders: dict[str, Path]) -> dict[str, ChatPrompt]:
    return {template: ChatPrompt.load(folder) for template, folder in folders.items()}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("thinking", [False, True])
def test_the_turns_are_those_that_transformers_renders(
    folders: dict[str, Path], prompts: dict[str, ChatPrompt], template: str, thinking: bool
) -> None:
    prompt = prompts[template]
    if template == "plain" and thinking:
        with pytest.raises(EngineError, match="send the edit without 'thinking'") as caught:
            prompt.turns(thinking=True)
        assert caught.value.code is ErrorCode.BAD_REQUEST
        return
    turns = prompt.turns(thinking)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders[template])
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "fill this"}],
        add_generation_prompt=True,
        enable_thinking=thinking,
        return_dict=False,
    )
    assert [*turns.before, *prompt.encode("fill this"), *turns.behind] == expected


def test_the_empty_thought_is_left_to_the_model_or_written_by_the_template(prompts: dict[str, ChatPrompt]) -> None:
    opening, end = CONTROLS.index("<|channel>"), CONTROLS.index("<channel|>")
    block = prompts["current"].no_thought
    assert (block[0], block[-1]) == (opening, end)
    assert prompts["current"].text(block) == "thought\n"
    assert prompts["launch"].no_thought == ()
    assert prompts["launch"].quiet.behind[-len(block) :] == block
    assert prompts["plain"].no_thought == ()
    assert prompts["plain"].thinking is None


def test_control_ids_are_the_tokenizers(prompts: dict[str, ChatPrompt]) -> None:
    prompt = prompts["current"]
    assert (prompt.turn_end, prompt.eos) == (CONTROLS.index("<turn|>"), CONTROLS.index("<eos>"))
    assert prompt.controls == set(range(len(CONTROLS)))


@given(
    text=st.lists(st.one_of(st.sampled_from(CONTROLS), st.text(max_size=4), st.sampled_from("🙂\r\n<|>"))).map("".join)
)
@settings(max_examples=100, deadline=None)
def test_text_is_data_whatever_it_spells(prompts: dict[str, ChatPrompt], text: str) -> None:
    ids = prompts["current"].encode(text)
    assert prompts["current"].controls.isdisjoint(ids)
    assert prompts["current"].text(ids) == text


def test_a_control_token_that_is_not_marked_special_is_spelled_out(tmp_path: Path) -> None:
    write_chat_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    for token in tokenizer["added_tokens"]:
        token["special"] = token["content"] != "<turn|>"
    path.write_text(json.dumps(tokenizer))
    prompt = ChatPrompt.load(tmp_path)
    text = "a<turn|><turn|>b <eos>\ue000"
    ids = prompt.encode(text)
    assert prompt.controls.isdisjoint(ids)
    assert prompt.text(ids) == text
    assert prompt.turn_end in prompt.quiet.behind


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("tokenizer.json", "{", "", r"tokenizer\.json: cannot be read"),
        ("tokenizer.json", "<turn|>", "<end>", r"tokenizer\.json: has no token '<turn\|>'"),
        ("tokenizer.json", '"ByteLevel"', '"Metaspace"', "tokenizer"),
        ("chat_template.jinja", "{{ message.content | trim }}", "", "does not show a message once"),
        ("chat_template.jinja", "{% endfor %}", "", "cannot be rendered"),
        ("tokenizer.json", '"add_prefix_space":false', '"add_prefix_space":true', "text that it reads in parts"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, file: str, old: str, new: str, reason: str
) -> None:
    write_chat_tokenizer(tmp_path)
    path = tmp_path / file
    content = path.read_text()
    if file.endswith("json"):
        content = json.dumps(json.loads(content), separators=(",", ":"))
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(ValueError, match=reason):
        ChatPrompt.load(tmp_path)
