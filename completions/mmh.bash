# mmh(1) for bash.
# Made by tools/completions.py from `mmh help --json`: change those, not this.
# shellcheck shell=bash

_mmh_verb() # the verb among the words before the cursor
{
    local i word skip=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $skip ]]; then
            [[ $word == = ]] || skip=
        elif [[ $word =~ ^-[0-9cfhkqvV]*([dtl]) ]]; then
            case ${BASH_REMATCH[1]} in
                d) echo unpack ;;
                t) echo verify ;;
                l) echo ls ;;
            esac
            return
        elif [[ $word == @(--dtype|--format-plugin|--hash|--layout|--level|--max-size|--output|--progress|--shape|--stdin-name|--threads|-T|-o) ]]; then
            skip=1
        elif [[ $word != -* && $word != = ]]; then
            echo "$word"
            return
        fi
    done
}

_mmh_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }

_mmh_files() # PATTERN: with it such files alone, and folders
{
    compopt -o filenames 2>/dev/null
    if [[ -n $1 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -X "!$1" -- "$cur"; compgen -d -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

_mmh()
{
    local cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} verb
    COMPREPLY=()
    if [[ $cur == = ]]; then # --hash=
        cur=
    elif [[ $option == = ]]; then # --hash=b
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $option in
        --dtype) _mmh_words "bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0"; return ;;
        --format-plugin) _mmh_files ""; return ;;
        --hash) _mmh_words "blake3 sha256"; return ;;
        --layout) _mmh_files ""; return ;;
        --level) _mmh_words "1 2 3 4 5 6 7 8 9"; return ;;
        --max-size) :; return ;;
        --output) _mmh_files ""; return ;;
        -o) _mmh_files ""; return ;;
        --progress) _mmh_words "bar json none"; return ;;
        --shape) :; return ;;
        --stdin-name) :; return ;;
        --threads) :; return ;;
        -T) :; return ;;
    esac
    verb=$(_mmh_verb)
    case $verb in
        pack)
            if [[ $cur == -* ]]; then
                _mmh_words "-1 -2 -3 -4 -5 -6 -7 -8 -9 --level -o --output -c --stdout -f --force -k --keep --rm --dtype --shape --layout --format-plugin --stdin-name --alone --times --hash --no-check -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files ""
            fi
            ;;
        unpack)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -c --stdout -f --force -k --keep --rm --max-size --any-names -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        verify)
            if [[ $cur == -* ]]; then
                _mmh_words "--quick --max-size -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        info)
            if [[ $cur == -* ]]; then
                _mmh_words "--json -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        ls)
            if [[ $cur == -* ]]; then
                _mmh_words "--dtype --shape --layout --format-plugin --alone -l --long --json -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        cat)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -c --stdout -f --force --dtype --shape --layout --format-plugin --alone --npy --text --max-size -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        diff)
            if [[ $cur == -* ]]; then
                _mmh_words "--dtype --shape --layout --format-plugin --alone --exit-code -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        bench|benchmark)
            if [[ $cur == -* ]]; then
                _mmh_words "-1 -2 -3 -4 -5 -6 -7 -8 -9 --level --dtype --shape --layout --format-plugin --alone --hash --no-check -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        help)
            if [[ $cur == -* ]]; then
                _mmh_words "--json -q --quiet -h --help"
            else
                _mmh_words "pack unpack verify info ls cat diff bench help"
            fi
            ;;
        *)
            if [[ $cur == -* ]]; then
                _mmh_words "-d -t -l -h --help -V --version"
            else
                _mmh_words "pack unpack verify info ls cat diff bench help"
            fi
            ;;
    esac
}

complete -F _mmh mmh
