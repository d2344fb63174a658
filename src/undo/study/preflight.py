"""What a recipe asks for and cannot have, found before any compute is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from undo import models
from undo.methods import Method
from undo.models.given import GivenModel
from undo.spec.errors import UserError
from undo.spec.recipe import Recipe, Student


def check_recipe(recipe: Recipe, given: GivenModel | None) -> None:
    """Raises UserError for the first thing that neither the dataset nor the given model allows."""
    _check_skills_are_asked(recipe)
    _check_rows_fit(recipe, given)
    if given is not None:
        _check_layers(recipe, given)
        _check_parameters(recipe, given)


def check_names(names: list[str]) -> None:
    """Raises UserError where two models of a seed have one name: results tell models apart by it."""
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise UserError(f"distil.students: two models would be called '{twins[0]}'; leave one of them out")


def _check_skills_are_asked(recipe: Recipe) -> None:
    """What an attack brings back has to be asked about."""
    dataset: Any = recipe.data.dataset
    for name, attack in recipe.attacks.items():
        if unasked := [skill for skill in attack.skills if skill not in dataset.eval_domains()]:
            what = f"the dataset '{dataset.name}' asks nothing about '{unasked[0]}'"
            raise UserError(f"attacks.{name}.skills: {what}; give it questions, or leave the skill out")


def _check_rows_fit(recipe: Recipe, given: GivenModel | None) -> None:
    """What an attack puts before every row has to fit too. A model that the study trains reads no more than a row."""
    rows = recipe.data.row_tokens
    attacks: dict[str, Any] = {name: spec.attack for name, spec in recipe.attacks.items()}
    for name, attack in attacks.items():
        if extra := attack.extra_tokens():
            context = given.context if given else rows
            if context is not None and rows + extra > context:
                what = f"{extra} tokens before rows of {rows} exceed the {context} that the model reads"
                way = f"set data.row_tokens={context - extra}" if given else "leave it to `undo audit` of the models"
                raise UserError(f"attacks.{name}: {what}; {way}")


def _check_layers(recipe: Recipe, given: GivenModel) -> None:
    """Those that methods name; of its own models the recipe itself knows the layers."""
    if any(recipe.named_layers().values()):
        for key, problem in recipe.unknown_layers(given.layers):
            raise UserError(f"{key}: {problem}")


def _check_parameters(recipe: Recipe, given: GivenModel) -> None:
    """Those that a method or a student's noise moves, by the names and shapes of the model."""
    methods: dict[str, Any] = {f"suppress.{name}.method": each.method for name, each in recipe.suppress.items()}
    choosy = {key: method for key, method in methods.items() if type(method).trainable is not Method.trainable}
    noised = [student.noise_parameters for student in recipe.students() if student.noise_alpha]
    chosen = {patterns for patterns in noised if patterns != Student.model_fields["noise_parameters"].default}
    if not (choosy or chosen):
        return
    skeleton = models.skeleton(given.folder)
    for key, method in choosy.items():
        with _about(key):
            method.trainable(skeleton)
    for patterns in chosen:
        with _about("distil.students.noise_parameters"):
            models.matching_parameters(skeleton, patterns)


@contextmanager
def _about(key: str) -> Iterator[None]:
    """Inside, an error message names the setting that it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
