"""How the app may look on this terminal: which theme, and whether it has to do with ASCII. It knows no toolkit."""

from collections.abc import Mapping
from dataclasses import dataclass

THEMES = ("dark", "light", "ansi", "mono")


class LooksError(ValueError):
    """A terminal that cannot be drawn on, or a theme that there is not; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Looks:
    """``theme`` is one of ``THEMES``; ``ascii`` keeps everything beyond ASCII from the terminal."""

    theme: str = "dark"
    ascii: bool = False


def looks_of(environ: Mapping[str, str], theme: str | None = None, ascii_only: bool = False) -> Looks:
    """What to begin with: what was asked for, else what the environment says of the terminal.

    Args:
        environ: the environment.
        theme: ``--theme``, None where it was not given.
        ascii_only: ``--ascii``.

    Raises:
        LooksError: TERM is ``dumb`` or not set, or QUIETCORE_THEME is no theme.
    """
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        said = environ.get("TERM") or "not set"
        raise LooksError(
            f"TERM is {said}: this terminal cannot show the app; quietcore status is a report of now, quietcore watch goes on; "
            "or name the terminal: TERM=xterm-256color quietcore"
        )
    return Looks(theme or _theme(environ), ascii_only or _ascii(environ))


def _theme(environ: Mapping[str, str]) -> str:
    asked = environ.get("QUIETCORE_THEME", "")
    if asked:
        if asked not in THEMES:
            raise LooksError(f"QUIETCORE_THEME is {asked[:40]!r}: there is {', '.join(THEMES)}")
        return asked
    if environ.get("NO_COLOR"):  # https://no-color.org: whatever its value, if it has one
        return "mono"
    term = environ["TERM"]
    many = bool(environ.get("COLORTERM")) or any(word in term for word in ("256", "direct", "kitty"))
    return "dark" if many and term != "linux" else "ansi"


def _ascii(environ: Mapping[str, str]) -> bool:
    """Whether blocks and arrows are left out: the console's font has 512 glyphs, another character set has none of them."""
    if environ.get("QUIETCORE_ASCII", "0") not in ("", "0") or environ["TERM"] == "linux":
        return True
    first, *_ = [value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))] or [""]
    if first == environ.get("LC_CTYPE") and not environ.get("LC_ALL") and environ.get("LANG") in ("C", "POSIX"):
        return True  # Python wrote C.UTF-8 into LC_CTYPE (PEP 538): what was asked for is in LANG
    # nothing set at all is a container or a bare login far more often than a terminal without UTF-8
    return first != "" and "utf8" not in first.lower().replace("-", "")
