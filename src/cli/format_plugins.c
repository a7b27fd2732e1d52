/*
 * Format plug-ins: those that the command line names, and those of the user's and the system's folders.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"

/* Where the installation has them; the build says. */
#if !defined(MMH_FORMAT_FOLDER)
#define MMH_FORMAT_FOLDER ""
#endif

/* A plug-in there that cannot be had is no reason to do nothing. */
static void load_folder(mmh_context *context, const char *folder)
{
    mmh_error err = { 0 };
    if (mmh_format_plugin_load_folder(context, folder, &err) != MMH_OK)
        mmh_message_warning("%s", err.message);
}

/* Folders with ':' between them. */
static void load_folders(mmh_context *context, const char *folders)
{
    while (folders && *folders) {
        size_t length = strcspn(folders, ":");
        char *folder = mmh_cli_format("%.*s", (int)length, folders);
        if (length)
            load_folder(context, folder);
        free(folder);
        folders += length + (folders[length] == ':');
    }
}

int mmh_cli_load_plugins(const struct mmh_cli_options *options, mmh_context *context)
{
    for (size_t i = 0; i < options->plugin_count; i++) {
        mmh_error err = { 0 };
        mmh_status status = mmh_format_plugin_load(context, options->plugins[i], &err);
        if (status != MMH_OK)
            return mmh_cli_fail(options, options->plugins[i], &err, mmh_exit_of(status), NULL);
    }
    load_folders(context, mmh_host_own_variable("MMH_FORMAT_PLUGINS"));
    load_folders(context, MMH_FORMAT_FOLDER);
    return MMH_EXIT_OK;
}
