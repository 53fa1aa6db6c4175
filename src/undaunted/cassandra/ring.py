"""The first node to ask for a row, found by plain numbers.

The driver makes an object of each key's hash and compares it with those of the ring, each comparison a call; and its
plan is a generator, of which a statement that succeeds takes one node. This finds that same node in a fifth of the
time. What it does not know is left to the driver's plan.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from cassandra.metadata import HashToken

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ring"]


class _Keyspace:
    """The replicas of one keyspace, as the driver's metadata had them."""

    __slots__ = ("came_from", "ends", "hash_of", "replicas")

    def __init__(self, token_map: Any, found: Any) -> None:
        self.came_from = found
        self.ends = [token.value for token in token_map.ring]
        by_token = [found[token] for token in token_map.ring]
        self.replicas = [*by_token, by_token[0]]  # behind the last token the ring begins anew
        self.hash_of: Callable[[bytes], Any] = token_map.token_class.hash_fn


class Ring:
    """The replicas of each keyspace that has been asked for.

    The driver replaces what it knows of a keyspace, and of the ring, as a whole; so the same object says the same.

    Args:
        metadata: The driver's, of the cluster.
    """

    __slots__ = ("_keyspaces", "_metadata", "_token_map")

    def __init__(self, metadata: Any) -> None:
        self._metadata = metadata
        self._token_map: Any = None
        self._keyspaces: dict[str, _Keyspace] = {}

    def replicas(self, keyspace: str, key: bytes) -> list[Any]:
        """The nodes that hold the row, in the driver's order; none where that is not known here."""
        token_map = self._metadata.token_map
        if token_map is not self._token_map:
            self._token_map, self._keyspaces = token_map, {}
        if token_map is None:
            return []
        known = self._keyspaces.get(keyspace)
        if known is None or token_map.tokens_to_hosts_by_ks.get(keyspace) is not known.came_from:
            known = self._learn(token_map, keyspace)
            if known is None:
                return []
        return known.replicas[bisect_left(known.ends, known.hash_of(key))]  # type: ignore[no-any-return]  # untyped

    def _learn(self, token_map: Any, keyspace: str) -> _Keyspace | None:
        if not token_map.ring or not issubclass(token_map.token_class, HashToken):
            return None
        token_map.get_replicas(keyspace, token_map.ring[0])  # has the driver find them out
        found = token_map.tokens_to_hosts_by_ks.get(keyspace)
        if not found:
            return None
        made = _Keyspace(token_map, found)
        if token_map is self._token_map:
            self._keyspaces[keyspace] = made
        return made
