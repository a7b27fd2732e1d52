/*
 * Containers whose checksums are right, so that fuzzing is not stopped by those.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_SEALED_H
#define MMH_SEALED_H

#include "container/layout.h"
#include "container/trailer.h"
#include "engine/keys.h"
#include "fuzz.h"
#include "integrity/digest.h"

/* Right checksums for header, pages and the last footer of a container, in place. */
void sealed_container(uint8_t *data, size_t bytes);

/*
 * A container of its parts: u32 bytes of the index, the index (decoded), then the chunks, whose
 * hashes in the index become right. To be freed.
 */
uint8_t *sealed_parts(size_t *out_bytes, const uint8_t *data, size_t bytes);

/* The key of whom sealed_secret seals for; lives as long as the process. */
const mmh_key *sealed_key(void);

/*
 * The same, encrypted. NULL: the public part of the index, which must be written anew, cannot be read.
 * Every tag is right, and so is all that proves the list of recipients.
 */
uint8_t *sealed_secret(size_t *out_bytes, const uint8_t *data, size_t bytes);

/* What is wrong with an index that was read; NULL: nothing. A reader trusts all of this. */
const char *index_problem(const mmh_container_reader *reader);

#endif
