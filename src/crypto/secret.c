/*
 * Memory for secrets: pages of their own, locked and not dumped where the system has that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/secret.h"

#include "base/pages.h"

void *mmh_secret_alloc(size_t bytes)
{
    return mmh_pages_map(bytes, true);
}

void mmh_secret_free(void *memory, size_t bytes)
{
    if (!memory)
        return;
    mmh_wipe(memory, bytes);
    mmh_pages_unmap(memory, bytes);
}
