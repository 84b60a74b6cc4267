"""How feeds number their datagrams: the few that ``ring --feed`` knows so far. Data, not code, per venue.

Each was decoded from public captures of the venue's own traffic (Open-Markets-Initiative/omi-data-packets).
"""

from dataclasses import replace

from ingest.rings.layout import Framing

FRAMINGS: dict[str, Framing] = {
    framing.name: framing
    for framing in (
        # count 0: heartbeat; 0xffff: end of session (MoldUDP64 1.00)
        Framing("moldudp64", 10, 8, big_endian=True, count_offset=18, count_width=2, end_count=0xFFFF),
        Framing("cme_mdp3", 0, 4, big_endian=False),
        Framing("iex_tp", 24, 8, big_endian=False, count_offset=14, count_width=2),
        Framing("nyse_xdp_pillar", 4, 4, big_endian=False, count_offset=3, count_width=1),
        Framing("cboe_pitch", 4, 4, big_endian=False, count_offset=2, count_width=1),
    )
}


def parse_framing(text: str) -> Framing:
    """``FORMAT`` or ``FORMAT:PORT``, the UDP port to which the feed is sent.

    Raises:
        ValueError: an unknown format, or no port.
    """
    name, colon, port_text = text.partition(":")
    if name not in FRAMINGS:
        raise ValueError(f"unknown feed format {name[:40]!r}; known: {', '.join(FRAMINGS)}")
    if not colon:
        return FRAMINGS[name]
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text[:6]) < 65536 and len(port_text) <= 5):
        raise ValueError(f"{port_text[:40]!r} is no UDP port; write {name}:30001")
    return replace(FRAMINGS[name], port=int(port_text))
