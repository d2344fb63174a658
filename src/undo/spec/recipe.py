"""WHAT to run: the recipe of a study. Every field says its meaning, unit and source; nothing here imports torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from undo.spec.base import Plugin, Spec, nearest
from undo.spec.registry import PluginOf

Stream = Literal["mixed", "retain"]
StudentInit = Literal["fresh", "base_init", "noised", "teacher"]
UNSUPPRESSED = ("base", "oracle")
"""Models that students may learn from although nothing was suppressed in them."""
Skill = Literal["forget", "neutral"]
NoiseRule = Literal["initial", "paper", "reinit"]
Optimizer = Literal["adamw", "muon"]
DecayRate = Annotated[float, Field(ge=0, lt=1)]


class Optim(Spec):
    """The optimiser and its schedule, alike for every stage."""

    optimizer: Optimizer = "adamw"
    """AdamW, or Muon: matrices move by orthogonalised momentum with steps of AdamW's size, embeddings, head and vectors
    by AdamW."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Shape after warm-up; cosine ends at `final_share` of the peak after the stage's last step."""
    final_share: float = Field(0.1, ge=0, le=1)
    """Share of the peak at which a cosine ends (paper: a tenth)."""
    warmup_steps: int = Field(1, ge=0)
    """Steps of linear warm-up."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices; vectors never decay."""
    betas: tuple[DecayRate, DecayRate] = (0.9, 0.95)
    """AdamW's decay rates; 0.95 is usual for language models."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient over all parameters."""
    micro_batches: int = Field(1, ge=1)
    """Parts that a step's rows are computed in, one after another, to fit into memory; the objective stays the same."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: for models that would not fit."""

    @model_validator(mode="after")
    def _only_a_cosine_ends(self) -> "Optim":
        if self.schedule == "constant" and self.final_share != type(self).model_fields["final_share"].default:
            raise ValueError("final_share does nothing without `schedule: cosine`; leave it out")
        return self


class Data(Spec):
    """The dataset, its tokenizer and its packing."""

    dataset: Annotated[SerializeAsAny[Plugin], PluginOf("datasets")]
    """A dataset by name, or with its knobs."""
    vocab_size: int | None = Field(512, ge=259)
    """Largest vocabulary of the byte-level BPE (256 bytes, padding, end, merges); none where a pretrained model has its
    own tokenizer."""
    row_tokens: int = Field(64, ge=8)
    """Tokens per packed row: the context length of the models."""
    forget_share: float = Field(0.5, gt=0, lt=1)
    """Share of forget rows where both are mixed (the base's pretraining, the distillation stream); at least one row."""


class Model(Spec):
    """Shape of the models (Llama, tied embeddings)."""

    width: int = Field(64, ge=8)
    """Width of the residual stream."""
    layers: int = Field(3, ge=1)
    """Decoder layers."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width evenly."""
    mlp_width: int = Field(192, ge=8)
    """Width inside the gated MLP."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Model":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 x heads = {2 * self.heads} (rotary pairs)")
        return self


class Pretrained(Spec):
    """A model to start at, in place of one that the study trains: the base is this one, and there is no oracle."""

    path: str = Field(min_length=1)
    """A folder as transformers saves it (configuration, safetensors, tokenizer), or a model in the hub's cache."""
    revision: str | None = None
    """Branch, tag or commit, where the path is a name on the hub."""
    adapter: str | None = Field(None, min_length=1)
    """A folder with a PEFT adapter of this model, which is merged into its weights."""


class Audit(Spec):
    """A certificate of the given model as it is, or of what the study makes of it, where it has teachers and students.

    Models to compare it with are given too; they share its tokenizer.
    """

    suite: str
    """The suite of attacks, and how it was changed."""
    oracle: Pretrained | None = None
    """One that never knew what is to be forgotten: it is attacked alike, and says what an attack teaches anew."""
    before: Pretrained | None = None
    """The model as it was before unlearning: it says how much there was to recover, and is not attacked. Of what a
    study makes it is the study's base."""


class Pretrain(Spec):
    """Training of base (retain and forget data) and oracle (retain data alone)."""

    base_steps: int = Field(ge=1)
    """Steps of the base."""
    oracle_steps: int = Field(ge=1)
    """Steps of the oracle."""
    batch_rows: int = Field(32, ge=2, multiple_of=2)
    """Rows per step; the base's are half retain, half forget."""
    optim: Optim


class Suppress(Spec):
    """An unlearning method applied to the base; the result is a teacher."""

    method: Annotated[SerializeAsAny[Plugin], PluginOf("methods")]
    """A method by name, or with its knobs."""
    start: Literal["base", "initial"] = "base"
    """What the method trains: the base, or its untrained weights (methods that localise while they train)."""
    steps: int = Field(ge=1)
    """Steps of suppression."""
    max_signal: float | None = Field(None, gt=0, lt=1)
    """Go on by `steps` at a time until the teacher says at most this share of what the base says about the right forget
    token; without it, `steps` it is."""
    max_steps: int | None = Field(None, ge=1)
    """Steps at most; a teacher that still says more then ends the study before anything is distilled from it."""
    batch_rows: int = Field(16, ge=1)
    """Retain rows per step, and as many forget rows."""
    label_share: float = Field(1.0, gt=0, le=1)
    """Share of the training rows of each domain that is labelled; the method sees no others (claim C6)."""
    retain_label_share: float | None = Field(None, gt=0, le=1)
    """That of the retain rows where it is another one: text to keep is often at hand when forget text is rare."""
    label_precision: float = Field(1.0, gt=0, le=1)
    """Share of the rows labelled forget that are; the others are retain rows with a wrong label."""
    optim: Optim

    @model_validator(mode="after")
    def _ends_by_one_rule(self) -> "Suppress":
        if (self.max_signal is None) != (self.max_steps is None):
            raise ValueError("max_signal and max_steps belong together: a share to reach, and the steps it may take")
        if self.max_steps is not None and self.max_steps < self.steps:
            raise ValueError(f"max_steps {self.max_steps} is less than steps {self.steps}; raise it, or lower steps")
        return self

    @model_validator(mode="after")
    def _micro_batches_fit_method(self) -> "Suppress":
        if self.optim.micro_batches > 1 and not self.method.sums_over_parts:  # type: ignore[attr-defined]
            name = self.method.name
            raise ValueError(f"method '{name}' needs all rows of a step at once; leave optim.micro_batches at 1")
        return self


class Stop(Spec):
    """When distillation is over."""

    max_gap: float = Field(0.05, ge=0, le=1)
    """The student's retain accuracy may lie this far below the teacher's (paper: the 5 % rule)."""
    check_every: int = Field(25, ge=1)
    """Steps between looks at the validation split."""
    max_steps: int = Field(ge=1)
    """Steps at most."""


def taught_steps(text_share: float, steps: int) -> int:
    """The steps that a student hears its teacher before it reads plain text."""
    return round((1 - text_share) * steps)


class Student(Spec):
    """A kind of student and the teachers it is distilled from."""

    init: StudentInit
    """Where its weights start: fresh (own seed), base_init (the base's own start), noised, or the teacher itself."""
    teachers: tuple[str, ...] = Field(min_length=1)
    """Names under `suppress`; as controls also `base` (nothing suppressed) and `oracle`."""
    with_teachers: tuple[str, ...] = ()
    """Further ones that teach beside each of `teachers`: it learns the mean of their distributions (an ensemble)."""
    stream: Stream | None = None
    """Rows to distil on, where they are not the study's."""
    steps: int | None = Field(None, ge=0)
    """Exactly so many steps in place of the stop rule; 0 leaves its start as it is (noise alone)."""
    batch_rows: int | None = Field(None, ge=2, multiple_of=2)
    """Its rows per step, where they are not the study's."""
    optim: Optim | None = None
    """Its optimiser, where that is not the study's."""
    temperature: float = Field(1.0, gt=0)
    """Both distributions are softened by it; the divergence is multiplied by its square (arXiv 1503.02531)."""
    top_k: int | None = Field(None, ge=1)
    """The teacher's cache for this student: so many most likely tokens per position, with one bucket for the rest."""
    filter_share: float | None = Field(None, gt=0, le=1)
    """Plain training on this share of the stream, the rows likeliest to the teacher: filtering by its labels. All of it
    (1) on the retain stream is retraining at the student's length, which asks no teacher."""
    text_share: float | None = Field(None, gt=0, lt=1)
    """Share of its `steps`, the last ones, that read the retain stream as plain text: the teacher first, then text."""
    noise_alpha: tuple[float, ...] = ()
    """Strengths of the noise (0 none, 1 all), one student each; only with `init: noised`."""
    noise_parameters: tuple[str, ...] = Field((".*",), min_length=1)
    """Patterns of the names of the parameters that are noised; the others stay the teacher's."""
    noise_from: Literal["teacher", "base"] = "teacher"
    """Whose weights are noised; the base's with alpha 0 show whether matching an oracle is enough (claim C1)."""
    noise_beta: float = Field(0.1, ge=0)
    """Scale of the matrices' noise (paper: 0.1 on arithmetic)."""
    noise_rule: NoiseRule = "initial"
    """What vectors are mixed towards: their initial value (ours), 0 (paper), or everything a fresh draw (reinit)."""

    @model_validator(mode="after")
    def _noise_fits_init(self) -> "Student":
        if (self.init == "noised") != bool(self.noise_alpha):
            raise ValueError("noise_alpha belongs to `init: noised`, and that needs it")
        unusual = [name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default]
        lost = [name for name in unusual if name.startswith("noise_")]
        if self.init != "noised" and lost:
            raise ValueError(f"{lost[0]} does nothing without `init: noised`; leave it out")
        if any(not 0 <= alpha <= 1 for alpha in self.noise_alpha):
            raise ValueError("every noise_alpha must lie in [0, 1]")
        return self

    @model_validator(mode="after")
    def _lesson_is_one(self) -> "Student":
        """How predictions are compared: at most one way, and none where text alone is read."""
        ways = self.ways()
        if len(ways) > 1:
            raise ValueError(f"{ways[1]} does nothing together with {ways[0]}; leave one of them out")
        taught = ways + [name for name in ("stream", "batch_rows", "optim") if getattr(self, name)]
        if self.steps == 0 and taught:
            raise ValueError(f"{taught[0]} does nothing without a step; leave it out, or `steps: 0`")
        return self

    @model_validator(mode="after")
    def _text_comes_last(self) -> "Student":
        """Plain text follows the teacher: its start is known beforehand, and there is a teacher to be heard first."""
        if self.text_share is not None:
            if self.filter_share is not None:
                raise ValueError("text_share does nothing together with filter_share; leave one of them out")
            if not self.steps:
                raise ValueError("text_share needs `steps`: when the stop rule will hold is not known beforehand")
            if taught_steps(self.text_share, self.steps) in (0, self.steps):
                share = f"text_share {self.text_share:g} of {self.steps} steps"
                raise ValueError(f"{share} is none of them, or all; change either")
        return self

    @model_validator(mode="after")
    def _teaches_once(self) -> "Student":
        together = [*self.teachers, *self.with_teachers]
        if twice := [name for name in self.with_teachers if together.count(name) > 1]:
            raise ValueError(f"'{twice[0]}' would teach twice; name it in teachers or with_teachers, and once")
        return self

    def ways(self) -> list[str]:
        """The settings that change how predictions are compared."""
        given = {
            "filter_share": self.filter_share,
            "top_k": self.top_k,
            "temperature": self.temperature != 1.0,
            "with_teachers": self.with_teachers,
        }
        return [name for name, value in given.items() if value]


class TeacherCache(Spec):
    """The teacher's predictions for the whole stream, computed once, kept on disk and read by all of its students.

    It pays where rows come again: in several epochs, or for several students. Teachers that teach together compute
    theirs at every step.
    """

    top_k: int | None = Field(None, ge=1)
    """Most likely tokens kept per position, with one bucket for the rest; none keeps hidden states, which is exact."""


class Distil(Spec):
    """Distillation: forward KL from teacher to student on unlabelled rows until the stop rule holds."""

    students: tuple[Student, ...] = ()
    """The students to make."""
    stream: Stream = "mixed"
    """Rows to distil on: retain and forget half and half (paper), or retain alone."""
    batch_rows: int = Field(32, ge=2, multiple_of=2)
    """Rows per step."""
    teacher_cache: TeacherCache | None = None
    """Keep the teacher's predictions on disk; without it the teacher computes them anew at every step."""
    optim: Optim
    stop: Stop

    @model_validator(mode="after")
    def _top_tokens_have_no_more_to_say(self) -> "Distil":
        """A cache of the likeliest tokens alone is no whole distribution."""
        for student in self.students:
            whole = [way for way in student.ways() if way in ("temperature", "with_teachers")]
            if whole and self.teacher_cache and self.teacher_cache.top_k:
                raise ValueError(f"{whole[0]} needs whole distributions; leave top_k out")
        return self

    @model_validator(mode="after")
    def _text_is_retain(self) -> "Distil":
        if any(student.text_share and (student.stream or self.stream) != "retain" for student in self.students):
            raise ValueError("text_share on mixed text would teach the forget skill; it needs `stream: retain`")
        return self


class Attack(Spec):
    """An attack, run against every model."""

    attack: Annotated[SerializeAsAny[Plugin], PluginOf("attacks")]
    """An attack by name, or with its knobs."""
    skills: tuple[Skill, ...] = ("forget",)
    """What is relearnt: the forget skill, and as a control the neutral one that no model ever saw."""


class Benchmarks(Spec):
    """Tasks of the LM Evaluation Harness (lm-eval) that every model is asked, before any attack."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks or groups, such as wmdp_bio or mmlu."""
    folder: str | None = Field(None, min_length=1)
    """A folder with tasks of one's own, as lm-eval writes them (YAML), and their items. Paths in them start here."""
    limit: int | None = Field(None, ge=1)
    """Items per task, from the first on; None for all."""
    batch_rows: int = Field(16, ge=1)
    """Rows per forward pass."""


def _contradiction(key: str, hint: str) -> PydanticCustomError:
    """What no field alone can know: the key that it is about, and what is wrong."""
    return PydanticCustomError("reference", "{hint}", {"hint": hint, "key": key})


class Recipe(Spec):
    """A study."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the study's folder."""
    summary: str
    """One line for `undo list recipes`."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Seeds of initialisation, data order and noise; every seed is a whole replication of the study."""
    data: Data
    pretrained: Pretrained | None = None
    """Somebody's own model as base; then `model`, `pretrain` and `data.vocab_size` are left out."""
    model: Model | None = None
    """Shape of the models that the study trains itself."""
    pretrain: Pretrain | None = None
    """How base and oracle are trained."""
    audit: Audit | None = None
    """Attacks on a given model, or on what the study makes of one, keep the score of every item for a certificate."""
    suppress: dict[str, Suppress] = Field({})
    """Teachers by name; at least one, but where a given model is audited as it is."""
    distil: Distil | None = None
    """How students are made; needed but where a given model is audited as it is."""
    attacks: dict[str, Attack] = Field({})
    """Attacks by name; every one is run against base, oracle, teachers and students. None: a search on validation."""
    benchmarks: Benchmarks | None = None
    """What every model is asked besides, through the package lm-eval."""
    eval_split: Literal["test", "valid"] = "test"
    """The split whose items make scores and curves: valid in pilots, so that nothing is chosen by what is reported."""
    checkpoint_seconds: float = Field(15.0, ge=0)
    """Seconds between checkpoints, the most work that a kill can lose; no part of any key."""

    def students(self) -> tuple[Student, ...]:
        """The kinds of students that the study makes."""
        return self.distil.students if self.distil else ()

    @model_validator(mode="before")
    @classmethod
    def _pretrained_has_its_tokenizer(cls, content: Any) -> Any:
        """The usual vocabulary is no answer where none may be given."""
        if isinstance(content, dict) and content.get("pretrained") and isinstance(content.get("data"), dict):
            return content | {"data": {"vocab_size": None, **content["data"]}}
        return content

    @model_validator(mode="after")
    def _starts_somewhere(self) -> "Recipe":
        """Either the study trains its base, or it is given one."""
        given = {"model": self.model, "pretrain": self.pretrain, "data.vocab_size": self.data.vocab_size}
        for key, value in given.items():
            if self.pretrained and value is not None:
                raise _contradiction(key, f"a pretrained model has its own; leave {key} out")
            if not self.pretrained and value is None:
                raise _contradiction(key, f"{key} is needed, or else `pretrained` with a model to start at")
        return self

    @model_validator(mode="after")
    def _makes_models_or_audits_one(self) -> "Recipe":
        """An audit may change no model, and every other study makes teachers, or students of what is not suppressed."""
        if not (self.suppress or self.students() or self.audit):
            text = "suppress is needed, or `distil` with a student, or else `audit` alone to attack a model as it is"
            raise _contradiction("suppress", text)
        if self.audit and bool(self.suppress) != bool(self.distil):
            missing = "distil" if self.suppress else "suppress"
            raise _contradiction(missing, f"{missing} is needed where an audit is about what the study makes")
        if self.audit and not self.pretrained:
            raise _contradiction("pretrained", "an audit needs `pretrained`: the model that it is about")
        if self.audit and self.audit.before and self.suppress:
            raise _contradiction("audit.before", "before unlearning there was the pretrained model; leave it out")
        if self.audit and self.eval_split != "test":
            raise _contradiction("eval_split", "a certificate is about the test items; leave eval_split out")
        if self.audit and len(self.seeds) > 1:
            raise _contradiction("seeds", "a certificate is of one model; give one seed, and run again for another")
        return self

    def audits_given_model(self) -> bool:
        """Whether the study is about a given model as it is."""
        return self.audit is not None and not self.suppress

    @model_validator(mode="after")
    def _pretrained_has_no_past(self) -> "Recipe":
        """What a study knows only of models that it has trained itself."""
        if self.pretrained:
            for name, suppress in self.suppress.items():
                if suppress.start == "initial":
                    raise _contradiction(f"suppress.{name}.start", "the initial weights of a pretrained model are gone")
            for index, student in enumerate(self.students()):
                if student.init == "base_init":
                    text = "the initial weights of a pretrained model are gone; start at `fresh`"
                    raise _contradiction(f"distil.students.{index}.init", text)
                if "oracle" in student.teachers + student.with_teachers:
                    text = "a pretrained model has no oracle, which would be one trained alike without forget data"
                    raise _contradiction(f"distil.students.{index}.teachers", text)
        return self

    @model_validator(mode="after")
    def _references_exist(self) -> "Recipe":
        for index, student in enumerate(self.students()):
            for teacher in student.teachers + student.with_teachers:
                known = [*self.suppress, *UNSUPPRESSED]
                if teacher not in known:
                    hint = f"no teacher '{teacher}' under suppress; {nearest(teacher, known)}"
                    key = "teachers" if teacher in student.teachers else "with_teachers"
                    raise _contradiction(f"distil.students.{index}.{key}", hint)
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> "Recipe":
        """A layer that the study's own models lack is refused here, and not after their pretraining."""
        for key, problem in self.unknown_layers(self.model.layers) if self.model else ():
            raise _contradiction(key, problem)
        return self

    def named_layers(self) -> dict[str, tuple[int, ...]]:
        """The layers that each teacher's method names."""
        methods: dict[str, Any] = {name: suppress.method for name, suppress in self.suppress.items()}
        return {name: method.named_layers() for name, method in methods.items()}

    def unknown_layers(self, count: int) -> list[tuple[str, str]]:
        """(key, what is wrong) for each layer named beyond the `count` of a model."""
        return [
            (f"suppress.{name}.method", f"no layer {layer}: this model has layers 0 to {count - 1}")
            for name, layers in self.named_layers().items()
            for layer in layers
            if not 0 <= layer < count
        ]

    @field_validator("suppress")
    @classmethod
    def _teachers_have_names_of_their_own(cls, suppress: dict[str, Suppress]) -> dict[str, Suppress]:
        if taken := [name for name in suppress if name in UNSUPPRESSED]:
            raise ValueError(f"'{taken[0]}' names a model that is not suppressed; give the teacher another name")
        return suppress

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("seeds must differ from each other")
        return seeds
