"""How fast a run goes against what the machine could do: tokens per second and model FLOP utilisation."""

from dataclasses import dataclass

from torch import nn

from inference.training.architecture import Shape

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bf16 FLOP/s by the vendor's datasheets
CONTEXT = 350  # tokens that one token looks at, on average


def flops_per_token(model: nn.Module, shape: Shape) -> float:
    """Forward and backward of one token (arXiv 2204.02311, appendix B), without self-conditioning's first pass."""
    weights = sum(p.numel() for p in model.parameters() if p.requires_grad and p.squeeze(0).ndim == 2)
    return 6.0 * weights + 12.0 * shape.layers * shape.heads * shape.head * CONTEXT


def peak_flops(device: str) -> float | None:
    """What a GPU of this name can do at most; None if it is not in the table."""
    return next((peak for name, peak in PEAK.items() if name in device), None)


@dataclass(frozen=True)
class Throughput:
    """Tokens (prompt and canvas positions, padding included) in some seconds on a device."""

    tokens: int
    seconds: float
    flops_per_token: float
    device: str

    @property
    def tokens_per_second(self) -> float:
        """The rate."""
        return self.tokens / max(self.seconds, 1e-9)

    @property
    def utilisation(self) -> float | None:
        """Share of the device's peak; None where that is not known."""
        peak = peak_flops(self.device)
        return None if peak is None else self.tokens_per_second * self.flops_per_token / peak

    def __str__(self) -> str:
        teraflops = self.tokens_per_second * self.flops_per_token / 1e12
        share = "" if self.utilisation is None else f", {self.utilisation:.0%} of its peak"
        return f"{self.tokens_per_second:,.0f} tokens/s, {teraflops:.2f} TFLOP/s on {self.device}{share}"
