"""A recipe becomes a graph of stages with content keys. Nothing is computed and torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from undo import models
from undo.attacks import Training
from undo.data.dataset import Dataset, Domain, with_paths
from undo.evals import Evaluation, _harness
from undo.models.given import GivenModel
from undo.spec.errors import UserError
from undo.spec.keys import content_key
from undo.spec.recipe import Pretrain, Pretrained, Recipe, Student, TeacherCache
from undo.spec.registry import load
from undo.spec.students import MadeStudent, students
from undo.stages import (
    StageSettings,
    attack,
    benchmark,
    cache_teacher,
    data,
    distil,
    evaluate,
    import_model,
    pretrain,
    suppress,
)
from undo.study.artifacts import content_hash
from undo.study.preflight import check_names, check_recipe

STREAMS: dict[str, tuple[Domain, ...]] = {"mixed": ("retain", "forget"), "retain": ("retain",)}
"""The domains of a distillation stream."""


@dataclass(frozen=True)
class Stage:
    """One node. Its key hashes kind, version, settings and the keys of its inputs, and nothing else."""

    label: str
    settings: StageSettings
    inputs: dict[str, str]  # role -> id of the stage that fills it
    steps: int = 0
    flops: float = 0.0  # estimated; the ledger holds the counted ones
    external_inputs: dict[str, str] = field(default_factory=dict)  # role -> a path that is no artifact

    @property
    def kind(self) -> str:
        """The name of its file in `stages`."""
        return self.settings.kind()

    @cached_property
    def id(self) -> str:
        """Folder name of the artifact: `<kind>-<key>`."""
        changed = self.settings.model_dump(mode="json", exclude_defaults=True)
        return f"{self.kind}-{content_key([self.kind, self.settings.traits.version, changed, self.inputs])}"


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
    settings: dict[str, Any] | None = None  # of a teacher or student in the recipe, defaults left out
    evaluation: str = ""
    benchmark: str | None = None
    attacks: list[AttackRun] = field(default_factory=list)


@dataclass
class Plan:
    """The whole study: stages by id in an order in which inputs come first, and its models."""

    recipe: Recipe
    given: GivenModel | None = None  # the model that the study starts at
    compared: dict[str, GivenModel] = field(default_factory=dict)  # what an audit sets beside it: oracle, before
    corpus: str = ""  # the stage of the data
    stages: dict[str, Stage] = field(default_factory=dict)
    models: list[ModelNode] = field(default_factory=list)

    @property
    def study(self) -> str:
        """Recipe name and short key: that of its stages, and of what the recipe calls the models and attacks."""
        named = [[m.id, m.seed, m.stage, [[run.attack, run.stage] for run in m.attacks]] for m in self.models]
        pilot = [] if self.recipe.eval_split == "test" else [self.recipe.eval_split]
        return f"{self.recipe.name}-{content_key([sorted(self.stages), named, *pilot])[:4]}"

    def knower(self) -> ModelNode | None:
        """The given model that should know what is to be forgotten, where an audit or what it makes has one."""
        if self.recipe.audit is None:
            return None
        role = "before" if self.recipe.audits_given_model() else "base"
        return next((node for node in self.models if node.id == role), None)

    def add(self, label: str, settings: StageSettings, inputs: dict[str, str], **more: Any) -> str:
        """Adds a stage once and returns its id."""
        stage = Stage(label, settings, inputs, **more)
        self.stages.setdefault(stage.id, stage)
        return stage.id


def make_plan(recipe: Recipe) -> Plan:
    """The graph of a recipe: data once, then base, oracle, teachers, students and their tests for every seed.

    Raises UserError where the recipe asks for something that its dataset or its given model does not allow.
    """
    plan = Plan(recipe, recipe.pretrained and _find(recipe.pretrained), _compared(recipe))
    check_recipe(recipe, plan.given)
    imported = _add_given(plan)
    plan.corpus = _add_corpus(plan, imported)
    benchmarks = _benchmark_settings(recipe)
    for seed in recipe.seeds:
        _Replication(plan, imported, benchmarks, seed).build()
    check_names([model.id for model in plan.models if model.seed == recipe.seeds[0]])
    return plan


def _find(pretrained: Pretrained) -> GivenModel:
    return models.find_model(pretrained.path, pretrained.revision, pretrained.adapter)


def _compared(recipe: Recipe) -> dict[str, GivenModel]:
    given = {"oracle": recipe.audit.oracle, "before": recipe.audit.before} if recipe.audit else {}
    return {name: _find(pretrained) for name, pretrained in given.items() if pretrained}


def _add_given(plan: Plan) -> str | None:
    """The stage that imports the given model, which is known by its content wherever it lies."""
    if plan.given is None:
        return None
    settings = import_model.Settings(fingerprint=plan.given.fingerprint)
    return plan.add("base", settings, {}, external_inputs=plan.given.places())


def _add_compared(plan: Plan, imported: str, name: str) -> str:
    """The stage of a model beside the audited one, which has to read the corpus in the same way."""
    model = plan.compared[name]
    settings = import_model.Settings(fingerprint=model.fingerprint, row_tokens=plan.recipe.data.row_tokens)
    return plan.add(name, settings, {"like": imported}, external_inputs=model.places())


def _add_corpus(plan: Plan, imported: str | None) -> str:
    """The stage of the corpus; texts of this machine are told apart by their content."""
    spec, dataset = plan.recipe.data, _dataset(plan.recipe)
    sources = dataset.sources()
    contents = {name: content_hash(path) for name, path in sources.items()}
    settings = data.Settings(
        dataset=with_paths(dataset.model_dump(mode="json"), contents),
        vocab_size=spec.vocab_size,
        row_tokens=spec.row_tokens,
    )
    places = {name: str(path.absolute()) for name, path in sources.items()}  # a link's own name says how it is read
    inputs = {} if imported is None else {"model": imported} | _joins_answers(plan, imported)
    return plan.add("data", settings, inputs, external_inputs=places)


def _joins_answers(plan: Plan, imported: str) -> dict[str, str]:
    """The model before unlearning, where it is to say how prompts and answers are joined."""
    dataset = _dataset(plan.recipe)
    if all(getattr(getattr(dataset, name, None), "separator", "") is not None for name in ("forget", "retain")):
        return {}
    if plan.recipe.audits_given_model():
        return {"knower": _add_compared(plan, imported, "before")} if "before" in plan.compared else {}
    return {"knower": imported} if plan.recipe.suppress else {}


def _dataset(recipe: Recipe) -> Dataset:
    return recipe.data.dataset  # type: ignore[return-value]  # the recipe's field knows plug-ins of every kind alike


def _benchmark_settings(recipe: Recipe) -> benchmark.Settings | None:
    """A folder is known by its content; another lm-eval may ask something else. The package has to be there."""
    if recipe.benchmarks is None:
        return None
    settings = recipe.benchmarks.model_dump(mode="json") | {"lm_eval": _harness.harness_version()}
    if recipe.benchmarks.folder:
        folder = Path(recipe.benchmarks.folder).expanduser()
        if not folder.is_dir():
            name = recipe.benchmarks.folder
            raise UserError(f"benchmarks.folder: '{name}' is no folder; name one with tasks for lm-eval")
        settings["folder"] = content_hash(folder)
    return benchmark.Settings.model_validate(settings)


class _Replication:
    """The stages of one seed."""

    def __init__(self, plan: Plan, imported: str | None, benchmarks: benchmark.Settings | None, seed: int) -> None:
        self.plan, self.recipe, self.seed = plan, plan.recipe, seed
        self.imported, self.benchmarks = imported, benchmarks
        name = _dataset(plan.recipe).evaluation
        self.evaluation: Evaluation = load("evals", name)(name=name)  # type: ignore[assignment]
        self.certify = plan.recipe.audit is not None

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
        spec = self.recipe.pretrain
        if spec is None:
            assert self.imported is not None
            compared = {name: self._compared(name) for name in self.plan.compared}
            given = ModelNode("model" if self.recipe.audits_given_model() else "base", "base", self.seed, self.imported)
            return {"base": given} | compared
        return {
            "base": self._pretrained(spec, "base", STREAMS["mixed"], spec.base_steps),
            "oracle": self._pretrained(spec, "oracle", STREAMS["retain"], spec.oracle_steps),
        }

    def _compared(self, name: str) -> ModelNode:
        assert self.imported is not None
        stage = _add_compared(self.plan, self.imported, name)
        return ModelNode(name, "oracle" if name == "oracle" else "base", self.seed, stage)

    def _pretrained(self, spec: Pretrain, role: str, domains: tuple[Domain, ...], steps: int) -> ModelNode:
        assert self.recipe.model is not None
        settings = pretrain.Settings(
            seed=self.seed,
            model=self.recipe.model,
            domains=domains,
            forget_share=self._forget_share(domains),
            steps=steps,
            batch_rows=spec.batch_rows,
            optim=spec.optim,
        )
        flops = steps * spec.batch_rows * self._row_flops(3)
        return ModelNode(role, role, self.seed, self._add(role, settings, {}, steps=steps, flops=flops))

    def _teacher(self, name: str, base: ModelNode) -> ModelNode:
        spec = self.recipe.suppress[name]
        method: Any = spec.method
        own = {field: getattr(spec, field) for field in type(spec).model_fields}
        settings = suppress.Settings(**own, seed=self.seed, model=self.recipe.model)
        flops = spec.steps * spec.batch_rows * self._row_flops(method.passes)
        stage = self._add(name, settings, {"model": base.stage}, steps=spec.steps, flops=flops)
        made = spec.model_dump(mode="json", exclude_defaults=True)
        return ModelNode(name, "teacher", self.seed, stage, method=method.name, settings=made)

    def _student(self, made: MadeStudent, teachers: dict[str, ModelNode], base: ModelNode) -> ModelNode:
        spec, student = self.recipe.distil, made.student
        assert spec is not None
        teacher, co_teachers = teachers[made.teacher], [teachers[other] for other in student.with_teachers]
        domains, cache = STREAMS[student.stream or spec.stream], _cache_of(student) or spec.teacher_cache
        settings = distil.Settings(
            seed=self.seed,
            model=self.recipe.model,
            evaluation=self.evaluation,
            init=student.init,
            noise=_noise(student, made.alpha),
            domains=domains,
            forget_share=self._forget_share(domains),
            batch_rows=student.batch_rows or spec.batch_rows,
            steps=student.steps,
            stop=spec.stop,
            optim=student.optim or spec.optim,
            temperature=student.temperature,
            teacher_cache=cache,
            filter_share=student.filter_share,
            text_share=student.text_share,
        )
        steps = spec.stop.max_steps if student.steps is None else student.steps
        inputs, passes = self._learnt_from(student, teacher, base, domains, cache)
        inputs |= {f"with-{other.id}": other.stage for other in co_teachers}
        flops = steps * settings.batch_rows * self._row_flops(passes)
        return ModelNode(
            made.name,
            "student",
            self.seed,
            self._add(made.name, settings, inputs, steps=steps, flops=flops),
            method=teacher.method,
            teacher=teacher.id,
            student_init=student.init,
            noise_alpha=made.alpha,
            noise_beta=settings.noise and settings.noise.beta,
            settings=made.settings(),
        )

    def _learnt_from(
        self,
        student: Student,
        teacher: ModelNode,
        base: ModelNode,
        domains: tuple[Domain, ...],
        cache: TeacherCache | None,
    ) -> tuple[dict[str, str], int]:
        """The inputs of a student, and how many passes of one model a step costs."""
        inputs, passes = {"model": teacher.stage}, 4 + len(student.with_teachers)
        if student.noise_from == "base":
            inputs["base"] = base.stage
        if student.filter_share is not None:
            passes = 3
        elif student.steps != 0 and not student.with_teachers and cache:
            settings = cache_teacher.Settings(domains=domains, top_k=cache.top_k)
            inputs["outputs"] = self._add(f"outputs of {teacher.id}", settings, {"model": teacher.stage})
            passes = 3
        return inputs, passes

    def _forget_share(self, domains: tuple[Domain, ...]) -> float:
        """The recipe's, where both domains are read; it changes nothing for one alone."""
        default = pretrain.Settings.model_fields["forget_share"].default
        return self.recipe.data.forget_share if len(domains) > 1 else default

    def _test(self, model: ModelNode, base: ModelNode) -> None:
        inputs = {"model": model.stage, "base": base.stage}
        evaluation = self._add(model.id, evaluate.Settings(evaluation=self.evaluation, certify=self.certify), inputs)
        before = "base" if self.recipe.audit else None  # a certificate wants to know only what it knew
        attacks = {} if model.id in ("before", before) else self.recipe.attacks
        runs = [
            self._attack(model, name, skill, variant)
            for name, spec in attacks.items()
            for skill in spec.skills
            for variant in spec.attack.variants()  # type: ignore[attr-defined]
        ]
        tested = replace(model, evaluation=evaluation, benchmark=self._benchmark(model), attacks=runs)
        self.plan.models.append(tested)

    def _benchmark(self, model: ModelNode) -> str | None:
        """Needs the model alone: another corpus changes nothing."""
        if self.benchmarks is None or self.recipe.benchmarks is None:
            return None
        folder = self.recipe.benchmarks.folder
        places = {"tasks": str(Path(folder).expanduser().resolve())} if folder else {}
        label = f"benchmarks of {model.id} (seed {self.seed})"
        return self.plan.add(label, self.benchmarks, {"model": model.stage}, external_inputs=places)

    def _attack(self, model: ModelNode, name: str, skill: Any, variant: Any) -> AttackRun:
        settings = attack.Settings(
            seed=self.seed,
            attack=variant,
            skill=skill,
            evaluation=self.evaluation,
            split=self.recipe.eval_split,
            certify=self.certify,
        )
        values = [value if isinstance(value, str) else f"{value:g}" for value in variant.label().values()]
        label = f"{' '.join([name, skill, *values])} on {model.id}"
        steps, rows = (variant.steps, variant.batch_rows) if isinstance(variant, Training) else (0, 0)
        flops = steps * rows * self._row_flops(3)
        stage = self._add(label, settings, {"model": model.stage}, steps=steps, flops=flops)
        return AttackRun(name, skill, variant.label(), stage)

    def _add(self, label: str, settings: StageSettings, inputs: dict[str, str], **estimate: Any) -> str:
        return self.plan.add(f"{label} (seed {self.seed})", settings, {"data": self.plan.corpus, **inputs}, **estimate)

    def _row_flops(self, passes: int) -> float:
        """Estimated FLOPs of a row: a forward pass costs 2 per weight and token, and attention; backward two passes."""
        model, tokens = self.recipe.model, self.recipe.data.row_tokens
        if model is None:
            assert self.plan.given is not None
            return passes * tokens * 2 * self.plan.given.weights
        assert self.recipe.data.vocab_size is not None
        weights = model.layers * (4 * model.width**2 + 3 * model.width * model.mlp_width)
        weights += model.width * self.recipe.data.vocab_size
        return passes * tokens * (2 * weights + 4 * model.layers * tokens * model.width)


def _cache_of(student: Student) -> TeacherCache | None:
    """The teacher's cache that a student has of its own."""
    return TeacherCache(top_k=student.top_k) if student.top_k else None


def _noise(student: Student, alpha: float | None) -> distil.Noise | None:
    if alpha is None:
        return None
    return distil.Noise(
        alpha=alpha, beta=student.noise_beta, rule=student.noise_rule, parameters=student.noise_parameters
    )
