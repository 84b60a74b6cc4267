"""``quietcore profiles``: what profiles there are, what stands in one, and whether a file is one."""

import argparse
import os
from typing import Any

from tuner.host.text import printable
from tuner.language.lines import located
from tuner.profile import ProfileError
from tuner.profile_files import HOST_OVERLAY, available, check_overlay, is_overlay, load, locate, read_document
from ui.cli.context import Context, open_context
from ui.cli.output import emit, say
from ui.cli.plan import make_plan
from ui.cli.table import table


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    from ui.cli.main import global_options

    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    listing = actions.add_parser("list", help="all profiles that can be named (the default)")
    listing.add_argument(
        "--changes", action="store_true", help="also plan each of them, and tell how many settings it would change here"
    )
    show = actions.add_parser("show", help="the text of a profile")
    show.add_argument("name", metavar="NAME")
    check = actions.add_parser("check", help="everything that is wrong with a file, at once")
    check.add_argument("file", metavar="FILE")
    schema = actions.add_parser("schema", help="the language as JSON Schema, for editors that check while you write")
    for action in (listing, show, check, schema):
        global_options(action)
    parser.epilog = "Local profiles are /etc/quietcore/profiles/NAME.toml; one of a shipped profile's name hides it."


def run(arguments: argparse.Namespace) -> int:
    """Lists, shows or checks."""
    if arguments.action == "schema":
        import json

        from tuner.language.schema import profile_schema

        if arguments.json:
            emit({"command": "profiles", "profile_schema": profile_schema()})
        else:
            print(json.dumps(profile_schema(), indent=2))
        return 0
    with open_context(arguments) as context:
        match arguments.action:
            case "show":
                return _show(context, arguments.name, arguments.json)
            case "check":
                return _check(context, arguments.file, arguments.json)
            case _:
                return _list(context, arguments.json, getattr(arguments, "changes", False))


def _list(context: Context, as_json: bool, changes: bool) -> int:
    active = context.active_profile()
    found: list[dict[str, Any]] = []
    for name, where in available(context.host.files).items():
        parts: list[str] = []
        try:
            profile = load(context.host.files, name)
            summary, faults, parts = profile.summary, 0, list(profile.texts("bind"))
        except ProfileError as error:
            summary, faults = "", len(error.faults)
        row = {"name": name, "where": where, "summary": summary, "faults": faults, "active": name == active, "parts": parts}
        found.append(row | (_changes(context, name) if changes else {}))
    if as_json:
        emit({"command": "profiles", "profiles": found})
        return 0
    print(table(("", "profile", "is", *(("changes",) if changes else ()), "for"), [_row(each, changes) for each in found]))
    return 0


def _row(found: dict[str, Any], changes: bool) -> tuple[str, ...]:
    count = "-" if found.get("changes") is None else str(found["changes"])
    told = str(found["summary"]) or f"{found['faults']} faults: check it"
    return ("*" if found["active"] else "", found["name"], found["where"], *((count,) if changes else ()), told)


def _changes(context: Context, name: str) -> dict[str, Any]:
    """How many settings a profile would change here; None and the reason where it cannot be planned."""
    try:
        return {"changes": len(make_plan(context, name, []).differing), "problem": ""}
    except ProfileError as error:
        return {"changes": None, "problem": printable(str(error), 400)}


def _show(context: Context, name: str, as_json: bool) -> int:
    path, _ = locate(context.host.files, name)
    document = read_document(path)
    profile = load(context.host.files, name)
    settings = [
        {"place": ".".join(place), "value": setting.value, "source": setting.source}
        for place, setting in profile.settings.items()
    ]
    if as_json:
        emit(
            {
                "command": "profiles",
                "name": profile.name,
                "summary": profile.summary,
                "sha256": document.sha256,
                "layers": list(profile.layers),
                "settings": settings,
                "requires": [{"requirement": setting.value, "source": setting.source} for setting in profile.requires],
            }
        )
        return 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            print(printable(line.rstrip("\n"), 1000))
    return 0


def _check(context: Context, path: str, as_json: bool) -> int:
    # a bare name is a profile's; anything that is there as a file is that file
    name = os.path.abspath(path) if os.path.lexists(path) or path.endswith(".toml") else path
    if name == HOST_OVERLAY:
        name = context.host.files.path(HOST_OVERLAY)
    try:
        good = _overlay(name) if is_overlay(context.host.files, name) else _profile(context, name)
    except ProfileError as error:
        if as_json:
            faults = [{"where": f.where, "line": f.line or None, "what": f.what, "hint": f.hint} for f in error.faults]
            emit({"command": "profiles", "file": printable(path), "ok": False, "faults": faults})
        for fault in error.faults:
            say(printable(fault.told(), 600))
        return 1
    if as_json:
        emit({"command": "profiles", "file": printable(path), "ok": True, "faults": []})
    else:
        print(f"{printable(path)}: good; {good}")
    return 0


def _profile(context: Context, name: str) -> str:
    profile = load(context.host.files, name)
    return f"{len(profile.settings)} settings from {', '.join(profile.layers)}"


def _overlay(path: str) -> str:
    """A host's overlay by itself; whether its core sets are known shows with a profile alone."""
    document = read_document(path)
    layer, bound = check_overlay(document)
    if layer.faults:
        raise ProfileError(located(layer.faults, [document]))
    return f"{len(bound)} parts bound, {len(layer.settings)} settings over every profile"
