"""`undo`: the commands, and how each way of ending becomes an exit code."""

import shlex
import signal
import sys
from typing import Any

import typer

from undo.cli import audit, demo, doctor, evidence, list_, plan, report, robustify, run, show
from undo.cli.errors import DONE, FAILED, INTERRUPTED, tell, wrong_input
from undo.spec.errors import StudyFailed, UserError

UsageError: Any = typer.BadParameter.__mro__[1]  # typer carries its own copy of click and exports only the child

# Plain help: typer's rich one costs a tenth of a second more
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("robustify")(robustify.robustify)
app.command("audit")(audit.audit)
app.command("report")(report.report)
app.command("show")(show.show)
app.command("demo")(demo.demo)
app.command("evidence")(evidence.evidence)
app.command("list")(list_.list_kind)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def undo(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and leave.")
) -> None:
    """Make a capability of a language model go for good, and find out whether it is gone."""
    if version:
        from undo import __version__

        print(f"undo {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `undo` command."""
    signal.signal(signal.SIGTERM, _interrupt)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = app(args=given, prog_name="undo", standalone_mode=False)
    except UsageError as error:
        asked = error.ctx.command_path if error.ctx else "undo"
        code = wrong_input(f"{error.format_message()} (see: {asked} --help)")
    except UserError as error:
        code = wrong_input(error)
    except StudyFailed as error:
        code = FAILED
        for line in str(error).splitlines():
            tell(f"failed: {line}")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED  # typer turns some interrupts into this code itself
    except BrokenPipeError:
        code = FAILED
    if code == INTERRUPTED:
        tell(f"interrupted; nothing finished is lost. To go on: undo {shlex.join(given)}")
    sys.exit(code if isinstance(code, int) else DONE)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
