"""``GET /metrics``: numbers of this worker, read as Prometheus reads them, and nobody's text."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families

from inference.metrics import Metrics
from inference.protocol import Choice, Fill, FinishReason, InfillResult, Timings, Usage
from tests.support.fake_engine import Gate, Script
from tests.support.served import served

GAP = {"prefix": "secret words", "suffix": "", "document": "secret document", "client": "secret window"}


async def read(client: httpx.AsyncClient) -> dict[str, float]:
    """Each sample by its name and labels, as ``name{value}``."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "secret" not in answer.text
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_what_requests_leave_behind() -> None:
    with served() as serve:
        client = serve(Script(steps=4))
        for _ in range(3):
            assert (await client.post("/v1/infill", json=GAP)).status_code == 200
        assert (await client.post("/v1/edit", json={"selection": "a", "instruction": "b"})).status_code == 400
        told = await read(client)
    assert told["lacuna_requests_total{filled}"] == 3
    assert told["lacuna_requests_total{bad_request}"] == 1
    assert told["lacuna_answers_total{model}"] == 3
    assert told["lacuna_denoising_steps_total"] == 12
    assert told["lacuna_batch_size_count"] == told["lacuna_batch_size_sum"] == 12
    assert told["lacuna_prompt_tokens_total"] == 3
    assert told["lacuna_cached_tokens_total"] == 0
    assert told["lacuna_prefix_cache_total{miss}"] == 3
    for stage in ("queue", "encode", "denoise", "total"):
        assert told[f"lacuna_stage_seconds_count{{{stage}}}"] == 3
    assert told["lacuna_stage_seconds_sum{total}"] > 0
    assert told["lacuna_waiting_requests{interactive}"] == told["lacuna_requests_under_way"] == 0


async def test_what_waits_and_what_is_refused() -> None:
    gate = Gate()
    with served() as serve:
        client = serve(Script(steps=1), on_step=gate)
        bodies = [GAP | {"document": str(number)} for number in range(4)]  # one is begun, two wait, one is refused
        running = asyncio.create_task(client.post("/v1/infill", json=bodies[0]))
        await asyncio.to_thread(gate.reached.wait, 30.0)
        waiting = [asyncio.create_task(client.post("/v1/infill", json=body)) for body in bodies[1:]]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=30.0)
        told = await read(client)
        gate.opened.set()
        await asyncio.gather(running, *waiting)
    assert told["lacuna_waiting_requests{interactive}"] == 2
    assert told["lacuna_waiting_requests{background}"] == 0
    assert told["lacuna_requests_under_way"] == 1
    assert told["lacuna_requests_total{queue_full}"] == 1


async def test_two_workers_of_one_process_count_apart() -> None:
    with served() as serve:
        one, other = serve(), serve()
        await one.post("/v1/infill", json=GAP)
        assert (await read(one))["lacuna_denoising_steps_total"] == 3
        assert (await read(other))["lacuna_denoising_steps_total"] == 0


async def test_nobody_reads_them_without_the_token() -> None:
    with served() as serve:
        assert (await serve().get("/metrics", headers={"authorization": "Bearer x"})).status_code == 401


def test_answers_are_counted_by_where_they_came_from() -> None:
    metrics = Metrics()
    for proposed in (True, False, True):
        choices = tuple(Choice((Fill("x"),), 0.5, FinishReason.GAP_END, proposed=p) for p in (proposed, True))
        usage = Usage(prompt_tokens=1, cached_tokens=0, canvas_tokens=0, denoising_steps=0)
        timings = Timings(queue=0.0, encode=0.0, denoise=0.0, total=0.0)
        metrics.ended(InfillResult(choices=choices, usage=usage, timings_ms=timings, model="m", engine="local"))
    text = metrics.render().decode()
    assert 'lacuna_answers_total{source="proposal"} 2.0' in text
    assert 'lacuna_answers_total{source="model"} 1.0' in text
