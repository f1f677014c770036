"""The command `check`: tests the way to the API step by step, and says what is wrong and what to do."""

import errno
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

import anyio
import attrs

from greenapi_async._http import probe
from greenapi_async._http.address import parsed_url
from greenapi_async._http.proxy import Proxies
from greenapi_async.cli.check_texts import Language, language, text
from greenapi_async.cli.terminal import echo, sanitized
from greenapi_async.client import DEFAULT_API_URL, AsyncStatusesClient
from greenapi_async.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    UnexpectedRedirectError,
)
from greenapi_async.models import Status

Mark: TypeAlias = Literal["ok", "note", "failed"]

_PATIENCE = 10  # Seconds for one step.
_SKEW = 60.0  # The header has whole seconds, and the response takes time.
_DAY = 1440
_OWN_HOST = re.compile(r"(\d{4})\.api\.")
_PREFIX = 4
_TOKENS = ("GREEN_API_TOKEN_INSTANCE", "GREEN_API_TOKEN_INSTANCE_FILE")
_EXAMPLES = {
    "GREEN_API_ID_INSTANCE": "1101000001",
    "GREEN_API_TOKEN_INSTANCE": "...",
    "GREEN_API_URL": DEFAULT_API_URL,
}
# Its 403 and 5xx are a front end's pages.
_JSON_IF_THE_APIS = (DecodeError, AuthenticationError, NotFoundError)
_CODES: dict[type[GreenApiError], str] = {
    AuthenticationError: "401",
    NotFoundError: "404",
    RateLimitedError: "429",
    QuotaExceededError: "quota",
    UnexpectedRedirectError: "portal",
}


@attrs.frozen
class Finding:
    """One line of the report, and lines below it: texts by key, with their values."""

    mark: Mark
    topic: str
    key: str
    values: Mapping[str, object] = attrs.field(factory=dict)
    below: Sequence["Below"] = ()


@attrs.frozen
class Below:
    """A line below a finding."""

    key: str
    values: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Target:
    """Where requests go, and for which instance."""

    id_instance: str
    url: str
    scheme: str
    host: str
    port: int


@attrs.define
class Heard:
    """What the response's headers said, whatever followed; times are UNIX seconds."""

    date: float | None = None
    is_page: bool = False
    at: float = 0.0


async def check() -> int:
    """Print what is found, and return the exit code: 0 nothing failed, 1 something did, 2 a setting is wrong."""
    lang = language(os.environ, sys.stdout.encoding)

    def tell(finding: Finding) -> None:
        for line in lines(finding, lang):
            echo(line)

    if missing := missing_variables(os.environ):
        tell(Finding("failed", "settings", "not set", {"names": ", ".join(missing)}))
        for name in (*missing, *([] if "GREEN_API_URL" in os.environ else ["GREEN_API_URL"])):
            echo(f"  export {name}={_EXAMPLES[name]}")
        return 2

    try:
        client = AsyncStatusesClient.from_env(retries=0, timeout=3 * _PATIENCE)
        target = target_of(os.environ)
        proxy = Proxies().proxy_for(target.scheme, target.host, target.port)
    except ConfigurationError as error:
        tell(Finding("failed", "settings", "wrong setting", {"problem": str(error)}))
        return 2

    failed = False
    tell(Finding("ok", "settings", "set", {"id": target.id_instance, "url": target.url}))
    async with client:
        if proxy is None:
            async for finding in _way(target):
                tell(finding)
                failed |= finding.mark == "failed"
        else:
            tell(Finding("note", "proxy", "proxied", {"variable": proxy.variable}))

        if not failed:
            for finding in await _request(client, target, tell):
                tell(finding)
                failed |= finding.mark == "failed"

    return 1 if failed else 0


def missing_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that must be set but are not."""
    missing = [] if environment.get("GREEN_API_ID_INSTANCE", "").strip() else ["GREEN_API_ID_INSTANCE"]
    has_token = any(environment.get(name, "").strip() for name in _TOKENS)
    return missing + ([] if has_token else ["GREEN_API_TOKEN_INSTANCE"])


def target_of(environment: Mapping[str, str]) -> Target:
    """Return where requests go; the client has already accepted the variables."""
    text = environment.get("GREEN_API_URL", "").strip() or DEFAULT_API_URL
    url = parsed_url(text)
    if url is None:  # pragma: no cover - the client refuses it.
        raise ConfigurationError("GREEN_API_URL is not an address")

    return Target(
        id_instance=environment["GREEN_API_ID_INSTANCE"].strip(),
        url=text.rstrip("/"),
        scheme=url.scheme,
        host=url.host,
        port=url.port or (443 if url.scheme == "https" else 80),
    )


def lines(finding: Finding, lang: Language) -> Iterator[str]:
    """Yield a finding as lines in columns; text from others cannot break them."""
    head = f"{text(finding.mark, lang):8} {text(finding.topic, lang):11} "
    yield sanitized(head + text(finding.key, lang, **finding.values))
    for each in finding.below:
        yield sanitized(" " * len(head) + text(each.key, lang, **each.values))


async def _way(target: Target) -> AsyncGenerator[Finding]:
    """Yield what is found on the way to the API, up to the first failure."""
    steps: list[Callable[[], Awaitable[Finding]]] = [
        lambda: _looked_up(target),
        lambda: _connected(target),
        *([lambda: _certified(target)] if target.scheme == "https" else []),
    ]
    for step in steps:
        finding = None
        with anyio.move_on_after(_PATIENCE):
            finding = await step()

        finding = finding or Finding(
            "failed", "connection", "silent", {"host": target.host, "seconds": _PATIENCE}
        )
        yield finding
        if finding.mark == "failed":
            return


async def _looked_up(target: Target) -> Finding:
    try:
        found = await probe.addresses(target.host, target.port)
    except (OSError, UnicodeError) as error:
        return Finding("failed", "DNS", "unresolved", {"host": target.host, "problem": _said(error)})

    return Finding("ok", "DNS", "resolved", {"host": target.host, "addresses": ", ".join(found)})


async def _connected(target: Target) -> Finding:
    where: dict[str, object] = {"host": target.host, "port": target.port}
    try:
        await probe.connect(target.host, target.port)
    except OSError as error:
        return unconnected(error, where)

    return Finding("ok", "connection", "connected", where)


async def _certified(target: Target) -> Finding:
    try:
        certificate = await probe.certificate(target.host, target.port)
    except OSError as error:  # It accepted a connection a moment ago.
        return unconnected(error, {"host": target.host, "port": target.port})

    return certified(certificate, target, now=time.time())


def unconnected(error: OSError, where: Mapping[str, object]) -> Finding:
    """Return what a failed connection means."""
    causes = _leaves(error)
    if any(isinstance(each, OSError) and each.errno == errno.ECONNREFUSED for each in causes):
        return Finding("failed", "connection", "refused", where)

    return Finding("failed", "connection", "unreachable", {**where, "problem": _said(causes[0])})


def certified(certificate: probe.Certificate, target: Target, *, now: float) -> Finding:
    """Return what a certificate means."""
    values = {
        "host": target.host,
        "port": target.port,
        "problem": certificate.detail,
        "now": time.strftime("%Y-%m-%d %H:%M", time.localtime(now)),
    }
    if certificate.problem is not None or certificate.ends is None:
        return Finding("failed", "TLS", certificate.problem or "no tls", values)

    days = int((certificate.ends - now) // 86_400)
    return Finding("ok", "TLS", "certified", {"host": target.host, "days": days})


async def _request(
    client: AsyncStatusesClient, target: Target, tell: Callable[[Finding], None]
) -> list[Finding]:
    """Send one request, and return what its response says."""
    heard = Heard()

    async def on_response(response: Any) -> None:
        heard.at = time.time()
        heard.date = _date(response.headers.get("date", ""))
        heard.is_page = "html" in response.headers.get("content-type", "")

    client.http_client.event_hooks["response"].append(on_response)
    tell(Finding("note", "API", "one request"))
    started = anyio.current_time()
    try:
        statuses = await client.fetch(_DAY)
    except GreenApiError as error:
        return [refused(error, heard, target), *clock(heard)]

    seconds = anyio.current_time() - started
    now = heard.at if heard.date is None else heard.date
    return [Finding("ok", "API", "responded", {"seconds": seconds}), *clock(heard), came(statuses, now)]


def refused(error: GreenApiError, heard: Heard, target: Target) -> Finding:
    """Return what an error in place of statuses means."""
    problem = {"problem": str(error), "url": target.url}
    if isinstance(error, AccessDeniedError):
        return Finding("failed", "API", "403", {}, denials(target))

    if isinstance(error, InstanceNotReadyError):
        return Finding("failed", "API", error.reason, {})

    if isinstance(error, _JSON_IF_THE_APIS) and heard.is_page:
        return Finding("failed", "API", "portal")

    key = next((key for kind, key in _CODES.items() if isinstance(error, kind)), "")
    return Finding("failed", "API", key or ("later" if error.retryable else "other"), problem)


def denials(target: Target) -> list[Below]:
    """Return the causes of a 403, the likeliest first; only an instance's own host reveals where it is hosted."""
    values = {"id": target.id_instance, "host": target.host, "prefix": target.id_instance[:_PREFIX]}
    host = _OWN_HOST.match(target.host)
    beta, suspended = Below("403 beta"), Below("403 suspended")
    if host is None:
        return [beta, suspended]

    if not target.id_instance.startswith(host[1]):
        return [Below("403 elsewhere", values), beta, suspended]

    return [beta, Below("403 here", values), suspended]


def clock(heard: Heard) -> Iterator[Finding]:
    """Yield how far this machine's clock is off by the response's `Date`, if it has one."""
    if heard.date is None:
        return

    ahead = heard.at - heard.date
    yield Finding(
        "ok" if abs(ahead) <= _SKEW else "note",
        "clock",
        "in step" if abs(ahead) <= _SKEW else "fast" if ahead > 0 else "slow",
        {"skew": timedelta(seconds=max(1.0, abs(ahead)))},
    )


def came(statuses: Sequence[Status], now: float) -> Finding:
    """Return how many statuses came, of which kinds, and the age of the newest."""
    if not statuses:
        return Finding("note", "statuses", "none came")

    kinds = ", ".join(
        f"{kind} {count}" for kind, count in Counter(each.kind for each in statuses).most_common()
    )
    age = timedelta(seconds=max(0.0, now - max(each.timestamp for each in statuses)))
    return Finding("ok", "statuses", "came", {"count": len(statuses), "kinds": kinds, "age": age})


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the causes of an error: if a host has several addresses, each has its own."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return [leaf for each in cause.exceptions for leaf in _leaves(each)]

    return [error] if cause is None else _leaves(cause)


def _said(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _date(header: str) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None
