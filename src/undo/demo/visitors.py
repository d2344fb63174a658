"""Who is there, and the attacked copy that each of them owns."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from undo.demo.relearning import Relearning
from undo.spec.errors import UserError

MOST = 8  # visitors who are remembered, each with a copy of a model; the idle one unseen for longest goes first


class Visitor:
    """One open page, and the copy that it attacks or has attacked."""

    def __init__(self) -> None:
        self.attacked: Relearning | None = None
        self._running = Lock()

    @property
    def running(self) -> bool:
        """Whether an attack is under way."""
        return self._running.locked()

    @contextmanager
    def attacking(self, live: Relearning) -> Iterator[None]:
        """While inside, no other attack may begin: raises UserError. The former copy goes."""
        if not self._running.acquire(blocking=False):
            raise UserError("your attack is still running; stop it first")
        try:
            self.forget()
            self.attacked = live
            yield
        finally:
            self._running.release()

    def stop(self) -> None:
        """Ends the attack at its next pause; the copy stays."""
        if self.attacked:
            self.attacked.stopped = True

    def forget(self) -> None:
        """Ends the attack and drops the copy."""
        attacked, self.attacked = self.attacked, None
        if attacked:
            attacked.drop()


class Visitors:
    """Visitors by the session of their page."""

    def __init__(self) -> None:
        self._by_session: dict[str, Visitor] = {}

    def of(self, session: str) -> Visitor:
        """The visitor of a session, a new one at first."""
        visitor = self._by_session.pop(session, None) or Visitor()
        self._by_session[session] = visitor  # the last one seen stands last
        idle = [name for name, each in self._by_session.items() if not each.running and each is not visitor]
        for name in idle[: max(0, len(self._by_session) - MOST)]:
            self.leave(name)
        return visitor

    def leave(self, session: str) -> None:
        """The page was closed or loaded anew: its attack ends and its copy goes."""
        if visitor := self._by_session.pop(session, None):
            visitor.forget()

    def __len__(self) -> int:
        return len(self._by_session)
