/*
 * The float kernels: split, merge, packed planes, and what looks at whole elements.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kernel set is held against a slow model written from docs/format.md alone, one element and
 * one bit at a time, with each buffer right before a forbidden page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#include <unistd.h>
#endif
#include <cmocka.h>

#include "base/bits.h"
#include "guard.h"
#include "kernel/kernel.h"

enum { COUNT_MAX = 64 * 12 };

/* ---- data ---- */

enum { DATA_RANDOM, DATA_WEIGHTS, DATA_SPECIAL, DATA_CONSTANT, DATA_KINDS };

/* Elements of which the lowest `zeros` bits are 0 and the sign is as sign_mode says. */
static void make_data(uint8_t *dst, size_t count, unsigned element_bytes, unsigned exponent_bits,
                      unsigned kind, unsigned sign_mode, uint64_t *seed)
{
    unsigned bits = 8 * element_bytes;
    uint64_t constant = guard_random(seed);
    for (size_t i = 0; i < count; i++) {
        uint64_t value = guard_random(seed);
        if (kind == DATA_CONSTANT)
            value = constant;
        value >>= 64 - bits;
        uint64_t fraction = value & ((1ull << (bits - 1 - exponent_bits)) - 1);
        uint64_t bias = (1ull << (exponent_bits - 1)) - 1;
        if (kind == DATA_WEIGHTS) { /* exponents fall off below the bias */
            uint64_t r = guard_random(seed);
            uint64_t exponent = bias - 3 - mmh_ctz64(r | 1ull << 14);
            value = (r >> 63) << (bits - 1) | exponent << (bits - 1 - exponent_bits) | fraction;
        } else if (kind == DATA_SPECIAL) {
            static const uint64_t part[4] = { 0, 1, 0, 2 };
            uint64_t r = guard_random(seed);
            uint64_t exponent = part[r & 3] == 2 ? 2 * bias + 1 /* infinity, NaN */
                              : part[r & 3] == 1 ? r >> 8 & bias
                                                 : 0; /* zero, denormal */
            value = (r >> 63) << (bits - 1) | exponent << (bits - 1 - exponent_bits) |
                    (r & 4 ? 0 : fraction);
        }
        if (sign_mode)
            value = (value & ~(1ull << (bits - 1))) | (uint64_t)(sign_mode - 1) << (bits - 1);
        for (unsigned b = 0; b < element_bytes; b++)
            dst[i * element_bytes + b] = (uint8_t)(value >> 8 * b);
    }
}

static uint64_t element_at(const uint8_t *src, size_t i, unsigned element_bytes)
{
    uint64_t value = 0;
    for (unsigned b = 0; b < element_bytes; b++)
        value |= (uint64_t)src[i * element_bytes + b] << 8 * b;
    return value;
}

/* ---- the model ---- */

/* Set or get field i of the plane of w bits. */
static void plane_set(uint8_t *plane, unsigned w, size_t i, unsigned value)
{
    size_t at = i / 64 * 8 * w + i % 64 % (8 * w);
    unsigned shift = (unsigned)(i % 64 / (8 * w)) * w;
    plane[at] = (uint8_t)((plane[at] & ~(((1u << w) - 1) << shift)) | value << shift);
}

static unsigned plane_get(const uint8_t *plane, unsigned w, size_t i)
{
    size_t at = i / 64 * 8 * w + i % 64 % (8 * w);
    return plane[at] >> (i % 64 / (8 * w)) * w & ((1u << w) - 1);
}

static void planes_set(uint8_t *const plane[4], unsigned bits, size_t i, unsigned value)
{
    for (unsigned p = 0, left = bits; p < 4; p++) {
        unsigned w = 8 >> p;
        if (bits & w) {
            left -= w;
            plane_set(plane[p], w, i, value >> left & ((1u << w) - 1));
        }
    }
}

static unsigned planes_get(uint8_t *const plane[4], unsigned bits, size_t i)
{
    unsigned value = 0;
    for (unsigned p = 0; p < 4; p++) {
        unsigned w = 8 >> p;
        if (bits & w)
            value = value << w | plane_get(plane[p], w, i);
    }
    return value;
}

static size_t model_split(uint8_t *symbols, uint8_t *const plane[4], uint8_t *const tails[3],
                          uint32_t *patches, const uint8_t *src, size_t count,
                          const struct mmh_split *split)
{
    size_t patch_count = 0;
    unsigned bits = 8u * split->element_bytes, low = split->symbol_low;
    for (size_t i = 0; i < count; i++) {
        uint64_t element = element_at(src, i, split->element_bytes);
        unsigned head = (unsigned)(element >> (bits - 16));
        unsigned key = (head << 1 | head >> 15) & 0xffff;
        unsigned symbol = key >> split->raw_bits, raw = key & ((1u << split->raw_bits) - 1);
        unsigned moved = (symbol - split->window_base) & 0xffff;
        if (symbol < low)
            symbols[i] = (uint8_t)symbol;
        else if (moved >= low && moved <= 255)
            symbols[i] = (uint8_t)moved;
        else {
            symbols[i] = split->patch_symbol;
            patches[patch_count++] = (uint32_t)i;
        }
        unsigned stored = raw >> (1 + split->zero_low);
        if (!split->sign_mode)
            stored = stored << 1 | (raw & 1);
        planes_set(plane, split->stored_bits, i, stored);
        for (unsigned p = 0; p < split->element_bytes / 2u - 1; p++) {
            unsigned tail = (unsigned)(element >> (bits - 32 - 16 * p)) & 0xffff;
            tails[p][2 * i] = (uint8_t)tail;
            tails[p][2 * i + 1] = (uint8_t)(tail >> 8);
        }
    }
    return patch_count;
}

static void model_merge(uint8_t *dst, const uint8_t *symbols, uint8_t *const plane[4],
                        uint8_t *const tails[3], size_t count, const struct mmh_split *split)
{
    for (size_t i = 0; i < count; i++) {
        unsigned symbol = symbols[i];
        if (symbol >= split->symbol_low)
            symbol = (symbol + split->window_base) & 0xffff;
        unsigned stored = planes_get(plane, split->stored_bits, i);
        unsigned raw = split->sign_mode ? stored << (1 + split->zero_low) | (split->sign_mode == 2)
                                        : (stored >> 1) << (1 + split->zero_low) | (stored & 1);
        unsigned key = (symbol << split->raw_bits | raw) & 0xffff;
        unsigned head = (key >> 1 | key << 15) & 0xffff;
        uint64_t element = head;
        for (unsigned p = 0; p < split->element_bytes / 2u - 1; p++)
            element = element << 16 | tails[p][2 * i] | (uint64_t)tails[p][2 * i + 1] << 8;
        for (unsigned b = 0; b < split->element_bytes; b++)
            dst[i * split->element_bytes + b] = (uint8_t)(element >> 8 * b);
    }
}

/* ---- shapes ---- */

static const struct {
    unsigned bytes, exponent_bits, mantissa_bits;
} types[] = { { 2, 8, 7 }, { 2, 5, 10 }, { 4, 8, 7 }, { 8, 11, 4 } };

static unsigned window_of(unsigned type, unsigned q, unsigned choice)
{
    unsigned bias = (1u << (types[type].exponent_bits - 1)) - 1;
    unsigned top = (bias << q) > 200 ? ((bias << q) - 200) & ~((1u << q) - 1) : 0;
    unsigned windows[] = { 0, top, 40u << q, 0xff00 };
    return windows[choice];
}

enum { WINDOWS = 4 };

/* Buffers of one shape. */
struct parts {
    struct guard symbols, plane[4], tails[3], patches;
    struct mmh_planes planes;
    uint8_t *tail[3];
};

static void parts_init(struct parts *parts, size_t count, const struct mmh_split *split)
{
    guard_init(&parts->symbols, count);
    for (unsigned p = 0; p < 4; p++) {
        unsigned w = 8 >> p;
        parts->planes.plane[p] = guard_init(&parts->plane[p],
                                            split->stored_bits & w ? count / 8 * w : 0);
    }
    for (unsigned p = 0; p < 3; p++)
        parts->tail[p] = guard_init(&parts->tails[p],
                                    p < split->element_bytes / 2u - 1 ? 2 * count : 0);
    guard_init(&parts->patches, 4 * count);
}

static void parts_release(struct parts *parts)
{
    guard_release(&parts->symbols);
    guard_release(&parts->patches);
    for (unsigned p = 0; p < 4; p++)
        guard_release(&parts->plane[p]);
    for (unsigned p = 0; p < 3; p++)
        guard_release(&parts->tails[p]);
}

static void assert_same_buffer(const struct guard *a, const struct guard *b)
{
    assert_int_equal(a->bytes, b->bytes);
    if (a->bytes)
        assert_memory_equal(a->at, b->at, a->bytes);
}

static void assert_merge(const struct mmh_kernels *kernels, struct parts *parts, size_t count,
                         const struct mmh_split *split)
{
    struct guard expected, got;
    size_t bytes = count * split->element_bytes;
    guard_init(&expected, bytes);
    model_merge(expected.at, parts->symbols.at, parts->planes.plane, parts->tail, count, split);
    for (unsigned round = 0; round < 15; round++) {
        unsigned stream = round % 3;
        static const size_t behind[] = { 0, 16, 8, 2, 13 }; /* the last is off any alignment */
        size_t more = behind[round / 3];
        guard_init(&got, bytes + more);
        kernels->merge(got.at, parts->symbols.at, &parts->planes,
                       (const uint8_t *const *)parts->tail, count, split, stream);
        kernels->fence();
        assert_memory_equal(got.at, expected.at, bytes);
        for (size_t i = bytes; i < bytes + more; i++)
            assert_int_equal(got.at[i], GUARD_FILL);
        guard_release(&got);
    }
    guard_release(&expected);
}

static void assert_split(const struct mmh_kernels *kernels, const uint8_t *src, size_t count,
                         const struct mmh_split *split, bool lossless)
{
    struct guard in, back;
    struct parts model, got;
    unsigned bytes = split->element_bytes;
    guard_copy(&in, src, count * bytes);
    parts_init(&model, count, split);
    parts_init(&got, count, split);
    size_t n = model_split(model.symbols.at, model.planes.plane, model.tail,
                           (uint32_t *)(void *)model.patches.at, in.at, count, split);
    size_t m = kernels->split(got.symbols.at, &got.planes, got.tail,
                              (uint32_t *)(void *)got.patches.at, in.at, count, split);
    assert_int_equal(n, m);
    assert_memory_equal(model.patches.at, got.patches.at, 4 * n);
    assert_same_buffer(&model.symbols, &got.symbols);
    for (unsigned p = 0; p < 4; p++)
        assert_same_buffer(&model.plane[p], &got.plane[p]);
    for (unsigned p = 0; p < 3; p++)
        assert_same_buffer(&model.tails[p], &got.tails[p]);
    assert_merge(kernels, &got, count, split);

    if (lossless) {
        guard_init(&back, count * bytes);
        kernels->merge(back.at, got.symbols.at, &got.planes, (const uint8_t *const *)got.tail,
                       count, split, false);
        for (size_t i = 0; i < n; i++) {
            uint32_t at = ((uint32_t *)(void *)got.patches.at)[i];
            memcpy(back.at + (at + 1) * bytes - 2, in.at + (at + 1) * bytes - 2, 2);
        }
        assert_memory_equal(back.at, in.at, count * bytes);
        guard_release(&back);
    }
    /* Symbols alone, tails unwanted. */
    m = kernels->split(got.symbols.at, &got.planes, NULL, (uint32_t *)(void *)got.patches.at, in.at,
                       count, split);
    assert_int_equal(n, m);
    assert_same_buffer(&model.symbols, &got.symbols);
    parts_release(&model);
    parts_release(&got);
    guard_release(&in);
}

/* Every shape that a chunk may have splits as the format says and merges to every bit. */
static void test_split_and_merge_agree_with_the_format(void **state)
{
    static const size_t counts[] = { 64, 64 * 7, COUNT_MAX, 0 };
    static uint8_t data[COUNT_MAX * 8];
    uint64_t seed = 1;
    unsigned round = 0;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned t = 0; t < MMH_COUNT_OF(types); t++)
            for (unsigned q = 0; q <= 2; q++)
                for (unsigned sign_mode = 0; sign_mode <= 2; sign_mode++)
                    for (unsigned z = 0; z <= types[t].mantissa_bits - q; z++)
                        for (unsigned w = 0; w < WINDOWS; w++, round++) {
                            struct mmh_split split = {
                                .element_bytes = (uint8_t)types[t].bytes,
                                .raw_bits = (uint8_t)(16 - types[t].exponent_bits - q),
                                .sign_mode = (uint8_t)sign_mode,
                                .zero_low = (uint8_t)z,
                                .symbol_low = (uint8_t)(1 << q),
                                .patch_symbol = (uint8_t)(100 + q),
                                .window_base = (uint16_t)window_of(t, q, w),
                            };
                            split.stored_bits = (uint8_t)(split.raw_bits - z - (sign_mode ? 1 : 0));
                            unsigned kind = round % DATA_KINDS;
                            size_t count = counts[round / 3 % MMH_COUNT_OF(counts)];
                            make_data(data, count, types[t].bytes, types[t].exponent_bits, kind,
                                      sign_mode, &seed);
                            assert_split(mmh_kernels_at(k), data, count, &split, z == 0);
                        }
}

/* The shapes in daily use, with every kind of data and every short count. */
static void test_common_shapes_keep_every_bit(void **state)
{
    static uint8_t data[COUNT_MAX * 8];
    uint64_t seed = 7;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned t = 0; t < MMH_COUNT_OF(types); t++)
            for (unsigned q = 0; q <= 2; q++)
                for (unsigned kind = 0; kind < DATA_KINDS; kind++)
                    for (unsigned sign_mode = 0; sign_mode <= 1; sign_mode++)
                        for (size_t count = 64; count <= 64 * 6; count += 64) {
                            struct mmh_split split = {
                                .element_bytes = (uint8_t)types[t].bytes,
                                .raw_bits = (uint8_t)(16 - types[t].exponent_bits - q),
                                .sign_mode = (uint8_t)sign_mode,
                                .symbol_low = (uint8_t)(1 << q),
                                .patch_symbol = 255,
                                .window_base = (uint16_t)window_of(t, q, 1),
                            };
                            split.stored_bits = (uint8_t)(split.raw_bits - sign_mode);
                            if (types[t].exponent_bits + q <= 8)
                                split.window_base = 0;
                            make_data(data, count, types[t].bytes, types[t].exponent_bits, kind,
                                      sign_mode, &seed);
                            assert_split(mmh_kernels_at(k), data, count, &split, true);
                        }
}

/* Merge does what the format says with symbols and planes that no encoder wrote. */
static void test_merge_takes_any_bytes(void **state)
{
    uint64_t seed = 3;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned round = 0; round < 600; round++) {
            unsigned t = round % MMH_COUNT_OF(types);
            unsigned q = (unsigned)(guard_random(&seed) % 3);
            unsigned raw_bits = 16 - types[t].exponent_bits - q;
            unsigned z = (unsigned)(guard_random(&seed) % (types[t].mantissa_bits - q + 1));
            unsigned sign_mode = (unsigned)(guard_random(&seed) % 3);
            struct mmh_split split = {
                .element_bytes = (uint8_t)types[t].bytes,
                .raw_bits = (uint8_t)raw_bits,
                .stored_bits = (uint8_t)(raw_bits - z - (sign_mode ? 1 : 0)),
                .sign_mode = (uint8_t)sign_mode,
                .zero_low = (uint8_t)z,
                .symbol_low = (uint8_t)(1 << q),
                .window_base = (uint16_t)(guard_random(&seed) << q),
            };
            size_t count = 64 * (guard_random(&seed) % 12);
            struct parts parts;
            parts_init(&parts, count, &split);
            for (size_t i = 0; i < count; i++)
                parts.symbols.at[i] = (uint8_t)guard_random(&seed);
            for (unsigned p = 0; p < 4; p++)
                for (size_t i = 0; i < parts.plane[p].bytes; i++)
                    parts.plane[p].at[i] = (uint8_t)guard_random(&seed);
            for (unsigned p = 0; p < 3; p++)
                for (size_t i = 0; i < parts.tails[p].bytes; i++)
                    parts.tails[p].at[i] = (uint8_t)guard_random(&seed);
            assert_merge(mmh_kernels_at(k), &parts, count, &split);
            parts_release(&parts);
        }
}

/* Packed values come back, for every width and count, and lie as the format says. */
static void test_packed_bits_come_back(void **state)
{
    static const size_t counts[] = { 0, 1, 2, 31, 63, 64, 65, 127, 128, 191, 500, 1024 };
    uint64_t seed = 5;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned bits = 1; bits <= 16; bits++)
            for (size_t c = 0; c < MMH_COUNT_OF(counts); c++) {
                const struct mmh_kernels *kernels = mmh_kernels_at(k);
                size_t count = counts[c], groups = (count + 63) / 64;
                struct guard values, packed, model, back;
                uint16_t *value = (uint16_t *)(void *)guard_init(&values, 2 * count);
                for (size_t i = 0; i < count; i++)
                    value[i] = (uint16_t)guard_random(&seed);
                guard_init(&packed, 8 * bits * groups);
                guard_init(&model, 8 * bits * groups);
                memset(model.at, 0, model.bytes);
                uint8_t *plane[4], *at = model.at;
                for (unsigned p = 0; p < 4; p++) {
                    plane[p] = at;
                    at += bits & 8u >> p ? 8 * (8u >> p) * groups : 0;
                }
                for (size_t i = 0; i < count; i++) {
                    if (bits == 16)
                        mmh_store16(model.at + 2 * i, value[i]);
                    else
                        planes_set(plane, bits, i, value[i] & ((1u << bits) - 1));
                }
                assert_int_equal(kernels->pack_bits(packed.at, value, count, bits), packed.bytes);
                assert_same_buffer(&packed, &model);
                guard_init(&back, 128 * groups);
                assert_int_equal(
                    kernels->unpack_bits((uint16_t *)(void *)back.at, packed.at, count, bits),
                    packed.bytes);
                for (size_t i = 0; i < 64 * groups; i++)
                    assert_int_equal(((uint16_t *)(void *)back.at)[i],
                                     i < count ? value[i] & ((1u << bits) - 1) : 0);
                guard_release(&values);
                guard_release(&packed);
                guard_release(&model);
                guard_release(&back);
            }
}

/* The bits that are used, and swapped bytes, for every count and alignment. */
static void test_whole_elements_are_seen(void **state)
{
    uint64_t seed = 9;
    (void)state;
    for (size_t k = 0; mmh_kernels_at(k); k++)
        for (unsigned bytes = 2; bytes <= 8; bytes *= 2)
            for (size_t count = 0; count <= 300; count += count < 150 ? 1 : 29) {
                const struct mmh_kernels *kernels = mmh_kernels_at(k);
                struct guard src, dst;
                guard_init(&src, count * bytes);
                guard_init(&dst, count * bytes);
                uint64_t width = ~0ull >> (64 - 8 * bytes), any = 0, all = width, or_bits, and_bits;
                uint64_t set = guard_random(&seed) & guard_random(&seed);
                uint64_t clear = guard_random(&seed) & guard_random(&seed);
                for (size_t i = 0; i < count; i++) {
                    uint64_t value = ((guard_random(&seed) | set) & ~clear) & width;
                    for (unsigned b = 0; b < bytes; b++)
                        src.at[i * bytes + b] = (uint8_t)(value >> 8 * b);
                    any |= value;
                    all &= value;
                }
                kernels->bits_used(&or_bits, &and_bits, src.at, count, bytes);
                assert_true(or_bits == any);
                assert_true(and_bits == all);
                kernels->swap_bytes(dst.at, src.at, count, bytes);
                for (size_t i = 0; i < count * bytes; i++)
                    assert_int_equal(dst.at[i], src.at[i / bytes * bytes + bytes - 1 - i % bytes]);
                kernels->swap_bytes(dst.at, dst.at, count, bytes);
                if (count)
                    assert_memory_equal(dst.at, src.at, count * bytes);
                guard_release(&src);
                guard_release(&dst);
            }
}

/* The plain C kernels are always there, names differ, and the choice is one of them. */
static void test_kernels_are_found(void **state)
{
    (void)state;
    assert_string_equal(mmh_kernels_at(0)->name, "c");
    bool found = false;
    size_t n = 0;
    for (; mmh_kernels_at(n); n++) {
        found = found || mmh_kernels_at(n) == mmh_kernels_get();
        for (size_t i = 0; i < n; i++)
            assert_string_not_equal(mmh_kernels_at(i)->name, mmh_kernels_at(n)->name);
    }
    assert_true(found);
    assert_null(mmh_kernels_at(n + 100));
}

/* MMH_CPU narrows the choice to what it names; plain C is what is left of a list of strangers. */
static void test_environment_narrows_the_choice(void **state)
{
    (void)state;
#if defined(_WIN32)
    skip(); /* the choice is made once in a process, and there is no fork */
#else
    for (size_t k = 0; k == 0 || mmh_kernels_at(k - 1); k++) {
        const struct mmh_kernels *expected = k ? mmh_kernels_at(k - 1) : mmh_kernels_at(0);
        char list[64];
        snprintf(list, sizeof list, "c2,%s,,av", k ? expected->name : "");
        pid_t child = fork(); /* the choice is made once in a process */
        if (!child) {
            setenv("MMH_CPU", list, 1);
            _exit(mmh_kernels_get() == expected ? 0 : 1);
        }
        int status = -1;
        assert_true(child > 0 && waitpid(child, &status, 0) == child);
        assert_int_equal(status, 0);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_narrows_the_choice), /* before the choice is made */
        cmocka_unit_test(test_kernels_are_found),
        cmocka_unit_test(test_split_and_merge_agree_with_the_format),
        cmocka_unit_test(test_common_shapes_keep_every_bit),
        cmocka_unit_test(test_merge_takes_any_bytes),
        cmocka_unit_test(test_packed_bits_come_back),
        cmocka_unit_test(test_whole_elements_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
