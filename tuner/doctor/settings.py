"""Files that set something else at the next boot, link or installation than the applied profile does.

Source: sysctl.d(5), sysctl.conf(5), systemd.link(5), NetworkManager's nm-settings-keyfile(5), ifcfg of initscripts.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from configparser import ConfigParser, Error

from tuner.doctor.finding import Finding
from tuner.doctor.view import View
from tuner.host.nics import Nic
from tuner.host.text import printable

# The first directory that has a file of a name hides the same name in those behind it (sysctl.d(5)).
_SYSCTL = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_LINK = ("/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network")
_CONNECTIONS = (
    "/etc/NetworkManager/system-connections",
    "/run/NetworkManager/system-connections",
    "/usr/lib/NetworkManager/system-connections",
)
_LINK_KEYS = re.compile(
    r"(?:rx|tx)buffersize|(?:rx|tx|other|combined)channels|(?:rx|tx|use|stats|coalesce)\w*coalesce\w*|\w*coalesc\w*"
    r"|(?:generic|tcp|udp|large|receive|transmit)\w*(?:offload|acceleration|hardware\w*)|(?:rx|tx|autonegotiation)flowcontrol"
    r"|irqaffinity\w*|receivepacketsteering\w*|ntuplefilter",
    re.IGNORECASE,
)
_RINGS = {"ring-rx": "nic.rings.rx", "ring-tx": "nic.rings.tx", "rxbuffersize": "nic.rings.rx", "txbuffersize": "nic.rings.tx"}


def sysctl_files(view: View) -> Iterator[Finding]:
    """Keys of the applied profile that the next ``sysctl --system`` sets to something else."""
    wanted = {identity: value for (knob, identity), value in view.wanted.items() if knob.startswith("sysctl.")}
    last: dict[str, tuple[str, str]] = {}
    for path in _sysctl_order(view) if wanted else ():
        for key, value in _assignments(view.text(path, "sysctl-file")):
            if key in wanted:
                last[key] = (value, path)
    for key, (value, path) in sorted(last.items()):
        if value.split() != str(wanted[key]).split():
            yield Finding(
                "sysctl-file",
                "medium",
                key,
                f"{key} is {printable(str(wanted[key]), 40)} by the applied profile, and {printable(value, 40)} by a file",
                (f"{printable(path)}: {key} = {printable(value, 40)}",),
                "systemd-sysctl at boot, and every package that runs sysctl --system, set the file's value",
                f'take it out of {printable(path)}, or say the same in both: [sysctl] "{key}" = {_toml(value)}',
            )


def _sysctl_order(view: View) -> list[str]:
    """The files in the order in which they are read: by name, and /etc/sysctl.conf at last (procps)."""
    found: dict[str, str] = {}
    for directory in _SYSCTL:
        for path in view.names(directory, "sysctl-file", lambda name: name.endswith(".conf")):
            found.setdefault(path.rpartition("/")[2], path)
    own = ["/etc/sysctl.conf"] if view.files.exists("/etc/sysctl.conf") else []
    return [found[name] for name in sorted(found)] + own


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        name, equals, value = line.strip().partition("=")
        name = name.strip().removeprefix("-").strip()
        if equals and name and name[0] not in "#;":
            # with a slash before the first dot, slashes part the words and dots are dots (sysctl.d(5))
            first = next((c for c in name if c in "./"), ".")
            yield (name.replace("/", ".") if first == "/" else name), value.strip()


def _toml(value: str) -> str:
    return value if re.fullmatch(r"-?\d{1,19}", value) else f'"{printable(value, 60)}"'


def network_manager(view: View) -> Iterator[Finding]:
    """Connections of NetworkManager that carry ethtool settings for a NIC of this host."""
    for directory in _CONNECTIONS:
        for path in view.names(directory, "networkmanager", lambda name: name.endswith(".nmconnection")):
            sections = _ini(view.text(path, "networkmanager"))
            keys = {key: value for key, value in sections.get("ethtool", {}).items() if not key.startswith("wol")}
            connection = sections.get("connection", {})
            mac = sections.get("ethernet", {}).get("mac-address", "").lower()
            for nic in view.inventory.nics:
                named = connection.get("interface-name", "") or ""
                if keys and nic.physical and (named == nic.name or (not named and mac in ("", nic.mac.lower()))):
                    yield from _contested(view, nic, path, keys, "NetworkManager, when it connects")
    for path in view.names("/etc/sysconfig/network-scripts", "networkmanager", lambda name: name.startswith("ifcfg-")):
        line = next((x for x in view.text(path, "networkmanager").split("\n") if x.startswith("ETHTOOL_OPTS=")), "")
        named_so = view.inventory.nic(path.rpartition("ifcfg-")[2])
        if line and named_so is not None:
            yield from _contested(view, named_so, path, {"ethtool_opts": line.partition("=")[2]}, "the network scripts at ifup")


def link_files(view: View) -> Iterator[Finding]:
    """.link files of systemd that set rings, queues, coalescing, offloads or affinities of a NIC of this host."""
    found: dict[str, str] = {}
    for directory in _LINK:
        for path in view.names(directory, "link-file", lambda name: name.endswith(".link")):
            found.setdefault(path.rpartition("/")[2], path)
    files = [(found[name], _ini(view.text(found[name], "link-file"))) for name in sorted(found)]
    for nic in view.inventory.nics:
        if not nic.physical or nic.name == "lo":
            continue
        # the first file that matches applies, and no other (systemd.link(5))
        path, sections = next(((p, s) for p, s in files if _matches(nic, s.get("match", {}))), ("", {}))
        keys = {key: value for key, value in sections.get("link", {}).items() if _LINK_KEYS.fullmatch(key)}
        if keys:
            yield from _contested(view, nic, path, keys, "udev, when the device appears")


def _matches(nic: Nic, match: Mapping[str, str]) -> bool:
    tests = {
        "originalname": nic.name,  # the name that the kernel gave; it may have been changed since
        "macaddress": nic.mac.lower(),
        "permanentmacaddress": (nic.permanent_mac or nic.mac).lower(),
        "driver": nic.driver,
    }
    known = {key: value for key, value in match.items() if key in tests}
    return bool(match) and all(
        any(fnmatch.fnmatchcase(tests[key], pattern.lower() if "mac" in key else pattern) for pattern in value.split())
        for key, value in known.items()
    )


def _contested(view: View, nic: Nic, path: str, keys: Mapping[str, str], who: str) -> Iterator[Finding]:
    """The keys of a file that differ from what a profile wants of a NIC, or are settings of one that a profile binds."""
    bound = nic.name in view.bindings.values()
    differing = []
    for key, value in keys.items():
        knob = _RINGS.get(key)
        if knob is not None and (now := _ring(view, nic, knob)) is not None and str(now) == value.strip():
            continue
        differing.append(f"{key} = {printable(value, 40)}")
    if not differing:
        return
    part = next((part for part, name in view.bindings.items() if name == nic.name), "PART")
    yield Finding(
        "nic-settings-file",
        "medium" if bound else "low",
        printable(nic.name),
        f"a file sets {', '.join(differing[:4])}" + (" …" if len(differing) > 4 else "") + f" of {printable(nic.name)}",
        tuple(f"{printable(path)}: {line}" for line in differing[:8]),
        f"{who}, sets these again, whatever a profile has set",
        f"take them out of {printable(path)}, and say them in a profile: [nic.{part}]",
    )


def _ring(view: View, nic: Nic, knob: str) -> int | None:
    wanted = view.wanted.get((knob, nic.identity))
    if wanted is not None:
        return int(wanted)
    try:
        rings = view.inventory.host.syscalls.rings(nic.name)
    except OSError:
        return None
    return rings.rx if knob.endswith("rx") else rings.tx


def _ini(text: str) -> dict[str, dict[str, str]]:
    """Section -> key -> value, all names in small letters; what is no such file is empty."""
    parser = ConfigParser(
        strict=False,
        interpolation=None,
        delimiters=("=",),
        comment_prefixes=("#", ";"),
        allow_no_value=True,
        default_section="",
    )
    try:
        parser.read_string(text)
    except Error:
        return {}
    return {name.lower(): {key: value or "" for key, value in parser[name].items()} for name in parser.sections()}


LINTS = (sysctl_files, network_manager, link_files)
