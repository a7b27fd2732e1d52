/*
 * Parity: any k of k + m blocks give the rest, by the matrix that docs/format.md section 17 says.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counting.h"
#include "integrity/recovery.h"

static uint64_t random_state = 1;

static uint32_t random32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

/* ---- Reed-Solomon ---- */

/* GF(2^8) as a schoolbook has it. */
static uint8_t plain_multiply(unsigned a, unsigned b)
{
    unsigned product = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            product ^= a;
        a <<= 1;
        if (a & 0x100)
            a ^= 0x11d;
    }
    return (uint8_t)product;
}

static uint8_t plain_inverse(unsigned a)
{
    for (unsigned b = 1; b < 256; b++)
        if (plain_multiply(a, b) == 1)
            return (uint8_t)b;
    return 0;
}

/* k + m blocks of a stripe, and what they should be. */
struct stripe {
    unsigned k, m;
    size_t bytes;
    uint8_t *memory, *right; /* [k + m][bytes] */
    uint8_t *blocks[MMH_PARITY_BLOCKS_MAX];
    bool present[MMH_PARITY_BLOCKS_MAX];
    struct mmh_parity_code code;
};

static void stripe_make(struct stripe *stripe, unsigned k, unsigned m, size_t bytes)
{
    *stripe = (struct stripe){ .k = k, .m = m, .bytes = bytes };
    stripe->memory = malloc((k + m) * bytes);
    stripe->right = malloc((k + m) * bytes);
    assert_true(stripe->memory && stripe->right);
    for (unsigned j = 0; j < k + m; j++)
        stripe->blocks[j] = stripe->memory + j * bytes;
    for (size_t i = 0; i < k * bytes; i++)
        stripe->memory[i] = (uint8_t)random32();
    assert_int_equal(mmh_parity_code_init(&stripe->code, k, m, NULL, NULL), MMH_OK);
    mmh_parity_encode(&stripe->code, stripe->blocks + k, (const uint8_t *const *)stripe->blocks,
                      bytes);
    memcpy(stripe->right, stripe->memory, (k + m) * bytes);
}

static void stripe_release(struct stripe *stripe)
{
    mmh_parity_code_release(&stripe->code);
    free(stripe->memory);
    free(stripe->right);
}

/* Lose what is not present, restore, compare. */
static void assert_restored(struct stripe *stripe)
{
    for (unsigned j = 0; j < stripe->k + stripe->m; j++)
        if (!stripe->present[j])
            memset(stripe->blocks[j], 0xa5, stripe->bytes);
    assert_int_equal(
        mmh_parity_restore(&stripe->code, stripe->blocks, stripe->present, stripe->bytes, NULL),
        MMH_OK);
    assert_memory_equal(stripe->memory, stripe->right, stripe->k * stripe->bytes);
    memcpy(stripe->memory, stripe->right, (stripe->k + stripe->m) * stripe->bytes);
}

static void test_parity_is_the_cauchy_sum(void **state)
{
    static const unsigned shapes[][2] = { { 1, 1 }, { 3, 2 }, { 8, 8 }, { 160, 8 }, { 253, 2 } };
    (void)state;
    for (size_t s = 0; s < MMH_COUNT_OF(shapes); s++) {
        struct stripe stripe;
        stripe_make(&stripe, shapes[s][0], shapes[s][1], 264);
        for (unsigned i = 0; i < stripe.m; i++)
            for (size_t at = 0; at < stripe.bytes; at += 7) {
                uint8_t sum = 0;
                for (unsigned j = 0; j < stripe.k; j++)
                    sum ^= plain_multiply(plain_inverse((stripe.k + i) ^ j), stripe.blocks[j][at]);
                assert_int_equal(stripe.blocks[stripe.k + i][at], sum);
            }
        stripe_release(&stripe);
    }
}

static void test_parity_restores_every_pattern_of_few_blocks(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= 8; k++)
        for (unsigned m = 1; m <= 4; m++) {
            struct stripe stripe;
            stripe_make(&stripe, k, m, 8 * k + 40);
            for (unsigned mask = 0; mask < 1u << (k + m); mask++) {
                for (unsigned j = 0; j < k + m; j++)
                    stripe.present[j] = mask >> j & 1;
                if (mmh_popcount32(mask) >= k) {
                    assert_restored(&stripe);
                    continue;
                }
                mmh_error err = { MMH_OK, "" };
                mmh_status status = mmh_parity_restore(&stripe.code, stripe.blocks, stripe.present,
                                                       stripe.bytes, &err);
                assert_int_equal(status, MMH_E_CORRUPT);
                assert_memory_equal(stripe.memory, stripe.right, (k + m) * stripe.bytes);
            }
            stripe_release(&stripe);
        }
}

static void test_parity_restores_random_patterns_of_many_blocks(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        struct stripe stripe;
        unsigned k = 1 + random32() % 254, m = 1 + random32() % (255 - k);
        stripe_make(&stripe, k, m, 8 * (1 + random32() % 40));
        for (unsigned pattern = 0; pattern < 3; pattern++) {
            memset(stripe.present, 1, sizeof stripe.present);
            for (unsigned lost = pattern ? random32() % (m + 1) : m; lost;) {
                unsigned j = random32() % (k + m);
                lost -= stripe.present[j];
                stripe.present[j] = false;
            }
            assert_restored(&stripe);
        }
        stripe_release(&stripe);
    }
}

static void test_parity_restores_only_what_is_wanted(void **state)
{
    (void)state;
    struct stripe stripe;
    stripe_make(&stripe, 10, 4, 5000);
    memset(stripe.present, 1, sizeof stripe.present);
    stripe.present[3] = stripe.present[7] = stripe.present[11] = false;
    uint8_t *unwanted = stripe.blocks[3];
    memset(stripe.blocks[7], 0, 5000);
    memset(unwanted, 0x11, 5000);
    stripe.blocks[3] = NULL;
    assert_int_equal(mmh_parity_restore(&stripe.code, stripe.blocks, stripe.present, 5000, NULL),
                     MMH_OK);
    assert_memory_equal(stripe.blocks[7], stripe.right + (size_t)7 * 5000, 5000);
    for (size_t i = 0; i < 5000; i++)
        assert_int_equal(unwanted[i], 0x11);
    stripe_release(&stripe);
}

static void test_parity_says_when_memory_runs_out(void **state)
{
    (void)state;
    for (size_t n = 0;; n++) {
        struct mmh_parity_code code;
        uint8_t memory[5][64] = { { 1 } };
        uint8_t *blocks[5] = { memory[0], memory[1], memory[2], memory[3], memory[4] };
        const bool present[5] = { true, true, false, true, true };
        allocations_left = n;
        mmh_error err = { MMH_OK, "" };
        mmh_status status = mmh_parity_code_init(&code, 3, 2, &counting, &err);
        if (status == MMH_OK)
            status = mmh_parity_restore(&code, blocks, present, 64, &err);
        mmh_parity_code_release(&code);
        allocations_left = SIZE_MAX;
        assert_int_equal(allocated, 0);
        assert_int_equal(status, err.status);
        if (status == MMH_OK)
            break;
        assert_int_equal(status, MMH_E_MEMORY);
    }
}

/* ---- geometry ---- */

static void test_geometry_is_what_the_format_says(void **state)
{
    (void)state;
    static const struct {
        uint64_t end;
        unsigned parity, block_bytes, stripes, k, m;
    } cases[] = {
        { 1, 500, 64, 1, 1, 2 },
        { 300, 500, 64, 1, 5, 2 },
        { 512, 500, 64, 1, 8, 2 },
        { 1025, 500, 128, 1, 9, 2 },
        { 524287, 500, 65536, 1, 8, 2 },
        { 524288, 500, 65536, 1, 8, 2 },
        { 65536 * 160, 500, 65536, 1, 160, 8 },
        { 65536 * 161, 500, 65536, 2, 81, 5 },
        { 65536 * 253, 100, 65536, 2, 127, 2 },
        { 65536 * 252, 100, 65536, 1, 252, 3 },
        { 65536 * 1600, 500, 65536, 10, 160, 8 },
        { 65536 * 1600, 5000, 65536, 100, 16, 8 },
        { 65536 * 1600, 10000, 65536, 200, 8, 8 },
        { 65536 * 1600, 300000, 65536, 200, 8, 240 },
    };
    const uint8_t root[MMH_ROOT_START_BYTES] = { 1, 2, 3 };
    struct mmh_geometry geometry, again;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        uint8_t bytes[MMH_RECOVERY_GEOMETRY_BYTES];
        assert_int_equal(
            mmh_geometry_choose(&geometry, cases[i].end, 352, root, cases[i].parity, NULL), MMH_OK);
        assert_int_equal(geometry.block_bytes, cases[i].block_bytes);
        assert_int_equal(geometry.stripe_count, cases[i].stripes);
        assert_int_equal(geometry.data_count, cases[i].k);
        assert_int_equal(geometry.parity_count, cases[i].m);
        mmh_geometry_write(bytes, &geometry);
        assert_true(mmh_geometry_read(&again, bytes));
        assert_memory_equal(&again, &geometry, sizeof geometry);
    }
    assert_int_equal(mmh_geometry_choose(&geometry, 1000, 352, root, 0, NULL), MMH_E_USAGE);
    assert_int_equal(mmh_geometry_choose(&geometry, 1000, 352, root, MMH_PARITY_MAX + 1, NULL),
                     MMH_E_USAGE);
    for (uint64_t end = 1; end < UINT64_C(1) << 60; end = end * 3 + 1)
        for (unsigned parity = 1; parity <= MMH_PARITY_MAX; parity = parity * 2 + 1) {
            mmh_status status = mmh_geometry_choose(&geometry, end, 352, root, parity, NULL);
            if (end < UINT64_C(1) << 42)
                assert_int_equal(status, MMH_OK);
            if (status != MMH_OK)
                continue;
            assert_true(geometry.data_count + geometry.parity_count <= MMH_PARITY_BLOCKS_MAX);
            assert_true(10000 * (uint64_t)geometry.parity_count >=
                        (uint64_t)parity * geometry.data_count);
        }
}

static void test_hostile_geometry_is_refused(void **state)
{
    (void)state;
    const uint8_t root[MMH_ROOT_START_BYTES] = { 0 };
    struct mmh_geometry geometry, out;
    uint8_t right[MMH_RECOVERY_GEOMETRY_BYTES], bytes[MMH_RECOVERY_GEOMETRY_BYTES];
    assert_int_equal(mmh_geometry_choose(&geometry, 1 << 20, 352, root, 500, NULL), MMH_OK);
    mmh_geometry_write(right, &geometry);
    static const struct {
        size_t at, width;
        uint64_t value;
    } changes[] = {
        { 0, 8, 0 },     { 0, 8, UINT64_MAX },  { 0, 8, (UINT64_C(1) << 62) + 1 },
        { 8, 4, 0 },     { 8, 4, 63 },          { 8, 4, 32 },
        { 8, 4, 65535 }, { 8, 4, 131072 },      { 8, 4, UINT32_MAX },
        { 12, 2, 0 },    { 12, 2, 255 },        { 12, 2, 65535 },
        { 14, 2, 0 },    { 14, 2, 240 },        { 14, 2, 65535 },
        { 16, 4, 0 },    { 16, 4, 2 },          { 16, 4, UINT32_MAX },
        { 20, 4, 0 },    { 20, 4, UINT32_MAX }, { 24, 8, 1 },
    };
    for (size_t i = 0; i < MMH_COUNT_OF(changes); i++) {
        memcpy(bytes, right, sizeof bytes);
        for (size_t b = 0; b < changes[i].width; b++)
            bytes[changes[i].at + b] = (uint8_t)(changes[i].value >> 8 * b);
        assert_false(mmh_geometry_read(&out, bytes));
    }
}

/* ---- areas ---- */

struct memory {
    uint8_t *data;
    size_t bytes;
    uint8_t *written; /* [bytes] how often */
};

static mmh_status memory_read(void *user, void *dst, uint64_t offset, size_t bytes, mmh_error *err)
{
    const struct memory *memory = user;
    (void)err;
    assert_true(offset <= memory->bytes && bytes <= memory->bytes - offset);
    memcpy(dst, memory->data + offset, bytes);
    return MMH_OK;
}

static mmh_status memory_write(void *user, uint64_t offset, const void *data, size_t bytes,
                               mmh_error *err)
{
    struct memory *memory = user;
    (void)err;
    assert_true(offset <= memory->bytes && bytes <= memory->bytes - offset);
    memcpy(memory->data + offset, data, bytes);
    for (size_t i = 0; i < bytes; i++)
        memory->written[offset + i]++;
    return MMH_OK;
}

/* Bytes, and their recovery area behind them. */
struct area {
    struct memory memory;
    struct mmh_recovery_layout layout;
    struct mmh_recovery_job job;
    uint8_t tail[2000];
};

static mmh_pool *pool;

static mmh_status area_make(struct area *area, uint64_t end, size_t tail_bytes, unsigned parity,
                            unsigned suite, const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t root[MMH_ROOT_START_BYTES];
    struct mmh_geometry geometry;
    for (size_t i = 0; i < sizeof root; i++)
        root[i] = (uint8_t)random32();
    for (size_t i = 0; i < tail_bytes; i++)
        area->tail[i] = (uint8_t)random32();
    assert_int_equal(mmh_geometry_choose(&geometry, end, tail_bytes, root, parity, NULL), MMH_OK);
    mmh_recovery_layout_make(&area->layout, &geometry, end);
    area->memory.bytes = (size_t)(end + area->layout.area_bytes);
    area->memory.data = calloc(area->memory.bytes, 1);
    area->memory.written = calloc(area->memory.bytes, 1);
    assert_true(area->memory.data && area->memory.written);
    for (size_t i = 0; i < end; i++)
        area->memory.data[i] = (uint8_t)random32();
    area->job = (struct mmh_recovery_job){ .hash_suite = suite,
                                           .pool = pool,
                                           .allocator = allocator,
                                           .read = memory_read,
                                           .read_context = &area->memory,
                                           .write = memory_write,
                                           .write_context = &area->memory };
    return mmh_recovery_area_write(&area->job, &area->layout, area->tail, err);
}

static void area_release(struct area *area)
{
    free(area->memory.data);
    free(area->memory.written);
}

/* Each byte of an area is written once, packets stand where the layout says, and all are found. */
static void test_areas_are_written_once_and_found_whole(void **state)
{
    (void)state;
    static const uint64_t ends[] = { 1, 63, 64, 300, 5000, 100001, 3000000, 11000000 };
    for (size_t e = 0; e < MMH_COUNT_OF(ends); e++)
        for (unsigned parity = 100; parity <= (ends[e] < 1000000 ? 40000 : 1000); parity *= 7) {
            static struct area area;
            struct mmh_found found = { .allocator = NULL };
            unsigned suite = parity % 2 ? MMH_HASH_SHA256 : mmh_hash_suite_default();
            size_t tail_bytes = 256 + random32() % 1700;
            assert_int_equal(area_make(&area, ends[e], tail_bytes, parity, suite, NULL, NULL),
                             MMH_OK);
            bool once = true;
            for (size_t i = 0; i < area.memory.bytes; i++)
                once = once && area.memory.written[i] == (i >= ends[e]);
            assert_true(once);
            assert_int_equal(mmh_recovery_scan(&found, 0, memory_read, &area.memory, ends[e],
                                               area.memory.bytes, NULL),
                             MMH_OK);
            uint64_t packets = 0;
            for (unsigned kind = MMH_PACKET_PARITY; kind <= MMH_PACKET_TAIL; kind++)
                packets += mmh_recovery_packet_count(&area.layout, kind);
            assert_int_equal(found.count, packets);
            assert_int_equal(found.geometry_count, 1);
            assert_int_equal(found.hash_suites[0], suite);
            for (size_t i = 0; i < found.count; i++) {
                const struct mmh_found_packet *packet = &found.packets[i];
                assert_int_equal(packet->offset, mmh_recovery_packet_offset(
                                                     &area.layout, packet->kind, packet->number));
                assert_int_equal(packet->generation, 0);
            }
            mmh_found_release(&found);
            area_release(&area);
        }
}

/* Neighbours among blocks and parity packets are of different stripes, all the way round. */
static void test_blocks_and_packets_go_round_the_stripes(void **state)
{
    (void)state;
    const uint8_t root[MMH_ROOT_START_BYTES] = { 0 };
    for (uint64_t blocks = 1; blocks < 1200; blocks = blocks * 3 / 2 + 1) {
        struct mmh_geometry geometry;
        struct mmh_recovery_layout layout;
        assert_int_equal(mmh_geometry_choose(&geometry, blocks * 65536 + 1, 352, root, 700, NULL),
                         MMH_OK);
        mmh_recovery_layout_make(&layout, &geometry, geometry.end);
        uint64_t count = mmh_recovery_packet_count(&layout, MMH_PACKET_PARITY);
        uint64_t bytes = mmh_recovery_packet_bytes(&layout, MMH_PACKET_PARITY);
        for (uint32_t n = 0; n < count; n++) {
            uint64_t place =
                (mmh_recovery_packet_offset(&layout, MMH_PACKET_PARITY, n) - layout.parity) / bytes;
            assert_int_equal((geometry.block_count + place) % geometry.stripe_count,
                             n % geometry.stripe_count);
        }
    }
}

static void test_pieces_are_joined_from_any_that_are_enough(void **state)
{
    (void)state;
    const uint8_t root[MMH_ROOT_START_BYTES] = { 0 };
    struct mmh_geometry geometry;
    assert_int_equal(mmh_geometry_choose(&geometry, 1 << 30, 352, root, 500, NULL), MMH_OK);
    for (unsigned round = 0; round < 200; round++) {
        size_t bytes = 1 + random32() % (round % 10 ? 3000 : 300000);
        struct mmh_pieces shape = mmh_tail_pieces(&geometry, bytes);
        unsigned count = shape.data_count + shape.parity_count;
        uint8_t *whole = malloc(bytes), *joined = malloc(bytes);
        uint8_t *pieces = malloc(count * shape.piece_bytes);
        bool present[MMH_PARITY_BLOCKS_MAX];
        assert_true(whole && joined && pieces);
        for (size_t i = 0; i < bytes; i++)
            whole[i] = (uint8_t)random32();
        assert_int_equal(mmh_pieces_cut(pieces, &shape, whole, NULL, NULL), MMH_OK);
        memset(present, 1, sizeof present);
        for (unsigned lost = shape.parity_count; lost;) {
            unsigned i = random32() % count;
            lost -= present[i];
            if (present[i])
                memset(pieces + i * shape.piece_bytes, 0xee, shape.piece_bytes);
            present[i] = false;
        }
        assert_int_equal(mmh_pieces_join(joined, pieces, &shape, present, NULL, NULL), MMH_OK);
        assert_memory_equal(joined, whole, bytes);
        for (unsigned i = 0; i < count; i++)
            if (present[i]) {
                present[i] = false;
                break;
            }
        assert_int_equal(mmh_pieces_join(joined, pieces, &shape, present, NULL, NULL),
                         MMH_E_CORRUPT);
        free(pieces);
        free(joined);
        free(whole);
    }
}

/* Scanning believes nothing: changed bytes are no packet, and copies, parts and claims do no harm. */
static void test_scanning_survives_hostile_packets(void **state)
{
    (void)state;
    static struct area area;
    assert_int_equal(area_make(&area, 5000, 400, 1000, mmh_hash_suite_default(), NULL, NULL),
                     MMH_OK);
    size_t begin = (size_t)area.layout.front, bytes = area.memory.bytes - begin;
    uint8_t *data = malloc(3 * bytes);
    assert_non_null(data);
    struct memory memory = { .data = data };
    for (unsigned round = 0; round < 3000; round++) {
        struct mmh_found found = { .allocator = NULL };
        memory.bytes = bytes;
        memcpy(data, area.memory.data + begin, bytes);
        size_t wrong = 8 * (random32() % (bytes / 8));
        switch (round % 5) {
        case 0: /* a field of some packet's head */
            wrong = (size_t)area.layout.parity - begin + random32() % MMH_PACKET_HEAD_BYTES;
            data[wrong] ^= (uint8_t)(1u << random32() % 8);
            break;
        case 1: /* cut anywhere */
            memory.bytes = random32() % bytes;
            break;
        case 2: /* twice, and thrice */
            memcpy(data + bytes, data, bytes);
            memcpy(data + 2 * bytes, data, bytes);
            memory.bytes = 3 * bytes;
            break;
        case 3: /* heads everywhere */
            for (size_t at = 0; at + MMH_PACKET_HEAD_BYTES < bytes; at += MMH_PACKET_HEAD_BYTES)
                memcpy(data + at, area.memory.data + area.layout.parity, MMH_PACKET_HEAD_BYTES);
            break;
        default: /* a packet within another's payload */
            memmove(data + wrong, data, MMH_MIN(bytes - wrong, (size_t)600));
            break;
        }
        assert_int_equal(mmh_recovery_scan(&found, 0, memory_read, &memory, 0, memory.bytes, NULL),
                         MMH_OK);
        for (size_t i = 0; i < found.count; i++) {
            const struct mmh_found_packet *packet = &found.packets[i];
            bool right = false;
            assert_true(packet->offset + MMH_PACKET_HEAD_BYTES + packet->payload_bytes <=
                        memory.bytes);
            assert_int_equal(mmh_packet_check(&right, mmh_hash_suite_default(),
                                              data + packet->offset,
                                              MMH_PACKET_HEAD_BYTES + packet->payload_bytes, NULL),
                             MMH_OK);
            assert_true(right);
        }
        if (round % 5 == 2)
            assert_int_equal(found.count % 3, 0);
        mmh_found_release(&found);
    }
    free(data);
    area_release(&area);
}

static void test_areas_say_when_memory_runs_out(void **state)
{
    (void)state;
    for (size_t n = 0, done = 0; !done; n++) {
        static struct area area;
        mmh_error err = { MMH_OK, "" };
        struct mmh_found found = { .allocator = &counting };
        allocations_left = n;
        mmh_status status = area_make(&area, 5000, 400, 1000, mmh_hash_suite_default(), &counting,
                                      &err);
        if (status == MMH_OK)
            status = mmh_recovery_scan(&found, 0, memory_read, &area.memory, 5000,
                                       area.memory.bytes, &err);
        mmh_found_release(&found);
        done = status == MMH_OK;
        allocations_left = SIZE_MAX;
        assert_int_equal(allocated, 0);
        assert_int_equal(status, err.status);
        if (!done)
            assert_int_equal(status, MMH_E_MEMORY);
        area_release(&area);
    }
}

static int group_begin(void **state)
{
    (void)state;
    return mmh_pool_create(&pool, 2, NULL, NULL) == MMH_OK ? 0 : -1;
}

static int group_end(void **state)
{
    (void)state;
    mmh_pool_destroy(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity_is_the_cauchy_sum),
        cmocka_unit_test(test_parity_restores_every_pattern_of_few_blocks),
        cmocka_unit_test(test_parity_restores_random_patterns_of_many_blocks),
        cmocka_unit_test(test_parity_restores_only_what_is_wanted),
        cmocka_unit_test(test_parity_says_when_memory_runs_out),
        cmocka_unit_test(test_geometry_is_what_the_format_says),
        cmocka_unit_test(test_hostile_geometry_is_refused),
        cmocka_unit_test(test_areas_are_written_once_and_found_whole),
        cmocka_unit_test(test_blocks_and_packets_go_round_the_stripes),
        cmocka_unit_test(test_pieces_are_joined_from_any_that_are_enough),
        cmocka_unit_test(test_scanning_survives_hostile_packets),
        cmocka_unit_test(test_areas_say_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, group_begin, group_end);
}
