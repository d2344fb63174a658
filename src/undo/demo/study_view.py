"""What a study has to show: its models side by side, and the attacks on them. Reads results and records; no torch."""

import json
from dataclasses import dataclass
from pathlib import Path

from undo.data.dataset import Dataset
from undo.evals import Evaluation
from undo.report.results import Results, label, variant_label
from undo.spec.errors import UserError
from undo.spec.registry import load
from undo.stages.attack import Settings as AttackSettings
from undo.study.results import resume
from undo.study.rows import Curve, ModelRow


@dataclass(frozen=True)
class StudyView:
    """A finished study whose models are there."""

    folder: Path
    results: Results

    @property
    def name(self) -> str:
        """The study's."""
        return self.results.study

    @property
    def seeds(self) -> list[int]:
        """Seeds of the study, one replication each."""
        return self.results.seeds

    @property
    def suppressed(self) -> list[str]:
        """Ids of the suppressed models."""
        return [row.id for row in self.results.of_role("teacher")]

    @property
    def attacks(self) -> list[str]:
        """Every variant of every attack that trains, by name; those on the forget skill first."""
        trained = (curve for curve in self.results.curves if len(curve.points) > 1)
        curves = sorted(trained, key=lambda curve: curve.skill != "forget")
        return list(dict.fromkeys(map(attack_name, curves)))

    def students(self, suppressed: str | None) -> list[ModelRow]:
        """Those of a suppressed model, and the controls that learnt from one in which nothing was suppressed."""
        taught = [row for row in self.results.of_role("student") if row.teacher not in self.suppressed]
        return [*(self.results.students_of(suppressed) if suppressed else []), *taught]

    def student_name(self, row: ModelRow) -> str:
        """A student's label; a control's with its teacher."""
        return label(row) if row.teacher in self.suppressed else f"{label(row)} of the {row.teacher}"

    def lineup(self, suppressed: str | None, student: str | None, seed: int) -> list[ModelRow]:
        """The models to compare, as far as the study has them: base, suppressed, student, oracle."""
        found = {row.id: row for row in self.results.models if row.seed == seed}
        return [found[id] for id in ("base", suppressed, student, "oracle") if id in found]

    def curve(self, row: ModelRow, attack: str) -> Curve | None:
        """What the study recorded when it attacked that model."""
        of_model = (c for c in self.results.curves if (c.model, c.seed) == (row.id, row.seed))
        return next((curve for curve in of_model if attack_name(curve) == attack), None)

    def settings(self, curve: Curve) -> AttackSettings:
        """The settings of the stage that recorded a curve."""
        stage = json.loads((self.artifact(curve.artifact) / "stage.json").read_text(encoding="utf-8"))
        return AttackSettings.model_validate(stage["settings"])

    def steps(self, attack: str) -> int:
        """How long the study attacked."""
        return max(c.points[-1].step for c in self.results.curves if attack_name(c) == attack)

    def artifact(self, name: str) -> Path:
        """The folder of an artifact, which results name relative to the output folder."""
        return self.folder.parent / name

    @property
    def corpus(self) -> Path:
        """The folder of the data."""
        return next(self.artifact(f"artifacts/{s.id}") for s in self.results.stages if s.kind == "data")

    @property
    def dataset(self) -> Dataset:
        """The dataset with the study's settings."""
        settings = self.results.dataset
        return load("datasets", settings["name"]).model_validate(settings)  # type: ignore[return-value]

    @property
    def evaluation(self) -> Evaluation:
        """How the study scores answers."""
        name = self.dataset.evaluation
        return load("evals", name)(name=name)  # type: ignore[return-value]


def open_study(folder: Path) -> StudyView:
    """The view of a study's folder. Raises UserError where it has nothing to show, with the command that helps."""
    view = StudyView(folder, Results.load(folder))
    models = view.results.models
    if not models:
        raise UserError(f"no model of {folder} is finished; go on with: {resume(folder)}")
    needed = [(row.id, f"{row.artifact}/model") for row in models]
    needed += [(curve.model, curve.artifact) for curve in view.results.curves]
    needed += [("data", f"artifacts/{row.id}/tokenizer") for row in view.results.stages if row.kind == "data"]
    for what, where in needed:
        if not view.artifact(where).is_dir():
            raise UserError(f"{folder.name} needs {where} for {what}, which is gone; make it again: {resume(folder)}")
    return view


def attack_name(curve: Curve) -> str:
    """`relearn forget, learning_rate 0.003`."""
    return f"{curve.attack} {curve.skill}, {variant_label(curve.variant)}"
