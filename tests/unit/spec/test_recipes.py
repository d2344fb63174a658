"""Recipes: every wrong input is one line that says what, where and what next."""

import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

import undo
from tests.recipes import FILES, RECORDED, SOURCES
from undo.spec.errors import UserError
from undo.spec.load import load_recipe, recipe_schema, schema_text
from undo.spec.recipe import Recipe
from undo.spec.shipped import GROUPS, shipped_entries, shipped_recipes

RECIPES = Path(undo.__file__).parent / "recipes"
SCHEMA = RECIPES / "recipe.schema.json"
SMOKE = (RECIPES / "smoke.yaml").read_text()


def refusal(source, overrides=()) -> str:
    with pytest.raises(UserError) as raised:
        load_recipe(source, overrides)
    message = str(raised.value)
    assert "\n" not in message, "a user's error is one line"
    return message


@pytest.fixture
def edited(tmp_path):
    """Writes the smoke recipe with one change. Returns its path and the line on which the change stands."""

    def edit(old: str, new: str) -> tuple[Path, int]:
        assert SMOKE.count(old) == 1
        path = tmp_path / "edited.yaml"
        path.write_text(SMOKE.replace(old, new))
        return path, SMOKE[: SMOKE.index(old)].count("\n") + 1

    return edit


@pytest.mark.parametrize("name", FILES)
def test_every_recipe_loads_and_fits_the_schema(name):
    recipe = load_recipe(SOURCES[name])
    assert recipe.name == name
    content = yaml.safe_load(FILES[name].read_text())
    jsonschema.Draft202012Validator(recipe_schema()).validate(content)


@pytest.mark.parametrize("name", FILES)
def test_every_recipe_names_the_schema_for_editors(name):
    comment, schema = FILES[name].read_text().splitlines()[0].split("$schema=")
    assert comment == "# yaml-language-server: " and (FILES[name].parent / schema).resolve() == SCHEMA


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_survives_its_own_json(name):
    """The resolved recipe that a study keeps is a recipe."""
    recipe = load_recipe(SOURCES[name])
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_shipped_recipes_are_the_documented_ones():
    assert {"smoke", "arithmetic"} <= set(shipped_recipes())
    assert not RECORDED.keys() & set(shipped_recipes()), "one name, one recipe"


def test_every_shipped_recipe_is_listed_with_its_group_and_whole_summary():
    entries = shipped_entries()
    assert {entry.name: entry.summary for entry in entries} == {
        name: load_recipe(name).summary for name in shipped_recipes()
    }
    assert list(dict.fromkeys(entry.group for entry in entries)) == list(GROUPS)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(recipe_schema())


def test_the_shipped_schema_is_the_recipes_own():
    assert SCHEMA.read_text() == schema_text(), "stale: python -m undo.spec.load > src/undo/recipes/recipe.schema.json"
    assert json.loads(schema_text()) == recipe_schema()


def test_the_schema_refuses_what_the_recipe_refuses():
    validator = jsonschema.Draft202012Validator(recipe_schema())
    content = yaml.safe_load(SMOKE)
    content["suppress"]["rmu"]["method"]["layres"] = [1]
    assert not validator.is_valid(content)


def test_every_setting_says_what_it_means():
    def undescribed(schema, path):
        for name, field in schema.get("properties", {}).items():
            if "description" not in field and "$ref" not in field and "const" not in field:
                yield f"{path}.{name}"

    schema = recipe_schema()
    found = [*undescribed(schema["else"], "recipe")]
    for name, inner in schema["$defs"].items():
        found += undescribed(inner, name)
    assert found == []


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError):
        load_recipe("smoke").seeds = (2,)


# -- names and files ---------------------------------------------------------------------------------------------------


def test_an_unknown_recipe_is_answered_with_the_nearest():
    assert refusal("smok") == "no recipe 'smok'; did you mean 'smoke'? (undo list recipes)"
    assert "known: arithmetic" in refusal("xyzzy")


def test_a_recipe_beside_its_record_is_told_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "records/half").mkdir(parents=True)
    written(tmp_path / "records/half", SMOKE, "recipe.yaml")
    monkeypatch.chdir(tmp_path)
    beside = "no recipe 'half'; it lies beside its record: undo run records/half/recipe.yaml (undo list recipes)"
    assert refusal("half") == beside
    mine = written(tmp_path, "extends: half\nname: m\nsummary: s\n")
    assert refusal(mine) == f"{mine} extends another recipe: {beside}"
    assert "did you mean 'records/half/recipe.yaml'?" in refusal("halff")
    assert "half" not in refusal("xyzzy"), "what is known is what is shipped"


def test_a_missing_file_is_answered_with_what_lies_beside_it_or_is_shipped(tmp_path):
    (tmp_path / "mine.yaml").write_text(SMOKE)
    assert f"; did you mean '{tmp_path / 'mine.yaml'}'? (undo list recipes)" in refusal(tmp_path / "mine.yml")
    assert refusal("smoke.yaml") == "no recipe 'smoke.yaml'; did you mean 'smoke'? (undo list recipes)"


def test_a_path_works_where_a_name_does(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE)
    assert load_recipe(path) == load_recipe(str(path)) == load_recipe("smoke")


def test_files_that_cannot_be_read_are_named(tmp_path):
    assert "Is a directory" in refusal(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    assert "not UTF-8" in refusal(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "line"), [("name: x\n\tfoo: 1\n", 2), ("a: 1\nb: [1\n", 3), ("a: 1\nb: !!python/name:os.x y\n", 2)]
)
def test_yaml_that_is_none_names_its_line(tmp_path, text, line):
    (tmp_path / "wrong.yaml").write_text(text)
    assert refusal(tmp_path / "wrong.yaml").startswith(f"{tmp_path / 'wrong.yaml'}:{line} is not valid YAML: ")


def test_a_key_given_twice_is_not_silently_the_last_one(tmp_path):
    (tmp_path / "twice.yaml").write_text("name: x\npretrain:\n  base_steps: 1\n  base_steps: 2\n")
    assert refusal(tmp_path / "twice.yaml").endswith(
        "4 is not valid YAML: the key 'base_steps' stands here a second time"
    )


def test_a_control_character_is_one_line_too(tmp_path):
    (tmp_path / "zero.yaml").write_text(SMOKE + "\0")
    assert "not valid YAML" in refusal(tmp_path / "zero.yaml")


@pytest.mark.parametrize("text", ["", "- 1\n", "just text\n", "3\n"])
def test_yaml_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "other.yaml").write_text(text)
    assert "must be a YAML mapping" in refusal(tmp_path / "other.yaml")


# -- keys, types, ranges -----------------------------------------------------------------------------------------------

WRONG = [
    ("base_steps: 60", "base_stepz: 60", "pretrain.base_stepz", "did you mean 'base_steps'?"),
    ("seeds: [1]", "seads: [1]", "seads", "did you mean 'seeds'?"),
    ("max_operand: 20", "max_operant: 20", "data.dataset.max_operant", "did you mean 'max_operand'?"),
    ("base_steps: 60", "base_steps: sixty", "pretrain.base_steps", "got 'sixty'"),
    ("base_steps: 60", "base_steps: 1.5", "pretrain.base_steps", "got 1.5"),
    ("base_steps: 60", "base_steps: 0", "pretrain.base_steps", "greater than or equal to 1, got 0"),
    ("max_factor: 9", "max_factor: 100", "data.dataset.max_factor", "less than or equal to 99, got 100"),
    ("noise_alpha: [0.5]", "noise_alpha: [0.5, high]", "distil.students.2.noise_alpha.1", "got 'high'"),
    ("max_gap: 0.05", "max_gap: 1.5", "distil.stop.max_gap", "got 1.5"),
    ("layers: [1]", "layers: []", "suppress.rmu.method.layers", "at least 1 item"),
    ("method: graddiff", "method: gradiff", "suppress.graddiff.method", "did you mean 'graddiff'?"),
    ("dataset: {name: arithmetic, ", "dataset: {", "data.dataset", "needs a 'name': one of arithmetic"),
    ("heads: 2", "heads: 3", "model", "must be a multiple of 2 x heads = 6"),
    ("init: fresh", "init: frseh", "distil.students.0.init", "got 'frseh'"),
    ("noise_alpha: [0.5]", "noise_alpha: [1.5]", "distil.students.2", "must lie in [0, 1]"),
    ("init: base_init", "init: noised", "distil.students.1", "noise_alpha belongs to `init: noised`"),
    ("teacher_cache: {}", "teacher_cache: {top_k: 0}", "distil.teacher_cache.top_k", "or equal to 1, got 0"),
    ("warmup_steps: 5}", "micro_batches: 0}", "pretrain.optim.micro_batches", "or equal to 1, got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "says"), WRONG, ids=[key for _, _, key, _ in WRONG])
def test_what_is_wrong_is_named_with_its_key_and_line(edited, old, new, key, says):
    path, line = edited(old, new)
    message = refusal(path)
    assert message.startswith(f"{path}, line {line}, key '{key}': ") and says in message


CROSS = [
    ("seeds: [1]", "seeds: [1, 1]", "seeds", "must differ"),
    ("teachers: [maxent, rmu]", "teachers: [maxnt, rmu]", "teachers", "did you mean 'maxent'?"),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), CROSS, ids=[key for _, _, key, _ in CROSS])
def test_what_contradicts_another_part_is_named_with_its_key_and_line_too(edited, old, new, key, says):
    path, line = edited(old, new)
    message = refusal(path)
    assert says in message and f"line {line}" in message and key in message


LAYER_9 = "{name: sam, method: {name: rmu, layers: [1, 9]}}"


@pytest.mark.parametrize("method", ["{name: rmu, layers: [9]}", "{name: gradient_routing, layers: [9]}", LAYER_9])
def test_a_layer_that_the_model_lacks_is_refused_before_it_is_trained(method):
    message = refusal("smoke", [f"suppress.rmu.method={method}"])
    assert message == "override of suppress.rmu.method: no layer 9: this model has layers 0 to 1"
    assert load_recipe("smoke", [f"suppress.rmu.method={method}", "model.layers=10"])


def test_a_missing_key_is_named_at_its_parent(edited):
    path, _ = edited("  base_steps: 60\n", "")
    assert "line 11, key 'pretrain.base_steps': Field required" in refusal(path)


def test_several_errors_are_counted(edited):
    path, _ = edited("base_steps: 60\n  oracle_steps: 50", "base_steps: 0\n  oracle_steps: 0")
    assert refusal(path).endswith("(and 1 more)")


@pytest.mark.parametrize(
    "override",
    [
        "pretrain.optim.learning_rate=.inf",
        "pretrain.optim.learning_rate=.nan",
        "pretrain.optim.betas=[2, 3]",
        "suppress.rmu.method.steer_scale=.inf",
        "attacks.relearn.attack.learning_rates=[0]",
        "attacks.relearn.attack.eval_steps=[500]",
        "suppress.rmu.method={name: [rmu]}",
        "suppress.rmu.method={name: null}",
    ],
)
def test_what_would_only_fail_after_hours_is_refused_at_once(override):
    """Infinite numbers have no content key, AdamW refuses such betas, and step 500 of 10 would never be asked."""
    assert "override of" in refusal("smoke", [override])


# -- overrides ---------------------------------------------------------------------------------------------------------


def test_an_override_sets_a_nested_key_and_nothing_else():
    changed = load_recipe("smoke", ["distil.stop.max_gap=0.03"])
    assert changed.distil.stop.max_gap == 0.03
    expected = load_recipe("smoke").model_dump(mode="json")
    expected["distil"]["stop"]["max_gap"] = 0.03
    assert changed == Recipe.model_validate(expected)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seeds=[1,2]", lambda recipe: recipe.seeds == (1, 2)),
        ("pretrain.optim.learning_rate=1e-3", lambda recipe: recipe.pretrain.optim.learning_rate == 0.001),
        ("pretrain.optim.learning_rate=2E-3", lambda recipe: recipe.pretrain.optim.learning_rate == 0.002),
        ("pretrain.base_steps=1e3", lambda recipe: recipe.pretrain.base_steps == 1000),
        ("summary=one", lambda recipe: recipe.summary == "one"),
        ("summary=a=b", lambda recipe: recipe.summary == "a=b"),
        (
            "attacks.relearn.attack.learning_rates=[1e-3, 3e-4]",
            lambda recipe: recipe.attacks["relearn"].attack.learning_rates == (0.001, 0.0003),
        ),
        ("suppress.maxent.method.retain_weight=3", lambda recipe: recipe.suppress["maxent"].method.retain_weight == 3),
        ("data.dataset.max_factor=7", lambda recipe: recipe.data.dataset.max_factor == 7),
        ("suppress.rmu.method=maxent", lambda recipe: recipe.suppress["rmu"].method.name == "maxent"),
    ],
)
def test_override_values(override, read):
    assert read(load_recipe("smoke", [override]))


@pytest.mark.parametrize("override", ["suppress.maxent.method=npo", "suppress.maxent.method.name=npo"])
def test_a_teacher_called_after_its_method_is_called_after_the_new_one(override):
    before, after = load_recipe("smoke"), load_recipe("smoke", [override, "suppress.maxent.steps=7"])
    assert list(after.suppress) == [{"maxent": "npo"}.get(name, name) for name in before.suppress]
    assert after.suppress["npo"].steps == 7 and after.suppress["npo"].method.name == "npo"
    assert {name for student in after.students() for name in student.teachers} == {"npo", "rmu"}
    taken = load_recipe("smoke", ["suppress.maxent.method=graddiff"])
    assert list(taken.suppress) == list(before.suppress), "two teachers cannot have one name"


def test_overrides_apply_in_order():
    recipe = load_recipe("smoke", ["suppress.rmu.method=maxent", "suppress.rmu.method.retain_weight=5", "seeds=[9]"])
    assert recipe.suppress["rmu"].method.retain_weight == 5 and recipe.seeds == (9,)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seeds", "must look like key.path=value"),
        ("=3", "must look like key.path=value"),
        (
            "distil.stop.max_gapp=0.1",
            "distil.stop.max_gapp: unknown key 'max_gapp'; did you mean 'max_gap'?",
        ),
        ("distil.stop.max_gap=big", "override of distil.stop.max_gap: "),
        ("seeds=[1", "override 'seeds=[1': the value is not valid YAML"),
        ("distil.stop={max_gap: 0.1, max_gap: 0.2}", "the value is not valid YAML"),
        ("distil.students.0.init=fresh", "'distil.students' holds no keys"),
        ("suppress.rmu.method.layer=[1]", "unknown key 'layer'; did you mean 'layers'?"),
        ("suppress.rmu.method=rmux", "no 'rmux' among the methods; did you mean 'rmu'?"),
    ],
)
def test_wrong_overrides_are_named(override, says):
    assert says in refusal("smoke", [override])


def test_an_error_of_the_file_is_not_blamed_on_an_override(edited):
    path, line = edited("base_steps: 60", "base_steps: 0")
    assert f"line {line}, key 'pretrain.base_steps'" in refusal(path, ["pretrain.oracle_steps=10"])


def written(folder, text, name="mine.yaml"):
    (folder / name).write_text(text)
    return folder / name


def test_a_recipe_extends_another_key_by_key_and_a_null_takes_away(tmp_path):
    text = (
        "extends: quickstart\nname: mine\nsummary: s\npretrain: {base_steps: 7}\nattacks: {relearn: {skills: null}}\n"
    )
    mine, parent = load_recipe(written(tmp_path, text)), load_recipe("quickstart")
    assert mine.pretrain.base_steps == 7 and mine.pretrain.oracle_steps == parent.pretrain.oracle_steps
    assert mine.name == "mine" and mine.data == parent.data
    less = (
        "extends: arithmetic\nname: m\nsummary: s\nsuppress: {rmu: null, graddiff: null}\n"
        "distil: {students: [{init: fresh, teachers: [maxent]}]}\n"
    )
    assert load_recipe(written(tmp_path, less)).suppress.keys() == {"maxent"}


def test_extending_what_is_not_there_or_each_other_is_one_line(tmp_path):
    with pytest.raises(UserError, match="did you mean 'quickstart'"):
        load_recipe(written(tmp_path, "extends: quickstrat\nname: m\nsummary: s\n"))
    path = tmp_path / "loop.yaml"
    path.write_text(f"extends: {path}\nname: m\nsummary: s\n")
    with pytest.raises(UserError, match="extend each other"):
        load_recipe(path)
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        written(tmp_path / one, f"extends: ../{other}/recipe.yaml\nname: {one}\nsummary: s\n", "recipe.yaml")
    with pytest.raises(UserError, match="extend each other"):
        load_recipe(tmp_path / "a/recipe.yaml")
    with pytest.raises(UserError, match=r"mine.yaml extends another recipe: no recipe '.*/nowhere.yaml'"):
        load_recipe(written(tmp_path, "extends: nowhere.yaml\nname: m\nsummary: s\n"))


def test_a_parent_is_looked_for_beside_the_recipe_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    written(tmp_path / "inner", "extends: smoke\nname: parent\nsummary: s\nseeds: [7]\n", "parent.yaml")
    mine = written(tmp_path / "inner", "extends: parent.yaml\nname: mine\nsummary: s\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(mine.relative_to(tmp_path)).seeds == (7,) == load_recipe(mine).seeds


@pytest.mark.parametrize("name", ["base", "oracle"])
def test_a_teacher_may_not_take_the_name_of_a_model_that_is_not_suppressed(name):
    teacher = f"suppress={{{name}: {{method: {{name: maxent}}, steps: 1, optim: {{learning_rate: 1}}}}}}"
    with pytest.raises(UserError, match="give the teacher another name"):
        load_recipe("quickstart", [teacher])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["top_k: 4, temperature: 2"], "together with top_k"),
        (["filter_share: 0.5, top_k: 4"], "together with filter_share"),
        (
            ["stream: retain, steps: 9, text_share: 0.5, filter_share: 1"],
            "text_share does nothing together with filter",
        ),
        (["stream: retain, text_share: 0.5"], "text_share needs `steps`"),
        (["stream: retain, steps: 9, text_share: 0.05"], "of 9 steps is none of them, or all"),
        (["stream: retain, steps: 9, text_share: 0.95"], "of 9 steps is none of them, or all"),
        (["steps: 0, batch_rows: 4"], "batch_rows does nothing without a step"),
        (["steps: 9, text_share: 0.5"], "would teach the forget skill; it needs `stream: retain`"),
        (["temperature: 2", "distil.teacher_cache.top_k=4"], "temperature needs whole distributions"),
        (["temperature: 2, with_teachers: [base]"], "together with temperature"),
        (["with_teachers: [base]", "distil.teacher_cache.top_k=4"], "with_teachers needs whole distributions"),
        (["with_teachers: [maxent]"], "'maxent' would teach twice"),
        (["with_teachers: [maxnt]"], "did you mean 'maxent'"),
        (["steps: 0, top_k: 4"], "top_k does nothing without a step"),
        (["steps: 0, optim: {learning_rate: 1.0}"], "optim does nothing without a step"),
        (["optim: {learning_rate: 1.0, final_share: 0.5}"], "final_share does nothing without `schedule: cosine`"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(overrides, says):
    student, *others = overrides
    with pytest.raises(UserError, match=says):
        load_recipe("quickstart", [f"distil.students=[{{init: fresh, teachers: [maxent], {student}}}]", *others])


def test_noise_settings_of_a_student_without_noise_are_refused():
    student = "distil.students=[{init: fresh, teachers: [maxent], noise_beta: 0.7}]"
    with pytest.raises(UserError, match="noise_beta does nothing without `init: noised`"):
        load_recipe("quickstart", [student])


# -- a pretrained model in place of one that the study trains ----------------------------------------------------------

OWN = ["pretrained.path=anywhere", "model=null", "pretrain=null", "data.vocab_size=null"]
STUDENTS = "distil.students=[{init: %s, teachers: [%s]}]"
KEPT = [*OWN, STUDENTS % ("fresh", "maxent")]


def test_a_study_may_start_at_a_model_of_somebodys_own():
    recipe = load_recipe("smoke", KEPT)
    assert recipe.pretrained.path == "anywhere" and recipe.data.vocab_size is None
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_vocabulary_is_the_models_own_where_none_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    settings = {"pretrained": {"path": "x"}, "model": None, "pretrain": None, "data": {"vocab_size": None}}
    path.write_text(yaml.safe_dump({"extends": "smoke", "name": "mine", "summary": "x", **settings}))
    assert load_recipe(path, KEPT[4:]).data.vocab_size is None


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        ([*KEPT, "model={width: 32}"], "model", "a pretrained model has its own; leave model out"),
        ([o for o in KEPT if o != "pretrain=null"], "pretrain", "leave pretrain out"),
        ([*KEPT, "data.vocab_size=320"], "data.vocab_size", "leave data.vocab_size out"),
        (["model=null"], "model", "model is needed, or else `pretrained`"),
        (["data.vocab_size=null"], "data.vocab_size", "data.vocab_size is needed"),
        (["suppress={}", "distil=null"], "suppress", "`distil` with a student, or else `audit` alone"),
        ([*OWN, "audit={suite: quick}", "distil=null"], "distil", "distil is needed where an audit is about"),
        ([*OWN, STUDENTS % ("base_init", "maxent")], "distil.students.0.init", "start at `fresh`"),
        ([*OWN, STUDENTS % ("fresh", "maxent, oracle")], "distil.students.0.teachers", "no oracle"),
        (["audit={suite: quick}", "eval_split=valid", *KEPT], "eval_split", "a certificate is about the test items"),
        ([*KEPT, "suppress.maxent.start=initial"], "suppress.maxent.start", "initial weights of a pretrained model"),
        ([*KEPT, "pretrained.pth=x"], "pretrained.pth", "did you mean 'path'?"),
        ([*KEPT, "pretrained.path="], "pretrained.path", "string"),
    ],
)
def test_what_a_pretrained_model_cannot_have_is_refused(overrides, key, says):
    message = refusal("smoke", overrides)
    assert key in message and says in message and "\n" not in message


@pytest.mark.parametrize("name", [name for name in RECORDED if name.endswith("_search")])
def test_a_search_tries_as_many_settings_of_every_method(name):
    """Three of gradient routing, each of which costs a pretraining; per label budget where that is the question."""
    tried = Counter(setting.rsplit("-", 1)[0] for setting in load_recipe(RECORDED[name]).suppress)
    assert tried.pop("gradient_routing", 3) == 3
    assert set(tried.values()) == {6}


@pytest.mark.parametrize("setting", ["arithmetic", "language", "knowledge", "concept"])
def test_no_method_is_compared_without_a_search(setting):
    """All but gradient routing, of which language compares every setting that it would try."""
    searched, compared = (
        {teacher.method.name for teacher in load_recipe(SOURCES[f"{setting}_{which}"]).suppress.values()}
        for which in ("search", "methods")
    )
    assert compared <= searched | {"gradient_routing"} and len(searched) > 10
