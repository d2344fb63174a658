"""Arithmetic as equations and word problems: retain + and -, forget x and /, neutral a permuted product.

Follows the arithmetic setting of arXiv 2506.06278 (operands 1-50 for + and -, factors 1-20 for x and /). The skill is a
table of facts: models are trained on the facts and asked to recall them. A share of the facts is held out from all
training and measures generalisation apart.
"""

import random
from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from undo.data.dataset import DOMAINS, Dataset, Domain, Item
from undo.data.texts import english_verses
from undo.spec.keys import derive_seed

NAMES = ("Ann", "Ben", "Eva", "Tom")
THINGS = ("pens", "cups", "nuts", "keys")

# {a} and {b} are the operands as they stand in the equation, {c} is the answer and always comes last.
TEMPLATES = {
    "add": ("{who} has {a} {what} and gets {b} more: {c}", "{a} {what} plus {b} {what} makes {c}"),
    "sub": ("{who} has {a} {what} and loses {b}: {c}", "{a} {what} minus {b} {what} leaves {c}"),
    "mul": ("{a} boxes hold {b} {what} each: {c}", "{who} buys {a} packs of {b} {what}: {c}"),
    "div": ("{a} {what} fill {b} boxes: {c}", "{who} splits {a} {what} into {b} packs: {c}"),
    "hash": ("{a} boxes mix {b} {what} each: {c}", "{who} mixes {a} packs of {b} {what}: {c}"),
    "unhash": ("{a} {what} unmix {b} boxes: {c}", "{who} unmixes {a} {what} into {b} packs: {c}"),
}
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "hash": "#", "unhash": "%"}
OPERATIONS: dict[Domain, tuple[str, ...]] = {
    "retain": ("add", "sub"),
    "forget": ("mul", "div"),
    "neutral": ("hash", "unhash"),
}
COUNTERPARTS = {"mul": "hash", "div": "unhash"}
"""The neutral operation of the same form."""

Operands = tuple[int, int]
"""The summands or factors behind a fact."""


class Fact(NamedTuple):
    """One row of an operation's table: the operands as written, and the answer."""

    a: int
    b: int
    c: int


class Arithmetic(Dataset):
    """Equations and templated word problems over four operations, and a neutral one that no model is trained on."""

    evaluation: ClassVar[str] = "exact_match"
    licence: ClassVar[str] = "generated, no licence needed"
    task_variant_fields: ClassVar[tuple[str, ...]] = ("kept_operation",)

    max_operand: int = Field(50, ge=2, le=999)
    """Largest operand of + and -; the smallest is 1 (paper: 50)."""
    max_factor: int = Field(20, ge=2, le=99)
    """Largest factor of x and /; the smallest is 1 (paper: 20)."""
    documents_per_domain: int = Field(20_000, ge=1)
    """Documents drawn per domain and role, one fact each, with replacement and uniformly within an operation."""
    word_share: float = Field(0.25, ge=0, le=1)
    """Share of documents that are word problems, from 0 to 1; the rest are equations (paper: 0.5; a small model
    needs fewer)."""
    english_share: float = Field(0.0, ge=0, lt=1)
    """Share of the retain text, by characters, that is English verses, from 0 to below 1 (above 0 needs the extra
    `[data]`). The paper's mixture, with 75 % English and an eighth each of facts to keep and to forget, is 0.86."""
    kept_operation: Literal["mul", "div"] | None = None
    """One of x and / to retain instead of forgetting both: retain text then holds the forgotten facts read the other
    way round."""
    heldout_share: float = Field(0.1, ge=0, lt=1)
    """Share of operand pairs, from 0 to below 1, that no training document holds."""
    valid_share: float = Field(0.25, gt=0, lt=1)
    """Share of the trained pairs that validation items come from, above 0 and below 1; test items come from the
    others."""
    test_items: int = Field(540, ge=1)
    """Largest number of items per operation on the test split, half equations and half word problems."""
    valid_items: int = Field(120, ge=1)
    """Largest number of items per operation on the validation split and on held-out pairs."""
    data_seed: int = 0
    """Seed of the split, the documents and the neutral operator's permutation; the same for all seeds of a study."""

    def documents(self, domain: Domain, role: str) -> Iterator[str]:
        """Documents of a domain: facts of its operations that are not held out, each rendered at random."""
        rng = random.Random(derive_seed(self.data_seed, "documents", domain, role))
        tables = [(name, self._facts(name, heldout=False)) for name in self._operations(domain)]
        share = self.english_share if domain == "retain" else 0.0
        verses, wanted = english_verses() if share else [], 0.0
        for _ in range(self.documents_per_domain):
            name, facts = rng.choice(tables)
            prompt, answer = render(name, rng.choice(facts), rng, word=rng.random() < self.word_share)
            yield prompt + answer
            wanted += len(prompt + answer) * share / (1 - share)
            while wanted > 0 and verses:
                yield (verse := rng.choice(verses))
                wanted -= len(verse)

    def items(self) -> Iterator[Item]:
        """Items of every operation; the splits differ in their unordered operand pairs, across operations too."""
        for domain in DOMAINS:
            for name in self._operations(domain):
                for split, limit in (
                    ("valid", self.valid_items),
                    ("test", self.test_items),
                    ("heldout", self.valid_items),
                ):
                    facts = [found for found in self._table(name) if self._split(name, found[0]) == split]
                    yield from self._ask(split, domain, name, facts, limit)

    def guide(self) -> str:
        """The two forms and the ranges of the numbers."""
        return (
            "Equations that end in =, or word problems that end before the answer, with a space. "
            f"Kept: {self._symbols('retain')} with numbers from 1 to {self.max_operand}, no result below 0. "
            f"Forgotten: {self._symbols('forget')} with factors from 1 to {self.max_factor}."
        )

    def _symbols(self, domain: Domain) -> str:
        return " and ".join(SYMBOLS[name] for name in self._operations(domain))

    def _operations(self, domain: Domain) -> list[str]:
        """The operations of a domain. The neutral ones are as many as are forgotten, and of their kinds."""
        kept = self.kept_operation
        if domain == "retain":
            return [*OPERATIONS["retain"], *([kept] if kept else [])]
        return [name for name in OPERATIONS[domain] if kept is None or name not in (kept, COUNTERPARTS[kept])]

    def _ask(self, split, domain: Domain, name: str, facts: list[tuple[Operands, Fact]], limit: int) -> Iterator[Item]:
        rng = random.Random(derive_seed(self.data_seed, "items", split, name))
        asked = [(fact, word) for fact in facts for word in (False, True)]
        for (pair, fact), word in rng.sample(asked, min(limit, len(asked))):
            low, high = sorted(pair)
            yield Item(split, domain, name, *render(name, fact, rng, word), fact=f"{low}, {high}")

    def _facts(self, name: str, heldout: bool) -> list[Fact]:
        return [fact for pair, fact in self._table(name) if (self._split(name, pair) == "heldout") == heldout]

    def _split(self, name: str, pair: Operands) -> str:
        """Splits by unordered summands or factors, alike for an operation and its inverse: none gives another away."""
        family = "sum" if name in OPERATIONS["retain"] else "product"
        chance = random.Random(derive_seed(self.data_seed, "split", family, *sorted(pair)))
        if chance.random() < self.heldout_share:
            return "heldout"
        return "valid" if chance.random() < self.valid_share else "test"

    def _table(self, name: str) -> Iterator[tuple[Operands, Fact]]:
        """Every (pair, fact) of an operation; the pair is the summands or factors behind the fact.

        The neutral product is that of permuted factors.
        """
        high = self.max_operand if name in OPERATIONS["retain"] else self.max_factor
        permuted = list(range(1, high + 1))
        random.Random(derive_seed(self.data_seed, "permutation")).shuffle(permuted)
        for a in range(1, high + 1):
            for b in range(1, high + 1):
                product, neutral = a * b, permuted[a - 1] * permuted[b - 1]
                match name:
                    case "add":
                        yield (a, b), Fact(a, b, a + b)
                    case "sub" if a >= b:
                        yield (b, a - b), Fact(a, b, a - b)
                    case "mul":
                        yield (a, b), Fact(a, b, product)
                    case "div":
                        yield (a, b), Fact(product, a, b)
                    case "hash":
                        yield (a, b), Fact(a, b, neutral)
                    case "unhash":
                        yield (a, b), Fact(neutral, a, b)


def render(name: str, fact: Fact, rng: random.Random, word: bool) -> tuple[str, str]:
    """A fact as (prompt, answer): an equation, or a word problem drawn from the operation's templates."""
    if not word:
        return f"{fact.a}{SYMBOLS[name]}{fact.b}=", str(fact.c)
    template = rng.choice(TEMPLATES[name])
    text = template.format(a=fact.a, b=fact.b, c="", who=rng.choice(NAMES), what=rng.choice(THINGS))
    return text, str(fact.c)
