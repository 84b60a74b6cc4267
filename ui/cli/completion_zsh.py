"""Completion for zsh. ``compadd`` quotes what it inserts; names come from globs, never from text that is evaluated again."""

from collections.abc import Sequence

from ui.cli.command_tree import Command, Option, Value

_HEAD = """\
#compdef quietcore
# Completion of quietcore for zsh. To load it:  eval "$(quietcore completion zsh)"

_quietcore_root() {
    # what stands behind --root and --state on this line
    local i
    root='' transactions=''
    for ((i = 2; i <= $#all_words; i++)); do
        case $all_words[i] in
            --root) root=${~${(Q)all_words[i+1]}} ;;
            --root=*) root=${(Q)all_words[i]#*=} ;;
            --state) transactions=${~${(Q)all_words[i+1]}} ;;
            --state=*) transactions=${(Q)all_words[i]#*=} ;;
        esac
    done
    transactions=${transactions:-$root/var/lib/quietcore}/transactions
}

_quietcore_interfaces() {
    local root transactions
    local -a names
    _quietcore_root
    names=($root/sys/class/net/*(N/:t) $root/sys/class/net/*(N@:t))
    compadd "$@" -a names
}

_quietcore_profile() {
    local root transactions
    local -a names
    _quietcore_root
    names=(@SHIPPED@ $root/etc/quietcore/profiles/*.toml(N:t:r))
    compadd -a names
    [[ $PREFIX == */* || $PREFIX == *.* ]] && _files -g '*.toml'
    return 0
}

_quietcore_binding() {
    local -a parts=(@PARTS@)
    if compset -P '*='; then _quietcore_interfaces; else compadd -S = -a parts; fi
}

_quietcore_source() {
    if compset -P 'packet:'; then _quietcore_interfaces; else compadd -S '' packet:; fi
}

_quietcore_transaction() {
    local root transactions
    local -a names
    _quietcore_root
    names=($transactions/<->.journal(N:t:r))
    names=(${names##0#})
    compadd -a names
}

_quietcore_disruption() { _values -s , kind link service reboot }
"""

_TAIL = """\
_quietcore() {
    local -a all_words=("${words[@]}")
    _quietcore_quietcore
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _quietcore "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _quietcore quietcore
fi
"""


def script(quietcore: Command, shipped: Sequence[str], parts: Sequence[str]) -> str:
    """The script. ``shipped`` are profile names, ``parts`` what shipped profiles bind."""
    head = _HEAD.replace("@SHIPPED@", " ".join(shipped)).replace("@PARTS@", " ".join(parts))
    return "\n".join([head, *_function("_quietcore_quietcore", quietcore), _TAIL])


def _function(name: str, command: Command) -> list[str]:
    """One command's function, those of its actions before it."""
    before = [line for action in command.actions for line in _function(f"{name}_{action.name}", action)]
    specs = [_option(option) for option in command.options]
    if not command.actions:
        operands = [_quoted(f"{n}:{_message(value)}:{_action(value)}") for n, value in enumerate(command.operands, 1)]
        return [*before, f"{name}() {{", "    _arguments \\", *_lines([*specs, *operands]), "}", ""]
    described = [f"        {_quoted(action.name + ':' + action.help)}" for action in command.actions]
    return [
        *before,
        f"{name}() {{",
        "    local state line context",
        "    local -a commands=(",
        *described,
        "    )",
        "    typeset -A opt_args",
        "    _arguments -C -A '-*' \\",
        *_lines([*specs, "'1: :->command'", "'*:: :->rest'"]),
        "    case $state in",
        "        command) _describe command commands ;;",
        f"        rest) (( $+functions[{name}_$line[1]] )) && {name}_$line[1] ;;",
        "    esac",
        "}",
        "",
    ]


def _lines(specs: Sequence[str]) -> list[str]:
    return [f"        {spec}" + (" \\" if n < len(specs) else "") for n, spec in enumerate(specs, 1)]


def _option(option: Option) -> str:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", " -")
    value = f":{_message(option.value)}:{_action(option.value)}" if option.value else ""
    specs = [_quoted(f"{flag}[{text}]{value}") for flag in option.flags]
    return " ".join(specs)


def _message(value: Value) -> str:
    return value.name.replace(":", "\\:")  # a bare colon ends the message


def _action(value: Value) -> str:
    if value.words:
        return f"({' '.join(value.words)})"
    return {"directory": "_files -/", "file": "_files", "text": " "}.get(value.kind, f"_quietcore_{value.kind}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
