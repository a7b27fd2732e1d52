/*
 * What fuzz targets share: promises, numbers out of the input, weights out of few bytes, files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_FUZZ_H
#define MMH_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "mmh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What a door promises. A broken promise is a finding. */
#define FUZZ_REQUIRE(promise)                                                                   \
    do {                                                                                        \
        if (!(promise)) {                                                                       \
            (void)fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #promise); \
            abort();                                                                            \
        }                                                                                       \
    } while (0)

/* ---- input as numbers: zeros once it is used up ---- */

struct fuzz_input {
    const uint8_t *data;
    size_t bytes;
};

static inline uint64_t fuzz_number(struct fuzz_input *in, size_t bytes)
{
    uint64_t value = 0;
    size_t taken = MMH_MIN(bytes, in->bytes);
    for (size_t i = 0; i < taken; i++)
        value |= (uint64_t)in->data[i] << 8 * i;
    if (taken) /* NULL has no offsets */
        in->data += taken;
    in->bytes -= taken;
    return value;
}

static inline unsigned fuzz_below(struct fuzz_input *in, unsigned limit)
{
    return (unsigned)fuzz_number(in, 1) % limit;
}

/* ---- memory ---- */

static inline uint8_t *fuzz_memory(size_t bytes)
{
    uint8_t *memory = malloc(bytes + !bytes);
    FUZZ_REQUIRE(memory);
    return memory;
}

/* Exactly as long as it should be, so that a sanitizer sees every byte past it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = fuzz_memory(bytes);
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

/* ---- weights ---- */

/*
 * Fill dst as the input says, a byte (kind | log2 of the elements << 3) and its arguments at a time:
 * plain bytes, zeros, one element again and again, a ramp, noise, bells as weights have them, the
 * same with zeros between, and copies of what is there. Noise once the input is used up.
 */
void fuzz_fill(uint8_t *dst, size_t bytes, unsigned element_bytes, struct fuzz_input *in);

/* ---- files ---- */

/* The name of something in this process's own folder, which goes when the process ends; lives
 * until the next call but seven. name "": the folder. */
const char *fuzz_path(const char *name);

void fuzz_write(const char *path, const uint8_t *data, size_t bytes);
uint8_t *fuzz_read(const char *path, size_t *bytes); /* to be freed; NULL: there is none */
void fuzz_remove(const char *path);                  /* with all that is in it */

mmh_context *fuzz_context(unsigned threads); /* one for each number of threads */

#endif
