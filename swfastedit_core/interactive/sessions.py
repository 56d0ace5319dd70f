"""Sessions of several scans, within one limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from swfastedit_core.interactive.session import MEMORY_MB, Session


class Sessions:
    """The most recently used sessions.

    If memory is needed for another session, logits of the least recently used sessions are dropped first, so that a
    click there runs more windows; then whole sessions. All methods may be called by several threads.

    Parameters
    ----------
    memory_mb
        Memory of all sessions together, in MB (10⁶ bytes). The last used session is kept in any case.
    """

    def __init__(self, memory_mb: float = MEMORY_MB) -> None:
        self._limit_bytes = int(1e6 * memory_mb)
        self._kept: OrderedDict[Hashable, Session] = OrderedDict()  # the least recently used one comes first
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def used_bytes(self) -> int:
        """Memory of all sessions."""
        return sum(session.used_bytes for session in self._kept.values())

    def get(self, key: Hashable, make: Callable[[], Session]) -> Session:
        """Return the session of a scan; make it if there is none.

        A session that was dropped can still be used by those who hold it, but nothing is kept for it.

        Parameters
        ----------
        key
            The scan, and all else that a session depends on.
        make
            Makes the session. Its `memory_mb` does not matter.
        """
        with self._lock:
            session = self._kept.pop(key, None) or make()
            self._make_room(session.wanted_bytes)
            self._kept[key] = session
            others = sum(other.used_bytes for other in self._kept.values() if other is not session)
            session.limit_memory(self._limit_bytes - others)
            return session

    def drop(self, key: Hashable) -> None:
        """Drop a session, if there is one; a settle in its background stops."""
        with self._lock:
            if key in self._kept:
                self._drop(key)

    def clear(self) -> None:
        """Drop all sessions."""
        with self._lock:
            for key in list(self._kept):
                self._drop(key)

    def _make_room(self, wanted_bytes: int) -> None:
        """Limit the kept sessions to what they use, and drop what leaves no room."""
        for other in self._kept.values():
            other.limit_memory(other.used_bytes)
        for other in self._kept.values():
            if self.used_bytes + wanted_bytes <= self._limit_bytes:
                return
            other.limit_memory(min(other.used_bytes, other.wanted_bytes))
        for key in list(self._kept):
            if self.used_bytes + wanted_bytes <= self._limit_bytes:
                return
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        session = self._kept.pop(key)
        session.stop()
        session.limit_memory(0)
