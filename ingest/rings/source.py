"""What a ring is read from, as the command line names it: ``packet:eth2``, ``capture:morning.pcapng``."""

from dataclasses import dataclass

from tuner.host.nics import NAME_BYTES, valid_name
from tuner.host.text import printable

# kind -> what it will be
_LATER = {
    "xdp": "an AF_XDP socket on a dedicated port",
    "shared": "a ring in shared memory",
}


class SourceError(ValueError):
    """A source that does not exist, or not yet; the text says what may stand there."""


@dataclass(frozen=True, slots=True)
class Source:
    """``kind`` is ``packet`` or ``capture``; ``name`` is the interface, or the path of the file."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{printable(self.name)}"


def parse_source(text: str) -> Source:
    """The source that ``text`` names.

    Raises:
        SourceError: not KIND:NAME, a kind that is not built yet, no interface name, or no path.
    """
    kind, colon, name = text.partition(":")
    if kind in _LATER:
        raise SourceError(f"{kind}: ({_LATER[kind]}) is not built yet in this version; use packet:INTERFACE")
    if kind == "capture":
        if not name or "\0" in name:
            raise SourceError("capture: wants the path of a pcap or pcapng file, as capture:morning.pcapng")
        return Source(kind, name)
    if kind != "packet" or not colon:
        shown = printable(text, 60)
        raise SourceError(f"'{shown}' is no source; write packet:INTERFACE, as packet:eth2, or capture:FILE")
    if not valid_name(name):
        raise SourceError(
            f"'{printable(name, 60)}' is no interface name: 1 to {NAME_BYTES} bytes, no slash, colon or white space"
        )
    return Source(kind, name)
