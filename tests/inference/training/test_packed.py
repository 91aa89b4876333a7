"""Packed rows give every example what it would get alone."""

import random

import pytest
import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.drawing import TokenSampler, draw_examples
from inference.training.packed_attention import (
    canvas_blocks,
    canvas_visible,
    flexible,
    plain,
    plain_masks,
    prompt_blocks,
    prompt_visible,
)
from inference.training.packed_forward import packed_losses, states
from inference.training.packed_noise import add_noise, edited
from inference.training.packing import PackedBatch, RowSize, batch_of, pack_rows
from inference.training.train import initialize
from tests.support.toy_training import TOY

SIZE = RowSize(prompt=256, canvas=384, examples=6, canvases=2)


@pytest.fixture(scope="module")
def batch(token_sampler: TokenSampler, toy_spec: InfillSpec) -> PackedBatch:
    rng = random.Random(0)
    examples = list(draw_examples(token_sampler, toy_spec, rng, 24, 32))
    return batch_of(list(pack_rows(examples, SIZE, rng))[:3], toy_spec).to(torch.device("cpu"))


@pytest.fixture(scope="module")
def model() -> DenseDiffusionGemma:
    fresh = DenseDiffusionGemma(TOY)
    initialize(fresh, 0)
    return fresh


def test_no_example_is_lost_and_all_fit(token_sampler: TokenSampler, toy_spec: InfillSpec) -> None:
    rng = random.Random(3)
    examples = list(draw_examples(token_sampler, toy_spec, rng, 60, 64))
    rows = list(pack_rows(examples, SIZE, rng))
    assert sorted(id(e) for row in rows for e in row.examples) == sorted(map(id, examples))
    packed = batch_of(rows, toy_spec)
    assert packed.prompts.shape == (len(rows), SIZE.prompt)
    assert int((packed.prompt_owners >= 0).sum()) == sum(len(e.prompt) for e in examples)
    assert int((packed.canvas_owners >= 0).sum()) == SIZE.canvases * sum(e.canvas_length for e in examples)


def test_a_row_too_small_is_refused(toy_spec: InfillSpec) -> None:
    with pytest.raises(ValueError, match="largest example"):
        RowSize(prompt=64, canvas=512).check(toy_spec)


def test_every_example_gets_what_it_gets_alone(batch: PackedBatch, model: DenseDiffusionGemma) -> None:
    with torch.no_grad():
        hidden, decoded = states(model, batch, batch.canvases, plain_masks(batch), True)
    checked = 0
    for row in range(len(batch.prompts)):
        for owner in range(int(batch.prompt_owners[row].max()) + 1):
            there = batch.prompt_owners[row] == owner
            ids = batch.prompts[row][there][None]
            with torch.no_grad():
                alone, kv = model.encode_hidden(ids)
            assert torch.allclose(hidden[row][there], alone[0], atol=1e-4)
            for number in range(owner * SIZE.canvases, (owner + 1) * SIZE.canvases):
                here = (batch.canvas_numbers[row] == number) & (batch.canvas_owners[row] >= 0)
                canvas = batch.canvases[row][here][None]
                with torch.no_grad():
                    expected = model.decode(canvas, kv, model.decode(canvas, kv))
                assert torch.allclose(model.logits(decoded[row][here]), expected[0], atol=1e-3)
                checked += 1
    assert checked >= 12


def test_flex_attention_equals_the_plain_masks(batch: PackedBatch) -> None:
    torch.manual_seed(0)
    rows, prompt, canvas = len(batch.prompts), SIZE.prompt, SIZE.canvas
    keys, values = torch.randn(2, rows, 2, prompt + canvas, 16)
    for queries, visible, blocks, count in (
        (torch.randn(rows, 4, prompt, 16), prompt_visible(batch), prompt_blocks(batch), prompt),
        (torch.randn(rows, 4, canvas, 16), canvas_visible(batch), canvas_blocks(batch), prompt + canvas),
    ):
        seen = keys[:, :, :count], values[:, :, :count]
        with torch.no_grad():
            assert torch.allclose(flexible(blocks)(queries, *seen), plain(visible)(queries, *seen), atol=1e-4)


def test_noise_leaves_padding_and_replaces_one_token_of_each_canvas(batch: PackedBatch, toy_spec: InfillSpec) -> None:
    noisy = add_noise(batch, SIZE, toy_spec, False, torch.Generator().manual_seed(0))
    real = batch.canvas_owners >= 0
    changed = noisy.ids != batch.canvases
    assert not noisy.weights[~real].any()
    assert bool((noisy.weights[real] > 0).all())
    assert 0.3 < float(changed[real].float().mean()) < 0.8
    assert int(noisy.ids[changed].min()) >= toy_spec.noise_low
    assert int(noisy.ids.max()) < toy_spec.noise_high
    for row in range(len(real)):
        for number in batch.canvas_numbers[row][real[row]].unique():
            here = (batch.canvas_numbers[row] == number) & real[row]
            pure = noisy.pure[row][here]
            assert bool(pure.all()) or not bool(pure.any())


def test_edits_move_what_follows_by_one(batch: PackedBatch) -> None:
    noise = torch.full_like(batch.canvases, 399)
    found = edited(batch, SIZE, noise, torch.Generator().manual_seed(1))
    real = batch.canvas_owners >= 0
    kept = moved = 0
    for row in range(len(real)):
        for number in batch.canvas_numbers[row][real[row]].unique():
            here = (batch.canvas_numbers[row] == number) & real[row]
            before, after = batch.canvases[row][here].tolist(), found[row][here].tolist()
            if before == after:
                kept += 1
            else:
                moved += 1
                foreign = sum(token not in before and token != 399 for token in after)
                assert foreign == 0  # nothing crosses from one canvas into another
    assert kept
    assert moved


def test_losses_at_the_start_are_those_of_a_guess(
    batch: PackedBatch, model: DenseDiffusionGemma, toy_spec: InfillSpec
) -> None:
    noisy = add_noise(batch, SIZE, toy_spec, False, torch.Generator().manual_seed(0))
    hidden, decoded = states(model, batch, noisy.ids, plain_masks(batch), False)
    losses = packed_losses(model, batch, noisy, hidden, decoded, 0.5)
    assert float(losses.encoder) == pytest.approx(5.99, rel=0.15)
    assert float(losses.total) == pytest.approx(float(losses.canvas) + 0.5 * float(losses.encoder), rel=1e-4)
    for canvases, same in ((batch.canvases, True), (batch.canvases.roll(1, 1), False)):
        taught = packed_losses(model, batch, noisy, hidden, decoded, 0.5, canvases)
        assert (float(taught.canvas) == float(losses.canvas)) is same
