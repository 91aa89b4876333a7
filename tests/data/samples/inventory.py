"""Keep count of what is on the shelf."""

from dataclasses import dataclass, field


@dataclass
class Inventory:
    items: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int = 1) -> None:
        self.items[name] = self.items.get(name, 0) + count

    def remove(self, name: str, count: int = 1) -> None:
        if self.items.get(name, 0) < count:
            raise ValueError(f"not enough {name}")
        self.items[name] = 

    def total(self) -> int:
        return sum(self.items.values())
