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
)

_MOST_REFUSALS = 3
_LONGEST_RETRY_AFTER = 3600.0


@attrs.frozen(kw_only=True, eq=False, repr=False)
class _Rule:
    """Wait between the shortest and the longest, in seconds; give up never, when refused for good, or at once.

    Refused for good is a poller before its first answer, and later the third time in a row.
    """

    shortest: float = 0.25
    longest: float = 60.0
    gives_up: Literal["never", "refused", "at once"] = "never"


# By the error's class, or the nearest above it, and by whether time can heal it.
_RULES = {
    (GreenApiError, True): _Rule(),
    (GreenApiError, False): _Rule(gives_up="refused"),
    # A broken answer does not heal in seconds, and may be megabytes.
    (DecodeError, True): _Rule(longest=300.0),
    (RateLimitedError, True): _Rule(shortest=2.0, longest=2.0),
    # Somebody has to find the phone and scan the QR code.
    (InstanceNotReadyError, False): _Rule(shortest=300.0, longest=300.0),
    (ClientClosedError, False): _Rule(gives_up="at once"),
    (ConfigurationError, False): _Rule(gives_up="at once"),
    (StoreError, False): _Rule(gives_up="at once"),
}


def delay(error: GreenApiError, failures: int, jitter: float) -> float:
    """Return the seconds to wait after the n-th failure in a row; `jitter` is random in [0, 1)."""
    rule = _rule(error)
    backoff = max(rule.shortest, jitter * min(rule.longest, 2.0 ** min(failures, 16)))
    retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    return max(backoff, min(_LONGEST_RETRY_AFTER, retry_after or 0.0))


@attrs.define(eq=False, repr=False)
class Backoff:
    """Counts the failures of one poller, and says how long to wait after each.

    Attributes:
        failures: how many came in a row.
    """

    failures: int = 0
    _refusals: int = 0
    _succeeded: bool = False

    def succeed(self) -> None:
        """Begin anew: a response came."""
        self.failures = self._refusals = 0
        self._succeeded = True

    def fail(self, error: GreenApiError, jitter: float) -> float | None:
        """Return the seconds until the next try, or None where the poller gives up; `jitter` is random in [0, 1)."""
        self.failures += 1
        self._refusals = 0 if error.retryable else self._refusals + 1
        return None if self._is_final(error) else delay(error, self.failures, jitter)

    def _is_final(self, error: GreenApiError) -> bool:
        gives_up = _rule(error).gives_up
        if gives_up == "refused":
            return not self._succeeded or self._refusals >= _MOST_REFUSALS

        return gives_up == "at once"


def _rule(error: GreenApiError) -> _Rule:
    candidates = ((kind, error.retryable) for kind in type(error).__mro__)
    return next(_RULES[candidate] for candidate in candidates if candidate in _RULES)
