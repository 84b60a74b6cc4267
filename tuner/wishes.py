"""From a profile to wishes: binds its parts, evaluates its core sets, and lets every family ask for its settings."""

from collections.abc import Mapping

from tuner.cores import CoreSetError, CoreSets
from tuner.host.cpulist import CpuListError, CpuSet, format_list
from tuner.host.faults import Fault
from tuner.host.host import Inventory
from tuner.host.nics import Nic
from tuner.host.text import printable
from tuner.knobs.catalogue import FAMILIES
from tuner.language.places import entry_of
from tuner.language.request import Request
from tuner.language.requirement import parse, unmet
from tuner.profile import Profile, ProfileError

# Sets that own their CPUs: two of them must not share one.
_EXCLUSIVE = ("housekeeping", "rx", "tx", "app")


def collect(inventory: Inventory, profile: Profile, bindings: Mapping[str, str]) -> Request:
    """All wishes of a profile on this host, in the order of the profile.

    Raises:
        ProfileError: every part of it that makes no sense here.
    """
    bound = bind(inventory, profile, bindings)
    request = Request(inventory, profile, bound, CoreSets(inventory, profile.texts("cores"), bound))
    _check_roles(request)
    _check_requirements(request)
    for place, setting in profile.settings.items():
        entry = entry_of(place)
        if entry is not None and entry.ask is not None:
            entry.ask(request, place, setting)
    for family in FAMILIES:
        if family.ask is not None:
            family.ask(request)
    request.warnings += request.sets.warnings
    if request.faults:
        raise ProfileError(request.faults)
    return request


def _check_roles(request: Request) -> None:
    """Records what each named set is here, and refuses roles that share CPUs."""
    named: dict[str, CpuSet] = {}
    for name in request.sets.names:
        try:
            named[name] = request.sets.named(name)
        except CoreSetError as error:
            request.fault(request.profile.settings["cores", error.named or name], str(error))
    if request.faults:  # whatever uses them would say the same again
        raise ProfileError(dict.fromkeys(request.faults))
    request.roles = {name: format_list(cpus) for name, cpus in named.items()}
    roles = [name for name in _EXCLUSIVE if name in named]
    for i, one in enumerate(roles):
        for other in roles[i + 1 :]:
            if shared := named[one] & named[other]:
                request.fault(request.profile.settings["cores", other], f"shares CPU {format_list(shared)} with '{one}'")


def _check_requirements(request: Request) -> None:
    """Refuses a host that is not as the profile demands it."""
    for setting in request.profile.requires:
        try:
            why = unmet(parse(setting.value), request)
        except (CoreSetError, CpuListError) as error:
            why = str(error)
        if why:
            request.fault(setting, why)


def bind(inventory: Inventory, profile: Profile, bindings: Mapping[str, str]) -> dict[str, str]:
    """A NIC for each part that the profile binds: the one given, else the only one that it can mean.

    Raises:
        ProfileError: a NIC that is not here, a part that could be several NICs.
    """
    known = profile.texts("bind")
    candidates = [nic for nic in inventory.nics if nic.physical and nic.name != "lo"]
    described = ", ".join(_describe(nic) for nic in candidates) or "this host has no physical NIC"
    bound: dict[str, str] = {}
    faults = []
    for part in known:
        name = bindings.get(part)
        eligible = [nic.name for nic in candidates if not nic.default_route]
        if name is None and len(eligible) == 1:
            name = eligible[0]
        if name is None:
            hint = f"--bind {part}={candidates[0].name if candidates else 'NIC'}, or [bind] in /etc/quietcore/host.toml"
            faults.append(Fault(f"bind.{part}", f"no NIC is named for it; this host has: {described}", hint))
        elif inventory.nic(name) is None:
            faults.append(Fault(f"bind.{part}", f"no interface '{printable(name)}' here; this host has: {described}"))
        else:
            bound[part] = name
    if faults:
        raise ProfileError(faults)
    return bound


def _describe(nic: Nic) -> str:
    node = f", node {nic.node}" if nic.node >= 0 else ""
    route = ", carries the default route" if nic.default_route else ""
    return f"{printable(nic.name)} ({nic.driver or 'no driver'}{node}{route})"
