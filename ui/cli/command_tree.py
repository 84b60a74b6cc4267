"""The whole command line as data, read from the parsers themselves: what completion scripts are made of."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

# What a value is, by the name that its help gives it. Anything else is a text that nobody can complete.
_KINDS = {
    "DIR": "directory",
    "FILE": "file",
    "PROFILE": "profile",
    "NAME": "profile",
    "PART=NIC": "binding",
    "TXN": "transaction",
    "SOURCE": "source",
    "KINDS": "disruption",
}


def _feed_words() -> tuple[str, ...]:
    from ingest.feeds.formats import feed_words

    return feed_words()


def _knob_words() -> tuple[str, ...]:
    from tuner.language.reference import references, sysctl_references

    return tuple(each.name for each in (*references(), *sysctl_references()))


# What a value may begin with, where it is neither anything nor one of a few words.
_OFFERS: dict[str, Callable[[], tuple[str, ...]]] = {"FORMAT[:PORT]": _feed_words, "KNOB": _knob_words}


@dataclass(frozen=True, slots=True)
class Value:
    """A value that an option takes or an operand is. ``words`` are what is offered for it, empty where ``kind`` says more."""

    kind: str
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """An option; ``value`` is None for a switch."""

    flags: tuple[str, ...]
    value: Value | None
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or an action of one."""

    name: str
    help: str
    options: tuple[Option, ...]
    operands: tuple[Value, ...]
    actions: tuple["Command", ...]


def read_command_line() -> Command:
    """Quietcore itself, its commands as actions in the order of the help. Imports every command's module."""
    from ui.cli.main import COMMANDS, build_parser

    whole = read_command("quietcore", "", build_parser(None))
    commands = [read_command(name, help_line, _choices(build_parser(name))[name]) for name, (_, help_line) in COMMANDS.items()]
    return replace(whole, actions=tuple(commands))


def read_command(name: str, help_line: str, parser: argparse.ArgumentParser) -> Command:
    """One parser as data."""
    options, operands = [], []
    for action in actions_of(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - there is no public name for it
            continue
        value = None if action.nargs == 0 else _value(action)
        if action.option_strings:
            options.append(Option(tuple(action.option_strings), value, action.help or ""))
        elif value is not None:
            operands.append(value)
    helps = _helps(parser)
    actions = tuple(read_command(each, helps.get(each, ""), choice) for each, choice in _choices(parser).items())
    return Command(name, help_line, tuple(options), tuple(operands), actions)


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """All arguments of a parser in their order; argparse has no public list of them."""
    return list(parser._actions)  # noqa: SLF001


def _value(action: argparse.Action) -> Value:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices:
        return Value("word", metavar, tuple(str(choice) for choice in action.choices))
    if metavar in _OFFERS:
        return Value("word", metavar, _OFFERS[metavar]())
    return Value(_KINDS.get(metavar, "text"), metavar, ())


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in actions_of(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    for action in actions_of(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
    return {}
