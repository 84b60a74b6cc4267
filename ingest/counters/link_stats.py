"""rtnl_link_stats64 of every interface by rtnetlink (RTM_GETSTATS): the one counter that sysfs does not show.

Source: include/uapi/linux/if_link.h, net/core/rtnetlink.c rtnl_stats_dump, net/ipv4/ip_input.c. ``rx_otherhost_dropped`` (5.19)
are packets to another host's address, which a switch flooded or a promiscuous interface let in. 64-bit. A dump takes the RTNL
lock and waits while an interface is reset; some 0.1 ms for ten interfaces.
"""

import struct
from collections.abc import Iterable

from tuner.host.netlink import attributes

REQUEST, ANSWER = 94, 92  # RTM_GETSTATS, RTM_NEWSTATS
QUESTION = struct.pack("=BxxxII", 0, 0, 1)  # struct if_stats_msg: all interfaces, IFLA_STATS_LINK_64
_HEAD = 12
_OTHERHOST = 24 * 8  # the 25th word of struct rtnl_link_stats64


def parse(messages: Iterable[tuple[int, bytes]]) -> dict[int, int]:
    """Index of an interface -> its rx_otherhost_dropped; empty on a kernel that has it not."""
    found = {}
    for kind, content in messages:
        if kind != ANSWER or len(content) < _HEAD:
            continue
        (ifindex,) = struct.unpack_from("=I", content, 4)
        counters = dict(attributes(content[_HEAD:])).get(1, b"")  # IFLA_STATS_LINK_64
        if len(counters) >= _OTHERHOST + 8:
            (found[ifindex],) = struct.unpack_from("=Q", counters, _OTHERHOST)
    return found
