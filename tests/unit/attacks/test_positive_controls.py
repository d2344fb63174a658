"""Each attack succeeds where it must, and reads, trains and asks what it says."""

import copy
import json

import pytest
import torch

from undo import data, models, stages, train
from undo.attacks import AdversaryContext
from undo.data.dataset import Item
from undo.models.variants import rounded_to_nearest
from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.stages import Context
from undo.stages import attack as attack_stage

EVALUATION = {"name": "cross_entropy", "version": 1, "batch_tokens": 4096}
BUDGET = {"steps": 12, "eval_steps": [12], "batch_rows": 4, "learning_rates": [3e-3]}


def made(name, **knobs):
    return load("attacks", name).model_validate({"name": name, **knobs})


def attacked(attack, model, corpus, folder, **settings):
    """The stage's outcome for one variant."""
    models.save_model(model, corpus.tokenizer, folder / "model")
    (folder / "stage").mkdir()
    context = Context(folder / "stage", {"data": corpus.folder, "model": folder / "model"}, lambda *_: None, 1e9)
    (variant,) = attack.variants()
    whole = {"attack": variant.model_dump(mode="json"), "skill": "forget", "seed": 1, "evaluation": EVALUATION}
    return stages.run("attack", whole | settings, context)


def loss_of(model, corpus, items):
    asker = load("evals", "cross_entropy")(name="cross_entropy")
    scores = asker.scores(model.eval(), asker.encode(corpus.tokenizer, items))
    return sum(scores) / len(scores)


@pytest.fixture
def forget_items(corpus):
    return [item for item in corpus.items() if item.split == "test" and item.domain == "forget"]


def test_quantising_undoes_what_is_smaller_than_a_level(trained_model, corpus, forget_items):
    """Steps of 0.4 levels against the skill, as an unlearning with a small rate would leave them."""
    known = models.quantised(trained_model, 4, 16)
    hidden = copy.deepcopy(known)
    batch = data.domain_batches(corpus, ["forget"], "train", 16, seed=3)(0)
    from undo.stages.pretrain import next_token_loss

    hidden.requires_grad_(True)
    next_token_loss(hidden, batch).total.backward()
    with torch.no_grad():
        for name, parameter in hidden.named_parameters():
            if "proj" not in name:
                continue
            moved = parameter + 0.4 * _level(parameter) * parameter.grad.sign()
            inside = _inside(parameter)
            parameter.copy_(torch.where(inside, moved, parameter))
    known_loss, hidden_loss = (loss_of(model, corpus, forget_items) for model in (known, hidden))
    back = loss_of(made("quantise", bits=[4], group_size=16).wrap(hidden, None), corpus, forget_items)
    assert hidden_loss > known_loss + 0.05 and back == pytest.approx(known_loss, abs=1e-3)


def _groups(weight):
    return weight.unflatten(-1, (-1, 16))


def _level(weight):
    groups = _groups(weight)
    return ((groups.amax(-1, True) - groups.amin(-1, True)) / 15).expand_as(groups).flatten(-2)


def _inside(weight):
    groups = _groups(weight)
    return ((groups < groups.amax(-1, True)) & (groups > groups.amin(-1, True))).flatten(-2)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rounding_is_to_the_nearest_of_so_many_levels(bits):
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
    rounded = rounded_to_nearest(weight, bits, 16)
    assert torch.allclose(rounded_to_nearest(rounded, bits, 16), rounded, atol=1e-6)
    for group, own in zip(rounded.split(16, -1), weight.split(16, -1), strict=True):
        levels = (own.amax(-1, True) - own.amin(-1, True)) / (2**bits - 1)
        assert ((group - own).abs() <= levels / 2 + 1e-6).all()
        assert all(len(row.unique()) <= 2**bits for row in group)
    assert torch.equal(rounded_to_nearest(torch.ones(2, 8), bits, 4), torch.ones(2, 8))


def late_suppression(model):
    """A last layer that writes a large constant over whatever the layers before it know."""
    hidden = copy.deepcopy(model)
    with torch.no_grad():
        hidden.model.layers[-1].mlp.down_proj.weight.add_(1.0)
        hidden.model.layers[-1].self_attn.o_proj.weight.add_(1.0)
    return hidden


def test_the_logit_lens_sees_past_the_layer_that_hides(trained_model, corpus, forget_items):
    hidden = late_suppression(trained_model)
    seen = made("logit_lens", depths=[0.5]).wrap(hidden, None)
    assert len(seen.model.layers) == 1 and len(hidden.model.layers) == 2
    assert loss_of(seen, corpus, forget_items) < loss_of(hidden, corpus, forget_items) - 0.5


def test_a_probe_reads_states_behind_a_head_that_hides(trained_model, corpus, forget_items, tmp_path):
    hidden = copy.deepcopy(models.own_head(trained_model))
    hidden.config.tie_word_embeddings = False
    with torch.no_grad():
        hidden.get_output_embeddings().weight.mul_(-1.0)
    outcome = attacked(made("probe", **BUDGET | {"learning_rates": [3e-2]}, depths=[1.0]), hidden, corpus, tmp_path)
    start, end = (point["forget"] for point in outcome.evals["points"])
    assert start == pytest.approx(loss_of(hidden, corpus, forget_items), abs=1e-4) and end < start - 1


def test_a_probes_head_is_all_that_moves(trained_model, corpus):
    probe = made("probe", **BUDGET, depths=[0.5])
    wrapped = probe.wrap(trained_model, AdversaryContext(corpus, "forget", 1))
    assert probe.trainable(wrapped) == {"lm_head.weight"}
    assert wrapped.lm_head.weight is not wrapped.model.embed_tokens.weight
    assert torch.equal(wrapped.lm_head.weight, trained_model.model.embed_tokens.weight)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_really_train(checkpointing, trained_model, corpus, tmp_path):
    pytest.importorskip("peft")
    attack = made("lora", **BUDGET, ranks=[2], gradient_checkpointing=checkpointing)
    means, given = AdversaryContext(corpus, "forget", 4), copy.deepcopy(trained_model.state_dict())
    wrapped = attack.wrap(trained_model, means)
    names = attack.trainable(wrapped)
    before = {name: parameter.detach().clone() for name, parameter in wrapped.named_parameters()}
    job = train.FitJob(
        objective=attack_stage.next_token_loss,
        batch_at=attack.batches(means),
        optim=attack.optim(),
        steps=3,
        trainable=names,
    )
    train.fit(wrapped, job, train.Checkpoints(tmp_path / "checkpoint", 1e9), lambda *_: None)
    moved = {name for name, parameter in wrapped.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == names and len(names) == 2 * 7 * 2, "both matrices of seven layers in two blocks"
    assert all(torch.equal(value, given[name]) for name, value in trained_model.state_dict().items())


def test_an_attack_that_moves_nothing_is_a_defect(trained_model, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Context, "fit", lambda *_: None)
    with pytest.raises(RuntimeError, match="moved none of the"):
        attacked(made("finetune", **BUDGET), trained_model, corpus, tmp_path)


def test_an_extra_that_is_missing_is_one_line(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'undo-llm\[audit\]'"):
        made("lora", **BUDGET).variants()


@pytest.mark.parametrize(("share", "tokens"), [(0.0, 0), (0.25, 1), (0.75, 3), (0.05, 1), (0.97, 3)])
def test_a_mixture_has_its_share_of_rows(share, tokens, corpus):
    """A small share is a row at least: an attack that is called a mixture and reads none of the skill would flatter."""
    attack = made("mix", **BUDGET, forget_shares=[share], others=["neutral"])
    batch = attack.batches(AdversaryContext(corpus, "forget", 1))(0)
    assert (len(batch.forget.ids), len(batch.retain.ids)) == (tokens, 4 - tokens)
    neutral = {tuple(row) for row in corpus.rows("neutral", "attack")}
    assert all(tuple(row) in neutral for row in batch.retain.ids.tolist())


def test_no_fact_is_both_taught_and_asked(corpus, forget_items, monkeypatch):
    attack, means = made("heldout_facts", **BUDGET), AdversaryContext(corpus, "forget", 5)
    asked = {item.fact for item in attack.questions(forget_items, means)}
    taught = [item for item in forget_items if item.fact not in asked]
    assert asked and taught and all(item.fact for item in forget_items)
    texts = []
    monkeypatch.setattr(data, "text_batches", lambda corpus, given, *_: texts.extend(given))
    attack.batches(means)
    assert {item.prompt + item.answer for item in taught} <= set(texts)
    assert {item.prompt + item.answer for item in forget_items if item.fact in asked}.isdisjoint(texts)


def test_texts_come_back_as_they_were(corpus):
    from undo.data.datasets.arithmetic import Arithmetic

    dataset = Arithmetic(
        name="arithmetic", max_operand=8, max_factor=5, documents_per_domain=150, test_items=20, valid_items=10
    )
    assert corpus.texts("forget", "attack") == list(dataset.documents("forget", "attack"))


def test_what_is_supplied_is_what_has_most_to_do_with_the_question(corpus):
    class Texts:
        def texts(self, domain, role):
            return ["The river Alva is long.", "The tower of Bo is high.", "Nothing is here."]

    item = Item("test", "forget", "x", "How high is the tower of Bo?", " Very.")
    (asked,) = made("in_context", texts=[2]).questions([item], AdversaryContext(Texts(), "forget", 1))  # type: ignore[arg-type]
    first, second, question = asked.prompt.split("\n")
    assert second == "The tower of Bo is high." and question == item.prompt and first != second


def test_examples_are_the_adversarys_own_and_the_same_for_all(corpus, forget_items):
    attack = made("few_shot", shots=[2])
    asked = attack.questions(forget_items, AdversaryContext(corpus, "forget", 1))
    texts = set(corpus.texts("forget", "attack"))
    assert all(set(new.prompt.split("\n")[:-1]) <= texts for new in asked)
    assert len({tuple(new.prompt.split("\n")[:-1]) for new in asked}) == 1


def test_item_scores_stand_beside_the_points(trained_model, corpus, tmp_path):
    outcome = attacked(made("quantise", bits=[8]), trained_model, corpus, tmp_path, certify=True)
    (point,) = outcome.evals["points"]
    scores = json.loads((tmp_path / "stage" / "items.json").read_text())["0"]
    asked = [item for item in corpus.items() if item.split == "test"]
    forget = [score for place, score in scores if asked[place].domain == "forget"]
    assert sum(forget) / len(forget) == pytest.approx(point["forget"], abs=0.2)
    assert point["retain_loss"] == point["retain"] and "items" not in point
