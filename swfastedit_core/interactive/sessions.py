"""Sessions of several scans, within one limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from swfastedit_core.interactive.session import Session


class Sessions:
    """The sessions that are kept, the most recently used ones.

    Parameters
    ----------
    memory_mb
        Memory of all sessions together, in MB (10⁶ bytes). The last used session is always kept.
    """

    def __init__(self, memory_mb: float = 2000.0) -> None:
        self.memory_mb = memory_mb
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Session] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Session]) -> Session:
        """Return the session of a scan, and make it if it is not kept.

        Parameters
        ----------
        key
            Of the scan and of all that makes its session different from others.
        make
            Makes the session.
        """
        with self._lock:
            session = self._kept.pop(key, None) or make()
            self._kept.clear()
            self._kept[key] = session
            return session
