"""Models from a recipe, and Hugging Face folders in and out."""

import copy
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from undo.data.tokenizer import END, PAD, token_id
from undo.models.device import pick_device
from undo.models.head import with_probed_head

transformers_logging.disable_progress_bar()  # the executor draws the only bars


def build_llama(
    width: int, layers: int, heads: int, mlp_width: int, row_tokens: int, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """A freshly initialised Llama-shaped model with tied embeddings, fp32; the seed alone decides its weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=mlp_width,
        max_position_embeddings=row_tokens,
        tie_word_embeddings=True,
        initializer_range=width**-0.5,
        pad_token_id=token_id(tokenizer, PAD),
        eos_token_id=token_id(tokenizer, END),
        bos_token_id=token_id(tokenizer, END),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def untrained_like(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same architecture with weights by its own initialiser; the seed alone decides them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return type(model)(copy.deepcopy(model.config))


def load_model(folder: Path) -> PreTrainedModel:
    """A model from a Hugging Face folder with fp32 master weights (bf16 weights swallow small updates)."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """A plain Hugging Face folder: safetensors weights, configuration, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def freeze(model: PreTrainedModel) -> PreTrainedModel:
    """The model itself, on the device, in evaluation mode and without gradients."""
    model.to(pick_device())  # pyright: ignore[reportArgumentType]  # transformers' wrapper of `to` hides self
    return with_probed_head(model.eval().requires_grad_(False))
