/*
 * Memory for secrets; wiping and comparing them is base/memory.h's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SECRET_H
#define MMH_SECRET_H

#include "base/memory.h"

/* Memory for secrets: zeroed, kept out of core dumps and swap where the system lets us. NULL on failure. */
void *mmh_secret_alloc(size_t bytes);
void mmh_secret_free(void *memory, size_t bytes); /* wipes; may be NULL */

#endif
