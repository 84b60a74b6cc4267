"""``[boot]``: words of the kernel's command line, staged for the next boot and never applied to this one.

Source: Documentation/admin-guide/kernel-parameters.txt; for where they are put, ``tuner.host.grub``. What the running kernel
was booted with is ``effective``; what the next one will get is ``now``. A word that both have is as wanted, one that only the
next will have is ``pending-reboot``, and one that runs but stands nowhere for the next boot differs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from tuner.host.command_line import BootWord, parse, running
from tuner.host.cpulist import CpuListError, CpuSet, format_list, parse_list
from tuner.host.grub import content_of, words_of
from tuner.host.host import Inventory
from tuner.host.text import printable
from tuner.knobs.boot_words import REFUSED, WORDS, BootCpus, cpus_of, means_same, normal
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.language.entry import Entry, Family
from tuner.language.request import Request
from tuner.language.values import Flag
from tuner.profile import Setting

# COMMAND_LINE_SIZE is 2048 on x86 and arm64 (arch/*/include/uapi/asm/setup.h); the loader's own words need some of it.
_LINE_LIMIT = 1900
_NAMES = {normal(name) for name in WORDS}
# The kernel says of these what it made of them; the word alone proves nothing where it was built without.
_PROOF = {"nohz_full": "/sys/devices/system/cpu/nohz_full", "isolcpus": "/sys/devices/system/cpu/isolated"}


class BootWords(Knob):
    """The words of the command line that a profile may set, as one text; the identity is always ``host``."""

    family: ClassVar[str] = "boot.words"
    about: ClassVar[About] = About(
        "Words of the kernel's command line, for the next boot",
        "What only a boot can do: managed interrupts, the tick and RCU off cores that spin, pages of 1 GiB. Everything else is "
        "better done at run time, where it can be undone at once",
        "/etc/default/grub.d/99-quietcore.cfg, /boot/grub/grub.cfg",
        effective="/proc/cmdline, and what the kernel made of it: /sys/devices/system/cpu/{isolated,nohz_full}",
        risk="the next boot; the recovery entries of the boot menu never get these words",
        undo="the words are taken out of our file and the menu; after a reboot, too, by rollback. A transaction that was not "
        "confirmed before the reboot is undone by the recovery after it",
        quirks=(
            "GRUB as Debian and Ubuntu have it; elsewhere the plan says what to add by hand",
            "two words of one name are not merged: isolcpus by hand and isolcpus by profile is refused",
            "a kernel without CONFIG_NO_HZ_FULL takes nohz_full= without a word, and does nothing",
            "intel_idle.max_cstate=0 falls back to acpi_idle; it needs processor.max_cstate=1, too",
        ),
        source="Documentation/admin-guide/kernel-parameters.txt",
    )
    disruption: ClassVar[Disruption] = "reboot"
    lasting: ClassVar[bool] = True

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The words of the next boot and of this one, of those that a profile may set."""
        del identity
        menu = inventory.host.syscalls.boot_menu()
        words = _text(running(inventory.host.files))
        if not menu.supported:
            return Reading(now=None, effective=words, note=menu.by_hand)
        ignored = " ".join(map(str, _ignored(inventory)))
        effective: Json = {"words": words, "ignored": ignored} if ignored else words
        note = f"booted with {printable(ignored, 80)}, and this kernel does not do it" if ignored else ""
        return Reading(now=_text(menu.upcoming), effective=effective, undo={"drop_in": menu.drop_in}, note=note)

    def compare(self, reading: Reading, wanted: Json) -> State:
        """By meaning, word by word.

        Raises:
            Unsupported: this host's boot loader is not one to which words can be handed; the text says what to do by hand.
        """
        words = parse(str(wanted))
        both = reading.effective if isinstance(reading.effective, Mapping) else {"words": reading.effective, "ignored": ""}
        effective, ignored = str(both["words"]), str(both["ignored"])
        missing = [word for word in words if not _has(effective, word)]
        if reading.now is None:
            if not missing:
                return "ok"
            raise Unsupported(reading.note.replace("WORDS", " ".join(map(str, missing))))
        if not all(_has(str(reading.now), word) for word in words):
            return "differs"
        if not missing and any(_has(ignored, word) for word in words):
            raise Unsupported(f"{reading.note}: see {', '.join(_PROOF.values())}")
        return "pending-reboot" if missing else "ok"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Stages the words; what was staged before gives way to them."""
        del identity, options
        inventory.host.syscalls.set_boot_words(content_of(str(wanted)))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Stages what was staged before, or nothing."""
        del identity
        inventory.host.syscalls.release_boot_words(undo["drop_in"])

    def on_top(self, wanted: Json, below: Json, saved: Json) -> Json:
        """These words, and of those below, or staged already, the ones that these do not name."""
        ours = parse(str(wanted))
        theirs = parse(str(below) if below is not None else words_of((saved or {}).get("drop_in")))
        named = {word.name for word in ours}
        return " ".join(str(word) for word in (*(word for word in theirs if word.name not in named), *ours))

    def same(self, left: Json, right: Json) -> bool:
        """The same words, in any order."""
        return {str(word) for word in parse(str(left))} == {str(word) for word in parse(str(right))}

    def targets(self, inventory: Inventory) -> Sequence[tuple[str, str]]:
        """The one command line."""
        del inventory
        return [("next boot", "host")]


def _text(words: Iterable[BootWord]) -> str:
    return " ".join(str(word) for word in words if word.name in _NAMES)


def _has(line: str, word: BootWord) -> bool:
    """Whether a line has a word: the last one of its name counts."""
    last = next((each for each in reversed(parse(line)) if each.name == word.name), None)
    return last is not None and means_same(last, word)


def _ignored(inventory: Inventory) -> list[BootWord]:
    """Words with which this kernel was booted, and of which it made nothing."""
    files = inventory.host.files
    found = []
    for word in running(files):
        flags = BootCpus.split(word.value or "")[:-1]
        if word.name not in _PROOF or (flags and "domain" not in flags):  # managed_irq alone shows nowhere
            continue
        try:
            done: CpuSet = parse_list(files.optional(_PROOF[word.name]) or "")
        except CpuListError:  # "(null)"
            done = frozenset()
        if not cpus_of(word) <= done:
            found.append(word)
    return found


def _ask(request: Request) -> None:
    settings = {place[0]: setting for place, setting in request.profile.below("boot").items()}
    insecure = settings.pop("insecure", None)
    words = [word for name, setting in settings.items() if (word := _word(request, name, setting)) is not None]
    if not words or request.faults:
        return
    first = next(iter(settings.values()))
    _check_cpus(request, words, settings)
    mitigations = settings.get("mitigations")
    if mitigations is not None and _value(request, "mitigations", mitigations) == "off" and not (insecure and insecure.value):
        request.fault(mitigations, "takes away what protects processes from one another", "insecure = true beside it says so")
    order = list(WORDS)
    text = " ".join(str(word) for _, word in sorted(words, key=lambda each: order.index(each[0])))
    line = request.inventory.host.files.optional("/proc/cmdline") or ""
    if len(line) + len(text) > _LINE_LIMIT:
        request.fault(first, f"makes a command line of {len(line) + len(text)} bytes; the kernel reads 2048")
    _check_others(request, words, settings)
    request.wish(BootWords.family, "next boot", "host", text, first)


def _word(request: Request, name: str, setting: Setting) -> tuple[str, BootWord] | None:
    value = _value(request, name, setting)
    if value is False:
        return None
    return name, BootWord(name, None if value is True else str(value))


def _value(request: Request, name: str, setting: Setting) -> Json:
    kind = WORDS[name].kind
    if isinstance(kind, Flag):
        return setting.value
    if isinstance(kind, BootCpus):
        *flags, cpus = kind.split(str(setting.value))
        inside = cpus.strip()
        found = request.cpus(setting, inside[1:-1] if inside.startswith("{") else inside)
        return ",".join([*flags, format_list(found)])
    return request.first(setting, setting.value, None)


def _check_cpus(request: Request, words: list[tuple[str, BootWord]], settings: Mapping[str, Setting]) -> None:
    """Refuses what would leave the host without a CPU for itself, or contradicts itself."""
    topology, by_name = request.inventory.topology, dict(words)
    quiet: CpuSet = frozenset()
    for name in ("isolcpus", "nohz_full"):
        if (word := by_name.get(name)) is None:
            continue
        cpus = cpus_of(BootWord(normal(name), word.value))
        quiet |= cpus
        if 0 in cpus:
            request.fault(settings[name], "names CPU 0, on which the kernel itself depends")
        if cpus >= topology.online:
            request.fault(settings[name], "leaves no CPU for housekeeping")
    if (affinity := by_name.get("irqaffinity")) is not None and (shared := cpus_of(affinity) & quiet):
        request.fault(
            settings["irqaffinity"], f"sends interrupts to CPU {format_list(shared)}, which isolcpus or nohz_full quiets"
        )
    both = by_name.get("isolcpus"), by_name.get("nohz_full")
    if both[0] and both[1] and "nohz" in BootCpus.split(both[0].value or "")[:-1] and cpus_of(both[0]) != cpus_of(both[1]):
        request.fault(settings["nohz_full"], "must name the CPUs of isolcpus=nohz,…: the kernel drops the second of them")
    if both[1] and not request.inventory.host.files.exists(_PROOF["nohz_full"]):
        request.warnings.append("this kernel was built without CONFIG_NO_HZ_FULL: nohz_full will do nothing")


def _check_others(request: Request, words: list[tuple[str, BootWord]], settings: Mapping[str, Setting]) -> None:
    """Refuses a second word of a name that somebody else put on the command line: the kernel does not merge them."""
    host = request.inventory.host
    try:
        menu = host.syscalls.boot_menu()
        ours = {str(word) for word in parse(words_of(menu.drop_in))}
    except OSError:  # the reading says it
        return
    theirs = [word for word in (*menu.upcoming, *running(host.files)) if str(word) not in ours]
    staged_before = {word.name for word in parse(words_of(menu.drop_in))}
    for name, word in words:
        mine = BootWord(normal(name), word.value)
        other = next((each for each in theirs if each.name == mine.name and not means_same(each, mine)), None)
        if other is None or (other in running(host.files) and other not in menu.upcoming) or mine.name in staged_before:
            continue
        if WORDS[name].once:
            request.conflicts.append(
                f"{settings[name].source}: {printable(str(other), 80)} stands on the command line already, by another hand: "
                "the kernel does not merge the two; take it out there first"
            )
        else:
            request.warnings.append(f"{printable(str(other), 80)} stands on the command line already; ours comes behind it")


_ENTRIES = tuple(Entry(("boot", name), known.kind, known.about) for name, known in WORDS.items())
_REFUSALS = tuple(Entry(("boot", name), kind, kind.reason) for name, kind in REFUSED.items())

FAMILY = Family(
    "Boot words",
    (BootWords(),),
    (*_ENTRIES, Entry(("boot", "insecure"), Flag(), "mitigations = off is meant"), *_REFUSALS),
    _ask,
)
