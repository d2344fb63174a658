"""What the stages add to the loop: how students start, when distillation ends, who reads what."""

import json

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from undo import data, models, stages
from undo.objectives import IGNORE
from undo.spec.errors import UserError
from undo.spec.keys import derive_seed
from undo.spec.recipe import Model
from undo.spec.registry import load
from undo.stages import Context, distil, suppress
from undo.stages._scoring import domain_scorer
from undo.stages.cache_teacher import forward_flops
from undo.stages.pretrain import initial_model, next_token_loss

SHAPE = {"width": 16, "layers": 2, "heads": 2, "mlp_width": 32}
EVALUATION = {"name": "exact_match"}


def context(folder, corpus_folder, trained_folder) -> Context:
    return Context(
        folder, {"data": corpus_folder, "model": trained_folder, "base": trained_folder}, lambda *_: None, 1e9
    )


def settings(init: str, **others) -> dict:
    return {
        "model": SHAPE,
        "evaluation": EVALUATION,
        "seed": 1,
        "init": init,
        "domains": ["retain", "forget"],
        "batch_rows": 4,
        "optim": {"learning_rate": 1e-3},
        "stop": {"max_gap": 0.0, "check_every": 3, "max_steps": 4},
        **others,
    }


def typed(init: str, **others) -> distil.Settings:
    return distil.Settings.model_validate(settings(init, **others))


EXACT_MATCH = load("evals", "exact_match")(name="exact_match")
SUPPRESS = {
    "model": SHAPE,
    "start": "base",
    "steps": 2,
    "batch_rows": 2,
    "label_share": 1.0,
    "label_precision": 1.0,
    "optim": {"learning_rate": 1e-3},
    "seed": 1,
}


def same(first, second) -> bool:
    return all(torch.equal(p, second.get_parameter(name)) for name, p in first.named_parameters())


@pytest.fixture
def base(corpus):
    """The base before its first step."""
    return initial_model(Model.model_validate(SHAPE), corpus, seed=1)


def test_base_and_oracle_start_alike_and_every_seed_anew(corpus, base):
    assert same(base, initial_model(Model.model_validate(SHAPE), corpus, seed=1))
    assert not same(base, initial_model(Model.model_validate(SHAPE), corpus, seed=2))


def test_a_fresh_student_shares_no_start_with_the_base(corpus, base, trained_model):
    fresh = distil.starting_student(typed("fresh"), corpus, trained_model)
    for name, parameter in fresh.named_parameters():
        assert parameter.ndim < 2 or not torch.equal(parameter, base.get_parameter(name))


def test_a_base_init_student_starts_where_the_base_did(corpus, base, trained_model):
    assert same(distil.starting_student(typed("base_init"), corpus, trained_model), base)


def test_a_teacher_student_is_a_copy_of_the_teacher(corpus, trained_model):
    student = distil.starting_student(typed("teacher"), corpus, trained_model)
    assert same(student, trained_model) and student is not trained_model


@pytest.mark.parametrize("rule", ["initial", "paper"])
def test_a_noised_student_is_the_perturbed_teacher(corpus, trained_model, rule):
    noise = {"alpha": 0.4, "beta": 0.1, "rule": rule, "parameters": [".*"]}
    student = distil.starting_student(typed("noised", noise=noise), corpus, trained_model)
    other_seed = distil.starting_student(typed("noised", noise=noise, seed=2), corpus, trained_model)
    gain = 0.6 * trained_model.model.norm.weight + (0.4 if rule == "initial" else 0.0)
    torch.testing.assert_close(student.model.norm.weight, gain)
    assert not same(student, trained_model) and not same(student, other_seed)


def test_an_unknown_start_is_refused():
    with pytest.raises(ValidationError, match="Input should be 'fresh'"):
        typed("nonsense")


def test_distillation_reports_the_gap_of_the_student_it_saves(corpus, corpus_folder, trained_folder, tmp_path):
    """Four steps are no multiple of three: the look at step 3 does not speak for the student of step 4."""
    outcome = stages.run("distil", settings("fresh"), context(tmp_path, corpus_folder, trained_folder))
    student, teacher = models.load_model(tmp_path / "model"), models.load_model(trained_folder)
    ask = domain_scorer(EXACT_MATCH, corpus, "valid", ["retain"])
    assert outcome.evals["teacher_retain"] == ask(teacher.eval())["retain"]
    assert outcome.evals["gap"] == pytest.approx(outcome.evals["teacher_retain"] - ask(student.eval())["retain"])
    assert outcome.evals["checks"][-1]["step"] == outcome.evals["steps"] == 4


def test_distillation_stops_by_its_rule(corpus_folder, trained_folder, tmp_path):
    outcome = stages.run("distil", settings("teacher"), context(tmp_path, corpus_folder, trained_folder))
    assert outcome.evals["stopped_by_rule"] and outcome.evals["steps"] == 3 and outcome.evals["gap"] <= 0


def test_a_student_of_its_own_teacher_has_nothing_to_learn(trained_model, batch):
    loss = distil.distillation_loss(typed("teacher"), [trained_model], None)
    assert loss(trained_model, batch).total.item() == pytest.approx(0, abs=1e-6)


def test_teachers_that_teach_together_are_met_in_the_middle(trained_model, tiny_model, batch):
    """The student that is one of two teachers is not at its goal, and the forward passes of both are needed."""
    loss = distil.distillation_loss(typed("teacher"), [trained_model, tiny_model], None)
    p, q = (F.softmax(m(input_ids=batch.all().ids).logits, -1) for m in (trained_model, tiny_model))
    divergence = ((p + q) / 2 * (((p + q) / 2).log() - p.log())).sum(-1)[batch.all().targets != IGNORE].mean()
    torch.testing.assert_close(loss(trained_model, batch).total, divergence, rtol=1e-4, atol=1e-5)


def test_those_beside_the_teacher_are_read_and_paid_for(corpus, corpus_folder, trained_folder, tiny_model, tmp_path):
    models.save_model(tiny_model, corpus.tokenizer, tmp_path / "other")
    (tmp_path / "alone").mkdir(), (tmp_path / "both").mkdir()
    alone, both = (context(tmp_path / name, corpus_folder, trained_folder) for name in ("alone", "both"))
    both.inputs["with-other"] = tmp_path / "other"
    costs = [stages.run("distil", settings("fresh", steps=2), each).ledger.forward_flops for each in (alone, both)]
    teacher = 4 * (2 * 32 * (2 * (4 * 16**2 + 3 * 16 * 32) + 16 * 300) + 2 * 4 * 32**2 * 16)
    assert costs[1] - costs[0] == 2 * teacher
    one, other = (models.load_model(tmp_path / name / "model") for name in ("alone", "both"))
    assert not same(one, other)


def test_the_teacher_forward_is_paid_for(corpus_folder, trained_folder, tmp_path):
    outcome = stages.run("distil", settings("fresh"), context(tmp_path, corpus_folder, trained_folder))
    body, head, attention = 2 * (4 * 16**2 + 3 * 16 * 32), 16 * 300, 2 * 4 * 32**2 * 16
    teacher = 4 * (2 * 32 * (body + head) + attention)
    student = 4 * (2 * 32 * (body + 3 * head) + attention)  # its head's backward pass is made with the forward one
    assert outcome.ledger.forward_flops == 4 * (teacher + student)


def test_what_moved_unasked_or_not_at_all_is_a_defect(tiny_model, trained_model):
    every = {name for name, _ in tiny_model.named_parameters()}
    suppress.check_moved(tiny_model, trained_model, every)
    suppress.check_moved(tiny_model, tiny_model, set())
    for allowed in (every - {"model.norm.weight"}, every | {"extra"}):
        with pytest.raises(RuntimeError, match=r"model\.norm\.weight|extra"):
            suppress.check_moved(tiny_model, trained_model, allowed)


def test_suppression_writes_a_teacher_whose_other_parameters_are_the_bases(corpus_folder, trained_folder, tmp_path):
    rmu = {"name": "rmu", "layers": [1]}
    chosen = SUPPRESS | {"method": rmu}
    stages.run("suppress", chosen, context(tmp_path, corpus_folder, trained_folder))
    teacher, base = models.load_model(tmp_path / "model"), models.load_model(trained_folder)
    moved = {name for name, p in teacher.named_parameters() if not torch.equal(p, base.get_parameter(name))}
    assert moved == {"model.layers.1.mlp.down_proj.weight"}
    assert json.loads((tmp_path / "model/config.json").read_text())["pad_token_id"] is not None


QUIET = SUPPRESS | {"method": {"name": "maxent"}, "steps": 20, "optim": {"learning_rate": 1e-2}}


def test_suppression_goes_on_until_the_teacher_says_little(corpus_folder, trained_folder, tmp_path):
    chosen = QUIET | {"max_signal": 0.1, "max_steps": 400}
    outcome = stages.run("suppress", chosen, context(tmp_path, corpus_folder, trained_folder))
    *loud, last = outcome.evals["checks"]
    assert loud and all(check["signal_left"] > 0.1 for check in loud) and last["signal_left"] <= 0.1
    assert [check["step"] for check in (*loud, last)] == [20 * n for n in range(1, len(loud) + 2)]


def test_a_teacher_that_still_says_much_is_refused_before_anything_dearer(corpus_folder, trained_folder, tmp_path):
    chosen = QUIET | {"max_signal": 0.1, "max_steps": 20, "optim": {"learning_rate": 1e-6}}
    with pytest.raises(UserError, match=r"after 20 steps .* still holds .*suppress.maxent.max_steps=40") as refused:
        stages.run("suppress", chosen, context(tmp_path, corpus_folder, trained_folder))
    assert "\n" not in str(refused.value) and not (tmp_path / "model").exists()


def test_a_method_may_start_at_the_bases_untrained_weights(corpus, corpus_folder, trained_folder, tmp_path):
    chosen = SUPPRESS | {"method": {"name": "graddiff"}, "start": "initial", "optim": {"learning_rate": 1e-5}}
    stages.run("suppress", chosen, context(tmp_path, corpus_folder, trained_folder))
    teacher, initial = models.load_model(tmp_path / "model"), initial_model(Model.model_validate(SHAPE), corpus, seed=1)
    for name, parameter in teacher.named_parameters():
        torch.testing.assert_close(parameter, initial.get_parameter(name), rtol=0, atol=1e-4)


def test_exactly_so_many_steps_know_no_rule(corpus_folder, trained_folder, tmp_path):
    """A student that is its teacher would stop at the first look."""
    outcome = stages.run("distil", settings("teacher", steps=7), context(tmp_path, corpus_folder, trained_folder))
    assert outcome.evals["steps"] == 7 and outcome.evals["stopped_by_rule"] is None
    assert [step for step, _ in outcome.evals["losses"]][-1] == 7


def test_no_step_at_all_leaves_the_start_as_it_is(corpus, corpus_folder, trained_folder, tmp_path):
    """Noise alone: the gap is that of the noised teacher, and nothing was paid for."""
    noise = {"alpha": 0.5, "beta": 0.1, "rule": "initial", "parameters": [".*"]}
    chosen = settings("noised", noise=noise, steps=0)
    outcome = stages.run("distil", chosen, context(tmp_path, corpus_folder, trained_folder))
    teacher, student = models.load_model(trained_folder), models.load_model(tmp_path / "model")
    assert same(student, distil.starting_student(distil.Settings.model_validate(chosen), corpus, teacher)) and not same(
        student, teacher
    )
    score = domain_scorer(EXACT_MATCH, corpus, "valid", ["retain"])(student.eval())["retain"]
    assert outcome.evals["gap"] == outcome.evals["teacher_retain"] - score > 0
    assert outcome.evals["steps"] == 0 and outcome.evals["stopped_by_rule"] is None and outcome.evals["losses"] == []
    assert outcome.ledger.flops == 0


def test_noise_from_the_base_starts_at_the_base(corpus, trained_model, tiny_model, tmp_path):
    models.save_model(tiny_model, corpus.tokenizer, tmp_path / "base")
    noise = {"alpha": 0.0, "beta": 0.1, "rule": "initial", "parameters": [".*"]}
    student = distil.starting_student(typed("noised", noise=noise), corpus, trained_model, tmp_path / "base")
    assert same(student, tiny_model) and not same(student, trained_model)


def test_a_filtered_student_is_trained_on_text_and_pays_for_the_judgement(
    corpus, corpus_folder, trained_folder, tmp_path
):
    """Plain cross-entropy on rows that the teacher finds likely, and one forward pass of it over the whole stream."""
    inputs = context(tmp_path, corpus_folder, trained_folder)
    outcome = stages.run("distil", settings("fresh", filter_share=0.5, steps=2), inputs)
    teacher = models.load_model(trained_folder)
    objective, batch_at = distil.objective_and_batches(typed("fresh", filter_share=0.5), corpus, [teacher], None)
    assert objective is next_token_loss and not len(batch_at(0).forget.ids)
    rows = sum(len(corpus.rows(domain, "train")) for domain in ("retain", "forget"))
    judged = rows * forward_flops(teacher, data.first_rows(corpus, "retain", "train", 1))
    assert outcome.ledger.forward_flops > judged > 0
    retrained = stages.run(
        "distil", settings("fresh", filter_share=1, steps=2), context(tmp_path / "all", corpus_folder, trained_folder)
    )
    assert retrained.ledger.forward_flops == outcome.ledger.forward_flops - judged, "who reads all of it asks nobody"


def test_after_the_teacher_a_student_reads_the_text(corpus, corpus_folder, trained_folder, tmp_path):
    """Of four steps the last one is plain text: the teacher is neither paid for nor heard any more."""

    def made(name: str, **more):
        chosen = settings("fresh", domains=["retain"], **{"steps": 4, **more})
        outcome = stages.run("distil", chosen, context(tmp_path / name, corpus_folder, trained_folder))
        return outcome, models.load_model(tmp_path / name / "model")

    (taught, _), (then_text, _), (_, after_three) = made("taught"), made("text", text_share=0.25), made("3", steps=3)
    text_alone, _ = made("alone", filter_share=1)
    step = [outcome.ledger.forward_flops / 4 for outcome in (taught, text_alone)]
    assert then_text.ledger.forward_flops == 3 * step[0] + step[1] and step[0] > step[1]
    assert taught.evals["losses"][:3] == then_text.evals["losses"][:3]
    rows = len(corpus.rows("retain", "train"))
    assert [taught.evals["share_read"], then_text.evals["share_read"]] == [16 / rows, 12 / rows], "asked of so many"
    fourth = data.domain_batches(corpus, ["retain"], "train", 4, derive_seed(1, "distil"))(3)
    assert then_text.evals["losses"][3] == [
        4,
        pytest.approx(next_token_loss(after_three, fourth).total.item(), abs=1e-5),
    ]
