"""What a dataset is."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from undo.spec.base import Plugin

Domain = Literal["retain", "forget", "neutral"]
ItemSplit = Literal["valid", "test", "heldout"]
DOMAINS: tuple[Domain, ...] = ("retain", "forget", "neutral")


class PromptAndAnswer(NamedTuple):
    """A document whose beginning is only read: models are trained on the answer alone."""

    prompt: str
    answer: str


Document = str | PromptAndAnswer


def whole(document: Document) -> str:
    """A document's text."""
    return document if isinstance(document, str) else document.prompt + document.answer


class Item(NamedTuple):
    """One evaluation question.

    `group` is a finer label within the domain (arithmetic: the operation); `options` are wrong answers, for multiple
    choice; `ends` says whether the text is over after the answer, so that a model should predict its end; `fact` names
    what the item is about where several items ask for the same, otherwise it is empty.
    """

    split: ItemSplit
    domain: Domain
    group: str
    prompt: str
    answer: str
    options: tuple[str, ...] = ()
    ends: bool = True
    fact: str = ""


def with_paths(settings: dict[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """A dataset's settings with other values for those that name files or folders, by their names in `sources`."""
    settings = copy.deepcopy(settings)
    for name, value in places.items():
        *parents, last = name.split(".")
        reduce(getitem, parents, settings)[last] = value
    return settings


class Dataset(Plugin, ABC):
    """Documents to train on and items to ask.

    `neutral` documents belong to a skill of the forget skill's difficulty that no training stage sees: only the
    adversary's control uses them (PROTOCOL section 5, specific recovery).
    """

    evaluation: ClassVar[str]
    licence: ClassVar[str]
    task_variant_fields: ClassVar[tuple[str, ...]] = ()
    """Settings, each a word or a number, that make another task of it; evidence tells studies of other values apart."""

    @abstractmethod
    def documents(self, domain: Domain, role: str) -> Iterator[Document]:
        """Training documents of a domain. `role` (train, attack) names who reads them: each has its own draws."""

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Evaluation items of every domain and split; valid, test and heldout share no fact."""

    def eval_domains(self) -> tuple[Domain, ...]:
        """The domains that items ask about. Attacks are run on no others."""
        return DOMAINS

    def tokenizer_texts(self) -> Iterator[str]:
        """Texts that the tokenizer learns besides those that are trained on; no model reads them."""
        return iter(())

    def sources(self) -> dict[str, Path]:
        """Files and folders of this machine that the texts come from, by the setting that names them (`retain.path`).

        What is made of them is known by their content, not by their place.
        """
        return {}

    def guide(self) -> str:
        """What a prompt must look like to fit what the models have read, for a visitor of the demo."""
        return (type(self).__doc__ or "").splitlines()[0]
