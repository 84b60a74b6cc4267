"""The frames of a load: Ethernet, IPv4, UDP and MoldUDP64, one message each, to a multicast group that nobody has joined.

Layout (offsets from the start of the frame): IPv4 14, UDP 34, then MoldUDP64 1.00: session 42 (10 bytes), sequence 52 (8,
big-endian), message count 60 (2). Sizes are those of the frame without its checksum, as the ring counts them.
"""

import struct

SHORTEST = 62
LONGEST = 1514  # an MTU of 1500
HEADER_BYTES = 62
PORT_AT = 36
SEQUENCE_AT = 52
FIRST_PORT = 30001
MAX_STREAMS = 64  # as many as a walker follows
_SESSION = b"QUIETCORE0"
_GROUP = bytes((239, 1, 1, 1))
_GROUP_MAC = bytes((0x01, 0, 0x5E, 1, 1, 1))
_OUR_MAC = bytes((2, 0, 0, 0, 0, 1))  # locally administered
_OUR_ADDRESS = bytes((10, 0, 0, 1))


def header(frame_bytes: int, port: int = FIRST_PORT, sequence: int = 0) -> bytes:
    """The 62 bytes before the payload of a frame of ``frame_bytes``; UDP without a checksum, as IPv4 allows.

    Raises:
        ValueError: no frame of that size.
    """
    if not SHORTEST <= frame_bytes <= LONGEST:
        raise ValueError(f"a frame of {frame_bytes} bytes cannot be sent: from {SHORTEST} to {LONGEST}")
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, frame_bytes - 14, 0, 0, 1, 17, 0, _OUR_ADDRESS, _GROUP)
    total = sum(struct.unpack(">10H", ip))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", total ^ 0xFFFF) + ip[12:]
    udp = struct.pack(">4H", 30000, port, frame_bytes - 34, 0)
    return _GROUP_MAC + _OUR_MAC + b"\x08\x00" + ip + udp + _SESSION + struct.pack(">QH", sequence, 1)


def sent_of_stream(sent: int, streams: int, stream: int) -> int:
    """How many of ``sent`` packets went to the ``stream``-th of ``streams``, which are served in turn."""
    return (sent - stream + streams - 1) // streams
