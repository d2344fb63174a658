"""`undo robustify`: a model that forgets for good, with a card that says how well."""

from pathlib import Path
from typing import Annotated, Any

import typer

from undo.cli.benchmarks import Limit, Names, Tasks, benchmark_settings
from undo.cli.run import Overrides
from undo.cli.texts import CHOICES as TEXTS
from undo.cli.texts import AnswerField, ForgetField, PromptField, RetainField, Separator, reading, tell_texts
from undo.study.rows import Benchmark

CHOICES = ("forget", "retain", "adapter", "budget", "method", "suite")
ASKED = ("benchmark", "benchmark_tasks", "benchmark_limit")
"""Options that a saved recipe has chosen already: how it is made, and what lm-eval asks."""
Method = Annotated[
    str, typer.Option(help="How to suppress (undo list methods); sam, repnoise and tar go around maxent.")
]


def robustify(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, a model in the hub's cache, or a saved recipe.")],
    overrides: Overrides = None,
    forget: Annotated[str | None, typer.Option(help="Texts of what must go: a file, a folder, a data set.")] = None,
    retain: Annotated[str | None, typer.Option(help="Texts of what must stay.")] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter to merge into the model first.")] = None,
    budget: Annotated[float, typer.Option(help="Compute, as a share of a fresh student's; decides the noise.")] = 0.3,
    method: Method = "maxent",
    suite: Annotated[str, typer.Option(help="Attacks to withstand: quick, standard or exhaustive.")] = "quick",
    forget_field: ForgetField = None,
    retain_field: RetainField = None,
    prompt_field: PromptField = None,
    answer_field: AnswerField = None,
    separator: Separator = None,
    benchmark: Names = None,
    benchmark_tasks: Tasks = None,
    benchmark_limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Folder for model, card, certificates and artifacts.")] = Path(
        "robustified"
    ),
    save_recipe: Annotated[Path | None, typer.Option(help="Write the recipe to look at or change, and leave.")] = None,
    shard_size: Annotated[str, typer.Option(help="Largest file of weights.")] = "5GB",
    fail_above: Annotated[
        float | None, typer.Option(min=0, help="Exit code 3 where more than this fraction came back.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the cores.")] = None,
) -> int:
    """Make a model forget for good: suppress, noise, distil, attack, report."""
    from undo import api
    from undo.cli.errors import DONE, exit_code
    from undo.cli.progress import open_progress
    from undo.study.environment import available_cores

    api.check_shard_size(shard_size)
    benchmarks = benchmark_settings(benchmark, benchmark_tasks, benchmark_limit)
    recipe = _recipe(context, benchmarks)
    if save_recipe is not None:
        api.save_recipe(recipe, save_recipe)
        tell_texts(recipe)
        print(f"recipe: {save_recipe}; run it with: undo robustify {save_recipe} --out {out}")
        return DONE
    plan, processes = api.plan(recipe), workers or available_cores()
    tell_texts(recipe)
    with open_progress(plan, out, processes) as listener:
        made = api.run_robustify(plan, out, processes, listener, shard_size)
    _tell(made, out)
    certificate = made.certificate
    return exit_code(certificate.worst_case.recovered_fraction, fail_above, bool(certificate.failures))


def _tell(made: Any, out: Path) -> None:
    """What came of it, and where it is."""
    from undo.cli.errors import tell
    from undo.cli.summary import print_attacks, print_benchmarks, print_verdict

    for failure in made.certificate.failures:
        tell(f"failed: {failure['label']}: {failure['message']}")
    print_verdict(made.certificate)
    print_attacks(made.certificate, made.suppressed)
    print_benchmarks([Benchmark.read(row) for row in made.certificate.benchmarks])
    print(f"suppressed only: {made.suppressed.headline}")
    print(f"model and card: {made.model}")
    print(f"certificate: {out / 'certificate.html'}")
    print(f"report: {made.study.folder / 'report' / 'index.html'}")


def _recipe(context: typer.Context, benchmarks: dict[str, Any] | None) -> Any:
    """The saved one with its overrides, or that of the options."""
    from undo import api
    from undo.spec.errors import UserError

    given, chosen = context.params, {name: context.params[name] for name in CHOICES}
    model, overrides = given["model"], given["overrides"] or ()
    if Path(model).suffix.startswith(".y") and not Path(model).is_dir():
        recipe = api.load_recipe(model, overrides)
        _refuse_choices(context, model)
        return recipe
    if not chosen["forget"] or not chosen["retain"]:
        raise UserError("--forget and --retain are needed: texts of what must go, and of what must stay")
    chosen |= reading(given) | {"overrides": overrides, "benchmarks": benchmarks}
    return api.RobustifyRequest(model, **chosen).recipe()


def _refuse_choices(context: typer.Context, recipe: str) -> None:
    from undo.spec.errors import UserError

    for name in CHOICES + ASKED + TEXTS:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise UserError(f"{recipe} says that already; leave --{option} out, or change the recipe (key=value)")
