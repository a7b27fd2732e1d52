/*
 * mmh audit: what guards a container, and which profiles that meets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/cli.h"

int mmh_cmd_audit(const struct mmh_cli_options *options, mmh_context *context)
{
    (void)context;
    return mmh_cli_refuse(options, NULL, NULL, "not yet");
}
