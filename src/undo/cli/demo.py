"""`undo demo`: a study's models to ask and to attack, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from undo.cli.run import Out


def demo(
    study: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[STUDY]...",
            help="A study's folder, such as runs/quickstart-3f9a; several: to choose from; without one, smoke is run.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to serve; by default nobody else reaches the page.")] = "127.0.0.1",
    out: Out = Path("runs"),
) -> int:
    """Ask a study's models and attack them live, in the browser."""
    import threading

    from undo.cli.errors import DONE, tell
    from undo.demo.serve import LOOPBACK, check, serving
    from undo.demo.study_view import open_study

    check(host, port)
    folders = study or [_smoke(out)]
    studies = [open_study(folder) for folder in folders]
    from undo.demo.handlers import Handlers  # only now: it imports torch, and wrong input is told before

    with serving(Handlers(studies), host, port) as address:
        if host not in LOOPBACK:
            tell("note: whoever reaches this machine can use the page, and its processor")
        names = ", ".join(view.name for view in studies)
        print(f"demo of {names}: {address} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:  # how a demo is meant to end
            print("ended")
    return DONE


def _smoke(out: Path) -> Path:
    """The folder of the smallest study, run if it has not been."""
    from undo import api
    from undo.cli.errors import DONE, tell
    from undo.cli.run import run
    from undo.spec.errors import UserError

    tell(
        "no study named: 'smoke' is run first (under a minute), and its models know little; "
        "for better ones: undo run quickstart"
    )
    if run("smoke", out=out) != DONE:
        raise UserError("smoke failed; see above, and try: undo doctor")
    return out / api.plan("smoke").study
