"""Open pages, and the attacked copy that each of them owns."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from undo.demo.relearning import Relearning
from undo.spec.errors import UserError

MOST = 8  # visitors who are remembered, each with a copy of a model; the idle one unseen for longest goes first


class Session:
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


class Sessions:
    """Sessions by the name that the page's server gives them."""

    def __init__(self) -> None:
        self._by_name: dict[str, Session] = {}

    def of(self, name: str) -> Session:
        """The session of a name, a new one at first."""
        session = self._by_name.pop(name, None) or Session()
        self._by_name[name] = session  # the last one seen stands last
        idle = [other for other, each in self._by_name.items() if not each.running and each is not session]
        for other in idle[: max(0, len(self._by_name) - MOST)]:
            self.leave(other)
        return session

    def leave(self, name: str) -> None:
        """The page was closed or loaded anew: its attack ends and its copy goes."""
        if session := self._by_name.pop(name, None):
            session.forget()

    def __len__(self) -> int:
        return len(self._by_name)
