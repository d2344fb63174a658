"""Models in, out, noised, and their layers by name."""

from undo.spec.lazy import lazy

__getattr__ = lazy(
    __name__,
    build="build_llama freeze load_model save_model untrained_like",
    export="export_model",
    given="GivenModel find_model",
    folder="count_weights find_adapter find_folder fingerprint text_config width_and_layers",
    greedy="generate_greedy",
    head="hidden_states output_head predict with_probed_head",
    layers="decoder_layers down_projections layer_outputs matching_parameters pick_layers state_matrices",
    noise="perturb",
    pretrained="adopt check_survives limits skeleton",
    sample="few_ids few_logits same_function",
    variants="SOFT_PROMPT early_exit own_head quantised copy_sharing_weights with_soft_prompt",
    weights="gradients movable restored shift",
)
