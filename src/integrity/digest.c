/*
 * Content digests from slice hashes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "integrity/digest.h"

#include <assert.h>
#include <string.h>

#include <lzma.h>

/* The first slice boundary at or after `offset`. */
static uint64_t slice_ceil(uint64_t offset)
{
    return (offset + MMH_SLICE_BYTES - 1) / MMH_SLICE_BYTES * MMH_SLICE_BYTES;
}

/* Where the slices that lie inside the piece begin and end, relative to the piece. */
static void slices_inside(size_t *begin, size_t *end, uint64_t offset, size_t bytes,
                          uint64_t file_bytes)
{
    uint64_t first = slice_ceil(offset), stop = offset + bytes;
    if (stop != file_bytes) /* the last slice of a file may be short */
        stop = stop / MMH_SLICE_BYTES * MMH_SLICE_BYTES;
    if (first >= stop)
        first = stop = offset;
    *begin = (size_t)(first - offset);
    *end = (size_t)(stop - offset);
}

size_t mmh_slices_inside(uint64_t offset, size_t bytes, uint64_t file_bytes)
{
    size_t begin, end;
    slices_inside(&begin, &end, offset, bytes, file_bytes);
    return (end - begin + MMH_SLICE_BYTES - 1) / MMH_SLICE_BYTES;
}

mmh_status mmh_slices_hash(uint8_t *hashes, unsigned suite, const uint8_t *data, uint64_t offset,
                           size_t bytes, uint64_t file_bytes, mmh_error *err)
{
    size_t begin, end;
    slices_inside(&begin, &end, offset, bytes, file_bytes);
    for (size_t at = begin; at < end; at += MMH_SLICE_BYTES, hashes += mmh_hash_bytes(suite)) {
        size_t length = end - at < MMH_SLICE_BYTES ? end - at : MMH_SLICE_BYTES;
        mmh_status status = mmh_hash(hashes, suite, MMH_DOMAIN_SLICE, data + at, length, err);
        if (status != MMH_OK)
            return status;
    }
    return MMH_OK;
}

mmh_status mmh_digest_init(mmh_digest *digest, unsigned suite, uint64_t file_bytes, mmh_error *err)
{
    digest->suite = suite;
    digest->file_bytes = file_bytes;
    digest->position = 0;
    digest->carry_bytes = 0;
    mmh_status status = mmh_hasher_init(&digest->content, suite, MMH_DOMAIN_CONTENT, err);
    if (status != MMH_OK)
        return status;
    uint8_t size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (uint8_t)(file_bytes >> (8 * i));
    return mmh_hasher_update(&digest->content, size, sizeof size, err);
}

/* Take bytes that belong to a slice which began in an earlier piece, or will end in a later. */
static mmh_status carry_add(mmh_digest *digest, const uint8_t *data, size_t bytes, mmh_error *err)
{
    if (!bytes)
        return MMH_OK;
    assert(digest->carry_bytes + bytes <= MMH_SLICE_BYTES);
    memcpy(digest->carry + digest->carry_bytes, data, bytes);
    digest->carry_bytes += bytes;
    digest->position += bytes;
    if (digest->carry_bytes < MMH_SLICE_BYTES && digest->position < digest->file_bytes)
        return MMH_OK;
    uint8_t hash[MMH_HASH_BYTES];
    mmh_status status = mmh_hash(hash, digest->suite, MMH_DOMAIN_SLICE, digest->carry,
                                 digest->carry_bytes, err);
    digest->carry_bytes = 0;
    if (status != MMH_OK)
        return status;
    return mmh_hasher_update(&digest->content, hash, mmh_hash_bytes(digest->suite), err);
}

mmh_status mmh_digest_add(mmh_digest *digest, const uint8_t *data, size_t bytes,
                          const uint8_t *hashes, mmh_error *err)
{
    size_t begin, end;
    slices_inside(&begin, &end, digest->position, bytes, digest->file_bytes);
    if (begin == end) { /* no slice inside: at most two ragged parts */
        uint64_t edge = slice_ceil(digest->position) - digest->position;
        begin = end = edge < bytes ? (size_t)edge : bytes;
    }
    mmh_status status = carry_add(digest, data, begin, err);
    if (status != MMH_OK)
        return status;
    if (begin < end) {
        size_t slices = (end - begin + MMH_SLICE_BYTES - 1) / MMH_SLICE_BYTES;
        status = mmh_hasher_update(&digest->content, hashes, slices * mmh_hash_bytes(digest->suite),
                                   err);
        if (status != MMH_OK)
            return status;
        digest->position += end - begin;
    }
    return carry_add(digest, data + end, bytes - end, err);
}

mmh_status mmh_digest_final(mmh_digest *digest, uint8_t *out, mmh_error *err)
{
    assert(digest->position == digest->file_bytes && !digest->carry_bytes);
    return mmh_hasher_final(&digest->content, out, err);
}

void mmh_digest_abandon(mmh_digest *digest)
{
    mmh_hasher_abandon(&digest->content);
}

uint32_t mmh_crc32(const void *data, size_t bytes)
{
    return lzma_crc32(data, bytes, 0);
}

uint32_t mmh_crc32_more(uint32_t crc, const void *data, size_t bytes)
{
    return lzma_crc32(data, bytes, crc);
}
