"""The layer of the dense model: attention, then a dense MLP beside one expert, every branch normalised on both sides.

Norm weights before a projection are folded into it, and projections that read the same input are one product.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Mask = Tensor | Callable[[Tensor, Tensor, Tensor], Tensor] | None
"""An additive mask, none, or (for packed training) the whole attention of queries, keys and values."""


class _RMSNormalize(torch.autograd.Function):
    """Root-mean-square normalisation (arXiv 1910.07467) without weight, in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: float) -> Tensor:
        size = x.shape[-1]
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = norm.square_().div_(size).add_(epsilon).rsqrt_().to(x.dtype)
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        y, scale = ctx.saved_tensors
        (gradient,) = gradients
        along = (gradient * y).mean(-1, keepdim=True)
        return torch.addcmul(gradient, y, along, value=-1).mul_(scale), None


def rms_normalize(x: Tensor, epsilon: float) -> Tensor:
    """`x` (..., D) divided by its root mean square over the last dimension."""
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _RMSNormalize.apply(x, epsilon)  # type: ignore[no-any-return, no-untyped-call]
    return functional.rms_norm(x.float(), x.shape[-1:], eps=epsilon).to(x.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learnt weight (D,)."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return rms_normalize(x, self.epsilon) * self.weight


class Attention(nn.Module):
    """Grouped-query attention with normalised queries and keys; `shares_value`: the raw keys are the values."""

    def __init__(
        self, hidden_size: int, heads: int, kv_heads: int, head_dim: int, shares_value: bool, epsilon: float
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim, self.epsilon = heads, kv_heads, head_dim, epsilon
        self.q_proj = nn.Linear(hidden_size, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden_size, kv_heads * head_dim, bias=False)
        self.v_proj = None if shares_value else nn.Linear(hidden_size, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, hidden_size, bias=False)
        self.q_norm = RMSNorm(head_dim, epsilon)
        self.k_norm = RMSNorm(head_dim, epsilon)

    def forward(
        self,
        x: Tensor,
        input_weight: Tensor,
        rotary: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        mask: Mask,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`x` (B, N, D), to be scaled by `input_weight` (D,) -> output (B, N, D), keys, values (B, G, P + N, E).

        A mask narrower than P + N is for the last keys; those before are not read.
        """
        batch, new, _ = x.shape
        projections = [self.q_proj.weight, self.k_proj.weight]
        if self.v_proj is not None:
            projections.append(self.v_proj.weight)
        heads = functional.linear(x, torch.cat(projections) * input_weight).view(batch, new, -1, self.head_dim)
        queries_keys = rms_normalize(heads[:, :, : self.heads + self.kv_heads], self.epsilon)
        values = heads[:, :, self.heads :] if self.v_proj is None else heads[:, :, self.heads + self.kv_heads :]
        scale = torch.cat((self.q_norm.weight.expand(self.heads, -1), self.k_norm.weight.expand(self.kv_heads, -1)))
        rotated = rotate(queries_keys, scale, *rotary).transpose(1, 2)  # (B, H + G, N, E)
        queries, keys = rotated[:, : self.heads], rotated[:, self.heads :]
        values = rms_normalize(values, self.epsilon).transpose(1, 2)
        if past is not None:
            keys, values = torch.cat((past[0], keys), dim=2), torch.cat((past[1], values), dim=2)
        seen = keys, values
        if isinstance(mask, Tensor) and mask.shape[-1] < keys.shape[2]:
            seen = keys[:, :, -mask.shape[-1] :], values[:, :, -mask.shape[-1] :]
        attended = attend(queries, *seen, mask).transpose(1, 2).reshape(batch, new, -1)
        return self.o_proj(attended), keys, values


def rotate(x: Tensor, scale: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Scale heads (B, N, H, E) by `scale` (H, E) and turn them by `cos`, `sin` (B, N, 1, E) (arXiv 2104.09864)."""
    half = x.shape[-1] // 2
    swapped = torch.cat((x[..., half:], x[..., :half]), dim=-1)
    turned = torch.cat((-scale[..., half:], scale[..., :half]), dim=-1)
    return x * (cos * scale) + swapped * (sin * turned)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Mask) -> Tensor:
    """Attention with scale 1: queries (B, H, N, E), keys and values (B, G, M, E), additive mask -> (B, H, N, E)."""
    if callable(mask):
        return mask(queries, keys, values)
    if not torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=1.0, enable_gqa=True
        )
    # Plain bf16 products run about three times faster in training than PyTorch's CPU flash kernel.
    batch, heads, new, size = queries.shape
    groups = keys.shape[1]
    grouped = queries.reshape(batch, groups, heads // groups * new, size)
    scores = (grouped @ keys.transpose(2, 3)).view(batch, heads, new, -1)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1).view(batch, groups, heads // groups * new, -1)
    return (weights @ values).view(batch, heads, new, size)


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """GeGLU (arXiv 2002.05202) of two tensors of one shape."""
    return functional.gelu(gate, approximate="tanh") * up


class MLP(nn.Module):
    """The weights of the gated MLP of a layer."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)


class Expert(nn.Module):
    """The weights of the only expert, with the leading expert dimension of the checkpoint."""

    def __init__(self, hidden_size: int, expert_size: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(1, 2 * expert_size, hidden_size))
        self.down_proj = nn.Parameter(torch.empty(1, hidden_size, expert_size))
        nn.init.normal_(self.gate_up_proj, std=0.02)
        nn.init.normal_(self.down_proj, std=0.02)


class Router(nn.Module):
    """The weights of the router; with one expert its softmax is 1 and only `per_expert_scale` acts."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.proj = nn.Linear(hidden_size, 1, bias=False)
        self.scale = nn.Parameter(torch.ones(hidden_size))
        self.per_expert_scale = nn.Parameter(torch.ones(1))


class Layer(nn.Module):
    """One transformer layer in DiffusionGemma's arrangement of norms."""

    layer_scalar: Tensor
    encoder_scalar: Tensor

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        expert_size: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        shares_value: bool,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.self_attn = Attention(hidden_size, heads, kv_heads, head_dim, shares_value, epsilon)
        self.mlp = MLP(hidden_size, intermediate_size)
        self.router = Router(hidden_size)
        self.experts = Expert(hidden_size, expert_size)
        self.input_layernorm = RMSNorm(hidden_size, epsilon)
        self.post_attention_layernorm = RMSNorm(hidden_size, epsilon)
        self.pre_feedforward_layernorm = RMSNorm(hidden_size, epsilon)
        self.pre_feedforward_layernorm_2 = RMSNorm(hidden_size, epsilon)
        self.post_feedforward_layernorm = RMSNorm(hidden_size, epsilon)
        self.post_feedforward_layernorm_1 = RMSNorm(hidden_size, epsilon)
        self.post_feedforward_layernorm_2 = RMSNorm(hidden_size, epsilon)
        self.register_buffer("layer_scalar", torch.ones(1))
        self.register_buffer("encoder_scalar", torch.ones(1))

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None,
        mask: Mask,
        encoding: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`x` (B, N, D) -> the same shape, and the layer's keys and values (B, G, P + N, E)."""
        normal = rms_normalize(x, self.epsilon)
        attended, keys, values = self.self_attn(normal, self.input_layernorm.weight, rotary, past, mask)
        x = x + self.post_attention_layernorm(attended)
        x = x + self.post_feedforward_layernorm(self._feed_forward(rms_normalize(x, self.epsilon)))
        return x * (self.encoder_scalar if encoding else self.layer_scalar), keys, values

    def _feed_forward(self, normal: Tensor) -> Tensor:
        """Dense MLP plus expert, both read from one product: `normal` (B, N, D) -> (B, N, D)."""
        dense = self.pre_feedforward_layernorm.weight
        expert = self.pre_feedforward_layernorm_2.weight
        expert_gate, expert_up = self.experts.gate_up_proj[0].chunk(2)
        gates = torch.cat((self.mlp.gate_proj.weight * dense, expert_gate * expert))
        ups = torch.cat((self.mlp.up_proj.weight * dense, expert_up * expert))
        gate, up = functional.linear(normal, torch.cat((gates, ups))).chunk(2, dim=-1)
        inner = gated(gate, up)
        size = self.mlp.down_proj.weight.shape[1]
        dense_out = self.mlp.down_proj(inner[..., :size])
        expert_out = functional.linear(inner[..., size:], self.experts.down_proj[0] * self.router.per_expert_scale)
        both: Tensor = self.post_feedforward_layernorm_1(dense_out) + self.post_feedforward_layernorm_2(expert_out)
        return both


class SelfConditioning(nn.Module):
    """Adds what the step before believed, as soft embeddings, to the canvas embeddings (arXiv 2208.04202)."""

    def __init__(self, hidden_size: int, intermediate_size: int, epsilon: float) -> None:
        super().__init__()
        self.pre_norm = RMSNorm(hidden_size, epsilon)
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)
        self.epsilon = epsilon

    def forward(self, embedded: Tensor, soft: Tensor | None) -> Tensor:
        """Both (B, C, D); without `soft` the signal is zero but the last norm still applies."""
        if soft is not None:
            normal = self.pre_norm(soft)
            embedded = embedded + self.down_proj(gated(self.gate_proj(normal), self.up_proj(normal)))
        return rms_normalize(embedded, self.epsilon)
