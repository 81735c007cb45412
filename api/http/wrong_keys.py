"""Throttles guesses: an address that sent too many wrong API keys has to wait before it may try another one."""

from __future__ import annotations

import ipaddress
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from core.errors import PermanentError

logger = logging.getLogger(__name__)

WINDOW_SECONDS: Final = 60.0
MAX_DIFFERENT: Final = 20
"""Different wrong keys that one address may send within the window."""
MAX_ATTEMPTS: Final = 600
"""Requests with wrong keys within the window. A client that repeats an old key is no attacker, so there are more."""
MAX_ADDRESSES: Final = 10_000
"""Addresses that are remembered; the ones that were silent longest are forgotten first."""
MAX_ACCEPTED: Final = 1_000
IPV6_PREFIX: Final = 64
"""Whoever has one IPv6 address has all of its network."""


class TooManyWrongKeys(PermanentError):
    """Too many wrong API keys came from one address."""

    code = "too_many_wrong_keys"
    status = 429

    def __init__(self, message: str, *, retry_after: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(slots=True)
class _Attempts:
    """Wrong keys of one address within one window."""

    since: float
    digests: set[str] = field(default_factory=set)
    count: int = 0


class WrongKeys:
    """The wrong keys of each address in the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._attempts: OrderedDict[str, _Attempts] = OrderedDict()
        self._accepted: OrderedDict[str, None] = OrderedDict()
        """Digests of keys that were valid: they work on, also from an address that others guess from."""

    def check(self, address: str, digest: str) -> None:
        """Raise TooManyWrongKeys when the address must wait before it tries this key."""
        attempts = self._current(network_of(address))
        if attempts is not None and not self.is_accepted(digest):
            raise_above_limits(len(attempts.digests), attempts.count, attempts.since + WINDOW_SECONDS - self._clock())

    def is_accepted(self, digest: str) -> bool:
        """Return whether the key was valid when it was used last."""
        return digest in self._accepted

    def accept(self, digest: str) -> None:
        """Remember a valid key."""
        self._accepted[digest] = None
        self._accepted.move_to_end(digest)
        if len(self._accepted) > MAX_ACCEPTED:
            self._accepted.popitem(last=False)

    def add(self, address: str, digest: str) -> None:
        """Count a wrong key, and log the first one of a minute."""
        self._accepted.pop(digest, None)
        network = network_of(address)
        attempts = self._current(network)
        if attempts is None:
            attempts = self._attempts[network] = _Attempts(self._clock())
            logger.warning("A wrong API key came from %s.", address or "an unknown address")
        self._attempts.move_to_end(network)
        if len(self._attempts) > MAX_ADDRESSES:
            self._attempts.popitem(last=False)
        attempts.count += 1
        attempts.digests.add(digest)
        if len(attempts.digests) == MAX_DIFFERENT and attempts.count == MAX_DIFFERENT:
            logger.warning("%s sent %d wrong API keys within a minute and has to wait.", address, MAX_DIFFERENT)

    def _current(self, network: str) -> _Attempts | None:
        attempts = self._attempts.get(network)
        if attempts is not None and self._clock() - attempts.since >= WINDOW_SECONDS:
            del self._attempts[network]
            return None
        return attempts


def raise_above_limits(different: int, attempts: int, seconds_left: float) -> None:
    """Raise TooManyWrongKeys when an address has sent too many different wrong keys, or too many in all."""
    if different >= MAX_DIFFERENT or attempts >= MAX_ATTEMPTS:
        raise TooManyWrongKeys(
            "Too many wrong API keys came from this address.",
            retry_after=seconds_left,
            hint="Try again after a minute, with a valid key.",
        )


def network_of(address: str) -> str:
    """Return the network that an address counts for: of IPv6 its first 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
    return address
