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
}


def families() -> list[str]:
    """Every model type that transformers maps to a causal language model."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def known(config_class: type[PretrainedConfig]) -> set[str]:
    """Settings that a configuration takes, by its own names and by those that it maps to them."""
    fields = {field.name for field in dataclasses.fields(config_class)}
    return fields | {name for name, own in config_class.attribute_map.items() if own in fields}


def tiny_config(family: str, **more: Any) -> PretrainedConfig:
    """A configuration of a family with two narrow layers, and of composite ones a narrow text model."""
    config_class = CONFIG_MAPPING[family]
    return small(config_class, more)


def small(config_class: Any, more: dict[str, Any]) -> PretrainedConfig:
    names = known(config_class)
    settings = {name: value for name, value in SMALL.items() if name in names}
    taken = {config_class.attribute_map.get(name, name) for name in more}
    settings = {n: v for n, v in settings.items() if config_class.attribute_map.get(n, n) not in taken}
    return config_class(**settings | more)
