"""What follows a failure, as one table: how long to wait, and when to give up. No clock, no await."""

from typing import Literal

import attrs

from greenapi_async.errors import (
    ClientClosedError,
    ConfigurationError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    RateLimitedError,
    StoreError,
    TransportError,
)

_LASTS = 300.0  # Redeploying a gateway, renewing a token or clicking through a captive portal takes less.
_TRIES = 3
_SHORTEST_FOR_THE_RATE = 2.0
_LONGEST_RETRY_AFTER = 3600.0
_LONGEST_FOR_THE_RATE = 300.0


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Rule:
    """Wait between the shortest and the longest, in seconds.

    Give up never, at once, or only before the first success. A refusal ends a poller at once before its first success,
    and later once it has lasted.
    """

    shortest: float = 0.25
    longest: float = 60.0
    gives_up: Literal["never", "refused", "at first", "at once"] = "never"


# By the error's class, or its nearest base class, and by whether it is retryable.
_RULES = {
    (GreenApiError, True): _Rule(),
    (GreenApiError, False): _Rule(gives_up="refused"),
    # A broken response is not fixed in seconds, and may be megabytes.
    (DecodeError, True): _Rule(longest=300.0),
    # Somebody has to find the phone and scan the QR code.
    (InstanceNotReadyError, False): _Rule(shortest=300.0, longest=300.0),
    (ClientClosedError, False): _Rule(gives_up="at once"),
    (ConfigurationError, False): _Rule(gives_up="at once"),
    (StoreError, False): _Rule(gives_up="at once"),
}
# From an API that worked, it is a captive portal's, or the certificate is being renewed.
_CERTIFICATE = _Rule(gives_up="at first")


def delay(error: GreenApiError, failures: int, jitter: float, interval: float = 60.0) -> float:
    """Return the seconds to wait after the n-th failure in a row; `jitter` is random in [0, 1)."""
    if isinstance(error, RateLimitedError):
        return _until_admitted(error.retry_after, failures, jitter, interval)

    rule = _rule(error)
    return max(rule.shortest, jitter * _doubled(failures, rule.longest))


def pause(failures: int, jitter: float) -> float:
    """Return the seconds before a handler is tried again; `jitter` is random in [0, 1).

    Attempts are few, so half of each wait is fixed: three that fail within a second would count as one.
    """
    return (0.5 + jitter / 2) * _doubled(failures, 60.0)


@attrs.define(eq=False, repr=False)
class Backoff:
    """Counts the failures of one poller, and says how long to wait after each.

    Attributes:
        interval: seconds between two polls, without failures.
        failures: how many there were in a row.
    """

    interval: float = 60.0
    failures: int = 0
    _refusals: int = 0
    _refused_since: float = 0.0
    _succeeded: bool = False

    def succeed(self) -> None:
        """Start over: a response arrived."""
        self.forgive()
        self._succeeded = True

    def forgive(self) -> None:
        """Start over, with new credentials; whether a response ever arrived stays known."""
        self.failures = self._refusals = 0

    def fail(self, error: GreenApiError, *, now: float, jitter: float) -> float | None:
        """Return the seconds until the next try, or None if the poller gives up.

        `now` is monotonic, and `jitter` random in [0, 1).
        """
        self.failures += 1
        self._count_refusal(_rule(error), now)
        return (
            None if self._is_final(_rule(error), now) else delay(error, self.failures, jitter, self.interval)
        )

    def _count_refusal(self, rule: _Rule, now: float) -> None:
        if rule.gives_up != "refused":
            self._refusals = 0
            return

        self._refusals += 1
        if self._refusals == 1:
            self._refused_since = now

    def _is_final(self, rule: _Rule, now: float) -> bool:
        if rule.gives_up == "refused" and self._succeeded:
            return self._refusals >= _TRIES and now - self._refused_since >= _LASTS

        return rule.gives_up == "at once" or (rule.gives_up != "never" and not self._succeeded)


def _until_admitted(retry_after: float | None, failures: int, jitter: float, interval: float) -> float:
    """Return the seconds after a 429: what the server says, else up to the interval, which it allows."""
    if retry_after is not None:
        return max(_SHORTEST_FOR_THE_RATE, min(_LONGEST_RETRY_AFTER, retry_after))

    longest = min(max(interval, _SHORTEST_FOR_THE_RATE), _LONGEST_FOR_THE_RATE)
    return max(_SHORTEST_FOR_THE_RATE, (0.5 + jitter / 2) * _doubled(failures, longest))


def _doubled(times: int, longest: float) -> float:
    return min(longest, 2.0 ** min(times, 16))


def _rule(error: GreenApiError) -> _Rule:
    if isinstance(error, TransportError) and error.refused == "certificate":
        return _CERTIFICATE

    candidates = ((kind, error.retryable) for kind in type(error).__mro__)
    return next(_RULES[candidate] for candidate in candidates if candidate in _RULES)
