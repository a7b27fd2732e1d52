/*
 * Random bytes, from OpenSSL's generator alone; libmceliece asks for them here too.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/random.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/rand.h>

mmh_status mmh_random(void *dst, size_t bytes, mmh_error *err)
{
    ERR_set_mark();
    int done = bytes <= INT32_MAX ? RAND_priv_bytes(dst, (int)bytes) : 0;
    ERR_pop_to_mark();
    return done == 1 ? MMH_OK : mmh_fail(err, MMH_E_IO, "the system gives no random bytes");
}

#ifdef MMH_MCELIECE_STATIC
/* What libmceliece.a calls; tests of published vectors have their own. It can tell of no failure. */
void randombytes_internal_void_voidstar_longlong(void *dst, long long bytes);

__attribute__((weak)) void randombytes_internal_void_voidstar_longlong(void *dst, long long bytes)
{
    if (bytes < 0 || mmh_random(dst, (size_t)bytes, NULL) != MMH_OK)
        abort();
}
#endif

#ifdef MMH_NEED_ISOC23
/* OpenSSL's static library of a newer Debian was built for a C library that has this under this name. */
long __isoc23_strtol(const char *text, char **end, int base);

long __isoc23_strtol(const char *text, char **end, int base)
{
    return strtol(text, end, base);
}

unsigned long __isoc23_strtoul(const char *text, char **end, int base);

unsigned long __isoc23_strtoul(const char *text, char **end, int base)
{
    return strtoul(text, end, base);
}
#endif
