"""A thumbnail as rows of half blocks: two pixels per terminal cell."""

import io
import warnings
from typing import Final, TypeAlias

from PIL import Image

_MOST_PIXELS: Final = 4_000_000
_MOST_BYTES: Final = 1024 * 1024

Colour: TypeAlias = tuple[int, int, int]


def picture(jpeg: bytes, *, rows: int, columns: int) -> list[list[tuple[Colour, Colour]]]:
    """Return the upper and lower colour of each cell, by row; nothing if the bytes are not a usable picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return _cells(jpeg, rows, columns)
    except Exception:  # noqa: BLE001 - a stranger's file may be wrong in any way, and a card needs no picture.
        return []


def _cells(jpeg: bytes, rows: int, columns: int) -> list[list[tuple[Colour, Colour]]]:
    with Image.open(io.BytesIO(jpeg[:_MOST_BYTES]), formats=("JPEG",)) as image:
        if image.width * image.height > _MOST_PIXELS:
            return []

        width, height = _fitted(image.width, image.height, columns, 2 * rows)
        small = image.convert("RGB").resize((width, height))

    data = small.tobytes()
    pixels = [(data[at], data[at + 1], data[at + 2]) for at in range(0, len(data), 3)]
    lines = [pixels[start : start + width] for start in range(0, len(pixels), width)]
    return [list(zip(*pair, strict=True)) for pair in zip(lines[::2], lines[1::2], strict=True)]


def _fitted(width: int, height: int, columns: int, lines: int) -> tuple[int, int]:
    """Return the largest size of the same shape that fits; its height is even."""
    scale = min(columns / width, lines / height)
    return max(1, round(width * scale)), max(2, 2 * round(height * scale / 2))
