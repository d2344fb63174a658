"""The command-line reference, generated: `python -m undo.cli.reference > docs/cli.md`."""

from typing import Any

import typer

from undo.cli.main import app


def reference() -> str:
    """Every command's help as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = ["# Command line\n\nGenerated from the help texts by `make docs`.\n"]
    parts += [_command(name, command) for name, command in group.commands.items()]
    exit_codes = (
        "0 done; 1 a stage failed, or a failure of ours; 2 wrong input; 3 an audit above its limit; 130 interrupted."
    )
    return "\n".join([*parts, f"## Exit codes\n\n{exit_codes}\n"])


def _command(name: str, command: Any) -> str:
    rows = [f"## undo {name}\n", f"{command.help}\n"]
    for parameter in command.params:
        shown = " ".join(parameter.opts)
        rows.append(f"- `{shown}`: {getattr(parameter, 'help', None) or ''}")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
