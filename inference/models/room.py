"""Room for a layer's keys and values to grow in, so that one typed token does not copy the thousands before it."""

from __future__ import annotations

import torch
from torch import Tensor


class Room:
    """Two buffers (B, G, capacity, E). Positions are written once: views of them never change."""

    def __init__(self, keys: Tensor, values: Tensor, used: int = 0) -> None:
        """Take over buffers whose first ``used`` positions are written."""
        self._keys, self._values, self.used = keys, values, used

    @classmethod
    def empty(cls, groups: int, capacity: int, size: int, *, dtype: torch.dtype, device: torch.device) -> Room:
        """For one row."""
        keys, values = torch.empty(2, 1, groups, capacity, size, dtype=dtype, device=device)
        return cls(keys, values)

    @property
    def capacity(self) -> int:
        """Positions there is room for."""
        return self._keys.shape[2]

    @property
    def size_bytes(self) -> int:
        """Bytes of both buffers, the unused part included."""
        return self._keys.nbytes + self._values.nbytes

    def first(self, length: int) -> tuple[Tensor, Tensor]:
        """Views (B, G, length, E) of the first keys and values."""
        return self._keys[:, :, :length], self._values[:, :, :length]

    def from_position(self, start: int, new: int) -> Room:
        """A room whose next ``new`` positions follow the first ``start`` ones: this one if free, else a larger copy."""
        if self.used == start and start + new <= self.capacity:
            return self
        batch, groups, _, size = self._keys.shape
        capacity = start + new + (start + new) // 4 + 64
        buffers = [old.new_empty(batch, groups, capacity, size) for old in (self._keys, self._values)]
        room = Room(buffers[0], buffers[1], start)
        for ours, theirs in zip(room.first(start), self.first(start), strict=True):
            ours.copy_(theirs)
        return room

    def followed_by(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write ``keys`` and ``values`` (B, G, N, E) behind the used ones; views (B, G, used + N, E) of all."""
        end = self.used + keys.shape[2]
        self._keys[:, :, self.used : end] = keys
        self._values[:, :, self.used : end] = values
        self.used = end
        return self.first(end)
