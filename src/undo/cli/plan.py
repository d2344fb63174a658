"""`undo plan`: the graph of a study, what is cached, and what it will cost."""

from pathlib import Path
from typing import Annotated

import typer

from undo.cli.run import Out, Overrides, RecipeArgument


def plan(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = Path("runs"),
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the cores.")] = None,
    all_stages: Annotated[bool, typer.Option("--all", help="Every stage, attacks and seeds too.")] = False,
) -> None:
    """Print the graph of a study: stages, what is cached, FLOPs and an estimate of the time. Computes nothing."""
    from undo import api
    from undo.study.artifacts import Store
    from undo.study.environment import available_cores
    from undo.study.estimate import estimate

    graph, store = api.plan(api.load_recipe(recipe, overrides or [])), Store(out)
    cost = estimate(graph, store, workers or available_cores())
    done = sum(map(store.done, graph.stages))
    print(
        f"{graph.study}: {_count(len(graph.recipe.seeds), 'seed')}, {_count(len(graph.stages), 'stage')} ({done} done), "
        f"at most {cost.flops:.1e} FLOPs to go, about {minutes(cost.seconds)} with {_count(cost.workers, 'worker')}"
    )
    print(f"  rate: {cost.rate:.1e} FLOP/s per worker ({cost.rate_source})")
    needed = {id: stage.label for id, stage in graph.stages.items()}
    for stage in graph.stages.values():
        if not all_stages and (stage.kind in {"attack", "evaluate"} or stage.settings.get("seed", graph.recipe.seeds[0]) != graph.recipe.seeds[0]):
            continue
        mark = "done" if store.done(stage.id) else f"{stage.flops:.1e}" if stage.flops else "-"
        after = ", ".join(needed[id] for role, id in stage.inputs.items() if role != "data")
        bound = "up to " if stage.kind == "distil" else ""
        steps = f"{bound}{stage.steps:,} steps" if stage.steps else ""
        print(f"  {stage.id:24} {stage.label:36} {steps:>18}  {mark:>8}  {'needs ' + after if after else ''}".rstrip())
    if not all_stages:
        print(f"  and evaluations, attacks and further seeds: undo plan {recipe} --all")


def minutes(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
