"""Opens the page on a port, on this machine alone unless told otherwise."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from undo.spec.errors import UserError

if TYPE_CHECKING:
    from undo.demo.handlers import Handlers

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]  # nobody's server is asked for one
COLOURS = {  # where the theme's own have too little contrast
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_300",
    "border_color_primary": "*neutral_300",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"]


@contextmanager
def serving(handlers: Handlers, host: str, port: int) -> Iterator[str]:
    """While inside, the page is served at the address that this gives."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # the page says so too, but gradio has more to tell than of pages
    from gradio.themes import Base

    from undo.demo.page import build_page

    page = build_page(handlers)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size="1kb",
        theme=Base(font=FONTS, font_mono=MONO).set(**COLOURS),
        css=(files("undo.demo") / "page.css").read_text(encoding="utf-8"),
    )
    try:
        yield address
    finally:
        page.close(verbose=False)


def check(host: str, port: int) -> None:
    """Raises UserError where no page can be served, before anybody waits for one."""
    if find_spec("gradio") is None:
        raise UserError("the demo needs gradio; install it: pip install 'undo-llm[demo]'")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot serve on {host}:{port}: {reason}; choose another with --port or --host") from None
