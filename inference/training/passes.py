"""The fastest way through a model that this machine has: compiled with FlexAttention, plain, and steps between."""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from inference.models.dense import DenseDiffusionGemma
from inference.training import loss
from inference.training.packed_attention import Masks, block_masks, plain_masks
from inference.training.packed_forward import states
from inference.training.packing import PackedBatch


class Passes:
    """Hidden states of a batch; what fails to compile at the first batch is said and left out.

    FlexAttention is taken on a GPU only: on a CPU it has no backward pass.
    """

    def __init__(self, model: DenseDiffusionGemma, compiled: bool) -> None:
        self.model = model
        on_gpu = model.embed_tokens.weight.is_cuda
        whole = torch.compile(states, dynamic=False)
        self._ways: list[tuple[str, Callable[..., tuple[Tensor, Tensor]], Callable[[PackedBatch], Masks]]] = []
        if compiled and on_gpu:
            self._ways.append(("compiled, FlexAttention", whole, block_masks))
        if compiled:
            self._ways.append(("compiled, masks", whole, plain_masks))
            loss.row_losses = torch.compile(loss.row_losses, dynamic=False)
        self._ways.append(("not compiled, masks", states, plain_masks))
        self._proven: set[bool] = set()

    @property
    def name(self) -> str:
        """The way that is taken."""
        return self._ways[0][0]

    def __call__(self, batch: PackedBatch, noisy: Tensor, self_conditioning: bool) -> tuple[Tensor, Tensor]:
        """Normalised hidden states of prompts (B, P, D) and canvases (B, T, D)."""
        while True:
            name, way, masks = self._ways[0]
            try:
                if self_conditioning not in self._proven:
                    self._prove(way(self.model, batch, noisy, masks(batch), self_conditioning))
                    self._proven.add(self_conditioning)
                return way(self.model, batch, noisy, masks(batch), self_conditioning)
            except torch.OutOfMemoryError as error:
                raise ValueError(f"{len(batch.prompts)} rows do not fit into the GPU's memory; take fewer") from error
            except Exception as error:
                if len(self._ways) == 1 or self_conditioning in self._proven:
                    raise
                first = (str(error).strip().splitlines() or [""])[0]
                reason = f"{type(error).__name__}: {first[:200]}"
                print(f"{name} failed ({reason}); going on {self._ways[1][0]}", file=sys.stderr, flush=True)
                self._ways.pop(0)
                self._proven.clear()
                torch.compiler.reset()

    def _prove(self, found: tuple[Tensor, Tensor]) -> None:
        """The backward pass is compiled when it first runs: run it where a failure can still be caught."""
        sum(states.float().sum() for states in found).backward()  # type: ignore[union-attr]
        for parameter in self.model.parameters():
            parameter.grad = None
