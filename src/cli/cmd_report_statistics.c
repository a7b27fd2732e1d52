/*
 * mmh report: how often each bit of the values is set, and each exponent occurs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/host.h"
#include "cli/progress.h"
#include "cli/report.h"

enum {
    GRAIN = 48,                 /* values that begin at a byte in every type, 6 bits too */
    WINDOW_BYTES = 174762 * 48, /* that are held at a time: 8 MiB in whole grains */
    AHEAD_BYTES = 1 << 20,      /* read at least, where tensors are small */
    SAMPLE_PIECES = 16,         /* of a large tensor, and the values in each */
    PIECE_VALUES = 5461 * GRAIN,
    WHOLE_VALUES = 1 << 22,   /* a tensor of no more is counted whole */
    WORD_VALUES = 1 << 16,    /* of 16 bits */
    BY_WORDS_ABOVE = 1 << 14, /* values of a tensor from which on words are counted */
    DAMAGED_VALUES = 1 << 16, /* that are left out at least where one is damaged */
    SMALL_BITS_MAX = 8,       /* integers so small have a bin for each value */
    WORDS_MAX = MMH_REPORT_BITS_MAX / 16
};

struct counter {
    mmh_reader *reader;
    uint8_t *window; /* [WINDOW_BYTES] of a file */
    uint64_t window_file, window_begin, window_end;
    uint32_t *words[WORDS_MAX];         /* [WORD_VALUES] each: of the values being counted */
    uint64_t ones[MMH_REPORT_BITS_MAX]; /* of the tensor being counted */
    uint64_t *bins;                     /* [1 << 11] the same */
    uint64_t done_bytes, total_bytes;
    bool every_value;
    mmh_error *err;
};

/* ---- types ---- */

#define FLOAT(all, exponent, mantissa, offset, count)                                  \
    {                                                                                  \
        .bits = (all), .values = (count), .has_sign = (all) > (exponent) + (mantissa), \
        .exponent_bits = (exponent), .mantissa_bits = (mantissa), .bias = (offset)     \
    }

struct mmh_report_type mmh_report_type_of(mmh_dtype dtype)
{
    static const struct mmh_report_type floats[MMH_DTYPE_COUNT] = {
        [MMH_DTYPE_F16] = FLOAT(16, 5, 10, 15, 1),
        [MMH_DTYPE_BF16] = FLOAT(16, 8, 7, 127, 1),
        [MMH_DTYPE_F32] = FLOAT(32, 8, 23, 127, 1),
        [MMH_DTYPE_F64] = FLOAT(64, 11, 52, 1023, 1),
        [MMH_DTYPE_F8_E4M3] = FLOAT(8, 4, 3, 7, 1),
        [MMH_DTYPE_F8_E5M2] = FLOAT(8, 5, 2, 15, 1),
        [MMH_DTYPE_F8_E8M0] = FLOAT(8, 8, 0, 127, 1),
        [MMH_DTYPE_F4] = FLOAT(4, 2, 1, 1, 1),
        [MMH_DTYPE_F6_E2M3] = FLOAT(6, 2, 3, 1, 1),
        [MMH_DTYPE_F6_E3M2] = FLOAT(6, 3, 2, 3, 1),
        [MMH_DTYPE_F8_E4M3FNUZ] = FLOAT(8, 4, 3, 8, 1),
        [MMH_DTYPE_F8_E5M2FNUZ] = FLOAT(8, 5, 2, 16, 1),
        [MMH_DTYPE_C64] = FLOAT(32, 8, 23, 127, 2),
        [MMH_DTYPE_C128] = FLOAT(64, 11, 52, 1023, 2),
    };
    struct mmh_report_type type = floats[dtype];
    if (type.bits)
        return type;
    static const mmh_dtype with_sign[] = { MMH_DTYPE_I2,  MMH_DTYPE_I4,  MMH_DTYPE_I8,
                                           MMH_DTYPE_I16, MMH_DTYPE_I32, MMH_DTYPE_I64 };
    type.values = 1;
    type.in_blocks = !mmh_dtype_values(dtype);
    type.bits = type.in_blocks ? 8 : mmh_dtype_bit_count(dtype);
    if (!type.bits) /* opaque */
        type.bits = 8;
    for (size_t i = 0; i < sizeof with_sign / sizeof *with_sign; i++)
        type.has_sign = type.has_sign || with_sign[i] == dtype;
    return type;
}

unsigned mmh_report_symbol_bits(const struct mmh_report_type *type)
{
    return type->exponent_bits          ? type->exponent_bits
         : type->bits <= SMALL_BITS_MAX ? type->bits
                                        : 0;
}

static unsigned symbol_shift(const struct mmh_report_type *type)
{
    return type->exponent_bits ? type->mantissa_bits : 0;
}

/* ---- counting ---- */

/* Value number i of a piece; of less than 8 bits the first is in the low ones. */
static uint64_t value_at(const uint8_t *data, size_t i, unsigned bits, bool big_endian)
{
    uint64_t value = 0;
    if (bits < 8) {
        size_t at = i * bits;
        for (unsigned b = 0; b < bits; b++, at++)
            value |= (uint64_t)(data[at / 8] >> (at % 8) & 1) << b;
        return value;
    }
    unsigned bytes = bits / 8;
    for (unsigned b = 0; b < bytes; b++)
        value |= (uint64_t)data[i * bytes + (big_endian ? bytes - 1 - b : b)] << (8 * b);
    return value;
}

static void count_few(struct counter *counter, const struct mmh_report_type *type,
                      const uint8_t *data, size_t count, bool big_endian)
{
    unsigned symbol_bits = mmh_report_symbol_bits(type), shift = symbol_shift(type);
    uint64_t mask = (UINT64_C(1) << symbol_bits) - 1;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = value_at(data, i, type->bits, big_endian);
        for (unsigned b = 0; b < type->bits; b++)
            counter->ones[b] += value >> b & 1;
        if (symbol_bits)
            counter->bins[value >> shift & mask]++;
    }
}

/* How often bits were set and symbols occurred, of how often words did; the words are cleared. */
static void sum_words(struct counter *counter, const struct mmh_report_type *type)
{
    unsigned word_bits = type->bits < 16 ? type->bits : 16;
    unsigned last = (type->bits + 15) / 16 - 1;
    unsigned symbol_bits = mmh_report_symbol_bits(type);
    if (symbol_bits) { /* sign, exponent and what is above a small integer fit in the last word */
        unsigned shift = symbol_shift(type) - 16 * last;
        for (uint32_t w = 0; w < 1u << word_bits; w++)
            counter->bins[w >> shift & ((1u << symbol_bits) - 1)] += counter->words[last][w];
    }
    for (unsigned word = 0; word <= last; word++) {
        uint32_t *times = counter->words[word];
        for (unsigned b = word_bits;
             b-- > 0;) { /* fold the words with this bit onto those without */
            uint32_t half = 1u << b;
            uint64_t ones = 0;
            for (uint32_t w = 0; w < half; w++) {
                ones += times[half + w];
                times[w] += times[half + w];
            }
            counter->ones[16 * word + b] += ones;
        }
        memset(times, 0, sizeof *times << word_bits);
    }
}

static void count_many(struct counter *counter, const struct mmh_report_type *type,
                       const uint8_t *data, size_t count, bool big_endian)
{
    uint32_t *const *words = counter->words;
    if (type->bits == 8) {
        for (size_t i = 0; i < count; i++)
            words[0][data[i]]++;
    } else if (type->bits == 16) {
        unsigned low = big_endian;
        for (size_t i = 0; i < count; i++, data += 2)
            words[0][data[low] | data[!low] << 8]++;
    } else if (type->bits % 16 == 0) {
        unsigned last = type->bits / 16 - 1;
        for (size_t i = 0; i < count; i++)
            for (unsigned w = 0; w <= last; w++, data += 2)
                words[big_endian ? last - w : w][data[big_endian] | data[!big_endian] << 8]++;
    } else {
        for (size_t i = 0; i < count; i++)
            words[0][value_at(data, i, type->bits, big_endian)]++;
    }
    sum_words(counter, type);
}

/* ---- reading ---- */

/* Bytes of a file, in the window; a damaged piece is MMH_E_CORRUPT. */
static mmh_status bytes_at(struct counter *counter, const struct mmh_report_tensor *tensor,
                           uint64_t begin, size_t bytes, uint64_t file_bytes, const uint8_t **data)
{
    uint64_t offset = tensor->offset + begin, left = file_bytes - offset;
    if (mmh_host_interrupted()) {
        snprintf(counter->err->message, sizeof counter->err->message, "interrupted");
        return MMH_E_CANCELLED;
    }
    bool inside = counter->window_file == tensor->file && offset >= counter->window_begin &&
                  offset + bytes <= counter->window_end;
    if (!inside) {
        size_t ahead = bytes < AHEAD_BYTES ? AHEAD_BYTES : bytes;
        if (ahead > left)
            ahead = (size_t)left;
        counter->window_end = counter->window_begin = 0;
        mmh_error err = { 0 };
        mmh_status status = mmh_read(counter->reader, tensor->file, offset, counter->window, ahead,
                                     &err);
        if (status == MMH_E_CORRUPT && ahead > bytes) { /* perhaps only what is behind it */
            err = (mmh_error){ 0 };
            ahead = bytes;
            status = mmh_read(counter->reader, tensor->file, offset, counter->window, ahead, &err);
        }
        if (status != MMH_OK) {
            if (status != MMH_E_CORRUPT) /* which does not end it */
                *counter->err = err;
            return status;
        }
        counter->window_file = tensor->file;
        counter->window_begin = offset;
        counter->window_end = offset + ahead;
    }
    *data = counter->window + (offset - counter->window_begin);
    return MMH_OK;
}

/* ---- a tensor ---- */

static struct mmh_report_statistics *statistics_of(struct mmh_report_node *node, mmh_dtype dtype)
{
    struct mmh_report_statistics **at = &node->statistics;
    while (*at && (*at)->dtype != dtype)
        at = &(*at)->next;
    if (!*at) {
        *at = mmh_cli_alloc(sizeof **at);
        **at = (struct mmh_report_statistics){ .dtype = dtype };
    }
    return *at;
}

/* Add the counter's bins, those from the first to the last that is used alone. */
static void add_bins(struct mmh_report_statistics *sums, uint64_t *bins, unsigned count)
{
    unsigned first = 0, end = count;
    while (first < end && !bins[first])
        first++;
    while (end > first && !bins[end - 1])
        end--;
    if (first == end)
        return;
    if (sums->bin_count) {
        if (sums->first_bin < first)
            first = sums->first_bin;
        if (sums->first_bin + sums->bin_count > end)
            end = sums->first_bin + sums->bin_count;
    }
    if (!sums->bin_count || first < sums->first_bin || end > sums->first_bin + sums->bin_count) {
        uint64_t *grown = mmh_cli_alloc((end - first) * sizeof *grown);
        memset(grown, 0, (end - first) * sizeof *grown);
        for (unsigned i = 0; i < sums->bin_count; i++)
            grown[sums->first_bin - first + i] = sums->bins[i];
        free(sums->bins);
        sums->bins = grown;
        sums->first_bin = first;
        sums->bin_count = end - first;
    }
    for (unsigned i = 0; i < sums->bin_count; i++)
        sums->bins[i] += bins[sums->first_bin + i];
}

/* Values of a tensor, as its shape has them; of a view and of blocks, as its bytes do. */
static mmh_status values_of(const struct counter *counter, const struct mmh_report_tensor *tensor,
                            const struct mmh_report_type *type, uint64_t *values)
{
    mmh_tensor_info info = { .struct_size = sizeof info };
    uint64_t most = tensor->bytes / type->bits * 8 + tensor->bytes % type->bits * 8 / type->bits;
    mmh_status status = mmh_tensor(counter->reader, tensor->number, &info, counter->err);
    *values = most;
    if (status != MMH_OK || tensor->strided || type->in_blocks || tensor->dtype == MMH_DTYPE_OPAQUE)
        return status;
    uint64_t count = type->values;
    for (uint32_t d = 0; d < info.dimensions && count; d++)
        count = info.shape[d] > most / count ? most : count * info.shape[d];
    *values = count < most ? count : most;
    return status;
}

/* Where piece number `piece` of a tensor begins, in values; `pieces` of `each` are spread evenly. */
static uint64_t piece_begin(uint64_t values, uint64_t each, uint64_t pieces, uint64_t piece)
{
    uint64_t room = (values - each) / GRAIN;
    return pieces > 1 ? room / (pieces - 1) * piece * GRAIN +
                            room % (pieces - 1) * piece / (pieces - 1) * GRAIN
                      : 0;
}

/* Count values [first, first + count) of a tensor; of what is damaged, all but the damaged parts. */
static mmh_status count_piece(struct counter *counter, struct mmh_report_statistics *sums,
                              const struct mmh_report_type *type,
                              const struct mmh_report_tensor *tensor, uint64_t file_bytes,
                              uint64_t first, uint64_t count)
{
    size_t bytes = (size_t)((count * type->bits + 7) / 8);
    const uint8_t *data = NULL;
    mmh_status status = bytes_at(counter, tensor, first * type->bits / 8, bytes, file_bytes, &data);
    if (status == MMH_OK) {
        (count < BY_WORDS_ABOVE ? count_few : count_many)(counter, type, data, (size_t)count,
                                                          tensor->big_endian);
        sums->counted += count;
    } else if (status == MMH_E_CORRUPT && count >= 2 * DAMAGED_VALUES) {
        uint64_t half = count / 2 / GRAIN * GRAIN;
        status = count_piece(counter, sums, type, tensor, file_bytes, first, half);
        if (status == MMH_OK)
            status = count_piece(counter, sums, type, tensor, file_bytes, first + half,
                                 count - half);
    } else if (status == MMH_E_CORRUPT) {
        sums->unread_bytes += bytes;
        status = MMH_OK;
    }
    return status;
}

static mmh_status count_tensor(struct counter *counter, struct mmh_report_node *node,
                               const struct mmh_report_tensor *tensor, uint64_t file_bytes)
{
    const struct mmh_report_type type = mmh_report_type_of((mmh_dtype)tensor->dtype);
    struct mmh_report_statistics *sums = statistics_of(node, (mmh_dtype)tensor->dtype);
    unsigned bin_count = mmh_report_symbol_bits(&type) ? 1u << mmh_report_symbol_bits(&type) : 0;
    uint64_t values = 0, each, pieces;
    assert(type.bits > 0);
    mmh_status status = values_of(counter, tensor, &type, &values);
    if (status != MMH_OK)
        return status;
    sums->tensors++;
    sums->values += values;
    bool is_sampled = !counter->every_value && values > WHOLE_VALUES;
    each = is_sampled ? (uint64_t)PIECE_VALUES
                      : (uint64_t)WINDOW_BYTES / type.bits * 8 / GRAIN * GRAIN;
    pieces = is_sampled ? (uint64_t)SAMPLE_PIECES : (values + each - 1) / each;
    for (uint64_t piece = 0; piece < pieces && status == MMH_OK; piece++) {
        uint64_t first = is_sampled ? piece_begin(values, each, pieces, piece) : piece * each;
        uint64_t count = values - first < each ? values - first : each;
        status = count_piece(counter, sums, &type, tensor, file_bytes, first, count);
        counter->done_bytes += (count * type.bits + 7) / 8;
        mmh_bar_own("count", counter->done_bytes, counter->total_bytes);
    }
    for (unsigned b = 0; b < type.bits; b++)
        sums->ones[b] += counter->ones[b];
    if (type.exponent_bits) { /* far from the others */
        sums->lowest += counter->bins[0];
        counter->bins[0] = 0;
    }
    add_bins(sums, counter->bins, bin_count);
    memset(counter->ones, 0, sizeof counter->ones);
    memset(counter->bins, 0, bin_count * sizeof *counter->bins);
    return status;
}

/* About what will be read, for the progress alone. */
static uint64_t bytes_to_read(const struct mmh_report_tree *tree, bool every_value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < tree->tensor_count; i++) {
        const struct mmh_report_tensor *tensor = &tree->tensors[i];
        const struct mmh_report_type type = mmh_report_type_of((mmh_dtype)tensor->dtype);
        uint64_t sample = (uint64_t)SAMPLE_PIECES * PIECE_VALUES * type.bits / 8;
        bool large = tensor->bytes / type.bits * 8 > WHOLE_VALUES;
        sum += large && !every_value ? sample : tensor->bytes;
    }
    return sum;
}

mmh_status mmh_report_count(struct mmh_report_tree *tree, mmh_reader *reader, bool every_value,
                            struct mmh_report_sums *sums, mmh_error *err)
{
    struct counter counter = { .reader = reader,
                               .every_value = every_value,
                               .total_bytes = bytes_to_read(tree, every_value),
                               .err = err };
    mmh_file_info file = { .struct_size = sizeof file };
    mmh_status status = MMH_OK;
    enum { BINS = 1 << 11 };
    counter.window = mmh_cli_alloc(WINDOW_BYTES + AHEAD_BYTES);
    counter.bins = mmh_cli_alloc(BINS * sizeof *counter.bins);
    memset(counter.bins, 0, BINS * sizeof *counter.bins);
    for (size_t i = 0; i < WORDS_MAX; i++) {
        counter.words[i] = mmh_cli_alloc(WORD_VALUES * sizeof *counter.words[i]);
        memset(counter.words[i], 0, WORD_VALUES * sizeof *counter.words[i]);
    }
    for (size_t i = 0; i < tree->tensor_count && status == MMH_OK; i++) {
        const struct mmh_report_tensor *tensor = &tree->tensors[tree->by_place[i]];
        if (!i || tensor->file != tree->tensors[tree->by_place[i - 1]].file)
            status = mmh_file(reader, tensor->file, &file, err);
        if (status == MMH_OK)
            status = count_tensor(&counter, &tree->nodes[tensor->node], tensor, file.bytes);
    }
    for (size_t i = 0; i < tree->node_count; i++)
        for (const struct mmh_report_statistics *one = tree->nodes[i].statistics; one;
             one = one->next) {
            sums->values += one->values;
            sums->counted += one->counted;
            sums->unread_bytes += one->unread_bytes;
        }
    for (size_t i = 0; i < WORDS_MAX; i++)
        free(counter.words[i]);
    free(counter.bins);
    free(counter.window);
    return status;
}

static double entropy_part(uint64_t times, uint64_t all)
{
    double share = (double)times / (double)all;
    return times ? -share * log2(share) : 0;
}

uint64_t mmh_report_floor(const struct mmh_report_statistics *statistics)
{
    const struct mmh_report_type type = mmh_report_type_of(statistics->dtype);
    double bits = type.bits;
    if (statistics->counted && mmh_report_symbol_bits(&type) && !type.in_blocks) {
        bits -= mmh_report_symbol_bits(&type);
        bits += entropy_part(statistics->lowest, statistics->counted);
        for (unsigned i = 0; i < statistics->bin_count; i++)
            bits += entropy_part(statistics->bins[i], statistics->counted);
    }
    return (uint64_t)ceil((double)statistics->values * bits / 8);
}
