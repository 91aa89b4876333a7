import math


class Point:
    def __init__(self, x: float, y: float) -> None:
        
        self.y = y

    def distance(self, other: "Point") -> float:
        return math.hypot(self.x - other.x, self.y - other.y)
