"""What a packed run does when: every phase is a share of the whole run, so that it can be planned in minutes."""

from dataclasses import dataclass

WARM_UP = 100  # steps
DECAY_FROM = 0.75
SELF_CONDITIONING_FROM = 0.2
EDITS_FROM = 0.8
ENCODER_WEIGHT, LAST_ENCODER_WEIGHT = 1.0, 0.3  # of the autoregressive loss; falls during the decay
GROWTH = ((0.04, 16), (0.1, 32), (0.2, 64))  # (until, largest canvas): arXiv 2512.06776


@dataclass(frozen=True)
class Phase:
    """The settings of one step at `progress` (0 to 1) of the run."""

    progress: float

    @property
    def decay(self) -> float:
        """0 until the last quarter, 1 at the end."""
        return min(1.0, max(0.0, (self.progress - DECAY_FROM) / (1.0 - DECAY_FROM)))

    def rate_factor(self, step: int) -> float:
        """Warm-up, hold, linear decay."""
        return min(1.0, (step + 1) / WARM_UP) * (1.0 - self.decay)

    @property
    def encoder_weight(self) -> float:
        """Weight of the encoder's autoregressive loss."""
        return ENCODER_WEIGHT + (LAST_ENCODER_WEIGHT - ENCODER_WEIGHT) * self.decay

    @property
    def self_conditioning(self) -> bool:
        """Whether half of the steps may show the model its own belief."""
        return self.progress >= SELF_CONDITIONING_FROM

    @property
    def edits(self) -> bool:
        """Whether canvases are edited beside being noised."""
        return self.progress >= EDITS_FROM

    def largest_canvas(self, longest: int) -> int:
        """Canvases grow to `longest` tokens over the first fifth."""
        return next((size for until, size in GROWTH if self.progress < until), longest)


@dataclass(frozen=True)
class TimePlan:
    """A run of `seconds` of training in all, of which `done` lie behind, in `calls` calls with this one.

    The calls after this one are expected to train as long as this one does.
    """

    done: float
    this_call: float
    calls: int = 1

    @property
    def seconds(self) -> float:
        """Training time of the whole run."""
        return self.done + self.this_call * self.calls

    def progress(self, elapsed: float) -> float:
        """Share of the run that is over `elapsed` seconds into this call."""
        return min(1.0, (self.done + elapsed) / max(self.seconds, 1e-9))
