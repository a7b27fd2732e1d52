/*
 * HDF5's object headers, versions 1 and 2: the messages that tell of datasets and groups.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "base/bits.h"
#include "format/hdf5.h"

enum {
    MESSAGE_SPACE = 0x01,
    MESSAGE_LINK_INFO = 0x02,
    MESSAGE_TYPE = 0x03,
    MESSAGE_LINK = 0x06,
    MESSAGE_EXTERNAL = 0x07,
    MESSAGE_LAYOUT = 0x08,
    MESSAGE_GROUP_INFO = 0x0a,
    MESSAGE_FILTERS = 0x0b,
    MESSAGE_ATTRIBUTE = 0x0c,
    MESSAGE_CONTINUATION = 0x10,
    MESSAGE_SYMBOL_TABLE = 0x11,

    MESSAGE_IS_SHARED = 2, /* of its flags */
    PENDING_MAX = 64,      /* continuations that are told of and not read yet */
    HEADER_1_BYTES = 16,
    MESSAGE_1_BYTES = 8,
    CHECKSUM_BYTES = 4,
    FILTER_SHUFFLE = 2,
    FILTER_NAMED_MIN = 256 /* filters below have no name in version 2 */
};

/* ---- messages ---- */

static void read_space(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    unsigned version = mmh_stream_u8(&h5->in);
    object->dimensions = mmh_stream_u8(&h5->in);
    bool has_max = mmh_stream_u8(&h5->in) & 1;
    unsigned kind = mmh_stream_u8(&h5->in); /* reserved in version 1 */
    if (version == 1)
        mmh_stream_skip(&h5->in, 4);
    else if (version != 2)
        mmh_hdf5_fail(h5, "has a dataspace of a version that we do not know");
    if (object->dimensions > MMH_HDF5_DIMENSIONS_MAX) {
        object->dimensions = 0;
        mmh_hdf5_fail(h5, "has more than 32 dimensions");
        return;
    }
    for (uint32_t d = 0; d < object->dimensions; d++)
        object->shape_max[d] = object->shape[d] = mmh_hdf5_length(h5);
    for (uint32_t d = 0; has_max && d < object->dimensions; d++)
        object->shape_max[d] = mmh_hdf5_length(h5);
    object->is_null = version == 2 && kind == 2;
    object->has_space = true;
}

/* A message that stands elsewhere: where the object is that has it. */
static uint64_t read_shared(struct mmh_hdf5 *h5)
{
    unsigned version = mmh_stream_u8(&h5->in), kind = mmh_stream_u8(&h5->in);
    if (version == 1)
        mmh_stream_skip(&h5->in, 6);
    if (!version || version > 3 || (version == 3 && kind != 2)) {
        mmh_hdf5_fail(h5, "shares messages in a way that we do not read");
        return MMH_HDF5_NOWHERE;
    }
    return mmh_hdf5_address(h5);
}

static void read_chunk_shape(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, unsigned count,
                             unsigned bytes)
{
    if (!count || count > MMH_HDF5_DIMENSIONS_MAX + 1 || !bytes || bytes > 8) {
        mmh_hdf5_fail(h5, "has chunks of no dimensions");
        return;
    }
    object->chunk_dimensions = count - 1; /* the last is the size of an element */
    for (uint32_t d = 0; d < count - 1; d++)
        object->chunk[d] = mmh_hdf5_number(h5, bytes);
    (void)mmh_hdf5_number(h5, bytes);
}

/* Versions 1 and 2. */
static void read_layout_old(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    unsigned count = mmh_stream_u8(&h5->in);
    object->layout = mmh_stream_u8(&h5->in);
    mmh_stream_skip(&h5->in, 5);
    if (object->layout != MMH_HDF5_COMPACT)
        object->data_address = mmh_hdf5_address(h5);
    if (object->layout == MMH_HDF5_CHUNKED) {
        read_chunk_shape(h5, object, count, 4);
        return;
    }
    mmh_stream_skip(&h5->in, (uint64_t)4 * count);
    object->data_bytes = UINT64_MAX; /* not told */
    if (object->layout == MMH_HDF5_COMPACT) {
        object->data_bytes = mmh_stream_u32(&h5->in);
        object->data_address = h5->in.position;
    }
}

/* Chunks of version 4 and later: the index, of which most tells about itself. */
static void read_chunk_index(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    enum { WHOLE_EDGES = 1, SINGLE_IS_FILTERED = 2 };
    static const uint8_t parameter_bytes[] = { [MMH_HDF5_SINGLE] = 0,
                                               [MMH_HDF5_IMPLICIT] = 0,
                                               [MMH_HDF5_FIXED_ARRAY] = 1,
                                               [MMH_HDF5_EXTENSIBLE_ARRAY] = 5,
                                               [MMH_HDF5_BTREE_2] = 6 };
    unsigned flags = mmh_stream_u8(&h5->in), count = mmh_stream_u8(&h5->in);
    object->whole_edges = flags & WHOLE_EDGES;
    read_chunk_shape(h5, object, count, mmh_stream_u8(&h5->in));
    object->index = mmh_stream_u8(&h5->in);
    if (object->index < MMH_HDF5_SINGLE || object->index > MMH_HDF5_BTREE_2) {
        mmh_hdf5_fail(h5, "has a chunk index that we do not know");
        return;
    }
    if (object->index == MMH_HDF5_SINGLE && flags & SINGLE_IS_FILTERED) {
        object->single_bytes = mmh_hdf5_length(h5);
        object->single_mask = mmh_stream_u32(&h5->in);
    }
    mmh_stream_skip(&h5->in, parameter_bytes[object->index]);
    object->data_address = mmh_hdf5_address(h5);
}

static void read_layout(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    unsigned version = mmh_stream_u8(&h5->in);
    object->has_layout = true;
    if (version == 1 || version == 2) {
        read_layout_old(h5, object);
        return;
    }
    if (version < 3 || version > 5) {
        mmh_hdf5_fail(h5, "has a layout of a version that we do not know");
        return;
    }
    object->layout = mmh_stream_u8(&h5->in);
    switch (object->layout) {
    case MMH_HDF5_COMPACT:
        object->data_bytes = mmh_stream_u16(&h5->in);
        object->data_address = h5->in.position;
        break;
    case MMH_HDF5_CONTIGUOUS:
        object->data_address = mmh_hdf5_address(h5);
        object->data_bytes = mmh_hdf5_length(h5);
        break;
    case MMH_HDF5_CHUNKED:
        if (version == 3) {
            unsigned count = mmh_stream_u8(&h5->in);
            object->data_address = mmh_hdf5_address(h5);
            read_chunk_shape(h5, object, count, 4);
        } else {
            read_chunk_index(h5, object);
        }
        break;
    default:
        break;
    }
}

static void read_filters(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    unsigned version = mmh_stream_u8(&h5->in), count = mmh_stream_u8(&h5->in);
    if (version < 1 || version > 2 || count > MMH_HDF5_FILTERS_MAX) {
        mmh_hdf5_fail(h5, "has filters that we do not know");
        return;
    }
    mmh_stream_skip(&h5->in, version == 1 ? 6 : 0);
    object->filter_count = count;
    for (unsigned i = 0; i < count; i++) {
        unsigned id = object->filters[i] = mmh_stream_u16(&h5->in);
        unsigned name_bytes = version == 1 || id >= FILTER_NAMED_MIN ? mmh_stream_u16(&h5->in) : 0;
        mmh_stream_skip(&h5->in, 2); /* flags */
        unsigned values = mmh_stream_u16(&h5->in);
        mmh_stream_skip(&h5->in, version == 1 ? mmh_round_up(name_bytes, 8) : name_bytes);
        if (id == FILTER_SHUFFLE && values) {
            object->shuffle_bytes = mmh_stream_u32(&h5->in);
            mmh_stream_skip(&h5->in, 4 * ((uint64_t)values - 1));
        } else {
            mmh_stream_skip(&h5->in, 4 * (uint64_t)values);
        }
        if (version == 1 && values % 2)
            mmh_stream_skip(&h5->in, 4);
    }
}

static void read_link_info(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object)
{
    enum { HAS_ORDER = 1 };
    mmh_stream_skip(&h5->in, 1);
    if (mmh_stream_u8(&h5->in) & HAS_ORDER)
        mmh_stream_skip(&h5->in, 8);
    object->link_heap = mmh_hdf5_address(h5);
    object->link_tree = mmh_hdf5_address(h5);
}

static void read_message(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, unsigned type,
                         bool is_shared)
{
    object->is_group = object->is_group || type == MESSAGE_LINK_INFO ||
                       type == MESSAGE_GROUP_INFO || type == MESSAGE_LINK ||
                       type == MESSAGE_SYMBOL_TABLE;
    if (is_shared && type != MESSAGE_TYPE) {
        if (type == MESSAGE_SPACE || type == MESSAGE_FILTERS || type == MESSAGE_LAYOUT ||
            type == MESSAGE_LINK)
            mmh_hdf5_fail(h5, "shares messages in a way that we do not read");
        return;
    }
    switch (type) {
    case MESSAGE_SPACE:
        read_space(h5, object);
        break;
    case MESSAGE_TYPE:
        object->has_type = true;
        if (is_shared)
            object->type_address = read_shared(h5);
        else
            mmh_hdf5_type_read(h5, &object->type);
        break;
    case MESSAGE_LAYOUT:
        read_layout(h5, object);
        break;
    case MESSAGE_FILTERS:
        read_filters(h5, object);
        break;
    case MESSAGE_EXTERNAL:
        object->is_external = true;
        break;
    case MESSAGE_ATTRIBUTE:
        if (!*object->path) /* the root's */
            mmh_hdf5_attribute_read(h5);
        break;
    case MESSAGE_LINK:
        mmh_hdf5_link_read(h5, object);
        break;
    case MESSAGE_LINK_INFO:
        read_link_info(h5, object);
        break;
    case MESSAGE_SYMBOL_TABLE:
        object->symbol_tree = mmh_hdf5_address(h5);
        object->symbol_heap = mmh_hdf5_address(h5);
        break;
    default:
        break;
    }
}

/* ---- headers ---- */

/* A run of messages: what follows the prefix, or a continuation. */
struct block {
    uint64_t offset, bytes; /* in the source */
};

struct header {
    unsigned version;
    bool has_order; /* messages tell when they were made */
    unsigned pending_count;
    struct block pending[PENDING_MAX];
};

static void read_continuation(struct mmh_hdf5 *h5, struct header *header)
{
    struct block block = { .offset = mmh_hdf5_address(h5), .bytes = mmh_hdf5_length(h5) };
    if (header->pending_count == PENDING_MAX ||
        !mmh_u64_add(&block.offset, block.offset, h5->base)) {
        mmh_hdf5_fail(h5, "has a header in too many pieces");
        return;
    }
    header->pending[header->pending_count++] = block;
}

static void read_block(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, struct header *header,
                       struct block block)
{
    unsigned head_bytes = header->version == 1 ? MESSAGE_1_BYTES : header->has_order ? 6 : 4;
    uint64_t end = block.offset + block.bytes; /* fits once it was sought */
    if (!mmh_hdf5_seek(h5, block.offset, block.bytes))
        return;
    while (mmh_hdf5_good(h5) && end - h5->in.position >= head_bytes) {
        unsigned type = header->version == 1 ? mmh_stream_u16(&h5->in) : mmh_stream_u8(&h5->in);
        unsigned bytes = mmh_stream_u16(&h5->in), flags = mmh_stream_u8(&h5->in);
        mmh_stream_skip(&h5->in, header->version == 1 ? 3 : header->has_order ? 2 : 0);
        if (bytes > end - h5->in.position) {
            mmh_hdf5_fail(h5, "has a message that is longer than its header");
            return;
        }
        uint64_t next = h5->in.position + bytes;
        h5->in.end = next;
        if (type == MESSAGE_CONTINUATION)
            read_continuation(h5, header);
        else
            read_message(h5, object, type, flags & MESSAGE_IS_SHARED);
        if (mmh_hdf5_good(h5))
            mmh_stream_seek(&h5->in, next, h5->in.source->bytes);
    }
}

static struct block read_prefix_1(struct mmh_hdf5 *h5)
{
    mmh_stream_skip(&h5->in, 1 + 2 + 4); /* reserved, number of messages, links to it */
    uint64_t bytes = mmh_stream_u32(&h5->in);
    return (struct block){ h5->in.position - 12 + HEADER_1_BYTES, bytes };
}

static struct block read_prefix_2(struct mmh_hdf5 *h5, struct header *header)
{
    enum { HAS_ORDER = 4, HAS_LIMITS = 16, HAS_TIMES = 32 };
    unsigned flags = mmh_stream_u8(&h5->in);
    header->has_order = flags & HAS_ORDER;
    mmh_stream_skip(&h5->in, (flags & HAS_TIMES ? 16 : 0) + (flags & HAS_LIMITS ? 4 : 0));
    uint64_t bytes = mmh_hdf5_number(h5, 1u << (flags & 3));
    return (struct block){ h5->in.position, bytes };
}

static void read_header(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, uint64_t address)
{
    struct header header = { 0 };
    struct block block;
    if (!mmh_hdf5_go(h5, address, 5))
        return;
    uint64_t begin = h5->in.position;
    header.version = mmh_stream_u8(&h5->in);
    if (header.version == 1) {
        block = read_prefix_1(h5);
    } else {
        mmh_stream_seek(&h5->in, begin, h5->in.source->bytes);
        if (!mmh_hdf5_go_signed(h5, address, "OHDR", 2))
            return;
        header.version = 2;
        block = read_prefix_2(h5, &header);
    }
    read_block(h5, object, &header, block);
    while (header.pending_count && mmh_hdf5_good(h5)) {
        block = header.pending[--header.pending_count];
        if (header.version == 2) {
            if (block.bytes < 4 + CHECKSUM_BYTES ||
                !mmh_hdf5_go_signed(h5, block.offset - h5->base, "OCHK", -1)) {
                mmh_hdf5_fail(h5, "has a header with a bad continuation");
                return;
            }
            block.offset += 4;
            block.bytes -= 4 + CHECKSUM_BYTES;
        }
        read_block(h5, object, &header, block);
    }
}

static void clear(struct mmh_hdf5_object *object, const char *path)
{
    *object = (struct mmh_hdf5_object){
        .path = path,
        .type_address = MMH_HDF5_NOWHERE,
        .data_address = MMH_HDF5_NOWHERE,
        .symbol_tree = MMH_HDF5_NOWHERE,
        .symbol_heap = MMH_HDF5_NOWHERE,
        .link_heap = MMH_HDF5_NOWHERE,
        .link_tree = MMH_HDF5_NOWHERE,
    };
}

void mmh_hdf5_object_read(struct mmh_hdf5 *h5, struct mmh_hdf5_object *object, const char *path,
                          uint64_t address)
{
    clear(object, path);
    read_header(h5, object, address);
    if (!mmh_hdf5_good(h5) || object->type_address == MMH_HDF5_NOWHERE || !object->has_layout)
        return;
    struct mmh_hdf5_object committed; /* a type that has a name of its own */
    clear(&committed, path);
    read_header(h5, &committed, object->type_address);
    object->type = committed.type;
    if (!committed.has_type || committed.type_address != MMH_HDF5_NOWHERE)
        mmh_hdf5_fail(h5, "has a type that is told elsewhere, but not there");
}
