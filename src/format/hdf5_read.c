/*
 * Places and numbers of an HDF5 file: where the reader is led, and what that costs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "format/hdf5.h"

enum { PLACE_COST = 64 }; /* that going somewhere costs besides what is read there */

bool mmh_hdf5_good(const struct mmh_hdf5 *h5)
{
    return !h5->exhausted && !h5->problem && !mmh_stream_failed(&h5->in);
}

bool mmh_hdf5_fail(struct mmh_hdf5 *h5, const char *problem)
{
    if (!h5->problem)
        h5->problem = problem;
    return false;
}

bool mmh_hdf5_seek(struct mmh_hdf5 *h5, uint64_t offset, uint64_t bytes)
{
    uint64_t file_bytes = h5->in.source->bytes;
    if (!mmh_hdf5_good(h5))
        return false;
    if (bytes > h5->work_left) {
        h5->exhausted = true;
        return false;
    }
    h5->work_left -= bytes;
    if (offset > file_bytes || bytes > file_bytes - offset)
        return mmh_hdf5_fail(h5, "refers to places past the end of the file");
    mmh_stream_seek(&h5->in, offset, file_bytes);
    return true;
}

bool mmh_hdf5_go(struct mmh_hdf5 *h5, uint64_t address, uint64_t bytes)
{
    uint64_t offset;
    if (!mmh_u64_add(&offset, h5->base, address)) /* MMH_HDF5_NOWHERE, for one */
        return mmh_hdf5_fail(h5, "refers to places past the end of the file");
    h5->work_left -= MMH_MIN(h5->work_left, (uint64_t)PLACE_COST);
    return mmh_hdf5_seek(h5, offset, bytes);
}

bool mmh_hdf5_go_signed(struct mmh_hdf5 *h5, uint64_t address, const char *letters, int version)
{
    char found[4];
    if (!mmh_hdf5_go(h5, address, sizeof found + 1))
        return false;
    for (unsigned i = 0; i < sizeof found; i++)
        found[i] = (char)mmh_stream_u8(&h5->in);
    if (memcmp(found, letters, sizeof found) != 0 ||
        (version >= 0 && mmh_stream_u8(&h5->in) != version))
        return mmh_hdf5_fail(h5, "refers to a structure that is not there");
    return mmh_hdf5_good(h5);
}

uint64_t mmh_hdf5_number(struct mmh_hdf5 *h5, unsigned bytes)
{
    uint64_t value = 0;
    if (bytes == 8)
        return mmh_stream_u64(&h5->in);
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)mmh_stream_u8(&h5->in) << 8 * i;
    return value;
}

/* All ones in the file's own width are all ones in ours. */
static uint64_t read_sized(struct mmh_hdf5 *h5, unsigned bytes)
{
    uint64_t value = mmh_hdf5_number(h5, bytes);
    return bytes < 8 && value == ((uint64_t)1 << 8 * bytes) - 1 ? UINT64_MAX : value;
}

uint64_t mmh_hdf5_address(struct mmh_hdf5 *h5)
{
    return read_sized(h5, h5->address_bytes);
}

uint64_t mmh_hdf5_length(struct mmh_hdf5 *h5)
{
    return read_sized(h5, h5->length_bytes);
}

bool mmh_hdf5_has_room(struct mmh_hdf5 *h5)
{
    if (h5->map->arena->used > h5->arena_bytes_max)
        h5->exhausted = true;
    return !h5->exhausted;
}
