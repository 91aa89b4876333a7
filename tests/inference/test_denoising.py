"""The loop: pins hold whatever the model and the sampler do, and it ends when and as it says."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import denoising
from inference.canvas import TokenCanvas
from inference.canvas_rows import Row, Stopped
from inference.denoising import Denoised, Denoising, DenoisingSettings, denoise, step
from inference.errors import Cancelled, EngineError, ModelBroken
from inference.samplers import EntropyBoundSampler, NoiseRange, Sampler
from inference.stopping import StableAndConfident
from inference.temperature import LinearTemperature
from tests.support.fake_denoiser import FakeDenoiser, MixingDenoiser, certain_logits, random_logits
from tests.support.plain_denoising import plain_denoise

V = 11
END = 7


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
def pinned_canvases(draw: st.DrawFn, warm: bool = False) -> TokenCanvas:
    rows, length = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    cells = st.lists(st.integers(0, V - 1), min_size=rows * length, max_size=rows * length)
    masks = st.lists(st.booleans(), min_size=rows * length, max_size=rows * length)
    token_ids, pinned, drafted = (torch.tensor(draw(values)).view(rows, length) for values in (cells, masks, masks))
    return TokenCanvas(token_ids, pinned & draw(st.booleans()), drafted if warm else None)


def ends_at_seven(token_ids: torch.Tensor) -> torch.Tensor:
    """Decisive: everything up to the first END."""
    ends = token_ids == END
    return ends.cumsum(dim=-1) - ends.long() == 0


def run(
    denoiser: FakeDenoiser,
    canvas: TokenCanvas,
    confidence: float = 0.005,
    noise: NoiseRange = (0, V),
    generator: torch.Generator | None = None,
) -> Denoised:
    return denoise(denoiser, (), canvas, settings_with(confidence=confidence), noise=noise, generator=generator)


def reasons(found: Denoised) -> list[Stopped | None]:
    return [row.stopped for row in found.rows]


def check_pins(canvas: TokenCanvas, sampler: Sampler, seed: int) -> None:
    """Every given token stands in every canvas, every draft and the result; the model is told so for certain."""
    denoiser, drafts = FakeDenoiser(V, random_logits(V, seed)), list[tuple[Row, ...]]()
    found = denoise(
        denoiser,
        (),
        canvas,
        settings_with(sampler),
        noise=(0, V),
        generator=torch.Generator().manual_seed(seed),
        on_step=lambda denoising: drafts.append(denoising.read()),
    )
    pins = [
        [(at, token) for at, token in enumerate(row) if canvas.pinned[index, at]]
        for index, row in enumerate(canvas.token_ids.tolist())
    ]
    for row in itertools.chain(found.rows, *drafts):
        assert all(row.token_ids[at] == token and row.log_probs[at] == 0 for at, token in pins[row.number])
        if not isinstance(sampler, StubbornSampler):
            assert all(row.accepted[at] for at, _ in pins[row.number])
    assert torch.equal(denoiser.canvases[0][canvas.pinned], canvas.token_ids[canvas.pinned])
    assert (denoiser.conditionings[0] == 0).all()
    alone = torch.nn.functional.one_hot(canvas.token_ids, V).float()
    for shown, conditioning in zip(denoiser.canvases[1:], denoiser.conditionings[1:], strict=True):
        if shown.shape == canvas.shape:  # else a finished row has left
            assert torch.equal(shown[canvas.pinned], canvas.token_ids[canvas.pinned])
            assert torch.equal(conditioning[canvas.pinned], alone[canvas.pinned])


@given(canvas=pinned_canvases(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_pins_hold(canvas: TokenCanvas, seed: int) -> None:
    check_pins(canvas, EntropyBoundSampler(0.1), seed)
    check_pins(canvas, StubbornSampler(), seed)


@given(
    canvas=pinned_canvases(warm=True),
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([2.0, 20.0, 60.0]),
    bound=st.sampled_from([0.01, 0.3, 4.0]),
    stability=st.integers(0, 2),
    confidence=st.sampled_from([0.01, 0.5, 2.0]),
    steps=st.integers(1, 9),
    ends=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_it_does_what_the_plain_loop_does(
    canvas: TokenCanvas,
    seed: int,
    scale: float,
    bound: float,
    stability: int,
    confidence: float,
    steps: int,
    ends: bool,
) -> None:
    how = DenoisingSettings(
        EntropyBoundSampler(bound), LinearTemperature(0.2, 0.8), StableAndConfident(stability, confidence), steps
    )
    decisive = ends_at_seven if ends else denoising.all_positions
    same: Any = {"noise": (2, V), "decisive": decisive}
    denoisers = [MixingDenoiser(V, seed=seed, scale=scale) for _ in range(2)]
    plain, log_probs, taken = plain_denoise(
        denoisers[0], (1, 2), canvas, how, generator=torch.Generator().manual_seed(seed), **same
    )
    found = denoise(denoisers[1], (1, 2), canvas, how, generator=torch.Generator().manual_seed(seed), **same)
    assert found.token_ids == plain.tolist()
    assert found.steps == taken
    assert torch.allclose(torch.tensor([row.log_probs for row in found.rows]), log_probs, atol=1e-4)


def test_the_cases_above_stop_early_and_row_by_row() -> None:
    """Else they would not reach the stop test, nor rows that leave."""
    how = DenoisingSettings(EntropyBoundSampler(4.0), LinearTemperature(0.2, 0.8), StableAndConfident(1, 0.5), 9)
    left = set[int]()
    for seed in range(20):
        denoiser = MixingDenoiser(V, seed=seed, scale=60.0)
        canvas = free_canvas(3, 4)
        denoise(denoiser, (1,), canvas, how, noise=(0, V), generator=torch.Generator().manual_seed(seed))
        left |= {len(shown) for shown in denoiser.canvases}
    assert left == {1, 2, 3}


def started(denoiser: FakeDenoiser, seed: int, rows: int = 2, max_steps: int = 9, prompt: int = 0) -> Denoising:
    pinned = torch.zeros(rows, 6, dtype=torch.bool)
    pinned[:, seed % 6] = seed % 2 == 0
    how = DenoisingSettings(
        EntropyBoundSampler(4.0), LinearTemperature(0.2, 0.8), StableAndConfident(1, 0.5), max_steps
    )
    canvas = TokenCanvas(torch.full((rows, 6), seed % V), pinned)
    return Denoising(denoiser, (prompt,), canvas, how, noise=(0, V), generator=torch.Generator().manual_seed(seed))


def finish(denoiser: FakeDenoiser, denoising: Denoising) -> tuple[Row, ...]:
    while not denoising.over:
        step(denoiser, [denoising])
    return denoising.read(Stopped.STEPS)


@given(seeds=st.lists(st.integers(0, 500), min_size=3, max_size=3), late=st.integers(0, 4), one_prompt=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_result_does_not_depend_on_who_shares_the_batch(seeds: list[int], late: int, one_prompt: bool) -> None:
    """Three requests of different rows and step numbers side by side; the third joins ``late`` steps later."""
    denoiser = MixingDenoiser(V, scale=60.0)
    cases = [(seed, rows, 9 - rows, 0 if one_prompt else rows) for rows, seed in enumerate(seeds, 1)]
    alone = [finish(denoiser, started(denoiser, *case)) for case in cases]
    together = [started(denoiser, *case) for case in cases]
    for number in range(40):
        under_way = [d for d in together[: 2 if number < late else 3] if not d.over]
        if under_way:
            step(denoiser, under_way)
    for ended, expected in zip(together, alone, strict=True):
        assert ended.over
        for row, other in zip(ended.read(Stopped.STEPS), expected, strict=True):
            assert (row.token_ids, row.stopped, row.accepted) == (other.token_ids, other.stopped, other.accepted)
            assert row.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_prompts_are_joined_only_when_the_composition_changes() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0, 0.1))
    first, second, third = (started(denoiser, seed, prompt=seed, max_steps=20) for seed in (1, 3, 5))
    for _ in range(3):
        step(denoiser, [first, second])
    assert denoiser.joined == 1
    for _ in range(3):
        step(denoiser, [first, second, third])
    assert denoiser.joined == 2
    step(denoiser, [third])
    assert denoiser.joined == 2
    assert denoiser.prompts[-2] == [(1,), (1,), (3,), (3,), (5,), (5,)]
    step(denoiser, [started(denoiser, seed) for seed in (1, 3)])  # of one document
    assert denoiser.prompts[-1] == [(0,)] * 4


def test_different_settings_do_not_share_a_forward() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0))
    one, other = started(denoiser, 1), started(denoiser, 2)
    other.settings = replace(other.settings, sampler=EntropyBoundSampler(1.0))
    with pytest.raises(ValueError, match="different settings"):
        step(denoiser, [one, other])


def test_noise_stays_in_its_range() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0))
    denoise(denoiser, (), free_canvas(2, 16), settings_with(StubbornSampler()), noise=(5, 8))
    assert all(((canvas >= 5) & (canvas < 8)).all() for canvas in denoiser.canvases)


def test_warm_positions_start_from_their_draft() -> None:
    token_ids = torch.tensor([[1, 2, 3, 4]])
    warm = torch.tensor([[True, True, False, False]])
    denoiser = FakeDenoiser(V, random_logits(V, 0))
    canvas = TokenCanvas(token_ids, torch.zeros_like(warm), warm)
    denoise(denoiser, (), canvas, settings_with(StubbornSampler()), noise=(9, 11))
    assert denoiser.canvases[0][0, :2].tolist() == [1, 2]
    assert (denoiser.canvases[0][0, 2:] >= 9).all()
    assert (denoiser.canvases[1] >= 9).all()  # a warm position is not given: it may change


@pytest.mark.parametrize(("expected", "steps"), [([3, 1, 4], 1), ([3, 1, 5], 2)])
def test_a_right_draft_stops_at_once(expected: list[int], steps: int) -> None:
    target = torch.tensor([[3, 1, 4]])
    canvas = TokenCanvas(torch.tensor([expected]), torch.zeros(1, 3).bool(), torch.ones(1, 3).bool())
    found = run(FakeDenoiser(V, certain_logits(target, V)), canvas)
    assert found.token_ids == target.tolist()
    assert found.steps == steps


def test_it_stops_when_stable_and_confident() -> None:
    target = torch.tensor([[3, 1, 4, 1, 5]])
    found = run(FakeDenoiser(V, certain_logits(target, V)), free_canvas(1, 5))
    assert found.token_ids == target.tolist()
    assert found.steps == 2  # the first step has nothing before it that it could be stable against
    assert reasons(found) == [Stopped.STABLE]
    assert found.rows[0].log_probs == pytest.approx([0.0] * 5, abs=1e-4)


def test_it_runs_out_of_steps() -> None:
    found = run(FakeDenoiser(V, random_logits(V, 0, 0.1)), free_canvas(2, 4))
    assert found.steps == 6
    assert reasons(found) == [Stopped.STEPS, Stopped.STEPS]


def test_log_probs_are_those_of_the_result_at_temperature_one() -> None:
    logits = torch.randn(1, 4, V, generator=torch.Generator().manual_seed(0))
    found = run(FakeDenoiser(V, lambda _: logits), free_canvas(1, 4))
    assert found.rows[0].log_probs == pytest.approx(logits.log_softmax(dim=-1).max(dim=-1).values[0].tolist())


def test_a_finished_row_stays_frozen_and_leaves_the_forward() -> None:
    wild = random_logits(V, 0, 0.1)

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        certain = certain_logits(torch.tensor([[3, 1]]), V)(canvas[:1])
        return torch.cat([certain, wild(canvas[1:])]) if len(canvas) == 2 else wild(canvas)

    denoiser, drafts = FakeDenoiser(V, logits), list[Row]()
    found = denoise(
        denoiser,
        (),
        free_canvas(2, 2),
        settings_with(),
        noise=(0, V),
        on_step=lambda denoising: drafts.append(denoising.read()[0]),
    )
    assert found.token_ids[0] == [3, 1]
    assert reasons(found) == [Stopped.STABLE, Stopped.STEPS]
    assert min(found.rows[0].log_probs) > -1e-4
    assert [len(canvas) for canvas in denoiser.canvases] == [2, 2, 1, 1, 1, 1]
    assert drafts[1:] == [found.rows[0]] * 5


def test_pins_do_not_make_it_look_confident() -> None:
    """One free position of ten, at an entropy that the mean over the canvas would hide."""
    logits = torch.zeros(1, 10, V)
    logits[..., 0] = 4.0  # temperature-scaled, about 0.03 nats or more at the free position
    given_mask = torch.ones(1, 10, dtype=torch.bool)
    given_mask[0, 4] = False
    denoiser = FakeDenoiser(V, lambda _: logits)
    canvas = TokenCanvas(torch.zeros(1, 10, dtype=torch.int64), given_mask)
    assert reasons(run(denoiser, canvas, confidence=0.01)) == [Stopped.STEPS]
    assert reasons(run(denoiser, canvas, confidence=1.0)) == [Stopped.STABLE]


def test_a_canvas_that_is_given_whole_comes_back_at_once() -> None:
    canvas = TokenCanvas(torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.bool))
    found = run(FakeDenoiser(V, random_logits(V, 0)), canvas)
    assert found.token_ids == [[1, 2, 3]]
    assert found.steps == 1


def test_only_the_decisive_positions_must_settle() -> None:
    target, wild = torch.tensor([[3, END, 0, 0]]), random_logits(V, 0, 0.1)

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        return torch.cat([certain_logits(target, V)(canvas)[:, :2], wild(canvas[:, 2:])], dim=1)

    def stopped(**decisive: Any) -> Denoised:
        return denoise(FakeDenoiser(V, logits), (), free_canvas(1, 4), settings_with(), noise=(0, V), **decisive)

    assert stopped(decisive=ends_at_seven).steps == 2
    assert reasons(stopped()) == [Stopped.STEPS]


# --- early crop -----------------------------------------------------------------------------------------------------


def slow_at_the_start(length: int) -> tuple[FakeDenoiser, list[int]]:
    """Sure of where the gap ends from the first step on, of its first token only from the fifth."""
    target = [3, 1, END, *([0] * (length - 3))]
    steps = list[int]()

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        sure = certain_logits(torch.tensor([target]), V)(canvas)
        if len(steps) < 5:
            sure[:, 0] = torch.arange(V) * 0.1
        return sure

    return FakeDenoiser(V, logits), target


def cropped(canvas: TokenCanvas, *, crop: bool = True) -> tuple[Denoised, list[int]]:
    """The result, and the canvas length at every step."""
    denoiser, _ = slow_at_the_start(canvas.shape[1])
    found = denoise(
        denoiser,
        (),
        canvas,
        replace(settings_with(steps=12), crop=crop),
        noise=(0, V),
        decisive=ends_at_seven,
        canvas_lengths=(2, 4, 8, 16),
        generator=torch.Generator().manual_seed(0),
    )
    return found, [shown.shape[1] for shown in denoiser.canvases]


def test_the_canvas_is_cropped_behind_an_end_that_is_there_to_stay() -> None:
    short, lengths = cropped(free_canvas(1, 16))
    whole, all_lengths = cropped(free_canvas(1, 16), crop=False)
    assert lengths == [16, 16, *[4] * (len(lengths) - 2)]
    assert set(all_lengths) == {16}
    assert short.token_ids[0] == whole.token_ids[0][:4]
    assert short.rows[0].token_ids[:3] == [3, 1, END]
    assert reasons(short) == reasons(whole) == [Stopped.STABLE]


def test_a_canvas_is_not_cropped_before_something_given() -> None:
    canvas = free_canvas(1, 16)
    canvas.pinned[0, 5] = True
    assert set(cropped(canvas)[1]) == {16, 8}
    canvas.pinned[0, 12] = True
    assert set(cropped(canvas)[1]) == {16}


def test_an_end_that_is_not_probable_crops_nothing() -> None:
    denoiser, _ = slow_at_the_start(16)
    sure = denoiser.logits
    denoiser.logits = lambda canvas: (
        sure(canvas) * (torch.arange(canvas.shape[1]) != 2)[:, None]
        + (torch.nn.functional.one_hot(torch.tensor(END), V) * 3.0)
    )
    denoise(
        denoiser, (), free_canvas(1, 16), settings_with(), noise=(0, V), decisive=ends_at_seven, canvas_lengths=(4, 16)
    )
    assert {shown.shape[1] for shown in denoiser.canvases} == {16}


def test_every_row_must_end_inside_the_crop() -> None:
    """The second row ends at its seventh position; the first, that ends earlier, keeps its text."""
    rows = [[3, END, *[0] * 14], [1, 2, 3, 4, 5, 6, END, *[0] * 9]]
    steps = list[int]()

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        steps.append(1)
        sure = certain_logits(torch.tensor(rows[-len(canvas) :]), V)(canvas)
        if len(steps) < 6:
            sure[:, 0] = torch.arange(V) * 0.1
        return sure

    denoiser = FakeDenoiser(V, logits)
    found = denoise(
        denoiser,
        (),
        free_canvas(2, 16),
        settings_with(steps=12),
        noise=(0, V),
        decisive=ends_at_seven,
        canvas_lengths=(4, 8, 16),
    )
    assert [shown.shape[1] for shown in denoiser.canvases][:4] == [16, 16, 8, 8]
    assert found.token_ids == [row[:8] for row in rows]


# --- time, cancelling, drafts ---------------------------------------------------------------------------------------


def test_the_deadline_is_kept_and_the_best_so_far_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(denoising.time, "monotonic", lambda: clock[0])
    noisy = random_logits(V, 0, 0.1)

    def logits(canvas: torch.Tensor) -> torch.Tensor:
        clock[0] += 1.0  # a step takes a second
        return noisy(canvas)

    drafts = list[Row]()
    found = denoise(
        FakeDenoiser(V, logits),
        (),
        free_canvas(1, 4),
        settings_with(steps=500),
        noise=(0, V),
        deadline=7.5,
        on_step=lambda denoising: drafts.append(denoising.read()[0]),
    )
    assert found.steps == 7  # another one would have ended at 8
    assert reasons(found) == [Stopped.DEADLINE]
    assert found.token_ids == [drafts[-1].token_ids]


def test_a_passed_deadline_still_takes_one_step() -> None:
    found = denoise(
        FakeDenoiser(V, random_logits(V, 0)), (), free_canvas(1, 4), settings_with(), noise=(0, V), deadline=0.0
    )
    assert found.steps == 1


def test_cancelling_costs_at_most_one_step() -> None:
    denoiser = FakeDenoiser(V, random_logits(V, 0, 0.1))
    with pytest.raises(Cancelled):
        denoise(
            denoiser,
            (),
            free_canvas(1, 4),
            settings_with(steps=100),
            noise=(0, V),
            cancelled=lambda: len(denoiser.canvases) >= 3,
        )
    assert len(denoiser.canvases) == 3


def test_drafts_come_after_every_step() -> None:
    drafts = list[tuple[int, list[int]]]()
    found = denoise(
        FakeDenoiser(V, random_logits(V, 0)),
        (),
        free_canvas(2, 4),
        settings_with(),
        noise=(0, V),
        on_step=lambda denoising: drafts.append((denoising.steps, denoising.read()[1].token_ids)),
    )
    assert [number for number, _ in drafts] == list(range(1, found.steps + 1))
    assert drafts[-1][1] == found.token_ids[1]


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


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_not_a_number_breaks_the_model_and_is_no_fill(value: float) -> None:
    def broken(canvas: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*canvas.shape, V)
        logits[0, -1, 0] = value
        return logits

    with pytest.raises(ModelBroken, match="not a number") as caught:
        run(FakeDenoiser(V, broken), free_canvas(1, 4))
    assert isinstance(caught.value, EngineError)


def test_a_step_looks_at_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever turns a tensor into a Python value waits for the device."""
    looks = list[str]()
    for name in ("tolist", "item", "__bool__", "__int__", "__float__", "__index__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, _o=original, _n=name, **k: (looks.append(_n), _o(self, *a, **k))[1]
        )
    denoiser = MixingDenoiser(V, scale=2.0)
    together = [started(denoiser, seed, max_steps=30) for seed in (2, 3)]
    step(denoiser, together)
    for _ in range(3):
        looks.clear()
        step(denoiser, together)
        assert looks == ["tolist"]
