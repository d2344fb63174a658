"""The one training loop and what it needs."""

from undo.spec.lazy import lazy

__getattr__ = lazy(
    __name__,
    loop="Fit FitJob fit start steps",
    checkpoint="Checkpoints FitState",
    ledger="Ledger",
    runtime="count_flops",
)
