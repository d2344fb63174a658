"""A PEFT adapter merged into a model's weights, such that they say what the two said together."""

import copy
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from undo.models.folder import one_line
from undo.models.sample import few_logits, same_function
from undo.spec.errors import UserError


def merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """The model with the adapter in its weights. The given one is used up.

    Raises UserError where it belongs to another model, changes nothing, or cannot be a part of the weights.
    """
    alone, kind = few_logits(model), _kind(adapter)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    together = few_logits(_wrapped(model, adapter))
    if together.equal(alone):
        raise UserError(f"the adapter {adapter} changes no weight of the model; is it another model's?")
    for start in (_like(model, before, untie=False), _like(model, before, untie=True)):
        try:
            result = _wrapped(start, adapter).merge_and_unload()
        except Exception as error:  # of prompts there is nothing to merge
            raise UserError(f"the adapter {adapter} ({kind}) cannot be merged: {one_line(error)}") from error
        if same_function(together, few_logits(result)):
            return _with_right_tie(result)
    raise UserError(
        f"the adapter {adapter} ({kind}) says something else once it is merged; merge it with PEFT yourself"
    )


def _wrapped(model: PreTrainedModel, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except Exception as error:  # whatever is in a stranger's file
        raise UserError(f"the adapter {adapter} does not fit the model: {one_line(error)}") from error


def _kind(adapter: Path) -> str:
    from peft import PeftConfig

    try:
        return str(getattr(PeftConfig.from_pretrained(str(adapter)).peft_type, "value", "of no known kind"))
    except Exception as error:
        raise UserError(f"PEFT cannot read the adapter {adapter}: {one_line(error)}") from error


def _like(model: PreTrainedModel, weights: dict[str, Any], untie: bool) -> PreTrainedModel:
    """A model of these weights. Untied, what adapts the head leaves the embeddings alone, and the other way round."""
    fresh = type(model)(copy.deepcopy(model.config))
    fresh.load_state_dict(weights, strict=False)
    fresh.tie_weights()
    head = fresh.get_output_embeddings()
    if untie and head is not None:
        head.weight = nn.Parameter(head.weight.detach().clone())
        _say_tied(fresh, False)
    return fresh.eval()


def _with_right_tie(model: PreTrainedModel) -> PreTrainedModel:
    """The configuration says whether head and embeddings are one matrix, and loading believes it."""
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not table.weight:
        _say_tied(model, False)
    return model


def _say_tied(model: PreTrainedModel, tied: bool) -> None:
    for config in {id(config): config for config in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = tied
