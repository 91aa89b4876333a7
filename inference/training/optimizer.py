"""Muon for matrices, AdamW for the rest, fp32 masters and a moving average; the model itself computes in bf16."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of Muon's quintic iteration (Jordan et al. 2024)


@dataclass(frozen=True)
class Rates:
    """Learning rates and momenta."""

    muon: float = 0.02
    adam: float = 3e-3
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    average: float = 0.99


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest orthogonal matrices of a stack (S, R, C) with R <= C, by Newton-Schulz in bf16."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrices.bfloat16()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(-2, -1)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Optimizer:
    """Updates `model` in place; everything it keeps between steps is in `state`."""

    def __init__(self, model: nn.Module, rates: Rates | None = None) -> None:
        self.rates = rates or Rates()
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.matrices = [n for n, p in self.parameters.items() if p.squeeze(0).ndim == 2 and "embed" not in n]
        self.others = [name for name in self.parameters if name not in set(self.matrices)]
        self.state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            master = parameter.detach().float().clone()
            self.state[f"master/{name}"] = master
            self.state[f"average/{name}"] = master.clone()
            self.state[f"first/{name}"] = torch.zeros_like(master)
        for name in self.others:
            self.state[f"second/{name}"] = torch.zeros_like(self.state[f"master/{name}"])

    @torch.no_grad()
    def step(self, number: int, factor: float) -> float:
        """One update, the `number`-th from 0, with all rates times `factor`; returns the gradient's norm.

        Parameters without a gradient (self-conditioning, in steps without it) stay as they are.
        """
        gradients = {n: p.grad.float() for n, p in self.parameters.items() if p.grad is not None}
        norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
        scale = min(1.0, self.rates.clip / (norm + 1e-6))
        self._muon(gradients, factor * self.rates.muon)
        self._adam(gradients, number, factor * self.rates.adam, scale)
        average = min(self.rates.average, (1 + number) / (10 + number))
        for name, parameter in self.parameters.items():
            master = self.state[f"master/{name}"]
            self.state[f"average/{name}"].lerp_(master, 1.0 - average)
            parameter.copy_(master)
            parameter.grad = None
        return norm

    def _muon(self, gradients: dict[str, Tensor], rate: float) -> None:
        stacks: dict[tuple[int, int], list[tuple[str, Tensor]]] = {}
        for name in filter(gradients.__contains__, self.matrices):
            momentum, gradient = self.state[f"first/{name}"], gradients[name]
            momentum.lerp_(gradient, 1.0 - self.rates.momentum)
            update = gradient.lerp(momentum, self.rates.momentum).squeeze(0)
            update = update.T if update.shape[0] > update.shape[1] else update
            stacks.setdefault((update.shape[0], update.shape[1]), []).append((name, update))
        for updates in stacks.values():
            for (name, _), update in zip(updates, orthogonalize(torch.stack([u for _, u in updates])), strict=True):
                master = self.state[f"master/{name}"]
                rows, columns = master.shape[-2:]
                turned = update.T if rows > columns else update
                master.add_(turned.reshape(master.shape).float(), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _adam(self, gradients: dict[str, Tensor], number: int, rate: float, scale: float) -> None:
        first_beta, second_beta = self.rates.betas
        first_correction = 1 - first_beta ** (number + 1)
        second_correction = 1 - second_beta ** (number + 1)
        for name in filter(gradients.__contains__, self.others):
            gradient = gradients[name] * scale
            first = self.state[f"first/{name}"].lerp_(gradient, 1 - first_beta)
            second = self.state[f"second/{name}"].lerp_(gradient.square(), 1 - second_beta)
            step = (first / first_correction) / ((second / second_correction).sqrt_() + 1e-8)
            self.state[f"master/{name}"].add_(step, alpha=-rate)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved `state` and the model weights in it."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
        self.use("master")

    @torch.no_grad()
    def use(self, which: str, names: Iterable[str] | None = None) -> None:
        """Put the `master` or the `average` weights into the model."""
        for name in names or self.parameters:
            self.parameters[name].copy_(self.state[f"{which}/{name}"])
