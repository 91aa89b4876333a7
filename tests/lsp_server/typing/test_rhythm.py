import pytest

from lsp_server.typing.rhythm import MOST_MS, PAUSE_S, Rhythm


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def typed(intervals_ms: list[float], latencies_ms: tuple[float, ...] = ()) -> tuple[Rhythm, Clock]:
    clock = Clock()
    rhythm = Rhythm(clock)
    rhythm.key()
    for interval in intervals_ms:
        clock.now += interval / 1000
        rhythm.key()
    for latency in latencies_ms:
        rhythm.answered(latency)
    return rhythm, clock


@pytest.mark.parametrize(
    ("intervals", "latencies", "least", "wait"),
    [
        ([], (), 25, 25),
        ([100, 100], (), 25, 25),
        ([100, 100, 100], (), 25, 130),
        ([100, 100, 100], (), 200, 200),
        ([100, 100, 100], (50, 50, 900), 25, 80),
        ([100, 100, 100], (300,), 25, 25),
        ([600, 600, 600], (), 25, MOST_MS),
        ([100, 100, 100, 1000 * PAUSE_S + 100], (), 25, 25),
    ],
)
def test_how_long_it_waits(intervals: list[float], latencies: tuple[float, ...], least: float, wait: float) -> None:
    rhythm, _ = typed(intervals, latencies)
    assert rhythm.wait_ms(least) == pytest.approx(wait)


def test_what_has_passed_since_the_key_counts() -> None:
    rhythm, clock = typed([100, 100, 100, 100])
    clock.now += 0.08
    assert rhythm.wait_ms(10) == pytest.approx(50)
    clock.now += PAUSE_S
    assert rhythm.wait_ms(10) == 10


def test_it_forgets_how_it_was() -> None:
    rhythm, _ = typed([300] * 20 + [100] * 20, (900,) * 20 + (50,) * 20)
    assert rhythm.wait_ms(0) == pytest.approx(80)
    assert rhythm.expected_ms == 50
