"""The screen of a watch: a card for each status, which stays, and below them a bar, which moves."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import anyio
import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from greenapi_async.cli.moments import shown
from greenapi_async.cli.picture import Colour, picture
from greenapi_async.cli.terminal import COLOURS, cells, sanitized, summary, truncated, wrapped
from greenapi_async.events import Event, Health, Polled, PollFailed
from greenapi_async.models import ImageStatus, MediaStatus, Status, TextStatus, UnknownStatus, VideoStatus

_ICONS: Final = {"text": "¶", "image": "▣", "video": "▶", "audio": "♪", "deleted": "✗", "unknown": "?"}
_STATES: Final = {"ok": ("live", 32), "starting": ("starting", 33), "degraded": ("failing", 31)}
_LEAST_SIZE: Final = (40, 12)  # Of a window with room for pictures.
_HIGH: Final = 40
_LINES: Final = 12
_INDENT: Final = "  "
_GAUGE: Final = 20
_MOST_DOWNLOADS: Final = 4
_REDRAW: Final = 0.1
_MIB: Final = 1024 * 1024
_SHORT_COLOUR: Final = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")
_RGB_COLOUR: Final = re.compile(r"rgba?\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\b.*\)")


class Screen:
    """Shows statuses and the state of polling; a context manager that leaves the cards and removes the bar."""

    def __init__(self, *, interval: float) -> None:
        self.health: Callable[[], Health] = Health
        self._interval = interval
        self._console = Console(
            file=sys.stdout,
            force_terminal=True,
            force_jupyter=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        self._shown = 0
        self._next_at: float | None = None
        self._downloads: list[_Download] = []
        self._live = Live(
            console=self._console,
            get_renderable=self._bar,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.start()
        self._console.show_cursor(True)  # Ctrl-Z or a kill would leave it hidden.
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, status: Status, file: Path | None) -> None:
        """Print a card above the bar."""
        self._shown += 1
        width, height = self._console.size
        rows = self._picture_rows(width, height)
        lines = card(status, file, width=width, picture_rows=rows)
        self._console.print(Group(*lines, Text()), soft_wrap=True)

    def on_event(self, event: Event) -> None:
        """Record when the next request is due."""
        if isinstance(event, Polled):
            self._next_at = anyio.current_time() + self._interval - event.seconds
        elif isinstance(event, PollFailed) and event.retry_in is not None:
            self._next_at = anyio.current_time() + event.retry_in

        self._redraw()

    @contextmanager
    def progress_of(self, status: MediaStatus | UnknownStatus) -> Iterator[Callable[[int, int | None], None]]:
        """Draw the progress of a status' download while the body runs."""
        download = _Download(f"from {sanitized(status.sender)}")
        self._downloads.append(download)
        drawn_at = 0.0

        def progress(received: int, total: int | None) -> None:
            nonlocal drawn_at
            download.received, download.total = received, total
            if anyio.current_time() - drawn_at > _REDRAW:
                drawn_at = anyio.current_time()
                self._redraw()

        try:
            yield progress
        finally:
            self._downloads.remove(download)

    async def refresh(self) -> None:
        """Redraw the bar every second, for ever."""
        while True:
            self._live.refresh()
            await anyio.sleep(1.0)

    def _redraw(self) -> None:
        with suppress(OSError):  # A terminal that is gone ends the watch, but not a download or a poll.
            self._live.refresh()

    def _picture_rows(self, width: int, height: int) -> int:
        is_colourful = (
            self._console.color_system in {"256", "truecolor", "windows"} and not self._console.no_color
        )
        if not is_colourful or width < _LEAST_SIZE[0] or height < _LEAST_SIZE[1]:
            return 0

        return 10 if height >= _HIGH else 6

    def _bar(self) -> Group:
        width = self._console.width - 1  # The last column may wrap.
        health = self.health()
        wait = None if self._next_at is None else max(0.0, self._next_at - anyio.current_time())
        lines = []
        if health.consecutive_failures and health.last_error is not None:
            lines.append(Text(truncated(sanitized(str(health.last_error)), width), "red"))

        lines += [Text(truncated(download.line(), width)) for download in self._downloads[:_MOST_DOWNLOADS]]

        state, colour = _STATES.get(health.state, (health.state, 33))
        bar = truncated(bar_line(state, health, shown=self._shown, wait=wait, interval=self._interval), width)
        text = Text(bar)
        text.stylize(f"bold {_STYLES[colour]}", 0, 2 + len(state))
        return Group(*lines, text)


def bar_line(state: str, health: Health, *, shown: int, wait: float | None, interval: float) -> str:
    """Return the bar's text; failures, delays and gaps only if there are any."""
    parts = [f"* {state}", _counted(shown, "status", "statuses")]
    if health.consecutive_failures:
        parts.append(_counted(health.consecutive_failures, "failure", "failures"))

    # Before anything is recorded, all of the first request's window counts as not covered.
    if health.delivered and health.lag is not None and health.lag > max(60.0, 2 * interval):
        parts.append(f"{health.lag:.0f} s behind")

    if health.gaps:
        parts.append(_counted(len(health.gaps), "gap", "gaps"))

    if wait is not None:
        parts.append(f"next request in {wait:.0f} s" if wait >= 1 else "requesting")

    return "  ".join(parts)


def card(status: Status, file: Path | None, *, width: int, picture_rows: int) -> list[Text]:
    """Return the lines of a card: a head, with picture and text below; no line is wider than the window."""
    room = width - len(_INDENT) - 1
    rows = _pictured(status, picture_rows, room // 2)
    margin = len(rows[0]) + 1 if rows else 0
    texts = _texts(status, room - margin, has_file=file is not None)
    lines = [_head(status, width - 1)]
    for number in range(max(len(rows), len(texts))):
        line = Text(_INDENT)
        if rows:
            _draw(line, rows[number] if number < len(rows) else [], margin)

        lines.append(line.append_text(texts[number]) if number < len(texts) else line)

    if file is not None:
        lines.append(Text(f"{_INDENT}{sanitized(str(file))}", "dim"))

    return lines


def _head(status: Status, width: int) -> Text:
    colour = _STYLES[COLOURS[status.kind]]
    rest = f"  {status.kind}  {shown(status)}"
    sender = truncated(sanitized(status.sender) or "-", max(4, width - 2 - len(rest)))
    head = Text(f"{_ICONS[status.kind]} ", colour)
    return head.append(sender, "bold").append(f"  {status.kind}", colour).append(f"  {shown(status)}", "dim")


def _texts(status: Status, width: int, *, has_file: bool) -> list[Text]:
    text = summary(status)
    if not text and isinstance(status, MediaStatus) and not has_file:
        text = status.download_url or ""

    if isinstance(status, TextStatus):
        return _on_colour(_lines(text, width - 2), status)

    return [Text(line) for line in _lines(text, width)]


def _lines(text: str, width: int) -> list[str]:
    """Return a stranger's text in lines that do not wrap: text continued in column 0 could pose as a card."""
    parts = [wrapped(sanitized(part), width, lines=_LINES) or [""] for part in text.splitlines()]
    lines = [line for part in parts for line in part]
    return [*lines[: _LINES - 1], "…"] if len(lines) > _LINES else lines


def _on_colour(lines: list[str], status: TextStatus) -> list[Text]:
    look = status.extended_text_message
    background = colour_of(look.background_color if look else None)
    if background is None:
        return list(map(Text, lines))

    style = f"{ink(background)} on rgb({background[0]},{background[1]},{background[2]})"
    widest = max(map(cells, lines), default=0)
    return [Text(f" {line}{' ' * (widest - cells(line))} ", style) for line in lines]


def colour_of(text: str | None) -> Colour | None:
    """Return a colour as the API spells it, or None if it is not one."""
    if short := _SHORT_COLOUR.fullmatch(text or ""):
        red, green, blue = bytes.fromhex(short[1])
        return red, green, blue

    if rgb := _RGB_COLOUR.fullmatch(text or ""):
        red, green, blue = (min(255, int(part)) for part in rgb.groups())
        return red, green, blue

    return None


def ink(background: Colour) -> str:
    """Return white if it is readable on a background, else black: a contrast of at least 3 to 1."""
    red, green, blue = (_linear(part / 255) for part in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "rgb(255,255,255)" if 1.05 / (luminance + 0.05) >= 3 else "rgb(0,0,0)"


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def _pictured(status: Status, rows: int, columns: int) -> list[list[tuple[Colour, Colour]]]:
    if not rows or not isinstance(status, ImageStatus | VideoStatus) or not status.thumbnail:
        return []

    return picture(status.thumbnail, rows=rows, columns=columns)


def _draw(line: Text, row: list[tuple[Colour, Colour]], margin: int) -> None:
    for upper, lower in row:
        line.append("▀", f"rgb({_spelled(upper)}) on rgb({_spelled(lower)})")

    line.append(" " * (margin - len(row)))


def _spelled(colour: Colour) -> str:
    return ",".join(map(str, colour))


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


@attrs.define(eq=False)
class _Download:
    what: str
    received: int = 0
    total: int | None = None

    def line(self) -> str:
        """Return a gauge and sizes; the stranger's name is last, where it cannot shift anything."""
        got = f"{self.received / _MIB:.1f}"
        if not self.total:
            return f"{got} MiB  {self.what}"

        full = min(_GAUGE, _GAUGE * self.received // self.total)
        return f"{'━' * full}{'╌' * (_GAUGE - full)}  {got}/{self.total / _MIB:.1f} MiB  {self.what}"


_STYLES: Final = {31: "red", 32: "green", 33: "yellow", 34: "blue", 35: "magenta", 36: "cyan"}
