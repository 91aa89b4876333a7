"""The loop: pins hold whatever the model and the sampler do, and it ends when and as it says."""

import itertools
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import denoising
from inference.canvas import TokenCanvas
from inference.denoising import Denoised, DenoisingSettings, Step, Stopped, denoise
from inference.errors import Cancelled, EngineError
from inference.samplers import EntropyBoundSampler, NoiseRange, Sampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from tests.support.fake_denoiser import FakeDenoiser, certain_logits, random_logits

V = 11


def settings_with(sampler: Sampler | None = None, steps: int = 6, confidence: float = 0.005) -> DenoisingSettings:
    return DenoisingSettings(
        sampler or EntropyBoundSampler(0.1), LinearTemperature(0.4, 0.8), StableAndConfident(1, confidence), steps
    )


def free_canvas(rows: int, length: int) -> TokenCanvas:
    token_ids = torch.zeros(rows, length, dtype=torch.int64)
    return TokenCanvas(token_ids, torch.zeros_like(token_ids, dtype=torch.bool))


@dataclass(frozen=True)
class StubbornSampler(EntropyBoundSampler):
    """Accepts nothing and so renoises everything, pins included: the loop must not rely on the sampler."""

    entropy_bound: float = 0.1

    def accept(
        self, canvas: torch.Tensor, candidates: torch.Tensor, entropy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return canvas, torch.zeros_like(canvas, dtype=torch.bool)


@st.composite
def pinned_canvases(draw: st.DrawFn) -> TokenCanvas:
    rows, length = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    cells = st.lists(st.integers(0, V - 1), min_size=rows * length, max_size=rows * length)
    masks = st.lists(st.booleans(), min_size=rows * length, max_size=rows * length)
    return TokenCanvas(
        torch.tensor(draw(cells)).view(rows, length), torch.tensor(draw(masks), dtype=torch.bool).view(rows, length)
    )


def check_pins(canvas: TokenCanvas, sampler: Sampler, seed: int) -> None:
    """Every given token stands in every canvas, every draft and the result; the model is told so for certain."""
    denoiser, drafts = FakeDenoiser(V, random_logits(V, seed)), list[Step]()
    found = denoise(
        denoiser,
        None,
        canvas,
        settings_with(sampler),
        noise=(0, V),
        generator=torch.Generator().manual_seed(seed),
        on_step=drafts.append,
    )
    pinned, given_ids = canvas.pinned, canvas.token_ids[canvas.pinned]
    for shown in [*denoiser.canvases, *(draft.token_ids for draft in drafts), found.token_ids]:
        assert torch.equal(shown[pinned], given_ids)
    for conditioning in denoiser.conditionings[1:]:
        assert conditioning is not None
        assert torch.equal(
            conditioning.softmax(dim=-1)[pinned], torch.nn.functional.one_hot(given_ids, V).float().view(-1, V)
        )
    assert (found.log_probs[pinned] == 0).all()
    if not isinstance(sampler, StubbornSampler):
        assert all(draft.accepted[pinned].all() for draft in drafts)


@given(canvas=pinned_canvases(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_pins_hold(canvas: TokenCanvas, seed: int) -> None:
    check_pins(canvas, EntropyBoundSampler(0.1), seed)
    check_pins(canvas, StubbornSampler(), seed)


@pytest.mark.parametrize("dropped", ["certain_at_pins", "repinned"])
def test_pins_need_both_the_one_hot_and_the_reassertion(dropped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoising, dropped, lambda given, canvas: given)
    canvas = TokenCanvas(torch.arange(8).view(2, 4), torch.tensor([[True, False, True, False]] * 2))
    with pytest.raises(AssertionError):
        check_pins(canvas, EntropyBoundSampler(0.1), 0)


def test_the_reassertion_matters_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped after the start only, the stubborn sampler's noise reaches the pins."""
    original, calls = denoising.repinned, list[int]()

    def only_once(token_ids: torch.Tensor, canvas: TokenCanvas) -> torch.Tensor:
        calls.append(1)
        return original(token_ids, canvas) if len(calls) == 1 else token_ids

    monkeypatch.setattr(denoising, "repinned", only_once)
    canvas = TokenCanvas(
        torch.full((1, 8), 3), torch.ones(1, 8, dtype=torch.bool).index_fill(1, torch.tensor([0]), False)
    )
    with pytest.raises(AssertionError):
        check_pins(canvas, StubbornSampler(), 0)


def test_noise_stays_in_its_range() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0))
    denoise(denoiser, None, free_canvas(2, 16), settings_with(StubbornSampler()), noise=(5, 8))
    assert all(((canvas >= 5) & (canvas < 8)).all() for canvas in denoiser.canvases)


def test_warm_positions_start_from_their_draft() -> None:
    token_ids = torch.tensor([[1, 2, 3, 4]])
    warm = torch.tensor([[True, True, False, False]])
    denoiser = FakeDenoiser(V, random_logits(V, 0))
    canvas = TokenCanvas(token_ids, torch.zeros_like(warm), warm)
    denoise(denoiser, None, canvas, settings_with(StubbornSampler()), noise=(9, 11))
    assert denoiser.canvases[0][0, :2].tolist() == [1, 2]
    assert (denoiser.canvases[0][0, 2:] >= 9).all()
    assert (denoiser.canvases[1] >= 9).all()  # a warm position is not given: it may change


def test_it_stops_when_stable_and_confident() -> None:
    target = torch.tensor([[3, 1, 4, 1, 5]])
    found = denoise(FakeDenoiser(V, certain_logits(target, V)), None, free_canvas(1, 5), settings_with(), noise=(0, V))
    assert found.token_ids.tolist() == target.tolist()
    assert found.steps == 2  # the first step has nothing before it that it could be stable against
    assert found.stopped == (Stopped.STABLE,)
    assert torch.allclose(found.log_probs, torch.zeros(1, 5), atol=1e-4)


def test_it_runs_out_of_steps() -> None:
    found = denoise(FakeDenoiser(V, random_logits(V, 0, 0.1)), None, free_canvas(2, 4), settings_with(), noise=(0, V))
    assert found.steps == 6
    assert found.stopped == (Stopped.STEPS, Stopped.STEPS)


def test_log_probs_are_those_of_the_result_at_temperature_one() -> None:
    logits = torch.randn(1, 4, V, generator=torch.Generator().manual_seed(0))
    found = denoise(FakeDenoiser(V, lambda _: logits), None, free_canvas(1, 4), settings_with(), noise=(0, V))
    assert torch.allclose(found.log_probs, logits.log_softmax(dim=-1).max(dim=-1).values)


def test_a_finished_row_stays_frozen() -> None:
    certain, wild = certain_logits(torch.tensor([[3, 1]]), V), random_logits(V, 0, 0.1)
    steps = list[int]()

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        first = certain(canvas[:1]) if len(steps) < 3 else wild(canvas[:1])
        return torch.cat([first, wild(canvas[1:])])

    denoiser = FakeDenoiser(V, logits)
    found = denoise(denoiser, None, free_canvas(2, 2), settings_with(), noise=(0, V))
    assert found.token_ids[0].tolist() == [3, 1]
    assert found.stopped == (Stopped.STABLE, Stopped.STEPS)
    assert found.log_probs[0].min() > -1e-4
    assert all(torch.equal(canvas[0], denoiser.canvases[2][0]) for canvas in denoiser.canvases[3:])


def test_pins_do_not_make_it_look_confident() -> None:
    """One free position of ten, at an entropy that the mean over the canvas would hide."""
    logits = torch.zeros(1, 10, V)
    logits[..., 0] = 4.0  # temperature-scaled, about 0.03 nats or more at the free position
    given_mask = torch.ones(1, 10, dtype=torch.bool)
    given_mask[0, 4] = False
    denoiser = FakeDenoiser(V, lambda _: logits)
    canvas = TokenCanvas(torch.zeros(1, 10, dtype=torch.int64), given_mask)
    assert run(denoiser, canvas, confidence=0.01).stopped == (Stopped.STEPS,)
    assert run(denoiser, canvas, confidence=1.0).stopped == (Stopped.STABLE,)


def test_a_canvas_that_is_given_whole_comes_back_at_once() -> None:
    canvas = TokenCanvas(torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool))
    found = run(FakeDenoiser(V, random_logits(V, 0)), canvas)
    assert found.token_ids.tolist() == [[1, 2, 3]]
    assert found.steps == 2


def test_only_the_decisive_positions_must_settle() -> None:
    target, wild = torch.tensor([[3, 7, 0, 0]]), random_logits(V, 0, 0.1)

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        return torch.cat([certain_logits(target, V)(canvas)[:, :2], wild(canvas[:, 2:])], dim=1)

    def up_to_seven(token_ids: torch.Tensor) -> torch.Tensor:
        ends = token_ids == 7
        return ends.cumsum(dim=-1) - ends.long() == 0

    def stopped(**decisive: object) -> Denoised:
        return denoise(
            FakeDenoiser(V, logits),
            None,
            free_canvas(1, 4),
            settings_with(),
            noise=(0, V),
            **decisive,  # type: ignore[arg-type]
        )

    assert stopped(decisive=up_to_seven).steps == 2
    assert stopped().stopped == (Stopped.STEPS,)


def test_the_deadline_is_kept_and_the_best_so_far_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()  # one second passes at every look, and steps look once each
    monkeypatch.setattr(denoising.time, "monotonic", lambda: float(next(clock)))
    drafts = list[Step]()
    found = denoise(
        FakeDenoiser(V, random_logits(V, 0, 0.1)),
        None,
        free_canvas(1, 4),
        settings_with(steps=500),
        noise=(0, V),
        deadline=7.5,
        on_step=drafts.append,
    )
    assert found.steps == 7  # another one would have ended at 8
    assert found.stopped == (Stopped.DEADLINE,)
    assert torch.equal(found.token_ids, drafts[-1].token_ids)


def test_a_passed_deadline_still_takes_one_step() -> None:
    found = denoise(
        FakeDenoiser(V, random_logits(V, 0)), None, free_canvas(1, 4), settings_with(), noise=(0, V), deadline=0.0
    )
    assert found.steps == 1


def test_cancelling_costs_at_most_one_step() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0, 0.1))
    with pytest.raises(Cancelled):
        denoise(
            denoiser,
            None,
            free_canvas(1, 4),
            settings_with(steps=100),
            noise=(0, V),
            cancelled=lambda: len(denoiser.canvases) >= 3,
        )
    assert len(denoiser.canvases) == 3


def test_drafts_come_after_every_step() -> None:
    drafts = list[Step]()
    found = denoise(
        FakeDenoiser(V, random_logits(V, 0)),
        None,
        free_canvas(2, 4),
        settings_with(),
        noise=(0, V),
        on_step=drafts.append,
    )
    assert [draft.number for draft in drafts] == list(range(1, found.steps + 1))
    assert torch.equal(drafts[-1].token_ids, found.token_ids)


def test_a_generator_makes_it_repeatable() -> None:
    def once(seed: int) -> list[torch.Tensor]:
        denoiser = FakeDenoiser(V, random_logits(V, 0, 0.1))
        run(denoiser, free_canvas(1, 8), generator=torch.Generator().manual_seed(seed))
        return denoiser.canvases

    torch.manual_seed(1)
    first = once(5)
    torch.manual_seed(2)
    assert all(map(torch.equal, first, once(5)))
    assert not all(map(torch.equal, first, once(6)))


def test_not_a_number_is_an_error_not_a_fill() -> None:
    def broken(canvas: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*canvas.shape, V)
        logits[0, -1, 0] = torch.nan
        return logits

    with pytest.raises(EngineError, match="not a number"):
        run(FakeDenoiser(V, broken), free_canvas(1, 4))


def run(
    denoiser: FakeDenoiser,
    canvas: TokenCanvas,
    confidence: float = 0.005,
    noise: NoiseRange = (0, V),
    generator: torch.Generator | None = None,
) -> Denoised:
    return denoise(denoiser, None, canvas, settings_with(confidence=confidence), noise=noise, generator=generator)
