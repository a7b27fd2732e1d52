/*
 * Times as text: seconds since 1970 to RFC 3339, in UTC, and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Days are counted in eras of 400 years that begin in March, so that leap days come last.
 */
#include <inttypes.h>
#include <stdio.h>

#include "trust/store.h"

enum { DAY = 86400, ERA_DAYS = 146097, EPOCH_DAYS = 719468 /* from 0000-03-01 to 1970-01-01 */ };

static const uint64_t seconds_max = UINT64_C(253402300799); /* the end of 9999 */

void mmh_time_text(char text[24], uint64_t seconds)
{
    if (seconds > seconds_max)
        seconds = seconds_max;
    const unsigned days = (unsigned)(seconds / DAY) + EPOCH_DAYS,
                   second = (unsigned)(seconds % DAY);
    const unsigned era = days / ERA_DAYS, day_of_era = days % ERA_DAYS;
    const unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const unsigned day_of_year = day_of_era -
                                 (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const unsigned month_from_march = (5 * day_of_year + 2) / 153;
    const unsigned day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    const unsigned year = era * 400 + year_of_era + (month <= 2);
    (void)snprintf(text, 24, "%04u-%02u-%02uT%02u:%02u:%02uZ", year % 10000, month % 100, day % 100,
                   second / 3600 % 100, second / 60 % 60, second % 60);
}

/* Digits of text [count]; false if there are others. */
static bool digits(unsigned *value, const char *text, unsigned count)
{
    *value = 0;
    for (unsigned i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

bool mmh_time_from_text(uint64_t *seconds, const char *text, size_t bytes)
{
    unsigned year, month, day, hour, minute, second;
    char again[24];
    if (bytes != 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
        text[16] != ':' || text[19] != 'Z' || !digits(&year, text, 4) ||
        !digits(&month, text + 5, 2) || !digits(&day, text + 8, 2) ||
        !digits(&hour, text + 11, 2) || !digits(&minute, text + 14, 2) ||
        !digits(&second, text + 17, 2) || year < 1970 || !month || month > 12 || !day || day > 31 ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    const unsigned march_year = year - (month <= 2);
    const unsigned year_of_era = march_year % 400;
    const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
                                day_of_year;
    const uint64_t days = (uint64_t)march_year / 400 * ERA_DAYS + day_of_era - EPOCH_DAYS;
    *seconds = days * DAY + hour * 3600 + minute * 60 + second;
    mmh_time_text(again, *seconds); /* 31 April, 29 February: there is no such day */
    for (unsigned i = 0; i < 20; i++)
        if (again[i] != text[i])
            return false;
    return true;
}
