/*
 * Tables with aligned columns.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TABLE_H
#define MMH_TABLE_H

#include <stdio.h>

#include "cli/message.h"

typedef struct mmh_table mmh_table;

/* One letter for each column: 'l' to the left, 'r' to the right. 'L' and 'R', never the first, are
 * left out on a terminal that is too narrow, the last first; then the widest 'l' is shortened. */
mmh_table *mmh_table_create(const char *columns);
void mmh_table_destroy(mmh_table *table);

/* The next cell, row by row. The text is cleaned (mmh_text_clean). */
void mmh_table_cell(mmh_table *table, const char *format, ...) MMH_CLI_PRINTF(2, 3);

/* Rows up to here are the heading: shown bold where there is colour. */
void mmh_table_heading(mmh_table *table);

/* A line of dashes under the columns. */
void mmh_table_rule(mmh_table *table);

void mmh_table_print(const mmh_table *table, FILE *file, const char *indent);

#endif
