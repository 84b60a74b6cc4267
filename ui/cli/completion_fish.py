"""Completion for fish 3. What a command substitution prints is inserted with its special characters escaped."""

from collections.abc import Sequence

from ui.cli.command_tree import Command, Option, Value

_HEAD = """\
# Completion of quietcore for fish. To load it:  quietcore completion fish | source

function __quietcore_path
    # the command and its action on this line, with a slash between them
    set -l tokens (commandline -opc)
    set -l path
    set -l skip 0
    for token in $tokens[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $token @TAKES@
            set skip 1
        else if string match -q -- '-*' $token
            continue
        else if test (count $path) = 0
            set path $token
        else if contains -- $path[1] @WITHACTIONS@; and test (count $path) = 1
            set -a path $token
        end
    end
    string join / $path
end

function __quietcore_at
    set -l path (__quietcore_path)
    test "$path" = "$argv[1]"
end

function __quietcore_value_of
    set -l tokens (commandline -opc)
    for n in (seq (count $tokens))
        if test $tokens[$n] = $argv[1]; and set -q tokens[(math $n + 1)]
            echo $tokens[(math $n + 1)]
        end
        string replace -f -- $argv[1]= '' $tokens[$n]
    end
end

function __quietcore_interfaces
    set -l root (__quietcore_value_of --root)
    for path in $root[-1]/sys/class/net/*
        test -d $path; and printf '%s%s\\n' "$argv[1]" (string replace -r '.*/' '' $path)
    end
end

function __quietcore_profile
    set -l root (__quietcore_value_of --root)
    printf '%s\\n' @SHIPPED@
    for path in $root[-1]/etc/quietcore/profiles/*.toml
        string replace -r '.*/(.*)\\.toml$' '$1' $path
    end
end

function __quietcore_binding
    for part in @PARTS@
        __quietcore_interfaces $part=
    end
end

function __quietcore_source
    __quietcore_interfaces packet:
end

function __quietcore_transaction
    set -l root (__quietcore_value_of --root)
    set -l state (__quietcore_value_of --state)
    set -q state[1]; or set state $root[-1]/var/lib/quietcore
    for path in $state[-1]/transactions/*.journal
        string replace -r '.*/0*([0-9]+)\\.journal$' '$1' $path
    end
end

function __quietcore_disruption
    __fish_complete_list , "printf '%s\\n' link service reboot"
end

complete -c quietcore -f
"""


def script(quietcore: Command, shipped: Sequence[str], parts: Sequence[str]) -> str:
    """The script. ``shipped`` are profile names, ``parts`` what shipped profiles bind."""
    paths = [("", quietcore)]
    for command in quietcore.actions:
        paths.append((command.name, command))
        paths += [(f"{command.name}/{action.name}", action) for action in command.actions]
    takes = sorted({flag for _, command in paths for option in command.options if option.value for flag in option.flags})
    head = (
        _HEAD.replace("@SHIPPED@", " ".join(shipped))
        .replace("@PARTS@", " ".join(parts))
        .replace("@TAKES@", " ".join(takes))
        .replace("@WITHACTIONS@", " ".join(command.name for command in quietcore.actions if command.actions))
    )
    lines = [line for path, command in paths for line in _command(path, command)]
    return "\n".join([head, *lines]) + "\n"


def _command(path: str, command: Command) -> list[str]:
    at = f"complete -c quietcore -n {_quoted(f'__quietcore_at {_quoted(path)}')}"
    lines = [f"{at} {_option(option)}" for option in command.options]
    lines += [f"{at} -a {_quoted(action.name)} -d {_quoted(action.help)}" for action in command.actions]
    lines += [f"{at} {_candidates(value)}" for value in command.operands if value.kind != "text"]
    return lines


def _option(option: Option) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
    value = ""
    if option.value is not None:
        value = "-x " if option.value.kind not in ("directory", "file") else "-r "
        if option.value.kind != "text":
            value += _candidates(option.value) + " "
    return f"{flags} {value}-d {_quoted(option.help)}"


def _candidates(value: Value) -> str:
    if value.words:
        return f"-a {_quoted(' '.join(value.words))}"
    if value.kind == "directory":
        return "-a '(__fish_complete_directories)'"
    return "-F" if value.kind == "file" else f"-a '(__quietcore_{value.kind})'"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
