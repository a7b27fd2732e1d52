/*
 * Tests of records and their fields: layouts of block types, and moving elements.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "guard.h"
#include "tensor/fields.h"

/* An element as docs/format.md section 13 has it, bit by bit. */
static unsigned element_by_definition(const uint8_t *record, const struct mmh_field *field,
                                      unsigned i)
{
    unsigned value = 0, shift = 0;
    for (unsigned p = 0; p < field->piece_count; p++) {
        const struct mmh_field_piece *piece = &field->pieces[p];
        unsigned places = 8u / piece->bits, k = i / piece->group % places;
        unsigned at = i / (piece->group * places) * piece->group + i % piece->group;
        unsigned bits = record[piece->offset + at] >> piece->bits * k;
        value |= (bits & ((1u << piece->bits) - 1)) << shift;
        shift += piece->bits;
    }
    return value;
}

static void assert_moves(const struct mmh_fields *layout, size_t records, uint64_t *seed)
{
    struct guard data, back;
    size_t bytes = records * layout->record_bytes;
    guard_init(&data, bytes);
    guard_init(&back, bytes);
    for (size_t i = 0; i < bytes; i++) {
        data.at[i] = (uint8_t)guard_random(seed);
        back.at[i] = (uint8_t)~data.at[i];
    }
    guard_freeze(&data);
    for (unsigned f = 0; f < layout->count; f++) {
        const struct mmh_field *field = &layout->fields[f];
        unsigned unit = mmh_field_element_bytes(field);
        struct guard elements;
        guard_init(&elements, records * field->elements * unit);
        mmh_field_gather(elements.at, data.at, records, layout->record_bytes, field);
        for (size_t r = 0; r < records; r++) {
            const uint8_t *record = data.at + r * layout->record_bytes;
            const uint8_t *of_record = elements.at + r * field->elements * unit;
            if (!field->pieces[0].group)
                assert_memory_equal(of_record, record + field->pieces[0].offset,
                                    (size_t)field->elements * unit);
            for (unsigned i = 0; field->pieces[0].group && i < field->elements; i++)
                assert_int_equal(of_record[i], element_by_definition(record, field, i));
        }
        guard_freeze(&elements);
        mmh_field_scatter(back.at, elements.at, records, layout->record_bytes, field);
        guard_release(&elements);
    }
    assert_memory_equal(data.at, back.at, bytes);
    guard_release(&data);
    guard_release(&back);
}

/* Every block type has fields, which are its bytes; they move as the document says, and back. */
static void test_every_block_type_is_its_fields(void **state)
{
    unsigned types = 0;
    uint64_t seed = 5;
    (void)state;
    for (unsigned d = 0; d < MMH_DTYPE_COUNT; d++) {
        const struct mmh_fields *layout = mmh_dtype_fields((mmh_dtype)d);
        assert_int_equal(layout != NULL, mmh_dtype_is_block((mmh_dtype)d));
        if (!layout)
            continue;
        unsigned bytes;
        assert_int_not_equal(mmh_dtype_block((mmh_dtype)d, &bytes), 0);
        assert_int_equal(layout->record_bytes, bytes);
        if (!mmh_fields_valid(layout))
            fail_msg("the fields of %s are not its bytes", mmh_dtype_name((mmh_dtype)d));
        for (size_t records = 0; records < 4; records++)
            assert_moves(layout, records, &seed);
        assert_moves(layout, 37, &seed);
        types++;
    }
    assert_int_equal(types, MMH_DTYPE_COUNT - MMH_DTYPE_Q4_0);
    assert_null(mmh_dtype_fields(MMH_DTYPE_COUNT));
}

/* Weights that are two places' bits: the first and the last of a block, by ggml's own order. */
static void test_bits_of_one_weight_are_put_together(void **state)
{
    uint8_t record[256] = { 0 }, weights[256];
    const struct mmh_fields *six = mmh_dtype_fields(MMH_DTYPE_Q6_K);
    const struct mmh_fields *five = mmh_dtype_fields(MMH_DTYPE_Q5_0);
    (void)state;
    record[63 + 64] = 0xa0; /* weight 255: high nibble of ql[127], highest bits of qh[63] */
    record[128 + 63] = 0x3 << 6;
    mmh_field_gather(weights, record, 1, six->record_bytes, &six->fields[0]);
    assert_int_equal(weights[255], 0x3a);
    assert_int_equal(weights[254], 0);
    memset(record, 0, sizeof record);
    record[2 + 2] = 1; /* weight 16: bit 16 of qh, high nibble of qs[0] */
    record[6] = 0x70;
    mmh_field_gather(weights, record, 1, five->record_bytes, &five->fields[1]);
    assert_int_equal(weights[16], 0x17);
    assert_int_equal(weights[0], 0);
}

/* Any layout is refused, or moves without harm and without loss. */
static void test_any_layout_is_refused_or_moves(void **state)
{
    enum { ROUNDS = 300000 };
    unsigned valid = 0;
    uint64_t seed = 99;
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct mmh_fields layout = *mmh_dtype_fields(
            (mmh_dtype)(MMH_DTYPE_Q4_0 + guard_random(&seed) % (MMH_DTYPE_COUNT - MMH_DTYPE_Q4_0)));
        for (unsigned flips = 1 + round % 3; flips--;) {
            struct mmh_field *field = &layout.fields[guard_random(&seed) % layout.count];
            struct mmh_field_piece *piece = &field->pieces[guard_random(&seed) % 2];
            uint64_t value = guard_random(&seed);
            switch (guard_random(&seed) % 8) {
            case 0:
                field->dtype = (uint8_t)(value % 30);
                break;
            case 1:
                field->piece_count = (uint8_t)(value % 4);
                break;
            case 2:
                field->elements = (uint16_t)(value % 3 ? value : value % 512);
                break;
            case 3:
                piece->offset = (uint16_t)(value % 3 ? value % 256 : value);
                break;
            case 4:
                piece->bits = (uint8_t)(value % 10);
                break;
            case 5:
                piece->group = (uint8_t)value;
                break;
            case 6: /* another order of the same fields is as good */
                layout.fields[MMH_FIELDS_MAX - 1] = *field;
                *field = layout.fields[0];
                layout.fields[0] = layout.fields[MMH_FIELDS_MAX - 1];
                break;
            default: /* as are other groups of as many bits */
                piece->group = (uint8_t)(piece->group ? 1 << value % 8 : 0);
                break;
            }
        }
        if (!mmh_fields_valid(&layout))
            continue;
        valid++;
        if (valid % 64 == 0)
            assert_moves(&layout, 3, &seed);
    }
    assert_in_range(valid, ROUNDS / 50, ROUNDS - ROUNDS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_block_type_is_its_fields),
        cmocka_unit_test(test_bits_of_one_weight_are_put_together),
        cmocka_unit_test(test_any_layout_is_refused_or_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
