"""``nic.hwtstamp``: which packets the NIC stamps with its own clock.

Source: Documentation/networking/timestamping.rst, include/uapi/linux/net_tstamp.h. There is one setting for each NIC, not for
each socket: whoever asks last decides for all, and ptp4l asks for what it needs when it starts.
"""

from collections.abc import Mapping
from typing import ClassVar

from tuner.host.host import Inventory
from tuner.host.hwtstamp import RECEIVE, TRANSMIT, Timestamping
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.knob import About, Disruption, Json, Knob, Reading, State, Unsupported
from tuner.knobs.nic import find_nic
from tuner.language.entry import PART, Entry, Family
from tuner.language.request import Request
from tuner.language.tables import Table
from tuner.language.values import Word
from tuner.profile import Place, Setting

# bnxt_hwtstamp_set closes and opens the device; mlx5e_hwstamp_set opens its channels anew where compression has to go
_REOPENS = ("bnxt_en", "mlx5_core")


class HardwareTimestamps(Knob):
    """The NIC's one setting; the identity is ``tuner.host.nics.Nic.identity``. A value is {"rx": FILTER, "tx": TYPE}."""

    family: ClassVar[str] = "nic.hwtstamp"
    about: ClassVar[About] = About(
        "Which packets the NIC stamps with its own clock",
        "all received packets, where the NIC can: wire to application is measured for each packet then, and a late one names "
        "who was late. It costs a few bytes of each descriptor and nothing of a core that does not ask for the stamp",
        "hwstamp_ctl -i IF",
        "ethtool -T IF says what the NIC could do",
        "bnxt and mlx5 may open the device anew",
        since="2.6.30; reading it back: 3.14",
        quirks=(
            "the driver may stamp more than it was asked for: all instead of one kind of PTP is ok-rounded",
            "ptp4l sets its own filter when it starts, and takes all away from whoever used it",
            "ERANGE: this hardware cannot stamp that; igb before the 82580 and ixgbe before the X550 stamp PTP only",
            "a virtio NIC has none; vmxnet3 has none",
        ),
        source="Documentation/networking/timestamping.rst, include/uapi/linux/net_tstamp.h",
    )

    def read(self, inventory: Inventory, identity: str) -> Reading:
        """The setting."""
        nic = find_nic(inventory, identity)
        try:
            now = inventory.host.syscalls.timestamping(nic.name)
        except PermissionError:
            raise
        except OSError as error:
            raise Unsupported(f"{nic.driver or 'the driver'} has no hardware timestamps: {error.strerror}") from error
        value = {"rx": now.receive, "tx": now.transmit}
        return Reading(now=value, effective=value, undo=value | {"flags": now.flags})

    def compare(self, reading: Reading, wanted: Json) -> State:
        """Equal, or a receive filter that takes in the wanted one."""
        now = reading.effective
        if "tx" in wanted and now["tx"] != wanted["tx"]:
            return "differs"
        if "rx" not in wanted or now["rx"] == wanted["rx"]:
            return "ok"
        return "ok-rounded" if covers(now["rx"], wanted["rx"]) else "differs"

    def write(self, inventory: Inventory, identity: str, wanted: Json, options: Mapping[str, Json]) -> None:
        """Asks for it; what is not named stays."""
        del options
        now = self.read(inventory, identity).saved
        self.restore(inventory, identity, now | dict(wanted))

    def restore(self, inventory: Inventory, identity: str, undo: Json) -> None:
        """Asks for the saved setting."""
        inventory.refresh()
        name = find_nic(inventory, identity).name
        wanted = Timestamping(str(undo["tx"]), str(undo["rx"]), int(undo.get("flags", 0)))
        inventory.host.syscalls.set_timestamping(name, wanted)

    def same(self, left: Json, right: Json) -> bool:
        """Equal filters and types."""
        return bool(left["rx"] == right["rx"] and left["tx"] == right["tx"])

    def disrupts(self, inventory: Inventory, identity: str) -> Disruption:
        """The link, where the driver opens the device anew for it."""
        return "link" if find_nic(inventory, identity).driver in _REOPENS else "none"


def covers(filter_: str, wanted: str) -> bool:
    """Whether a receive filter stamps everything that another one stamps."""
    if filter_ in ("all", wanted):
        return True
    if wanted in ("none", "all", "some", "ntp-all"):
        return False
    if filter_ == "ptpv2-event":
        return wanted.startswith("ptpv2-")
    if filter_ in ("ptpv2-sync", "ptpv2-delay-req"):
        return wanted.startswith("ptpv2-") and wanted.endswith(filter_.removeprefix("ptpv2"))
    # of one version and layer, event takes in sync and delay-req
    return filter_.endswith("-event") and wanted.startswith(filter_.removesuffix("event"))


def _ask(request: Request, place: Place, setting: Setting) -> None:
    nic = request.nic(place[1])
    wanted = {way: request.first(setting, word, None) for way, word in setting.value.items()}
    if wanted:
        _clash(request, setting, nic)
        request.wish("nic.hwtstamp", nic.name, nic.identity, wanted, setting)


def _clash(request: Request, setting: Setting, nic: Nic) -> None:
    """ptp4l beside it: on this very NIC a conflict, elsewhere a warning."""
    files = request.inventory.host.files
    try:
        threads = request.inventory.host.syscalls.threads()
    except OSError:
        return
    for thread in threads:
        if thread.name != "ptp4l" or thread.tid != thread.pid:
            continue
        words = (files.optional(f"/proc/{thread.pid}/cmdline") or "").split("\0")
        name = printable(nic.name)
        if nic.name in words or f"-i{nic.name}" in words:
            request.conflicts.append(
                f"ptp4l (process {thread.pid}) sets the timestamps of {name} for itself, and {setting.source} would take them "
                "from it: give it a NIC of its own, or leave hwtstamp to it"
            )
        else:
            request.warnings.append(f"{setting.source}: ptp4l (process {thread.pid}) runs here; if it uses {name}, it decides")


FAMILY = Family(
    "Hardware timestamps",
    (HardwareTimestamps(),),
    (
        Entry(
            ("nic", PART, "hwtstamp"),
            Table({"rx": Word(RECEIVE), "tx": Word(TRANSMIT)}, short="rx"),
            "which packets the NIC stamps",
            _ask,
        ),
    ),
)
