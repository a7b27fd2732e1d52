/*
 * Secrets: memory that is wiped, comparison in constant time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SECRET_H
#define MMH_SECRET_H

#include "base/status.h"

/* Overwrite memory, in a way that no compiler leaves out. */
void mmh_wipe(void *memory, size_t bytes);

/* Equal or not, in time that depends on `bytes` alone. */
bool mmh_secret_equal(const void *a, const void *b, size_t bytes);

/* Memory for secrets: zeroed, kept out of core dumps and swap where the system lets us. NULL on failure. */
void *mmh_secret_alloc(size_t bytes);
void mmh_secret_free(void *memory, size_t bytes); /* wipes; may be NULL */

#endif
