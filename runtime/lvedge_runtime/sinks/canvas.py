"""Drawing with OpenCV: colours, text that stays legible, lines between pixels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from lvedge.indices import FloatArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
"""Blue, green, red, as OpenCV has it."""

BACKGROUND: Colour = (24, 20, 18)
PANEL: Colour = (36, 31, 28)
RULE: Colour = (70, 62, 57)
TEXT: Colour = (232, 228, 224)
QUIET: Colour = (160, 150, 143)
ENDO: Colour = (96, 122, 255)
EPI: Colour = (178, 212, 92)
RV: Colour = (240, 170, 120)
SEPTUM: Colour = (96, 208, 255)
SYSTOLE: Colour = (74, 56, 66)

FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT = 4
_SPELLED = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "≥": ">=", "≤": "<=", "±": "+/-", "×": "x", "°": " deg", "→": "->"}
)
"""Signs that the font lacks and that must not get lost: a minus decides what a limit means."""


def blank(width: int, height: int) -> Image:
    """An empty picture, [height, width, 3]."""
    return np.full((height, width, 3), BACKGROUND, dtype=np.uint8)


def plain(words: str) -> str:
    """Words in the characters that the font has."""
    spelled = unicodedata.normalize("NFKD", words.translate(_SPELLED))
    letters = "".join(letter for letter in spelled if not unicodedata.combining(letter))
    return letters.encode("ascii", "replace").decode("ascii")


def width_of(words: str, size: float) -> int:
    """Width of a line of text, pixels."""
    (width, _), _ = cv2.getTextSize(plain(words), FONT, size, 1)
    return int(width)


def write(
    image: Image,
    words: str,
    at: tuple[float, float],
    colour: Colour = TEXT,
    size: float = 0.45,
    *,
    align: float = 0.0,
    shaded: bool = False,
) -> None:
    """Write one line into the picture.

    Args:
        image: [height, width, 3], written to.
        words: the line.
        at: (x, y) of its baseline.
        colour: of the letters.
        size: times the font's own size; 0.45 is about 10 pixels high.
        align: which part of the line stands at ``at``: 0 its left, 0.5 its middle, 1 its right end.
        shaded: darken the picture behind the line.
    """
    words = plain(words)
    width = width_of(words, size)
    place = (round(at[0] - align * width), round(at[1]))
    if shaded:
        shade(image, (place[0] - 4, place[1] - round(30 * size)), (width + 8, round(42 * size)))
    cv2.putText(image, words, place, FONT, size, colour, 1, cv2.LINE_AA)


def shade(image: Image, corner: tuple[int, int], size: tuple[int, int], keep: float = 0.4) -> None:
    """Darken a rectangle from its upper left corner (x, y), so that text on it can be read."""
    left, top = max(corner[0], 0), max(corner[1], 0)
    behind = image[top : max(corner[1] + size[1], 0), left : max(corner[0] + size[0], 0)]
    behind[:] = (behind * keep).astype(np.uint8)


def wrapped(words: str, width: int, size: float, lines: int) -> list[str]:
    """Words broken into at most so many lines of at most so many pixels; what is left over ends in dots."""
    out: list[str] = []
    line = ""
    for word in words.split():
        longer = f"{line} {word}".strip()
        if line and width_of(longer, size) > width:
            out.append(line)
            line = word
        else:
            line = longer
    out.append(line)
    if len(out) > lines:
        out = out[:lines]
        out[-1] = out[-1][: max(len(out[-1]) - 3, 0)] + "..."
    return out


def curve(image: Image, points: FloatArray, colour: Colour, thickness: int = 1, closed: bool = False) -> None:
    """A line through points [n, 2] (x, y), between pixels and without steps."""
    if len(points) < 2:
        return
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(image, [fixed], closed, colour, thickness, cv2.LINE_AA, _SHIFT)


def filled(image: Image, points: FloatArray, colour: Colour) -> None:
    """A filled polygon through points [n, 2]."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(image, [fixed], colour, cv2.LINE_AA, _SHIFT)


def dot(image: Image, at: Iterable[float], radius: float, colour: Colour) -> None:
    """A filled disc."""
    x, y = (round(value * (1 << _SHIFT)) for value in at)
    cv2.circle(image, (x, y), round(radius * (1 << _SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)


def box(
    image: Image, corner: tuple[int, int], size: tuple[int, int], colour: Colour, *, line: int = -1
) -> None:
    """A rectangle from its upper left corner (x, y) and its (width, height); filled without ``line``."""
    end = (corner[0] + size[0] - 1, corner[1] + size[1] - 1)
    cv2.rectangle(image, corner, end, colour, line)
