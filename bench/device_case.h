/*
 * A set of chunks in a file, between device_dump.c and bench_device_cuda.cu.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_BENCH_DEVICE_CASE_H
#define MMH_BENCH_DEVICE_CASE_H

#include <stddef.h>
#include <stdint.h>

#define DEVICE_CASE_MAGIC 0x3145534143484d4dull /* "MMHCASE1" */
#define DEVICE_CASE_LOCAL_STRIPES 8             /* as device_prelude.h has them for CUDA */
#define DEVICE_CASE_GLOBAL_STRIPES 4
#define DEVICE_CASE_KERNELS 5

struct device_case {
    uint64_t magic;
    char name[32];
    uint64_t chunk_count;
    uint64_t fields_bytes, side_bytes, models_bytes,
        payload_bytes;     /* what follows, in this order */
    uint64_t output_bytes; /* with zeros between chunks */
    uint64_t element_bytes, stored_bytes;
    uint64_t table_bytes;
    uint64_t work_first[DEVICE_CASE_KERNELS], work_count[DEVICE_CASE_KERNELS];
    uint64_t digest; /* of the output */
};

/* FNV-1a. */
static inline uint64_t device_case_digest(const uint8_t *data, uint64_t bytes)
{
    uint64_t digest = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < bytes; i++)
        digest = (digest ^ data[i]) * 0x100000001b3ull;
    return digest;
}

#endif
