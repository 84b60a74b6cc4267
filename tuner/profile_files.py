"""Where profiles lie and how they are opened: what is applied as root is read once, from a file that nobody else can change."""

import hashlib
import os
import tomllib
from pathlib import Path

from tuner.host.faults import Fault
from tuner.host.files import HostFiles
from tuner.host.text import printable
from tuner.host.trusted import Distrusted, Unopened, read_trusted
from tuner.profile import NAME, Document, Place, Profile, ProfileError, Setting
from tuner.profile_check import check_layer, check_whole

SHIPPED = Path(__file__).resolve().parent.parent / "profiles"
LOCAL = "/etc/quietcore/profiles"
HOST_OVERLAY = "/etc/quietcore/host.toml"
SIZE_LIMIT = 64 * 1024


def available(files: HostFiles) -> dict[str, str]:
    """Name -> ``shipped`` or ``local`` of every profile that can be named; a local one hides a shipped one."""
    shipped = {p.stem: "shipped" for p in SHIPPED.glob("*.toml")}
    local = {e.removesuffix(".toml"): "local" for e in files.entries(LOCAL) if e.endswith(".toml")}
    return {name: where for name, where in sorted((shipped | local).items()) if NAME.fullmatch(name)}


def locate(files: HostFiles, name: str) -> tuple[str, bool]:
    """(path on this machine, shipped) of a profile named by its bare name, or by a path ending in ``.toml``.

    Raises:
        ProfileError: there is none; the message lists what there is.
    """
    if "/" in name or name.endswith(".toml"):
        return name, False
    known = available(files)
    if name not in known:
        raise ProfileError([Fault(f"profile '{printable(name)}'", "there is no such profile", f"known: {', '.join(known)}")])
    if known[name] == "local":
        return files.path(f"{LOCAL}/{name}.toml"), False
    return str(SHIPPED / f"{name}.toml"), True


def read_document(path: str, trusted_owner: bool = False) -> Document:
    """Opens a TOML file once, checks the open file, and parses what was read from it.

    Args:
        path: a file on this machine; a symbolic link is refused, since it could be exchanged between check and use.
        trusted_owner: also demand that root or the caller owns the file and nobody else may write it: what is applied as
            root must not be anybody else's.

    Raises:
        ProfileError: no regular file, too large, not trusted, not UTF-8, or not TOML (with line and column).
    """
    shown = printable(os.path.basename(path))
    raw = _read_checked(path, shown, trusted_owner)
    try:
        table = tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise ProfileError([Fault(shown, f"not UTF-8: byte {error.start}")]) from error
    except RecursionError as error:
        raise ProfileError([Fault(shown, "nested too deeply")]) from error
    except ValueError as error:  # TOMLDecodeError, and a plain ValueError for an integer of thousands of digits
        raise ProfileError([Fault(shown, f"not TOML: {printable(str(error))}")]) from error
    return Document(shown, hashlib.sha256(raw).hexdigest(), table)


def _read_checked(path: str, shown: str, trusted_owner: bool) -> bytes:
    try:
        return read_trusted(path, shown, SIZE_LIMIT, "a profile", trusted_owner)
    except Unopened as error:
        raise ProfileError([Fault(printable(path), error.what)]) from error
    except Distrusted as error:
        raise ProfileError([Fault(shown, error.what, error.hint)]) from error


def load(files: HostFiles, name: str, trusted_owner: bool = False) -> Profile:
    """The profile of that name (or path) with everything it extends, checked.

    Raises:
        ProfileError: everything that is wrong with it and with what it extends.
    """
    chain: list[str] = []
    layers: dict[str, dict[Place, Setting]] = {}
    faults: list[Fault] = []
    heads: list[tuple[Document, str]] = []

    def visit(each: str) -> None:
        if each in chain:
            faults.append(Fault(f"{each}.toml: extends", f"a circle: {' -> '.join([*chain, each])}"))
            return
        if each in layers:
            return
        chain.append(each)
        try:
            read(each)
        finally:
            chain.pop()

    def read(each: str) -> None:
        path, shipped = locate(files, each)
        document = read_document(path, trusted_owner and not shipped)
        layer = check_layer(document)
        faults.extend(layer.faults)
        for parent in layer.extends:
            try:
                visit(parent)
            except ProfileError as error:
                faults.extend(Fault(f"{document.name}: extends", str(fault)) for fault in error.faults)
        layers[each] = layer.settings
        heads.append((document, layer.summary))

    visit(name)
    settings = {place: setting for layer in layers.values() for place, setting in layer.items()}
    document, summary = heads[-1]
    profile = Profile(
        name=document.name.removesuffix(".toml"),
        summary=summary,
        sha256=document.sha256,
        layers=tuple(head.name for head, _ in heads),
        settings=settings,
    )
    faults.extend(check_whole(profile))
    if faults:
        raise ProfileError(faults)
    return profile


def host_bindings(files: HostFiles, trusted_owner: bool = False) -> dict[str, str]:
    """The ``[bind]`` table of the host's own overlay, empty where the host has none.

    Args:
        files: the host.
        trusted_owner: as in ``read_document``: the overlay says which NIC is changed.

    Raises:
        ProfileError: the overlay is there but wrong.
    """
    if not files.exists(HOST_OVERLAY):
        return {}
    document = read_document(files.path(HOST_OVERLAY), trusted_owner)
    unknown = sorted(set(document.table) - {"bind"})
    table = document.table.get("bind", {})
    faults = [Fault(f"host.toml: {printable(key)}", "unknown table", "host.toml holds [bind]") for key in unknown]
    if not isinstance(table, dict):
        faults.append(Fault("host.toml: bind", "not a table"))
        table = {}
    for key, value in table.items():
        if not isinstance(value, str) or printable(value) != value:
            faults.append(Fault(f"host.toml: bind.{printable(key)}", "not an interface name", 'write feed = "eth2"'))
    if faults:
        raise ProfileError(faults)
    return {str(key): str(value) for key, value in table.items()}
