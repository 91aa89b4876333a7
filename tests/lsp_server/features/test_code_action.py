"""Code actions over the wire: what is listed where, that listing asks no model, and what resolving brings."""

from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException

from tests.lsp_server.features.test_edit_commands import TWO_HOLES, Applying, as_dict
from tests.support.editor import URI, Editor, editor

KINDS = types.ClientCodeActionKindOptions(value_set=[])
RESOLVES = types.CodeActionClientCapabilities(
    data_support=True,
    resolve_support=types.ClientCodeActionResolveOptions(properties=["edit"]),
    code_action_literal_support=types.ClientCodeActionLiteralOptions(code_action_kind=KINDS),
)
LITERALS = types.CodeActionClientCapabilities(
    code_action_literal_support=types.ClientCodeActionLiteralOptions(code_action_kind=KINDS)
)
WRONG = types.Diagnostic(types.Range(types.Position(1, 4), types.Position(1, 7)), 'undefined name "w"')
DOCUMENTED = 'def f():\n    """Old."""\n    return 1\n'


async def actions(
    one: Editor,
    start: tuple[int, int],
    end: tuple[int, int] | None = None,
    *,
    only: list[str] | None = None,
    diagnostics: tuple[types.Diagnostic, ...] = (),
    trigger: types.CodeActionTriggerKind | None = types.CodeActionTriggerKind.Invoked,
    uri: str = URI,
) -> list[Any]:
    kinds: Any = only
    params = types.CodeActionParams(
        text_document=types.TextDocumentIdentifier(uri),
        range=types.Range(types.Position(*start), types.Position(*(end or start))),
        context=types.CodeActionContext(diagnostics=list(diagnostics), only=kinds, trigger_kind=trigger),
    )
    return list(await one.client.text_document_code_action_async(params) or [])


def titles(found: list[Any]) -> list[str]:
    return [action.title.removeprefix("Lacuna: ") for action in found]


async def test_what_is_listed_where_and_that_no_model_is_asked() -> None:
    async with editor(code_action=RESOLVES, instructions=True) as one:
        one.open(TWO_HOLES)
        provider = one.initialized.capabilities.code_action_provider
        assert isinstance(provider, types.CodeActionOptions)
        assert provider.resolve_provider
        assert provider.code_action_kinds
        assert titles(await actions(one, (1, 5))) == ["fill the body of area", "fill all 2 holes in this file"]
        assert titles(await actions(one, (1, 5), trigger=types.CodeActionTriggerKind.Automatic)) == [
            "fill the body of area"
        ]
        assert titles(await actions(one, (3, 0))) == ["fill all 2 holes in this file"]
        assert titles(await actions(one, (0, 4), (0, 8), only=["refactor.rewrite.lacuna.rewrite"])) == [
            "rewrite the selection"
        ]
        assert titles(await actions(one, (0, 4), only=["refactor.rewrite.lacuna.docstring"])) == [
            "add a docstring to area"
        ]
        fixes = await actions(one, (1, 5), diagnostics=(WRONG,), only=["quickfix"])
        assert titles(fixes) == ['fix “undefined name "w"”']
        assert list(fixes[0].diagnostics) == [WRONG]
        assert await actions(one, (1, 5), diagnostics=(WRONG,), only=["source"]) == []
        assert len(await actions(one, (1, 4), (1, 7), diagnostics=(WRONG,), only=["refactor"])) == 3
        assert len(await actions(one, (1, 4), (1, 7), diagnostics=(WRONG,))) == 4
        assert await actions(one, (1, 5), uri="file:///other.py") == []
        one.open(TWO_HOLES, uri="file:///secrets.py")
        assert await actions(one, (1, 5), uri="file:///secrets.py") == []
        assert (one.unheard("fake/infill"), one.unheard("fake/edit")) == (0, 0)


async def test_without_instructions_what_needs_them_is_not_offered() -> None:
    async with editor(code_action=RESOLVES) as one:
        one.open(DOCUMENTED)
        assert await actions(one, (0, 4), diagnostics=(WRONG,)) == []
    async with editor(code_action=RESOLVES, instructions=True) as one:
        one.open(DOCUMENTED)
        assert titles(await actions(one, (0, 4), diagnostics=(WRONG,))) == [
            "update the docstring of f",
            'fix “undefined name "w"”',
        ]


async def test_resolving_makes_the_edit() -> None:
    async with editor(code_action=RESOLVES, fills=["return w * h"], instructions=True) as one:
        one.open(TWO_HOLES)
        fill, fill_all = await actions(one, (1, 5))
        for action, expected in (
            (fill, TWO_HOLES.replace("...", "return w * h")),
            (fill_all, TWO_HOLES.replace("...", "return w * h").replace("pass", "return w * h")),
        ):
            assert (action.edit, action.command) == (None, None)
            resolved = await one.client.code_action_resolve_async(action)
            editing = Applying.without(TWO_HOLES)
            assert resolved.edit
            editing.apply(resolved.edit)
            assert editing.text == expected
        (fix,) = await actions(one, (1, 5), diagnostics=(WRONG,), only=["quickfix"])
        await one.client.code_action_resolve_async(fix)
        request = (await one.heard("fake/edit")).request
        assert (request.selection, request.instruction) == ("...", 'Fix this problem: undefined name "w"')


async def test_what_is_wrong_at_a_hole_is_read_while_the_text_is_as_it_was() -> None:
    async with editor(code_action=RESOLVES, fills=["return w * h"], options={"contextSnippets": 400}) as one:
        one.open(TWO_HOLES)
        fill, _ = await actions(one, (1, 5), diagnostics=(WRONG,))
        await one.client.code_action_resolve_async(fill)
        assert '# To be mended below:\n# undefined name "w"\n' in await read(one)
        one.insert("\n", 0, 0, version=2)
        await one.command("lacuna.fillGap", {"uri": URI, "position": {"line": 2, "character": 5}, "preview": True})
        assert "mended" not in await read(one)


async def read(one: Editor) -> str:
    return "".join(getattr(part, "text", "") for part in (await one.heard("fake/infill")).request.segments)


async def test_an_action_of_another_version_is_not_resolved() -> None:
    async with editor(code_action=RESOLVES) as one:
        one.open(TWO_HOLES)
        fill, _ = await actions(one, (1, 5))
        one.insert("x", 0, 0, version=2)
        with pytest.raises(JsonRpcException, match="changed"):
            await one.client.code_action_resolve_async(fill)
        foreign = types.CodeAction(title="theirs", data={"command": "lacuna.other"})
        with pytest.raises(JsonRpcException):
            await one.client.code_action_resolve_async(foreign)


@pytest.mark.parametrize("code_action", [LITERALS, None])
async def test_an_editor_that_does_not_resolve_gets_a_command(code_action: Any) -> None:
    async with editor(code_action=code_action, fills=["return w * h"]) as one:
        editing = Applying(one, TWO_HOLES)
        one.open(TWO_HOLES)
        place = {"line": 1, "character": 5}
        listing = {
            "textDocument": {"uri": URI},
            "range": {"start": place, "end": place},
            "context": {"diagnostics": []},
        }
        fill, _ = as_dict(await one.ask(types.TEXT_DOCUMENT_CODE_ACTION, listing))
        command = fill["command"] if code_action else fill
        assert "data" not in fill
        answer = await one.command(command["command"], *command["arguments"])
        assert as_dict(answer)["applied"]
        assert editing.text == TWO_HOLES.replace("...", "return w * h")
        one.insert("x", 0, 0, version=2)
        await one.command(command["command"], *command["arguments"])
        assert one.client.messages[-1].message == "Lacuna: The document has changed meanwhile."
