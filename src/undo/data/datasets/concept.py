"""A concept spread over ordinary text: Bible verses that mention water are forgotten, all others are kept.

The hard case of arXiv 2506.06278 (its "tree stories"): forget and retain text share their language, style and most
words, so that suppression finds no border between them. `overlap` blurs it further.
"""

import random
import re
from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from undo.data.dataset import DOMAINS, Dataset, Domain, Item, ItemSplit
from undo.data.shares import Shares, Split
from undo.data.texts import english_verses
from undo.spec.keys import derive_seed

WATER = (
    "water waters sea seas river rivers rain rains flood floods fountain fountains spring springs lake pool pools "
    "brook brooks stream streams waves dew cistern cisterns"
)
LIVESTOCK = (
    "sheep lamb lambs flock flocks ram rams goat goats cattle ox oxen bull bulls calf calves cow cows heifer "
    "herd herds donkey donkeys colt camel camels livestock horse horses"
)
CONTEXT = 20  # characters before a word that is asked for; with fewer there is nothing to guess it from


class Concept(Dataset):
    """Retain verses without a concept's words, forget those with one; neutral another concept's, which nobody reads.

    Items ask for a word, given the verse up to it: one of the concept's, or any word of a retain verse.
    """

    evaluation: ClassVar[str] = "cross_entropy"
    licence: ClassVar[str] = "World English Bible: public domain"
    task_variant_fields: ClassVar[tuple[str, ...]] = ("overlap",)

    words: tuple[str, ...] = Field(default=tuple(WATER.split()), min_length=1)
    """Words of the concept to forget: every verse with one of them, in any case, is a forget text (1,229 by
    default)."""
    neutral_words: tuple[str, ...] = Field(default=tuple(LIVESTOCK.split()), min_length=1)
    """Words of a concept of about the same frequency (1,135 verses) that is kept out of all training, for the
    control."""
    overlap: float = Field(0.0, ge=0, le=1)
    """Share of the concept's training verses, from 0 to 1, that are retain texts too."""
    shares: Shares = Shares(attack=0.15, valid=0.08, test=0.22)
    """Shares of the verses that the adversary, validation and test get; larger than for whole languages, since the
    concept has few verses."""
    test_items: int = Field(400, ge=1)
    """Largest number of items per domain on the test split."""
    valid_items: int = Field(100, ge=1)
    """Largest number of items per domain on the validation split."""
    data_seed: int = 0
    """Seed of the split, the overlap and the retain items; the same for all seeds of a study."""

    @model_validator(mode="after")
    def _disjoint(self) -> Self:
        both = sorted(set(map(str.lower, self.words)) & set(map(str.lower, self.neutral_words)))
        if both:
            raise ValueError(f"'{both[0]}' stands in both words and neutral_words")
        return self

    def documents(self, domain: Domain, role: Split) -> Iterator[str]:  # type: ignore[override]
        """The verses that belong to the role, in a fixed random order."""
        verses = self._verses()
        mine = [verse for verse in verses[domain] if self.shares.split(self.data_seed, verse) == role]
        if domain == "retain" and role == "train":
            shared = [v for v in verses["forget"] if self.shares.split(self.data_seed, v) == role and self._stays(v)]
            mine += shared
        random.Random(derive_seed(self.data_seed, "order", domain)).shuffle(mine)
        yield from mine

    def items(self) -> Iterator[Item]:
        """A word to predict in each verse, with at least 20 characters before it; no two prompts are the same."""
        limits: dict[ItemSplit, int] = {"valid": self.valid_items, "test": self.test_items}
        verses, prompts = self._verses(), set()
        for domain in DOMAINS:
            for split, limit in limits.items():
                mine = [verse for verse in verses[domain] if self.shares.split(self.data_seed, verse) == split]
                random.Random(derive_seed(self.data_seed, "items", domain)).shuffle(mine)
                asked = {verse[: place[0]]: (verse, *place) for verse in mine if (place := self._place(domain, verse))}
                new = [asked[prompt] for prompt in asked if prompt not in prompts]
                prompts.update(asked)
                for verse, start, end in new[:limit]:
                    yield Item(split, domain, self._group(domain), verse[:start], verse[start:end], ends=False)

    def tokenizer_texts(self) -> Iterator[str]:
        """The neutral concept's words take as few tokens as the forgotten one's."""
        yield from self.documents("neutral", "train")

    def guide(self) -> str:
        """The texts and the concept's first words."""
        words = ", ".join(self.words[:6])
        return (
            f"The beginning of an English Bible verse. Forgotten: verses with words such as {words}. Kept: the others."
        )

    def _group(self, domain: Domain) -> str:
        return {"retain": "any word", "forget": self.words[0], "neutral": self.neutral_words[0]}[domain]

    def _verses(self) -> dict[Domain, list[str]]:
        """Every verse once, in its domain; those with words of both concepts are in none."""
        forget, neutral = _one_of(self.words), _one_of(self.neutral_words)
        domains: dict[tuple[bool, bool], Domain] = {
            (False, False): "retain",
            (True, False): "forget",
            (False, True): "neutral",
        }
        verses: dict[Domain, list[str]] = {domain: [] for domain in DOMAINS}
        for verse in filter(None, dict.fromkeys(english_verses())):
            domain = domains.get((bool(forget.search(verse)), bool(neutral.search(verse))))
            if domain is not None:
                verses[domain].append(verse)
        return verses

    def _stays(self, verse: str) -> bool:
        return random.Random(derive_seed(self.data_seed, "overlap", verse)).random() < self.overlap

    def _place(self, domain: Domain, verse: str) -> tuple[int, int] | None:
        """Where the asked word stands, with the space before it: the concept's last one, or any of a retain verse."""
        words = {"retain": re.compile(r"\b[A-Za-z]{3,}\b"), "forget": _one_of(self.words)}
        found = words.get(domain, _one_of(self.neutral_words)).finditer(verse)
        places = [(m.start() - 1, m.end()) for m in found if m.start() > CONTEXT and verse[m.start() - 1] == " "]
        if not places:
            return None
        last = len(places) - 1
        chance = random.Random(derive_seed(self.data_seed, "word", verse))
        return places[chance.randint(0, last) if domain == "retain" else last]


def _one_of(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE)
