# mmh(1) for fish.
# Made by tools/completions.py from `mmh help --json`: change those, not this.

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
        else if contains -- $word --level -o --output --dtype --shape --layout --format-plugin --stdin-name --hash -T --threads --progress --max-size
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

function __mmh_is_not_told
    not set -l verb (__mmh_verb) || test -z "$verb"
end

complete -c mmh -f
complete -c mmh -n __mmh_is_not_told -s h -l help -d 'this text'
complete -c mmh -n __mmh_is_not_told -s V -l version -d 'the version'
complete -c mmh -n __mmh_is_not_told -s d -d 'unpack: give back every byte'
complete -c mmh -n __mmh_is_not_told -s t -d 'verify: check every byte, change nothing'
complete -c mmh -n __mmh_is_not_told -s l -d 'ls: list tensors, with -l files too'
complete -c mmh -n __mmh_is_not_told -a pack -d 'pack files and folders, bit-exact'
complete -c mmh -n __mmh_is_not_told -a unpack -d 'give back every byte'
complete -c mmh -n __mmh_is_not_told -a verify -d 'check every byte, change nothing'
complete -c mmh -n __mmh_is_not_told -a info -d 'where the bytes are, how near the entropy floor'
complete -c mmh -n __mmh_is_not_told -a ls -d 'list tensors, with -l files too'
complete -c mmh -n __mmh_is_not_told -a cat -d 'print tensors, parts of them, or files'
complete -c mmh -n __mmh_is_not_told -a diff -d 'which tensors differ, and by how much'
complete -c mmh -n __mmh_is_not_told -a bench -d 'size and speed of each level on this machine'
complete -c mmh -n __mmh_is_not_told -a help -d 'this text, or a verb\'s'

complete -c mmh -n '__mmh_is pack' -F
complete -c mmh -n '__mmh_is pack' -l level -x -a '1 2 3 4 5 6 7 8 9' -d '-1 (fastest) to -9 (smallest); the default is -5'
complete -c mmh -n '__mmh_is pack' -o 1 -d 'level 1'
complete -c mmh -n '__mmh_is pack' -o 2 -d 'level 2'
complete -c mmh -n '__mmh_is pack' -o 3 -d 'level 3'
complete -c mmh -n '__mmh_is pack' -o 4 -d 'level 4'
complete -c mmh -n '__mmh_is pack' -o 5 -d 'level 5'
complete -c mmh -n '__mmh_is pack' -o 6 -d 'level 6'
complete -c mmh -n '__mmh_is pack' -o 7 -d 'level 7'
complete -c mmh -n '__mmh_is pack' -o 8 -d 'level 8'
complete -c mmh -n '__mmh_is pack' -o 9 -d 'level 9'
complete -c mmh -n '__mmh_is pack' -s o -l output -r -F -d 'one container for all; into PATH if that is a folder'
complete -c mmh -n '__mmh_is pack' -s c -l stdout -d 'write to standard output'
complete -c mmh -n '__mmh_is pack' -s f -l force -d 'replace what exists'
complete -c mmh -n '__mmh_is pack' -s k -l keep -d 'keep the input, as without --rm'
complete -c mmh -n '__mmh_is pack' -l rm -d 'remove the input, once it was read back and compared'
complete -c mmh -n '__mmh_is pack' -l dtype -x -a 'bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0' -d 'inputs are raw arrays of TYPE: bf16, f32, i8, ...'
complete -c mmh -n '__mmh_is pack' -l shape -x -d 'their shape, slowest dimension first'
complete -c mmh -n '__mmh_is pack' -l layout -r -F -d 'JSON that says where the tensors of raw files are'
complete -c mmh -n '__mmh_is pack' -l format-plugin -r -F -d 'a library that reads a format of your own'
complete -c mmh -n '__mmh_is pack' -l stdin-name -x -d 'pack standard input as this; the default is stdin'
complete -c mmh -n '__mmh_is pack' -l alone -d 'a shard index without the files it refers to'
complete -c mmh -n '__mmh_is pack' -l times -d 'store modification times'
complete -c mmh -n '__mmh_is pack' -l hash -x -a 'blake3 sha256' -d 'blake3 (the default) or sha256'
complete -c mmh -n '__mmh_is pack' -l no-check -d 'do not decode what was encoded, to compare it'
complete -c mmh -n '__mmh_is pack' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is pack' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is pack' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is pack' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is pack' -s v -l verbose -d 'tell more: times, what is odd in files, all damage'
complete -c mmh -n '__mmh_is pack' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is unpack' -k -a '(__fish_complete_suffix .mmh)'
complete -c mmh -n '__mmh_is unpack' -s o -l output -r -F -d 'folder (exists, or ends in /), or the file\'s new name'
complete -c mmh -n '__mmh_is unpack' -s c -l stdout -d 'write to standard output'
complete -c mmh -n '__mmh_is unpack' -s f -l force -d 'replace what exists'
complete -c mmh -n '__mmh_is unpack' -s k -l keep -d 'keep the input, as without --rm'
complete -c mmh -n '__mmh_is unpack' -l rm -d 'remove the container, once all is on the disk'
complete -c mmh -n '__mmh_is unpack' -l max-size -x -d 'refuse what unpacks to more: 500M, 10G'
complete -c mmh -n '__mmh_is unpack' -l any-names -d 'names too that other systems take for something else'
complete -c mmh -n '__mmh_is unpack' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is unpack' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is unpack' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is unpack' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is unpack' -s v -l verbose -d 'tell more: times, what is odd in files, all damage'
complete -c mmh -n '__mmh_is unpack' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is verify' -k -a '(__fish_complete_suffix .mmh)'
complete -c mmh -n '__mmh_is verify' -l quick -d 'hashes of the stored bytes only; decode nothing'
complete -c mmh -n '__mmh_is verify' -l max-size -x -d 'refuse what unpacks to more: 500M, 10G'
complete -c mmh -n '__mmh_is verify' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is verify' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is verify' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is verify' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is verify' -s v -l verbose -d 'tell more: times, what is odd in files, all damage'
complete -c mmh -n '__mmh_is verify' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is info' -k -a '(__fish_complete_suffix .mmh)'
complete -c mmh -n '__mmh_is info' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is info' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is info' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is ls' -k -a '(__fish_complete_suffix .mmh)'
complete -c mmh -n '__mmh_is ls' -l dtype -x -a 'bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0' -d 'inputs are raw arrays of TYPE: bf16, f32, i8, ...'
complete -c mmh -n '__mmh_is ls' -l shape -x -d 'their shape, slowest dimension first'
complete -c mmh -n '__mmh_is ls' -l layout -r -F -d 'JSON that says where the tensors of raw files are'
complete -c mmh -n '__mmh_is ls' -l format-plugin -r -F -d 'a library that reads a format of your own'
complete -c mmh -n '__mmh_is ls' -l alone -d 'a shard index without the files it refers to'
complete -c mmh -n '__mmh_is ls' -s l -l long -d 'files too: kind, mode, size, format'
complete -c mmh -n '__mmh_is ls' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is ls' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is ls' -s v -l verbose -d 'tell more: times, what is odd in files, all damage'
complete -c mmh -n '__mmh_is ls' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is cat' -F
complete -c mmh -n '__mmh_is cat' -s o -l output -r -F -d 'write to PATH'
complete -c mmh -n '__mmh_is cat' -s c -l stdout -d 'write to standard output'
complete -c mmh -n '__mmh_is cat' -s f -l force -d 'replace what exists'
complete -c mmh -n '__mmh_is cat' -l dtype -x -a 'bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0' -d 'inputs are raw arrays of TYPE: bf16, f32, i8, ...'
complete -c mmh -n '__mmh_is cat' -l shape -x -d 'their shape, slowest dimension first'
complete -c mmh -n '__mmh_is cat' -l layout -r -F -d 'JSON that says where the tensors of raw files are'
complete -c mmh -n '__mmh_is cat' -l format-plugin -r -F -d 'a library that reads a format of your own'
complete -c mmh -n '__mmh_is cat' -l alone -d 'a shard index without the files it refers to'
complete -c mmh -n '__mmh_is cat' -l npy -d 'tensors as npy files (numpy.load)'
complete -c mmh -n '__mmh_is cat' -l text -d 'tensors as numbers, all of them'
complete -c mmh -n '__mmh_is cat' -l max-size -x -d 'refuse what unpacks to more: 500M, 10G'
complete -c mmh -n '__mmh_is cat' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is cat' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is cat' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is cat' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is cat' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is diff' -F
complete -c mmh -n '__mmh_is diff' -l dtype -x -a 'bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0' -d 'inputs are raw arrays of TYPE: bf16, f32, i8, ...'
complete -c mmh -n '__mmh_is diff' -l shape -x -d 'their shape, slowest dimension first'
complete -c mmh -n '__mmh_is diff' -l layout -r -F -d 'JSON that says where the tensors of raw files are'
complete -c mmh -n '__mmh_is diff' -l format-plugin -r -F -d 'a library that reads a format of your own'
complete -c mmh -n '__mmh_is diff' -l alone -d 'a shard index without the files it refers to'
complete -c mmh -n '__mmh_is diff' -l exit-code -d 'exit with 1 if something differs'
complete -c mmh -n '__mmh_is diff' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is diff' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is diff' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is diff' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is diff' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is bench benchmark' -F
complete -c mmh -n '__mmh_is bench benchmark' -l level -x -a '1 2 3 4 5 6 7 8 9' -d 'levels to try, as many as you like; the default is all'
complete -c mmh -n '__mmh_is bench benchmark' -o 1 -d 'level 1'
complete -c mmh -n '__mmh_is bench benchmark' -o 2 -d 'level 2'
complete -c mmh -n '__mmh_is bench benchmark' -o 3 -d 'level 3'
complete -c mmh -n '__mmh_is bench benchmark' -o 4 -d 'level 4'
complete -c mmh -n '__mmh_is bench benchmark' -o 5 -d 'level 5'
complete -c mmh -n '__mmh_is bench benchmark' -o 6 -d 'level 6'
complete -c mmh -n '__mmh_is bench benchmark' -o 7 -d 'level 7'
complete -c mmh -n '__mmh_is bench benchmark' -o 8 -d 'level 8'
complete -c mmh -n '__mmh_is bench benchmark' -o 9 -d 'level 9'
complete -c mmh -n '__mmh_is bench benchmark' -l dtype -x -a 'bool u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64 f8_e4m3 f8_e5m2 f8_e8m0 f4 f6_e2m3 f6_e3m2 c64 c128 f8_e4m3fnuz f8_e5m2fnuz i4 u4 i2 u2 q4_0 q4_1 q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq2_s iq3_xxs iq3_s iq1_s iq1_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 nvfp4 q1_0' -d 'inputs are raw arrays of TYPE: bf16, f32, i8, ...'
complete -c mmh -n '__mmh_is bench benchmark' -l shape -x -d 'their shape, slowest dimension first'
complete -c mmh -n '__mmh_is bench benchmark' -l layout -r -F -d 'JSON that says where the tensors of raw files are'
complete -c mmh -n '__mmh_is bench benchmark' -l format-plugin -r -F -d 'a library that reads a format of your own'
complete -c mmh -n '__mmh_is bench benchmark' -l alone -d 'a shard index without the files it refers to'
complete -c mmh -n '__mmh_is bench benchmark' -l hash -x -a 'blake3 sha256' -d 'blake3 (the default) or sha256'
complete -c mmh -n '__mmh_is bench benchmark' -l no-check -d 'do not decode what was encoded, to compare it'
complete -c mmh -n '__mmh_is bench benchmark' -s T -l threads -x -d '0: all processors, the default'
complete -c mmh -n '__mmh_is bench benchmark' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is bench benchmark' -l progress -x -a 'bar json none' -d 'bar, json or none; the default: a bar on a terminal'
complete -c mmh -n '__mmh_is bench benchmark' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is bench benchmark' -s h -l help -d 'this text'

complete -c mmh -n '__mmh_is help' -a 'pack unpack verify info ls cat diff bench help'
complete -c mmh -n '__mmh_is help' -l json -d 'results as JSON on standard output'
complete -c mmh -n '__mmh_is help' -s q -l quiet -d 'no progress and no remarks'
complete -c mmh -n '__mmh_is help' -s h -l help -d 'this text'
