"""`undo audit`: what an adversary gets out of a model, and a certificate of it."""

from pathlib import Path
from typing import Annotated

import typer

from undo.cli.benchmarks import Limit, Names, Tasks, benchmark_settings
from undo.cli.run import Overrides
from undo.cli.texts import AnswerField, ForgetField, PromptField, RetainField, Separator, reading, tell_texts
from undo.study.rows import Benchmark


def audit(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, or a model in the hub's cache.")],
    forget: Annotated[str, typer.Option(help="Texts of what must be gone: a file, a folder, a data set.")],
    retain: Annotated[str, typer.Option(help="Texts of what must stay.")],
    overrides: Overrides = None,
    oracle: Annotated[str | None, typer.Option(help="A model that never knew it: what an attack teaches anew.")] = None,
    before: Annotated[str | None, typer.Option(help="The model before unlearning: what there was to get.")] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter to merge into the model first.")] = None,
    suite: Annotated[str, typer.Option(help="quick, standard or exhaustive.")] = "quick",
    forget_field: ForgetField = None,
    retain_field: RetainField = None,
    prompt_field: PromptField = None,
    answer_field: AnswerField = None,
    separator: Separator = None,
    benchmark: Names = None,
    benchmark_tasks: Tasks = None,
    benchmark_limit: Limit = None,
    out: Annotated[Path, typer.Option(help="Folder for certificate, page and artifacts.")] = Path("audit"),
    fail_above: Annotated[
        float | None, typer.Option(min=0, help="Exit code 3 where more than this fraction was recovered.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; default: the cores.")] = None,
) -> int:
    """Attack a model with a suite of adversaries, and certify the worst case."""
    from undo import api
    from undo.cli.errors import exit_code, tell
    from undo.cli.progress import open_progress
    from undo.cli.summary import print_benchmarks, print_verdict
    from undo.spec.errors import UserError
    from undo.study.environment import available_cores

    if fail_above is not None and oracle is None and before is None:
        raise UserError("--fail-above needs --oracle or --before: there is no recovered fraction without one")
    recipe = api.AuditRequest(
        model,
        forget,
        retain,
        oracle=oracle,
        before=before,
        suite=suite,
        adapter=adapter,
        overrides=overrides or (),
        benchmarks=benchmark_settings(benchmark, benchmark_tasks, benchmark_limit),
        **reading(context.params),
    ).recipe()
    plan, processes = api.plan(recipe), workers or available_cores()
    tell_texts(recipe)
    with open_progress(plan, out, processes) as listener:
        certificate = api.run_audit(plan, out, processes, listener)
    for failure in certificate.failures:
        tell(f"failed: {failure['label']}: {failure['message']}")
    print_verdict(certificate)
    print_benchmarks([Benchmark.read(row) for row in certificate.benchmarks])
    print(f"certificate: {out / 'certificate.json'}")
    print(f"report: {out / 'certificate.html'}")
    return exit_code(certificate.worst_case.recovered_fraction, fail_above, bool(certificate.failures))
