"""Draw README's picture of `watch` on a terminal: `nox -s picture`, with `-- --check` only to compare."""

import argparse
import calendar
import io
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from greenapi_async import Status, from_dict
from greenapi_async.cli.cards import card
from greenapi_async.simulator import Simulator

_FOLDER = Path(__file__).parent / "en"
_COLUMNS = 60
_ROWS = 6
_POSTED = calendar.timegm((2024, 11, 22, 20, 5, 0))
_ANSI = [
    (71, 78, 86),
    (200, 60, 60),
    (30, 130, 76),
    (150, 105, 0),
    (38, 104, 196),
    (140, 70, 160),
    (0, 121, 133),
]
_BRIGHT = [
    (139, 148, 158),
    (248, 113, 105),
    (63, 185, 110),
    (210, 160, 60),
    (98, 164, 255),
    (196, 132, 224),
    (64, 190, 200),
]
_THEMES = {
    "light": TerminalTheme((246, 248, 250), (31, 35, 40), [*_ANSI, (110, 119, 129)]),
    "dark": TerminalTheme((13, 17, 23), (230, 237, 243), [*_BRIGHT, (177, 186, 196)]),
}


def main() -> None:
    """Write the pictures, or say which of them are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a picture is out of date"
    )
    check = parser.parse_args().check
    os.environ["TZ"] = "UTC"
    time.tzset()

    for name, theme in _THEMES.items():
        path, drawn = _FOLDER / f"watch-{name}.svg", _drawn(theme)
        if not check:
            path.write_text(drawn, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != drawn:
            sys.exit(f"{path.name} is not what watch shows: run nox -s picture, and look at it")


def _drawn(theme: TerminalTheme) -> str:
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), color_system="truecolor")
    for status in _statuses():
        for line in card(status, None, width=_COLUMNS, picture_rows=_ROWS):
            console.print(line, soft_wrap=True)
        console.print()

    console.print(Text.assemble(("* live", "bold green"), "  4 statuses  next request in 42 s"))
    svg = console.export_svg(title="greenapi-async watch", theme=theme, unique_id="watch")
    # A font from another host is no part of a picture, a white frame is none on white, and a date that is long past shows
    # its year in place of the time.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("rgba(255,255,255,0.35)", "rgba(128,128,128,0.5)")
    return svg.replace("22&#160;Nov&#160;&#160;2024", "22&#160;Nov&#160;20:05")


def _statuses() -> Iterator[Status]:
    api = Simulator(clock=lambda: float(_POSTED))
    yield from_dict(_post(api, "text", text="Доброе утро! ☀️"))
    yield from_dict(
        _post(
            api, "image", caption="Рассвет над рекой", sender_contact_name="Коля", sender="79007654321@c.us"
        )
    )
    yield from_dict(_post(api, "text", text="صباح الخير", sender_contact_name="ليلى حداد", colour="#8E24AA"))
    yield from_dict(_post(api, "video", caption="New in the shop 💐", sender_contact_name="Flower Shop 🌷"))


def _post(api: Simulator, kind: Any, *, colour: str = "#1565C0", **fields: Any) -> dict[str, Any]:
    posted = api.post(kind, **fields)
    if kind == "text":
        posted["extendedTextMessage"]["backgroundColor"] = colour

    return posted


if __name__ == "__main__":
    main()
