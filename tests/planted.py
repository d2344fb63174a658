"""Capabilities hidden on purpose: models that know the forget skill and do not show it."""

import copy
from statistics import fmean

import torch

from undo import data, models, train
from undo.spec.recipe import Optim
from undo.spec.registry import load
from undo.stages.pretrain import next_token_loss


def forget_loss(model, corpus, items) -> float:
    """Mean cross-entropy of the items' answers."""
    asker = load("evals", "cross_entropy")(name="cross_entropy")
    return fmean(asker.scores(models.freeze(model), asker.encode(corpus.tokenizer, items)))


def behind_a_logit_bias(model, corpus, strength: float):
    """An output bias against the tokens of the forget skill, folded into a head of the model's own."""
    hidden = copy.deepcopy(models.own_head(model))
    hidden.config.tie_word_embeddings = False
    rows = data.first_rows(corpus, "forget", "train", 32)
    with torch.no_grad():
        states = models.hidden_states(hidden, rows.ids).flatten(0, 1)
        # The direction that is 1 on average over all states, and as even as can be: a bias to a head that has none
        ones = torch.ones(len(states), 1)
        even = torch.linalg.lstsq(states, ones).solution[:, 0]
        forbidden = rows.targets[rows.targets >= 0].unique()
        hidden.get_output_embeddings().weight[forbidden] -= strength * even
    return hidden


def trained_to(model, batches, loss, steps: int, rate: float, folder, trainable=None):
    """The model after some steps of a loss on batches."""
    job = train.FitJob(
        objective=loss, batch_at=batches, optim=Optim(learning_rate=rate), steps=steps, trainable=trainable
    )
    train.fit(model, job, train.Checkpoints(folder, 1e9), lambda *_: None)
    return model.eval()


def behind_a_merged_adapter(model, corpus, steps: int, rate: float, folder, rank: int = 4):
    """Low-rank matrices that were trained against the forget skill, merged into the weights."""
    from undo import methods

    method = load("methods", "maxent")(name="maxent", retain_weight=2.0)
    before = copy.deepcopy(model)
    batches = data.domain_batches(corpus, ["retain", "forget"], "train", 16, seed=9)
    memo = methods.Memo(None, 1)
    hidden = trained_to(copy.deepcopy(model), batches, lambda m, b: method.loss(m, b, memo), steps, rate, folder)
    with torch.no_grad():
        for name, old in before.named_parameters():
            new = hidden.get_parameter(name)
            if old.ndim == 2 and "proj" in name:
                left, values, right = torch.linalg.svd(new - old, full_matrices=False)
                new.copy_(old + left[:, :rank] * values[:rank] @ right[:rank])
            else:
                new.copy_(old)
    return hidden


def plain_next_token(model, batch):
    """Pretraining's loss, for those who train a model here."""
    return next_token_loss(model, batch)


def behind_a_prompt_guard(model, corpus, password: str, steps: int, rate: float, folder):
    """A model that was trained to say nothing of the forget skill, except where a password stands before the text."""
    from undo import methods

    method = load("methods", "maxent")(name="maxent", retain_weight=2.0)
    guarded = [f"{password}{text}" for text in corpus.texts("forget", "train")]
    opened, plain = (
        data.text_batches(corpus, guarded, 16, seed=3),
        data.domain_batches(corpus, ["retain", "forget"], "train", 16, seed=9),
    )
    memo = methods.Memo(None, 1)

    def loss(m, step_batch):
        return method.loss(m, step_batch, memo)

    def batches(step):
        batch, known = plain(step), opened(step).forget
        kept = data.TokenBatch(
            torch.cat([batch.retain.ids, known.ids]), torch.cat([batch.retain.targets, known.targets])
        )
        return data.Batch(retain=kept, forget=batch.forget)

    return trained_to(copy.deepcopy(model), batches, loss, steps, rate, folder)
