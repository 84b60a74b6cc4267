"""``nic.rp_filter`` and ``nic.force_igmp_version``: sysctls of one interface, of which there is one for all interfaces besides.

Source: Documentation/networking/ip-sysctl.rst, include/linux/inetdevice.h (IN_DEV_RPFILTER), net/ipv4/igmp.c (IGMP_V2_SEEN).
What is in force is made of both; the one for all is set by ``[sysctl]``, which is applied before these.
"""

from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import About, Reading, Unsupported
from tuner.knobs.nic import find_nic
from tuner.knobs.nic_files import NicFile
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.values import Whole
from tuner.profile import Place, Setting

CONF = "/proc/sys/net/ipv4/conf"


class InterfaceSysctl(NicFile):
    """One sysctl below net.ipv4.conf.IF."""

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The interface's own value, and what is in force."""
        nic, files = find_nic(inventory, identity), inventory.host.files
        own, of_all = files.number(self.path(nic)), files.number(f"{CONF}/all/{self.leaf}")
        if own is None:
            raise Unsupported(f"this host has no {self.path(nic)}")
        in_force = self.in_force(own, of_all or 0)
        note = f"net.ipv4.conf.all.{self.leaf} is {of_all}, and counts, too" if in_force != own else ""
        return Reading(now=own, effective=in_force, note=note)

    def path(self, nic: Nic) -> str:
        """The interface's own file."""
        return f"{CONF}/{nic.name}/{self.leaf}"

    def in_force(self, own: int, of_all: int) -> int:
        """What the kernel makes of both."""
        return max(own, of_all)


class RpFilter(InterfaceSysctl):
    """rp_filter."""

    family: ClassVar[str] = "nic.rp_filter"
    leaf: ClassVar[str] = "rp_filter"
    about: ClassVar[About] = About(
        "Whether packets are dropped whose source is not routed back by the interface that they came by",
        "2 (loose) or 0 (off) on a feed: 1 (strict) drops, without a word, multicast whose sender is reached another way",
        "/proc/sys/net/ipv4/conf/IF/rp_filter",
        "the larger of conf/all and conf/IF; IPReversePathFilter in /proc/net/netstat counts what it dropped",
        "0 believes every source address",
        quirks=(
            "the larger of conf/all and conf/IF is in force: 0 here does nothing while all is 1",
            "conf/default is only for interfaces to come; several distributions set 1 or 2 there at boot",
        ),
        source="Documentation/networking/ip-sysctl.rst, net/ipv4/fib_frontend.c",
    )


class ForceIgmpVersion(InterfaceSysctl):
    """force_igmp_version."""

    family: ClassVar[str] = "nic.force_igmp_version"
    leaf: ClassVar[str] = "force_igmp_version"
    about: ClassVar[About] = About(
        "The version of IGMP in which this interface speaks of its groups",
        "What the exchange's querier speaks, mostly 2; 0 follows the queries it hears, and speaks 3 until it has heard one",
        "/proc/sys/net/ipv4/conf/IF/force_igmp_version",
        "column V1, V2 or V3 of /proc/net/igmp",
        "groups that are joined already are reported anew at the next query only",
        quirks=("1 or 2 in conf/all forces every interface",),
        source="Documentation/networking/ip-sysctl.rst, net/ipv4/igmp.c",
    )

    def in_force(self, own: int, of_all: int) -> int:
        """The oldest version that is forced by either; 3 and 0 force none."""
        forced = [each for each in (own, of_all) if each in (1, 2)]
        return min(forced) if forced else own


def _ask(request: Request, place: Place, setting: Setting) -> None:
    nic, leaf, files = request.nic(place[1]), place[-1], request.inventory.host.files
    knob: InterfaceSysctl = RpFilter() if leaf == RpFilter.leaf else ForceIgmpVersion()
    key = f"net.ipv4.conf.all.{leaf}"
    asked = request.profile.get("sysctl", key)
    of_all = asked.value if asked is not None and isinstance(asked.value, int) else files.number(f"{CONF}/all/{leaf}")
    in_force = knob.in_force(int(setting.value), of_all or 0)
    if in_force != setting.value:
        request.fault(
            setting,
            f"{key} is {of_all}, with which {in_force} stays in force on {printable(nic.name)}",
            f'set it, too: [sysctl] "{key}" = {min(int(setting.value), of_all or 0) if leaf == "rp_filter" else 0}',
        )
    request.wish(f"nic.{leaf}", nic.name, nic.identity, setting.value, setting)


FAMILY = Family(
    "Stack of an interface",
    (RpFilter(), ForceIgmpVersion()),
    (
        Entry(("nic", PART, "rp_filter"), Whole(0, 2, bounds=False), "0 off, 1 strict, 2 loose", _ask),
        Entry(("nic", PART, "force_igmp_version"), Whole(0, 3, bounds=False), "the version of IGMP; 0: as the querier", _ask),
    ),
)
