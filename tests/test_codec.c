/*
 * Tests of the codec room: every bit comes back, and no payload does harm.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "codec/codec_private.h"
#include "guard.h"

#define assert_ok(call) assert_int_equal(MMH_OK, call)

/* ---- test data ---- */

enum content {
    RANDOM,  /* random bits */
    WEIGHTS, /* bell-shaped, rows and columns of different scale */
    ODD,     /* NaN, infinities, -0, denormals, the largest and smallest */
    CONSTANT,
    ZERO,
    SPARSE,     /* mostly zeros, no pattern */
    STRIPES,    /* mostly zeros, a pattern */
    FEW,        /* a dozen values */
    CLEAN,      /* the low third of the bits zero */
    CLEAN_ROWS, /* the same in every other row */
    POSITIVE,   /* constant sign */
    TEXT,
    BELL, /* in every byte */
    CONTENT_COUNT,
    AGAIN = CONTENT_COUNT, /* the last three eighths are the first ones, and weights between them */
    SLOW_ROWS              /* weights, each row a little more than the row before it */
};

enum { COLUMNS = 192 };

/* A bell-shaped value around 0 as a double's bits, cut down to the type. */
static uint64_t weight_bits(mmh_dtype dtype, uint64_t *seed, double scale)
{
    double sum = 0;
    for (int i = 0; i < 6; i++)
        sum += (double)(int64_t)guard_random(seed) * 0x1p-63;
    sum *= scale;
    if (dtype == MMH_DTYPE_F64) {
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        return bits;
    }
    float single = (float)sum;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    if (dtype == MMH_DTYPE_F32)
        return bits;
    if (dtype == MMH_DTYPE_BF16)
        return bits >> 16;
    if (dtype == MMH_DTYPE_F16) { /* truncated; no denormals, no overflow */
        int exponent = (int)(bits >> 23 & 255) - 112;
        exponent = exponent < 1 ? 0 : exponent > 30 ? 30 : exponent;
        return (bits >> 16 & 0x8000) | (uint64_t)exponent << 10 | (bits >> 13 & 0x3ff);
    }
    return (uint64_t)(int64_t)(sum * 40); /* integers, fp8: bytes around 0 */
}

static void fill(uint8_t *data, size_t elements, mmh_dtype dtype, enum content content,
                 uint64_t seed)
{
    unsigned unit = mmh_dtype_scalar_bytes(dtype);
    static const uint64_t odd[] = {
        0x7fc0000000000001, 0x7f80000000000000, 0xff80000000000000, 0x8000000000000000,
        0x0001000000000000, 0x807fffffffffffff, 0x7fffffffffffffff, 0xffffffffffffffff,
        0x0000000000000001, 0x7c00000000000000, 0xfc01000000000000, 0x7ff0000000000001,
    };
    seed = seed * 2 + 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < elements; i++) {
        size_t row = i / COLUMNS, column = i % COLUMNS;
        double scale = (double)(1 + row * 7 % 13) * (double)(1 + column * 5 % 11) * 0.01;
        uint64_t bits = content == RANDOM ? guard_random(&seed) : weight_bits(dtype, &seed, scale);
        uint64_t low = ((uint64_t)1 << (unit * 8 / 3)) - 1;
        switch (content) {
        case ODD:
            if (guard_random(&seed) % 3 == 0)
                bits = odd[guard_random(&seed) % MMH_COUNT_OF(odd)] >> (64 - 8 * unit);
            break;
        case CONSTANT:
            bits = 0x3f2a3f2a3f2a3f2a;
            break;
        case ZERO:
            bits = 0;
            break;
        case SPARSE:
            bits = guard_random(&seed) % 10 ? 0 : bits;
            break;
        case STRIPES:
            bits = i / 32 % 8 ? 0 : bits;
            break;
        case FEW:
            bits = (guard_random(&seed) % 12) * 0x0123456789abcdef;
            break;
        case CLEAN:
            bits &= ~low;
            break;
        case CLEAN_ROWS:
            bits &= row % 2 ? UINT64_MAX : ~low;
            break;
        case POSITIVE:
            bits &= ~((uint64_t)1 << (8 * unit - 1));
            break;
        case TEXT:
            bits = (uint64_t) "the quick brown fox jumps over the lazy dog "[i % 44];
            break;
        case SLOW_ROWS:
            bits = row ? bits & 255 : bits; /* the rest is added below */
            break;
        case BELL:
            for (unsigned b = bits = 0; b < unit; b++)
                bits = bits << 8 | (guard_random(&seed) % 64 + guard_random(&seed) % 64 +
                                    guard_random(&seed) % 64 + guard_random(&seed) % 64);
            break;
        default:
            break;
        }
        for (unsigned b = 0; b < unit; b++)
            data[i * unit + b] = (uint8_t)(bits >> 8 * b);
        if (content == SLOW_ROWS && row)
            mmh_store32(data + i * unit, (uint32_t)bits + mmh_load32(data + (i - COLUMNS) * unit));
    }
    if (content == AGAIN)
        memcpy(data + (elements - elements * 3 / 8) * unit, data, elements * 3 / 8 * unit);
}

static const mmh_dtype dtypes[] = {
    MMH_DTYPE_OPAQUE,  MMH_DTYPE_BOOL,        MMH_DTYPE_U8,          MMH_DTYPE_I8,
    MMH_DTYPE_U16,     MMH_DTYPE_I16,         MMH_DTYPE_U32,         MMH_DTYPE_I32,
    MMH_DTYPE_U64,     MMH_DTYPE_I64,         MMH_DTYPE_F16,         MMH_DTYPE_BF16,
    MMH_DTYPE_F32,     MMH_DTYPE_F64,         MMH_DTYPE_F8_E4M3,     MMH_DTYPE_F8_E5M2,
    MMH_DTYPE_F8_E8M0, MMH_DTYPE_F8_E4M3FNUZ, MMH_DTYPE_F8_E5M2FNUZ,
};

/* Codecs that a build without libraries does not have. */
static bool left_out(unsigned codec_id)
{
#if defined(MMH_CORE_ONLY)
    return codec_id == MMH_CODEC_ZSTD || codec_id == MMH_CODEC_LZMA ||
           codec_id == MMH_CODEC_SHUFFLE_ZSTD;
#else
    (void)codec_id;
    return false;
#endif
}

/* ---- a block, encoded ---- */

enum { CHUNKS_MAX = 8 };

struct coded {
    mmh_dtype dtype;
    size_t elements, bytes;
    uint8_t *data;
    uint8_t *model;
    size_t model_bytes;
    size_t chunks;
    struct mmh_chunk chunk[CHUNKS_MAX];
    unsigned codec[CHUNKS_MAX];
    uint8_t *payload[CHUNKS_MAX];
    size_t payload_bytes[CHUNKS_MAX];
};

static void *copy_of(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes + !bytes);
    assert_non_null(copy);
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

/* Encode a block, buffers guarded; `src` is taken. */
static void encode_guarded(struct coded *coded, mmh_codec_workspace *workspace, struct guard *src,
                           const struct mmh_block_hint *hint, bool check)
{
    mmh_error err = { 0 };
    mmh_dtype dtype = hint->dtype;
    unsigned unit = mmh_dtype_scalar_bytes(dtype);
    *coded = (struct coded){ .dtype = dtype, .elements = src->bytes / unit, .bytes = src->bytes };
    guard_freeze(src);
    coded->data = copy_of(src->at, coded->bytes);

    const struct mmh_block_plan *plan;
    const uint8_t *model;
    uint64_t floor_bits;
    assert_ok(mmh_block_plan_make(&plan, &model, &coded->model_bytes, &floor_bits, workspace,
                                  src->at, coded->bytes, hint, &err));
    assert_true(floor_bits <= 8 * (uint64_t)coded->bytes + 64);
    if (coded->model_bytes)
        coded->model = copy_of(model, coded->model_bytes);
    size_t step = hint->records             ? mmh_records_chunk_bytes(hint->records)
                : dtype == MMH_DTYPE_OPAQUE ? (size_t)MMH_OPAQUE_CHUNK_BYTES
                                            : (size_t)MMH_CHUNK_ELEMENTS * unit;
    for (size_t at = 0; at < coded->bytes || !coded->chunks; at += step) {
        size_t c = coded->chunks++;
        assert_true(c < CHUNKS_MAX);
        coded->chunk[c] = (struct mmh_chunk){ .dtype = dtype,
                                              .first_element = at / unit,
                                              .bytes = MMH_MIN(step, coded->bytes - at) };
        struct guard dst;
        guard_init(&dst, mmh_chunk_bound(coded->chunk[c].bytes));
        assert_ok(mmh_chunk_encode(dst.at, &coded->payload_bytes[c], &coded->codec[c], workspace,
                                   plan, src->at + at, &coded->chunk[c], check, &err));
        assert_true(coded->payload_bytes[c] <= coded->chunk[c].bytes);
        coded->payload[c] = copy_of(dst.at, coded->payload_bytes[c]);
        guard_release(&dst);
    }
    guard_release(src);
}

/* The same for made elements. */
static void encode_hinted(struct coded *coded, mmh_codec_workspace *workspace, size_t elements,
                          enum content content, const struct mmh_block_hint *hint, bool check)
{
    struct guard src;
    guard_init(&src, elements * mmh_dtype_scalar_bytes(hint->dtype));
    fill(src.at, elements, hint->dtype, content, elements * 31 + (uint64_t)content);
    encode_guarded(coded, workspace, &src, hint, check);
}

/* The same for a tensor of COLUMNS-wide rows. */
static void encode_block(struct coded *coded, mmh_codec_workspace *workspace, mmh_dtype dtype,
                         size_t elements, enum content content, int level, uint64_t first,
                         bool check)
{
    const struct mmh_block_part part = { .elements = elements,
                                         .tensor_first = first,
                                         .dimensions = 2,
                                         .shape = { (first + elements) / COLUMNS + 1, COLUMNS } };
    struct mmh_block_hint hint = {
        .dtype = dtype, .parts = &part, .part_count = 1, .level = level
    };
    encode_hinted(coded, workspace, elements, content, &hint, check);
}

static unsigned record_bytes_of(mmh_dtype records)
{
    unsigned bytes;
    assert_int_not_equal(mmh_dtype_block(records, &bytes), 0);
    return bytes;
}

/* Records of a block type, nine to a row. */
static void encode_records(struct coded *coded, mmh_codec_workspace *workspace, mmh_dtype records,
                           size_t count, enum content content, int level, uint64_t first,
                           bool check)
{
    const struct mmh_block_part part = { .elements = count,
                                         .tensor_first = first,
                                         .dimensions = 2,
                                         .shape = { (first + count) / 9 + 1, 9 } };
    struct mmh_block_hint hint = {
        .records = records, .parts = &part, .part_count = count != 0, .level = level
    };
    encode_hinted(coded, workspace, count * record_bytes_of(records), content, &hint, check);
}

/* Elements in runs among other bytes: `behind` of these follow the last run. */
enum { RUNS_MAX = 4096 };

struct mixture {
    mmh_dtype dtype;
    bool big_endian;
    size_t behind, run_count;
    struct mmh_mixed_run runs[RUNS_MAX];
};

static size_t mixture_elements(const struct mixture *mixture)
{
    size_t elements = 0;
    for (size_t r = 0; r < mixture->run_count; r++)
        elements += mixture->runs[r].elements;
    return elements;
}

static void encode_mixture(struct coded *coded, mmh_codec_workspace *workspace,
                           const struct mixture *mixture, enum content content, int level,
                           bool check)
{
    static struct mmh_block_part parts[RUNS_MAX];
    size_t elements = mixture_elements(mixture), bytes = mixture->behind, at = 0;
    unsigned unit = mmh_dtype_scalar_bytes(mixture->dtype);
    for (size_t r = 0; r < mixture->run_count; r++) {
        size_t count = mixture->runs[r].elements;
        bytes += mixture->runs[r].other_bytes + count * unit;
        parts[r] = (struct mmh_block_part){ .elements = count,
                                            .dimensions = 2,
                                            .shape = { count / COLUMNS + 1, COLUMNS } };
    }
    uint8_t *values = malloc(elements * unit + 1);
    const uint8_t *value = values;
    assert_non_null(values);
    fill(values, elements, mixture->dtype, content, elements * 31 + (uint64_t)content);
    struct guard src;
    guard_init(&src, bytes);
    uint64_t seed = bytes;
    for (size_t r = 0; r <= mixture->run_count; r++) {
        bool last = r == mixture->run_count;
        size_t other = last ? mixture->behind : mixture->runs[r].other_bytes;
        for (; other; other--, at++) /* as headers are: much alike */
            src.at[at] = (uint8_t)(at % 50 == 7 ? guard_random(&seed) : at % 50);
        for (size_t i = 0; !last && i < mixture->runs[r].elements; i++, value += unit)
            for (unsigned b = 0; b < unit; b++)
                src.at[at++] = value[mixture->big_endian ? unit - 1 - b : b];
    }
    assert_int_equal(at, bytes);
    free(values);
    const struct mmh_block_hint hint = {
        .mixed = mixture->dtype,
        .mixed_big_endian = mixture->big_endian,
        .runs = mixture->runs,
        .run_count = mixture->run_count,
        .parts = parts,
        .part_count = level % 2 ? mixture->run_count : 0,
        .level = level,
    };
    encode_guarded(coded, workspace, &src, &hint, check);
}

/* One run behind the other: `other` bytes, `elements`, changed a little from run to run. */
static void add_runs(struct mixture *mixture, size_t count, uint32_t other, uint32_t elements)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(mixture->run_count < RUNS_MAX);
        mixture->runs[mixture->run_count++] =
            (struct mmh_mixed_run){ other ? other + (uint32_t)i % 7 : 0,
                                    elements > 1 ? elements + (uint32_t)i % 3 : elements };
    }
}

static void release_block(struct coded *coded)
{
    for (size_t c = 0; c < coded->chunks; c++)
        free(coded->payload[c]);
    free(coded->model);
    free(coded->data);
}

/* Decode every chunk, by itself and in any order, from guarded payloads into guarded memory. */
static void assert_decodes(const struct coded *coded, mmh_codec_workspace *workspace, bool stream)
{
    mmh_error err = { 0 };
    mmh_model *model = NULL;
    unsigned unit = mmh_dtype_scalar_bytes(coded->dtype);
    if (coded->model_bytes) {
        struct guard payload;
        guard_copy(&payload, coded->model, coded->model_bytes);
        assert_ok(
            mmh_model_create(&model, payload.at, coded->model_bytes, coded->elements, NULL, &err));
        guard_release(&payload);
    }
    for (size_t i = coded->chunks; i--;) {
        struct guard src, dst;
        guard_copy(&src, coded->payload[i], coded->payload_bytes[i]);
        guard_freeze(&src);
        guard_init(&dst, coded->chunk[i].bytes);
        mmh_status status = mmh_chunk_decode(dst.at, workspace, &coded->chunk[i], coded->codec[i],
                                             src.at, coded->payload_bytes[i], model, stream, &err);
        if (status)
            print_error("%s\n", err.message);
        assert_ok(status);
        assert_memory_equal(dst.at, coded->data + coded->chunk[i].first_element * unit,
                            coded->chunk[i].bytes);
        guard_release(&src);
        guard_release(&dst);
    }
    mmh_model_destroy(model);
}

static mmh_codec_workspace *new_workspace(void)
{
    mmh_codec_workspace *workspace;
    assert_ok(mmh_codec_workspace_create(&workspace, NULL, NULL));
    return workspace;
}

/* ---- promises ---- */

/* Every codec returns every bit, for each dtype it takes, at the awkward lengths. */
static void test_codec_returns_every_bit(void **state)
{
    static const size_t lengths[] = { 0,    1,    2,     7,     63,    64,    65,
                                      127,  128,  129,   191,   500,   2047,  8191,
                                      8192, 8193, 20000, 32767, 32768, 65535, 65537 };
    static const int levels[] = { 1, 2, 3, 4, 5, 6 };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    bool seen[MMH_CODEC_COUNT] = { false };
    for (size_t d = 0; d < MMH_COUNT_OF(dtypes); d++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++)
            for (int content = 0; content < CONTENT_COUNT; content++)
                for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++) {
                    if ((i + l + (size_t)content) % (lengths[i] > 5000 ? 6 : 2))
                        continue; /* in turn */
                    struct coded coded;
                    encode_block(&coded, workspace, dtypes[d], lengths[i], (enum content)content,
                                 levels[l], i % 2 ? 0 : 77, i % 2);
                    for (size_t c = 0; c < coded.chunks; c++)
                        seen[coded.codec[c]] = true;
                    assert_decodes(&coded, workspace, i % 2 == 0);
                    release_block(&coded);
                }
    for (unsigned id = 0; id < MMH_CODEC_COUNT; id++)
        if (id != MMH_CODEC_MODEL && id != MMH_CODEC_LZMA && id != MMH_CODEC_FIELDS &&
            id != MMH_CODEC_MIXED && !seen[id] && !left_out(id))
            fail_msg("codec %s was never chosen", mmh_codec_name(id));
    mmh_codec_workspace_destroy(workspace);
}

/* Blocks of several chunks share a model; each chunk decodes alone. */
static void test_codec_chunks_share_a_model(void **state)
{
    static const enum content contents[] = { WEIGHTS, ODD, SPARSE, CLEAN_ROWS, POSITIVE, BELL };
    static const mmh_dtype types[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32,
                                       MMH_DTYPE_F64,  MMH_DTYPE_I8,  MMH_DTYPE_F8_E4M3 };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace(), *other = new_workspace();
    for (int level = 1; level <= 9; level++)
        for (size_t i = 0; i < MMH_COUNT_OF(types); i++) {
            struct coded coded;
            encode_block(&coded, workspace, types[i], 2 * MMH_CHUNK_ELEMENTS + 4321,
                         contents[(i + (size_t)level) % MMH_COUNT_OF(contents)], level, 12345,
                         level % 2);
            assert_decodes(&coded, other, level % 2);
            release_block(&coded);
        }
    mmh_codec_workspace_destroy(workspace);
    mmh_codec_workspace_destroy(other);
}

/* A shape is a hint: whatever it says, and however many tensors share the block, bits come back. */
static void test_codec_survives_any_hint(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_BF16, MMH_DTYPE_F32, MMH_DTYPE_I8, MMH_DTYPE_F64,
                                       MMH_DTYPE_F8_E5M2 };
    static const uint64_t sizes[] = { 0,
                                      1,
                                      2,
                                      3,
                                      7,
                                      9,
                                      31,
                                      32,
                                      33,
                                      64,
                                      100,
                                      257,
                                      1000,
                                      65536,
                                      (uint64_t)1 << 20,
                                      (uint64_t)1 << 40,
                                      UINT64_MAX };
    uint64_t seed = 2024;
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (int round = 0; round < 400; round++) {
        struct mmh_block_part parts[12];
        size_t part_count = round % 2 ? 1 : guard_random(&seed) % 13;
        size_t elements = 0;
        for (size_t i = 0; i < part_count; i++) {
            struct mmh_block_part *part = &parts[i];
            *part = (struct mmh_block_part){ .elements = 1 + guard_random(&seed) %
                                                                 (round % 3 ? 3000 : 30000),
                                             .dimensions = (uint32_t)(guard_random(&seed) % 6) };
            for (uint32_t d = 0; d < part->dimensions; d++)
                part->shape[d] = guard_random(&seed) % 4
                                   ? 1 + guard_random(&seed) % 200
                                   : sizes[guard_random(&seed) % MMH_COUNT_OF(sizes)];
            part->tensor_first = guard_random(&seed) % 3 ? guard_random(&seed) % 100000
                                                         : guard_random(&seed) >> 1;
            elements += part->elements;
        }
        struct mmh_block_hint hint = { .dtype = types[round % MMH_COUNT_OF(types)],
                                       .parts = parts,
                                       .part_count = part_count,
                                       .level = 3 + round % 7 };
        struct coded coded;
        encode_hinted(&coded, workspace, part_count ? elements : 5000,
                      (enum content)(guard_random(&seed) % CONTENT_COUNT), &hint, round % 5 == 0);
        assert_decodes(&coded, workspace, false);
        release_block(&coded);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* A payload decodes to its elements with these kernels, at some bytes from a cache line. */
static void assert_decodes_at(const struct guard *out, unsigned offset,
                              mmh_codec_workspace *workspace, const struct mmh_chunk *chunk,
                              unsigned codec, const struct guard *payload, const mmh_model *model,
                              bool stream, const uint8_t *want)
{
    enum { MARGIN = 128 };
    const size_t behind = (64 - (chunk->bytes + offset) % 64) % 64;
    uint8_t *dst = guard_last(out, chunk->bytes + behind), *end = dst + chunk->bytes;
    mmh_error err = { 0 };
    memset(dst - MARGIN, GUARD_FILL, MARGIN + chunk->bytes + behind);
    if (mmh_chunk_decode(dst, workspace, chunk, codec, payload->at, payload->bytes, model, stream,
                         &err))
        fail_msg("%s: %zu bytes at %u: %s", workspace->kernels->name, chunk->bytes, offset,
                 err.message);
    if (chunk->bytes && memcmp(dst, want, chunk->bytes))
        fail_msg("%s: %zu bytes at %u differ", workspace->kernels->name, chunk->bytes, offset);
    for (size_t i = 1; i <= MARGIN; i++)
        assert_int_equal(dst[-(ptrdiff_t)i], GUARD_FILL);
    for (size_t i = 0; i < behind; i++)
        assert_int_equal(end[i], GUARD_FILL);
}

/*
 * Float chunks of every short length, and of those around powers of two, come back by every kernel
 * set, past the cache or through it, wherever memory has room for them. They share their block's
 * plan, so that short ones are coded as long ones are.
 */
static void test_codec_decodes_floats_anywhere(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32,
                                       MMH_DTYPE_F64 };
    static const int levels[] = { 1, 3, 4, 5, 9 };
    static const enum content contents[] = { WEIGHTS, POSITIVE, CLEAN_ROWS, WEIGHTS };
    static const unsigned offsets[] = { 0, 1, 2, 7, 8, 16, 33, 62 };
    enum { ELEMENTS = MMH_CHUNK_ELEMENTS, SHORT = 300, TIERS = 0, RANS = 1, KERNELS_MAX = 4 };
    size_t kinds[3] = { 0 };
    (void)state;
    mmh_codec_workspace *encoder = new_workspace(), *decoders[KERNELS_MAX];
    struct guard out, src, coded;
    guard_init(&out, 8 * ELEMENTS + 1024);
    guard_init(&coded, mmh_chunk_bound(8 * ELEMENTS));
    size_t kernel_count = 0;
    for (; mmh_kernels_at(kernel_count); kernel_count++) {
        assert_true(kernel_count < KERNELS_MAX);
        decoders[kernel_count] = new_workspace();
        mmh_workspace_set_kernels(decoders[kernel_count], mmh_kernels_at(kernel_count));
    }
    size_t lengths[SHORT + 1 + 6 * 4], length_count = 0, round = 0;
    for (size_t n = 0; n <= SHORT; n++)
        lengths[length_count++] = n;
    for (unsigned log2 = 13; log2 <= 18; log2++) {
        const size_t power = (size_t)1 << log2;
        const size_t around[] = { power - 77, power - 1, power, power + 1 };
        for (size_t i = 0; i < 4; i++)
            lengths[length_count++] = MMH_MIN(around[i], (size_t)ELEMENTS - i);
    }
    for (size_t t = 0; t < MMH_COUNT_OF(types); t++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++) {
            const unsigned unit = mmh_dtype_scalar_bytes(types[t]);
            const struct mmh_block_part part = { .elements = ELEMENTS,
                                                 .dimensions = 2,
                                                 .shape = { ELEMENTS / COLUMNS + 1, COLUMNS } };
            const struct mmh_block_hint hint = {
                .dtype = types[t], .parts = &part, .part_count = 1, .level = levels[l]
            };
            const struct mmh_block_plan *plan;
            const uint8_t *payload;
            size_t payload_bytes;
            uint64_t floor_bits;
            mmh_model *model = NULL;
            mmh_error err = { 0 };
            guard_init(&src, (size_t)ELEMENTS * unit);
            fill(src.at, ELEMENTS, types[t], contents[(t + l) % MMH_COUNT_OF(contents)], t + l);
            guard_freeze(&src);
            assert_ok(mmh_block_plan_make(&plan, &payload, &payload_bytes, &floor_bits, encoder,
                                          src.at, src.bytes, &hint, &err));
            if (payload_bytes)
                assert_ok(mmh_model_create(&model, payload, payload_bytes, ELEMENTS, NULL, &err));
            for (size_t i = 0; i < length_count; i++) {
                const struct mmh_chunk chunk = { .dtype = types[t], .bytes = lengths[i] * unit };
                struct guard in;
                size_t bytes;
                unsigned codec;
                assert_ok(mmh_chunk_encode(coded.at, &bytes, &codec, encoder, plan, src.at, &chunk,
                                           false, &err));
                guard_copy(&in, coded.at, bytes);
                guard_freeze(&in);
                if (codec == MMH_CODEC_FLOAT)
                    kinds[in.at[0]] += lengths[i] % MMH_GROUP && lengths[i] <= SHORT;
                for (size_t k = 0; k < kernel_count; k++)
                    for (unsigned stream = 0; stream < 2; stream++)
                        for (size_t o = 0; o < 2; o++, round++)
                            assert_decodes_at(&out, offsets[round % MMH_COUNT_OF(offsets)],
                                              decoders[k], &chunk, codec, &in, model, stream,
                                              src.at);
                round++; /* other kernels at each offset */
                guard_release(&in);
            }
            mmh_model_destroy(model);
            guard_release(&src);
        }
    assert_true(kinds[TIERS] && kinds[RANS]);
    for (size_t k = 0; k < kernel_count; k++)
        mmh_codec_workspace_destroy(decoders[k]);
    mmh_codec_workspace_destroy(encoder);
    guard_release(&coded);
    guard_release(&out);
}

/* Elements whose scales are spread over 17 octaves, or are all the same. */
static void fill_scales(uint8_t *data, size_t elements, mmh_dtype dtype, bool same, uint64_t seed)
{
    const struct mmh_float_type *type = mmh_float_type(dtype);
    unsigned unit = mmh_dtype_scalar_bytes(dtype);
    for (size_t i = 0; i < elements; i++) {
        uint64_t bits = guard_random(&seed);
        if (type) {
            unsigned shift = 8 * unit - 1 - type->exponent_bits;
            uint64_t mask = ((uint64_t)1 << type->exponent_bits) - 1;
            uint64_t exponent = mask / 2 + (same ? 0 : bits % 17 - 8);
            bits = (bits & ~(mask << shift)) | exponent << shift;
        } else if (same) {
            bits = bits & 1 ? 47 : -47; /* about the mean of random ones' logarithms */
        }
        for (unsigned b = 0; b < unit; b++)
            data[i * unit + b] = (uint8_t)(bits >> 8 * b);
    }
}

/* Tensors that are alike share tables, those that differ at the same scale do not; no shape that a
 * file may claim does harm. */
static void test_codec_joins_what_is_alike(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_F16, MMH_DTYPE_BF16, MMH_DTYPE_F32, MMH_DTYPE_F64,
                                       MMH_DTYPE_I8 };
    enum { ROWS = 100 };
    mmh_codec_workspace *workspace;
    (void)state;
    assert_ok(mmh_codec_workspace_create(&workspace, NULL, NULL));
    for (size_t t = 0; t < MMH_COUNT_OF(types); t++) {
        unsigned unit = mmh_dtype_scalar_bytes(types[t]);
        size_t elements = ROWS * COLUMNS, bytes = elements * unit;
        struct mmh_block_part part = { .elements = elements,
                                       .dimensions = 2,
                                       .shape = { ROWS, COLUMNS } };
        struct guard guard;
        uint8_t *data = guard_init(&guard, bytes);
        for (int level = 1; level <= 9; level++)
            for (unsigned alike = 0; alike < 4; alike++) {
                bool joins;
                fill_scales(data, elements, types[t], alike & 1, 1);
                assert_ok(
                    mmh_join_next(&joins, workspace, data, types[t], &part, level, true, NULL));
                assert_false(joins);
                fill_scales(data, elements, types[t], alike >> 1, 2);
                assert_ok(
                    mmh_join_next(&joins, workspace, data, types[t], &part, level, false, NULL));
                /* bytes by twos have tables of their own */
                assert_int_equal(
                    (alike & 1) == alike >> 1 && !mmh_plan_pairs(elements, level, types[t]), joins);
            }
        for (uint64_t n = 1; n < elements; n += n / 2 + 1) {
            static const uint64_t lengths[] = { 0, 1, 2, 3, 65, 256, 257, 1 << 20, UINT64_MAX };
            for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++)
                for (size_t j = 0; j < MMH_COUNT_OF(lengths); j++) {
                    bool joins;
                    struct mmh_block_part odd = { .elements = n,
                                                  .dimensions = 1 + (uint32_t)i % 3,
                                                  .shape = { lengths[i], lengths[j], lengths[j] } };
                    assert_ok(mmh_join_next(&joins, workspace, data + (elements - n) * unit,
                                            types[t], &odd, 5, (i + j) % 4 == 0, NULL));
                }
        }
        guard_release(&guard);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* A block of zeros between rows of many scales: shifted tiers beat one table, and the zeros apart
 * beat those. The model must be one that can be read. */
static void test_codec_zeros_apart_beat_shifted_tiers(void **state)
{
    enum { ROWS = 256, WIDTH = 256 };
    static uint16_t data[ROWS * WIDTH];
    struct mmh_block_part part = { .elements = ROWS * WIDTH,
                                   .dimensions = 2,
                                   .shape = { ROWS, WIDTH } };
    struct mmh_block_hint hint = {
        .dtype = MMH_DTYPE_F16, .parts = &part, .part_count = 1, .level = 4
    };
    mmh_codec_workspace *workspace;
    uint64_t seed = 1;
    (void)state;
    if (left_out(MMH_CODEC_ZSTD))
        skip(); /* it takes zstd */
    assert_ok(mmh_codec_workspace_create(&workspace, NULL, NULL));
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        data[i] = i / WIDTH % 8
                    ? (uint16_t)weight_bits(MMH_DTYPE_F16, &seed, i / WIDTH % 2 ? 0.001 : 1)
                    : 0;
    const struct mmh_block_plan *plan;
    const uint8_t *model;
    size_t model_bytes;
    uint64_t floor_bits;
    for (hint.level = 4; hint.level <= 9; hint.level++) {
        assert_ok(mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, workspace,
                                      (const uint8_t *)data, sizeof data, &hint, NULL));
        assert_true(plan->try_zero_run);
        assert_non_null(plan->model);
        assert_int_equal(MMH_MODEL_RANS, plan->model->kind);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* LZMA and zstd take what is opaque, at level 9 whichever is smaller. */
static void test_codec_packs_opaque_bytes(void **state)
{
    (void)state;
    if (left_out(MMH_CODEC_ZSTD))
        skip(); /* it takes zstd */
    mmh_codec_workspace *workspace = new_workspace();
    for (int level = 1; level <= 9; level++) {
        struct coded coded;
        encode_block(&coded, workspace, MMH_DTYPE_OPAQUE, 3000000, level % 2 ? TEXT : FEW, level, 0,
                     true);
        assert_true(coded.payload_bytes[0] < coded.bytes / 2);
        assert_decodes(&coded, workspace, false);
        release_block(&coded);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* What comes again in a chunk is found there, with other things between: it takes next to nothing. */
static void test_codec_finds_what_comes_again(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_F32, MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F64,
                                       MMH_DTYPE_I8 };
    static const int levels[] = { 5, 9 };
    (void)state;
    if (left_out(MMH_CODEC_ZSTD))
        skip(); /* it takes zstd */
    mmh_codec_workspace *workspace = new_workspace();
    for (size_t d = 0; d < MMH_COUNT_OF(types); d++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++) {
            struct coded plain, again;
            size_t elements = 150000;
            encode_block(&plain, workspace, types[d], elements, WEIGHTS, levels[l], 0, true);
            encode_block(&again, workspace, types[d], elements, AGAIN, levels[l], 0, true);
            assert_true(again.codec[0] == MMH_CODEC_ZSTD || again.codec[0] == MMH_CODEC_LZMA);
            assert_true(again.payload_bytes[0] < plain.payload_bytes[0] * 4 / 5);
            assert_decodes(&again, workspace, false);
            release_block(&plain);
            release_block(&again);
        }
    mmh_codec_workspace_destroy(workspace);
}

/* Rows that go on as those before them match once their bytes lie apart. */
static void test_codec_finds_rows_that_go_on(void **state)
{
    (void)state;
    if (left_out(MMH_CODEC_ZSTD))
        skip(); /* it takes zstd */
    mmh_codec_workspace *workspace = new_workspace();
    size_t bytes[10] = { 0 };
    for (int level = 4; level <= 5; level++) {
        struct coded coded;
        struct mmh_block_part part = { .elements = 150 * COLUMNS,
                                       .dimensions = 2,
                                       .shape = { 150, COLUMNS } };
        struct mmh_block_hint hint = {
            .dtype = MMH_DTYPE_F32, .parts = &part, .part_count = 1, .level = level
        };
        encode_hinted(&coded, workspace, part.elements, SLOW_ROWS, &hint, true);
        bytes[level] = coded.payload_bytes[0];
        assert_int_equal(level == 5 ? MMH_CODEC_SHUFFLE_ZSTD : MMH_CODEC_FLOAT, coded.codec[0]);
        assert_decodes(&coded, workspace, false);
        release_block(&coded);
    }
    assert_true(bytes[5] < bytes[4] * 9 / 10);
    mmh_codec_workspace_destroy(workspace);
}

/* Noise and weights show nothing that would be tried. */
static void test_codec_sees_no_repeats_in_noise(void **state)
{
    static const enum content contents[] = { RANDOM, WEIGHTS };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (size_t d = 0; d < MMH_COUNT_OF(dtypes); d++)
        for (size_t c = 0; c < MMH_COUNT_OF(contents); c++) {
            struct coded coded;
            if (!mmh_float_type(dtypes[d]) && mmh_dtype_scalar_bytes(dtypes[d]) != 1)
                continue;
            encode_block(&coded, workspace, dtypes[d], MMH_CHUNK_ELEMENTS, contents[c], 5, 0, true);
            struct mmh_encode_job job = {
                .workspace = workspace,
                .plan = &workspace->plan,
                .src = coded.data,
                .chunk = &coded.chunk[0],
                .elements = coded.elements,
                .element_bytes = workspace->plan.element_bytes,
                .bytes = coded.payload_bytes[0],
            };
            struct mmh_repeats seen;
            assert_ok(mmh_repeats_look(&seen, &job, NULL));
            assert_false(seen.values || seen.rows);
            release_block(&coded);
        }
    mmh_codec_workspace_destroy(workspace);
}

/* Every kernel set and every workspace, new or used, writes the same bytes. */
static void test_codec_bytes_are_the_same_everywhere(void **state)
{
    (void)state;
    mmh_codec_workspace *used = new_workspace();
    for (size_t d = 0; d < MMH_COUNT_OF(dtypes); d++)
        for (int level = 1; level <= 7; level++) {
            enum content content = (enum content)(((int)d + level) % CONTENT_COUNT);
            if (level == 5)
                content = WEIGHTS;
            size_t elements = level == 5 ? MMH_CHUNK_ELEMENTS + 1000 : 30000;
            struct coded first;
            mmh_workspace_set_kernels(used, mmh_kernels_at(0));
            encode_block(&first, used, dtypes[d], elements, content, level, 5, false);
            const struct mmh_kernels *kernels;
            for (size_t k = 0; (kernels = mmh_kernels_at(k)) != NULL; k++) {
                mmh_codec_workspace *fresh = new_workspace();
                struct coded again;
                mmh_workspace_set_kernels(fresh, kernels);
                encode_block(&again, fresh, dtypes[d], elements, content, level, 5, false);
                assert_int_equal(first.model_bytes, again.model_bytes);
                if (first.model_bytes)
                    assert_memory_equal(first.model, again.model, first.model_bytes);
                assert_int_equal(first.chunks, again.chunks);
                for (size_t c = 0; c < first.chunks; c++) {
                    assert_int_equal(first.codec[c], again.codec[c]);
                    assert_int_equal(first.payload_bytes[c], again.payload_bytes[c]);
                    assert_memory_equal(first.payload[c], again.payload[c], first.payload_bytes[c]);
                }
                assert_decodes(&first, fresh, true);
                release_block(&again);
                mmh_codec_workspace_destroy(fresh);
            }
            release_block(&first);
        }
    mmh_codec_workspace_destroy(used);
}

/* Weights get smaller with the level, and none grows. */
static void test_codec_levels_pay(void **state)
{
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    size_t bytes[10] = { 0 };
    for (int level = 1; level <= 9; level++) {
        struct coded coded;
        encode_block(&coded, workspace, MMH_DTYPE_BF16, MMH_CHUNK_ELEMENTS, WEIGHTS, level, 0,
                     true);
        bytes[level] = coded.payload_bytes[0] + coded.model_bytes;
        release_block(&coded);
    }
    assert_true(bytes[1] < MMH_CHUNK_ELEMENTS * 2 * 3 / 4);
    assert_true(bytes[3] <= bytes[2] && bytes[2] <= bytes[1]);
    assert_true(bytes[4] < bytes[2]);
    assert_true(bytes[5] < bytes[4]);
    assert_true(bytes[9] <= bytes[5]);
    mmh_codec_workspace_destroy(workspace);
}

/* Elements of which `percent` are zero, here and there. */
static void thin_out(uint8_t *data, size_t elements, unsigned unit, unsigned percent)
{
    uint64_t seed = percent;
    for (size_t i = 0; i < elements; i++)
        if (guard_random(&seed) % 100 < percent)
            memset(data + i * unit, 0, unit);
}

/* Zeros are left out at every width and length, and a mask without a pattern costs a slow level
 * no more than a quick one. */
static void test_codec_leaves_zeros_out(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_U8, MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32,
                                       MMH_DTYPE_F64 };
    static const unsigned percents[] = { 40, 60, 90, 99 };
    static const size_t lengths[] = { 63, 64, 65, 200, 4095, 30000 };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (size_t t = 0; t < MMH_COUNT_OF(types); t++)
        for (size_t p = 0; p < MMH_COUNT_OF(percents); p++)
            for (size_t l = 0; l < MMH_COUNT_OF(lengths); l++) {
                unsigned unit = mmh_dtype_scalar_bytes(types[t]);
                size_t n = lengths[l], bytes = n * unit, sizes[2] = { 0 };
                uint8_t *data = malloc(bytes), *room = malloc(mmh_chunk_bound(bytes));
                struct mmh_chunk chunk = { .dtype = types[t], .bytes = bytes };
                struct mmh_block_plan plan = { .dtype = types[t],
                                               .element_bytes = unit,
                                               .elements = n,
                                               .is_float = unit > 1,
                                               .kernels = workspace->kernels };
                fill(data, n, types[t], WEIGHTS, 1);
                thin_out(data, n, unit, percents[p]);
                for (int slow = 0; slow < 2; slow++) {
                    plan.level = slow ? 5 : 1;
                    plan.zstd_level = slow ? 12 : 1;
                    struct guard dst;
                    struct mmh_encode_job job = { .workspace = workspace,
                                                  .plan = &plan,
                                                  .src = data,
                                                  .chunk = &chunk,
                                                  .elements = n,
                                                  .element_bytes = unit,
                                                  .dst = room,
                                                  .room = mmh_chunk_bound(bytes),
                                                  .limit = mmh_chunk_bound(bytes) };
                    assert_ok(mmh_codec_zero_run.encode(&job, NULL));
                    assert_int_not_equal(job.bytes, MMH_NO_FIT);
                    sizes[slow] = job.bytes;
                    guard_init(&dst, bytes);
                    assert_ok(mmh_chunk_decode(dst.at, workspace, &chunk, MMH_CODEC_ZERO_RUN, room,
                                               job.bytes, NULL, false, NULL));
                    assert_memory_equal(dst.at, data, bytes);
                    guard_release(&dst);
                }
                assert_true(sizes[1] <= sizes[0] + sizes[0] / 500);
                free(data);
                free(room);
            }
    mmh_codec_workspace_destroy(workspace);
}

/* A float chunk is not tried beside zero-run where it cannot win: what is said to be the least of
 * it is no more than what it takes. */
static void test_codec_least_of_floats_is_a_bound(void **state)
{
    static const mmh_dtype types[] = { MMH_DTYPE_BF16, MMH_DTYPE_F16, MMH_DTYPE_F32,
                                       MMH_DTYPE_F64 };
    static const enum content contents[] = { WEIGHTS, ODD,      CONSTANT,   FEW,
                                             CLEAN,   POSITIVE, CLEAN_ROWS, RANDOM };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    bool told = false;
    for (size_t t = 0; t < MMH_COUNT_OF(types); t++)
        for (size_t c = 0; c < MMH_COUNT_OF(contents); c++)
            for (int level = 1; level <= 9; level += 2) {
                unsigned unit = mmh_dtype_scalar_bytes(types[t]);
                size_t n = 20000, bytes = n * unit, model_bytes;
                uint8_t *data = malloc(bytes), *room = malloc(2 * mmh_chunk_bound(bytes));
                const struct mmh_block_plan *plan;
                const uint8_t *model;
                uint64_t floor_bits;
                struct mmh_block_hint hint = { .dtype = types[t], .level = level };
                struct mmh_chunk chunk = { .dtype = types[t], .bytes = bytes };
                fill(data, n, types[t], contents[c], 3);
                thin_out(data, n, unit, 80);
                assert_ok(mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, workspace,
                                              data, bytes, &hint, NULL));
                struct mmh_encode_job job = { .workspace = workspace,
                                              .plan = plan,
                                              .src = data,
                                              .chunk = &chunk,
                                              .elements = n,
                                              .element_bytes = unit,
                                              .dst = room,
                                              .room = 2 * mmh_chunk_bound(bytes),
                                              .limit = 2 * mmh_chunk_bound(bytes),
                                              .bytes = MMH_NO_FIT };
                struct mmh_encode_job whole = job;
                assert_ok(mmh_codec_zero_run.encode(&job, NULL));
                assert_ok(mmh_codec_float.encode(&whole, NULL));
                assert_true(whole.bytes >= job.float_least);
                told = told || job.float_least > job.bytes;
                free(data);
                free(room);
            }
    assert_true(told);
    mmh_codec_workspace_destroy(workspace);
}

/* Integer logarithms are those of mathematics, near enough, and monotonic. */
static void test_codec_cost_is_a_logarithm(void **state)
{
    (void)state;
    assert_int_equal(mmh_cost_log2(1), 0);
    for (unsigned b = 0; b < 32; b++)
        assert_int_equal(mmh_cost_log2((uint32_t)1 << b), b << 16);
    assert_int_equal(mmh_cost_log2(3), 103872);    /* 1.5849625 * 65536 */
    assert_int_equal(mmh_cost_log2(1000), 653118); /* 9.9657843 * 65536 */
    for (uint32_t x = 1; x < 100000; x++)
        assert_true(mmh_cost_log2(x + 1) >= mmh_cost_log2(x));
    for (uint32_t x = 1 << 20; x < UINT32_MAX - (1 << 20); x += 1 << 20)
        assert_true(mmh_cost_log2(x + (1 << 20)) >= mmh_cost_log2(x));
}

/* Frequencies add up, and none is the whole table, for any counts. */
static void test_model_frequencies_add_up(void **state)
{
    uint64_t seed = 7;
    (void)state;
    for (int round = 0; round < 3000; round++) {
        uint32_t counts[256] = { 0 };
        unsigned symbols = (unsigned)(guard_random(&seed) % 257);
        for (unsigned i = 0; i < symbols; i++)
            counts[guard_random(&seed) % 256] = (uint32_t)(guard_random(&seed) >>
                                                           (40 + guard_random(&seed) % 24));
        unsigned bits = 8 + (unsigned)(guard_random(&seed) % 5);
        unsigned patch = round % 2 ? 48 : 0;
        uint16_t frequency[256];
        if (bits == 8 && !patch)
            bits = 9; /* every symbol must have a slot */
        mmh_model_normalise(frequency, counts, bits, patch);
        uint32_t sum = 0;
        for (unsigned s = 0; s < 256; s++) {
            assert_true(frequency[s] < 1u << bits);
            assert_true(patch || frequency[s] || !counts[s]);
            sum += frequency[s];
        }
        assert_int_equal(sum, 1u << bits);
    }
}

/* Sixteen values for each bucket, anyhow, or those of `same`. */
static void make_buckets(uint8_t buckets[256], const uint8_t *same, uint64_t *seed)
{
    if (same) {
        memcpy(buckets, same, 256);
        return;
    }
    for (unsigned b = 0; b < 256; b++)
        buckets[b] = (uint8_t)(b >> 4);
    for (unsigned b = 255; b; b--) {
        unsigned other = (unsigned)(guard_random(seed) % (b + 1));
        uint8_t bucket = buckets[b];
        buckets[b] = buckets[other];
        buckets[other] = bucket;
    }
}

/* A model reads back as it was written. */
static void test_model_round_trip(void **state)
{
    uint64_t seed = 99;
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (int round = 0; round < 300; round++) {
        unsigned tables = 1 + (unsigned)(guard_random(&seed) % 33);
        unsigned bits = 9 + (unsigned)(guard_random(&seed) % 4);
        uint64_t columns = 1 + guard_random(&seed) % 300;
        uint64_t phase = guard_random(&seed) % columns, elements = 1 + guard_random(&seed) % 9999;
        uint64_t rows = (phase + elements + columns - 1) / columns;
        uint16_t frequency[64][256];
        int8_t *column = calloc(columns + MMH_KERNEL_SLACK, 1);
        int8_t *row = calloc(rows + MMH_KERNEL_SLACK, 1);
        for (uint64_t i = 0; i < columns; i++)
            column[i] = (int8_t)(guard_random(&seed) % 128 - 64);
        for (uint64_t i = 0; i < rows; i++)
            row[i] = (int8_t)(guard_random(&seed) % (1 + (uint64_t)round % 20) - 3);
        struct mmh_view view = { .elements = elements,
                                 .columns = columns,
                                 .phase = phase,
                                 .rows = rows,
                                 .column = round % 2 ? column : NULL,
                                 .row = round % 3 ? row : NULL };
        struct mmh_model_draft draft = { .kind = round % 5 ? MMH_MODEL_RANS : MMH_MODEL_SHIFTS,
                                         .bits = bits,
                                         .table_count = tables,
                                         .elements = elements,
                                         .views = &view,
                                         .view_count = 1,
                                         .frequency = frequency };
        uint8_t buckets[MMH_PAIR_TABLES_MAX][256];
        if (round % 3 == 1 && draft.kind == MMH_MODEL_RANS && tables <= MMH_PAIR_TABLES_MAX) {
            draft.kind = MMH_MODEL_PAIRS;
            draft.buckets = (const uint8_t(*)[256])buckets;
            for (unsigned t = 0; t < tables; t++)
                make_buckets(buckets[t], t && round % 2 ? buckets[t - 1] : NULL, &seed);
        }
        if (draft.kind == MMH_MODEL_SHIFTS)
            draft.bits = draft.table_count = tables = 0;
        unsigned bound = 0;
        for (unsigned t = 0; t < tables; t++) {
            uint32_t counts[256] = { 0 };
            for (unsigned i = 0; i < 80; i++)
                counts[guard_random(&seed) % 256] = (uint32_t)(guard_random(&seed) % 1000);
            mmh_model_normalise(frequency[t], counts, bits, 0);
            bound += 1 + (unsigned)(guard_random(&seed) % 2 && bound + 2 * (tables - t) < 62);
            if (t)
                draft.bounds[t - 1] = (uint8_t)bound;
        }
        const uint8_t *payload;
        size_t payload_bytes = mmh_model_write(workspace, &payload, &draft);
        mmh_model *model;
        mmh_error err = { 0 };
        struct guard guard;
        guard_copy(&guard, payload, payload_bytes);
        uint64_t block = draft.kind == MMH_MODEL_PAIRS ? 2 * elements + 1 : elements;
        assert_ok(mmh_model_create(&model, guard.at, payload_bytes, block, NULL, &err));
        assert_int_equal(model->table_count, tables);
        for (unsigned t = 0; t < tables && draft.kind == MMH_MODEL_PAIRS; t++)
            for (unsigned b = 0; b < 256; b++) {
                assert_int_equal(model->pair_code[t][b] >> 4, buckets[t][b]);
                assert_int_equal(model->pair_values[t][model->pair_code[t][b]], b);
            }
        assert_int_equal(model->view_count, 1);
        if (view.column)
            assert_memory_equal(model->views[0].column, column, columns);
        if (view.row)
            assert_memory_equal(model->views[0].row, row, rows);
        for (unsigned t = 0; t < tables; t++) {
            uint32_t start = 0;
            for (unsigned s = 0; s < 256; s++)
                for (unsigned i = 0; i < frequency[t][s]; i++, start++)
                    assert_int_equal(model->tables[((size_t)t << bits) + start],
                                     s << 24 | (uint32_t)frequency[t][s] << 12 | i);
        }
        uint8_t map[MMH_CLASS_BINS];
        mmh_model_map(map, draft.bounds, tables);
        assert_memory_equal(map, model->map, sizeof map);
        mmh_model_destroy(model);

        /* Cut anywhere, or one byte longer, it is refused. */
        uint8_t *longer = calloc(payload_bytes + 1, 1);
        assert_non_null(longer);
        memcpy(longer, payload, payload_bytes);
        assert_int_equal(MMH_E_CORRUPT,
                         mmh_model_create(&model, longer, payload_bytes + 1, block, NULL, &err));
        for (size_t n = 0; n < payload_bytes; n += 1 + payload_bytes / 50) {
            struct guard cut;
            guard_copy(&cut, payload, n);
            assert_int_equal(MMH_E_CORRUPT,
                             mmh_model_create(&model, cut.at, n, elements, NULL, NULL));
            assert_null(model);
            guard_release(&cut);
        }
        free(longer);
        guard_release(&guard);
        free(column);
        free(row);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* A codec of the table, in turn. */
static unsigned any_codec(unsigned n)
{
    while (!mmh_codec_at(n % MMH_CODEC_COUNT)) /* models code no data */
        n++;
    return n % MMH_CODEC_COUNT;
}

/* Whatever a payload holds, nothing outside the buffers is touched, and it fails or decodes. */
static void assert_harmless(const struct coded *coded, const mmh_model *model, size_t c,
                            unsigned codec, const uint8_t *payload, size_t bytes,
                            mmh_codec_workspace *workspace)
{
    struct guard src, dst;
    mmh_error err = { 0 };
    guard_copy(&src, payload, bytes);
    guard_freeze(&src);
    guard_init(&dst, coded->chunk[c].bytes);
    mmh_status status = mmh_chunk_decode(dst.at, workspace, &coded->chunk[c], codec, src.at, bytes,
                                         model, bytes % 2, &err);
    const bool without_zstd = left_out(MMH_CODEC_ZSTD) && status == MMH_E_UNSUPPORTED;
    if (status != MMH_OK && status != MMH_E_CORRUPT && !without_zstd)
        fail_msg("status %d: %s", (int)status, err.message);
    assert_true((status != MMH_OK) == (err.message[0] != 0));
    guard_release(&src);
    guard_release(&dst);
}

/* Every codec returns every record, of each block type, at the awkward lengths. */
static void test_codec_returns_every_record(void **state)
{
    static const size_t lengths[] = { 0, 1, 2, 7, 63, 129, 1023, 1024, 1025, 8193, 20000 };
    static const int levels[] = { 1, 4, 5, 6 };
    bool seen[MMH_CODEC_COUNT] = { false };
    unsigned types = 0;
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (unsigned d = 0; d < MMH_DTYPE_COUNT; d++)
        for (size_t l = 0; mmh_dtype_fields((mmh_dtype)d) && l < MMH_COUNT_OF(levels); l++) {
            types += !l;
            for (int content = 0; content < CONTENT_COUNT; content++)
                for (size_t i = 0; i < MMH_COUNT_OF(lengths); i++) {
                    struct coded coded;
                    if ((i + l + d + (size_t)content) % (lengths[i] > 2000 ? 29 : 5) ||
                        lengths[i] * record_bytes_of((mmh_dtype)d) >
                            CHUNKS_MAX * mmh_records_chunk_bytes((mmh_dtype)d))
                        continue; /* in turn */
                    encode_records(&coded, workspace, (mmh_dtype)d, lengths[i],
                                   (enum content)content, levels[l], i % 2 ? 0 : 77, i % 2);
                    for (size_t c = 0; c < coded.chunks; c++)
                        seen[coded.codec[c]] = true;
                    assert_decodes(&coded, workspace, i % 2 == 0);
                    release_block(&coded);
                }
        }
    assert_int_equal(types, MMH_DTYPE_COUNT - MMH_DTYPE_Q4_0);
    assert_true(seen[MMH_CODEC_FIELDS] && seen[MMH_CODEC_STORE] && seen[MMH_CODEC_CONSTANT]);
    assert_true(seen[MMH_CODEC_ZSTD] || left_out(MMH_CODEC_ZSTD)); /* matches between fields */
    mmh_codec_workspace_destroy(workspace);
}

/* An awkward mixture, by number. */
static void any_mixture(struct mixture *mixture, unsigned number)
{
    mixture->run_count = 0;
    mixture->behind = number % 2 ? 0 : 19;
    switch (number) {
    case 0: /* elements alone but for what is behind them */
        add_runs(mixture, 1, 0, 700);
        break;
    case 1: /* nothing but elements */
        add_runs(mixture, 1, 0, 700);
        break;
    case 2: /* tensors and their headers, none before the first */
        add_runs(mixture, 1, 0, 900);
        add_runs(mixture, 30, 130, 300);
        break;
    case 3:
        add_runs(mixture, 9, 40, 1000);
        break;
    case 4: /* one element in each run */
        add_runs(mixture, 500, 3, 1);
        break;
    case 5:
        add_runs(mixture, RUNS_MAX, 2, 2);
        break;
    case 6: /* mostly other bytes */
        add_runs(mixture, 2, 5000, 20);
        mixture->behind = 30000;
        break;
    case 7: /* runs without other bytes between them */
        add_runs(mixture, 20, 0, 200);
        break;
    case 8: /* one element */
        add_runs(mixture, 1, 0, 1);
        break;
    case 9: /* as many as may be */
        add_runs(mixture, 1, 100, MMH_CHUNK_ELEMENTS - 1000);
        add_runs(mixture, 1, 100, 1000);
        break;
    default:
        fail_msg("no mixture %u", number);
    }
}

enum { MIXTURES = 10 };

/* Elements among other bytes come back, of every type and byte order, however their runs lie. */
static void test_codec_returns_every_mixture(void **state)
{
    static const int levels[] = { 1, 5, 9 };
    static struct mixture mixture;
    bool seen[MMH_CODEC_COUNT] = { false }, within[MMH_CODEC_COUNT] = { false };
    bool rest[MMH_CODEC_COUNT] = { false };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace(), *other = new_workspace();
    for (size_t d = 1; d < MMH_COUNT_OF(dtypes); d++)
        for (size_t l = 0; l < MMH_COUNT_OF(levels); l++)
            for (unsigned content = 0; content < CONTENT_COUNT; content++)
                for (unsigned number = 0; number < MIXTURES; number++) {
                    bool large = number == MIXTURES - 1;
                    if ((number + l + d + content) % (large ? 67 : 5))
                        continue; /* in turn */
                    struct coded coded;
                    mixture.dtype = dtypes[d];
                    mixture.big_endian = (l + content) % 2;
                    any_mixture(&mixture, number);
                    encode_mixture(&coded, workspace, &mixture, (enum content)content, levels[l],
                                   content % 3 == 0);
                    seen[coded.codec[0]] = true;
                    if (coded.codec[0] == MMH_CODEC_MIXED) {
                        within[coded.payload[0][0]] = true;
                        rest[coded.payload[0][1]] = true;
                    }
                    assert_int_equal(coded.chunks, 1);
                    assert_decodes(&coded, number % 2 ? workspace : other, content % 2);
                    release_block(&coded);
                }
    assert_true(seen[MMH_CODEC_MIXED] && (seen[MMH_CODEC_ZSTD] || left_out(MMH_CODEC_ZSTD)));
    for (unsigned id = 0; id < MMH_CODEC_FIELDS; id++)
        if (id != MMH_CODEC_MODEL && id != MMH_CODEC_ZSTD && id != MMH_CODEC_LZMA && !within[id] &&
            !left_out(id) && !(id == MMH_CODEC_STORE && left_out(MMH_CODEC_ZSTD)))
            fail_msg("codec %s never coded the elements of a mixture", mmh_codec_name(id));
    assert_true(rest[MMH_CODEC_STORE]);
    assert_true(rest[MMH_CODEC_ZSTD] || left_out(MMH_CODEC_ZSTD));
    assert_true(rest[MMH_CODEC_LZMA] || left_out(MMH_CODEC_LZMA));
    mmh_codec_workspace_destroy(workspace);
    mmh_codec_workspace_destroy(other);
}

/* Weights with headers between them take little more than the weights alone. */
static void test_codec_sees_weights_between_headers(void **state)
{
    static struct mixture mixture, alone;
    struct coded mixed, flat;
    (void)state;
    if (left_out(MMH_CODEC_ZSTD))
        skip(); /* it takes the headers */
    mmh_codec_workspace *workspace = new_workspace();
    mixture.dtype = alone.dtype = MMH_DTYPE_BF16;
    mixture.run_count = alone.run_count = 0;
    add_runs(&mixture, 60, 130, 500);
    add_runs(&alone, 60, 0, 500);
    encode_mixture(&mixed, workspace, &mixture, WEIGHTS, 5, true);
    encode_mixture(&flat, workspace, &alone, WEIGHTS, 5, true);
    assert_int_equal(mixed.codec[0], MMH_CODEC_MIXED);
    size_t others = mixed.bytes - flat.bytes;
    assert_true(mixed.payload_bytes[0] + mixed.model_bytes <
                flat.payload_bytes[0] + flat.model_bytes + others);
    release_block(&mixed);
    release_block(&flat);
    mmh_codec_workspace_destroy(workspace);
}

/* Runs that are no part of the block are the caller's mistake. */
static void test_codec_refuses_runs_that_do_not_fit(void **state)
{
    static const struct {
        struct mmh_mixed_run runs[2];
        size_t run_count, bytes;
    } cases[] = {
        { { { 0, 0 } }, 1, 100 },          { { { 0, 26 } }, 1, 103 },
        { { { 4, 25 } }, 1, 103 },         { { { 1, 10 }, { 0, 0 } }, 2, 100 },
        { { { UINT32_MAX, 1 } }, 1, 100 }, { { { 0, UINT32_MAX }, { 0, UINT32_MAX } }, 2, 100 },
        { { { 0, 1 } }, 0, 100 },
    };
    static const uint8_t data[128];
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        const struct mmh_block_plan *plan;
        const uint8_t *model;
        size_t model_bytes;
        uint64_t floor_bits;
        const struct mmh_block_hint hint = { .mixed = MMH_DTYPE_F32,
                                             .runs = cases[i].runs,
                                             .run_count = cases[i].run_count,
                                             .level = 5 };
        assert_int_equal(mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, workspace,
                                             data, cases[i].bytes, &hint, NULL),
                         MMH_E_USAGE);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* Fields are worth it where bits of one weight lie apart: no coder of bytes sees how they belong. */
static void test_codec_sees_weights_whose_bits_lie_apart(void **state)
{
    enum { RECORDS = 1024, WEIGHTS_OF = 256, LOW = 128, Q6_K_BYTES = 210 };
    static uint8_t data[RECORDS * Q6_K_BYTES], dst[sizeof data + MMH_CHUNK_BOUND_EXTRA];
    mmh_codec_workspace *workspace = new_workspace();
    uint64_t seed = 7;
    (void)state;
    for (size_t r = 0; r < RECORDS; r++)
        for (size_t i = 0; i < WEIGHTS_OF; i++) { /* six bits, of which few values are likely */
            uint8_t *record = data + r * Q6_K_BYTES;
            unsigned q = 24 + (unsigned)(guard_random(&seed) % 16);
            record[i / 128 * 64 + i % 64] |= (uint8_t)((q & 15) << (i % 128 / 64 * 4));
            record[LOW + i / 128 * 32 + i % 32] |= (uint8_t)(q >> 4 << (i % 128 / 32 * 2));
        }
    const struct mmh_block_plan *plan;
    const uint8_t *model;
    size_t model_bytes, bytes;
    uint64_t floor_bits;
    unsigned codec;
    struct mmh_block_hint hint = { .records = MMH_DTYPE_Q6_K, .level = 5 };
    const struct mmh_chunk chunk = { .bytes = sizeof data };
    assert_ok(mmh_block_plan_make(&plan, &model, &model_bytes, &floor_bits, workspace, data,
                                  sizeof data, &hint, NULL));
    assert_ok(mmh_chunk_encode(dst, &bytes, &codec, workspace, plan, data, &chunk, true, NULL));
    assert_int_equal(codec, MMH_CODEC_FIELDS);
    assert_true(bytes + model_bytes < sizeof data * 7 / 10); /* the weights' entropy is 2/3 */
    mmh_codec_workspace_destroy(workspace);
}

static void test_codec_survives_hostile_payloads(void **state)
{
    static const struct {
        mmh_dtype dtype;
        enum content content;
        int level;
    } cases[] = {
        { MMH_DTYPE_BF16, WEIGHTS, 1 },   { MMH_DTYPE_BF16, ODD, 2 },
        { MMH_DTYPE_BF16, WEIGHTS, 3 },   { MMH_DTYPE_BF16, WEIGHTS, 4 },
        { MMH_DTYPE_F16, WEIGHTS, 5 },    { MMH_DTYPE_F32, CLEAN_ROWS, 5 },
        { MMH_DTYPE_F64, CLEAN_ROWS, 5 }, { MMH_DTYPE_F64, ODD, 1 },
        { MMH_DTYPE_F32, SPARSE, 5 },     { MMH_DTYPE_F32, STRIPES, 1 },
        { MMH_DTYPE_I8, WEIGHTS, 5 },     { MMH_DTYPE_I8, BELL, 5 },
        { MMH_DTYPE_U8, STRIPES, 5 },     { MMH_DTYPE_I32, FEW, 5 },
        { MMH_DTYPE_OPAQUE, TEXT, 9 },    { MMH_DTYPE_BF16, CONSTANT, 5 },
        { MMH_DTYPE_F32, POSITIVE, 6 },   { MMH_DTYPE_Q4_K, BELL, 5 },
        { MMH_DTYPE_Q5_0, BELL, 6 },      { MMH_DTYPE_Q6_K, SPARSE, 5 },
        { MMH_DTYPE_Q8_0, WEIGHTS, 5 },
    };
    enum { RECORDS_SHARE = 32 };
    static const size_t lengths[] = { 70, 3000, 20011 };
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    uint64_t seed = 4711;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++)
        for (size_t l = 0; l < MMH_COUNT_OF(lengths); l++)
            for (size_t k = 0; mmh_kernels_at(k); k++) {
                struct coded coded;
                mmh_workspace_set_kernels(workspace, mmh_kernels_at(k));
                if (mmh_dtype_fields(cases[i].dtype))
                    encode_records(&coded, workspace, cases[i].dtype, lengths[l] / RECORDS_SHARE,
                                   cases[i].content, cases[i].level, 3, true);
                else
                    encode_block(&coded, workspace, cases[i].dtype, lengths[l], cases[i].content,
                                 cases[i].level, 3, true);
                mmh_model *model = NULL;
                if (coded.model_bytes)
                    assert_ok(mmh_model_create(&model, coded.model, coded.model_bytes,
                                               coded.elements, NULL, NULL));
                size_t bytes = coded.payload_bytes[0];
                for (size_t n = 0; n < bytes; n += 1 + bytes / 40)
                    assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0], n,
                                    workspace);
                uint8_t *bad = malloc(bytes + 64);
                for (int round = 0; round < 200; round++) {
                    memcpy(bad, coded.payload[0], bytes);
                    memset(bad + bytes, round, 64);
                    size_t near = round % 3 ? MMH_MIN(bytes, 64u) : bytes;
                    for (int flips = 1 + round % 4; flips--;)
                        bad[guard_random(&seed) % near] = (uint8_t)guard_random(&seed);
                    assert_harmless(&coded, model, 0, coded.codec[0], bad,
                                    round % 7 ? bytes : bytes + (size_t)round % 64, workspace);
                    assert_harmless(&coded, round % 2 ? model : NULL, 0, any_codec((unsigned)round),
                                    bad, bytes, workspace);
                }
                /* Hostile models: what reads is used. */
                for (int round = 0; round < 200 && coded.model_bytes; round++) {
                    uint8_t *worse = copy_of(coded.model, coded.model_bytes);
                    size_t near = round % 2 ? MMH_MIN(coded.model_bytes, 24u) : coded.model_bytes;
                    for (int flips = 1 + round % 3; flips--;)
                        worse[guard_random(&seed) % near] ^= (uint8_t)guard_random(&seed);
                    struct guard guard;
                    mmh_model *other = NULL;
                    guard_copy(&guard, worse, coded.model_bytes);
                    if (!mmh_model_create(&other, guard.at, coded.model_bytes, coded.elements, NULL,
                                          NULL))
                        assert_harmless(&coded, other, 0, coded.codec[0], coded.payload[0], bytes,
                                        workspace);
                    mmh_model_destroy(other);
                    guard_release(&guard);
                    free(worse);
                }
                free(bad);
                mmh_model_destroy(model);
                release_block(&coded);
            }
    mmh_codec_workspace_destroy(workspace);
}

/* Every byte of a mixed chunk and of its model damaged, cut off or followed by more. */
static void test_codec_survives_hostile_mixtures(void **state)
{
    static const struct {
        mmh_dtype dtype;
        enum content content;
        int level;
    } cases[] = {
        { MMH_DTYPE_BF16, WEIGHTS, 1 }, { MMH_DTYPE_F32, CLEAN_ROWS, 5 }, { MMH_DTYPE_I8, BELL, 9 },
        { MMH_DTYPE_U8, SPARSE, 5 },    { MMH_DTYPE_F16, ODD, 9 },        { MMH_DTYPE_I64, FEW, 5 },
        { MMH_DTYPE_F64, CONSTANT, 1 }, { MMH_DTYPE_U16, RANDOM, 5 },
    };
    static const uint8_t flips[] = { 0xff, 0x01, 0x80 };
    static struct mixture mixture;
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        struct coded coded;
        mmh_model *model = NULL;
        mixture.dtype = cases[i].dtype;
        mixture.big_endian = i % 2;
        mixture.run_count = 0;
        mixture.behind = i % 3 ? 40 : 0;
        add_runs(&mixture, 3, i % 4 ? 50 : 0, 200);
        encode_mixture(&coded, workspace, &mixture, cases[i].content, cases[i].level, true);
        assert_ok(
            mmh_model_create(&model, coded.model, coded.model_bytes, coded.elements, NULL, NULL));
        size_t bytes = coded.payload_bytes[0];
        uint8_t *bad = malloc(bytes + 16);
        assert_non_null(bad);
        memset(bad + bytes, 0, 16);
        for (size_t at = 0; at < bytes; at++)
            for (size_t f = 0; f < MMH_COUNT_OF(flips); f++) {
                memcpy(bad, coded.payload[0], bytes);
                bad[at] ^= flips[f];
                assert_harmless(&coded, model, 0, coded.codec[0], bad, bytes, workspace);
            }
        for (size_t n = 0; n <= bytes + 16; n++) {
            memcpy(bad, coded.payload[0], bytes);
            assert_harmless(&coded, model, 0, coded.codec[0], bad, n, workspace);
        }
        for (unsigned id = 0; id < MMH_CODEC_COUNT; id++)
            assert_harmless(&coded, model, 0, any_codec(id), coded.payload[0], bytes, workspace);
        struct mmh_chunk right = coded.chunk[0];
        for (unsigned n = 1; n < 4; n++) { /* not all of its block */
            coded.chunk[0].first_element = n;
            assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0], bytes, workspace);
            coded.chunk[0] = right;
            coded.chunk[0].bytes -= n;
            assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0], bytes, workspace);
            coded.chunk[0] = right;
        }
        for (size_t n = 0; n < coded.model_bytes * (MMH_COUNT_OF(flips) + 1); n++) {
            size_t at = n % coded.model_bytes, f = n / coded.model_bytes;
            bool cut = f == MMH_COUNT_OF(flips);
            struct guard worse;
            mmh_model *other = NULL;
            guard_copy(&worse, coded.model, cut ? at : coded.model_bytes);
            if (!cut)
                worse.at[at] ^= flips[f];
            mmh_status status = mmh_model_create(&other, worse.at, worse.bytes, coded.elements,
                                                 NULL, NULL);
            if (!status)
                assert_harmless(&coded, other, 0, coded.codec[0], coded.payload[0], bytes,
                                workspace);
            else
                assert_true(status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED);
            mmh_model_destroy(other);
            guard_release(&worse);
        }
        free(bad);
        mmh_model_destroy(model);
        release_block(&coded);
    }
    mmh_codec_workspace_destroy(workspace);
}

/* A chunk that says it lies elsewhere in its block, or is of another size or type, is refused or
 * decodes to something; it does no harm. */
static void test_codec_survives_wrong_chunks(void **state)
{
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    for (int level = 3; level <= 5; level++) {
        struct coded coded;
        encode_block(&coded, workspace, MMH_DTYPE_BF16, 30000, WEIGHTS, level, 0, true);
        mmh_model *model = NULL;
        if (coded.model_bytes)
            assert_ok(mmh_model_create(&model, coded.model, coded.model_bytes, coded.elements, NULL,
                                       NULL));
        static const uint64_t firsts[] = { 1,          2,
                                           30000,      MMH_CHUNK_ELEMENTS,
                                           UINT64_MAX, UINT64_MAX - 100 };
        for (size_t i = 0; i < MMH_COUNT_OF(firsts); i++) {
            coded.chunk[0].first_element = firsts[i];
            assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0],
                            coded.payload_bytes[0], workspace);
        }
        coded.chunk[0].first_element = 0;
        for (size_t d = 0; d < MMH_COUNT_OF(dtypes); d++) {
            coded.chunk[0].dtype = dtypes[d];
            assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0],
                            coded.payload_bytes[0], workspace);
        }
        coded.chunk[0].dtype = MMH_DTYPE_BF16;
        static const size_t sizes[] = { 0, 1, 2, 59998, 60002, 1 << 21 };
        for (size_t i = 0; i < MMH_COUNT_OF(sizes); i++) {
            coded.chunk[0].bytes = sizes[i];
            assert_harmless(&coded, model, 0, coded.codec[0], coded.payload[0],
                            coded.payload_bytes[0], workspace);
        }
        mmh_model_destroy(model);
        release_block(&coded);
    }
    mmh_codec_workspace_destroy(workspace);
}

static void test_codec_refuses_unknown_codecs(void **state)
{
    (void)state;
    mmh_codec_workspace *workspace = new_workspace();
    struct mmh_chunk chunk = { .dtype = MMH_DTYPE_U8, .bytes = 1 };
    uint8_t byte = 0;
    static const unsigned ids[] = { MMH_CODEC_MODEL, MMH_CODEC_COUNT, 127, 128, 255, 70000 };
    for (size_t i = 0; i < MMH_COUNT_OF(ids); i++) {
        mmh_error err = { 0 };
        assert_int_equal(MMH_E_UNSUPPORTED, mmh_chunk_decode(&byte, workspace, &chunk, ids[i],
                                                             &byte, 1, NULL, false, &err));
        assert_string_not_equal(err.message, "");
    }
    assert_string_equal(mmh_codec_name(MMH_CODEC_MODEL), "model");
    assert_string_equal(mmh_codec_name(MMH_CODEC_FLOAT), "float");
    assert_null(mmh_codec_name(MMH_CODEC_COUNT));
    mmh_codec_workspace_destroy(workspace);
}

#if defined(MMH_CORE_ONLY)
/* A build without libraries says so of chunks that need them. */
static void test_codec_says_what_it_lacks(void **state)
{
    static const uint8_t payload[16] = { 0 };
    mmh_codec_workspace *workspace;
    unsigned lacking = 0;
    (void)state;
    assert_ok(mmh_codec_workspace_create(&workspace, NULL, NULL));
    for (unsigned id = 0; id < MMH_CODEC_COUNT; id++) {
        const struct mmh_chunk chunk = { .dtype = MMH_DTYPE_U16, .bytes = 64 };
        uint8_t dst[64];
        if (!left_out(id))
            continue;
        lacking++;
        assert_int_equal(mmh_chunk_decode(dst, workspace, &chunk, id, payload, sizeof payload, NULL,
                                          false, NULL),
                         MMH_E_UNSUPPORTED);
    }
    assert_int_equal(lacking, 3);
    mmh_codec_workspace_destroy(workspace);
}
#endif

/* ---- memory that runs out ---- */

struct failing {
    mmh_allocator allocator;
    uint64_t left; /* allocations until all fail */
    int64_t live;
};

static void *failing_allocate(void *user, size_t alignment, size_t bytes)
{
    struct failing *failing = user;
    if (!failing->left)
        return NULL;
    failing->left--;
    void *memory = mmh_alloc(NULL, alignment, bytes);
    failing->live += memory != NULL;
    return memory;
}

static void failing_release(void *user, void *memory)
{
    ((struct failing *)user)->live--;
    mmh_free(NULL, memory);
}

/* Fail the nth allocation for n = 0, 1, ... until all goes well: an error each time, no leak. */
static void test_codec_survives_lack_of_memory(void **state)
{
    static const struct {
        mmh_dtype dtype;
        enum content content;
        int level;
        mmh_dtype mixed;
    } cases[] = { { MMH_DTYPE_OPAQUE, BELL, 9, MMH_DTYPE_I8 },
                  { MMH_DTYPE_OPAQUE, WEIGHTS, 5, MMH_DTYPE_BF16 },
                  { MMH_DTYPE_F32, CLEAN_ROWS, 6, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_BF16, WEIGHTS, 3, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_F16, SPARSE, 5, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_I8, WEIGHTS, 5, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_I8, BELL, 5, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_I32, FEW, 5, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_OPAQUE, TEXT, 9, MMH_DTYPE_OPAQUE },
                  { MMH_DTYPE_Q4_1, BELL, 5, MMH_DTYPE_OPAQUE } };
    (void)state;
    for (size_t i = 0; i < MMH_COUNT_OF(cases); i++) {
        bool done = false;
        for (uint64_t n = 0; !done; n++) {
            struct failing failing = { .left = n };
            failing.allocator = (mmh_allocator){ failing_allocate, failing_release, &failing };
            mmh_codec_workspace *workspace = NULL;
            mmh_dtype records = mmh_dtype_fields(cases[i].dtype) ? cases[i].dtype
                                                                 : MMH_DTYPE_OPAQUE;
            mmh_dtype dtype = records ? MMH_DTYPE_OPAQUE : cases[i].dtype;
            size_t elements = 20000, unit = mmh_dtype_scalar_bytes(dtype);
            uint8_t *data = malloc(elements * unit);
            uint8_t *dst = malloc(mmh_chunk_bound(elements * unit));
            uint8_t *back = malloc(elements * unit);
            fill(data, elements, dtype, cases[i].content, 1);
            size_t of_part = elements / (records ? record_bytes_of(records) : 1);
            const struct mmh_block_part part = { .elements = of_part,
                                                 .dimensions = 2,
                                                 .shape = { of_part / COLUMNS + 1, COLUMNS } };
            const struct mmh_mixed_run runs[] = { { 100, 4000 }, { 50, 3000 } };
            struct mmh_block_hint hint = { .dtype = dtype,
                                           .records = records,
                                           .mixed = cases[i].mixed,
                                           .runs = runs,
                                           .run_count = MMH_COUNT_OF(runs),
                                           .parts = &part,
                                           .part_count = !cases[i].mixed,
                                           .level = cases[i].level };
            struct mmh_chunk chunk = { .dtype = dtype, .bytes = elements * unit };
            const struct mmh_block_plan *plan;
            const uint8_t *payload;
            size_t payload_bytes = 0, dst_bytes = 0;
            uint64_t floor_bits;
            unsigned codec = 0;
            mmh_model *model = NULL;
            mmh_error err = { 0 };
            mmh_status status = mmh_codec_workspace_create(&workspace, &failing.allocator, &err);
            if (!status)
                status = mmh_block_plan_make(&plan, &payload, &payload_bytes, &floor_bits,
                                             workspace, data, chunk.bytes, &hint, &err);
            if (!status)
                status = mmh_chunk_encode(dst, &dst_bytes, &codec, workspace, plan, data, &chunk,
                                          true, &err);
            if (!status && payload_bytes)
                status = mmh_model_create(&model, payload, payload_bytes, elements,
                                          &failing.allocator, &err);
            if (!status)
                status = mmh_chunk_decode(back, workspace, &chunk, codec, dst, dst_bytes, model,
                                          false, &err);
            if (status)
                assert_int_equal(status, MMH_E_MEMORY);
            else
                assert_memory_equal(back, data, chunk.bytes);
            done = !status;
            mmh_model_destroy(model);
            mmh_codec_workspace_destroy(workspace);
            assert_int_equal(failing.live, 0);
            free(data);
            free(dst);
            free(back);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_returns_every_bit),
        cmocka_unit_test(test_codec_returns_every_record),
        cmocka_unit_test(test_codec_returns_every_mixture),
        cmocka_unit_test(test_codec_sees_weights_between_headers),
        cmocka_unit_test(test_codec_refuses_runs_that_do_not_fit),
        cmocka_unit_test(test_codec_sees_weights_whose_bits_lie_apart),
        cmocka_unit_test(test_codec_chunks_share_a_model),
        cmocka_unit_test(test_codec_survives_any_hint),
        cmocka_unit_test(test_codec_decodes_floats_anywhere),
        cmocka_unit_test(test_codec_joins_what_is_alike),
        cmocka_unit_test(test_codec_zeros_apart_beat_shifted_tiers),
        cmocka_unit_test(test_codec_packs_opaque_bytes),
        cmocka_unit_test(test_codec_finds_what_comes_again),
        cmocka_unit_test(test_codec_finds_rows_that_go_on),
        cmocka_unit_test(test_codec_sees_no_repeats_in_noise),
        cmocka_unit_test(test_codec_bytes_are_the_same_everywhere),
        cmocka_unit_test(test_codec_levels_pay),
        cmocka_unit_test(test_codec_leaves_zeros_out),
        cmocka_unit_test(test_codec_least_of_floats_is_a_bound),
        cmocka_unit_test(test_codec_cost_is_a_logarithm),
        cmocka_unit_test(test_model_frequencies_add_up),
        cmocka_unit_test(test_model_round_trip),
        cmocka_unit_test(test_codec_survives_hostile_payloads),
        cmocka_unit_test(test_codec_survives_hostile_mixtures),
        cmocka_unit_test(test_codec_survives_wrong_chunks),
        cmocka_unit_test(test_codec_refuses_unknown_codecs),
        cmocka_unit_test(test_codec_survives_lack_of_memory),
#if defined(MMH_CORE_ONLY)
        cmocka_unit_test(test_codec_says_what_it_lacks),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
