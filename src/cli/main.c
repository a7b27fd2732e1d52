/*
 * The mmh command: its verbs, help and version.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/keyring.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/written.h"

struct verb {
    const char *name;
    const char *synopsis;
    const char *summary; /* one line, in the list of verbs */
    const char *text;    /* what it does; whole lines */
    const char *examples;
    mmh_verb_run *run;
    const char *const *words; /* one of which comes first; NULL ends them, and there may be none */
};

static const char pack_text[] =
    "One container for each input: IN.mmh beside it; or with -o one for all of them.\n"
    "A shard index is packed with its shards. Nothing is overwritten without -f, and\n"
    "what was packed is kept without --rm. \"-\", or no IN at all where something is\n"
    "sent there, is standard input; its container goes to standard output then.\n";
static const char pack_examples[] =
    "  mmh pack model.safetensors            writes model.safetensors.mmh\n"
    "  mmh pack -9 llama/ -o llama.mmh       a folder, as small as it gets\n"
    "  mmh pack --dtype=bf16 weights.bin     a raw array\n"
    "  mmh pack -r alice.pub --sign-with bob.key --parity 2% model.safetensors\n"
    "  mmh pack -c model.safetensors | ssh host 'cat > model.mmh'\n";

static const char unpack_text[] =
    "Without -o: beside the container, under the stored name; a packed folder comes\n"
    "back as the folder X. DEST is a folder if it exists as one, ends in /, or the\n"
    "container holds several files; otherwise it is the file's new name. Every chunk\n"
    "is checked before it is used; files appear when they are complete. Damage that\n"
    "the spare copies make good is told, and the exit code is 4 then. Without X.mmh,\n"
    "what is sent to standard input is unpacked to standard output.\n";
static const char unpack_examples[] =
    "  mmh unpack model.safetensors.mmh      writes model.safetensors\n"
    "  mmh unpack llama.mmh -o out/\n"
    "  mmh unpack -c model.safetensors.mmh | sha256sum\n";

static const char verify_text[] =
    "Structure, hashes, that every chunk decodes, and the digest of every file. Exits\n"
    "3 if something is damaged that unpack would restore, and 5 if it could not.\n"
    "With --signer signatures are required too: 7 if one is missing or wrong. What is\n"
    "encrypted is checked as far as that goes without a key, and the exit code is 8.\n"
    "With --frameworks, or --frameworks=torch,onnx, each framework that is installed\n"
    "loads the original and what mmh's loaders give it, and runs both: 3 if anything\n"
    "differs in a bit, 9 if nothing could be tested. That takes Python ($MMH_PYTHON).\n";
static const char verify_examples[] = "  mmh verify model.safetensors.mmh\n"
                                      "  mmh verify -v --signer bob.pub --require hybrid m.mmh\n"
                                      "  mmh verify -q *.mmh && echo all good\n"
                                      "  mmh verify --frameworks model.onnx.mmh\n";

static const char repair_text[] =
    "In place, by way of a journal beside it, or with -o into a new file: header and\n"
    "index from their copies, chunks from parity, from --source copies of the\n"
    "container (damaged ones too), or from the model that was packed. The exit code\n"
    "is 4 if all was restored, 5 if something stays lost; what, is told.\n";
static const char repair_examples[] =
    "  mmh repair model.safetensors.mmh\n"
    "  mmh repair --source=/backup/m.mmh --source=m.safetensors m.mmh\n"
    "  mmh repair --parity=5% m.mmh          also gives it parity\n";

static const char keygen_text[] =
    "One identity, to sign and to decrypt with: NAME.key is private (mode 0600) and\n"
    "NAME.pub public. The default is a hybrid, safe if either of its halves is:\n"
    "ml-dsa-65-ed25519 and x-wing. Both files are PEM.\n";
static const char keygen_examples[] =
    "  mmh keygen -o alice                   alice.key, alice.pub\n"
    "  mmh keygen -p -o alice                alice.key wants a passphrase\n"
    "  mmh keygen --algorithm=ed25519,x25519 -o old\n"
    "  mmh keygen --profile=cnsa2 -o agency\n";

static const char *const keys_words[] = { "show",   "list",   "add",    "expire", "revoke",
                                          "remove", "rotate", "accept", NULL };
static const char keys_text[] =
    "  mmh keys show FILE...                 algorithms and fingerprints of keys\n"
    "  mmh keys list                         those that are believed, and those not\n"
    "  mmh keys add NAME FILE                believe this one from now on\n"
    "  mmh keys expire NAME --expires=DATE   believe it until then\n"
    "  mmh keys revoke NAME [REASON]         do not any more, whatever it has signed\n"
    "  mmh keys remove NAME                  forget it, and that it was revoked\n"
    "  mmh keys rotate OLD.key NEW.key -o FILE    state that NEW follows OLD\n"
    "  mmh keys accept FILE [NAME]           believe NEW, as OLD is believed\n\n"
    "The trust store is the folder $MMH_TRUST, or ~/.config/mmh/trust.\n";
static const char keys_examples[] = "  mmh keys add bob bob.pub --expires=2027-12-31\n"
                                    "  mmh verify --signer=bob m.mmh\n";

static const char sign_text[] =
    "Over the container's root, and so over every byte and name in it. Each part of\n"
    "each key that signs, does; signatures that there are stay. Weights are not even\n"
    "read. With --bundle a Model Signing bundle of the original files is written\n"
    "instead: X may be a container, a model file or a folder.\n";
static const char sign_examples[] = "  mmh sign --key bob.key m.mmh\n"
                                    "  mmh sign --key bob.key --detached m.mmh    into m.mmh.sig\n"
                                    "  mmh sign --key p256.key --bundle model.sig llama/\n";

static const char encrypt_text[] =
    "Without coding the weights again. Chunks, names, shapes and digests are hidden;\n"
    "sizes are not. --rekey is for what is encrypted: under a new file key, for those\n"
    "that are named now. --add-recipient only wraps the old one for another; who is\n"
    "let in so can be shut out of future copies by --rekey alone.\n";
static const char encrypt_examples[] =
    "  mmh encrypt -r alice.pub -r age1... m.mmh\n"
    "  mmh encrypt --add-recipient carol.pub --key alice.key m.mmh\n"
    "  mmh encrypt --rekey -r alice.pub --key alice.key m.mmh\n";

static const char decrypt_text[] =
    "The container without its encryption; \"unpack\" needs no such step. Its\n"
    "signatures are of what it was, and go.\n";
static const char decrypt_examples[] = "  mmh decrypt --key alice.key m.mmh -o plain.mmh\n";

static const char audit_text[] =
    "Algorithms, their NIST categories, and which profiles they meet: default, cnsa2,\n"
    "bsi, classical. With --profile the exit code is 0 only if it meets that one.\n"
    "No key is needed, and no signature is checked: that is what verify does.\n";
static const char audit_examples[] = "  mmh audit m.mmh\n"
                                     "  mmh audit --profile=cnsa2 --cbom=cbom.json m.mmh\n";

static const char info_text[] =
    "Sizes by element type and by codec. The floor is what the values alone come to:\n"
    "the entropy of exponents and integers, everything else as it is. Codecs that use\n"
    "more than the values, such as where they stand, may go below it.\n";
static const char info_examples[] = "  mmh info model.safetensors.mmh\n"
                                    "  mmh info --json model.safetensors.mmh | jq .ratio\n";

static const char ls_text[] =
    "Name, element type, shape, bytes, stored bytes and ratio. A chunk that several\n"
    "tensors share counts in part for each. A narrow terminal shows fewer columns.\n";
static const char ls_examples[] =
    "  mmh ls model.safetensors.mmh\n"
    "  mmh ls --json model.safetensors.mmh | jq -r '.tensors[].name'\n";

static const char cat_text[] =
    "Tensors by name, or a part of one: NAME[0:16, :], as in numpy. Only the chunks\n"
    "that hold it are decoded. Elements come as they are in memory, little-endian;\n"
    "with --npy as numpy reads them; on a terminal as numbers. A NAME may be a file\n"
    "of the container too; without NAME the only file is printed. X may be an\n"
    "original file or folder as well.\n";
static const char cat_examples[] =
    "  mmh cat m.safetensors.mmh 'lm_head.weight[0:16, :]' --npy > rows.npy\n"
    "  mmh cat m.safetensors.mmh 'h.0.bias[:8]'\n"
    "  mmh cat llama.mmh config.json | jq .hidden_size\n";

static const char diff_text[] =
    "Which tensors differ, in how many elements and by how much: the largest\n"
    "distance, and the norm of the difference by that of A's. Tensors are matched by\n"
    "name, whichever files hold them; what else differs is told for each file. Each\n"
    "of A and B is a container, a model file, a shard index or a folder. What two\n"
    "containers store as the same chunks is not even read. The exit code is 0 unless\n"
    "--exit-code asks for 1 if something differs.\n";
static const char diff_examples[] = "  mmh diff base.safetensors.mmh tuned.safetensors\n"
                                    "  mmh diff --exit-code -q a.mmh b.mmh && echo the same\n";

static const char report_text[] =
    "One HTML file that needs nothing else, for a browser: bytes by layer, the\n"
    "entropy of every bit of every tensor, exponents, what each codec saved and the\n"
    "floor beside, damage and signatures; with SECOND, what changed in it. MODEL and\n"
    "SECOND are containers, model files, shard indexes or folders. Every byte of a\n"
    "container is checked first, and a damaged one has its report too; the exit codes\n"
    "are those of \"mmh verify\". Values are counted in all tensors, of large ones in\n"
    "pieces that are spread evenly, unless --all is given.\n";
static const char report_examples[] =
    "  mmh report model.safetensors.mmh      writes model.safetensors.mmh.report.html\n"
    "  mmh report base.mmh tuned.safetensors -o changes.html\n"
    "  mmh report --json m.mmh | jq '.content.nodes[].name'\n";

static const char bench_text[] =
    "Packs into memory ($TMPDIR if it is set, else /dev/shm), verifies, unpacks and\n"
    "compares every byte. The fastest of up to five runs counts.\n";
static const char bench_examples[] = "  mmh bench model.safetensors\n"
                                     "  mmh bench -1 -5 -9 -T1 model.safetensors\n";

static const struct verb verbs[MMH_VERB_COUNT] = {
    [MMH_VERB_PACK] = { "pack", "IN... [-o OUT.mmh]", "pack files and folders, bit-exact",
                        pack_text, pack_examples, mmh_cmd_pack },
    [MMH_VERB_UNPACK] = { "unpack", "X.mmh... [-o DEST]", "give back every byte", unpack_text,
                          unpack_examples, mmh_cmd_unpack },
    [MMH_VERB_VERIFY] = { "verify", "X.mmh...", "check every byte, change nothing", verify_text,
                          verify_examples, mmh_cmd_verify },
    [MMH_VERB_REPAIR] = { "repair", "X.mmh...", "restore what is damaged", repair_text,
                          repair_examples, mmh_cmd_repair },
    [MMH_VERB_INFO] = { "info", "X.mmh...", "where the bytes are, how near the entropy floor",
                        info_text, info_examples, mmh_cmd_info },
    [MMH_VERB_LS] = { "ls", "X.mmh...", "list tensors, with -l files too", ls_text, ls_examples,
                      mmh_cmd_ls },
    [MMH_VERB_CAT] = { "cat", "X [NAME[PART]...]", "print tensors, parts of them, or files",
                       cat_text, cat_examples, mmh_cmd_cat },
    [MMH_VERB_DIFF] = { "diff", "A B", "which tensors differ, and by how much", diff_text,
                        diff_examples, mmh_cmd_diff },
    [MMH_VERB_REPORT] = { "report", "MODEL [SECOND]", "what is in a model, as one HTML file",
                          report_text, report_examples, mmh_cmd_report },
    [MMH_VERB_KEYGEN] = { "keygen", "-o NAME", "make a key: NAME.key and NAME.pub", keygen_text,
                          keygen_examples, mmh_cmd_keygen },
    [MMH_VERB_KEYS] = { "keys", "WHAT [NAME] [FILE]", "whose signatures are believed", keys_text,
                        keys_examples, mmh_cmd_keys, keys_words },
    [MMH_VERB_SIGN] = { "sign", "X.mmh...", "sign a container", sign_text, sign_examples,
                        mmh_cmd_sign },
    [MMH_VERB_ENCRYPT] = { "encrypt", "X.mmh...", "encrypt a container", encrypt_text,
                           encrypt_examples, mmh_cmd_encrypt },
    [MMH_VERB_DECRYPT] = { "decrypt", "X.mmh...", "take its encryption away", decrypt_text,
                           decrypt_examples, mmh_cmd_decrypt },
    [MMH_VERB_AUDIT] = { "audit", "X.mmh...", "which profiles a container meets", audit_text,
                         audit_examples, mmh_cmd_audit },
    [MMH_VERB_BENCH] = { "bench", "IN... [-1 ... -9]",
                         "size and speed of each level on this machine", bench_text, bench_examples,
                         mmh_cmd_bench },
    [MMH_VERB_HELP] = { "help", "[VERB]", "this text, or a verb's", NULL, NULL, NULL },
};

const char *mmh_verb_name(enum mmh_verb verb)
{
    return verbs[verb].name;
}

/* What MMH-RS called them. */
static const struct {
    const char *name;
    enum mmh_verb verb;
} aliases[] = { { "benchmark", MMH_VERB_BENCH } };

enum mmh_verb mmh_verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(name, aliases[i].name) == 0)
            return aliases[i].verb;
    for (int i = 1; i < MMH_VERB_COUNT; i++)
        if (strcmp(name, verbs[i].name) == 0)
            return (enum mmh_verb)i;
    return MMH_VERB_NONE;
}

static void print_usage(FILE *file)
{
    fprintf(file, "mmh: AI model files made small, verifiable and quick to load, bit-exact\n\n"
                  "usage: mmh VERB [OPTION...] [FILE...]\n\n");
    for (int i = 1; i < MMH_VERB_COUNT; i++)
        fprintf(file, "  %-7s %-20s %s\n", verbs[i].name, verbs[i].synopsis, verbs[i].summary);
    fprintf(file, "\n  mmh pack model.safetensors            writes model.safetensors.mmh\n"
                  "  mmh unpack model.safetensors.mmh      gives back every byte\n"
                  "\n\"mmh help VERB\" tells more.\n");
}

static void print_help(enum mmh_verb verb)
{
    const struct verb *entry = &verbs[verb];
    if (verb == MMH_VERB_NONE || verb == MMH_VERB_HELP) {
        print_usage(stdout);
        return;
    }
    printf("mmh %s: %s\n\nusage: mmh %s [OPTION...] %s\n\n%s\n", entry->name, entry->summary,
           entry->name, entry->synopsis, entry->text);
    mmh_options_help(stdout, verb);
    printf("\n%s", entry->examples);
}

/* Verbs and options, for what makes the completions (tools/completions.py). */
static void print_help_json(const struct mmh_cli_options *options)
{
    struct mmh_json_out out;
    mmh_cli_json_begin(&out, options, NULL, MMH_OK, MMH_EXIT_OK);
    mmh_json_out_text(&out, "version", mmh_version());
    mmh_json_out_array(&out, "verbs");
    for (int i = 1; i < MMH_VERB_COUNT; i++) {
        mmh_json_out_object(&out, NULL);
        mmh_json_out_text(&out, "name", verbs[i].name);
        mmh_json_out_array(&out, "aliases");
        for (size_t a = 0; a < sizeof aliases / sizeof *aliases; a++)
            if ((int)aliases[a].verb == i)
                mmh_json_out_text(&out, NULL, aliases[a].name);
        mmh_json_out_end(&out);
        mmh_json_out_text(&out, "synopsis", verbs[i].synopsis);
        mmh_json_out_text(&out, "summary", verbs[i].summary);
        mmh_json_out_array(&out, "words");
        for (const char *const *word = verbs[i].words; word && *word; word++)
            mmh_json_out_text(&out, NULL, *word);
        mmh_json_out_end(&out);
        mmh_options_json(&out, (enum mmh_verb)i);
        mmh_json_out_end(&out);
    }
    mmh_json_out_end(&out);
    mmh_json_out_end(&out);
    (void)mmh_json_out_finish(&out);
}

static int help_on(const struct mmh_cli_options *options)
{
    enum mmh_verb verb = options->verb;
    int code = MMH_EXIT_OK;
    if (verb == MMH_VERB_HELP && options->json && !options->help) {
        print_help_json(options);
        return code;
    }
    if (verb == MMH_VERB_HELP && options->input_count)
        code = mmh_options_verb(&verb, options->inputs[0]);
    if (code == MMH_EXIT_OK)
        print_help(verb);
    return code;
}

static int run(struct mmh_cli_options *options)
{
    /* They look for tensors in files that are no containers. */
    static const unsigned finders = 1u << MMH_VERB_PACK | 1u << MMH_VERB_BENCH | 1u << MMH_VERB_LS |
                                    1u << MMH_VERB_CAT | 1u << MMH_VERB_DIFF |
                                    1u << MMH_VERB_REPORT;
    mmh_context *context = NULL;
    mmh_error err = { 0 };
    mmh_context_options given = { .struct_size = sizeof given,
                                  .threads = options->threads,
                                  .progress = mmh_bar_update,
                                  .limits.output_bytes = options->max_bytes };
    if (!given.threads && (options->verb == MMH_VERB_INFO || options->verb == MMH_VERB_LS))
        given.threads = 1; /* they read an index, no more */
    if (!options->input_count && options->verb != MMH_VERB_KEYGEN) {
        mmh_message_error("\"mmh %s\" needs a file", mmh_verb_name(options->verb));
        mmh_message_hint("mmh %s %s", mmh_verb_name(options->verb), verbs[options->verb].synopsis);
        return MMH_EXIT_USAGE;
    }
    mmh_message_quiet(options->quiet);
    if (options->frameworks)
        return mmh_cmd_frameworks(options);
    mmh_bar_setup(mmh_verb_name(options->verb),
                  options->quiet && options->bar == MMH_BAR_AUTO ? MMH_BAR_NONE : options->bar);
    mmh_status status = mmh_context_create(&context, &given, &err);
    if (status != MMH_OK)
        return mmh_cli_fail(options, NULL, &err, mmh_exit_of(status), NULL);
    int code = MMH_EXIT_OK;
    if (finders >> options->verb & 1)
        code = mmh_cli_load_plugins(options, context);
    struct mmh_keyring keyring = { 0 };
    if (code == MMH_EXIT_OK)
        code = mmh_keyring_open(&keyring, options, context);
    if (code == MMH_EXIT_OK)
        code = verbs[options->verb].run(options, context);
    mmh_context_destroy(context);
    options->keyring = NULL;
    mmh_keyring_close(&keyring);
    return code;
}

/* Without a file, what is sent to standard input is meant, as zstd has it. */
static void default_input(struct mmh_cli_options *options)
{
    static const unsigned readers = 1u << MMH_VERB_PACK | 1u << MMH_VERB_UNPACK |
                                    1u << MMH_VERB_VERIFY | 1u << MMH_VERB_INFO |
                                    1u << MMH_VERB_LS | 1u << MMH_VERB_AUDIT;
    if (!options->input_count && (readers >> options->verb & 1) && mmh_host_has_input())
        options->inputs[options->input_count++] = "-";
}

int main(int argument_count, char **arguments)
{
    struct mmh_cli_options options;
    mmh_host_begin();
    int code = mmh_options_parse(&options, argument_count, arguments);
    if (code == MMH_EXIT_OK) {
        if (options.version) {
            printf("mmh %s\n", mmh_version());
        } else if (options.help || options.verb == MMH_VERB_HELP) {
            code = help_on(&options);
        } else if (options.verb == MMH_VERB_NONE) {
            print_usage(stderr);
            code = MMH_EXIT_USAGE;
        } else {
            default_input(&options);
            code = run(&options);
        }
    }
    mmh_options_release(&options);
    mmh_written_release();
    if (!mmh_host_flush() && code == MMH_EXIT_OK)
        code = MMH_EXIT_IO;
    return code;
}
