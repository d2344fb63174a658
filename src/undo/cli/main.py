"""`undo`: the commands, and how each way of ending becomes an exit code."""

import signal
import sys
from typing import Any

import click
import typer

from undo.cli.errors import DONE, FAILED, INTERRUPTED, WRONG_INPUT, tell, wrong_input

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make a capability of a language model go for good, and find out whether it is gone.",
)


def _register() -> None:
    from undo.cli import doctor, list_, plan, report, run

    app.command("run")(run.run)
    app.command("plan")(plan.plan)
    app.command("report")(report.report)
    app.command("list")(list_.list_kind)
    app.command("doctor")(doctor.doctor)


_register()


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Make a capability of a language model go for good, and find out whether it is gone."""
    if show:
        from undo import __version__

        print(f"undo {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `undo` command."""
    from undo.spec.errors import UserError

    signal.signal(signal.SIGTERM, _interrupt)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code: Any = app(args=given, prog_name="undo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        code = WRONG_INPUT
    except click.UsageError as error:
        code = wrong_input(f"{error.format_message()} (see: undo --help)")
    except click.exceptions.Abort:
        code = INTERRUPTED
    except UserError as error:
        code = wrong_input(error)
    except KeyboardInterrupt:
        tell("interrupted; everything finished so far is kept. Go on with: undo " + " ".join(given))
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED
    sys.exit(code if isinstance(code, int) else DONE)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
