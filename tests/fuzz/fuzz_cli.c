/*
 * Fuzz target: the command with any arguments, over a container of any bytes, ends with one of its
 * exit codes; what it prints does no harm in a terminal, and with --json is JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: u8 arguments, each with a NUL behind it, then the container x.mmh as fuzz_container.c takes
 * one; nothing: there is none. The command runs in a folder of its own beside m.safetensors,
 * m.safetensors.mmh and d/; arguments cannot lead out of it.
 */
#include "cli_streams.h"

#undef stdout
#undef stderr
#undef printf
#undef main
#include "sealed.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"

enum { ARGUMENTS_MAX = 12 };

FILE *fuzz_stdout, *fuzz_stderr;

static const uint8_t model[] = "\x47\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"BF16\",\"shape\":[3,2],"
                               "\"data_offsets\":[0,12]},\"__metadata__\":{\"a\":\"b\"}}"
                               "\x80\x3f\x81\x3f\x82\xbf\x83\x3f\x80\x3f\0\0";
static uint8_t *sound; /* the model's container */
static size_t sound_bytes;

/* ---- the folder ---- */

static void begin(void)
{
    const char *top = fuzz_path("cli"), *input = fuzz_path("m.safetensors");
    const char *output = fuzz_path("m.mmh");
    int null = open("/dev/null", O_RDWR);
    FUZZ_REQUIRE(null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 && !close(null));
    FUZZ_REQUIRE(!setenv("TMPDIR", fuzz_path(""), 1) && !mkdir(top, 0755));
    FUZZ_REQUIRE(!setenv("MMH_TRUST", fuzz_path("cli/trust"), 1));
    FUZZ_REQUIRE(!unsetenv("MMH_KEY") && !unsetenv("MMH_PASSPHRASE_FILE"));
    int terminal = open("/dev/tty", O_RDWR); /* nobody is there to be asked */
    if (terminal >= 0)
        FUZZ_REQUIRE(!ioctl(terminal, TIOCNOTTY) && !close(terminal));
    fuzz_write(input, model, sizeof model - 1);
    FUZZ_REQUIRE(!mmh_pack(fuzz_context(1), &input, 1, output, NULL, NULL, NULL));
    sound = fuzz_read(output, &sound_bytes);
    FUZZ_REQUIRE(sound);
}

static void lay_out(const uint8_t *container, size_t container_bytes)
{
    fuzz_remove(fuzz_path("cli"));
    FUZZ_REQUIRE(!mkdir(fuzz_path("cli"), 0755) && !mkdir(fuzz_path("cli/d"), 0755));
    fuzz_write(fuzz_path("cli/m.safetensors"), model, sizeof model - 1);
    fuzz_write(fuzz_path("cli/d/m.npy"), model, 20);
    fuzz_write(fuzz_path("cli/m.safetensors.mmh"), sound, sound_bytes);
    if (container)
        fuzz_write(fuzz_path("cli/x.mmh"), container, container_bytes);
}

/* ---- arguments ---- */

/* No path leads out of the folder; no number of threads is large, nor an RSA key; and of the descriptors
 * only standard input is one to read from. */
static void tame(char *argument, const char *before)
{
    size_t before_length = before ? strlen(before) : 0;
    bool threads = strchr(argument, 'T') || strstr(argument, "threads") ||
                   (before_length &&
                    (before[before_length - 1] == 'T' || !strcmp(before, "--threads")));
    bool counts = strstr(argument, "rsa") || strstr(argument, "-fd") ||
                  (before && (strstr(before, "rsa") || strstr(before, "-fd")));
    for (char *at = argument; *at; at++) {
        if (counts && isdigit((unsigned char)*at))
            *at = '0';
        if (*at == '/' && (argument[0] == '-' || at == argument))
            *at = '_';
        if (at[0] == '.' && at[1] == '.')
            at[0] = at[1] = '_';
        if (threads && at > argument && isdigit((unsigned char)at[0]) &&
            isdigit((unsigned char)at[-1]))
            at[0] = '_';
    }
}

static int read_arguments(char **arguments, struct fuzz_input *in)
{
    int count = 1 + (int)fuzz_below(in, ARGUMENTS_MAX);
    arguments[0] = strdup("mmh");
    for (int i = 1; i < count; i++) {
        size_t length = in->bytes ? strnlen((const char *)in->data, in->bytes) : 0;
        arguments[i] = (char *)fuzz_memory(length + 1);
        if (length)
            memcpy(arguments[i], in->data, length);
        arguments[i][length] = 0;
        tame(arguments[i], arguments[i - 1]);
        length = MMH_MIN(length + 1, in->bytes);
        in->data += length;
        in->bytes -= length;
    }
    arguments[count] = NULL;
    return count;
}

/* ---- what it prints ---- */

/* Lines of UTF-8 without control characters or what turns text around. */
static bool is_clean(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        unsigned char first = (unsigned char)text[at];
        size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
        uint32_t letter = first < 0x80 ? first : first & (0x7fu >> length);
        if ((first < 32 && first != '\n') || first == 127 || (first >= 0x80 && first < 0xc2) ||
            first > 0xf4 || length > bytes - at)
            return false;
        for (size_t i = 1; i < length; i++) {
            if (((unsigned char)text[at + i] & 0xc0) != 0x80)
                return false;
            letter = letter << 6 | ((unsigned char)text[at + i] & 0x3f);
        }
        if ((letter >= 0x80 && letter < 0xa0) || (letter >= 0x202a && letter <= 0x202e) ||
            (letter >= 0x2066 && letter <= 0x2069) || (letter >= 0xd800 && letter < 0xe000))
            return false;
        at += length;
    }
    return true;
}

static void require_json_lines(const char *text, size_t bytes)
{
    while (bytes) {
        const char *end = memchr(text, '\n', bytes);
        struct mmh_json json;
        struct mmh_json_token token;
        FUZZ_REQUIRE(end);
        mmh_json_init(&json, text, (size_t)(end - text));
        FUZZ_REQUIRE(mmh_json_next(&json, &token) == MMH_JSON_OBJECT);
        mmh_json_skip_rest(&json, &token);
        FUZZ_REQUIRE(!mmh_json_finish(&json, "output", NULL));
        bytes -= (size_t)(end + 1 - text);
        text = end + 1;
    }
}

static bool has_argument(int count, char **arguments, const char *wanted)
{
    bool has = false;
    for (int i = 1; i < count; i++)
        has = has || !strcmp(arguments[i], wanted);
    return has;
}

static void check_output(int code, const char *out, size_t out_bytes, const char *err,
                         size_t err_bytes, int count, char **arguments, bool json)
{
    /* What cat prints is what was packed, whatever that is. */
    bool data = has_argument(count, arguments, "cat");
    bool differs = code == 1 && has_argument(count, arguments, "--exit-code");
    if ((!data && !is_clean(out, out_bytes)) || !is_clean(err, err_bytes))
        (void)fprintf(stderr, "exit %d, stdout \"%s\", stderr \"%s\"\n", code, out, err);
    FUZZ_REQUIRE((code >= MMH_EXIT_OK && code <= MMH_EXIT_LIMIT) || code == MMH_EXIT_INTERRUPTED);
    FUZZ_REQUIRE(data || is_clean(out, out_bytes));
    FUZZ_REQUIRE(is_clean(err, err_bytes));
    FUZZ_REQUIRE(code == MMH_EXIT_OK || differs || err_bytes); /* a failure is told */
    if (json)
        require_json_lines(out, out_bytes);
}

/* Whether the arguments ask for JSON, and not for help or the version. */
static bool wants_json(int count, char **arguments)
{
    bool json = false;
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--"))
            break;
        json = json || !strcmp(arguments[i], "--json");
        if (!strcmp(arguments[i], "help") || strstr(arguments[i], "help") ||
            strstr(arguments[i], "version") ||
            (arguments[i][0] == '-' && arguments[i][1] != '-' && strpbrk(arguments[i], "hV")))
            return false;
    }
    return json;
}

static int run_command(int count, char **arguments)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ };
    struct sigaction kept[MMH_COUNT_OF(signals)];
    int here = open(".", O_RDONLY | O_DIRECTORY);
    FUZZ_REQUIRE(here >= 0 && !chdir(fuzz_path("cli")));
    for (size_t i = 0; i < MMH_COUNT_OF(signals); i++)
        FUZZ_REQUIRE(!sigaction(signals[i], NULL, &kept[i]));
    int code = mmh_cli_main(count, arguments);
    for (size_t i = 0; i < MMH_COUNT_OF(signals); i++)
        FUZZ_REQUIRE(!sigaction(signals[i], &kept[i], NULL));
    FUZZ_REQUIRE(!fchdir(here) && !close(here));
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input in = { data, bytes };
    char *arguments[ARGUMENTS_MAX + 2], *out = NULL, *err = NULL;
    size_t out_bytes, err_bytes, container_bytes = 0;
    uint8_t *container = NULL;
    if (!sound)
        begin();
    int count = read_arguments(arguments, &in);
    if (in.bytes >= 8 && mmh_container_magic(in.data, in.bytes)) {
        container = fuzz_copy(in.data, in.bytes);
        container_bytes = in.bytes;
        sealed_container(container, container_bytes);
    } else if (in.bytes >= 8) {
        container = sealed_parts(&container_bytes, in.data, in.bytes);
    }
    lay_out(container, container_bytes);
    free(container);
    fuzz_stdout = open_memstream(&out, &out_bytes);
    fuzz_stderr = open_memstream(&err, &err_bytes);
    FUZZ_REQUIRE(fuzz_stdout && fuzz_stderr);
    int code = run_command(count, arguments);
    FUZZ_REQUIRE(!fclose(fuzz_stdout) && !fclose(fuzz_stderr));
    check_output(code, out, out_bytes, err, err_bytes, count, arguments,
                 wants_json(count, arguments));
    free(out);
    free(err);
    for (int i = 0; i < count; i++)
        free(arguments[i]);
    return 0;
}
