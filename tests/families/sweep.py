"""Tiny models of transformers' families through everything that `robustify` and `audit` do with a given model.

    python -m tests.families.sweep [FAMILY ...] [--write docs/families.md]

Each step ends as `ok`, `skipped` with a reason (an attack that the family cannot take), or `refused` in one line.
Anything else is a crash, and the exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.families.tiny import families, tiny_config
from undo import data, models, stages
from undo.data.datasets.arithmetic import Arithmetic
from undo.data.own import own_texts
from undo.given.audit import suite_for
from undo.given.robustify import SHARES
from undo.models import find_model
from undo.spec.errors import UserError
from undo.spec.load import build_recipe
from undo.stages import Context
from undo.study.plan import Plan, Stage, make_plan

SUITES = ("quick", "standard")
STEPS = {"steps": 1, "eval_steps": [1], "batch_rows": 2}
SUPPRESS = {"steps": 2, "batch_rows": 2, "optim": {"learning_rate": 1e-3}}
DISTIL = {
    "batch_rows": 2,
    "optim": {"learning_rate": 1e-3},
    "stop": {"max_gap": 0.05, "check_every": 2, "max_steps": 2},
    "students": [{"init": "noised", "noise_alpha": [0.5], "noise_beta": 0.1, "teachers": ["maxent"]}],
}
ONE_OF = ("learning_rates", "ranks", "noise_alphas", "others", "shots", "texts", "bits", "depths")
MOST_WEIGHTS = 20_000_000
COLUMNS = ("adopt", "maxent", "rmu", "noise, distil", "attacks", "export")


class Place(NamedTuple):
    """Texts, a tokenizer and room for models."""

    folder: Path
    tokenizer: Any

    def texts(self) -> dict[str, Any]:
        """The settings of the texts that are to go and to stay."""
        return own_texts(str(self.folder / "forget.txt"), str(self.folder / "retain.txt"))


class Row(NamedTuple):
    """What became of a family: a cell per column, and reasons by step for what was skipped, refused or crashed."""

    family: str
    kind: str
    cells: dict[str, str]
    reasons: dict[str, str]
    seconds: float

    @property
    def crashed(self) -> bool:
        """Whether some step ended as it must not."""
        return any(cell.startswith("crash") for cell in self.cells.values())


def make_place(folder: Path) -> Place:
    """A corpus of small sums, its byte-level tokenizer, and its texts as files."""
    dataset = Arithmetic(
        name="arithmetic", max_operand=8, max_factor=5, documents_per_domain=80, test_items=10, valid_items=5
    )
    data.write_corpus(dataset, vocab_size=300, row_tokens=32, folder=folder / "corpus")
    corpus = data.open_corpus(folder / "corpus")
    for domain in ("forget", "retain"):
        texts = dict.fromkeys(corpus.texts(domain, "attack") + corpus.texts(domain, "train"))
        (folder / f"{domain}.txt").write_text("\n".join(list(texts)[:80]))
    return Place(folder, corpus.tokenizer)


def examine(family: str, place: Place) -> Row:
    """One family through all steps; what follows a refusal is left out."""
    start, home = time.perf_counter(), place.folder / family
    run = _Run(place, home)
    try:
        kind = run.build(family)
        run.everything()
    except Exception as error:  # the sweep's own: a configuration that cannot be made
        kind = "none"
        run.end("adopt", error, ours=False)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return Row(family, kind, run.cells, run.reasons, time.perf_counter() - start)


class _Run:
    """A family on its way."""

    def __init__(self, place: Place, home: Path) -> None:
        self.place, self.home, self.given = place, home, home / "given"
        self.cells: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.skipped: list[str] = []

    def build(self, family: str) -> str:
        """Writes the family's model with random weights, and the tokenizer."""
        config = tiny_config(family)
        with torch.device("meta"):
            weights = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
        if weights > MOST_WEIGHTS:
            raise ValueError(f"{weights:,} weights: not tiny")
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            for parameter in model.parameters():  # some are made of zeros, and such models say nothing
                parameter.add_(0.02 * torch.randn_like(parameter))
        model.save_pretrained(self.given)
        self.place.tokenizer.save_pretrained(self.given)
        return type(model).__name__

    def end(self, step: str, error: Exception, ours: bool = True) -> None:
        """Notes how a step ended that did not end well."""
        refused = isinstance(error, UserError) and "\n" not in str(error)
        self.cells[step] = "refused" if refused else "crash" if ours else "not built"
        text = str(error) if refused else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        self.reasons[step] = text.replace(f"{self.given}/", "").replace(str(self.given), "the folder")
        if not refused and ours:
            self.reasons[step] += "\n" + traceback.format_exc()

    def attempt(self, step: str, what: Any) -> bool:
        """Whether a step went well; where it did not, how it ended is noted."""
        try:
            what()
        except Exception as error:
            self.end(step, error)
            return False
        self.cells[step] = "ok"
        return True

    def everything(self) -> None:
        """All steps, in the order of a study."""
        if not self.attempt("adopt", self.adopt):
            return
        self.attempt("rmu", self.rmu)
        if not self.attempt("maxent", lambda: self.run(self.plan, "suppress")):
            return
        if not self.attempt("noise, distil", lambda: self.run(self.plan, "distil")):
            return
        if self.attempt("attacks", self.attacks) and self.skipped:
            self.cells["attacks"] = f"skipped: {', '.join(self.skipped)}"
        self.attempt("export", self.export)

    def adopt(self) -> None:
        """Plans the study and brings the model in."""
        self.plan = make_plan(_recipe(self.place, self.given, {"maxent": {"name": "maxent"}}, DISTIL))
        for kind in ("import_model", "data"):
            self.run(self.plan, kind)

    def rmu(self) -> None:
        """A teacher by RMU, in a plan of its own."""
        method = {"name": "rmu", "layers": [1]}
        self.run(make_plan(_recipe(self.place, self.given, {"rmu": method}, None)), "suppress")

    def attacks(self) -> None:
        """The student asked, and every attack on it."""
        student = next(node for node in self.plan.models if node.role == "student")
        self.stage(self.plan.stages[student.evaluation])
        skipped = []
        for run in student.attacks:
            with nullcontext() if run is student.attacks[0] else _uncounted():
                evals = self.stage(self.plan.stages[run.stage])
            if reason := evals.get("skipped"):
                skipped.append(run.attack)
                self.reasons[skipped[-1]] = reason
            elif not all(point["forget"] == point["forget"] for point in evals["points"]):
                raise AssertionError(f"{run.attack}: a score that is no number")
        self.skipped = list(dict.fromkeys(skipped))

    def export(self) -> None:
        """The student as a plain folder: what it says there, and that it writes on."""
        student = next(stage for stage in self.plan.stages.values() if stage.kind == "distil")
        made, out = self.folder(student.id) / "model", self.home / "out"
        models.export_model(made, self.given, out, "5GB")
        before, after = models.load_model(made), AutoModelForCausalLM.from_pretrained(out)
        logits, again = models.few_logits(before), models.few_logits(after)
        assert models.same_function(logits, again, 1e-4), f"logits differ by {(logits - again).abs().max():.2g}"
        tokenizer = AutoTokenizer.from_pretrained(out)
        ids = tokenizer("12+3=", return_tensors="pt", add_special_tokens=False)["input_ids"]
        assert after.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=1).shape[1] > ids.shape[1]

    def run(self, plan: Plan, kind: str) -> None:
        """All stages of a kind."""
        for stage in plan.stages.values():
            if stage.kind == kind:
                self.stage(stage)

    def stage(self, stage: Stage) -> dict[str, Any]:
        """One stage in this process."""
        folder = self.folder(stage.id)
        folder.mkdir(parents=True, exist_ok=True)
        inputs = {role: Path(path) for role, path in stage.external_inputs.items()}
        for role, id in stage.inputs.items():
            inputs[role] = self.folder(id) if id.startswith("data-") else self.folder(id) / "model"
        context = Context(folder, inputs, lambda *_: None, 1e9)
        return stages.run(stage.kind, stage.settings.model_dump(mode="json"), context).evals

    def folder(self, stage_id: str) -> Path:
        """Where a stage's files are."""
        return self.home / "artifacts" / stage_id


@contextmanager
def _uncounted() -> Iterator[None]:
    """Inside, no FLOPs are counted: that takes two fifths of the time, and one fit has shown that it works."""
    with patch("undo.train.loop.count_flops", lambda function: (0, function())):
        yield


def _recipe(place: Place, given: Path, methods: dict[str, Any], distil: dict[str, Any] | None) -> Any:
    """Every attack of the suites, with one setting of each knob that changes no shape, for a step."""
    model = find_model(str(given))
    content = suite_for(model, place.texts() | {"shares": SHARES}, "quick")
    attacks = {}
    for suite in SUITES:
        for name, spec in suite_for(model, place.texts(), suite)["attacks"].items():
            attack = _shortened(spec["attack"])
            if attack not in [other["attack"] for other in attacks.values()]:
                attacks[name] = {**spec, "attack": attack}
    content |= {
        "name": "families",
        "summary": "A tiny model of a family",
        "pretrained": {"path": str(given)},
        **({"audit": {"suite": "quick"}} if distil else {}),
        "attacks": attacks if distil else {},
        "suppress": {name: SUPPRESS | {"method": method} for name, method in methods.items()},
        **({"distil": distil} if distil else {}),
    }
    content["data"]["dataset"]["test_items"] = 4
    content["data"] = content["data"] | {"row_tokens": 32}
    return build_recipe(content, [], "the sweep")


def _shortened(attack: dict[str, Any]) -> dict[str, Any]:
    one = {name: attack[name][:1] for name in ONE_OF if name in attack}
    return attack | one | (STEPS if "steps" in attack else {})


def told(row: Row) -> str:
    """A row in lines for a terminal."""
    cells = ", ".join(f"{step} {cell}" for step, cell in row.cells.items())
    reasons = [f"    {step}: {reason}" for step, reason in row.reasons.items()]
    return "\n".join([f"{row.family} ({row.kind}, {row.seconds:.0f} s): {cells}", *reasons])


def page(rows: list[Row]) -> str:
    """The result as Markdown: what was tried, the table, and the reasons below it."""
    tried = [row for row in rows if "not built" not in row.cells.values()]
    taken = [row for row in tried if all(cell == "ok" or cell.startswith("skipped") for cell in row.cells.values())]
    intro = f"""# Families

Written by `make families` with transformers {transformers.__version__}: a tiny model with random weights of each of
{len(tried)} families, through everything that `undo robustify` and `undo audit` do with a given one: two steps of
suppression, a noised student, every attack of the suites `quick` and `standard`, the handed-over folder loaded by plain
transformers.
{len(taken)} go all the way. It says that these steps run and what they leave out, and nothing about how well they work.

"""
    reasons = [f"- {row.family}, {step}: {reason}" for row in tried for step, reason in row.reasons.items()]
    left = ", ".join(row.family for row in rows if row not in tried)
    parts = [intro + "\n".join(_lines(tried)), "## Reasons", "\n".join(reasons)]
    if left:
        parts.append(f"Not tried, since their configuration classes make no tiny model by themselves: {left}.")
    return "\n\n".join(parts) + "\n"


def _lines(rows: list[Row]) -> Iterable[str]:
    yield "| family | class | " + " | ".join(COLUMNS) + " |"
    yield "|---" * (len(COLUMNS) + 2) + "|"
    for row in rows:
        yield f"| {row.family} | {row.kind} | " + " | ".join(row.cells.get(column, "") for column in COLUMNS) + " |"


def main(arguments: list[str]) -> int:
    """Runs the sweep and prints its table; the exit code is 1 where a step crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=families())
    parser.add_argument("--write", type=Path, help="write the table into this file")
    given = parser.parse_args(arguments)
    quiet()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(Path(folder))
        for family in given.families:
            row = examine(family, place)
            rows.append(row)
            print(told(row), flush=True)
    if given.write:
        given.write.write_text(page(rows), encoding="utf-8")
    return int(any(row.crashed for row in rows))


def quiet() -> None:
    """What libraries say about tiny models is no news."""
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
