"""ONE FILE PER ATTACK. An attack yields variants; the worst case over them is its result.

Every attack is the same procedure with some parts changed: take the model (`wrap`), train it or not (`Training`), ask
the test questions (`questions`). A new attack is a new file with one class that changes what it has to.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import Field, model_validator

from undo import data
from undo.spec.base import Plugin
from undo.spec.recipe import Optim, Optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from undo.data.batches import Batch
    from undo.data.corpus import Corpus
    from undo.data.dataset import Item

Rate = Annotated[float, Field(gt=0)]
LearningRates = Annotated[tuple[Rate, ...], Field(min_length=1)]
Depth = Annotated[float, Field(gt=0, le=1)]


class AdversaryContext(NamedTuple):
    """What an adversary has besides the model: texts, the skill that it is after (forget, neutral), and a seed."""

    corpus: Corpus
    skill: Any
    seed: int


class Attack(Plugin, ABC):
    """An adversary. As it stands here it asks the model itself the usual questions."""

    axes: ClassVar[dict[str, str]] = {}
    """Knobs that hold several settings, with the name of one: a variant per combination."""
    starts_at_model: ClassVar[bool] = False
    """Whether step 0 is the model itself, asked the usual questions: that point is known from its evaluation."""
    leaves_model: ClassVar[bool] = False
    """Whether the attack is an addition that can be left off (a prompt, a read-out): it costs nothing elsewhere."""
    needs_control: ClassVar[bool] = False
    """Whether it may bring out of any model what that never knew: without a control it decides no verdict."""

    def variants(self) -> list[Self]:
        """Copies of the attack that hold one setting of each axis; the worst case over them is the attack's result."""
        settings = product(*(getattr(self, knob) for knob in self.axes))
        return [
            self.model_copy(update={knob: (value,) for knob, value in zip(self.axes, values, strict=True)})
            for values in settings
        ]

    def label(self) -> dict[str, Any]:
        """What tells a variant from its siblings, as a JSON object."""
        return {name: getattr(self, knob)[0] for knob, name in self.axes.items()}

    def extra_tokens(self) -> int:
        """How many tokens it puts before every row; plans refuse rows that they leave no room for."""
        return 0

    def wrap(self, model: PreTrainedModel, adversary: AdversaryContext) -> PreTrainedModel:
        """The model that is attacked: this one, or a changed copy. The weights of the given one stay as they are."""
        return model

    def questions(self, items: list[Item], adversary: AdversaryContext) -> list[Item]:
        """What is asked in place of the usual test items: changed ones, or a part of them in their order."""
        return items


class Training(Attack, ABC):
    """An adversary that trains: constant rate after one warm-up step, clip 1.0, no weight decay."""

    axes: ClassVar[dict[str, str]] = {"learning_rates": "learning_rate"}

    steps: int = Field(ge=1)
    """Training steps of the attack."""
    batch_rows: int = Field(8, ge=1)
    """Rows per step."""
    eval_steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    """Steps after which the attacked model is evaluated; step 0 is always among them."""
    learning_rates: LearningRates
    """Learning rates, one variant of the attack each (paper: 1e-3 to 1e-6); small models need larger rates."""
    optimizer: Optimizer = "adamw"
    """Optimiser that `learning_rates` belong to."""
    muon_learning_rates: tuple[Rate, ...] = ()
    """Learning rates of further variants that train with Muon: a model that resists one optimiser need not resist
    another."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them: slower, but larger models fit into memory."""

    @model_validator(mode="after")
    def _steps_reach_evaluations(self) -> Self:
        last = max(self.eval_steps)
        if last > self.steps:
            raise ValueError(f"eval_steps go to {last}, but the attack ends after {self.steps} steps")
        if last < self.steps:  # nobody would see what the further steps bring
            asked = f"add {self.steps} to eval_steps, and steps on the way"
            raise ValueError(f"the attack runs for {self.steps} steps, but is last asked after {last}; {asked}")
        return self

    def variants(self) -> list[Self]:
        """One per combination of settings: those of `optimizer`, then Muon's at its own rates."""
        usual = self.model_copy(update={"muon_learning_rates": ()})
        with_muon = {"optimizer": "muon", "learning_rates": self.muon_learning_rates}
        muon = usual.model_copy(update=with_muon)
        return [*Attack.variants(usual), *(Attack.variants(muon) if self.muon_learning_rates else [])]  # type: ignore[list-item]

    def label(self) -> dict[str, Any]:
        """Its optimiser stands beside the rate."""
        return {"optimizer": self.optimizer, **super().label()}

    def optim(self) -> Optim:
        """The optimiser of a variant: the published adversary's at its rate, AdamW unless the variant is Muon's."""
        published = {"warmup_steps": 1, "betas": (0.9, 0.999), "gradient_checkpointing": self.gradient_checkpointing}
        return Optim.model_validate({"optimizer": self.optimizer, "learning_rate": self.learning_rates[0], **published})

    def batches(self, adversary: AdversaryContext) -> Callable[[int], Batch]:
        """What it trains on, by step: the adversary's own draws of the skill."""
        return data.adversary_batches(adversary.corpus, adversary.skill, self.batch_rows, adversary.seed)

    def trainable(self, model: PreTrainedModel) -> set[str]:
        """Names of the parameters that move; all of them by default."""
        return {name for name, _ in model.named_parameters()}
