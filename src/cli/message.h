/*
 * Messages to stderr: "mmh: error: ...", "mmh: warning: ...", "mmh: hint: ...", and plain notes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_MESSAGE_H
#define MMH_MESSAGE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#if defined(__GNUC__)
#define MMH_CLI_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define MMH_CLI_PRINTF(text, first)
#endif

void mmh_message_quiet(bool quiet); /* no notes from now on; all else is still told */

void mmh_message_error(const char *format, ...) MMH_CLI_PRINTF(1, 2);
void mmh_message_warning(const char *format, ...) MMH_CLI_PRINTF(1, 2);
void mmh_message_hint(const char *format, ...) MMH_CLI_PRINTF(1, 2);
void mmh_message_note(const char *format, ...) MMH_CLI_PRINTF(1, 2);

/* The name nearest to `word` if it is near enough to be meant, else NULL. */
const char *mmh_message_nearest(const char *word, const char *const *names, size_t count);

/* Memory for the command's own lists: never NULL. Ends the program if there is none. */
void *mmh_cli_alloc(size_t bytes);
char *mmh_cli_format(const char *format, ...) MMH_CLI_PRINTF(1, 2); /* to be freed */
char *mmh_cli_format_v(const char *format, va_list arguments) MMH_CLI_PRINTF(1, 0);
char *mmh_cli_clean(const char *text); /* mmh_text_clean, to be freed */

#endif
