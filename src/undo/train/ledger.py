"""What a stage cost."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Ledger:
    """Counted cost of a stage. FLOPs are torch's count of matrix products and attention; teacher forwards included."""

    forward_flops: int = 0
    backward_flops: int = 0
    eval_flops: int = 0  # validation and test questions: apart, since they are not part of a method's price
    tokens: int = 0
    forget_tokens: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0  # of this process, whatever else the machine does
    peak_memory_bytes: int = 0

    @property
    def flops(self) -> int:
        """Training FLOPs, forward and backward."""
        return self.forward_flops + self.backward_flops

    def as_row(self) -> dict[str, Any]:
        """The ledger as JSON, with the total."""
        return {**asdict(self), "flops": self.flops, "wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3)}
