"""A recipe becomes a graph of stages with content keys. Nothing is computed and torch is not imported."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from undo import models
from undo.attacks import Training
from undo.data.dataset import placed
from undo.evals import _harness
from undo.methods import Method
from undo.spec.errors import UserError
from undo.spec.keys import content_key
from undo.spec.recipe import Benchmarks, Distil, Optim, Pretrain, Pretrained, Recipe, Student, TeacherCache
from undo.spec.registry import load
from undo.study.artifacts import content_hash

DOMAINS_OF = {"mixed": ["retain", "forget"], "retain": ["retain"]}
NOISE = {"noise_alpha", "noise_beta", "noise_rule", "noise_parameters", "noise_from"}
"""Settings of a student that only a noised one depends on."""
OWN_WAYS = {"batch_rows", "optim", "temperature", "top_k"}
"""Settings of a student that stand in place of the study's."""
TEACHERS = {"teachers", "with_teachers"}
"""Settings of a student that are inputs of its stage."""
NAMED = {
    "noise_beta": "beta{:g}",
    "noise_rule": "{}",
    "noise_parameters": "of-{}",
    "noise_from": "from-{}",
    "stream": "{}-stream",
    "filter_share": "filter{:g}",
    "text_share": "text{:g}",
    "temperature": "temperature{:g}",
    "top_k": "top{}",
    "steps": "steps{}",
    "batch_rows": "rows{}",
    "with_teachers": "with-{}",
}
"""How a student's name tells the settings that are not the usual ones."""
NAMED_OPTIM = {"schedule": "{}", "learning_rate": "lr{:g}", "warmup_steps": "warmup{}", "weight_decay": "decay{:g}"}
KINDS = ("adopt", "data", "pretrain", "suppress", "teach", "distil", "attack", "evaluate", "benchmark")


@dataclass(frozen=True)
class Stage:
    """One node: its key hashes kind, version, settings and the keys of its inputs, and nothing else."""

    kind: str
    label: str
    settings: dict[str, Any]
    inputs: dict[str, str]  # role -> id of the stage that fills it
    steps: int = 0
    flops: float = 0.0  # estimated; the ledger holds the counted ones
    outside: dict[str, str] = field(default_factory=dict)  # role -> a folder that is no artifact; the settings name it

    @cached_property
    def id(self) -> str:
        """Folder name of the artifact: `<kind>-<key>`."""
        content = [self.kind, stage_version(self.kind), self.settings, self.inputs]
        return f"{self.kind}-{content_key(content)}"


@dataclass(frozen=True)
class AttackRun:
    """One variant of an attack on one skill against one model."""

    attack: str
    skill: str
    variant: dict[str, Any]
    stage: str


@dataclass(frozen=True)
class ModelNode:
    """A model of the study and the stages that made and tested it. `id` names it across seeds."""

    id: str
    role: str
    seed: int
    stage: str
    method: str | None = None
    teacher: str | None = None
    student_init: str | None = None
    noise_alpha: float | None = None
    noise_beta: float | None = None
    evaluation: str = ""
    benchmark: str | None = None
    attacks: list[AttackRun] = field(default_factory=list)


class Origin(NamedTuple):
    """The model that a study starts at: where it lies now, what tells it from others, and how many weights it has."""

    folder: Path
    fingerprint: str
    weights: int
    adapter: Path | None = None

    def places(self) -> dict[str, str]:
        """Where a stage finds it."""
        adapter = {"adapter": str(self.adapter)} if self.adapter else {}
        return {"pretrained": str(self.folder), **adapter}


@dataclass
class Plan:
    """The whole study: stages by id in an order in which inputs come first, and its models."""

    recipe: Recipe
    origin: Origin | None = None
    compared: dict[str, Origin] = field(default_factory=dict)  # what an audit sets beside it: oracle, before
    benchmarks: dict[str, Any] | None = None  # what decides the answers to them
    stages: dict[str, Stage] = field(default_factory=dict)
    models: list[ModelNode] = field(default_factory=list)

    @property
    def study(self) -> str:
        """Recipe name and short key: that of its stages, and of what the recipe calls the models and attacks."""
        named = [[m.id, m.seed, m.stage, [[run.attack, run.stage] for run in m.attacks]] for m in self.models]
        pilot = [] if self.recipe.asks == "test" else [self.recipe.asks]
        return f"{self.recipe.name}-{content_key([sorted(self.stages), named, *pilot])[:4]}"

    def knower(self) -> ModelNode | None:
        """The given model that should know what is to be forgotten, where an audit or what it makes has one."""
        if self.recipe.audit is None:
            return None
        role = "before" if self.recipe.audits_given_model() else "base"
        return next((node for node in self.models if node.id == role), None)

    def add(self, kind: str, label: str, settings: dict[str, Any], inputs: dict[str, str], **estimate: Any) -> str:
        """Adds a stage once and returns its id."""
        stage = Stage(kind, label, settings, inputs, **estimate)
        self.stages.setdefault(stage.id, stage)
        return stage.id


@cache
def stage_version(kind: str) -> int:
    """VERSION of the stage's file."""
    return importlib.import_module(f"undo.stages.{kind}").VERSION


def make_plan(recipe: Recipe) -> Plan:
    """The graph of a recipe: data once, then base, oracle, teachers, students and their tests for every seed."""
    _refuse_unasked(recipe)
    plan = Plan(recipe, _origin(recipe), _compared(recipe), recipe.benchmarks and _settings_of(recipe.benchmarks))
    _refuse_long_rows(recipe, plan.origin)
    _refuse_unknown_layers(recipe, plan.origin)
    _refuse_unknown_parameters(recipe, plan.origin)
    adopted = _adopted(plan)
    corpus = _add_corpus(plan, adopted)
    for seed in recipe.seeds:
        _Replication(plan, corpus, adopted, seed).build()
    _refuse_twins([model.id for model in plan.models if model.seed == recipe.seeds[0]])
    return plan


def _add_corpus(plan: Plan, adopted: str | None) -> str:
    """The stage of the corpus; texts of this machine are told apart by their content."""
    data = plan.recipe.data
    settings, sources = data.model_dump(mode="json", exclude={"forget_share"}), data.dataset.sources()  # type: ignore[attr-defined]
    contents = {name: content_hash(path) for name, path in sources.items()}
    settings["dataset"] = placed(settings["dataset"], contents)
    outside = {name: str(path.absolute()) for name, path in sources.items()}  # a link's own name says how it is read
    inputs = {} if adopted is None else {"model": adopted} | _joins_answers(plan, adopted)
    return plan.add("data", "data", settings, inputs, outside=outside)


def _joins_answers(plan: Plan, adopted: str) -> dict[str, str]:
    """The model before unlearning, where it is to say how prompts and answers are joined."""
    dataset: Any = plan.recipe.data.dataset
    if all(getattr(getattr(dataset, name, None), "separator", "") is not None for name in ("forget", "retain")):
        return {}
    if plan.recipe.audits_given_model():
        return {"knower": _add_compared(plan, adopted, "before")} if "before" in plan.compared else {}
    return {"knower": adopted} if plan.recipe.suppress else {}


def _add_compared(plan: Plan, adopted: str, name: str) -> str:
    """The stage of a model beside the audited one, which has to read the corpus in the same way."""
    origin = plan.compared[name]
    settings = {"fingerprint": origin.fingerprint, "row_tokens": plan.recipe.data.row_tokens}
    return plan.add("adopt", name, settings, {"like": adopted}, outside=origin.places())


def _settings_of(benchmarks: Benchmarks) -> dict[str, Any]:
    """A folder is known by its content; another lm-eval may ask something else. The package has to be there."""
    settings = benchmarks.model_dump(mode="json") | {"lm_eval": _harness.harness_version()}
    if benchmarks.folder:
        folder = Path(benchmarks.folder).expanduser()
        if not folder.is_dir():
            raise UserError(f"benchmarks.folder: '{benchmarks.folder}' is no folder; name one with tasks for lm-eval")
        settings["folder"] = content_hash(folder)
    return settings


def _refuse_unasked(recipe: Recipe) -> None:
    """What an attack brings back has to be asked about."""
    dataset: Any = recipe.data.dataset
    for name, attack in recipe.attacks.items():
        if unasked := [skill for skill in attack.skills if skill not in dataset.asked()]:
            what = f"the dataset '{dataset.name}' asks nothing about '{unasked[0]}'"
            raise UserError(f"attacks.{name}.skills: {what}; give it questions, or leave the skill out")


def _refuse_long_rows(recipe: Recipe, origin: Origin | None) -> None:
    """What an attack puts before every row has to fit too. A model that the study trains reads no more than a row."""
    rows = recipe.data.row_tokens
    attacks: dict[str, Any] = {name: spec.attack for name, spec in recipe.attacks.items()}
    for name, attack in attacks.items():
        if extra := attack.extra_tokens():
            context = models.limits(origin.folder).context if origin else rows
            if context is not None and rows + extra > context:
                what = f"{extra} tokens before rows of {rows} exceed the {context} that the model reads"
                way = f"set data.row_tokens={context - extra}" if origin else "leave it to `undo audit` of the models"
                raise UserError(f"attacks.{name}: {what}; {way}")


def _refuse_unknown_layers(recipe: Recipe, origin: Origin | None) -> None:
    """Of a given model; the recipe knows those of its own."""
    if origin is not None and any(recipe.named_layers().values()):
        _, count = models.width_and_layers(origin.folder)
        for key, problem in recipe.unknown_layers(count):
            raise UserError(f"{key}: {problem}")


def _refuse_unknown_parameters(recipe: Recipe, origin: Origin | None) -> None:
    """What a method or a student's noise moves has to be there; found out on the model's names and shapes."""
    methods: dict[str, Any] = {f"suppress.{name}.method": each.method for name, each in recipe.suppress.items()}
    choosy = {key: method for key, method in methods.items() if type(method).trainable is not Method.trainable}
    noised = [each.noise_parameters for each in (recipe.distil.students if recipe.distil else ()) if each.noise_alpha]
    chosen = {patterns for patterns in noised if patterns != Student.model_fields["noise_parameters"].default}
    if origin is None or not (choosy or chosen):
        return
    given = models.skeleton(origin.folder)
    for key, method in choosy.items():
        with _about(key):
            method.trainable(given)
    for patterns in chosen:
        with _about("distil.students.noise_parameters"):
            models.matching_parameters(given, patterns)


@contextmanager
def _about(key: str) -> Iterator[None]:
    """Inside, a refusal is one of that setting."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _refuse_twins(names: list[str]) -> None:
    """Rows are told apart by the models' names."""
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise UserError(f"distil.students: two models would be called '{twins[0]}'; leave one of them out")


def _origin(recipe: Recipe) -> Origin | None:
    return recipe.pretrained and _found(recipe.pretrained)


def _compared(recipe: Recipe) -> dict[str, Origin]:
    given = {"oracle": recipe.audit.oracle, "before": recipe.audit.before} if recipe.audit else {}
    return {name: _found(pretrained) for name, pretrained in given.items() if pretrained}


def _found(pretrained: Pretrained) -> Origin:
    folder = models.find_folder(pretrained.path, pretrained.revision)
    adapter = None if pretrained.adapter is None else models.find_adapter(pretrained.adapter)
    return Origin(folder, models.fingerprint(folder, adapter), models.count_weights(folder), adapter)


def _adopted(plan: Plan) -> str | None:
    """The stage that brings the model in: by its content, wherever it lies."""
    if plan.origin is None:
        return None
    settings = {"fingerprint": plan.origin.fingerprint}
    return plan.add("adopt", "base", settings, {}, outside=plan.origin.places())


class _Replication:
    """The stages of one seed."""

    def __init__(self, plan: Plan, corpus: str, adopted: str | None, seed: int) -> None:
        self.plan, self.recipe, self.corpus, self.adopted, self.seed = plan, plan.recipe, corpus, adopted, seed
        self.shape = self.recipe.model.model_dump(mode="json") if self.recipe.model else None
        name = load("datasets", self.recipe.data.dataset.name).evaluation  # type: ignore[attr-defined]
        self.evaluation = load("evals", name)(name=name).model_dump(mode="json")

    def build(self) -> None:
        """Every model of the seed."""
        teachers = self._sources()
        base = teachers["base"]
        teachers |= {name: self._teacher(name, base) for name in self.recipe.suppress}
        for model in teachers.values():
            self._test(model, base)
        for made in students(self.recipe.distil) if self.recipe.distil else ():
            self._test(self._student(made, teachers, base), base)

    def _sources(self) -> dict[str, ModelNode]:
        """Base and oracle, or the base that the study is given: the same one for every seed."""
        pretrain = self.recipe.pretrain
        if pretrain is None:
            assert self.adopted is not None
            compared = {name: self._compared(name) for name in self.plan.compared}
            given = ModelNode("model" if self.recipe.audits_given_model() else "base", "base", self.seed, self.adopted)
            return {"base": given} | compared
        base = self._pretrained(pretrain, "base", ["retain", "forget"], pretrain.base_steps)
        return {"base": base, "oracle": self._pretrained(pretrain, "oracle", ["retain"], pretrain.oracle_steps)}

    def _compared(self, name: str) -> ModelNode:
        assert self.adopted is not None
        stage = _add_compared(self.plan, self.adopted, name)
        return ModelNode(name, "oracle" if name == "oracle" else "base", self.seed, stage)

    def _pretrained(self, pretrain: Pretrain, role: str, domains: list[str], steps: int) -> ModelNode:
        settings = {
            "model": self.shape,
            "domains": domains,
            **self._mixture(domains),
            "steps": steps,
            "seed": self.seed,
            "batch_rows": pretrain.batch_rows,
            "optim": pretrain.optim.model_dump(mode="json"),
        }
        flops = steps * pretrain.batch_rows * self._row_flops(3)
        return ModelNode(role, role, self.seed, self._add("pretrain", role, settings, {}, steps, flops))

    def _teacher(self, name: str, base: ModelNode) -> ModelNode:
        suppress = self.recipe.suppress[name]
        method: Any = suppress.method
        settings = {**suppress.model_dump(mode="json"), "seed": self.seed, "model": self.shape}
        flops = suppress.steps * suppress.batch_rows * self._row_flops(method.passes)
        stage = self._add("suppress", name, settings, {"model": base.stage}, suppress.steps, flops)
        return ModelNode(name, "teacher", self.seed, stage, method=method.name)

    def _student(self, made: MadeStudent, teachers: dict[str, ModelNode], base: ModelNode) -> ModelNode:
        distil = self.recipe.distil
        assert distil is not None
        name, student, alpha = made.name, made.student, made.alpha
        teacher, with_teachers = teachers[made.teacher], [teachers[other] for other in student.with_teachers]
        settings = {
            "model": self.shape,
            "evaluation": self.evaluation,
            "seed": self.seed,
            "domains": (domains := DOMAINS_OF[student.stream or distil.stream]),
            **self._mixture(domains),
            **student.model_dump(mode="json", exclude=TEACHERS | {"stream"} | NOISE | OWN_WAYS),
            **({} if alpha is None else student.model_dump(mode="json", include=NOISE) | {"noise_alpha": alpha}),
            **distil.model_dump(mode="json", exclude={"students", "stream"}),
            **_own_ways(student),
        }
        steps = distil.stop.max_steps if student.steps is None else student.steps
        inputs, passes = self._learnt_from(student, teacher, base, domains, distil.teacher_cache)
        inputs |= {f"with-{other.id}": other.stage for other in with_teachers}
        flops = steps * settings["batch_rows"] * self._row_flops(passes)
        return ModelNode(
            name,
            "student",
            self.seed,
            self._add("distil", name, settings, inputs, steps, flops),
            method=teacher.method,
            teacher=teacher.id,
            student_init=student.init,
            noise_alpha=alpha,
            noise_beta=None if alpha is None else student.noise_beta,
        )

    def _learnt_from(
        self, student: Student, teacher: ModelNode, base: ModelNode, domains: list[str], shared: TeacherCache | None
    ) -> tuple[dict[str, str], int]:
        """The inputs of a student, and how many passes of one model a step costs."""
        inputs, passes = {"model": teacher.stage}, 4 + len(student.with_teachers)
        if student.noise_from == "base":
            inputs["base"] = base.stage
        if student.filter_share is not None:
            passes = 3
        elif student.steps != 0 and not student.with_teachers and (cache := student_cache(student) or shared):
            inputs["outputs"], passes = self._taught(teacher, domains, cache), 3
        return inputs, passes

    def _taught(self, teacher: ModelNode, domains: list[str], cache: TeacherCache) -> str:
        """The stage of the teacher's cached outputs, shared by its students."""
        settings = {"domains": domains, "top_k": cache.top_k}
        return self._add("teach", f"outputs of {teacher.id}", settings, {"model": teacher.stage})

    def _mixture(self, domains: list[str]) -> dict[str, float]:
        """The share of forget rows where it is not the usual half, so that it stands in no other study's keys."""
        share = self.recipe.data.forget_share
        return {} if share == 0.5 or len(domains) == 1 else {"forget_share": share}

    def _test(self, model: ModelNode, base: ModelNode) -> None:
        inputs = {"model": model.stage, "base": base.stage}
        evaluation = self._add("evaluate", model.id, {"evaluation": self.evaluation, **self._certify()}, inputs)
        before = "base" if self.recipe.audit else None  # a certificate wants to know only what it knew
        attacks = {} if model.id in ("before", before) else self.recipe.attacks
        runs = [
            self._attack(model, name, skill, variant)
            for name, attack in attacks.items()
            for skill in attack.skills
            for variant in attack.attack.variants()  # type: ignore[attr-defined]
        ]
        tests = {"evaluation": evaluation, "benchmark": self._benchmark(model), "attacks": runs}
        self.plan.models.append(ModelNode(**{**model.__dict__, **tests}))

    def _benchmark(self, model: ModelNode) -> str | None:
        """Needs the model alone: another corpus changes nothing."""
        benchmarks, settings = self.recipe.benchmarks, self.plan.benchmarks
        if benchmarks is None or settings is None:
            return None
        label = f"benchmarks of {model.id} (seed {self.seed})"
        outside = {"tasks": str(Path(benchmarks.folder).expanduser().resolve())} if benchmarks.folder else {}
        return self.plan.add("benchmark", label, settings, {"model": model.stage}, outside=outside)

    def _attack(self, model: ModelNode, name: str, skill: str, variant: Any) -> AttackRun:
        settings = {
            "attack": variant.model_dump(mode="json"),
            "skill": skill,
            "seed": self.seed,
            "evaluation": self.evaluation,
            **self._certify(),
            **({} if self.recipe.asks == "test" else {"split": self.recipe.asks}),
        }
        values = [value if isinstance(value, str) else f"{value:g}" for value in variant.label().values()]
        label = f"{' '.join([name, skill, *values])} on {model.id}"
        steps, rows = (variant.steps, variant.batch_rows) if isinstance(variant, Training) else (0, 0)
        stage = self._add("attack", label, settings, {"model": model.stage}, steps, steps * rows * self._row_flops(3))
        return AttackRun(name, skill, variant.label(), stage)

    def _certify(self) -> dict[str, bool]:
        """An audit keeps the score of every item; this stands in no other study's keys."""
        return {"certify": True} if self.recipe.audit else {}

    def _add(
        self,
        kind: str,
        label: str,
        settings: dict[str, Any],
        inputs: dict[str, str],
        steps: int = 0,
        flops: float = 0.0,
    ) -> str:
        inputs = {"data": self.corpus, **inputs}
        return self.plan.add(kind, f"{label} (seed {self.seed})", settings, inputs, steps=steps, flops=flops)

    def _row_flops(self, passes: int) -> float:
        """Estimated FLOPs of a row: a forward pass costs 2 per weight and token, and attention; backward two passes."""
        model, tokens = self.recipe.model, self.recipe.data.row_tokens
        if model is None:
            assert self.plan.origin is not None
            return passes * tokens * 2 * self.plan.origin.weights
        assert self.recipe.data.vocab_size is not None
        weights = model.layers * (4 * model.width**2 + 3 * model.width * model.mlp_width)
        weights += model.width * self.recipe.data.vocab_size
        return passes * tokens * (2 * weights + 4 * model.layers * tokens * model.width)


def student_cache(student: Student) -> TeacherCache | None:
    """The cache that a student has of its own."""
    return TeacherCache(top_k=student.top_k) if student.top_k else None


def _own_ways(student: Student) -> dict[str, Any]:
    """Settings in which a student differs from its siblings; only what differs, so that it stands in no other's key."""
    cache = student_cache(student)
    own = {
        "batch_rows": student.batch_rows,
        "optim": student.optim and student.optim.model_dump(mode="json"),
        "teacher_cache": cache and cache.model_dump(mode="json"),
        "temperature": student.temperature if student.temperature != 1.0 else None,
    }
    return {name: value for name, value in own.items() if value is not None}


class MadeStudent(NamedTuple):
    """One student: of a kind, of one of its teachers, at one of its strengths of noise."""

    name: str
    student: Student
    teacher: str
    alpha: float | None


def students(distil: Distil) -> Iterator[MadeStudent]:
    """Every student of a study, in the order of its recipe."""
    for student in distil.students:
        for teacher, alpha in product(student.teachers, student.noise_alpha or (None,)):
            yield MadeStudent(_student_name(student, teacher, alpha, distil.optim), student, teacher, alpha)


def _student_name(student: Student, teacher: str, alpha: float | None, optim: Optim) -> str:
    """`fresh-maxent`, `undo-0.5-maxent`; what is not usual is named too. `optim` is the study's."""
    usual = {name: field.default for name, field in Student.model_fields.items()}
    parts = [student.init if alpha is None else f"undo-{alpha:g}"]
    parts += _differences(student, usual, NAMED)
    if student.optim:
        parts += _differences(student.optim, optim.model_dump(), NAMED_OPTIM)
    return "-".join([*parts, teacher])


def _differences(settings: Student | Optim, usual: dict[str, Any], forms: dict[str, str]) -> list[str]:
    values = {name: getattr(settings, name) for name in forms}
    return [
        forms[name].format(_slug(value) if isinstance(value, tuple) else value)
        for name, value in values.items()
        if value != usual[name]
    ]


def _slug(patterns: tuple[str, ...]) -> str:
    """The words of patterns: `(".*mlp.*",)` is `mlp`."""
    return "-".join(re.findall("[a-z0-9]+", " ".join(patterns)))
