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
    """The optimiser and its learning-rate schedule."""

    optimizer: Optimizer = "adamw"
    """The optimiser: AdamW, or Muon, which orthogonalises the momentum of matrices and leaves embeddings, head and
    vectors to AdamW."""

    learning_rate: float = Field(gt=0)
    """Peak learning rate, reached after warm-up."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Shape of the learning rate after warm-up: constant, or a cosine that falls to `final_share` of the peak at the
    last step."""
    final_share: float = Field(0.1, ge=0, le=1)
    """Learning rate at the end of a cosine, as a share of the peak from 0 to 1 (paper: 0.1)."""
    warmup_steps: int = Field(1, ge=0)
    """Steps over which the learning rate rises linearly to its peak."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices; biases and norm gains are never decayed."""
    betas: tuple[DecayRate, DecayRate] = (0.9, 0.95)
    """AdamW's decay rates of the first and second moment, each from 0 to below 1; a second one of 0.95 is usual for
    language models."""
    clip: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm, taken over all parameters, when they exceed it."""
    micro_batches: int = Field(1, ge=1)
    """Number of parts that a step's rows are computed in, one after another, to save memory; the result is that of
    the whole step."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them: slower, but larger models fit into memory."""

    @model_validator(mode="after")
    def _only_a_cosine_ends(self) -> "Optim":
        if self.schedule == "constant" and self.final_share != type(self).model_fields["final_share"].default:
            raise ValueError("final_share does nothing without `schedule: cosine`; leave it out")
        return self


class Data(Spec):
    """The dataset, its tokenizer, and how texts are packed into rows."""

    dataset: Annotated[SerializeAsAny[Plugin], PluginOf("datasets")]
    """The dataset: its name, or a mapping with `name` and its settings."""
    vocab_size: int | None = Field(512, ge=259)
    """Largest vocabulary of the byte-level BPE tokenizer that the study trains, in tokens (256 bytes, padding, end,
    merges); null with a pretrained model, which has its own tokenizer."""
    row_tokens: int = Field(64, ge=8)
    """Tokens per packed row, which is the context length of the models."""
    forget_share: float = Field(0.5, gt=0, lt=1)
    """Share of forget rows where both kinds are mixed, in the base's pretraining and in distillation, above 0 and
    below 1; at least one row of a step."""


class Model(Spec):
    """Shape of the models that the study trains (Llama with tied embeddings)."""

    width: int = Field(64, ge=8)
    """Width of the residual stream; a multiple of twice the heads."""
    layers: int = Field(3, ge=1)
    """Number of decoder layers."""
    heads: int = Field(4, ge=1)
    """Number of attention heads per layer."""
    mlp_width: int = Field(192, ge=8)
    """Number of hidden units of each layer's gated MLP."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Model":
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of 2 x heads = {2 * self.heads} (rotary pairs)")
        return self


class Pretrained(Spec):
    """A model that somebody else trained, used as the base in place of one that the study trains; there is no oracle
    then."""

    path: str = Field(min_length=1)
    """A folder as transformers saves it (configuration, safetensors, tokenizer), or the name of a model in the hub's
    cache."""
    revision: str | None = None
    """Branch, tag or commit of a model named on the hub; null for its default branch."""
    adapter: str | None = Field(None, min_length=1)
    """A folder with a PEFT adapter of this model, which is merged into its weights."""


class Audit(Spec):
    """A certificate for the given model, or for the teachers and students that the study makes of it.

    The models to compare it with must have its tokenizer.
    """

    suite: str
    """Name of the suite of attacks, and how it was changed; printed on the certificate."""
    oracle: Pretrained | None = None
    """A model that never knew what is to be forgotten: it is attacked too, which shows how much an attack teaches
    anew."""
    before: Pretrained | None = None
    """The model before unlearning, which shows how much there was to recover and is not attacked; left out when the
    study makes teachers or students, whose base it is."""


class Pretrain(Spec):
    """Training of the base (retain and forget data) and of the oracle (retain data alone)."""

    base_steps: int = Field(ge=1)
    """Training steps of the base."""
    oracle_steps: int = Field(ge=1)
    """Training steps of the oracle."""
    batch_rows: int = Field(32, ge=2, multiple_of=2)
    """Rows per step, an even number; `data.forget_share` of the base's are forget rows."""
    optim: Optim


class Suppress(Spec):
    """An unlearning method applied to the base; the result is called a teacher."""

    method: Annotated[SerializeAsAny[Plugin], PluginOf("methods")]
    """The unlearning method: its name, or a mapping with `name` and its settings."""
    start: Literal["base", "initial"] = "base"
    """Weights that the method starts at: the base's, or the base's initial ones for methods that work during
    pretraining (gradient routing)."""
    steps: int = Field(ge=1)
    """Training steps of the method."""
    max_signal: float | None = Field(None, gt=0, lt=1)
    """Repeat `steps` until the teacher's forget signal (log-probability of the right forget token above the
    vocabulary's mean) is at most this share of the base's, above 0 and below 1; null runs `steps` once."""
    max_steps: int | None = Field(None, ge=1)
    """Upper limit of steps with `max_signal`; the study ends if the teacher's signal is still too large then."""
    batch_rows: int = Field(16, ge=1)
    """Retain rows per step; there are as many forget rows."""
    label_share: float = Field(1.0, gt=0, le=1)
    """Share of each domain's training rows that are labelled, above 0 up to 1; the method sees no others (claim C6)."""
    retain_label_share: float | None = Field(None, gt=0, le=1)
    """Share of the retain rows that are labelled, if it differs from `label_share`: text to keep is often plentiful
    when forget text is rare."""
    label_precision: float = Field(1.0, gt=0, le=1)
    """Share of the rows labelled forget that are forget rows, above 0 up to 1; the rest are mislabelled retain rows."""
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
    """When distillation ends."""

    max_gap: float = Field(0.05, ge=0, le=1)
    """Stop once the student's retain score on validation is this close to the teacher's: points of an accuracy (0.05
    is 5 points, as in the paper), or a share of the teacher's loss."""
    check_every: int = Field(25, ge=1)
    """Steps between two evaluations on the validation split."""
    max_steps: int = Field(ge=1)
    """Upper limit of steps, for students that never come that close."""


def taught_steps(text_share: float, steps: int) -> int:
    """The steps that a student hears its teacher before it reads plain text."""
    return round((1 - text_share) * steps)


class Student(Spec):
    """One kind of student and the teachers that it is distilled from."""

    init: StudentInit
    """Initial weights of the student: fresh (drawn from its own seed), base_init (those that the base started at),
    noised (the teacher's or the base's with noise), or teacher (the teacher's own)."""
    teachers: tuple[str, ...] = Field(min_length=1)
    """Names under `suppress`, one student each; as controls also `base` (nothing suppressed) and `oracle`."""
    with_teachers: tuple[str, ...] = ()
    """Names of further teachers: the student learns the mean of their distributions and its teacher's (an ensemble)."""
    stream: Stream | None = None
    """Rows to distil on, if they differ from `distil.stream`."""
    steps: int | None = Field(None, ge=0)
    """Train for exactly this many steps instead of applying the stop rule; 0 evaluates the student's initial weights
    (noise alone)."""
    batch_rows: int | None = Field(None, ge=2, multiple_of=2)
    """Rows per step, an even number, if it differs from `distil.batch_rows`."""
    optim: Optim | None = None
    """The optimiser, if it differs from `distil.optim`."""
    temperature: float = Field(1.0, gt=0)
    """Temperature that softens both distributions; the divergence is multiplied by its square (arXiv 1503.02531)."""
    top_k: int | None = Field(None, ge=1)
    """Learn only this many of the teacher's most likely tokens per position, with one bucket for all others; null
    learns what `distil.teacher_cache` keeps, or else the whole distribution."""
    filter_share: float | None = Field(None, gt=0, le=1)
    """Train on plain text without the teacher's distributions, on this share of the stream, above 0 up to 1: the
    rows that the teacher finds likeliest (data filtering). 1 on the retain stream is plain retraining."""
    text_share: float | None = Field(None, gt=0, lt=1)
    """Share of `steps`, the last ones, that train on the retain rows as plain text after distillation, above 0 and
    below 1."""
    noise_alpha: tuple[float, ...] = ()
    """Strengths of the noise from 0 (none) to 1 (all noise), one student each; only with `init: noised`."""
    noise_parameters: tuple[str, ...] = Field((".*",), min_length=1)
    """Regular expressions for the names of the parameters to noise; all others keep their values."""
    noise_from: Literal["teacher", "base"] = "teacher"
    """Whose weights are noised: the teacher's, or the base's, which with alpha 0 tests whether matching an oracle is
    enough (claim C1)."""
    noise_beta: float = Field(0.1, ge=0)
    """Scale of the noise added to matrices (paper: 0.1 on arithmetic)."""
    noise_rule: NoiseRule = "initial"
    """What the weights are mixed with: initial (matrices with noise, vectors with their initial value; ours), paper
    (the same with 0 for vectors), reinit (everything with a fresh draw of the initial weights)."""

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

    It pays where rows are read several times: over several epochs, or by several students. Ensembles of teachers do
    not use it.
    """

    top_k: int | None = Field(None, ge=1)
    """Most likely tokens to keep per position, with one bucket for the rest; null keeps the hidden states, which is
    exact."""


class Distil(Spec):
    """Distillation: students minimise the forward KL divergence from their teacher on unlabelled rows until the stop
    rule holds."""

    students: tuple[Student, ...] = ()
    """The kinds of students to make."""
    stream: Stream = "mixed"
    """Rows to distil on: mixed (retain and forget rows, by `data.forget_share`; paper) or retain alone."""
    batch_rows: int = Field(32, ge=2, multiple_of=2)
    """Rows per step, an even number."""
    teacher_cache: TeacherCache | None = None
    """Keep the teacher's predictions on disk; null computes them anew at every step."""
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
    """The attack: its name, or a mapping with `name` and its settings."""
    skills: tuple[Skill, ...] = ("forget",)
    """Skills that the attack tries to bring back: forget, and as a control neutral, a skill that no model was
    trained on."""


class Benchmarks(Spec):
    """Tasks of the LM Evaluation Harness (lm-eval), run on every model before any attack."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of tasks or groups of lm-eval, such as wmdp_bio or mmlu."""
    folder: str | None = Field(None, min_length=1)
    """A folder with tasks of your own (lm-eval's YAML files and their items); relative paths in them start at this
    folder."""
    limit: int | None = Field(None, ge=1)
    """Items per task, counted from the first; null for all."""
    batch_rows: int = Field(16, ge=1)
    """Rows per forward pass."""


def _contradiction(key: str, hint: str) -> PydanticCustomError:
    """What no field alone can know: the key that it is about, and what is wrong."""
    return PydanticCustomError("reference", "{hint}", {"hint": hint, "key": key})


class Recipe(Spec):
    """A study."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the study, with which its folder's name begins: lower-case letters, digits, `_` and `-`."""
    summary: str
    """One line that says what the study is about."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Seeds of initial weights, data order and noise; the whole study is repeated for each."""
    data: Data
    """The dataset, its tokenizer, and how texts are packed into rows."""
    pretrained: Pretrained | None = None
    """A model that somebody else trained, to use as the base; leave out `model`, `pretrain` and `data.vocab_size`
    then."""
    model: Model | None = None
    """Shape of the models that the study trains itself."""
    pretrain: Pretrain | None = None
    """How base and oracle are trained."""
    audit: Audit | None = None
    """Keep the score of every item under attack and write a certificate, for a given model or for what the study
    makes of it."""
    suppress: dict[str, Suppress] = Field({})
    """Teachers by a name of your choice; may be empty if students learn from the base, or if a given model is
    audited as it is."""
    distil: Distil | None = None
    """How students are made; null makes none."""
    attacks: dict[str, Attack] = Field({})
    """Attacks by a name of your choice, each run against base, oracle, teachers and students; empty for a search,
    which is judged on validation."""
    benchmarks: Benchmarks | None = None
    """Tasks of the package lm-eval that every model is evaluated on."""
    eval_split: Literal["test", "valid"] = "test"
    """The split that scores and curves are computed on: test, or valid in pilots, so that the test split stays
    untouched."""
    checkpoint_seconds: float = Field(15.0, ge=0)
    """Seconds between two checkpoints, which is the most work that a kill can lose; results do not depend on it."""

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
