"""Pure tensor functions.

Legend of shapes: B rows, T tokens, V vocabulary, D width. Every loss reduces in fp32 and divides by the number of valid
targets, so that padding and gradient accumulation leave it unchanged.
"""

from undo.spec.lazy import lazy

__getattr__ = lazy(
    __name__,
    targets="IGNORE next_token_targets valid_mean",
    next_token="cross_entropy",
    divergence="forward_kl uniform_kl",
    activation="activation_mse",
)
