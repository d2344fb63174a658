"""Keys: a knob changes exactly the stages that depend on it."""

import json
from dataclasses import replace

import pytest

from undo.given.certificate import folder_identity
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.stages import distil
from undo.study.artifacts import content_hash
from undo.study.plan import make_plan


def ids(*overrides: str) -> dict[str, str]:
    plan = make_plan(load_recipe("smoke", list(overrides)))
    return {f"{stage.kind}: {stage.label}": id for id, stage in plan.stages.items()}


def changed(*overrides: str) -> set[str]:
    """Labels of the stages whose key differs from the shipped recipe's."""
    before, after = ids(), ids(*overrides)
    return {label for label in after if before.get(label) != after[label]}


def mentions(labels: set[str], *words: str) -> bool:
    return all(any(word in label for word in words) for label in labels)


@pytest.mark.parametrize(
    "override",
    ["checkpoint_seconds=3", "summary=other words", "name=renamed", "suppress.rmu.retain_label_share=null"],
)
def test_what_cannot_change_a_result_changes_no_key(override):
    assert changed(override) == set()


@pytest.mark.parametrize(
    ("override", "same"),
    [("summary=other words", True), ("seeds=[2]", False), ("attacks.relearn.attack.batch_rows=5", False)],
)
def test_a_study_is_named_by_what_it_does(override, same):
    named = [make_plan(load_recipe("smoke", overrides)).study for overrides in ([], [override])]
    assert (named[0] == named[1]) == same and all(name.startswith("smoke-") for name in named)


def test_a_stop_rule_touches_students_and_what_is_done_to_them():
    labels = changed("distil.stop.max_gap=0.03")
    assert mentions(labels, "fresh-", "base_init-", "undo-", "teacher-")
    assert sum(label.startswith("distil") for label in labels) == 5


@pytest.mark.parametrize("override", ["method.steer_scale=7", "retain_label_share=0.5"])
def test_a_methods_knob_touches_its_teacher_and_that_teachers_students(override):
    labels = changed(f"suppress.rmu.{override}")
    assert mentions(labels, "rmu")
    assert {"suppress: rmu (seed 1)", "distil: fresh-rmu (seed 1)"} <= labels


def test_a_pilot_is_the_same_models_attacked_apart():
    labels = changed("eval_split=valid")
    assert labels and all(label.startswith("attack") for label in labels)
    searches = [make_plan(load_recipe("smoke", ["attacks={}", *more])).study for more in ([], ["eval_split=valid"])]
    assert searches[0] != searches[1], "of other numbers, though no stage differs"


def test_an_attack_knob_touches_attacks_alone():
    labels = changed("attacks.relearn.attack.batch_rows=5")
    assert mentions(labels, "attack: ") and len(labels) == 10 * 2 * 2


def test_more_alphas_add_students_and_change_none():
    before = set(ids().values())
    students = "distil.students=[{init: noised, noise_alpha: [0.5, 0.7], teachers: [maxent]}]"
    after = ids(students)
    new = {label for label, id in after.items() if id not in before}
    assert new and mentions(new, "undo-0.7-maxent")


def test_more_seeds_leave_the_first_one_alone():
    labels = changed("seeds=[1,2]")
    assert labels and mentions(labels, "(seed 2)")


def test_data_touches_everything():
    assert len(changed("data.dataset.word_share=0.3")) == len(ids())


def test_a_stages_version_is_part_of_its_key(monkeypatch):
    before = ids()
    monkeypatch.setattr(distil.Settings, "traits", replace(distil.Settings.traits, version=99))
    after = ids()
    labels = {label for label in after if before[label] != after[label]}
    assert labels and mentions(labels, "fresh-", "base_init-", "undo-", "teacher-")


def test_inputs_come_before_what_needs_them():
    plan = make_plan(load_recipe("arithmetic"))
    seen: set[str] = set()
    for id, stage in plan.stages.items():
        assert set(stage.inputs.values()) <= seen
        seen.add(id)


STUDENT = "distil.students=[{{{}}}]"


def student_labels(student: str) -> set[str]:
    override = STUDENT.format(student)
    return {label for label in ids(override) if label.startswith("distil")}


@pytest.mark.parametrize(
    ("student", "name"),
    [
        ("init: fresh, teachers: [base]", "fresh-base"),
        ("init: fresh, teachers: [oracle], steps: 7", "fresh-steps7-oracle"),
        ("init: noised, noise_alpha: [0], noise_from: base, teachers: [oracle]", "undo-0-from-base-oracle"),
        ("init: fresh, teachers: [maxent], stream: retain", "fresh-retain-stream-maxent"),
        ("init: fresh, teachers: [maxent], filter_share: 0.5", "fresh-filter0.5-maxent"),
        (
            "init: fresh, teachers: [maxent], stream: retain, steps: 9, text_share: 0.5",
            "fresh-retain-stream-text0.5-steps9-maxent",
        ),
        ("init: fresh, teachers: [maxent], batch_rows: 6", "fresh-rows6-maxent"),
        ("init: noised, noise_alpha: [0.5], teachers: [maxent], steps: 0", "undo-0.5-steps0-maxent"),
        ("init: noised, noise_alpha: [0.5], noise_beta: 0.2, teachers: [maxent]", "undo-0.5-beta0.2-maxent"),
        ("init: noised, noise_alpha: [1], noise_parameters: ['.*mlp.*'], teachers: [maxent]", "undo-1-of-mlp-maxent"),
    ],
)
def test_controls_have_names_of_their_own(student, name):
    assert student_labels(student) == {f"distil: {name} (seed 1)"}


def test_the_base_is_an_input_only_where_its_weights_are_noised():
    plan = make_plan(
        load_recipe("smoke", [STUDENT.format("init: noised, noise_alpha: [0], noise_from: base, teachers: [oracle]")])
    )
    stages = {stage.label: stage for stage in plan.stages.values() if stage.kind in ("pretrain", "distil")}
    inputs = stages["undo-0-from-base-oracle (seed 1)"].inputs
    assert inputs["base"] == stages["base (seed 1)"].id and inputs["model"] == stages["oracle (seed 1)"].id


def test_rows_of_its_own_stand_in_place_of_the_studys_and_in_no_other_key():
    usual, own, said = (
        next(
            stage
            for stage in make_plan(
                load_recipe("smoke", [STUDENT.format(f"init: fresh, teachers: [maxent]{more}")])
            ).stages.values()
            if stage.kind == "distil"
        )
        for more in ("", ", batch_rows: 6", ", batch_rows: null")
    )
    assert own.settings == usual.settings.model_copy(update={"batch_rows": 6}) != usual.settings
    assert own.flops / 6 == usual.flops / usual.settings.batch_rows and said.id == usual.id


@pytest.mark.parametrize("own", ["filter_share: 0.5", "steps: 0", "with_teachers: [rmu]"])
def test_a_student_that_asks_nothing_of_it_needs_no_outputs_of_its_teacher(own):
    plan = make_plan(load_recipe("smoke", [STUDENT.format(f"init: fresh, teachers: [maxent], {own}")]))
    assert not [stage for stage in plan.stages.values() if stage.kind == "teach"]


def test_the_mixture_is_a_matter_of_mixed_training_alone():
    labels = changed("data.forget_share=0.25")
    made = {label for label in labels if label.startswith(("data", "pretrain", "suppress", "distil", "teach"))}
    assert "data: data" not in made and "pretrain: oracle (seed 1)" not in made
    assert {"pretrain: base (seed 1)", "distil: fresh-maxent (seed 1)"} <= made


def test_a_students_own_ways_touch_it_alone_and_are_named():
    plain = "{init: fresh, teachers: [maxent]}"
    own = ["temperature: 2", "top_k: 8", "steps: 9, optim: {learning_rate: 0.006, schedule: cosine}"]
    students = [plain, *(f"{{init: fresh, teachers: [maxent], {ways}}}" for ways in own)]
    plan = make_plan(load_recipe("smoke", [f"distil.students=[{', '.join(students)}]"]))
    distilled = {model.id: model.stage for model in plan.models if model.role == "student"}
    assert set(distilled.values()) & set(ids().values()) == {distilled["fresh-maxent"]}
    assert len(set(distilled.values())) == 4
    assert {"fresh-temperature2-maxent", "fresh-top8-maxent"} < set(distilled)
    assert plan.stages[distilled["fresh-top8-maxent"]].settings.teacher_cache.top_k == 8


def test_teachers_that_teach_together_are_inputs_and_named():
    student = "init: fresh, teachers: [maxent], with_teachers: [rmu, graddiff]"
    plan = make_plan(load_recipe("smoke", [STUDENT.format(student)]))
    (node,) = [model for model in plan.models if model.role == "student"]
    stages = {stage.label: stage.id for stage in plan.stages.values() if stage.kind == "suppress"}
    assert node.id == "fresh-with-rmu-graddiff-maxent" and node.teacher == "maxent"
    inputs = {role: id for role, id in plan.stages[node.stage].inputs.items() if role != "data"}
    assert inputs == {
        "model": stages["maxent (seed 1)"],
        "with-rmu": stages["rmu (seed 1)"],
        "with-graddiff": stages["graddiff (seed 1)"],
    }
    assert "with_teachers" not in plan.stages[node.stage].settings


def test_rows_that_leave_no_room_for_an_attack_are_refused_before_anything_is_trained():
    """The models of a study read rows of its length and no more, however short; an audit takes shorter ones."""
    soft = "{name: soft_prompt, learning_rates: [0.1], steps: 2, eval_steps: [2]}"
    with pytest.raises(UserError, match=r"attacks.soft: 8 tokens before rows of 32 exceed the 32 .* `undo audit`"):
        make_plan(load_recipe("smoke", [f"attacks.soft={{attack: {soft}}}"]))


def test_models_of_one_name_are_refused():
    twins = "distil.students=[{init: fresh, teachers: [maxent]}, {init: fresh, teachers: [maxent]}]"
    with pytest.raises(UserError, match="two models would be called 'fresh-maxent'"):
        make_plan(load_recipe("smoke", [twins]))


def test_texts_of_this_machine_are_known_by_their_content(tmp_path):
    def corpus(folder, last="z"):
        folder.mkdir(exist_ok=True)
        for name in ("retain", "forget"):
            (folder / f"{name}.txt").write_text("\n".join([*"abc", last]))
        dataset = {"name": "hub"} | {name: {"path": str(folder / f"{name}.txt")} for name in ("retain", "forget")}
        plan = make_plan(load_recipe("smoke", [f"data.dataset={json.dumps(dataset)}"]))
        return next(stage for stage in plan.stages.values() if stage.kind == "data")

    one = corpus(tmp_path / "one")
    assert corpus(tmp_path / "elsewhere").id == one.id
    assert str(tmp_path) not in one.settings.model_dump_json()
    assert corpus(tmp_path / "one", last="y").id != one.id, "a file that changed is not what it was"


def test_a_folders_readme_is_part_of_its_content_and_a_models_card_is_not(tmp_path):
    """A data set's README may say which of its files are read."""
    (tmp_path / "texts.txt").write_text("a")
    without = content_hash(tmp_path), folder_identity(tmp_path)
    (tmp_path / "README.md").write_text("---\nconfigs: []\n---")
    assert content_hash(tmp_path) != without[0] and folder_identity(tmp_path) == without[1]
