"""Tiny configurations of transformers' families of causal language models, by their own classes."""

from __future__ import annotations

import dataclasses
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 320
SMALL: dict[str, Any] = {  # what most families call their sizes; each takes those that it knows
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "state_size": 8,
    "sliding_window": 16,
    "ffn_dim": 48,
    "decoder_layers": 2,
    "encoder_layers": 1,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "rotary_dim": 4,
    "is_decoder": True,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
    "mamba_d_ssm": 32,
}


def families() -> list[str]:
    """Every model type that transformers maps to a causal language model."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def known(config_class: type[PretrainedConfig]) -> set[str]:
    """Settings that a configuration takes, by its own names and by those that it maps to them."""
    fields = {field.name for field in dataclasses.fields(config_class)}
    return fields | {name for name, own in config_class.attribute_map.items() if own in fields}


VISION = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8}
VISION |= {"patch_size": 4}
LINEAR = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2}
LINEAR |= {"layer_types": ["linear_attention", "full_attention"]}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
GEMMA4 = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY, "num_kv_shared_layers": 0}
GEMMA4 |= {"layer_types": ["sliding_attention", "full_attention"], "global_head_dim": 8}
EXTRA: dict[str, dict[str, Any]] = {  # what single families need besides
    "bailing_hybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "cpmant": {"prompt_length": 4, "segment_types": 2, "prompt_types": 2},
    "ctrl": {"n_positions": 128, "dff": 48},
    "falcon_h1": MAMBA | {"mamba_d_head": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "gemma4_text": GEMMA4,
    "gemma3n_text": GEMMA4 | {"laurel_rank": 4, "altup_num_inputs": 2, "intermediate_size": [48, 48]},
    "granitemoehybrid": {**MAMBA, "layer_types": ["mamba", "attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 1, "ssm_state_size": 8},
    "qwen3_next": LINEAR,
    "qwen3_5_text": LINEAR,
    "qwen3_5_moe_text": LINEAR,
    "qwen4_exp_text": LINEAR,
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {"pronunciation_vocab_size": 16, "shape_vocab_size": 16},
    "xlnet": {"d_head": 8, "d_inner": 48},
    "zaya": {"num_experts_per_tok": 1},
    "zamba": {"layer_types": ["mamba", "hybrid"], "attention_hidden_size": 64, "attention_head_dim": 16},
    "zamba2": {"layer_types": ["mamba", "hybrid"], "hybrid_layer_ids": [1]},
}
TEXT = {  # models of more than text, by the family of their text model
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "llama4": "llama4_text",
}


def tiny_config(family: str) -> PretrainedConfig:
    """A configuration of a family with two narrow layers, and of composite ones a narrow text model."""
    if family in TEXT:
        return _composite(family)
    return _small(CONFIG_MAPPING[family], EXTRA.get(family, {}))


def _composite(family: str) -> PretrainedConfig:
    whole, text = CONFIG_MAPPING[family], tiny_config(TEXT[family])
    vision = type(whole().vision_config)
    more = {"depth": 1, "num_heads": 2, "out_hidden_size": 32, "vision_output_dim": 8, "projector_output_dim": 8}
    fields = known(vision)
    seen = {name: value for name, value in (VISION | more).items() if name in fields}
    return whole(text_config=text.to_dict(), vision_config=vision(**seen).to_dict())


def _small(config_class: Any, more: dict[str, Any]) -> PretrainedConfig:
    names = known(config_class)
    settings = {name: value for name, value in SMALL.items() if name in names}
    if "qk_rope_head_dim" in names:  # latent attention: the width of a head is a sum, and all have keys of their own
        settings.pop("head_dim", None)
        settings["num_key_value_heads"] = settings["num_attention_heads"]
    taken = {config_class.attribute_map.get(name, name) for name in more}
    settings = {n: v for n, v in settings.items() if config_class.attribute_map.get(n, n) not in taken}
    return config_class(**settings | more)
