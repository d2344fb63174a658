"""Pure tensor functions.

Legend of shapes: B rows, T tokens, N positions, R positions at a time, V vocabulary, D width. Every loss reduces in
fp32 and divides by the number of valid targets of the whole step, so that padding and gradient accumulation leave it
unchanged.
"""

from undo.spec.lazy import lazy

__getattr__ = lazy(
    __name__,
    targets="IGNORE next_token_targets valid_mean",
    predictions="Head Predictions greedy",
    chunked="losses_of valid_mean_of weighted_sum_of",
    next_token="cross_entropy mean_of_rows row_log_likelihoods row_weighted_cross_entropy token_losses "
    "token_weighted_cross_entropy",
    divergence="TopTokens demoted_kl ensemble_kl forward_kl jensen_shannon top_forward_kl top_tokens uniform_kl",
    activation="activation_mse gaussian_mmd",
    surrogate="surrogate_loss",
)
