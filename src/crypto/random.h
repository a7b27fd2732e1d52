/*
 * Random bytes, from OpenSSL's generator alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_RANDOM_H
#define MMH_RANDOM_H

#include "base/status.h"

/* Fill dst[bytes] with bytes fit for keys. Fails with MMH_E_IO if the system gives none. */
mmh_status mmh_random(void *dst, size_t bytes, mmh_error *err);

#endif
