"""Whatever a model says, canvas after canvas ends, pins hold, and no gap gets more tokens than it may take."""

from collections.abc import Iterator

import pytest
import torch

from inference.denoising import DenoisingSettings, denoise
from inference.formats.base import Format, Prepared, Reading
from inference.formats.chat import ChatFormat
from inference.formats.fim import FimFormat
from inference.protocol import EditRequest, FinishReason, Fixed, InfillRequest, Masked
from inference.samplers import EntropyBoundSampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from inference.training.tokenizer import infill_spec, save_tokenizer, train_tokenizer
from tests.support.chat_checkpoint import write_chat_tokenizer
from tests.support.fake_denoiser import FakeDenoiser, random_logits

SETTINGS = DenoisingSettings(
    sampler=EntropyBoundSampler(0.1),
    temperature=LinearTemperature(0.4, 0.8),
    stopping=StableAndConfident(1, 0.005),
    max_denoising_steps=2,
)
VOCABULARY, POSITIONS = 340, 900


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    chat, fim = tmp_path_factory.mktemp("chat"), tmp_path_factory.mktemp("fim")
    write_chat_tokenizer(chat)
    tokenizer = train_tokenizer(["for item in items:\n    print(item)\n"], vocabulary=VOCABULARY)
    save_tokenizer(tokenizer, fim)
    infill_spec(tokenizer, max_prompt_tokens=96, confidence_floor=0.0).save(fim)
    sizes = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS}
    return {
        "chat": ChatFormat.load(chat, {"canvas_length": 32, "text_config": sizes}),
        "fim": FimFormat.load(fim),
    }


def denoised(format_: Format, request: InfillRequest | EditRequest, seed: int) -> Iterator[tuple[Prepared, Reading]]:
    """Every canvas of a request and the reading of its best row, from a model that says anything."""
    model = FakeDenoiser(VOCABULARY, random_logits(VOCABULARY, seed))
    prepared: Prepared | None = format_.prepare(request)
    while prepared is not None:
        canvas = prepared.canvas
        result = denoise(
            model,
            model.encode(torch.tensor([prepared.prompt_ids])),
            canvas,
            SETTINGS,
            noise=format_.noise_range,
            generator=torch.Generator().manual_seed(seed),
            decisive=format_.decisive,
            canvas_lengths=format_.canvas_lengths,
        )
        for row in result.rows:
            end = len(row.token_ids)
            pinned = canvas.pinned[row.number, :end]
            assert torch.equal(torch.tensor(row.token_ids)[pinned], canvas.token_ids[row.number, :end][pinned])
        readings = [format_.read(prepared, row.number, row.token_ids, row.log_probs) for row in result.rows]
        at = max(range(len(readings)), key=lambda index: readings[index].confidence)
        yield prepared, readings[at]
        row = result.rows[at]
        prepared = format_.following(prepared, row.number, row.token_ids, row.log_probs)


REQUESTS = {
    "one gap": InfillRequest(segments=(Fixed("for "), Masked(12), Fixed(" in items:\n")), n=3),
    "a long gap": InfillRequest(segments=(Fixed("for "), Masked(150), Fixed(" in items:\n"))),
    "an endless document": InfillRequest(segments=(Fixed("for " * 900), Masked(90), Fixed("item\n" * 900))),
    "three gaps": InfillRequest(segments=(Masked(3), Fixed("a"), Masked(200), Fixed("b"), Masked(2), Fixed("c"))),
    "an edit": EditRequest(selection="item\n" * 30, prefix="for ", suffix="!", seed=1, n=2),
    "a thought": EditRequest(selection="item", thinking=True, seed=1),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("fim", name) for name in REQUESTS if name != "a thought"), *(("chat", name) for name in REQUESTS)],
)
def test_a_model_that_says_anything(formats: dict[str, Format], kind: str, name: str, seed: int) -> None:
    format_, request = formats[kind], REQUESTS[name]
    gaps = [s for s in request.segments if isinstance(s, Masked)] if isinstance(request, InfillRequest) else [Masked(1)]
    limit = 96 if kind == "fim" else POSITIONS
    cut = 0
    for canvases, (prepared, reading) in enumerate(denoised(format_, request, seed)):
        assert canvases < 400
        assert prepared.canvas.shape[1] in format_.canvas_lengths
        assert prepared.canvas.shape[0] == 1 or canvases == 0 or kind == "chat"
        assert len(prepared.prompt_ids) <= limit
        assert prepared.truncated_tokens >= cut
        cut = prepared.truncated_tokens
        assert len(reading.fills) == len(gaps)
        assert 0.0 <= reading.confidence <= 1.0
        assert reading.finish_reason in (FinishReason.GAP_END, FinishReason.LENGTH)
        if isinstance(request, InfillRequest):
            for fill, gap in zip(reading.fills, gaps, strict=True):
                assert len(fill) <= 12 * gap.max_tokens  # no token of these tokenizers is longer
    if name == "an endless document":
        assert cut > 1000
