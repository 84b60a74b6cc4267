"""Words for the next boot, by a file of our own beside GRUB's settings: the one boot loader of which this is known.

Source: grub-mkconfig of Debian and Ubuntu, which reads /etc/default/grub and then /etc/default/grub.d/*.cfg; and its
/etc/grub.d/10_linux. What keeps a host bootable:

* No line of its owner is rewritten. The file adds to GRUB_CMDLINE_LINUX_DEFAULT, which the recovery entries do not get: they
  boot without these words.
* The new menu is made beside the old one, and takes its place by a rename, only where grub-mkconfig ended well,
  grub-script-check finds no fault in it, and it differs from the old menu in these words and nothing else: whoever changed
  settings without update-grub gets to know of it instead of getting it applied.
* The menu from before the first word stays beside it until the words are taken away again. That needs no grub-mkconfig: they
  are cut out of the menu as they were put in.
"""

import contextlib
import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from tuner.host import commands
from tuner.host.command_line import BootWord, parse, running
from tuner.host.files import HostFiles
from tuner.host.text import printable

MENU = "/boot/grub/grub.cfg"
KEPT, FRESH = f"{MENU}.quietcore-old", f"{MENU}.quietcore-menu"
SETTINGS, DIRECTORY = "/etc/default/grub", "/etc/default/grub.d"
DROP_IN = f"{DIRECTORY}/99-quietcore.cfg"
_MKCONFIG_S, _CHECK_S = 180.0, 30.0  # os-prober mounts every partition where it is switched on
_SAFE = re.compile(r"[A-Za-z0-9_.,:/=+-]{1,400}(?: [A-Za-z0-9_.,:/=+-]{1,400}){0,63}")
_HEAD = (
    "# Made by quietcore, and taken away by quietcore rollback: words of an applied profile for the kernel's command line.\n"
    "# Edit the profile, not this file. To take them away by hand: delete this file, then run update-grub.\n"
)
_LINE = re.compile(r'GRUB_CMDLINE_LINUX_DEFAULT="\$\{GRUB_CMDLINE_LINUX_DEFAULT\} ([^"]{1,4000})"\n')
_ENTRY = re.compile(r"\s*linux(?:efi|16)?\s")
_SETTING = re.compile(r"""^\s*GRUB_CMDLINE_LINUX(?:_DEFAULT)?=(["']?)(.*?)\1\s*$""", re.MULTILINE)

Make = Callable[[IO[bytes]], None]
Check = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BootMenu:
    """What the next boot will have.

    Attributes:
        supported: GRUB as Debian and Ubuntu have it, which this run was booted by.
        by_hand: else: what is here instead, and the command that adds ``WORDS``.
        upcoming: the words of the menu's first entry; of the settings, where this user may not read the menu.
        drop_in: our own file, None where it is not there.
    """

    supported: bool
    by_hand: str = ""
    upcoming: tuple[BootWord, ...] = ()
    drop_in: str | None = None


def read_menu(files: HostFiles) -> BootMenu:
    """The boot loader of a host, and what it will hand to the next kernel. A handful of small reads.

    Raises:
        OSError: EBADMSG: our own file was edited by hand.
    """
    by_hand = _other_loader(files)
    if by_hand:
        return BootMenu(False, by_hand)
    drop_in = _drop_in(files)
    words_of(drop_in)
    menu = files.optional(MENU)
    first = next((line for line in (menu or "").split("\n") if _ENTRY.match(line)), None)
    if first is not None:
        return BootMenu(True, upcoming=parse(first.split(None, 2)[2] if len(first.split(None, 2)) > 2 else ""), drop_in=drop_in)
    names = [SETTINGS, *(f"{DIRECTORY}/{name}" for name in files.entries(DIRECTORY) if name.endswith(".cfg"))]
    lines = [match[2] for name in names for match in _SETTING.finditer(files.optional(name) or "")]
    return BootMenu(True, upcoming=tuple(word for line in lines for word in parse(line)), drop_in=drop_in)


def _other_loader(files: HostFiles) -> str:
    """Why the words must be added by hand, and how; empty where they need not."""
    if files.exists("/run/ostree-booted"):
        return "this host boots by rpm-ostree: rpm-ostree kargs --append-if-missing='WORDS'"
    if files.exists("/boot/loader/entries") and not files.exists(MENU):
        return "this host boots by entries of /boot/loader: grubby --update-kernel=ALL --args='WORDS'"
    if any(files.exists(f"{place}/loader/loader.conf") for place in ("/boot", "/efi", "/boot/efi")) and not files.exists(MENU):
        return "this host boots by systemd-boot: add WORDS to /etc/kernel/cmdline, then reinstall the kernel (kernel-install)"
    if not files.exists(MENU) or not files.exists(SETTINGS):
        return "no boot loader is known here: add WORDS to the kernel's command line where this host keeps it"
    if files.link(MENU) is not None or (files.real and not files.exists(commands.GRUB_MKCONFIG)):
        return f"{MENU} is not made by grub-mkconfig here: add WORDS to the kernel's command line where this host keeps it"
    if not any(word.name == "BOOT_IMAGE" for word in running(files)):
        return "this kernel was not booted by GRUB (no BOOT_IMAGE= on its command line): add WORDS where it was booted from"
    return ""


def content_of(words: str) -> str:
    """The text of our file for these words.

    Raises:
        ValueError: a character that a shell or GRUB could take for something else.
    """
    if not _SAFE.fullmatch(words):
        raise ValueError(f"not words for a command line: {printable(words, 100)}")
    return f'{_HEAD}GRUB_CMDLINE_LINUX_DEFAULT="${{GRUB_CMDLINE_LINUX_DEFAULT}} {words}"\n'


def words_of(content: str | None) -> str:
    """The words in the text of our file; empty for none.

    Raises:
        OSError: EBADMSG: it is not as we write it.
    """
    if content is None:
        return ""
    match = _LINE.fullmatch(content.removeprefix(_HEAD))
    if match is None or not content.startswith(_HEAD) or not _SAFE.fullmatch(match[1]):
        raise OSError(errno.EBADMSG, "was edited by hand: delete it, run update-grub, and apply again", DROP_IN)
    return match[1]


def stage(files: HostFiles, content: str, make: Make, check: Check) -> None:
    """Makes our file hold ``content``, and the menu follow; where anything is not as it should be, both are left as they were.

    A kill between the two leaves our file with the words and the menu without them; ``unstage`` ends that.

    Args:
        files: the host.
        content: as ``content_of`` makes it.
        make: writes a new menu by the settings as they are into an open file.
        check: complains (OSError) of a menu by its path on this machine.

    Raises:
        OSError: ESTALE: the new menu would differ in more than the words; else as the kernel says it.
    """
    words, before = words_of(content), _drop_in(files)
    old = files.read(MENU).decode("utf-8", "surrogateescape")
    if not old.strip():
        raise OSError(errno.EBADMSG, "the boot menu is empty: run update-grub first", MENU)
    try:
        _place(files, content)
        new = _made(files, make, check)
        _compare(old, words_of(before), new, words)
        if before is None:
            files.place(KEPT, old.encode("utf-8", "surrogateescape"), _mode(files))
        files.place(MENU, new.encode("utf-8", "surrogateescape"), _mode(files))
    except BaseException:
        _place(files, before)
        if before is None:
            files.discard(KEPT)
        raise


def unstage(files: HostFiles, content: str | None) -> None:
    """Puts back what our file held before, or that it was not there, and cuts the words out of the menu as they were put in.

    From any state between, and without grub-mkconfig, which may have stopped working since. The menu comes first: our file is
    what says which words are ours.

    Raises:
        OSError: as the kernel says it.
    """
    ours, words = words_of(_drop_in(files)), words_of(content)
    old = files.read(MENU).decode("utf-8", "surrogateescape")
    new = exchanged(old, ours, words)
    if new != old:
        files.place(MENU, new.encode("utf-8", "surrogateescape"), _mode(files))
    _place(files, content)
    if content is None:
        files.discard(KEPT)


def _drop_in(files: HostFiles) -> str | None:
    return files.read(DROP_IN).decode("utf-8", "replace") if files.exists(DROP_IN) else None


def _mode(files: HostFiles) -> int:
    return os.stat(files.path(MENU)).st_mode & 0o7777


def _place(files: HostFiles, content: str | None) -> None:
    if content is None:
        files.discard(DROP_IN)
        return
    if not files.exists(DIRECTORY):
        os.mkdir(files.path(DIRECTORY), 0o755)
    files.place(DROP_IN, content.encode())


def _made(files: HostFiles, make: Make, check: Check) -> str:
    """A new menu, checked; what was made on the way is gone again."""
    path = files.path(FRESH)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            make(file)
        check(path)
        return files.read(FRESH).decode("utf-8", "surrogateescape")
    finally:
        files.discard(FRESH)


def exchanged(menu: str, old_words: str, words: str) -> str:
    """The menu with other words in the place of the old ones, byte for byte the same besides."""
    if not old_words:
        return menu
    lines = menu.split("\n")
    replacement = f" {words}" if words else ""
    return "\n".join(_without(line, old_words, replacement) if _ENTRY.match(line) else line for line in lines)


def _without(line: str, words: str, replacement: str) -> str:
    return re.sub(rf" {re.escape(words)}(?=\s|$)", lambda _: replacement, line)


def _compare(old: str, old_words: str, new: str, words: str) -> None:
    """Refuses a menu that is not the old one with these words in it."""
    was = [line.split() for line in exchanged(old, old_words, "").split("\n")]
    becomes = [line.split() for line in exchanged(new, words, "").split("\n")]
    if was != becomes:
        other = next((" ".join(theirs) for ours, theirs in zip(was, becomes, strict=False) if ours != theirs), "its length")
        raise OSError(
            errno.ESTALE,
            f"update-grub would change more than these words (as: {printable(other, 120)}): run it, look at what it did, and "
            "apply again",
            MENU,
        )
    first = next((line for line in new.split("\n") if _ENTRY.match(line)), "")
    if words and _without(first, words, "") == first:
        raise OSError(errno.EBADMSG, "the menu's first entry does not get the words: a later file sets them anew?", DIRECTORY)


def make_menu(file: IO[bytes]) -> None:
    """``grub-mkconfig`` of this machine."""
    commands.grub_mkconfig(file, _MKCONFIG_S)
    file.flush()


def check_menu(path: str) -> None:
    """``grub-script-check`` of this machine, where it is."""
    if os.path.getsize(path) == 0:
        raise OSError(errno.EIO, "grub-mkconfig made an empty menu")
    if os.path.exists(commands.GRUB_SCRIPT_CHECK):
        commands.grub_script_check(path, _CHECK_S)
