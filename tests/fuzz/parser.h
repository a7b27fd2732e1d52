/*
 * Fuzz targets of single formats: each names the parsers that it is for, parser.c does the rest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_FUZZ_PARSER_H
#define MMH_FUZZ_PARSER_H

#include "format/format_table.h"

/* What is fuzzed: a parser, and what its files are called. The last has no format. */
struct fuzz_parser {
    const struct mmh_format *format;
    const char *name;
};

extern const struct fuzz_parser fuzz_parsers[];

#endif
