"""`undo plan`: the graph of a study, what is cached, and what it will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undo.cli.run import Out, Overrides, RecipeArgument

if TYPE_CHECKING:
    from undo.study.plan import Plan, Stage


def plan(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the cores.")] = None,
    all_stages: Annotated[bool, typer.Option("--all", help="Every stage, attacks and seeds too.")] = False,
) -> None:
    """Print a study's graph, what is cached, and its estimated cost."""
    from undo import api
    from undo.study.artifacts import Store
    from undo.study.environment import available_cores
    from undo.study.estimate import estimate

    graph, store = api.plan(api.load_recipe(recipe, overrides or [])), Store(out)
    cost = estimate(graph, store, workers or available_cores())
    stages, done = len(graph.stages), sum(map(store.done, graph.stages))
    print(
        f"{graph.study}: {_count(len(graph.recipe.seeds), 'seed')}, {_count(stages, 'stage')} ({done} done), at most "
        f"{cost.flops:.1e} FLOPs to go, about {duration(cost.seconds)} with {_count(cost.workers, 'worker')}"
    )
    print(f"  rate: {cost.rate:.1e} FLOP/s per worker ({cost.rate_source})")
    for stage in graph.stages.values():
        if all_stages or _in_short_list(graph, stage):
            print(_line(graph, stage, store.done(stage.id)))
    if not all_stages:
        print("  and evaluations, attacks and further seeds (--all shows them)")


def _in_short_list(graph: Plan, stage: Stage) -> bool:
    """The data and the models of one seed: what a person wants to see first."""
    settings, first_seed = stage.settings, graph.recipe.seeds[0]
    makes_model = settings.traits.output == "model" and settings.replication() in (None, first_seed)
    return makes_model or stage.id == graph.corpus


def _line(graph: Plan, stage: Stage, done: bool) -> str:
    bound = "up to " if stage.settings.may_stop_early() else ""
    steps = f"{bound}{stage.steps:,} steps" if stage.steps else ""
    mark = "done" if done else f"{stage.flops:.1e}" if stage.flops else "-"
    needs = ", ".join(graph.stages[id].label for role, id in stage.inputs.items() if role != "data")
    return f"  {stage.id:24} {stage.label:28} {steps:>18}  {mark:>8}  {f'needs {needs}' if needs else ''}".rstrip()


def duration(seconds: float) -> str:
    """A duration for people."""
    for unit, size, until in (("s", 1, 90), ("min", 60, 180), ("h", 3600, 72)):
        if seconds < until * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:,.0f} days"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
