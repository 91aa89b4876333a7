import json
import math
import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseConfig, DenseDiffusionGemma
from inference.training.corpus import Document
from inference.training.denoise import Sampling, accepted, denoise
from inference.training.examples import Example, Pools, Sampler, canvas_length, cut, make_batches
from inference.training.loss import CHUNK, softcap_cross_entropy
from inference.training.noise import CLEAN_WEIGHT, PADS_WEIGHT, canvas_weights, corrupt, noise_levels
from inference.training.optimizer import Optimizer, Rates, orthogonalize
from inference.training.tokenizer import infill_spec, train_tokenizer
from inference.training.train import Recipe, Trainer, batch_losses, initialize

CODE = "".join(f"def f{n % 7}(left, right):\n    total = left + right\n    return total * {n}\n\n\n" for n in range(60))
TOY = DenseConfig(
    vocab_size=400, hidden_size=32, intermediate_size=48, expert_size=16, heads=2, kv_heads=1, full_kv_heads=1,
    head_dim=16, full_head_dim=16, full=(False, True), window=256, epsilon=1e-6, softcap=30.0, theta=1e4,
    full_theta=1e6, full_rotary_share=0.25,
)  # fmt: skip


@pytest.fixture(scope="module")
def pools() -> Pools:
    tokenizer = train_tokenizer([CODE], vocabulary=400)
    sampler = Sampler([Document("p", "a.py", "python", CODE), Document("p", "b.md", "markdown", CODE)])
    return Pools(
        sampler, tokenizer, infill_spec(tokenizer, 96, 0.0), seed=1, examples=48, token_budget=1024, canvases=2
    )


def toy(pools: Pools) -> DenseDiffusionGemma:
    assert pools.spec.noise_high <= TOY.vocab_size
    return DenseDiffusionGemma(TOY)


def trainer(pools: Pools, folder: Path, steps: int, **changes: float) -> Trainer:
    recipe = Recipe(steps, canvases=2, self_conditioning_from=4, log_every=1, **changes)  # type: ignore[arg-type]
    return Trainer(toy(pools), pools, recipe, folder, Rates(average=0.9))


def test_the_loss_falls(pools: Pools, tmp_path: Path) -> None:
    trainer(pools, tmp_path, 60).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for name in ("canvas", "encoder"):
        first, last = (sum(line[name] for line in part) / 5 for part in (lines[:5], lines[-5:]))
        assert last < first - 0.5


def test_resuming_equals_never_having_stopped(pools: Pools, tmp_path: Path) -> None:
    whole = trainer(pools, tmp_path / "whole", 12)
    whole.run()
    trainer(pools, tmp_path / "parts", 7).run()  # stops in its decay, so only earlier steps may be kept
    early = trainer(pools, tmp_path / "stopped", 12)
    early.run(stop=lambda: early.position["step"] >= 8)
    assert early.position["step"] == 8
    resumed = trainer(pools, tmp_path / "stopped", 12)
    assert resumed.position == early.position
    resumed.run()
    assert resumed.position == whole.position
    for name, tensor in whole.optimizer.state.items():
        assert torch.equal(tensor, resumed.optimizer.state[name]), name


def test_before_the_decay_only_the_absolute_step_counts() -> None:
    short, long = Recipe(400), Recipe(4000)
    for step in (0, 50, 299):
        assert short.rate_factor(step) == long.rate_factor(step)
        assert short.encoder_weight(step) == long.encoder_weight(step) == 1.0
    assert short.rate_factor(350) == pytest.approx(0.5)
    assert short.encoder_weight(400) == pytest.approx(0.3)
    assert short.rate_factor(400) == 0.0


def test_pools_depend_on_seed_and_number_only(pools: Pools) -> None:
    first, again, other = pools.pool(2), pools.pool(2), pools.pool(3)
    assert all(torch.equal(a.prompts, b.prompts) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].prompts, other[0].prompts)


def test_batches_hold_whole_examples_within_budget(pools: Pools) -> None:
    for batch in pools.pool(0):
        rows, prompt = batch.prompts.shape
        assert rows == 1 or rows * (prompt + 2 * batch.canvases.shape[1]) <= pools.token_budget
        assert prompt <= pools.spec.max_prompt_tokens
        for row, length in zip(batch.prompts, batch.lengths, strict=True):
            assert int(row[0]) == pools.spec.bos
            assert not row[length:].any()


def test_no_example_gets_lost_in_batches(pools: Pools) -> None:
    spec = pools.spec
    examples = [Example(spec.prompt("python", [60 + n] * (n % 9), []), [60 + n], 16) for n in range(50)]
    batches = make_batches(examples, spec, 256, 2, random.Random(0))
    gaps = sorted(int(canvas[0]) for batch in batches for canvas in batch.canvases)
    assert gaps == [60 + n for n in range(50)]


def test_the_context_keeps_what_is_near_the_gap() -> None:
    prefix, suffix = list(range(100)), list(range(100, 200))
    assert cut(prefix, suffix, 30) == (prefix[-20:], suffix[:10])
    assert cut(prefix, [], 30) == (prefix[-30:], [])
    assert cut([], suffix, 30) == ([], suffix[:30])


def test_canvases_are_large_enough_but_for_cuts() -> None:
    rng = random.Random(0)
    buckets = (16, 32, 64, 128)
    lengths = [canvas_length(20, buckets, 128, 0.0, rng) for _ in range(400)]
    assert set(lengths) == {16, 32, 64}
    assert lengths.count(16) < 80
    assert {canvas_length(20, buckets, 16, 0.0, rng) for _ in range(20)} == {16}
    later = [canvas_length(5, buckets, 128, 1.0, rng) for _ in range(400)]
    assert all(100 < later.count(length) < 170 for length in (16, 32, 64))
    assert {canvas_length(90, buckets, 128, 1.0, rng) for _ in range(40)} == {64, 128}


def test_noise_levels_are_spread_and_some_are_pure() -> None:
    t = noise_levels(64, 4, torch.Generator().manual_seed(0))
    assert t.shape == (64, 4)
    assert 0.05 < float((t == 1.0).float().mean()) < 0.3
    assert float(t.min()) > 0.0
    assert float(t[t < 1.0].mean()) == pytest.approx(0.5, abs=0.05)


def test_noise_replaces_at_least_one_token_and_stays_in_its_range() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((3, 2, 16), 7)
    noisy, replaced = corrupt(clean, torch.full((3, 2), 0.001), 56, 400, generator)
    assert bool((replaced.sum(-1) >= 1).all())
    assert torch.equal(noisy[~replaced], clean[~replaced])
    noisy, replaced = corrupt(clean, torch.ones(3, 2), 56, 400, generator)
    assert bool(replaced.all())
    assert 56 <= int(noisy.min()) <= int(noisy.max()) < 400


def test_all_pads_of_a_canvas_weigh_little() -> None:
    clean = torch.tensor([[[100, 7, 9, 10, 11, 12, 13, 14]]])
    replaced = torch.tensor([[[True, True, True, True, True, True, True, False]]])
    weights = canvas_weights(clean, replaced, (9, 10, 11, 12, 13, 14, 15))[0, 0]
    assert weights[:2].tolist() == [1.0, 1.0]
    assert weights[2:7].tolist() == pytest.approx([PADS_WEIGHT / 6] * 5)
    assert float(weights[7]) == pytest.approx(PADS_WEIGHT / 6 * CLEAN_WEIGHT)


def test_the_fused_loss_equals_the_plain_one() -> None:
    torch.manual_seed(0)
    rows = CHUNK + 37
    hidden = torch.randn(rows, 16, requires_grad=True)
    embedding = torch.randn(50, 16, requires_grad=True)
    targets, weights = torch.randint(50, (rows,)), torch.rand(rows)
    plain = functional.cross_entropy(torch.tanh(hidden @ embedding.T / 5.0) * 5.0, targets, reduction="none")
    expected = torch.autograd.grad((plain * weights).sum() * 3.0, (hidden, embedding))
    total, losses = softcap_cross_entropy(hidden, embedding, targets, weights, 5.0)
    found = torch.autograd.grad(total * 3.0, (hidden, embedding))
    assert torch.allclose(losses, plain, atol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, expected, strict=True))


def test_canvases_side_by_side_do_not_see_each_other(pools: Pools) -> None:
    """The batched training pass gives every canvas the logits it gets alone, without padding."""
    torch.manual_seed(0)
    model = toy(pools)
    initialize(model, 0)
    from inference.training.train import side_by_side_mask

    prompts = torch.randint(60, 390, (2, 20))
    lengths = torch.tensor([20, 13])
    canvases = torch.randint(60, 390, (2, 3, 8))
    with torch.no_grad():
        _, kv = model.encode_hidden(prompts)
        positions = lengths[:, None] + torch.arange(8).repeat(3)
        mask = side_by_side_mask(lengths, 20, 3, 8, model.dtype)
        together = model.logits(model.decode_hidden(canvases.flatten(1), kv, positions, mask, None)).view(2, 3, 8, -1)
        for row in range(2):
            alone = model.encode(prompts[row : row + 1, : lengths[row]])
            for index in range(3):
                expected = model.decode(canvases[row, index][None], alone)
                assert torch.allclose(together[row, index], expected[0], atol=1e-4)


def test_losses_at_the_start_are_those_of_a_guess(pools: Pools) -> None:
    model = toy(pools)
    initialize(model, 0)
    batch = pools.pool(0)[0]
    losses = batch_losses(model, batch, pools.spec, 2, 1.0, True, torch.Generator().manual_seed(0))
    assert losses.encoder == pytest.approx(math.log(400), rel=0.15)
    assert float(losses.total.detach()) == pytest.approx(losses.canvas + losses.encoder, rel=1e-4)


def test_orthogonalize_makes_singular_values_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(3, 16, 40)).float())
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.5


def test_parameters_without_gradient_stay(pools: Pools) -> None:
    model = toy(pools)
    initialize(model, 0)
    optimizer = Optimizer(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.embed_tokens.weight.grad = torch.ones_like(model.embed_tokens.weight)
    optimizer.step(0, 1.0)
    for name, parameter in model.named_parameters():
        assert torch.equal(before[name], parameter) is (name != "embed_tokens.weight")


def test_acceptance_is_in_ascending_entropy_within_the_bound() -> None:
    entropy = torch.tensor([[0.3, 0.0, 0.5, 0.1]])
    assert accepted(entropy, 0.1).tolist() == [[True, True, False, True]]
    assert accepted(entropy, 10.0).all()
    assert accepted(entropy + 1.0, 0.0).sum() == 1


def test_the_denoiser_is_seeded_and_reports_its_steps(pools: Pools) -> None:
    model, spec = toy(pools), pools.spec
    initialize(model, 0)
    prompts = [spec.prompt("python", [100, 101], [102]), spec.prompt("python", [100] * 9, [])]
    runs = [
        denoise(model.eval(), spec, prompts, 16, Sampling(max_denoising_steps=3), torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    for fill in runs[0]:
        assert 1 <= fill.steps <= 3
        assert 0.0 < fill.confidence <= 1.0
        assert len(fill.gap) <= 16


def test_a_spec_of_another_tokenizer_is_not_needed(pools: Pools, tmp_path: Path) -> None:
    pools.spec.save(tmp_path)
    assert InfillSpec.load(tmp_path) == pools.spec
