"""Settings of a NIC's driver by name, for knobs: what ``ethtool -c -a --show-priv-flags --show-eee --show-fec`` would show.

Source: include/uapi/linux/ethtool.h, include/uapi/linux/ethtool_netlink.h, net/ethtool/ioctl.c. The requests that pyroute2's
ioctl class has (channels, coalesce, features) go through it, see ``tuner.host.syscalls``; these are the others.

One thing the ioctl cannot tell: a coalesce value that the driver does not have reads as 0. The netlink form of the same request
leaves it out (net/ethtool/coalesce.c, coalesce_put_u32), so that is asked which there are; kernels before 5.6 are believed.
"""

import errno
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from tuner.host import netlink

Request = Callable[[bytes], bytes]  # one SIOCETHTOOL: the buffer that goes in, the buffer that comes out
Value = bool | int | str
Values = dict[str, Value]

# Groups of values: those of the library, then ours.
CHANNELS, COALESCE, FEATURES = "channels", "coalesce", "features"
PAUSE, PRIVATE_FLAGS, EEE, FEC, TUNABLES = "pause", "private_flags", "eee", "fec", "tunables"

_GPAUSE, _SPAUSE = 0x12, 0x13
_GFLAGS, _SFLAGS, _GSSET_INFO, _GSTRINGS = 0x27, 0x28, 0x37, 0x1B
_GEEE, _SEEE = 0x44, 0x45
_GTUNABLE, _STUNABLE = 0x48, 0x49
_GFEC, _SFEC = 0x50, 0x51
_FLAG_NAMES, _NAME, _FLAGS = 2, 32, 32  # ETH_SS_PRIV_FLAGS, ETH_GSTRING_LEN, bits of a word
_RX_COPYBREAK, _U32 = 1, 3  # ETHTOOL_RX_COPYBREAK, ETHTOOL_TUNABLE_U32

# enum ethtool_fec_config_bits; none is what an active mode is called that is not known or not there
FEC_MODES = {"none": 1, "auto": 2, "off": 4, "rs": 8, "baser": 16, "llrs": 32}

# our name -> (pyroute2's name of the field, ETHTOOL_A_COALESCE_*)
COALESCE_FIELDS = {
    "rx_usecs": ("rx_coalesce_usecs", 2),
    "rx_frames": ("rx_max_coalesced_frames", 3),
    "rx_usecs_irq": ("rx_coalesce_usecs_irq", 4),
    "rx_frames_irq": ("rx_max_coalesced_frames_irq", 5),
    "tx_usecs": ("tx_coalesce_usecs", 6),
    "tx_frames": ("tx_max_coalesced_frames", 7),
    "tx_usecs_irq": ("tx_coalesce_usecs_irq", 8),
    "tx_frames_irq": ("tx_max_coalesced_frames_irq", 9),
    "adaptive_rx": ("use_adaptive_rx_coalesce", 11),
    "adaptive_tx": ("use_adaptive_tx_coalesce", 12),
    "rx_usecs_high": ("rx_coalesce_usecs_high", 19),
    "tx_usecs_high": ("tx_coalesce_usecs_high", 21),
}
# pyroute2's name of the field, its maximum's
CHANNEL_FIELDS = {
    "rx": ("rx_count", "max_rx"),
    "tx": ("tx_count", "max_tx"),
    "combined": ("combined_count", "max_combined"),
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One bit of a NIC's features: what was asked for, what is in force, and whether anybody may ask (``[fixed]``)."""

    requested: bool
    active: bool
    fixed: bool


def read_values(request: Request, group: str) -> Values:
    """The values of a group of ours.

    Raises:
        OSError: EOPNOTSUPP where the driver has no such group, ENODEV where the interface is gone.
    """
    return _READERS[group](request)


def write_values(request: Request, group: str, values: Mapping[str, Value]) -> None:
    """Changes some values of a group of ours, in one request; the others go back as they were read.

    Raises:
        OSError: as the driver refuses it; EOPNOTSUPP also for a value that it does not have.
    """
    now = _READERS[group](request)
    if absent := values.keys() - now.keys():
        raise OSError(errno.EOPNOTSUPP, f"the driver has no {', '.join(sorted(absent))}")
    _WRITERS[group](request, now | dict(values))


def _read_pause(request: Request) -> Values:
    autoneg, rx, tx = struct.unpack_from("=III", request(struct.pack("=I12x", _GPAUSE)), 4)
    return {"autoneg": bool(autoneg), "rx": bool(rx), "tx": bool(tx)}


def _write_pause(request: Request, values: Values) -> None:
    request(struct.pack("=IIII", _SPAUSE, *(int(values[name]) for name in ("autoneg", "rx", "tx"))))


def _flag_names(request: Request) -> list[str]:
    raw = request(struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _FLAG_NAMES, 0))
    mask, count = struct.unpack_from("=QI", raw, 8)
    if not mask or not 0 < count <= _FLAGS:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    # room for every bit of the word: the driver fills in as many as it has, whatever was asked for
    block = request(struct.pack(f"=III{_FLAGS * _NAME}x", _GSTRINGS, _FLAG_NAMES, count))[12:]
    names = (block[at : at + _NAME].split(b"\0", 1)[0] for at in range(0, count * _NAME, _NAME))
    return [name.decode("utf-8", "surrogateescape") for name in names]


def _read_flags(request: Request) -> Values:
    names = _flag_names(request)
    (word,) = struct.unpack_from("=I", request(struct.pack("=I4x", _GFLAGS)), 4)
    return {name: bool(word >> bit & 1) for bit, name in enumerate(names)}


def _write_flags(request: Request, values: Values) -> None:
    names = _flag_names(request)
    request(struct.pack("=II", _SFLAGS, sum(bool(values[name]) << bit for bit, name in enumerate(names))))


_EEE = struct.Struct("=8I8x")  # cmd, supported, advertised, the partner's, active, enabled, tx_lpi_enabled, tx_lpi_timer


def _read_eee(request: Request) -> Values:
    words = _EEE.unpack(request(_EEE.pack(_GEEE, *[0] * 7)))
    return {"enabled": bool(words[5]), "active": bool(words[4])}


def _write_eee(request: Request, values: Values) -> None:
    words = list(_EEE.unpack(request(_EEE.pack(_GEEE, *[0] * 7))))
    words[0], words[5] = _SEEE, int(values["enabled"])
    request(_EEE.pack(*words))


def _read_fec(request: Request) -> Values:
    active, wanted = struct.unpack_from("=II", request(struct.pack("=I12x", _GFEC)), 4)
    return {"mode": _modes(wanted), "active": _modes(active)}


def _write_fec(request: Request, values: Values) -> None:
    bits = sum(FEC_MODES[word] for word in str(values["mode"]).split("+"))
    request(struct.pack("=IIII", _SFEC, 0, bits, 0))


def _modes(bits: int) -> str:
    return "+".join(name for name, bit in FEC_MODES.items() if bits & bit) or "none"


def _read_tunables(request: Request) -> Values:
    raw = request(struct.pack("=IIIII", _GTUNABLE, _RX_COPYBREAK, _U32, 4, 0))
    return {"rx_copybreak": int(struct.unpack_from("=I", raw, 16)[0])}


def _write_tunables(request: Request, values: Values) -> None:
    request(struct.pack("=IIIII", _STUNABLE, _RX_COPYBREAK, _U32, 4, int(values["rx_copybreak"])))


_READERS: dict[str, Callable[[Request], Values]] = {
    PAUSE: _read_pause,
    PRIVATE_FLAGS: _read_flags,
    EEE: _read_eee,
    FEC: _read_fec,
    TUNABLES: _read_tunables,
}
_WRITERS: dict[str, Callable[[Request, Values], None]] = {
    PAUSE: _write_pause,
    PRIVATE_FLAGS: _write_flags,
    EEE: _write_eee,
    FEC: _write_fec,
    TUNABLES: _write_tunables,
}

_CTRL_FAMILY, _GETFAMILY, _CTRL_NAME, _CTRL_ID = 0x10, 3, 2, 1  # GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_*
_COALESCE_GET, _HEADER, _DEVICE = 19, 1, 2  # ETHTOOL_MSG_COALESCE_GET, ETHTOOL_A_COALESCE_HEADER, ETHTOOL_A_HEADER_DEV_NAME


def supported_coalesce(ifname: str) -> frozenset[str] | None:
    """Which coalesce values the driver has, by our names; None where the kernel does not tell.

    Raises:
        OSError: EOPNOTSUPP where it has none at all, ENODEV where the interface is gone.
    """
    family = _family()
    if family is None:
        return None
    device = netlink.attribute(_DEVICE, ifname.encode("utf-8", "surrogateescape") + b"\0")
    answers = netlink.ask(
        netlink.GENERIC, family, bytes((_COALESCE_GET, 1, 0, 0)) + netlink.attribute(_HEADER | 0x8000, device)
    )
    there = {kind for _, content in answers for kind, _ in netlink.attributes(content[4:])}
    return frozenset(name for name, (_, number) in COALESCE_FIELDS.items() if number in there)


@lru_cache(maxsize=1)
def _family() -> int | None:
    """The number that this boot gave to the ethtool family of generic netlink: it is built in, and stays."""
    question = bytes((_GETFAMILY, 1, 0, 0)) + netlink.attribute(_CTRL_NAME, b"ethtool\0")
    try:
        answers = netlink.ask(netlink.GENERIC, _CTRL_FAMILY, question)
    except OSError:  # before 5.6, or without CONFIG_ETHTOOL_NETLINK
        return None
    numbers = [value for _, content in answers for kind, value in netlink.attributes(content[4:]) if kind == _CTRL_ID]
    return int(struct.unpack_from("=H", numbers[0])[0]) if numbers and len(numbers[0]) >= 2 else None
