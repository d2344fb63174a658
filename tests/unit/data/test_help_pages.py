"""Korean: the help's pages as text, and the language dataset on them."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes import SOURCES
from undo.data.datasets.language import Language
from undo.data.help_pages import help_pages
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.stages import Context
from undo.stages.data import run
from undo.study.plan import Stage, make_plan

INSTALLED = Language(name="language").folder
PAGE = """<html><head><title>A title that is no part of the content</title></head><body>
<p>A menu that is no part of the content</p><div id="DisplayArea"><h1 id="x">{0} first
heading of this page</h1><p>{0} paragraph with <span class="MAC">Command and <span>more</span></span><span>Ctrl</span>
held down.</p><p>short</p><table><tr><td><p>{1}</p></td></tr></table><p>The same line stands on every page.</p>
</div><div id="SearchFrame"></div><p>A footer that is no part of the content</p></body></html>"""


def write(folder: Path, pages: int) -> str:
    for number in range(pages):
        texts = {
            "en-US": PAGE.format(f"English {number}", f"A cell of table number {number} says more."),
            "ko": PAGE.format(
                f"한국어로 쓰인 {number} 번째 글입니다 그리고",
                f"표의 {number} 번째 칸은 LibreOffice 글을 담고 있습니다.",
            ),
        }
        for language, text in texts.items():
            path = folder / language / "text" / "some" / f"{number}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return str(folder)


def korean(folder: str, **knobs) -> Language:
    return Language(name="language", pair="english-korean", folder=folder, test_items=9999, valid_items=9999, **knobs)


def test_a_page_is_its_content_without_repeated_short_and_untranslated_lines(tmp_path):
    first, second = help_pages(write(tmp_path, 2))
    assert first.key == "some/0.html"
    assert first.english == [
        "English 0 first heading of this page",
        "English 0 paragraph with Ctrl held down.",
        "A cell of table number 0 says more.",
        "The same line stands on every page.",
    ]
    assert second.english[-1] == "A cell of table number 1 says more."
    assert second.other == ["표의 1 번째 칸은 LibreOffice 글을 담고 있습니다."]


def test_pages_that_one_language_lacks_are_left_out(tmp_path):
    folder = write(tmp_path, 3)
    (tmp_path / "en-US/text/some/1.html").unlink()
    assert [page.key for page in help_pages(folder)] == ["some/0.html", "some/2.html"]


def test_the_commands_are_named_where_the_help_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"apt-get download .*dpkg-deb -x") as raised:
        list(korean(str(tmp_path)).documents("forget", "train"))
    assert "\n" not in str(raised.value)


def test_the_korean_study_ends_at_once_where_the_help_is_missing(tmp_path):
    """Clearly: one line with the commands, and exit code 2."""
    command = [sys.executable, "-m", "undo", "run", SOURCES["language_korean"], "data.dataset.folder=nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no LibreOffice help in 'nowhere'; run apt-get download libreoffice-help-en-us" in error


def test_the_help_is_known_by_its_content_and_not_by_its_place(tmp_path):
    """Two machines that unpacked the same packages elsewhere share their artifacts, and a record names no place."""
    one, other = (write(tmp_path / name, 3) for name in ("one", "other"))
    stages = [corpus_stage(one), corpus_stage(other)]
    assert stages[0].id == stages[1].id and str(tmp_path) not in stages[0].settings.model_dump_json()
    assert {name: Path(path) for name, path in stages[1].external_inputs.items()} == {"folder": Path(other)}
    (Path(other) / "ko/text/some/1.html").write_text("another page", encoding="utf-8")
    assert corpus_stage(other).id != stages[0].id


def test_the_corpus_is_made_of_the_pages_that_the_plan_knew(tmp_path):
    stage = corpus_stage(write(tmp_path / "help", 60))
    context = Context(
        tmp_path / "corpus", {name: Path(path) for name, path in stage.external_inputs.items()}, print, 1e9
    )
    context.folder.mkdir()
    assert run(stage.settings, context).evals["tokens"]["forget/train"] > 0


def corpus_stage(folder: str) -> Stage:
    plan = make_plan(load_recipe(SOURCES["language_korean"], [f"data.dataset.folder={folder}"]))
    return next(stage for stage in plan.stages.values() if stage.kind == "data")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return korean(write(tmp_path_factory.mktemp("help"), 300))


def test_pages_are_split_alike_in_both_languages(dataset):
    numbers = {
        (domain, role): {"".join(filter(str.isdigit, text)) for text in dataset.documents(domain, role)} - {""}
        for domain, role in itertools.product(("retain", "forget", "neutral"), ("train", "attack"))
    }
    for role in ("train", "attack"):
        assert numbers["retain", role] == numbers["forget", role]
    assert numbers["forget", "attack"] == numbers["neutral", "attack"]
    assert numbers["forget", "train"].isdisjoint(numbers["forget", "attack"])


def test_latin_letters_keep_their_place_in_the_neutral_language(dataset):
    forget, neutral = (list(dataset.documents(domain, "attack")) for domain in ("forget", "neutral"))
    assert all("LibreOffice" in text for text in neutral) and set(forget).isdisjoint(neutral)
    pairs = {pair for texts in zip(forget, neutral, strict=True) for pair in zip(*texts, strict=True)}
    assert len(pairs) == len(dict(pairs)) == len(set(dict(pairs).values()))


def test_groups_name_the_language(dataset):
    assert {item.group for item in dataset.items()} == {"english", "korean", "permuted korean"}


@pytest.mark.skipif(not (Path(INSTALLED) / "ko").is_dir(), reason="LibreOffice's help is not installed")
def test_the_installed_help_has_text_enough():
    pages = help_pages(INSTALLED)
    assert len(pages) > 2000 and sum(len(page.other) for page in pages) > 8000
