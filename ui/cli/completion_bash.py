"""Completion for bash 4.3 or newer.

Interface names are hostile: any byte but ``/``, ``:`` and white space. So names come from globs, never from a word list that
bash would expand again, and each is quoted by ``printf %q`` before it reaches the command line.
"""

from collections.abc import Iterable, Sequence

from ui.cli.command_tree import Command, Value

_HEAD = """\
# Completion of quietcore for bash. To load it:  eval "$(quietcore completion bash)"

_quietcore_reply() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] || continue
        word=${word#"$strip"}
        [[ $word == *[^A-Za-z0-9_.,:=@%+/-]* ]] && word=$(printf %q "$word")
        COMPREPLY+=("$word")
    done
}

_quietcore_paths() {
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$1" -- "$cur")
}

_quietcore_interfaces() {
    local path
    for path in "$root"/sys/class/net/*/; do
        path=${path%/}
        [[ -e $path ]] && _quietcore_reply "$1${path##*/}"
    done
}

_quietcore_profiles() {
    local path
    _quietcore_reply @SHIPPED@
    for path in "$root"/etc/quietcore/profiles/*.toml; do
        path=${path##*/}
        [[ $path == '*.toml' ]] || _quietcore_reply "${path%.toml}"
    done
    [[ $cur == */* || $cur == *.* ]] && _quietcore_paths -f
}

_quietcore_transactions() {
    local path
    for path in "${state:-$root/var/lib/quietcore}"/transactions/*.journal; do
        path=${path##*/} path=${path%.journal}
        [[ $path == +([0-9]) ]] && _quietcore_reply "$((10#$path))"
    done
}

_quietcore_value() {
    local word words
    case $1 in
        directory) _quietcore_paths -d ;;
        file) _quietcore_paths -f ;;
        profile) _quietcore_profiles ;;
        transaction) _quietcore_transactions ;;
        binding)
            if [[ $cur == *=* ]]; then _quietcore_interfaces "${cur%%=*}="
            else compopt -o nospace 2>/dev/null; for word in @PARTS@; do _quietcore_reply "$word="; done; fi ;;
        source)
            if [[ $cur == packet:* ]]; then _quietcore_interfaces packet:
            else compopt -o nospace 2>/dev/null; _quietcore_reply packet:; fi ;;
        disruption)
            words=; [[ $cur == *,* ]] && words=${cur%,*},
            for word in link service reboot; do
                [[ ,$words == *",$word,"* ]] || _quietcore_reply "$words$word"
            done ;;
        word=*) IFS=, read -r -a words <<<"${1#word=}"; _quietcore_reply "${words[@]}" ;;
    esac
}
"""

_TAIL = """\
_quietcore() {
    local line=${COMP_LINE:0:COMP_POINT} cur='' root='' state='' path='' kind='' strip='' flag='' operands=0 word mark
    local -a words=()
    COMPREPLY=()
    read -r -a words <<<"$line"
    if [[ $line != *[[:space:]] && ${#words[@]} -gt 0 ]]; then cur=${words[-1]}; unset 'words[-1]'; fi
    for word in "${words[@]:1}"; do
        if [[ $kind ]]; then
            case $flag in --root) root=$word ;; --state) state=$word ;; esac
            root=${root/#\\~\\//$HOME/} state=${state/#\\~\\//$HOME/} kind=''
        elif [[ $word == --root=* ]]; then root=${word#*=}
        elif [[ $word == --state=* ]]; then state=${word#*=}
        elif [[ $word == -* ]]; then flag=$word; _quietcore_takes
        elif [[ $path == '' || $path == @WITHACTIONS@ ]]; then path=${path:+$path/}$word
        else operands=$((operands + 1)); fi
    done
    if [[ ! $kind && $cur == --*=* ]]; then flag=${cur%%=*}; cur=${cur#*=}; _quietcore_takes; [[ $kind ]] || return 0; fi
    # readline completes behind the last of its own word breaks: what stands before it must not come again
    for mark in = :; do
        if [[ $COMP_WORDBREAKS == *"$mark"* && $cur == *"$mark"* ]]; then strip=${cur%"${cur##*"$mark"}"}; fi
    done
    if [[ $kind ]]; then _quietcore_value "$kind"
    elif [[ $cur == -* ]]; then _quietcore_options
    else _quietcore_operand; fi
    return 0
}

complete -F _quietcore quietcore
"""


def script(quietcore: Command, shipped: Sequence[str], parts: Sequence[str]) -> str:
    """The script. ``shipped`` are profile names, ``parts`` what shipped profiles bind."""
    paths = [("''", quietcore)]
    for command in quietcore.actions:
        paths.append((command.name, command))
        paths += [(f"{command.name}/{action.name}", action) for action in command.actions]
    takes, options, operands = [], [], []
    for path, command in paths:
        flags = [flag for option in command.options for flag in option.flags]
        options.append(f"        {path}) _quietcore_reply {' '.join(flags)} ;;")
        operands.append(f"        {path}) {_operand(command)} ;;")
        for option in command.options:
            if option.value is not None:
                takes += [f"        {path}:{flag}) kind={_kind(option.value)} ;;" for flag in option.flags]
    with_actions = "|".join(command.name for command in quietcore.actions if command.actions)
    return "\n".join(
        [
            _HEAD.replace("@SHIPPED@", " ".join(shipped)).replace("@PARTS@", " ".join(parts)),
            *_function("takes", "$path:$flag", takes),
            *_function("options", "$path", options),
            *_function("operand", "$path", operands),
            _TAIL.replace("@WITHACTIONS@", f"@({with_actions})"),
        ]
    )


def _function(name: str, subject: str, cases: Iterable[str]) -> list[str]:
    return [f"_quietcore_{name}() {{", f"    case {subject} in", *cases, "    esac", "}", ""]


def _kind(value: Value) -> str:
    return f"word={','.join(value.words)}" if value.words else value.kind


def _operand(command: Command) -> str:
    if command.actions:
        return f"_quietcore_reply {' '.join(action.name for action in command.actions)}"
    kinds = " ".join(_kind(value) for value in command.operands)
    return f'local kinds=({kinds}); _quietcore_value "${{kinds[operands]-}}"'
