#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write completions/ for bash, zsh and fish from what `mmh help --json` says.

tools/completions.py [BUILD]            after a change of verbs or options; BUILD is build/
tools/completions.py --check [BUILD]    write nothing; exit 1 if a file is not as it would be written
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE = "Made by tools/completions.py from `mmh help --json`: change those, not this."
PATHS = ("PATH", "FILE", "KEY")  # what values are called that may be files
LETTERS = {"d": "unpack", "t": "verify", "l": "ls"}  # zstd's, in place of a verb


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def names(option):
    """An option as it is typed: ["-o", "--output"]."""
    short = ["-" + option["letter"]] if "letter" in option else []
    if option["name"] == "level":
        short = ["-" + level for level in option["choices"]]
    return [*short, "--" + option["name"]]


def takes_next(option):
    """Whether a word of its own may follow as the value."""
    return "value" in option and "optional" not in option


def files(verb):
    """What a verb takes: containers, any files, verbs, or one of its words and then files."""
    if verb["words"]:
        return "words"
    if verb["name"] == "help":
        return "verbs"
    return "containers" if verb["synopsis"].startswith("X.mmh") else "files"


def verb_names(verbs):
    return " ".join(verb["name"] for verb in verbs)  # aliases are understood, not offered


def pattern(verb):
    return "|".join([verb["name"], *verb["aliases"]])


# ---- bash ----

BASH = r"""# mmh(1) for bash.
# {made}
# shellcheck shell=bash

_mmh_verb() # the verb among the words before the cursor
{{
    local i word skip=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ -n $skip ]]; then
            [[ $word == = ]] || skip=
        elif [[ $word =~ ^-[0-9cfhkqvV]*([dtl]) ]]; then
            case ${{BASH_REMATCH[1]}} in
{letters}
            esac
            return
        elif [[ $word == @({valued}) ]]; then
            skip=1
        elif [[ $word != -* && $word != = ]]; then
            echo "$word"
            return
        fi
    done
}}

_mmh_told() # WORDS: whether one of them stands before the cursor
{{
    local word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ " $1 " == *" $word "* ]] && return
    done
    return 1
}}

_mmh_words() {{ mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }}

_mmh_files() # PATTERN: with it such files alone, and folders
{{
    compopt -o filenames 2>/dev/null
    if [[ -n $1 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -X "!$1" -- "$cur"; compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}}

_mmh()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD - 1]}} verb
    COMPREPLY=()
    if [[ $cur == = ]]; then # --hash=
        cur=
    elif [[ $option == = ]]; then # --hash=b
        option=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    case $option in
{values}
    esac
    verb=$(_mmh_verb)
    case $verb in
{verbs}
        *)
            if [[ $cur == -* ]]; then
                _mmh_words "{top}"
            else
                _mmh_words "{names}"
            fi
            ;;
    esac
}}

complete -F _mmh mmh
"""


def bash(verbs):
    valued, values = {}, []
    for verb in verbs:
        for option in verb["options"]:
            if takes_next(option):
                for name in names(option):
                    if not name[1:].isdigit():
                        valued.setdefault(name, option)
    for name, option in sorted(valued.items(), key=lambda pair: (pair[1]["name"], pair[0])):
        if "choices" in option:
            action = f'_mmh_words "{" ".join(option["choices"])}"'
        else:
            action = '_mmh_files ""' if option["value"] in PATHS else ":"
        values.append(f"        {name}) {action}; return ;;")
    cases = []
    for verb in verbs:
        words = " ".join(name for option in verb["options"] for name in names(option))
        told = " ".join(verb["words"])
        rest = {
            "verbs": f'_mmh_words "{verb_names(verbs)}"',
            "containers": "_mmh_files '*.mmh'",
            "words": f'_mmh_told "{told}" && _mmh_files "" || _mmh_words "{told}"',
            "files": '_mmh_files ""',
        }[files(verb)]
        cases += [
            f"        {pattern(verb)})",
            "            if [[ $cur == -* ]]; then",
            f'                _mmh_words "{words}"',
            "            else",
            f"                {rest}",
            "            fi",
            "            ;;",
        ]
    letters = "\n".join(f"                {letter}) echo {verb} ;;" for letter, verb in LETTERS.items())
    return BASH.format(
        made=MADE,
        letters=letters,
        valued="|".join(sorted(valued)),
        values="\n".join(values),
        verbs="\n".join(cases),
        names=verb_names(verbs),
        top=" ".join(["-" + letter for letter in LETTERS] + ["-h", "--help", "-V", "--version"]),
    )


# ---- zsh ----

ZSH = r"""#compdef mmh
# mmh(1) for zsh.
# {made}

_mmh() {{
    local context state state_descr line
    local -A opt_args
    local -a verbs
    verbs=(
{names}
    )
    if (( CURRENT > 2 )); then # zstd's letters in place of a verb
        case $words[2] in
{letters}
        esac
    fi
    _arguments -C -s \
        '(- *)'{{-h,--help}}'[this text]' \
        '(- *)'{{-V,--version}}'[the version]' \
{flags}
        '1:verb:->verb' \
        '*::argument:->rest' && return
    case $state in
        verb) _describe -t verbs verb verbs ;;
        rest)
            case $words[1] in
{verbs_cases}
            esac
            ;;
    esac
}}

_mmh "$@"
"""


def zsh_text(text):
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text


def zsh_option(option):
    text = zsh_text(option["help"])
    value = ""
    if "value" in option:
        action = (
            f"({' '.join(option['choices'])})"
            if "choices" in option
            else ("_files" if option["value"] in PATHS else " ")
        )
        value = f"{'' if takes_next(option) else ':'}:{option['value']}:{action}"
    lines = []
    if option["name"] == "level":
        lines += [quote(f"-{level}[level {level}]") for level in option["choices"]]
        lines.append(quote(f"--level=[{text}]{value}"))
    elif "letter" in option:
        short, long = f"-{option['letter']}", f"--{option['name']}"
        both = f"{{{short}{'+' if value else ''},{long}{'=' if value else ''}}}"
        lines.append(f"{quote(f'({short} {long})')}{both}{quote(f'[{text}]{value}')}")
    else:
        equals = "" if not value else "=" if takes_next(option) else "=-"
        lines.append(quote(f"--{option['name']}{equals}[{text}]{value}"))
    return lines


def zsh(verbs):
    cases = []
    for verb in verbs:
        cases += [f"                {pattern(verb)})"]
        lines = [line for option in verb["options"] for line in zsh_option(option)]
        rest = {
            "verbs": "'*:verb:{_describe -t verbs verb verbs}'",
            "containers": "'*:container:_files -g \"*.mmh(-.)\"'",
            "words": f"'1:what:({' '.join(verb['words'])})' '*:file:_files'",
            "files": "'*:file:_files'",
        }[files(verb)]
        cases += ["                    _arguments -s -S \\"]
        cases += [f"                        {line} \\" for line in lines]
        cases += [f"                        {rest}", "                    ;;"]
    listed = "\n".join(f"        {quote(verb['name'] + ':' + zsh_text(verb['summary']))}" for verb in verbs)
    letters = "\n".join(f"            -{letter}*) words[2]={verb} ;;" for letter, verb in LETTERS.items())
    summaries = {verb["name"]: verb["summary"] for verb in verbs}
    flags = "\n".join(
        f"        {quote(f'-{letter}[{verb}: {zsh_text(summaries[verb])}]')} \\" for letter, verb in LETTERS.items()
    )
    return ZSH.format(made=MADE, names=listed, letters=letters, flags=flags, verbs_cases="\n".join(cases))


# ---- fish ----

FISH = r"""# mmh(1) for fish.
# {made}

function __mmh_verb # the verb among the words before the cursor
    set -l skip
    for word in (commandline -opc)[2..-1]
        if set -q skip[1]
            set -e skip
        else if string match -qr '^-[0-9cfhkqvV]*d' -- $word
            echo unpack
            return
        else if string match -qr '^-[0-9cfhkqvV]*t' -- $word
            echo verify
            return
        else if string match -qr '^-[0-9cfhkqvV]*l' -- $word
            echo ls
            return
        else if contains -- $word {valued}
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
            return
        end
    end
end

function __mmh_is
    contains -- (__mmh_verb) $argv
end

function __mmh_is_told # VERB WORD...: whether one of the words stands before the cursor
    __mmh_is $argv[1]; or return
    for word in (commandline -opc)[2..-1]
        contains -- $word $argv[2..-1]; and return
    end
    return 1
end

function __mmh_is_to_tell
    __mmh_is $argv[1]; and not __mmh_is_told $argv
end

function __mmh_is_not_told
    not set -l verb (__mmh_verb) || test -z "$verb"
end

complete -c mmh -f
complete -c mmh -n __mmh_is_not_told -s h -l help -d 'this text'
complete -c mmh -n __mmh_is_not_told -s V -l version -d 'the version'
{lines}
"""


def fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish(verbs):
    lines, valued = [], []
    summaries = {verb["name"]: verb["summary"] for verb in verbs}
    for letter, verb in LETTERS.items():
        lines.append(f"complete -c mmh -n __mmh_is_not_told -s {letter} -d {fish_quote(verb + ': ' + summaries[verb])}")
    for verb in verbs:
        lines.append(f"complete -c mmh -n __mmh_is_not_told -a {verb['name']} -d {fish_quote(verb['summary'])}")
    for verb in verbs:
        condition = f"-n '__mmh_is {' '.join([verb['name'], *verb['aliases']])}'"
        lines.append("")
        words = " ".join(verb["words"])
        if words:
            lines.append(f"complete -c mmh -n '__mmh_is_to_tell {verb['name']} {words}' -a {fish_quote(words)}")
            lines.append(f"complete -c mmh -n '__mmh_is_told {verb['name']} {words}' -F")
        else:
            rest = {
                "verbs": f"-a {fish_quote(verb_names(verbs))}",
                "containers": "-k -a '(__fish_complete_suffix .mmh)'",
                "files": "-F",
            }[files(verb)]
            lines.append(f"complete -c mmh {condition} {rest}")
        for option in verb["options"]:
            words = [f"complete -c mmh {condition}"]
            if "letter" in option:
                words.append(f"-s {option['letter']}")
            words.append(f"-l {option['name']}")
            if takes_next(option):
                valued += [name for name in names(option) if not name[1:].isdigit() and name not in valued]
                if option["value"] in PATHS:
                    words.append("-r -F")
                elif "choices" in option:
                    words.append(f"-x -a {fish_quote(' '.join(option['choices']))}")
                else:
                    words.append("-x")
            words.append(f"-d {fish_quote(option['help'])}")
            lines.append(" ".join(words))
            if option["name"] == "level":
                lines += [f"complete -c mmh {condition} -o {level} -d 'level {level}'" for level in option["choices"]]
    return FISH.format(made=MADE, valued=" ".join(valued), lines="\n".join(lines))


# ---- ----


def made(command):
    """{path: text} of all that a command's completions are."""
    out = subprocess.run([command, "help", "--json"], check=True, capture_output=True, text=True).stdout
    verbs = json.loads(out)["verbs"]
    folder = ROOT / "completions"
    return {folder / "mmh.bash": bash(verbs), folder / "_mmh": zsh(verbs), folder / "mmh.fish": fish(verbs)}


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    build = Path(next((one for one in arguments if one != "--check"), ROOT / "build"))
    stale = []
    for path, text in made(build / "mmh").items():
        if not path.exists() or path.read_text() != text:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    if check and stale:
        print(f"not as tools/completions.py makes them: {' '.join(map(str, stale))}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
