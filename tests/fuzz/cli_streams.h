/*
 * Included before everything in the command's sources when fuzz_cli.c runs them: its streams are
 * the target's, and its main is a function.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_CLI_STREAMS_H
#define MMH_CLI_STREAMS_H

#include <stdio.h>

extern FILE *fuzz_stdout, *fuzz_stderr;
int mmh_cli_main(int argument_count, char **arguments);

#undef stdout
#undef stderr
#define stdout fuzz_stdout
#define stderr fuzz_stderr
#define printf(...) fprintf(fuzz_stdout, __VA_ARGS__)
#define putchar(character) putc(character, fuzz_stdout)
#define main mmh_cli_main

#endif
