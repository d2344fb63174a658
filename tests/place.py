"""Texts and models to audit and to robustify: a model that knows, ones that do not, and ones that hide it."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

from tests import planted
from undo import data, models
from undo.cli.main import main

PASSWORD = "6 * 7 * 8 "


class Place(NamedTuple):
    """A folder with texts and models: before, oracle, other-oracle, and what is hidden behind what."""

    folder: Path

    def __getattr__(self, name: str) -> str:
        found = self.folder / name.replace("_", "-")
        return str(found if found.is_dir() else found.with_suffix(".txt"))


def make_place(corpus, folder: Path) -> Place:
    """Writes texts and models into a folder."""
    for domain in ("forget", "retain"):
        texts = dict.fromkeys(corpus.texts(domain, "attack") + corpus.texts(domain, "train"))
        (folder / f"{domain}.txt").write_text("\n".join(texts))
    before = pretrained(corpus, ["retain", "forget"], 1, folder)
    made = {
        "before": before,
        "oracle": pretrained(corpus, ["retain"], 1, folder),
        "other-oracle": pretrained(corpus, ["retain"], 11, folder),
        "model": planted.behind_a_logit_bias(before, corpus, 20.0),
        "adapter": planted.behind_a_merged_adapter(before, corpus, 60, 1e-2, folder / "checkpoint"),
        "guard": planted.behind_a_prompt_guard(before, corpus, PASSWORD, 120, 1e-2, folder / "checkpoint"),
    }
    for name, model in made.items():
        models.save_model(model, corpus.tokenizer, folder / name)
    return Place(folder)


def pretrained(corpus, domains, seed, folder):
    model = models.build_llama(
        width=16, layers=2, heads=2, mlp_width=32, row_tokens=64, tokenizer=corpus.tokenizer, seed=seed
    )
    batches = data.domain_batches(corpus, domains, "train", 16, seed=5)
    return planted.trained_to(model, batches, planted.plain_next_token, 240, 1e-2, folder / "checkpoint")


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def undo(place: Place, *arguments: str) -> Done:
    """The command as if typed in the place's folder. It runs in this process, which has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(place.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())
