/*
 * The recovery area: geometry, pieces, packets and where they stand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "integrity/recovery.h"

#include <string.h>

#include "base/bits.h"

#define PACKET_MAGIC "MMHPAR1\n"

enum {
    HASHED_HEAD_BYTES = 88, /* of a packet's head, before its hash */
    PACKET_HASH_BYTES = 16,
    ALIGNMENT = 8,
    DATA_COUNT_LEAST = 8,     /* k, before m goes over ... */
    PARITY_COUNT_USUAL = 8,   /* ... this */
    PARITY_COUNT_LEAST = 2,   /* m */
    TABLE_PIECE_BYTES = 4096, /* about so many, until there are so many pieces: */
    TABLE_PIECES_MAX = 64,
    TAIL_PIECE_BYTES = 1024,
    TAIL_PIECES_MAX = 32
};

static const uint64_t end_max = UINT64_C(1) << 62;

/* ---- geometry ---- */

/* False if the numbers do not belong together; sets what follows from them. */
static bool geometry_fits(struct mmh_geometry *geometry)
{
    uint32_t block_bytes = geometry->block_bytes;
    unsigned k = geometry->data_count, m = geometry->parity_count;
    if (!geometry->end || geometry->end > end_max || block_bytes < MMH_PARITY_BLOCK_BYTES_MIN ||
        block_bytes > MMH_PARITY_BLOCK_BYTES_MAX || (block_bytes & (block_bytes - 1)) ||
        !geometry->stripe_count || !geometry->tail_bytes ||
        geometry->tail_bytes > MMH_TAIL_BYTES_MAX || !k || !m || k + m > MMH_PARITY_BLOCKS_MAX)
        return false;
    geometry->block_count = mmh_divide_up(geometry->end, block_bytes);
    return k == mmh_divide_up(geometry->block_count, geometry->stripe_count) &&
           (uint64_t)m * geometry->stripe_count <= UINT32_MAX;
}

bool mmh_geometry_read(struct mmh_geometry *geometry, const uint8_t in[MMH_RECOVERY_GEOMETRY_BYTES])
{
    *geometry = (struct mmh_geometry){
        .end = mmh_load64(in),
        .block_bytes = mmh_load32(in + 8),
        .data_count = mmh_load16(in + 12),
        .parity_count = mmh_load16(in + 14),
        .stripe_count = mmh_load32(in + 16),
        .tail_bytes = mmh_load32(in + 20),
    };
    memcpy(geometry->root, in + 32, MMH_ROOT_START_BYTES);
    return !mmh_load64(in + 24) && geometry_fits(geometry);
}

void mmh_geometry_write(uint8_t out[MMH_RECOVERY_GEOMETRY_BYTES],
                        const struct mmh_geometry *geometry)
{
    memset(out, 0, MMH_RECOVERY_GEOMETRY_BYTES);
    mmh_store64(out, geometry->end);
    mmh_store32(out + 8, geometry->block_bytes);
    mmh_store16(out + 12, geometry->data_count);
    mmh_store16(out + 14, geometry->parity_count);
    mmh_store32(out + 16, geometry->stripe_count);
    mmh_store32(out + 20, geometry->tail_bytes);
    memcpy(out + 32, geometry->root, MMH_ROOT_START_BYTES);
}

/* m for k blocks. */
static unsigned parity_of(uint64_t k, unsigned parity)
{
    return (unsigned)MMH_MAX(mmh_divide_up(k * parity, 10000), PARITY_COUNT_LEAST);
}

mmh_status mmh_geometry_choose(struct mmh_geometry *geometry, uint64_t end, size_t tail_bytes,
                               const uint8_t root[MMH_ROOT_START_BYTES], unsigned parity,
                               mmh_error *err)
{
    if (!parity || parity > MMH_PARITY_MAX)
        return mmh_fail(err, MMH_E_USAGE, "parity is more than 0 %% and at most %u %%",
                        MMH_PARITY_MAX / 100);
    if (!end || end > end_max || !tail_bytes || tail_bytes > MMH_TAIL_BYTES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "parity of %llu bytes", (unsigned long long)end);
    *geometry = (struct mmh_geometry){ .end = end, .block_bytes = MMH_PARITY_BLOCK_BYTES_MAX };
    while (geometry->block_bytes > MMH_PARITY_BLOCK_BYTES_MIN &&
           mmh_divide_up(end, geometry->block_bytes) < DATA_COUNT_LEAST)
        geometry->block_bytes /= 2;
    uint64_t most = MMH_PARITY_BLOCKS_MAX - PARITY_COUNT_LEAST;
    while (most > DATA_COUNT_LEAST && (parity_of(most, parity) > PARITY_COUNT_USUAL ||
                                       most + parity_of(most, parity) > MMH_PARITY_BLOCKS_MAX))
        most--;
    geometry->block_count = mmh_divide_up(end, geometry->block_bytes);
    uint64_t stripe_count = mmh_divide_up(geometry->block_count, most);
    uint64_t data_count = mmh_divide_up(geometry->block_count, stripe_count);
    geometry->stripe_count = (uint32_t)stripe_count;
    geometry->tail_bytes = (uint32_t)tail_bytes;
    geometry->data_count = (uint16_t)data_count;
    geometry->parity_count = (uint16_t)parity_of(data_count, parity);
    memcpy(geometry->root, root, MMH_ROOT_START_BYTES);
    if (stripe_count > UINT32_MAX || !geometry_fits(geometry))
        return mmh_fail(err, MMH_E_LIMIT, "%llu bytes are too many for parity",
                        (unsigned long long)end);
    return MMH_OK;
}

/* ---- pieces ---- */

/* Pieces of about so many bytes, and of parity as many, or m. */
static struct mmh_pieces pieces_shape(const struct mmh_geometry *geometry, size_t bytes,
                                      size_t piece_bytes, size_t pieces_max)
{
    size_t count = MMH_MIN(MMH_MAX(mmh_divide_up(bytes, piece_bytes), 1), pieces_max);
    size_t parity_count = MMH_MAX(count, geometry->parity_count);
    return (struct mmh_pieces){
        .bytes = bytes,
        .piece_bytes = (size_t)mmh_round_up(mmh_divide_up(bytes, count), ALIGNMENT),
        .data_count = (unsigned)count,
        .parity_count = (unsigned)MMH_MIN(parity_count, MMH_PARITY_BLOCKS_MAX - count)
    };
}

struct mmh_pieces mmh_table_pieces(const struct mmh_geometry *geometry)
{
    return pieces_shape(geometry, (size_t)geometry->block_count * MMH_BLOCK_HASH_BYTES,
                        TABLE_PIECE_BYTES, TABLE_PIECES_MAX);
}

struct mmh_pieces mmh_tail_pieces(const struct mmh_geometry *geometry, size_t tail_bytes)
{
    return pieces_shape(geometry, tail_bytes, TAIL_PIECE_BYTES, TAIL_PIECES_MAX);
}

mmh_status mmh_pieces_cut(uint8_t *pieces, const struct mmh_pieces *shape, const uint8_t *whole,
                          const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    struct mmh_parity_code code;
    size_t data_bytes = shape->data_count * shape->piece_bytes;
    memcpy(pieces, whole, shape->bytes);
    memset(pieces + shape->bytes, 0, data_bytes - shape->bytes);
    for (unsigned i = 0; i < shape->data_count + shape->parity_count; i++)
        blocks[i] = pieces + i * shape->piece_bytes;
    mmh_status status = mmh_parity_code_init(&code, shape->data_count, shape->parity_count,
                                             allocator, err);
    if (status == MMH_OK)
        mmh_parity_encode(&code, blocks + shape->data_count, (const uint8_t *const *)blocks,
                          shape->piece_bytes);
    mmh_parity_code_release(&code);
    return status;
}

mmh_status mmh_pieces_join(uint8_t *whole, uint8_t *pieces, const struct mmh_pieces *shape,
                           const bool *present, const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    struct mmh_parity_code code;
    for (unsigned i = 0; i < shape->data_count + shape->parity_count; i++)
        blocks[i] = pieces + i * shape->piece_bytes;
    mmh_status status = mmh_parity_code_init(&code, shape->data_count, shape->parity_count,
                                             allocator, err);
    if (status == MMH_OK)
        status = mmh_parity_restore(&code, blocks, present, shape->piece_bytes, err);
    mmh_parity_code_release(&code);
    if (status == MMH_OK)
        memcpy(whole, pieces, shape->bytes);
    return status;
}

/* ---- packets ---- */

/* Whether a payload of a kind can have this length. */
static bool payload_possible(const struct mmh_packet *packet)
{
    switch (packet->kind) {
    case MMH_PACKET_PARITY:
        return packet->payload_bytes == packet->geometry.block_bytes &&
               packet->number <
                   (uint64_t)packet->geometry.parity_count * packet->geometry.stripe_count;
    case MMH_PACKET_TABLE: {
        struct mmh_pieces shape = mmh_table_pieces(&packet->geometry);
        return packet->payload_bytes == shape.piece_bytes &&
               packet->number < shape.data_count + shape.parity_count;
    }
    case MMH_PACKET_TAIL:
        return packet->payload_bytes > MMH_TAIL_HEAD_BYTES &&
               packet->payload_bytes % ALIGNMENT == 0 &&
               packet->payload_bytes <= MMH_TAIL_BYTES_MAX &&
               packet->number < MMH_PARITY_BLOCKS_MAX;
    default:
        return false;
    }
}

bool mmh_packet_read(struct mmh_packet *packet, const uint8_t in[MMH_PACKET_HEAD_BYTES])
{
    if (memcmp(in, PACKET_MAGIC, 8) != 0 || in[9] || in[10] || in[11])
        return false;
    packet->kind = in[8];
    packet->number = mmh_load32(in + 12);
    packet->payload_bytes = mmh_load32(in + 16);
    packet->generation = mmh_load32(in + 20);
    memcpy(packet->hash, in + HASHED_HEAD_BYTES, sizeof packet->hash);
    return mmh_geometry_read(&packet->geometry, in + 24) && payload_possible(packet);
}

/* The hash of a packet that lies in memory. */
static mmh_status packet_hash(uint8_t out[MMH_HASH_BYTES], unsigned suite, const uint8_t *data,
                              size_t bytes, mmh_error *err)
{
    mmh_hasher hasher;
    mmh_status status = mmh_hasher_init(&hasher, suite, MMH_DOMAIN_PACKET, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, data, HASHED_HEAD_BYTES, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, data + MMH_PACKET_HEAD_BYTES,
                                   bytes - MMH_PACKET_HEAD_BYTES, err);
    if (status == MMH_OK)
        return mmh_hasher_final(&hasher, out, err);
    mmh_hasher_abandon(&hasher);
    return status;
}

mmh_status mmh_packet_check(bool *right, unsigned hash_suite, const uint8_t *data, size_t bytes,
                            mmh_error *err)
{
    uint8_t hash[MMH_HASH_BYTES];
    mmh_status status = packet_hash(hash, hash_suite, data, bytes, err);
    *right = status == MMH_OK && memcmp(hash, data + HASHED_HEAD_BYTES, PACKET_HASH_BYTES) == 0;
    return status;
}

mmh_status mmh_packet_seal(uint8_t *data, unsigned hash_suite, const struct mmh_geometry *geometry,
                           enum mmh_packet_kind kind, uint32_t number, uint32_t payload_bytes,
                           uint32_t generation, mmh_error *err)
{
    uint8_t hash[MMH_HASH_BYTES];
    memcpy(data, PACKET_MAGIC, 8);
    mmh_store32(data + 8, kind);
    mmh_store32(data + 12, number);
    mmh_store32(data + 16, payload_bytes);
    mmh_store32(data + 20, generation);
    mmh_geometry_write(data + 24, geometry);
    mmh_status status = packet_hash(hash, hash_suite, data,
                                    MMH_PACKET_HEAD_BYTES + (size_t)payload_bytes, err);
    if (status == MMH_OK)
        memcpy(data + HASHED_HEAD_BYTES, hash, PACKET_HASH_BYTES);
    return status;
}

mmh_status mmh_block_hash(uint8_t out[MMH_BLOCK_HASH_BYTES], unsigned hash_suite, uint64_t block,
                          const uint8_t *data, size_t bytes, mmh_error *err)
{
    uint8_t hash[MMH_HASH_BYTES], number[8];
    mmh_hasher hasher;
    mmh_store64(number, block);
    mmh_status status = mmh_hasher_init(&hasher, hash_suite, MMH_DOMAIN_BLOCK, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, number, sizeof number, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, data, bytes, err);
    if (status != MMH_OK) {
        mmh_hasher_abandon(&hasher);
        return status;
    }
    status = mmh_hasher_final(&hasher, hash, err);
    if (status == MMH_OK)
        memcpy(out, hash, MMH_BLOCK_HASH_BYTES);
    return status;
}

/* ---- where packets stand ---- */

static unsigned all_pieces(const struct mmh_pieces *shape)
{
    return shape->data_count + shape->parity_count;
}

/* Of pieces, those that stand in front. */
static unsigned front_pieces(const struct mmh_pieces *shape)
{
    return (all_pieces(shape) + 1) / 2;
}

size_t mmh_recovery_packet_bytes(const struct mmh_recovery_layout *layout,
                                 enum mmh_packet_kind kind)
{
    size_t payload_bytes = kind == MMH_PACKET_PARITY ? layout->geometry.block_bytes
                         : kind == MMH_PACKET_TABLE
                             ? layout->table.piece_bytes
                             : MMH_TAIL_HEAD_BYTES + layout->tail.piece_bytes;
    return MMH_PACKET_HEAD_BYTES + payload_bytes;
}

uint64_t mmh_recovery_packet_count(const struct mmh_recovery_layout *layout,
                                   enum mmh_packet_kind kind)
{
    return kind == MMH_PACKET_PARITY
             ? (uint64_t)layout->geometry.parity_count * layout->geometry.stripe_count
         : kind == MMH_PACKET_TABLE ? all_pieces(&layout->table)
                                    : all_pieces(&layout->tail);
}

void mmh_recovery_layout_make(struct mmh_recovery_layout *layout,
                              const struct mmh_geometry *geometry, uint64_t area_offset)
{
    *layout = (struct mmh_recovery_layout){ .geometry = *geometry,
                                            .table = mmh_table_pieces(geometry),
                                            .tail = mmh_tail_pieces(geometry, geometry->tail_bytes),
                                            .area_offset = area_offset };
    uint64_t table_bytes = mmh_recovery_packet_bytes(layout, MMH_PACKET_TABLE);
    uint64_t tail_packet_bytes = mmh_recovery_packet_bytes(layout, MMH_PACKET_TAIL);
    unsigned table_front = front_pieces(&layout->table), tail_front = front_pieces(&layout->tail);
    layout->front = mmh_round_up(area_offset, ALIGNMENT);
    layout->parity = layout->front + table_front * table_bytes + tail_front * tail_packet_bytes;
    layout->back = layout->parity + mmh_recovery_packet_count(layout, MMH_PACKET_PARITY) *
                                        mmh_recovery_packet_bytes(layout, MMH_PACKET_PARITY);
    uint64_t end = layout->back + (all_pieces(&layout->table) - table_front) * table_bytes +
                   (all_pieces(&layout->tail) - tail_front) * tail_packet_bytes;
    layout->area_bytes = end - area_offset;
}

/* The place of a parity packet among its kind: the stripe that the block behind the last one would be
 * of comes first, so that blocks and packets go round the stripes without a break. */
static uint64_t parity_place(const struct mmh_geometry *geometry, uint32_t number)
{
    uint32_t count = geometry->stripe_count;
    uint32_t stripe = number % count, first = (uint32_t)(geometry->block_count % count);
    return number - stripe + (stripe >= first ? stripe - first : stripe + (count - first));
}

uint64_t mmh_recovery_packet_offset(const struct mmh_recovery_layout *layout,
                                    enum mmh_packet_kind kind, uint32_t number)
{
    uint64_t bytes = mmh_recovery_packet_bytes(layout, kind);
    if (kind == MMH_PACKET_PARITY)
        return layout->parity + parity_place(&layout->geometry, number) * bytes;
    const struct mmh_pieces *shape = kind == MMH_PACKET_TABLE ? &layout->table : &layout->tail;
    unsigned front = front_pieces(shape);
    uint64_t at = number < front ? layout->front : layout->back;
    if (kind == MMH_PACKET_TAIL) {
        uint64_t table_bytes = mmh_recovery_packet_bytes(layout, MMH_PACKET_TABLE);
        unsigned table_front = front_pieces(&layout->table);
        at += table_bytes *
              (number < front ? table_front : all_pieces(&layout->table) - table_front);
    }
    return at + bytes * (number < front ? number : number - front);
}

/* ---- finding ---- */

enum { SCAN_BYTES = 1 << 20 };

struct scan {
    struct mmh_found *found;
    unsigned hash_suite;
    mmh_recovery_read *read;
    void *context;
    uint64_t end;
    uint64_t failed_bytes; /* that were hashed for nothing */
    uint8_t *window;       /* [SCAN_BYTES] */
    uint8_t *payload;      /* [SCAN_BYTES] */
};

void mmh_found_release(struct mmh_found *found)
{
    mmh_free(found->allocator, found->packets);
    *found = (struct mmh_found){ .allocator = found->allocator };
}

/* Whether the packet that begins at `at` has the hash of a suite: its payload is read in parts. */
static mmh_status check_at(bool *right, struct scan *scan, unsigned suite,
                           const uint8_t head[MMH_PACKET_HEAD_BYTES],
                           const struct mmh_packet *packet, uint64_t at, mmh_error *err)
{
    uint8_t hash[MMH_HASH_BYTES];
    mmh_hasher hasher;
    mmh_status status = mmh_hasher_init(&hasher, suite, MMH_DOMAIN_PACKET, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, head, HASHED_HEAD_BYTES, err);
    at += MMH_PACKET_HEAD_BYTES;
    for (size_t left = packet->payload_bytes; left && status == MMH_OK;) {
        size_t bytes = MMH_MIN(left, (size_t)SCAN_BYTES);
        status = scan->read(scan->context, scan->payload, at, bytes, err);
        if (status == MMH_OK)
            status = mmh_hasher_update(&hasher, scan->payload, bytes, err);
        at += bytes;
        left -= bytes;
    }
    if (status != MMH_OK) {
        mmh_hasher_abandon(&hasher);
        return status;
    }
    status = mmh_hasher_final(&hasher, hash, err);
    *right = status == MMH_OK && memcmp(hash, packet->hash, PACKET_HASH_BYTES) == 0;
    return status;
}

/* The number of a geometry among those that were found; MMH_FOUND_GEOMETRIES_MAX: there are too many. */
static uint32_t geometry_number(const struct mmh_found *found, const struct mmh_geometry *geometry)
{
    uint8_t wanted[MMH_RECOVERY_GEOMETRY_BYTES], other[MMH_RECOVERY_GEOMETRY_BYTES];
    uint32_t i = 0;
    mmh_geometry_write(wanted, geometry);
    for (; i < found->geometry_count; i++) {
        mmh_geometry_write(other, &found->geometries[i]);
        if (memcmp(wanted, other, sizeof wanted) == 0)
            break;
    }
    return i;
}

static mmh_status add_packet(struct mmh_found *found, const struct mmh_packet *packet,
                             uint32_t geometry, unsigned suite, uint64_t at, mmh_error *err)
{
    if (found->count == found->room) {
        size_t room = found->room ? 2 * found->room : 64;
        struct mmh_found_packet *more = mmh_alloc_array(found->allocator, room, sizeof *more);
        if (!more)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the recovery area's packets");
        if (found->count)
            memcpy(more, found->packets, found->count * sizeof *more);
        mmh_free(found->allocator, found->packets);
        found->packets = more;
        found->room = room;
    }
    if (geometry == found->geometry_count) {
        found->geometries[geometry] = packet->geometry;
        found->hash_suites[geometry] = suite;
        found->geometry_count++;
    }
    found->packets[found->count++] =
        (struct mmh_found_packet){ .kind = packet->kind,
                                   .number = packet->number,
                                   .payload_bytes = packet->payload_bytes,
                                   .generation = packet->generation,
                                   .geometry = geometry,
                                   .offset = at };
    return MMH_OK;
}

/* What a magic at `at` begins; *bytes: how many to go on by. */
static mmh_status look_at(uint64_t *bytes, struct scan *scan, const uint8_t *head, uint64_t at,
                          mmh_error *err)
{
    struct mmh_packet packet;
    *bytes = ALIGNMENT;
    if (!mmh_packet_read(&packet, head) ||
        packet.payload_bytes > scan->end - at - MMH_PACKET_HEAD_BYTES)
        return MMH_OK;
    uint32_t geometry = geometry_number(scan->found, &packet.geometry);
    if (geometry == MMH_FOUND_GEOMETRIES_MAX)
        return MMH_OK;
    bool known = geometry < scan->found->geometry_count, right = false;
    unsigned wanted = known ? scan->found->hash_suites[geometry] : scan->hash_suite;
    for (unsigned suite = MMH_HASH_BLAKE3; suite <= MMH_HASH_SHA384; suite++) {
        if ((wanted && suite != wanted) || !mmh_hash_suite_available(suite))
            continue;
        mmh_status status = check_at(&right, scan, suite, head, &packet, at, err);
        if (status != MMH_OK)
            return status;
        if (right) {
            *bytes = MMH_PACKET_HEAD_BYTES + (uint64_t)packet.payload_bytes;
            return add_packet(scan->found, &packet, geometry, suite, at, err);
        }
        scan->failed_bytes += packet.payload_bytes;
    }
    return MMH_OK;
}

mmh_status mmh_recovery_scan(struct mmh_found *found, unsigned hash_suite, mmh_recovery_read *read,
                             void *context, uint64_t begin, uint64_t end, mmh_error *err)
{
    struct scan scan = {
        .found = found, .hash_suite = hash_suite, .read = read, .context = context, .end = end
    };
    mmh_status status = MMH_OK;
    uint64_t at = mmh_round_up(begin, ALIGNMENT);
    /* Packets that are damaged are hashed once each; more than that is made to keep us busy. */
    const uint64_t failed_most = end > begin ? 4 * (end - begin) : 0;
    scan.window = mmh_alloc(found->allocator, 0, SCAN_BYTES);
    scan.payload = mmh_alloc(found->allocator, 0, SCAN_BYTES);
    if (!scan.window || !scan.payload)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to look for the recovery area");
    uint64_t window = 0, window_bytes = 0; /* where it begins */
    while (status == MMH_OK && at < end && end - at > MMH_PACKET_HEAD_BYTES &&
           scan.failed_bytes <= failed_most) {
        if (at + MMH_PACKET_HEAD_BYTES > window + window_bytes) {
            window = at;
            window_bytes = MMH_MIN(end - at, (uint64_t)SCAN_BYTES);
            status = read(context, scan.window, window, (size_t)window_bytes, err);
            if (status != MMH_OK)
                break;
        }
        const uint8_t *here = scan.window + (at - window);
        uint64_t step = ALIGNMENT;
        if (memcmp(here, PACKET_MAGIC, 8) == 0)
            status = look_at(&step, &scan, here, at, err);
        at += mmh_round_up(step, ALIGNMENT);
    }
    mmh_free(found->allocator, scan.payload);
    mmh_free(found->allocator, scan.window);
    return status;
}
