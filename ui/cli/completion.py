"""``quietcore completion``: a script that teaches a shell to complete quietcore's command line."""

import argparse
import importlib

LOAD = {
    "bash": 'eval "$(quietcore completion bash)"',
    "zsh": 'eval "$(quietcore completion zsh)"',
    "fish": "quietcore completion fish | source",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("shell", choices=tuple(LOAD), help="which shell's script")
    lines = "\n".join(f"  {load}" for load in LOAD.values())
    parser.epilog = (
        f"To load it, now or from the shell's own start-up file:\n\n{lines}\n\n"
        "It knows commands, options, profiles, interfaces and transactions (of --root and --state, too). What is on the host\n"
        "is looked up by the shell itself when TAB is pressed: nothing of Quietcore is started."
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the script."""
    from tuner.profile import NAME
    from tuner.profile_files import SHIPPED
    from ui.cli.command_tree import read_command_line

    shipped = sorted(path.stem for path in SHIPPED.glob("*.toml") if NAME.fullmatch(path.stem))
    parts = sorted({part for name in shipped for part in _parts(str(SHIPPED / f"{name}.toml"))})
    script: str = importlib.import_module(f"ui.cli.completion_{arguments.shell}").script(read_command_line(), shipped, parts)
    print(script, end="")
    return 0


def _parts(path: str) -> list[str]:
    from tuner.profile_check import check_layer
    from tuner.profile_files import read_document

    return [place[1] for place in check_layer(read_document(path)).settings if place[0] == "bind"]
