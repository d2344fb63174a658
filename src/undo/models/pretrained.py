"""Somebody's own model made ready for a study, or refused with the reason."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from undo.spec.errors import UserError


class Limits(NamedTuple):
    """What a model can read: so many different tokens (rows of its embedding), and at most so many in a row."""

    vocabulary: int
    context: int | None


def adopt(folder: Path, adapter: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with fp32 weights, and its tokenizer. No code from the folder is run, and no pickle is read.

    adapter, a folder of a PEFT adapter, is merged into the weights.
    Raises UserError where the folder holds something else than a plain causal language model with all its weights, or
    the adapter belongs to another one.
    """
    config = _loaded(AutoConfig, folder)
    if getattr(config, "quantization_config", None):
        raise UserError(f"the weights of {folder} are quantised; start from the ones in full precision")
    if config.get_text_config() is not config:
        raise UserError(f"{folder} is a model of more than text ({type(config).__name__}); start from a text model")
    model, found = _loaded(
        AutoModelForCausalLM, folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder} lacks weights of {type(model).__name__}: {missing[0]}{more}")
    if adapter is not None:
        model = _merged(model, adapter)
    if broken := [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]:
        raise UserError(f"{folder} holds weights that are no numbers (NaN or infinite): {broken[0]}")
    _check_causal(model.eval())
    tokenizer = _with_end(_loaded(AutoTokenizer, folder), folder)
    _prepare(model, tokenizer)
    return model, tokenizer


def limits(folder: Path) -> Limits:
    """The limits of a folder's model; the context is None where the family has none. Raises UserError like `adopt`."""
    config = _loaded(AutoConfig, folder)
    return Limits(config.vocab_size, getattr(config, "max_position_embeddings", None))


def _loaded(kind: Any, folder: Path, **knobs: Any) -> Any:
    try:
        return kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **knobs)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"transformers cannot load {folder}: {reason[:300]}") from error


def _merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    from peft import PeftModel

    before = {name: weight.clone() for name, weight in model.named_parameters()}
    try:
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the adapter {adapter} does not fit the model: {reason[:200]}") from error
    if all(weight.equal(before[name]) for name, weight in merged.named_parameters() if name in before):
        raise UserError(f"the adapter {adapter} changes no weight of the model; is it another model's?")
    return merged


@torch.no_grad()
def _check_causal(model: PreTrainedModel) -> None:
    """An encoder loads as a causal model too, and would then see the tokens that it predicts."""
    ids_BT = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]]) % model.config.vocab_size
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :3]
    if not torch.allclose(logits_BTV[0], logits_BTV[1], atol=1e-3 * float(logits_BTV.abs().max())):
        raise UserError(f"{type(model).__name__} predicts a token from the ones after it; it is no causal model")


def _with_end(tokenizer: PreTrainedTokenizerBase, folder: Path) -> PreTrainedTokenizerBase:
    """A single special token opens and ends texts, as in GPT-2."""
    if tokenizer.eos_token_id is None:
        if tokenizer.bos_token_id is None:
            raise UserError(f"the tokenizer of {folder} has no end token; name one in its tokenizer_config.json")
        tokenizer.eos_token = tokenizer.bos_token
    return tokenizer


def _prepare(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Settings that would spoil a study are changed in the configuration, which every later stage loads."""
    config: PretrainedConfig = model.config
    if config.pad_token_id in (tokenizer.eos_token_id, tokenizer.bos_token_id, -1):
        config.pad_token_id = None  # an embedding has no gradient at its padding token, and this one is in every text
    for name, value in config.to_dict().items():
        if isinstance(value, float) and ("drop" in name or name == "router_jitter_noise"):
            setattr(config, name, 0.0)  # chance that no seed of ours decides: a resumed stage would be another one
    try:
        model.generation_config.validate(strict=True)  # type: ignore[union-attr]
    except ValueError:  # some published ones are not valid, and those cannot be saved
        model.generation_config = GenerationConfig.from_model_config(config)
