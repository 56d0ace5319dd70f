"""The logits of windows in half precision, within a limit of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from swfastedit_core.engine import Engine
from swfastedit_core.inferer import check_finite

HALF_MAX = torch.finfo(torch.float16).max

OnWindow = Callable[[], None]


@dataclass(frozen=True)
class WindowKey:
    """What the logits of a window depend on, in one session.

    Attributes
    ----------
    network
        Number of the network.
    window
        Index of the window in the network's plan.
    guidance
        Digest of the guidance in the window.
    """

    network: int
    window: int
    guidance: bytes


class WindowCache:
    """A cache of logits. The least recently used ones are dropped.

    The tensors are in the CPU's memory. All methods may be called by several threads.

    Parameters
    ----------
    limit_bytes
        Memory of all tensors at most.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[WindowKey, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: WindowKey) -> bool:
        return key in self._kept

    @property
    def used_bytes(self) -> int:
        """Memory of the tensors."""
        return self._bytes

    def limit(self, limit_bytes: int) -> None:
        """Set the limit, and drop what is above it."""
        with self._lock:
            self._limit = limit_bytes
            self._make_room(0, ())

    def get(self, key: WindowKey) -> Tensor | None:
        """Return logits, float16 [X, Y, Z], and mark them as used; None if they are not in the cache."""
        with self._lock:
            logits = self._kept.get(key)
            if logits is not None:
                self._kept.move_to_end(key)
            return logits

    def put(self, key: WindowKey, logits: Tensor, *, needed: Container[WindowKey] = ()) -> None:
        """Add logits.

        Parameters
        ----------
        key
            Their key.
        logits
            float16 [X, Y, Z], on any device. The tensor must not change later.
        needed
            Keys of logits that must not be dropped. If they leave no room, nothing is added.
        """
        with self._lock:
            self._drop(key)
            if self._make_room(logits.nbytes, needed):
                self._kept[key] = logits.cpu()
                self._bytes += logits.nbytes

    def discard(self, network: int) -> None:
        """Drop all logits of a network."""
        with self._lock:
            for key in [key for key in self._kept if key.network == network]:
                self._drop(key)

    def _make_room(self, size: int, needed: Container[WindowKey]) -> bool:
        """Drop the least recently used logits until there is room; return whether there is."""
        if size > self._limit:
            return False
        for key in [key for key in self._kept if key not in needed]:
            if self._bytes + size <= self._limit:
                break
            self._drop(key)
        return self._bytes + size <= self._limit

    def _drop(self, key: WindowKey) -> None:
        logits = self._kept.pop(key, None)
        if logits is not None:
            self._bytes -= logits.nbytes


class CachedWindows:
    """Windows of one network in the cache: an `inferer.WindowStore`.

    Parameters
    ----------
    keys
        Keys of the windows that are needed, by their indices.
    cache
        The cache.
    engine
        The network, for messages.
    on_window
        Called after each window that ran, when its logits are in the cache. It may raise an error to end the run.
    """

    def __init__(self, keys: Mapping[int, WindowKey], cache: WindowCache, engine: Engine, on_window: OnWindow) -> None:
        self._keys, self._needed = keys, frozenset(keys.values())
        self._cache, self._engine, self._on_window = cache, engine, on_window

    def take(self, index: int) -> Tensor | None:
        """See `inferer.WindowStore`."""
        return self._cache.get(self._keys[index])

    def keep(self, index: int, logits: Tensor) -> Tensor:
        """See `inferer.WindowStore`; the logits are rounded to half precision.

        Raises
        ------
        NotFiniteError
            If they are not finite.
        """
        check_finite(logits, self._engine)
        half = logits.clamp(-HALF_MAX, HALF_MAX).to(torch.float16)
        self._cache.put(self._keys[index], half, needed=self._needed)
        self._on_window()
        return half
