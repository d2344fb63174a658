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


def exit_code(fraction: float | None, limit: float | None, failed: bool) -> int:
    """Of an audit: what was found counts more than what failed; a question that cannot be answered is no pass."""
    if limit is not None and fraction is None:
        tell("undecided: no recovered fraction is known, so --fail-above has no answer")
        return FAILED
    if limit is not None and fraction is not None and fraction > limit:
        tell(f"above the limit: {fraction:.2f} was recovered, --fail-above is {limit:g}")
        return ABOVE_LIMIT
    return FAILED if failed else DONE
