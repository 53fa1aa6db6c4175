"""Tokens as Cassandra's Murmur3Partitioner makes them: MurmurHash3 x64, the upper half, with its bytes taken as signed.

The signed bytes of the tail are what sets it apart from the published function; every driver does it alike, since
routing by token depends on it.
"""

from __future__ import annotations

import struct

__all__ = ["token"]

_MASK = (1 << 64) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_LOWEST = -(1 << 63)


def _rotate(number: int, by: int) -> int:
    return ((number << by) | (number >> (64 - by))) & _MASK


def _finish(number: int) -> int:
    number ^= number >> 33
    number = number * 0xFF51AFD7ED558CCD & _MASK
    number ^= number >> 33
    number = number * 0xC4CEB9FE1A85EC53 & _MASK
    return number ^ (number >> 33)


def _mix_low(number: int) -> int:
    return _rotate(number * _C1 & _MASK, 31) * _C2 & _MASK


def _mix_high(number: int) -> int:
    return _rotate(number * _C2 & _MASK, 33) * _C1 & _MASK


def _tail(data: bytes) -> int:
    number = 0
    for place, octet in enumerate(data):
        number ^= (octet - 256 if octet > 127 else octet) << (8 * place) & _MASK
    return number


def token(key: bytes) -> int:
    """The token of a partition key in its serialized form."""
    low = high = 0
    whole = len(key) // 16 * 16
    for first, second in struct.iter_unpack("<QQ", key[:whole]):
        low = (_rotate(low ^ _mix_low(first), 27) + high) & _MASK
        low = (low * 5 + 0x52DCE729) & _MASK
        high = (_rotate(high ^ _mix_high(second), 31) + low) & _MASK
        high = (high * 5 + 0x38495AB5) & _MASK
    rest = key[whole:]
    if len(rest) > 8:
        high ^= _mix_high(_tail(rest[8:]))
    if rest:
        low ^= _mix_low(_tail(rest[:8]))
    low ^= len(key)
    high ^= len(key)
    low = (low + high) & _MASK
    high = (high + low) & _MASK
    low, high = _finish(low), _finish(high)
    result = (low + high) & _MASK
    signed = result - (1 << 64) if result >> 63 else result
    return (1 << 63) - 1 if signed == _LOWEST else signed
