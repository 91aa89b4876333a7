"""Recorded steps equal eager ones: all but CUDA's own part, with a recording that computes what it replays."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.models import graphed
from inference.models.base import Denoiser
from inference.models.graphed import Bucket, GraphedDenoiser, Recording, Work
from inference.models.lean_denoiser import LeanDenoiser
from tests.inference.models.test_lean_denoiser import loaded, transformers_model

VOCABULARY, HIDDEN, TOLERANCE, PLENTY = 300, 64, 1e-4, 2**40


class Recorder:
    """As a CUDA graph: the output is always the same memory, written over by the next replay."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Work) -> Work:
        self.recorded += 1
        output = work().clone()

        def replay() -> torch.Tensor:
            self.replayed += 1
            return output.copy_(work())

        return replay


@pytest.fixture(scope="module")
def eager() -> LeanDenoiser:
    return loaded(transformers_model(num_experts=4, top_k_experts=2))


def canvas_of(rows: int, length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (rows, length), generator=generator)
    return ids, torch.randn(rows, length, HIDDEN, generator=generator)


def ids(length: int, seed: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))


STEPS = st.lists(
    st.tuples(
        st.lists(st.integers(1, 200), min_size=1, max_size=3),  # prompt lengths
        st.booleans(),  # side by side, or one prompt for all rows
        st.integers(1, 33),  # canvas length
        st.floats(0.05, 1),  # share of free positions
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_any_shapes_one_after_another(eager: LeanDenoiser, steps: list[tuple[list[int], bool, int, float]]) -> None:
    recorder = Recorder()
    recorded: Denoiser = GraphedDenoiser(eager, recorder, PLENTY)
    for number, (lengths, beside, length, share) in enumerate(steps):
        prompts = [eager.encode(ids(n, n)) for n in lengths]
        prompt = recorded.side_by_side(prompts) if beside else prompts[0]
        canvas, signal = canvas_of(len(lengths), length, number)
        free = torch.randperm(canvas.numel())[: max(1, int(share * canvas.numel()))].sort().values
        for wanted in (free, None):
            found = recorded.denoise(canvas, prompt, signal, wanted)
            assert torch.allclose(found, eager.denoise(canvas, prompt, signal, wanted), atol=TOLERANCE)
    assert recorder.replayed >= 2 * len(steps)


def test_logits_outlive_the_next_replay(eager: LeanDenoiser) -> None:
    recorded, prompt = GraphedDenoiser(eager, Recorder(), PLENTY), eager.encode(ids(20, 0))
    first = recorded.denoise(canvas_of(1, 16, 0)[0], prompt, torch.zeros(1, 16, HIDDEN))
    before = first.clone()
    recorded.denoise(canvas_of(1, 16, 1)[0], prompt, torch.zeros(1, 16, HIDDEN))
    assert torch.equal(first, before)


def test_the_same_shapes_are_recorded_once(eager: LeanDenoiser) -> None:
    recorder = Recorder()
    recorded = GraphedDenoiser(eager, recorder, PLENTY)
    for seed in range(3):
        prompt = eager.encode(ids(20 + seed, seed))
        canvas, signal = canvas_of(1, 16, seed)
        found = recorded.denoise(canvas, prompt, signal)
        assert torch.allclose(found, eager.denoise(canvas, prompt, signal), atol=TOLERANCE)
    assert (recorder.recorded, recorded.recordings) == (1, 1)


def test_few_recordings_are_kept(eager: LeanDenoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphed, "_RECORDINGS", 2)
    recorder = Recorder()
    recorded, prompt = GraphedDenoiser(eager, recorder, PLENTY), eager.encode(ids(20, 0))
    for length in (16, 32, 64, 64, 16):
        recorded.denoise(*canvas_inputs(prompt, length))
        assert recorded.recordings <= 2
    assert recorder.recorded == 4


def canvas_inputs(prompt: object, length: int) -> tuple[torch.Tensor, object, torch.Tensor]:
    canvas, signal = canvas_of(1, length, length)
    return canvas, prompt, signal


def refuses(work: Work) -> Work:
    raise RuntimeError("operation not permitted when stream is capturing")


def forgets(work: Work) -> Work:
    """A graph that replays what it saw when it was recorded."""
    output = work().clone()
    return lambda: output


def has_no_memory(work: Work) -> Work:
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("record", [refuses, forgets, has_no_memory])
def test_what_cannot_be_recorded_runs_without(
    record: Callable[[Work], Work], eager: LeanDenoiser, caplog: pytest.LogCaptureFixture
) -> None:
    recorded, prompt = GraphedDenoiser(eager, record, PLENTY), eager.encode(ids(20, 0))
    canvas, signal = canvas_of(1, 16, 0)
    for _ in range(2):
        assert torch.equal(recorded.denoise(canvas, prompt, signal), eager.denoise(canvas, prompt, signal))
    assert recorded.recordings == 0
    assert len(caplog.records) == 1


def test_recordings_hold_no_more_bytes_than_they_may(eager: LeanDenoiser) -> None:
    """The one used longest ago goes first; what is too large alone is not recorded, and drives out none."""
    small, large, huge = (Bucket(1, length, length, 128).size_bytes(eager.model) for length in (16, 32, 256))
    recorder = Recorder()
    recorded, prompt = GraphedDenoiser(eager, recorder, small + large), eager.encode(ids(20, 0))
    assert huge > small + large
    for length, recordings, held in (
        (16, 1, small),
        (32, 2, small + large),
        (16, 2, small + large),
        (64, 1, None),  # drives out both
        (256, 1, None),
    ):
        inputs = canvas_inputs(prompt, length)
        assert torch.allclose(recorded.denoise(*inputs), eager.denoise(*inputs), atol=TOLERANCE)
        assert recorded.recordings == recordings
        assert recorded.recorded_bytes == held or held is None
        assert recorded.recorded_bytes <= small + large
    assert recorder.recorded == 3


@pytest.mark.parametrize("bucket", [Bucket(1, 16, 16, 128), Bucket(4, 64, 32, 256)])
def test_bytes_are_foreseen(eager: LeanDenoiser, bucket: Bucket) -> None:
    recording = Recording(eager, bucket, Recorder())
    held = sum(room.keys.nbytes + room.values.nbytes for room in recording._frame.rooms)
    held += 2 * recording._replay().nbytes  # raw ones, in float32 here too
    assert held == pytest.approx(bucket.size_bytes(eager.model), rel=0.1)


def test_release_drops_recordings_and_frames(eager: LeanDenoiser) -> None:
    recorder = Recorder()
    recorded, prompt = GraphedDenoiser(eager, recorder, PLENTY), eager.encode(ids(20, 0))
    inputs = canvas_inputs(prompt, 16)
    expected = recorded.denoise(*inputs)
    assert torch.allclose(eager.denoise(*inputs), expected, atol=TOLERANCE)
    frames = eager._frames
    assert (recorded.recordings, len(frames) > 0) == (1, True)
    recorded.release()
    assert (recorded.recordings, len(frames), recorded.recorded_bytes) == (0, 0, 0)
    assert torch.equal(recorded.denoise(*inputs), expected)
    assert recorder.recorded == 2


def test_beyond_the_buckets_and_on_a_cpu_it_is_the_inner_one(eager: LeanDenoiser) -> None:
    recorder = Recorder()
    for recorded, length in ((GraphedDenoiser(eager, recorder, PLENTY), 257), (GraphedDenoiser(eager), 16)):
        prompt = recorded.encode(ids(20, 0))
        canvas, signal = canvas_of(1, length, 0)
        assert torch.equal(recorded.denoise(canvas, prompt, signal), eager.denoise(canvas, prompt, signal))
    assert recorder.recorded == 0
    empty = torch.zeros(0, dtype=torch.int64)
    assert GraphedDenoiser(eager, recorder, PLENTY).denoise(canvas, prompt, signal, empty).shape == (0, VOCABULARY)


@pytest.mark.parametrize(
    ("shapes", "bucket"),
    [
        ((1, 16, 16, 1), Bucket(1, 16, 16, 128)),
        ((3, 17, 40, 129), Bucket(4, 32, 64, 256)),
        ((8, 256, 2048, 4000), Bucket(8, 256, 2048, 4096)),
        ((3, 20, 60, 512), Bucket(4, 32, 64, 512)),
        ((17, 16, 16, 1), None),
        ((1, 300, 16, 1), None),
    ],
)
def test_buckets(shapes: tuple[int, int, int, int], bucket: Bucket | None) -> None:
    assert Bucket.for_shapes(*shapes) == bucket


def test_a_nan_is_handed_on(eager: LeanDenoiser) -> None:
    recorded, prompt = GraphedDenoiser(eager, Recorder(), PLENTY), eager.encode(ids(20, 0))
    canvas, signal = canvas_of(1, 12, 0)
    assert recorded.denoise(canvas, prompt, torch.full_like(signal, torch.nan)).isnan().any()
    assert not recorded.denoise(canvas, prompt, signal).isnan().any()
    fresh = recorded.encode(ids(30, 1))
    assert not recorded.denoise(canvas[:, :9], fresh, signal[:, :9]).isnan().any()
