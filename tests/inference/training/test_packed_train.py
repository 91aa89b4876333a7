import json
import math
from pathlib import Path

import pytest
import torch

from inference.formats.infill_spec import InfillSpec
from inference.models.dense import DenseDiffusionGemma
from inference.training.distil import Distiller, accepted_in_canvases
from inference.training.drawing import TokenSampler
from inference.training.optimizer import Rates
from inference.training.packed_train import LOG, PackedRecipe, PackedTrainer
from inference.training.packing import RowSize
from inference.training.passes import Passes
from inference.training.schedule import Phase, TimePlan
from inference.training.throughput import Throughput
from inference.training.validation import validation_losses
from tests.support.toy_training import TOY

RECIPE = PackedRecipe(size=RowSize(prompt=128, canvas=256, examples=6, canvases=2), rows=2, log_every=1)


def trainer(sampler: TokenSampler, spec: InfillSpec, folder: Path, recipe: PackedRecipe = RECIPE) -> PackedTrainer:
    return PackedTrainer(DenseDiffusionGemma(TOY), sampler, spec, recipe, folder, Rates(average=0.9))


def test_the_loss_falls_and_a_run_goes_on(token_sampler: TokenSampler, toy_spec: InfillSpec, tmp_path: Path) -> None:
    first = trainer(token_sampler, toy_spec, tmp_path)
    before = validation_losses(first.model, token_sampler, toy_spec, RECIPE.size, count=24)
    for number in range(70):
        first.step(Phase(number / 140))
    first.position["milliseconds"] = 1000
    first.save()
    second = trainer(token_sampler, toy_spec, tmp_path)
    assert second.position == first.position
    for number in range(70):
        second.step(Phase(0.5 + number / 140))
    second.optimizer.use("average")
    after = validation_losses(second.model, token_sampler, toy_spec, RECIPE.size, count=24)
    assert after["held_out_canvas"] < before["held_out_canvas"] - 1.0
    assert after["held_out_encoder"] < before["held_out_encoder"] - 1.0
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == list(range(140))


def test_a_call_ends_by_the_clock_and_plans_the_next(
    token_sampler: TokenSampler, toy_spec: InfillSpec, tmp_path: Path
) -> None:
    one = trainer(token_sampler, toy_spec, tmp_path)
    seen: list[float] = []
    one.run(1.0, calls=2, after_step=lambda phase: seen.append(phase.progress))
    assert one.position["calls"] == 1
    assert 0.9 <= one.position["milliseconds"] / 1000 < 10
    assert max(seen) <= 0.5
    two = trainer(token_sampler, toy_spec, tmp_path)
    seen.clear()
    two.run(1.0, calls=1, after_step=lambda phase: seen.append(phase.progress))
    assert min(seen) >= 0.4


def test_phases_follow_the_share_of_the_run() -> None:
    plan = TimePlan(done=60.0, this_call=30.0, calls=2)
    assert plan.progress(0.0) == 0.5
    assert plan.progress(60.0) == plan.progress(99.0) == 1.0
    assert Phase(0.0).rate_factor(0) == 0.01
    assert Phase(0.7).rate_factor(1000) == 1.0
    assert Phase(1.0).rate_factor(1000) == 0.0
    assert Phase(0.875).rate_factor(1000) == pytest.approx(0.5)
    assert (Phase(0.75).encoder_weight, Phase(1.0).encoder_weight) == (1.0, pytest.approx(0.3))
    assert [Phase(p).largest_canvas(128) for p in (0.0, 0.05, 0.15, 0.2)] == [16, 32, 64, 128]
    assert (Phase(0.19).self_conditioning, Phase(0.2).self_conditioning) == (False, True)
    assert (Phase(0.79).edits, Phase(0.8).edits) == (False, True)


def test_prompts_longer_than_the_window_are_refused(
    token_sampler: TokenSampler, toy_spec: InfillSpec, tmp_path: Path
) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="sliding window"):
        trainer(
            token_sampler, replace(toy_spec, max_prompt_tokens=TOY.window), tmp_path,
            replace(RECIPE, size=RowSize(prompt=512, canvas=512, canvases=2)),
        )  # fmt: skip


def test_workers_make_the_batches(token_sampler: TokenSampler, toy_spec: InfillSpec, tmp_path: Path) -> None:
    from dataclasses import replace

    one = trainer(token_sampler, toy_spec, tmp_path, replace(RECIPE, workers=1))
    batch = one.next_batch()
    assert batch.prompts.shape == (2, 128)
    assert batch.prompts.dtype == torch.int64
    assert 0.3 < batch.filled <= 1.0
    assert int(batch.sizes.max()) == 16  # canvases start small


def test_what_does_not_compile_is_said_and_left_out(
    token_sampler: TokenSampler,
    toy_spec: InfillSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken if function.__name__ == "states" else function)
    one = trainer(token_sampler, toy_spec, tmp_path)
    one._passes = Passes(one.model, compiled=True)
    one.step(Phase(0.5))
    assert one.way == "not compiled, masks"
    assert "no compiler here" in capsys.readouterr().err


def test_a_distilled_step_learns_the_copys_answers(
    token_sampler: TokenSampler, toy_spec: InfillSpec, tmp_path: Path
) -> None:
    one = trainer(token_sampler, toy_spec, tmp_path)
    for number in range(20):
        one.step(Phase(number / 40))
    distiller = Distiller(one)
    batch = one.next_batch()
    seen, answer = distiller.answers(batch)
    real = batch.canvas_owners >= 0
    assert seen.shape == answer.shape == batch.canvases.shape
    assert float((seen != answer)[real].float().mean()) > 0.3
    before = {name: p.detach().clone() for name, p in distiller.teacher.named_parameters()}
    step = one.position["step"]
    for _ in range(3):
        distiller.step(0.5)
    assert one.position["step"] == step + 3
    assert all(torch.equal(before[name], p) for name, p in distiller.teacher.named_parameters())
    assert not torch.equal(one.optimizer.state["master/norm.weight"], before["norm.weight"])
    entropy = torch.rand(batch.canvases.shape)
    taken = accepted_in_canvases(entropy, batch, 0.0)
    assert int(taken[real].sum()) == int(((batch.slots == 0) & real).sum())  # the surest token of each canvas


def test_throughput_is_set_against_the_peak() -> None:
    measured = Throughput(1000, 2.0, 1e9, "NVIDIA H200")
    assert measured.tokens_per_second == 500
    assert measured.utilisation == pytest.approx(500e9 / 989e12)
    assert "500 tokens/s" in str(measured)
    assert Throughput(1000, 2.0, 1e9, "CPU").utilisation is None
    assert not math.isnan(measured.tokens_per_second)
