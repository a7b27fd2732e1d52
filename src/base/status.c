/*
 * Recording failures; checked size arithmetic.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

mmh_status mmh_fail_v(mmh_error *err, mmh_status status, const char *format, va_list arguments)
{
    if (!err || err->status != MMH_OK)
        return status;
    err->status = status;
    int wanted = vsnprintf(err->message, sizeof err->message, format, arguments);
    if (wanted < 0)
        err->message[0] = '\0';
    if (wanted >= (int)sizeof err->message) {
        size_t end = sizeof err->message - sizeof "...";
        while (end > 0 && ((unsigned char)err->message[end] & 0xc0) == 0x80)
            end--; /* the first byte that goes begins a character */
        memcpy(err->message + end, "...", sizeof "...");
    }
    for (char *at = err->message; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return status;
}

mmh_status(mmh_fail)(mmh_error *err, mmh_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    mmh_fail_v(err, status, format, arguments);
    va_end(arguments);
    return status;
}

bool mmh_size_mul(size_t *out, size_t a, size_t b)
{
    if (b && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool mmh_size_add(size_t *out, size_t a, size_t b)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool mmh_u64_mul(uint64_t *out, uint64_t a, uint64_t b)
{
    if (b && a > UINT64_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool mmh_u64_add(uint64_t *out, uint64_t a, uint64_t b)
{
    if (a > UINT64_MAX - b)
        return false;
    *out = a + b;
    return true;
}
