/*
 * Tables with aligned columns.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"
#include "cli/human.h"

struct mmh_table {
    const char *columns;
    size_t column_count;
    char **cells; /* row by row; NULL begins a row that is a rule */
    size_t cell_count, room;
    size_t heading_cells;
};

mmh_table *mmh_table_create(const char *columns)
{
    mmh_table *table = mmh_cli_alloc(sizeof *table);
    *table = (mmh_table){ .columns = columns, .column_count = strlen(columns) };
    return table;
}

void mmh_table_destroy(mmh_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

static void add(mmh_table *table, char *cell)
{
    if (table->cell_count == table->room) {
        size_t room = table->room ? table->room * 2 : 64;
        char **cells = mmh_cli_alloc(room * sizeof *cells);
        if (table->cell_count)
            memcpy(cells, table->cells, table->cell_count * sizeof *cells);
        free(table->cells);
        table->cells = cells;
        table->room = room;
    }
    table->cells[table->cell_count++] = cell;
}

void mmh_table_cell(mmh_table *table, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = mmh_cli_format_v(format, arguments);
    va_end(arguments);
    add(table, mmh_cli_clean(text));
    free(text);
}

void mmh_table_heading(mmh_table *table)
{
    table->heading_cells = table->cell_count;
}

void mmh_table_rule(mmh_table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        add(table, NULL);
}

static void repeat(FILE *file, char c, size_t count)
{
    while (count--)
        putc(c, file);
}

#define LEFT_OUT SIZE_MAX /* the width of a column that is */

enum {
    SHORTENED = 24,
    WIDEST = 80 /* that text makes a column where lines do not end: what is longer stands out */
};

/* On a terminal lines that wrap are hard to read: leave out what may be, the last first. */
static void fit(const mmh_table *table, size_t *widths, size_t columns)
{
    size_t total = 0;
    for (size_t c = 0; c < table->column_count; c++)
        total += widths[c] + (c ? 2 : 0);
    for (size_t c = table->column_count; c-- > 0 && total > columns;)
        if (table->columns[c] == 'L' || table->columns[c] == 'R') {
            total -= widths[c] + 2;
            widths[c] = LEFT_OUT;
        }
    /* Then the widest text gives way, to a point: names are to be told apart. */
    size_t widest = 0;
    for (size_t c = 1; c < table->column_count; c++)
        if (table->columns[c] == 'l' && widths[c] > widths[widest])
            widest = c;
    if (total <= columns || widths[widest] <= SHORTENED)
        return;
    size_t over = total - columns;
    size_t room = widths[widest] > over + SHORTENED ? widths[widest] - over : SHORTENED;
    for (size_t i = widest; i < table->cell_count; i += table->column_count)
        if (table->cells[i] && mmh_text_width(table->cells[i]) > room)
            mmh_text_shorten(table->cells[i], room);
    widths[widest] = room;
}

static bool is_right(char column)
{
    return column == 'r' || column == 'R';
}

static void print_row(const mmh_table *table, size_t first, const size_t *widths, FILE *file)
{
    size_t owed = 0; /* spaces that are written only if something follows */
    for (size_t c = 0; c < table->column_count && first + c < table->cell_count; c++) {
        const char *cell = table->cells[first + c];
        if (widths[c] == LEFT_OUT)
            continue;
        size_t width = cell ? mmh_text_width(cell) : widths[c];
        size_t spare = widths[c] > width ? widths[c] - width : 0;
        if (cell && !*cell) {
            owed += widths[c] + 2;
            continue;
        }
        repeat(file, ' ', owed + (is_right(table->columns[c]) ? spare : 0));
        if (cell)
            fputs(cell, file);
        else
            repeat(file, '-', width);
        owed = (is_right(table->columns[c]) ? 0 : spare) + 2;
    }
}

void mmh_table_print(const mmh_table *table, FILE *file, const char *indent)
{
    size_t *widths = mmh_cli_alloc(table->column_count * sizeof *widths);
    bool colour = mmh_host_is_colour(file);
    memset(widths, 0, table->column_count * sizeof *widths);
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = table->cells[i] ? mmh_text_width(table->cells[i]) : 0;
        if (width > widths[i % table->column_count])
            widths[i % table->column_count] = width;
    }
    size_t columns = mmh_host_columns(file), margin = strlen(indent);
    if (mmh_host_is_terminal(file) && columns > margin)
        fit(table, widths, columns - margin);
    for (size_t c = 0; c < table->column_count && !mmh_host_is_terminal(file); c++)
        if (!is_right(table->columns[c]) && widths[c] > WIDEST && widths[c] != LEFT_OUT)
            widths[c] = WIDEST;
    for (size_t first = 0; first < table->cell_count; first += table->column_count) {
        bool bold = colour && first < table->heading_cells;
        fputs(indent, file);
        fputs(bold ? "\033[1m" : "", file);
        print_row(table, first, widths, file);
        fputs(bold ? "\033[0m\n" : "\n", file);
    }
    free(widths);
}
