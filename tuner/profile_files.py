"""Where profiles lie and how they are opened: what is applied as root is read once, from a file that nobody else can change."""

import hashlib
import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tuner.host.faults import Fault
from tuner.host.files import HostFiles
from tuner.host.text import printable
from tuner.host.trusted import Distrusted, Unopened, read_trusted
from tuner.language.lines import located
from tuner.profile import NAME, Document, Profile, ProfileError
from tuner.profile_check import Layer, check_layer, check_whole
from tuner.profile_merge import OVERLAY_TABLES, Merge, with_overlay, with_parts, with_sets

SHIPPED = Path(__file__).resolve().parent.parent / "profiles"
LOCAL = "/etc/quietcore/profiles"
HOST_OVERLAY = "/etc/quietcore/host.toml"
SIZE_LIMIT = 64 * 1024
# A key of more parts than any place has; tomllib takes time with the square of them, seconds for a full file.
_DEEP_KEY = re.compile(r"""(?<![\w"'.-])(?:(?:[\w-]++|"[^"\n]{0,64}"|'[^'\n]{0,64}')[ \t]*+\.[ \t]*+){64}""", re.ASCII)


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
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ProfileError([Fault(shown, f"not UTF-8: byte {error.start}")]) from error
    if _DEEP_KEY.search(text):
        raise ProfileError([Fault(shown, "nested too deeply")])
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ProfileError([Fault(shown, "nested too deeply")]) from error
    except ValueError as error:  # TOMLDecodeError, and a plain ValueError for an integer of thousands of digits
        raise ProfileError([Fault(shown, f"not TOML: {printable(str(error))}")]) from error
    return Document(shown, hashlib.sha256(raw).hexdigest(), table, text)


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
    profile, faults = _merged(files, name, trusted_owner)
    faults += check_whole(profile)
    if faults:
        raise ProfileError(located(faults, profile.documents))
    return profile


def load_for_host(
    files: HostFiles, name: str, sets: Sequence[str] = (), trusted_owner: bool = False, parts: Sequence[str] = ()
) -> tuple[Profile, dict[str, str]]:
    """The profile as this host is to have it, and part -> NIC as its overlay has it: overlay over profile, ``sets`` over both.

    Args:
        files: the host.
        name: as in ``load``.
        sets: ``KEY=VALUE`` of ``--set``, in the order in which they were given.
        trusted_owner: as in ``read_document``, for the overlay, too.
        parts: that ``--bind`` names. One that ``sets`` speak of, and the profile does not know, is bound by that.

    Raises:
        ProfileError: everything that is wrong with any of them.
    """
    profile, faults = _merged(files, name, trusted_owner)
    document, layer, bound = _overlay(files, trusted_owner)
    if document is not None:
        faults += layer.faults
        profile = with_overlay(profile, document, layer, bound)
    profile, wrong = with_sets(profile, sets)
    profile = with_parts(profile, parts)
    faults += [*wrong, *check_whole(profile)]
    if faults:
        raise ProfileError(located(faults, (*profile.documents, *([document] if document else []))))
    return profile, bound


def _merged(files: HostFiles, name: str, trusted_owner: bool) -> tuple[Profile, list[Fault]]:
    """The profile with everything it extends, and what is wrong with each file of it."""
    chain: list[str] = []
    heads: dict[str, tuple[Document, Layer]] = {}
    faults: list[Fault] = []
    merge = Merge()

    def visit(each: str) -> None:
        if each in chain:
            faults.append(Fault(f"{each}.toml: extends", f"a circle: {' -> '.join([*chain, each])}"))
            return
        if each in heads:
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
        heads[each] = document, layer
        merge.lay(layer)

    visit(name)
    documents = tuple(document for document, _ in heads.values())
    profile = Profile(
        name=documents[-1].name.removesuffix(".toml"),
        summary=heads[name][1].summary,
        sha256=documents[-1].sha256,
        layers=tuple(document.name for document in documents),
        settings=merge.settings,
        requires=tuple(merge.requires),
        documents=documents,
    )
    return profile, faults + merge.faults


def host_bindings(files: HostFiles, trusted_owner: bool = False) -> dict[str, str]:
    """The ``[bind]`` table of the host's own overlay, empty where the host has none.

    Args:
        files: the host.
        trusted_owner: as in ``read_document``: the overlay says which NIC is changed.

    Raises:
        ProfileError: the overlay is there but wrong.
    """
    document, layer, bound = _overlay(files, trusted_owner)
    if document is not None and layer.faults:
        raise ProfileError(located(layer.faults, [document]))
    return bound


def _overlay(files: HostFiles, trusted_owner: bool) -> tuple[Document | None, Layer, dict[str, str]]:
    if not files.exists(HOST_OVERLAY):
        return None, Layer(), {}
    document = read_document(files.path(HOST_OVERLAY), trusted_owner)
    return document, *check_overlay(document)


def is_overlay(files: HostFiles, path: str) -> bool:
    """Whether a path is that of a host's overlay: this host's, or a file of that name."""
    return path in (HOST_OVERLAY, files.path(HOST_OVERLAY)) or os.path.basename(path) == os.path.basename(HOST_OVERLAY)


def check_overlay(document: Document) -> tuple[Layer, dict[str, str]]:
    """A host's overlay, checked by itself, and part -> NIC as it binds them."""
    layer = check_layer(document, ("bind", *OVERLAY_TABLES), overlay=True)
    bound = {place[1]: str(setting.value) for place, setting in layer.settings.items() if place[0] == "bind"}
    layer.settings = {place: setting for place, setting in layer.settings.items() if place[0] != "bind"}
    return layer, bound
