"""``quietcore watch --ring``: opens the rings, gives up what is not needed any more, and begins to read."""

import argparse
import contextlib

from ingest.collector import pin_to_housekeeping
from ingest.live_rings import LiveRings
from ingest.ring_samples import RingReader
from ingest.rings.source import SourceError
from ingest.roles import default_roles, isolated_cpus
from tuner.host.privileges import CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_RAW, give_up_all_but
from tuner.host.text import printable
from tuner.host.topology import read_topology
from ui.cli.context import Context
from ui.cli.output import say
from ui.cli.ring_sources import filter_of, following_of, sources_of
from ui.cli.ring_text import filter_words

# What ``ring`` gives up for good, this cannot all do without: opening the ring again where an interface comes back takes
# CAP_NET_RAW; the counters of nftables' rules CAP_NET_ADMIN (nfnetlink_rcv); the journals, which name the active profile and
# its roles, are root's alone. Drivers' counters (ETHTOOL_GSTATS), procfs and sysfs are anybody's.
KEPT = (CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_NET_RAW)


def opened(context: Context, arguments: argparse.Namespace, interval_s: float, held: contextlib.ExitStack) -> RingReader:
    """The rings that are asked for, being read; closed with ``held``.

    Raises:
        ValueError: no such source, feed or filter.
        RingError: it cannot be had.
    """
    if not context.host.files.real or context.simulation is not None:
        raise ValueError("packets come from a real interface; --demo and --root have none. Try: --ring packet:lo")
    sources = sources_of(arguments.ring)
    if any(source.kind != "packet" for source in sources):
        raise SourceError("a capture file is not live; read it by: quietcore ring capture:FILE")
    if (arguments.feed or "").partition(":")[0] in ("list", "infer"):
        raise ValueError(f"--feed {arguments.feed.partition(':')[0]} is of the command ring; here it names what to follow")
    following, wanted = following_of(arguments), filter_of(arguments)
    topology = read_topology(context.host.files)
    # first, for the reader's threads inherit it
    _, roles = context.profile_and_roles()
    pin_to_housekeeping(topology, default_roles(topology, isolated_cpus(context.host.files, topology)) | roles)
    names = [source.name for source in sources]
    live = LiveRings(names, following, wanted, interval_s)
    held.callback(live.close)
    reader = RingReader(live, context.host.files, following)
    give_up_all_but(KEPT)  # from here on it reads what strangers send
    live.start()
    if not arguments.json:
        shown = " ".join(f"packet:{printable(name)}" for name in names)
        what = f", {filter_words(wanted.text)}" if wanted is not None else ""
        say(f"reading {shown}, latency mode, {live.walker} walker{what}")
    return reader
