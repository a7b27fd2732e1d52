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
        elif [[ $word == @(--add-recipient|--aead|--algorithm|--bundle|--cbom|--counter|--dtype|--expires|--format-plugin|--hash|--key|--layout|--level|--max-size|--output|--parity|--passphrase-fd|--passphrase-file|--profile|--progress|--recipient|--require|--rsa-bits|--shape|--sign-with|--signature|--signer|--source|--stdin-name|--threads|-T|-o|-r) ]]; then
            skip=1
        elif [[ $word != -* && $word != = ]]; then
            echo "$word"
            return
        fi
    done
}

_mmh_told() # WORDS: whether one of them stands before the cursor
{
    local word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ " $1 " == *" $word "* ]] && return
    done
    return 1
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
        --add-recipient) _mmh_files ""; return ;;
        --aead) _mmh_words "aes-256-gcm chacha20-poly1305"; return ;;
        --algorithm) :; return ;;
        --bundle) _mmh_files ""; return ;;
        --cbom) _mmh_files ""; return ;;
        --counter) :; return ;;
        --dtype) _mmh_words "bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0"; return ;;
        --expires) :; return ;;
        --format-plugin) _mmh_files ""; return ;;
        --hash) _mmh_words "blake3 sha256 sha384"; return ;;
        --key) _mmh_files ""; return ;;
        --layout) _mmh_files ""; return ;;
        --level) _mmh_words "1 2 3 4 5 6 7 8 9"; return ;;
        --max-size) :; return ;;
        --output) _mmh_files ""; return ;;
        -o) _mmh_files ""; return ;;
        --parity) :; return ;;
        --passphrase-fd) :; return ;;
        --passphrase-file) _mmh_files ""; return ;;
        --profile) _mmh_words "default cnsa2 bsi classical"; return ;;
        --progress) _mmh_words "bar json none"; return ;;
        --recipient) _mmh_files ""; return ;;
        -r) _mmh_files ""; return ;;
        --require) _mmh_words "any all hybrid pq newest category=5 counter=1"; return ;;
        --rsa-bits) :; return ;;
        --shape) :; return ;;
        --sign-with) _mmh_files ""; return ;;
        --signature) _mmh_files ""; return ;;
        --signer) _mmh_files ""; return ;;
        --source) _mmh_files ""; return ;;
        --stdin-name) :; return ;;
        --threads) :; return ;;
        -T) :; return ;;
    esac
    verb=$(_mmh_verb)
    case $verb in
        pack)
            if [[ $cur == -* ]]; then
                _mmh_words "-1 -2 -3 -4 -5 -6 -7 -8 -9 --level -o --output -c --stdout -f --force -k --keep --rm -r --recipient --key -p --passphrase --passphrase-file --passphrase-fd --aead --sign-with --counter --no-time --profile --parity --dtype --shape --layout --format-plugin --stdin-name --alone --times --hash --no-check -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files ""
            fi
            ;;
        unpack)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -c --stdout -f --force -k --keep --rm --key --passphrase-file --passphrase-fd --signer --trusted --require --signature --max-size --any-names --skip-damaged -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        verify)
            if [[ $cur == -* ]]; then
                _mmh_words "--key --passphrase-file --passphrase-fd --bundle --signer --trusted --require --signature --source --quick --frameworks --run-code --max-size -T --threads --json --progress -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        repair)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force --key --passphrase-file --passphrase-fd --signer --trusted --require --signature --parity --source -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        info)
            if [[ $cur == -* ]]; then
                _mmh_words "--key --passphrase-file --passphrase-fd --signer --trusted --require --signature --json -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        ls)
            if [[ $cur == -* ]]; then
                _mmh_words "--key --passphrase-file --passphrase-fd --signer --trusted --require --signature --dtype --shape --layout --format-plugin --alone -l --long --json -q --quiet -v --verbose -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        cat)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -c --stdout -f --force --key --passphrase-file --passphrase-fd --signer --trusted --require --signature --dtype --shape --layout --format-plugin --alone --npy --text --max-size -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        diff)
            if [[ $cur == -* ]]; then
                _mmh_words "--key --passphrase-file --passphrase-fd --signer --trusted --require --signature --dtype --shape --layout --format-plugin --alone --exit-code -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        report)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -c --stdout -f --force --key --passphrase-file --passphrase-fd --signer --trusted --require --signature --dtype --shape --layout --format-plugin --alone --quick --all -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        keygen)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force --algorithm --rsa-bits -p --passphrase --passphrase-file --passphrase-fd --profile --json -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        keys)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force --passphrase-file --passphrase-fd --expires --json -q --quiet -h --help"
            else
                _mmh_told "show list add expire revoke remove rotate accept" && _mmh_files "" || _mmh_words "show list add expire revoke remove rotate accept"
            fi
            ;;
        sign)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force --key --passphrase-file --passphrase-fd --detached --remove --bundle --counter --no-time -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        encrypt)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force -r --recipient --add-recipient --rekey --key -p --passphrase --passphrase-file --passphrase-fd --aead --sign-with --counter --no-time --profile --parity -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        decrypt)
            if [[ $cur == -* ]]; then
                _mmh_words "-o --output -f --force --key --passphrase-file --passphrase-fd --signer --trusted --require --signature --parity -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        audit)
            if [[ $cur == -* ]]; then
                _mmh_words "-f --force --key --passphrase-file --passphrase-fd --signer --trusted --signature --profile --cbom --json -q --quiet -h --help"
            else
                _mmh_files '*.mmh'
            fi
            ;;
        bench|benchmark)
            if [[ $cur == -* ]]; then
                _mmh_words "-1 -2 -3 -4 -5 -6 -7 -8 -9 --level -r --recipient --key -p --passphrase --passphrase-file --passphrase-fd --aead --sign-with --signer --trusted --require --signature --parity --dtype --shape --layout --format-plugin --alone --hash --no-check -T --threads --json --progress -q --quiet -h --help"
            else
                _mmh_files ""
            fi
            ;;
        help)
            if [[ $cur == -* ]]; then
                _mmh_words "--json -q --quiet -h --help"
            else
                _mmh_words "pack unpack verify repair info ls cat diff report keygen keys sign encrypt decrypt audit bench help"
            fi
            ;;
        *)
            if [[ $cur == -* ]]; then
                _mmh_words "-d -t -l -h --help -V --version"
            else
                _mmh_words "pack unpack verify repair info ls cat diff report keygen keys sign encrypt decrypt audit bench help"
            fi
            ;;
    esac
}

complete -F _mmh mmh
