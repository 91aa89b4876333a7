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
    def step(self, number: int, factor: float) -> Tensor:
        """One update, the `number`-th from 0, with all rates times `factor`; returns the gradient's norm (a scalar).

        Parameters without a gradient (self-conditioning, in steps without it) stay as they are.
        """
        gradients = {n: p.grad.float() for n, p in self.parameters.items() if p.grad is not None}
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients.values()))))
        self._muon(gradients, factor * self.rates.muon)
        self._adam(gradients, number, factor * self.rates.adam, (self.rates.clip / (norm + 1e-6)).clamp(max=1.0))
        average = min(self.rates.average, (1 + number) / (10 + number))
        masters = self._column("master", self.parameters)
        torch._foreach_lerp_(self._column("average", self.parameters), masters, 1.0 - average)
        torch._foreach_copy_(list(self.parameters.values()), masters)
        for parameter in self.parameters.values():
            parameter.grad = None
        return norm

    def _column(self, kind: str, names: Iterable[str]) -> list[Tensor]:
        return [self.state[f"{kind}/{name}"] for name in names]

    def _muon(self, gradients: dict[str, Tensor], rate: float) -> None:
        names = [name for name in self.matrices if name in gradients]
        if not names:
            return
        momenta = self._column("first", names)
        updates = [gradients[name] for name in names]
        torch._foreach_lerp_(momenta, updates, 1.0 - self.rates.momentum)
        torch._foreach_lerp_(updates, momenta, self.rates.momentum)
        stacks: dict[tuple[int, int], list[tuple[str, Tensor]]] = {}
        for name, update in zip(names, updates, strict=True):
            flat = update.squeeze(0)
            flat = flat.T if flat.shape[0] > flat.shape[1] else flat
            stacks.setdefault((flat.shape[0], flat.shape[1]), []).append((name, flat))
        for stack in stacks.values():
            for (name, _), update in zip(stack, orthogonalize(torch.stack([u for _, u in stack])), strict=True):
                master = self.state[f"master/{name}"]
                rows, columns = master.shape[-2:]
                turned = update.T if rows > columns else update
                master.add_(turned.reshape(master.shape).float(), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _adam(self, gradients: dict[str, Tensor], number: int, rate: float, scale: Tensor) -> None:
        first_beta, second_beta = self.rates.betas
        names = [name for name in self.others if name in gradients]
        if not names:
            return
        scaled = torch._foreach_mul([gradients[name] for name in names], scale)
        firsts, seconds = self._column("first", names), self._column("second", names)
        torch._foreach_lerp_(firsts, scaled, 1 - first_beta)
        torch._foreach_lerp_(seconds, torch._foreach_mul(scaled, scaled), 1 - second_beta)
        roots = torch._foreach_sqrt(torch._foreach_div(seconds, 1 - second_beta ** (number + 1)))
        torch._foreach_add_(roots, 1e-8)
        steps = torch._foreach_div(torch._foreach_div(firsts, 1 - first_beta ** (number + 1)), roots)
        torch._foreach_add_(self._column("master", names), steps, alpha=-rate)

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
