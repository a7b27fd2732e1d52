/*
 * Names of a container that some systems read differently, or take for each other.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Which names no system may be given is the container room's business; these are sound here, and
 * docs/format.md section 5 says which they are.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "engine/engine.h"

static unsigned char fold(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int compare_folded(const char *a, const char *b)
{
    while (*a && fold(*a) == fold(*b))
        a++, b++;
    return (int)fold(*a) - (int)fold(*b);
}

static bool equals_folded(const char *text, size_t bytes, const char *word)
{
    size_t i = 0;
    while (i < bytes && word[i] && fold(text[i]) == (unsigned char)word[i])
        i++;
    return i == bytes && !word[i];
}

/* Whether a part of a name is a device to DOS and its heirs: "nul", "Com1.txt", "AUX .bin". */
static bool is_device(const char *part, size_t bytes)
{
    static const char *const devices[] = { "con", "prn", "aux", "nul", "conin$", "conout$" };
    size_t stem = 0;
    while (stem < bytes && part[stem] != '.')
        stem++;
    while (stem && part[stem - 1] == ' ')
        stem--;
    for (size_t i = 0; i < MMH_COUNT_OF(devices); i++)
        if (equals_folded(part, stem, devices[i]))
            return true;
    return stem == 4 && part[3] >= '0' && part[3] <= '9' &&
           (equals_folded(part, 3, "com") || equals_folded(part, 3, "lpt"));
}

/* Why a name is not one for every system; NULL: it is. */
static const char *odd_because(const char *name)
{
    if (strcmp(name, ".") == 0)
        return NULL;
    if (strchr(name, '\\'))
        return "holds a backslash, which divides names on some systems";
    if (fold(name[0]) >= 'a' && fold(name[0]) <= 'z' && name[1] == ':')
        return "begins with the letter of a drive on some systems";
    for (const char *part = name;;) {
        size_t bytes = strcspn(part, "/");
        if (is_device(part, bytes))
            return "is a device on some systems";
        if (part[bytes - 1] == '.' || part[bytes - 1] == ' ')
            return "ends in a dot or space, which some systems cut off";
        if (!part[bytes])
            return NULL;
        part += bytes + 1;
    }
}

static int by_folded(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    int order = compare_folded(*x, *y);
    return order ? order : strcmp(*x, *y);
}

void mmh_names_look(struct mmh_odd_names *odd, const char **names, size_t count)
{
    *odd = (struct mmh_odd_names){ 0 };
    for (size_t i = 0; i < count; i++) {
        const char *why = odd_because(names[i]);
        if (why && !odd->count++) {
            odd->first = names[i];
            odd->why = why;
        }
    }
    if (count)
        qsort(names, count, sizeof *names, by_folded);
    for (size_t i = 1; i < count; i++)
        if (compare_folded(names[i - 1], names[i]) == 0 && !odd->count++) {
            odd->first = names[i - 1];
            odd->twin = names[i];
        }
}

void mmh_odd_name_text(char *text, size_t bytes, const struct mmh_odd_names *odd)
{
    mmh_error said = { 0 };
    if (odd->twin)
        (void)mmh_fail(&said, MMH_E_USAGE, "\"%s\" and \"%s\" are one name on some systems",
                       odd->first, odd->twin);
    else
        (void)mmh_fail(&said, MMH_E_USAGE, "\"%s\" %s", odd->first, odd->why);
    size_t length = MMH_MIN(strlen(said.message), bytes - 1);
    memcpy(text, said.message, length);
    text[length] = '\0';
}
