/*
 * HDF5's attributes: short strings of the root group (Keras's version and backend) are metadata.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Longer ones (Keras's whole model) would be kept twice. One that is not understood is passed over
 * without a word: nothing is lost by it.
 */
#include "base/bits.h"
#include "format/hdf5.h"

enum { CLASS_STRING = 3, CLASS_VARIABLE = 9, NAME_BYTES_MAX = 256, TEXT_BYTES_MAX = 256 };

/* Lead the stream to the object that a global heap keeps by a number; its bytes, or 0. */
static uint64_t go_to_heap_object(struct mmh_hdf5 *h5, uint64_t address, uint32_t number)
{
    enum { OBJECT_HEAD_BYTES = 8 };
    if (!mmh_hdf5_go_signed(h5, address, "GCOL", 1))
        return 0;
    mmh_stream_skip(&h5->in, 3);
    uint64_t begin = h5->in.position - 8, all = mmh_hdf5_length(h5), at = h5->in.position;
    if (all > h5->in.source->bytes - begin)
        return 0;
    while (at - begin < all && mmh_hdf5_seek(h5, at, OBJECT_HEAD_BYTES + h5->length_bytes)) {
        unsigned found = mmh_stream_u16(&h5->in);
        mmh_stream_skip(&h5->in, 2 + 4);
        uint64_t bytes = mmh_hdf5_length(h5), data = h5->in.position;
        if (!found || bytes > all) /* number 0 is the free space at the end */
            return 0;
        if (found == number)
            return bytes;
        at = data + mmh_round_up(bytes, 8);
    }
    return 0;
}

static void skip_padded(struct mmh_hdf5 *h5, unsigned version, uint64_t begin, unsigned bytes)
{
    uint64_t all = version == 1 ? mmh_round_up(bytes, 8) : bytes;
    mmh_stream_skip(&h5->in, all - MMH_MIN(all, h5->in.position - begin));
}

/* The name and the text of an attribute, as far as it is one string; NULL: it is not, or no memory. */
static const char *read_string(struct mmh_hdf5 *h5, const char **name)
{
    enum { IS_SHARED = 3 };
    unsigned version = mmh_stream_u8(&h5->in), flags = mmh_stream_u8(&h5->in);
    unsigned name_bytes = mmh_stream_u16(&h5->in), type_bytes = mmh_stream_u16(&h5->in);
    unsigned space_bytes = mmh_stream_u16(&h5->in);
    if (version < 1 || version > 3 || (version > 1 && flags & IS_SHARED))
        return NULL;
    mmh_stream_skip(&h5->in, version == 3 ? 1 : 0);
    uint64_t begin = h5->in.position;
    *name = mmh_stream_string(&h5->in, name_bytes, NAME_BYTES_MAX, h5->map->arena);
    skip_padded(h5, version, begin, name_bytes);

    begin = h5->in.position;
    unsigned first = mmh_stream_u8(&h5->in), kind = mmh_stream_u8(&h5->in) & 15;
    mmh_stream_skip(&h5->in, 2);
    uint64_t bytes = mmh_stream_u32(&h5->in);
    skip_padded(h5, version, begin, type_bytes);

    begin = h5->in.position;
    mmh_stream_skip(&h5->in, 1);
    bool is_scalar = mmh_stream_u8(&h5->in) == 0;
    skip_padded(h5, version, begin, space_bytes);

    first &= 15;
    if (!*name || !is_scalar || (first != CLASS_STRING && (first != CLASS_VARIABLE || kind != 1)))
        return NULL;
    if (first == CLASS_VARIABLE) {
        uint64_t used = mmh_stream_u32(&h5->in), address = mmh_hdf5_address(h5);
        uint32_t number = mmh_stream_u32(&h5->in);
        bytes = go_to_heap_object(h5, address, number);
        bytes = MMH_MIN(bytes, used);
        if (!bytes)
            return NULL;
    }
    return mmh_stream_string(&h5->in, bytes, TEXT_BYTES_MAX, h5->map->arena);
}

void mmh_hdf5_attribute_read(struct mmh_hdf5 *h5)
{
    const char *name = NULL, *value;
    if (!mmh_hdf5_has_room(h5))
        return;
    value = read_string(h5, &name);
    if (mmh_hdf5_good(h5) && name && *name && value)
        h5->in.status = mmh_extent_map_add_metadata(h5->map, name, value, &h5->in.error);
    h5->in.short_read = false;
    h5->problem = NULL;
}
