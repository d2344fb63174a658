"""How failures leave the command line: one line, and an exit code.

2 the user's input, 1 ours, 3 an audit above its limit, 130 interrupted.
"""

import sys

DONE, FAILED, WRONG_INPUT, ABOVE_LIMIT, INTERRUPTED = 0, 1, 2, 3, 130


def tell(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr)


def wrong_input(message: object) -> int:
    """Says what the user can mend. Returns the exit code."""
    tell(f"error: {message}")
    return WRONG_INPUT
