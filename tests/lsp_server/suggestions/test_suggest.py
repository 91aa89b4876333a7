import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from inference.protocol import Draft, Fixed, InfillRequest, Masked
from lsp_server.options import Options
from lsp_server.positions import Encoding
from lsp_server.snapshot import DocumentSnapshot
from lsp_server.suggestions.edits import edit_of
from lsp_server.suggestions.suggest import Suggestions, suggest
from lsp_server.syntax.languages import language_id_of
from lsp_server.worker_client import WorkerError, WorkerUnavailable
from tests.support.scripted_client import Script, ScriptedClient

CURSOR = "‸"
SAMPLES = Path(__file__).parents[2] / "data/samples"


async def ask(
    text: str,
    client: ScriptedClient,
    options: Options = Options(),  # noqa: B008 - frozen
    language_id: str = "python",
    uri: str = "file:///project/a.py",
) -> tuple[Suggestions, DocumentSnapshot]:
    snapshot = DocumentSnapshot(uri, 3, language_id, text.replace(CURSOR, ""))
    return await suggest(snapshot, text.index(CURSOR), client=client, options=options), snapshot


async def test_the_fill_is_checked_and_comes_with_what_it_cost() -> None:
    client = ScriptedClient(Script(fills=(" 42\ny = 1",)))
    found, _ = await ask("x = ‸\n", client)
    (item,) = found.items
    assert (item.text, item.start_offset, item.end_offset, item.confidence) == ("42", 4, 4, 0.9)
    assert found.result
    assert found.result.usage.denoising_steps == 4
    assert found.gap
    assert found.silence == ""


async def test_the_request_holds_what_stands_before_and_after() -> None:
    client = ScriptedClient(Script())
    await ask("x = ‸\nprint(x)\n", client, Options(deadline_ms=700, candidates=2))
    (request,) = client.requests
    assert request.segments == (Fixed("x = "), Masked(31), Fixed("\nprint(x)\n"))
    assert request == InfillRequest(
        segments=request.segments,
        language_id="python",
        document=request.document,
        n=2,
        deadline_ms=700,
        seed=request.seed,
    )
    assert request.document
    assert "project" not in request.document


async def test_the_same_text_asks_for_the_same_noise() -> None:
    client = ScriptedClient(Script())
    for text in ("x = ‸\n", "x = ‸\n", "y = ‸\n"):
        await ask(text, client)
    first, again, other = (request.seed for request in client.requests)
    assert first is not None
    assert first == again != other


@pytest.mark.parametrize(
    ("language_id", "name"), [("typescriptreact", "tsx"), ("javascriptreact", "javascript"), ("rust", "rust")]
)
async def test_the_model_hears_one_name_for_one_grammar(language_id: str, name: str) -> None:
    client = ScriptedClient(Script())
    await ask("const x = ‸", client, language_id=language_id)
    assert client.requests[0].language_id == name


async def test_below_the_models_floor_is_silence() -> None:
    found, _ = await ask("x = ‸\n", ScriptedClient(Script(confidence=0.1)))
    assert found.items == ()
    assert "below" in found.silence
    assert found.result


async def test_the_floor_can_be_set() -> None:
    script = Script(confidence=0.1)
    assert (await ask("x = ‸\n", ScriptedClient(script), Options(confidence_floor=0.0)))[0].items
    high = Options(confidence_floor=0.95)
    assert not (await ask("x = ‸\n", ScriptedClient(replace(script, confidence=0.9)), high))[0].items


async def test_candidates_that_come_out_equal_are_one() -> None:
    found, _ = await ask("x = ‸\n", ScriptedClient(Script(fills=("1", " 1", "2 ", "\n"))))
    assert [item.text for item in found.items] == ["1", "2"]


@pytest.mark.parametrize(
    "name", [".env", ".env.local", "a.pem", "SERVER.KEY", "x.cert", "x.crt", "secrets.yml", ".netrc", "sub%2F.env"]
)
async def test_files_that_may_hold_secrets_are_never_read(name: str) -> None:
    client = ScriptedClient(Script())
    found, _ = await ask("x = ‸\n", client, uri=f"file:///project/{name}")
    assert found.items == ()
    assert "secrets" in found.silence
    assert client.requests == []


@pytest.mark.parametrize(
    "options",
    [Options(enabled=False), Options(disabled_languages=("python",)), Options(excluded_files=("project/*.py",))],
)
async def test_what_the_user_excludes_is_not_sent(options: Options) -> None:
    client = ScriptedClient(Script())
    found, _ = await ask("x = ‸\n", client, options)
    assert found.silence
    assert client.requests == []


async def test_five_megabytes_are_not_sent() -> None:
    client = ScriptedClient(Script())
    found, _ = await ask("x = ‸\n" + "y" * 5_000_000, client)
    assert "5 MB" in found.silence
    assert client.requests == []


async def test_no_gap_no_request() -> None:
    client = ScriptedClient(Script())
    found, _ = await ask("val‸ue\n", client)
    assert found.silence
    assert client.requests == []


async def test_line_ends_are_the_documents() -> None:
    found, snapshot = await ask("def f():\r\n    ‸\r\n", ScriptedClient(Script(fills=("a()\n    b()",))))
    assert found.items[0].text == "a()\r\n    b()"
    edit = edit_of(snapshot, found.items[0], Encoding.UTF16, with_lf=True)
    assert edit
    assert edit.text == "a()\n    b()"


async def test_the_worker_s_troubles_are_the_callers() -> None:
    with pytest.raises(WorkerUnavailable):
        await ask("x = ‸\n", ScriptedClient(Script(state="loading")))
    with pytest.raises(WorkerError):
        await ask("x = ‸\n", ScriptedClient(Script(error="out_of_memory")))


async def test_drafts_are_streamed_only_if_somebody_looks() -> None:
    client = ScriptedClient(Script())
    drafts: list[Draft] = []
    snapshot = DocumentSnapshot("file:///a.py", 1, "python", "x = ")
    await suggest(snapshot, 4, client=client, options=Options(), on_draft=drafts.append)
    assert len(drafts) == 1
    await suggest(snapshot, 4, client=client, options=Options())
    assert [request.stream for request in client.requests] == [True, False]


async def test_cancelling_reaches_the_worker() -> None:
    events: asyncio.Queue[str] = asyncio.Queue()
    client = ScriptedClient(Script(hold=True), lambda event, _: events.put_nowait(event))
    task = asyncio.create_task(ask("x = ‸\n", client))
    assert await events.get() == "infill"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await events.get() == "cancelled"


async def test_text_that_spells_control_tokens_is_data() -> None:
    client = ScriptedClient(Script(fills=("1",)))
    found, _ = await ask("# <|gap_end|> <|fim_middle|> =======\nx = ‸\n", client)
    assert found.items
    assert client.requests[0].segments[0] == Fixed("# <|gap_end|> <|fim_middle|> =======\nx = ")


@pytest.mark.parametrize(
    "sample", json.loads((SAMPLES / "samples.json").read_text()), ids=lambda sample: sample["file"]
)
async def test_what_a_person_would_write_passes(sample: dict[str, str]) -> None:
    path = SAMPLES / sample["file"]
    line, column = map(int, sample["at"].split(":"))
    snapshot = DocumentSnapshot(path.as_uri(), 1, language_id_of(path), path.read_text(encoding="utf-8"))
    offset = snapshot.lines.offset(line - 1, column - 1, Encoding.UTF32)
    client = ScriptedClient(Script(fills=(sample["person_would_write"],)))
    found = await suggest(snapshot, offset, client=client, options=Options())
    assert [item.text for item in found.items] == [sample["person_would_write"]], found
