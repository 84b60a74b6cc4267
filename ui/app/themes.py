"""The toolkit's side of the four themes: what stands behind the tones, and what may leave for the terminal.

``ansi`` sends the sixteen colours that the terminal itself defines, ``mono`` none at all. Neither is left to the style sheets
of the toolkit's own widgets, which blend colours: a filter at the end of all drawing holds it.
"""

from collections.abc import Sequence
from functools import lru_cache

from rich.color import ColorSystem, ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor
from textual.theme import BUILTIN_THEMES, Theme

from ui.app.widgets.marks import MARKS
from ui.app.widgets.tones import BACKGROUNDS

_OWN = dict.fromkeys(("primary", "secondary", "accent", "warning", "error", "success", "foreground"), "ansi_default")
_TERMINAL = _OWN | dict.fromkeys(("background", "surface", "panel", "boost"), "ansi_default")
_CURSOR = BUILTIN_THEMES["ansi-dark"].variables | {
    "block-cursor-foreground": "ansi_default", "block-cursor-background": "ansi_default", "block-cursor-text-style": "reverse",
    "input-cursor-foreground": "ansi_default", "input-cursor-background": "ansi_default", "input-cursor-text-style": "reverse",
    "input-selection-foreground": "ansi_default", "input-selection-background": "ansi_default",
    "ansi-foreground": "ansi_default", "ansi-background": "ansi_default",  # of the toolkit's inline screen: read in any case
}  # fmt: skip


def _painted(name: str, surface: str, panel: str, accent: str, *, dark: bool) -> Theme:
    foreground, background = BACKGROUNDS[name]
    return Theme(
        f"quietcore-{name}", accent, secondary=accent, accent=accent, warning=accent, error=accent, success=accent, dark=dark,
        foreground=foreground, background=background, surface=surface, panel=panel, text_alpha=1.0,
    )  # fmt: skip


THEMES: dict[str, Theme] = {
    "dark": _painted("dark", "#181d23", "#232a32", "#62c4e8", dark=True),
    "light": _painted("light", "#eceef1", "#dfe2e7", "#0f5f98", dark=False),
    "ansi": Theme("quietcore-ansi", ansi=True, variables=_CURSOR, **_TERMINAL),  # type: ignore[arg-type]
    "mono": Theme("quietcore-mono", ansi=True, variables=_CURSOR, **_TERMINAL),  # type: ignore[arg-type]
}


@lru_cache(1024)
def _sixteen(style: Style) -> Style:
    """The style with the nearest of the sixteen for any other colour."""
    before = [style.color, style.bgcolor]
    many = (ColorType.TRUECOLOR, ColorType.EIGHT_BIT)
    after = [each.downgrade(ColorSystem.STANDARD) if each is not None and each.type in many else each for each in before]
    return style + Style.from_color(*after) if after != before else style


class SixteenFilter(LineFilter):
    """Lets the sixteen colours of the terminal through, and turns any other into one of them."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """See LineFilter."""
        del background
        return [each if each.style is None or each.control else Segment(each.text, _sixteen(each.style)) for each in segments]


_ENDS: dict[str, Sequence[LineFilter]] = {"ansi": (SixteenFilter(),), "mono": (NoColor(),)}


def filters(name: str, toolkits: Sequence[LineFilter]) -> Sequence[LineFilter]:
    """What lines go through before they are sent.

    Args:
        name: the theme.
        toolkits: the toolkit's own. Its answer to NO_COLOR is 24-bit greys; ours is ``mono`` to begin with, and colours for who
            asks for them by a key.
    """
    kept = [each for each in toolkits if not isinstance(each, Monochrome | NoColor)]
    return (*kept, *_ENDS.get(name, ()), *MARKS.filters)
