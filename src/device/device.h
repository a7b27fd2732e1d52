/*
 * The device room's door: float chunks decoded by a GPU, or by whatever else speaks OpenCL 1.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Devices are found at run time: without an OpenCL library there are none, and nothing else
 * changes. A device handle and what was made with it is used by one thread at a time; several
 * handles, on one device or on many, live side by side.
 *
 *     mmh_device_open(&device, 0, NULL, NULL, &err);
 *     mmh_device_decode(device, dst, dst_bytes, &set, &err);
 *     mmh_device_close(device);
 *
 * or, to keep several devices busy or the elements where they are: mmh_device_batch_create, then
 * _start on each, then _wait on each.
 */
#ifndef MMH_DEVICE_H
#define MMH_DEVICE_H

#include "codec/codec.h"

enum mmh_device_style {
    MMH_DEVICE_STYLE_AUTO,  /* by the device's type */
    MMH_DEVICE_STYLE_ITEMS, /* one work-item for each tier block or stripe: processors */
    MMH_DEVICE_STYLE_GROUPS /* one work-group for each: GPUs */
};

struct mmh_device_options {
    enum mmh_device_style style;
    size_t local_bytes; /* local memory to use at the most; 0: 32 KiB, what every GPU has */
};

struct mmh_device_info {
    char name[128], driver[128];
    bool is_processor;
    unsigned compute_units;
    uint64_t memory_bytes, allocation_bytes; /* in all, and in one buffer */
    enum mmh_device_style style;             /* in use, once opened */
};

typedef struct mmh_device mmh_device;
typedef struct mmh_device_buffer mmh_device_buffer;
typedef struct mmh_device_batch mmh_device_batch;

/* ---- devices ---- */

/* How many there are, and what one is. Fails with MMH_E_DEVICE if there is no OpenCL library. No
 * device at all is no failure. */
mmh_status mmh_device_count(size_t *count, mmh_error *err);
mmh_status mmh_device_describe(struct mmh_device_info *info, size_t index, mmh_error *err);

/* Open a device and compile its kernels (seconds; drivers keep what they compiled). options NULL:
 * all zero. Fails with MMH_E_DEVICE. */
mmh_status mmh_device_open(mmh_device **device, size_t index,
                           const struct mmh_device_options *options, const mmh_allocator *allocator,
                           mmh_error *err);
void mmh_device_close(mmh_device *device); /* may be NULL; batches and buffers go first */
const struct mmh_device_info *mmh_device_info(const mmh_device *device);

/* ---- buffers: memory of a device ---- */

mmh_status mmh_device_buffer_create(mmh_device_buffer **buffer, mmh_device *device, size_t bytes,
                                    mmh_error *err);
void mmh_device_buffer_destroy(mmh_device_buffer *buffer); /* may be NULL */
mmh_status mmh_device_buffer_write(mmh_device_buffer *buffer, const void *src, size_t offset,
                                   size_t bytes, mmh_error *err);
mmh_status mmh_device_buffer_read(const mmh_device_buffer *buffer, void *dst, size_t offset,
                                  size_t bytes, mmh_error *err);
/* Copy the beginning of one buffer to another of the same device; *ns: how long it took there. */
mmh_status mmh_device_buffer_copy(mmh_device_buffer *dst, const mmh_device_buffer *src,
                                  size_t bytes, uint64_t *ns, mmh_error *err);

/* ---- decoding ---- */

/* Whether chunks of this type and codec can be decoded here. */
bool mmh_device_takes(mmh_dtype dtype, unsigned codec_id);

/* A block: what its chunks share. */
struct mmh_device_block {
    const uint8_t *model; /* payload, docs/format.md section 9; NULL: none */
    size_t model_bytes;
    uint64_t elements;
};

/* A chunk that mmh_device_takes. */
struct mmh_device_chunk {
    struct mmh_chunk chunk;
    size_t block;           /* index in the set's blocks */
    const uint8_t *payload; /* as stored */
    size_t payload_bytes;
    uint64_t offset; /* of its elements in the output: a multiple of 64 */
};

/* Chunks to decode together. Outputs must not overlap. */
struct mmh_device_set {
    const struct mmh_device_block *blocks;
    size_t block_count;
    const struct mmh_device_chunk *chunks;
    size_t chunk_count;
};

/*
 * Check a set's payloads and bring them to the device; nothing of the set is needed any more when
 * this returns. Safe for any payload. Fails with MMH_E_CORRUPT, MMH_E_UNSUPPORTED (what
 * mmh_device_takes does not), MMH_E_MEMORY, MMH_E_DEVICE.
 */
mmh_status mmh_device_batch_create(mmh_device_batch **batch, mmh_device *device,
                                   const struct mmh_device_set *set, mmh_error *err);
void mmh_device_batch_destroy(mmh_device_batch *batch); /* may be NULL */

/* Bytes that the output needs: up to the end of the chunk that ends last. */
uint64_t mmh_device_batch_output_bytes(const mmh_device_batch *batch);

/* Begin to decode into a buffer of the same device, and wait for it. A batch may be decoded again
 * and again. wait: fails with MMH_E_CORRUPT if a chunk's symbols were damaged; the elements are
 * unspecified then. *ns (may be NULL): time on the device from the first kernel to the last. */
mmh_status mmh_device_batch_start(mmh_device_batch *batch, mmh_device_buffer *output,
                                  mmh_error *err);
mmh_status mmh_device_batch_wait(mmh_device_batch *batch, uint64_t *ns, mmh_error *err);

/* All of it: decode a set into dst [dst_bytes] in host memory. Bytes between chunks become
 * unspecified. */
mmh_status mmh_device_decode(mmh_device *device, uint8_t *dst, size_t dst_bytes,
                             const struct mmh_device_set *set, mmh_error *err);

#endif
