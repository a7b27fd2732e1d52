/*
 * Selections: "layers.3.w[0:16, :]" as a tensor and a part of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "cli/selection.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/message.h"

bool mmh_selection_all(struct mmh_selection *selection, const mmh_tensor_info *tensor)
{
    if (tensor->dimensions > MMH_SELECTION_DIMENSIONS_MAX)
        return false;
    *selection = (struct mmh_selection){ .dimensions = tensor->dimensions, .whole = true };
    for (uint32_t d = 0; d < tensor->dimensions; d++)
        selection->end[d] = tensor->shape[d];
    return true;
}

/* ---- numbers ---- */

struct scanner {
    const char *next, *end;
    char *problem;
    size_t room;
};

static void skip_spaces(struct scanner *scanner)
{
    while (scanner->next < scanner->end && (*scanner->next == ' ' || *scanner->next == '\t'))
        scanner->next++;
}

static bool take(struct scanner *scanner, char c)
{
    skip_spaces(scanner);
    if (scanner->next == scanner->end || *scanner->next != c)
        return false;
    scanner->next++;
    return true;
}

static bool fail(struct scanner *scanner, const char *format, ...) MMH_CLI_PRINTF(2, 3);
static bool fail(struct scanner *scanner, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(scanner->problem, scanner->room, format, arguments);
    va_end(arguments);
    return false;
}

struct number {
    bool given, negative, huge;
    uint64_t value;
};

static bool scan_number(struct scanner *scanner, struct number *number)
{
    *number = (struct number){ .negative = take(scanner, '-') };
    skip_spaces(scanner);
    while (scanner->next < scanner->end && *scanner->next >= '0' && *scanner->next <= '9') {
        unsigned digit = (unsigned)(*scanner->next++ - '0');
        number->given = true;
        number->huge |= number->value > (UINT64_MAX - digit) / 10;
        number->value = number->huge ? UINT64_MAX : number->value * 10 + digit;
    }
    if (number->negative && !number->given)
        return fail(scanner, "a number is missing after \"-\"");
    number->negative = number->negative && number->value; /* -0 is 0 */
    return true;
}

/* A number as a place in a dimension of `length`, cut to it, as numpy does for ranges. */
static uint64_t place(const struct number *number, uint64_t length)
{
    if (number->negative)
        return number->value >= length ? 0 : length - number->value;
    return number->value > length ? length : number->value;
}

/* ---- dimensions ---- */

static bool scan_dimension(struct scanner *scanner, struct mmh_selection *selection, uint32_t d,
                           uint64_t length)
{
    struct number first, last;
    if (!scan_number(scanner, &first))
        return false;
    if (!take(scanner, ':')) {
        if (!first.given)
            return fail(scanner, "a number or a range is missing for dimension %u", (unsigned)d);
        if (first.negative ? first.value > length : first.value >= length)
            return fail(scanner, "%s%" PRIu64 "%s is outside dimension %u, which has %" PRIu64,
                        first.negative ? "-" : "", first.value, first.huge ? " or more" : "",
                        (unsigned)d, length);
        selection->begin[d] = place(&first, length);
        selection->end[d] = selection->begin[d] + 1;
        selection->dropped[d] = true;
        return true;
    }
    if (!scan_number(scanner, &last))
        return false;
    if (take(scanner, ':')) {
        struct number step;
        if (!scan_number(scanner, &step))
            return false;
        if (step.given && (step.negative || step.value != 1))
            return fail(scanner, "steps are not supported");
    }
    selection->begin[d] = first.given ? place(&first, length) : 0;
    selection->end[d] = last.given ? place(&last, length) : length;
    if (selection->end[d] < selection->begin[d])
        selection->end[d] = selection->begin[d];
    return true;
}

/* How many dimensions the rest names: commas, less a "..." . */
static uint32_t count_rest(const struct scanner *scanner)
{
    uint32_t commas = 0;
    bool some = false;
    for (const char *at = scanner->next; at < scanner->end; at++) {
        commas += *at == ',';
        some |= *at != ',' && *at != ' ' && *at != '\t';
        if (*at == ',')
            some = false;
    }
    return commas + some;
}

bool mmh_selection_parse(struct mmh_selection *selection, const char *text, size_t bytes,
                         const mmh_tensor_info *tensor, char *problem, size_t room)
{
    struct scanner scanner = { text, text + bytes, problem, room };
    bool ellipsis = false;
    uint32_t d = 0;
    if (!mmh_selection_all(selection, tensor))
        return fail(&scanner, "too many dimensions");
    selection->whole = false;
    skip_spaces(&scanner);
    if (scanner.next == scanner.end)
        return fail(&scanner, "nothing is selected: \"[]\"");
    while (scanner.next < scanner.end) {
        if (scanner.end - scanner.next >= 3 && strncmp(scanner.next, "...", 3) == 0) {
            if (ellipsis)
                return fail(&scanner, "\"...\" can stand but once");
            ellipsis = true;
            scanner.next += 3;
            skip_spaces(&scanner);
            if (scanner.next < scanner.end && !take(&scanner, ','))
                return fail(&scanner, "\"%.20s\" is not understood", scanner.next);
            uint32_t rest = count_rest(&scanner);
            if (d + rest > selection->dimensions)
                return fail(&scanner, "the tensor has %u dimensions",
                            (unsigned)selection->dimensions);
            d = selection->dimensions - rest;
            skip_spaces(&scanner);
            continue;
        }
        if (d >= selection->dimensions)
            return fail(&scanner, "the tensor has %u dimension%s", (unsigned)selection->dimensions,
                        selection->dimensions == 1 ? "" : "s");
        if (!scan_dimension(&scanner, selection, d, tensor->shape[d]))
            return false;
        d++;
        skip_spaces(&scanner);
        if (scanner.next < scanner.end && !take(&scanner, ','))
            return fail(&scanner, "\"%.*s\" is not understood", (int)(scanner.end - scanner.next),
                        scanner.next);
        skip_spaces(&scanner);
    }
    selection->whole = true;
    for (d = 0; d < selection->dimensions; d++)
        selection->whole &= !selection->begin[d] && selection->end[d] == tensor->shape[d];
    return true;
}

uint64_t mmh_selection_count(const struct mmh_selection *selection)
{
    uint64_t count = 1;
    for (uint32_t d = 0; d < selection->dimensions; d++)
        count *= selection->end[d] - selection->begin[d];
    return count;
}

uint32_t mmh_selection_shape(uint64_t *shape, const struct mmh_selection *selection)
{
    uint32_t dimensions = 0;
    for (uint32_t d = 0; d < selection->dimensions; d++)
        if (!selection->dropped[d])
            shape[dimensions++] = selection->end[d] - selection->begin[d];
    return dimensions;
}

size_t mmh_selection_split(const char *argument)
{
    size_t length = strlen(argument);
    if (!length || argument[length - 1] != ']')
        return length;
    for (size_t i = length - 1; i-- > 0;)
        if (argument[i] == '[')
            return i;
    return length;
}
