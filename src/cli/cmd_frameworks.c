/*
 * mmh verify --frameworks: find the Python that has the package mmh, and become what it runs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"

/* Exits 0 if this Python has the package; PACKAGE_MISSING if not. Before 3.11 there was no -P. */
static const char probe[] =
    "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('mmh') else 9)";
enum { PACKAGE_MISSING = 9, NO_SUCH_OPTION = 2 };

/* Whether a Python will do; if not, why not is written to `why`. */
static bool will_do(const char *python, char *why, size_t room)
{
    const char *const arguments[] = { python, "-P", "-c", probe, NULL };
    int code = mmh_host_run_silently(arguments);
    if (code == 0)
        return true;
    if (code == PACKAGE_MISSING)
        snprintf(why, room, "%s has no package mmh", python);
    else if (code == NO_SUCH_OPTION)
        snprintf(why, room, "%s is older than Python 3.11", python);
    else
        snprintf(why, room, "%s does not run", python);
    return false;
}

/* The one that is named, else the one beside this program, else the first of PATH. To be freed; NULL:
 * none will do, and `err` says why. */
static char *find_python(mmh_error *err)
{
    char why[2][200] = { "", "" };
    const char *named = mmh_host_own_variable("MMH_PYTHON");
    err->status = MMH_E_UNSUPPORTED;
    if (named && *named) {
        char *path = strchr(named, '/') ? mmh_cli_format("%s", named)
                                        : mmh_host_find_program(named);
        if (path && will_do(path, why[0], sizeof why[0]))
            return path;
        if (!path)
            snprintf(why[0], sizeof why[0], "there is no %s in PATH", named);
        free(path);
        snprintf(err->message, sizeof err->message, "$MMH_PYTHON will not do: %s", why[0]);
        return NULL;
    }
    char *program = mmh_host_program();
    char *slash = program ? strrchr(program, '/') : NULL;
    if (slash) {
        *slash = 0;
        char *beside = mmh_cli_format("%s/python3", program);
        if (mmh_host_exists(beside) && will_do(beside, why[0], sizeof why[0])) {
            free(program);
            return beside;
        }
        free(beside);
    }
    free(program);
    char *found = mmh_host_find_program("python3");
    if (found && will_do(found, why[1], sizeof why[1]))
        return found;
    if (!found)
        snprintf(why[1], sizeof why[1], "there is no python3 in PATH");
    free(found);
    snprintf(err->message, sizeof err->message,
             "--frameworks needs a Python that has the package mmh: %s%s%s", why[0],
             *why[0] ? "; " : "", why[1]);
    return NULL;
}

enum { FIXED = 19 }; /* words of a line but for those that may be repeated */

struct line {
    char **words; /* [room], [count] */
    size_t count, room;
};

/* Names and paths come as --option=VALUE: they may begin with a '-' themselves. */
static void add(struct line *line, const char *option, const char *value)
{
    line->words[line->count++] = mmh_cli_format("%s%s", option, value);
}

int mmh_cmd_frameworks(const struct mmh_cli_options *options)
{
    mmh_error err = { 0 };
    char *python = find_python(&err);
    if (!python)
        return mmh_cli_fail(options, options->input_count ? options->inputs[0] : NULL, &err,
                            MMH_EXIT_UNSUPPORTED,
                            "pip install it, or name the python that has it: "
                            "MMH_PYTHON=/path/to/python3");
    struct line line = { .room = FIXED + options->keys.count + options->signers.count +
                                 options->input_count };
    line.words = mmh_cli_alloc(line.room * sizeof *line.words);
    /* -P: not what happens to lie in the current folder. */
    static const char *const first[] = { "-P", "-m", "mmh", "verify-frameworks" };
    add(&line, "", python);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        add(&line, "", first[i]);
    if (options->json)
        add(&line, "", "--json");
    if (options->quiet)
        add(&line, "", "--quiet");
    if (options->verbose)
        add(&line, "", "--verbose");
    static const char *const bars[] = {
        [MMH_BAR_NONE] = "none", [MMH_BAR_ALWAYS] = "bar", [MMH_BAR_JSON] = "json"
    };
    if (options->bar != MMH_BAR_AUTO)
        add(&line, "--progress=", bars[options->bar]);
    if (options->run_code)
        add(&line, "", "--run-code");
    if (options->framework_names)
        add(&line, "--only=", options->framework_names);
    if (options->repair_source_count)
        add(&line, "--source=", options->repair_sources[0]);
    if (options->passphrase_file)
        add(&line, "--passphrase-file=", options->passphrase_file);
    if (options->has_passphrase_descriptor) {
        char number[16];
        snprintf(number, sizeof number, "%d", options->passphrase_descriptor);
        add(&line, "--passphrase-fd=", number);
    }
    for (size_t i = 0; i < options->keys.count; i++)
        add(&line, "--key=", options->keys.items[i]);
    for (size_t i = 0; i < options->signers.count; i++)
        add(&line, "--signer=", options->signers.items[i]);
    add(&line, "", "--");
    for (size_t i = 0; i < options->input_count; i++)
        add(&line, "", options->inputs[i]);
    line.words[line.count] = NULL;
    mmh_host_become((const char *const *)line.words);
    err.status = MMH_E_IO;
    snprintf(err.message, sizeof err.message, "cannot run %s: %s", python, strerror(errno));
    while (line.count)
        free(line.words[--line.count]);
    free(line.words);
    free(python);
    return mmh_cli_fail(options, options->inputs[0], &err, MMH_EXIT_IO, NULL);
}
