"""The denoising loop at its plainest, the reference for the lean one: all logits of all rows at every step."""

from collections.abc import Callable

import torch

from inference.canvas import TokenCanvas
from inference.denoising import DenoisingSettings
from inference.models.base import Denoiser, PromptCache
from inference.samplers import NoiseRange


@torch.inference_mode()
def plain_denoise(
    denoiser: Denoiser,
    prompt: PromptCache,
    canvas: TokenCanvas,
    settings: DenoisingSettings,
    *,
    noise: NoiseRange,
    generator: torch.Generator | None,
    decisive: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """The argmax canvas (B, C), its log p (B, C) and the steps. A pinned position has the one-hot of its token for
    logits; a finished row is computed on and thrown away."""
    sampler, shape, device = settings.sampler, canvas.shape, denoiser.device
    known = canvas.pinned if canvas.warm is None else canvas.pinned | canvas.warm
    current = torch.where(known, canvas.token_ids, sampler.noise(shape, noise, device, generator))
    draft = torch.where(known, canvas.token_ids, -1)
    log_probs, unchanged = torch.zeros(shape), torch.zeros_like(current)
    finished = torch.zeros(shape[0], dtype=torch.bool)
    one_hot = torch.full((*shape, denoiser.vocab_size), -torch.inf).scatter(-1, canvas.token_ids[..., None], 0.0)
    conditioning = torch.zeros_like(denoiser.embeddings(current))

    steps = 0
    for temperature in settings.temperature.schedule(settings.max_denoising_steps):
        steps += 1
        numbers = settings.draw.numbers(shape, denoiser.vocab_size, device, generator)
        fresh = sampler.noise(shape, noise, device, generator)
        logits = denoiser.denoise(current, prompt, conditioning).view(*shape, -1)
        logits = torch.where(canvas.pinned[..., None], one_hot, logits)
        scaled = logits / temperature
        entropy = torch.distributions.Categorical(logits=scaled.clamp(min=-1e9)).entropy()
        drawn = settings.draw(scaled.softmax(-1).flatten(0, 1), numbers.flatten(0, 1)).view(shape)
        proposed, accepted = sampler.accept(current, drawn, entropy)
        proposed = torch.where(canvas.pinned, canvas.token_ids, sampler.renoise(proposed, accepted, fresh))
        argmax = torch.where(canvas.pinned, canvas.token_ids, scaled.argmax(-1))

        for row in range(shape[0]):
            if not finished[row]:
                unchanged[row] = torch.where(argmax[row] == draft[row], unchanged[row] + 1, 0)
                current[row], draft[row] = proposed[row], argmax[row]
                log_probs[row] = logits[row].log_softmax(-1).gather(-1, argmax[row, :, None])[:, 0]
        conditioning = denoiser.soft_embeddings(scaled.softmax(-1).flatten(0, 1)).view_as(conditioning)
        finished |= settings.stopping(unchanged, entropy, canvas.pinned, decisive(draft))
        if finished.all():
            break
    return draft, log_probs, steps
