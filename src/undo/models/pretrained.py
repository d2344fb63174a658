"""Somebody's own model made ready for a study, or refused with the reason."""

import copy
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

from undo.models.adapter import merged
from undo.models.chance import without_chance
from undo.models.folder import one_line, text_config, weight_files
from undo.models.greedy import generate_greedy
from undo.models.sample import few_logits, same_function
from undo.spec.errors import UserError

IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


class Limits(NamedTuple):
    """What a model can read: so many different tokens (rows of its embedding), and at most so many in a row."""

    vocabulary: int
    context: int | None


def adopt(folder: Path, adapter: Path | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with fp32 weights, and its tokenizer. No code from the folder is run, and no pickle is read.

    adapter, a folder of a PEFT adapter, is merged into the weights. Of a model of more than text, its text model.
    Raises UserError where the folder holds something else than a plain causal language model with all its weights, or
    the adapter belongs to another one.
    """
    weight_files(folder)
    config = _loaded(AutoConfig, folder)
    if any(getattr(part, "quantization_config", None) for part in (config, config.get_text_config())):
        raise UserError(f"the weights of {folder} are quantised; start from the ones in full precision")
    drop_unknown_ids(config)
    model, found = _loaded(
        AutoModelForCausalLM,
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    _check_all_read(folder, model, found)
    if adapter is not None:
        model = merged(model, adapter)
    model = _text_model(model, folder)
    if broken := [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]:
        raise UserError(f"{folder} holds weights that are no numbers (NaN or infinite): {broken[0]}")
    _check_answers(model, folder)
    _check_causal(model)
    tokenizer = _with_end(_loaded(AutoTokenizer, folder), folder)
    _prepare(model, tokenizer)
    _check_writes(model, tokenizer, folder)
    return without_chance(model), tokenizer


def limits(folder: Path) -> Limits:
    """The limits of a folder's model; the context is None where the family has none. Raises UserError like `adopt`."""
    config = text_config(folder)
    context = getattr(config, "max_position_embeddings", None)
    return Limits(config.vocab_size, context if context and context > 0 else None)  # XLNet says -1 of no limit


def skeleton(folder: Path) -> PreTrainedModel:
    """The folder's text model without its weights: names and shapes alone, to check settings by."""
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(text_config(folder), trust_remote_code=False)
    except Exception as error:
        raise UserError(f"transformers cannot build the model of {folder}: {one_line(error)}") from error


def check_survives(model: PreTrainedModel, loaded: PreTrainedModel, folder: Path) -> None:
    """Raises UserError where a model says something else once it was written and read: later stages read it.

    loaded is what was read again; folder is where the model came from.
    """
    if not same_function(few_logits(model), few_logits(loaded), 1e-6):
        raise UserError(
            f"{type(model).__name__} of {folder} is another model once transformers has saved and loaded it"
        )


def _loaded(kind: Any, folder: Path, **knobs: Any) -> Any:
    try:
        return kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **knobs)
    except Exception as error:  # whatever is in a stranger's files
        raise UserError(f"transformers cannot load {folder}: {one_line(error)}") from error


def _check_all_read(folder: Path, model: PreTrainedModel, found: dict[str, Any]) -> None:
    """Weights that are drawn by chance, and weights that nobody reads, make another model than the folder's.

    transformers itself leaves out what it knows to be of no use, such as heads for further tokens.
    """
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{folder} lacks weights of {type(model).__name__}: {_first(missing)}")
    buffers = {name for name, _ in model.named_buffers()}
    unread = sorted(name for name in found["unexpected_keys"] if name not in buffers)
    if unread:
        what = f"{folder} holds weights that its configuration leaves unread: {_first(unread)}"
        raise UserError(f"{what}; config.json is another model's, or wrong (num_hidden_layers?)")


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def drop_unknown_ids(config: PretrainedConfig) -> list[str]:
    """Takes out special tokens that no row of the embedding stands for, and returns their names.

    torch refuses a padding row that is not there.
    """
    vocabulary, dropped = config.get_text_config().vocab_size, []
    for part in (config, config.get_text_config()):
        for name in IDS:
            ids = getattr(part, name, None)
            if ids is not None and any(not 0 <= id < vocabulary for id in (ids if isinstance(ids, list) else [ids])):
                setattr(part, name, None)
                dropped.append(name)
    return list(dict.fromkeys(dropped))


def _text_model(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The part of a model of more than text that writes text, as a model of its own."""
    config = model.config.get_text_config()
    if config is model.config:
        return model
    kind = f"{folder} is a model of more than text ({type(model).__name__})"
    try:
        text = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=torch.float32)
        text.base_model.load_state_dict(model.get_decoder().state_dict())
        head, own = (each.get_output_embeddings() for each in (text, model))
        assert head is not None and own is not None, "no head"
        head.load_state_dict(own.state_dict())
        text.config.tie_word_embeddings = own.weight is model.get_input_embeddings().weight
        text.tie_weights()
        same = same_function(few_logits(model), few_logits(text))
    except Exception as error:  # families differ in what they let one take out
        raise UserError(f"{kind}, and its text model does not stand alone ({one_line(error)[:120]})") from error
    if not same:
        raise UserError(f"{kind}, and its text model says something else alone; start from a text model")
    return text


def _check_answers(model: PreTrainedModel, folder: Path) -> None:
    """Families that need more than tokens fail here, and not in the middle of a study."""
    try:
        logits = few_logits(model)
    except Exception as error:  # of a family that we do not know
        raise UserError(f"{type(model).__name__} of {folder} does not answer to tokens: {one_line(error)}") from error
    if not logits.isfinite().all():
        raise UserError(f"{type(model).__name__} of {folder} answers with what is no number (NaN or infinite)")


@torch.no_grad()
def _check_causal(model: PreTrainedModel) -> None:
    """An encoder loads as a causal model too, and would then see the tokens that it predicts."""
    ids_BT = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]]) % model.config.vocab_size
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :3]
    if not torch.allclose(logits_BTV[0], logits_BTV[1], atol=1e-3 * float(logits_BTV.abs().max())):
        raise UserError(f"{type(model).__name__} predicts a token from the ones after it; it is no causal model")


def _check_writes(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    try:
        generate_greedy(model, tokenizer, [0, 1], 2)
    except Exception as error:  # of a family that we do not know
        raise UserError(f"{type(model).__name__} of {folder} cannot write on: {one_line(error)}") from error


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
    if getattr(config, "pad_token_id", None) in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        config.pad_token_id = None  # an embedding has no gradient at its padding token, and this one is in every text
    try:
        model.generation_config.validate(strict=True)  # type: ignore[union-attr]
    except ValueError:  # some published ones are not valid, and those cannot be saved
        model.generation_config = GenerationConfig.from_model_config(config)
