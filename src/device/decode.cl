/*
 * Float chunks decoded on a device: docs/format.md sections 8 and 10, as OpenCL 1.2 C and as CUDA.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Kernels come in two styles. "Group" is for GPUs: the items of a work-group share one tier block
 * or one stripe for each 32 of them, and take eight (tiers) or four (rANS) neighbouring elements at
 * a time, which makes every access to global memory a whole, coalesced one and lets bytes and
 * halves be worked on four and two in a register. "Item" is for processors: one work-item takes a
 * whole tier block or stripe, with vectors inside. Both merge symbols, raw planes and tails while
 * they decode, so that nothing but the elements is written.
 *
 * The host has checked all of the payload's structure (device_plan.c), so that only two kinds of
 * places come from payload bits: those in a tier's list, which counting bounds, and the words of a
 * stripe, which are clamped. Every section is aligned to 8 bytes at the least (the blocks of tiers,
 * stripes and patches to 4), and no wider access is made to it.
 */
#include "device_prelude.h"
#include "device_layout.h"

#define BUFFERS                                                                                   \
    GLOBAL const uchar *RESTRICT payloads, GLOBAL const struct mmh_device_fields *RESTRICT fields, \
        GLOBAL const uint *RESTRICT side, GLOBAL const uint *RESTRICT models,                     \
        GLOBAL uchar *RESTRICT output, GLOBAL uint *RESTRICT flags, uint work

#define WORDS (MMH_DEVICE_RUN / 32) /* of a plane */

/* ---- the chunk of a group ---- */

struct chunk {
    GLOBAL const struct mmh_device_fields *fields;
    GLOBAL const uchar *payload;
    GLOBAL const uint *side;
    GLOBAL const uchar *models;
    GLOBAL uchar *output;
    uint elements;
    /* What merging needs of the fields: kept here, where it stays in registers. */
    uint element_bytes, mantissa_bits, window, symbol_mask, symbol_shift, zero_low, sign_stored;
    uint sign, stored_bits, plane8, plane4, plane2, plane1, tail_mode, tail, shape;
};

FUNCTION struct chunk chunk_of(GLOBAL const uchar *payloads,
                               GLOBAL const struct mmh_device_fields *fields,
                               GLOBAL const uint *side, GLOBAL const uint *models,
                               GLOBAL uchar *output)
{
    struct chunk chunk;
    chunk.fields = fields;
    chunk.payload = payloads + (ulong)fields->payload * MMH_DEVICE_UNIT;
    chunk.side = side;
    chunk.models = (GLOBAL const uchar *)models;
    chunk.output = output + (ulong)fields->output * MMH_DEVICE_UNIT;
    chunk.elements = fields->elements;
    chunk.element_bytes = fields->element_bytes;
    chunk.mantissa_bits = fields->mantissa_bits;
    chunk.window = fields->window;
    chunk.symbol_mask = fields->symbol_mask;
    chunk.symbol_shift = fields->symbol_shift;
    chunk.zero_low = fields->zero_low;
    chunk.sign_stored = fields->sign_stored;
    chunk.sign = fields->sign;
    chunk.stored_bits = fields->stored_bits;
    chunk.plane8 = fields->plane[0];
    chunk.plane4 = fields->plane[1];
    chunk.plane2 = fields->plane[2];
    chunk.plane1 = fields->plane[3];
    chunk.tail_mode = fields->tail_mode;
    chunk.tail = fields->tail;
    chunk.shape = fields->shape;
    return chunk;
}

/* ---- planes and tails ---- */

/* The field of element i of a plane of `width` bits. */
FUNCTION uint plane_one(GLOBAL const uchar *plane, uint i, uint width)
{
    uint span = 8 * width, j = i % 64;
    if (width == 16)
        return *(GLOBAL const ushort *)(plane + 2 * i);
    return (uint)plane[i / 64 * span + j % span] >> (j / span * width) & ((1u << width) - 1);
}

/* Those of elements i..i+3 (i a multiple of 4), width <= 8: a byte each. */
FUNCTION uint plane_four(GLOBAL const uchar *plane, uint i, uint width)
{
    uint span = 8 * width, j = i % 64;
    uint word = *(GLOBAL const uint *)(plane + i / 64 * span + j % span);
    return word >> (j / span * width) & (0x01010101u * ((1u << width) - 1));
}

/* The segment of element i: where it begins, how long it is, where its planes are. */
struct segment {
    uint first, elements, offset, zeros;
};

FUNCTION struct segment segment_of(const struct chunk *chunk, uint i)
{
    struct segment segment;
    uint length = chunk->fields->segment_elements, head = chunk->fields->segment_first, index = 0;
    segment.first = 0;
    segment.elements = head;
    if (i >= head) {
        index = (i - head) / length;
        segment.first = head + index * length;
        segment.elements = length;
        index++;
    }
    GLOBAL const uint *entry = chunk->side + chunk->fields->segments + 2 * index;
    segment.offset = entry[0];
    segment.zeros = entry[1];
    return segment;
}

FUNCTION uint segment_groups(const struct chunk *chunk, const struct segment *segment)
{
    uint left = chunk->elements - segment->first;
    return ((segment->elements < left ? segment->elements : left) + 63) / 64;
}

FUNCTION uint segment_tail_one(const struct chunk *chunk, uint i)
{
    struct segment segment = segment_of(chunk, i);
    GLOBAL const uchar *plane = chunk->payload + segment.offset;
    uint groups = segment_groups(chunk, &segment), bits = 16 - segment.zeros, tail = 0;
    for (uint width = 16; width; width /= 2)
        if (bits & width) {
            tail = tail << width | plane_one(plane, i - segment.first, width);
            plane += 8 * width * groups;
        }
    return tail << segment.zeros;
}

/* Tails of elements i..i+3 (i a multiple of 4): two pairs of halves, the lower index low. Behind
 * the chunk's end they are anything. */
FUNCTION uint2 tails_four(const struct chunk *chunk, uint i)
{
    if (chunk->tail_mode == 1)
        return *(GLOBAL const uint2 *)(chunk->payload + chunk->tail + 2 * i);
    if (i >= chunk->elements)
        return UINT2(0, 0);
    struct segment segment = segment_of(chunk, i);
    uint within = i - segment.first, bits = 16 - segment.zeros;
    if (within % 4 || within + 4 > segment.elements) { /* rows of an odd length */
        uint tails[4] = { 0, 0, 0, 0 };
        for (uint e = 0; e < 4; e++)
            if (i + e < chunk->elements)
                tails[e] = segment_tail_one(chunk, i + e);
        return UINT2(tails[0] | tails[1] << 16, tails[2] | tails[3] << 16);
    }
    GLOBAL const uchar *plane = chunk->payload + segment.offset;
    if (bits == 16)
        return *(GLOBAL const uint2 *)(plane + 2 * within);
    uint groups = segment_groups(chunk, &segment), even = 0, odd = 0;
    for (uint width = 8; width; width /= 2)
        if (bits & width) {
            uint four = plane_four(plane, within, width);
            even = even << width | (four & 0x00ff00ff);
            odd = odd << width | (four >> 8 & 0x00ff00ff);
            plane += 8 * width * groups;
        }
    even <<= segment.zeros;
    odd <<= segment.zeros;
    return UINT2((even & 0xffff) | odd << 16, even >> 16 | (odd & 0xffff0000u));
}

/* ---- classes ---- */

/* An element's place in its matrix, and how it goes on by a fixed number of elements. */
struct walk {
    GLOBAL const uchar *column_classes, *row_classes;
    uint element, end, columns, last_row, column, row, has_columns, has_rows;
    uint step, step_columns, step_rows;
};

FUNCTION void walk_to(struct walk *walk, const struct chunk *chunk, uint i)
{
    GLOBAL const struct mmh_device_view *view =
        (GLOBAL const struct mmh_device_view *)(chunk->side + chunk->fields->views);
    uint low = 0, high = chunk->fields->view_count - 1;
    while (low < high) {
        uint middle = (low + high) / 2;
        if (view[middle].end <= i)
            low = middle + 1;
        else
            high = middle;
    }
    view += low;
    uint column = view->column + (i - view->first);
    walk->element = i;
    walk->end = view->end;
    walk->columns = view->columns;
    walk->last_row = view->rows - 1;
    walk->row = view->row + column / view->columns;
    walk->column = column % view->columns;
    walk->has_columns = view->column_classes != MMH_DEVICE_NONE;
    walk->has_rows = view->row_classes != MMH_DEVICE_NONE;
    walk->column_classes = chunk->models + (walk->has_columns ? view->column_classes : 0);
    walk->row_classes = chunk->models + (walk->has_rows ? view->row_classes : 0);
    walk->step_rows = walk->step / view->columns;
    walk->step_columns = walk->step % view->columns;
}

FUNCTION void walk_on(struct walk *walk, const struct chunk *chunk)
{
    walk->element += walk->step;
    walk->row += walk->step_rows;
    walk->column += walk->step_columns;
    if (walk->column >= walk->columns) {
        walk->column -= walk->columns;
        walk->row++;
    }
    if (walk->element >= walk->end)
        walk_to(walk, chunk, walk->element);
}

/* The row's class, of the last row behind the matrix, where a chunk is filled up. */
FUNCTION uint row_class(const struct walk *walk, uint row)
{
    return walk->has_rows ? walk->row_classes[row < walk->last_row ? row : walk->last_row] : 0;
}

/* Four sums of bytes, modulo 256 each. */
FUNCTION uint add_four(uint a, uint b)
{
    return ((a & 0x7f7f7f7f) + (b & 0x7f7f7f7f)) ^ ((a ^ b) & 0x80808080u);
}

/* Row class + column class of the four elements `ahead` elements from here on: a byte each, which
 * holds the sum of two classes. */
FUNCTION uint walk_four(const struct walk *walk, const struct chunk *chunk, uint ahead)
{
    uint column = walk->column + ahead, row = walk->row, i = walk->element + ahead, classes = 0;
    if (column + 4 <= walk->columns && i + 4 <= walk->end) { /* all in one row */
        classes = 0x01010101u * row_class(walk, row);
        if (walk->has_columns) { /* words that begin before the last class can be read whole */
            GLOBAL const uint *at = (GLOBAL const uint *)walk->column_classes + column / 4;
            classes = add_four(classes, FUNNEL(at[0], at[1], 8 * (column % 4)));
        }
        return classes;
    }
    if (i + 4 <= walk->end) { /* all in one matrix */
        for (uint e = 0; e < 4; e++) {
            while (column >= walk->columns) {
                column -= walk->columns;
                row++;
            }
            uint value = row_class(walk, row);
            if (walk->has_columns)
                value += walk->column_classes[column];
            classes |= (value & 255) << (8 * e);
            column++;
        }
        return classes;
    }
    struct walk there;
    there.step = 0;
    for (uint e = 0; e < 4; e++) {
        walk_to(&there, chunk, i + e);
        uint value = row_class(&there, there.row);
        if (there.has_columns)
            value += there.column_classes[there.column];
        classes |= (value & 255) << (8 * e);
    }
    return classes;
}

/* The bin of a sum of two classes in the lowest byte. */
FUNCTION uint bin_of(uint class_sum)
{
    int bin = (int)(signed char)(uchar)class_sum + 32;
    return (uint)(bin < 0 ? 0 : bin > 63 ? 63 : bin);
}

/* ---- group style: merging ---- */

#if !defined(MMH_ITEM_STYLE)

/* Two heads from two symbol bytes and two stored values, each in a half. plain: the sign is stored,
 * no mantissa bit is left out; no_window: no symbol is moved. */
FUNCTION uint heads_two(const struct chunk *chunk, uint symbols, uint stored, const bool plain,
                        const bool no_window)
{
    uint mantissa = stored << chunk->zero_low, sign = chunk->sign;
    if (plain || chunk->sign_stored) {
        mantissa = (stored >> 1 & 0x7fff7fff) << (plain ? 0 : chunk->zero_low);
        sign = stored << 15 & 0x80008000u;
    }
    if (!no_window) {
        /* A half gets the window unless its symbol is one of the lowest 2^q: bit 8 tells. The
         * window is below 2^(16 - R), so that no sum carries into the other half. */
        uint low = symbols >> chunk->mantissa_bits & 0x00ff00ff;
        symbols += ((low + 0x00ff00ff) >> 8 & 0x00010001) * chunk->window;
    }
    return (symbols & chunk->symbol_mask) << chunk->symbol_shift | mantissa | sign;
}

/* Four heads as two pairs, from a byte each: symbols, the field of the 8-bit plane, what the other
 * planes hold. */
FUNCTION uint2 heads_four(const struct chunk *chunk, uint symbols, uint high, uint low,
                          const uint bits, const bool plain, const bool no_window)
{
    uint first = PERMUTE(low, 0, 0x4140), second = PERMUTE(low, 0, 0x4342);
    if (bits & 8) {
        first |= PERMUTE(high, 0, 0x4140) << (bits & 7);
        second |= PERMUTE(high, 0, 0x4342) << (bits & 7);
    }
    return UINT2(heads_two(chunk, PERMUTE(symbols, 0, 0x4140), first, plain, no_window),
                 heads_two(chunk, PERMUTE(symbols, 0, 0x4342), second, plain, no_window));
}

/* Fields of elements i..i+7 (i a multiple of 8) of a plane of at most 8 bits: a byte each. */
FUNCTION uint2 plane_eight(GLOBAL const uchar *plane, uint i, const uint width)
{
    uint span = 8 * width, j = i % 64, shift = j / span * width;
    uint mask = 0x01010101u * ((1u << width) - 1);
    uint2 eight = *(GLOBAL const uint2 *)(plane + i / 64 * span + j % span);
    return UINT2(eight.x >> shift & mask, eight.y >> shift & mask);
}

/* Write elements i..i+7 (i a multiple of 8), as far as there are so many, of a chunk of which some
 * is known when this is compiled: stored bits, element bytes (with 4: plain tails). */
FUNCTION void merge_eight_as(const struct chunk *chunk, uint i, uint2 symbols, const uint bits,
                             const uint bytes, const bool plain, const bool no_window)
{
    uint2 high = UINT2(0, 0), low = UINT2(0, 0), part;
    if (bits & 8)
        high = plane_eight(chunk->payload + chunk->plane8, i, 8);
    if (bits & 4) {
        part = plane_eight(chunk->payload + chunk->plane4, i, 4);
        low = UINT2(part.x << (bits & 3), part.y << (bits & 3));
    }
    if (bits & 2) {
        part = plane_eight(chunk->payload + chunk->plane2, i, 2);
        low = UINT2(low.x | part.x << (bits & 1), low.y | part.y << (bits & 1));
    }
    if (bits & 1) {
        part = plane_eight(chunk->payload + chunk->plane1, i, 1);
        low = UINT2(low.x | part.x, low.y | part.y);
    }
    uint2 a = heads_four(chunk, symbols.x, high.x, low.x, bits, plain, no_window);
    uint2 b = heads_four(chunk, symbols.y, high.y, low.y, bits, plain, no_window);
    uint left = chunk->elements - i;
    if (bytes == 2) {
        GLOBAL ushort *out = (GLOBAL ushort *)chunk->output + i;
        if (left >= 8) {
            *(GLOBAL uint4 *)out = UINT4(a.x, a.y, b.x, b.y);
            return;
        }
        uint pairs[4] = { a.x, a.y, b.x, b.y };
        for (uint e = 0; e < 7; e++)
            if (e < left)
                out[e] = (ushort)(pairs[e / 2] >> (e % 2 * 16));
        return;
    }
    uint2 tails, more;
    if (plain) { /* sections of small chunks are aligned to 8 bytes, not to 16 */
        tails = ((GLOBAL const uint2 *)(chunk->payload + chunk->tail + 2 * i))[0];
        more = ((GLOBAL const uint2 *)(chunk->payload + chunk->tail + 2 * i))[1];
    } else {
        tails = tails_four(chunk, i);
        more = tails_four(chunk, i + 4);
    }
    uint4 first = UINT4(PERMUTE(tails.x, a.x, 0x5410), PERMUTE(tails.x, a.x, 0x7632),
                        PERMUTE(tails.y, a.y, 0x5410), PERMUTE(tails.y, a.y, 0x7632));
    uint4 second = UINT4(PERMUTE(more.x, b.x, 0x5410), PERMUTE(more.x, b.x, 0x7632),
                         PERMUTE(more.y, b.y, 0x5410), PERMUTE(more.y, b.y, 0x7632));
    GLOBAL uint *out = (GLOBAL uint *)chunk->output + i;
    if (left >= 8) {
        ((GLOBAL uint4 *)out)[0] = first;
        ((GLOBAL uint4 *)out)[1] = second;
        return;
    }
    uint elements[7] = { first.x, first.y, first.z, first.w, second.x, second.y, second.z };
    for (uint e = 0; e < 7; e++)
        if (e < left)
            out[e] = elements[e];
}

FUNCTION void merge_eight(const struct chunk *chunk, uint i, uint2 symbols)
{
    uint shape = chunk->shape;
    if (shape == MMH_DEVICE_SHAPE_8_OF_2)
        merge_eight_as(chunk, i, symbols, 8, 2, true, true);
    else if (shape == MMH_DEVICE_SHAPE_8_OF_4)
        merge_eight_as(chunk, i, symbols, 8, 4, true, true);
    else if (shape == MMH_DEVICE_SHAPE_11_OF_2)
        merge_eight_as(chunk, i, symbols, 11, 2, true, true);
    else
        merge_eight_as(chunk, i, symbols, chunk->stored_bits, chunk->element_bytes, false, false);
}

/* The same for elements i..i+3 (i a multiple of 4). */
FUNCTION void merge_four_as(const struct chunk *chunk, uint i, uint symbols, const uint bits,
                            const uint bytes, const bool plain, const bool no_window)
{
    uint high = 0, low = 0;
    if (bits & 8)
        high = plane_four(chunk->payload + chunk->plane8, i, 8);
    if (bits & 4)
        low = plane_four(chunk->payload + chunk->plane4, i, 4) << (bits & 3);
    if (bits & 2)
        low |= plane_four(chunk->payload + chunk->plane2, i, 2) << (bits & 1);
    if (bits & 1)
        low |= plane_four(chunk->payload + chunk->plane1, i, 1);
    uint2 pairs = heads_four(chunk, symbols, high, low, bits, plain, no_window);
    uint left = chunk->elements - i;
    if (bytes == 2) {
        GLOBAL ushort *out = (GLOBAL ushort *)chunk->output + i;
        if (left >= 4) {
            *(GLOBAL uint2 *)out = pairs;
            return;
        }
        out[0] = (ushort)pairs.x;
        if (left > 1)
            out[1] = (ushort)(pairs.x >> 16);
        if (left > 2)
            out[2] = (ushort)pairs.y;
        return;
    }
    uint2 tails = plain ? *(GLOBAL const uint2 *)(chunk->payload + chunk->tail + 2 * i)
                        : tails_four(chunk, i);
    uint4 four = UINT4(PERMUTE(tails.x, pairs.x, 0x5410), PERMUTE(tails.x, pairs.x, 0x7632),
                       PERMUTE(tails.y, pairs.y, 0x5410), PERMUTE(tails.y, pairs.y, 0x7632));
    GLOBAL uint *out = (GLOBAL uint *)chunk->output + i;
    if (left >= 4) {
        *(GLOBAL uint4 *)out = four;
        return;
    }
    out[0] = four.x;
    if (left > 1)
        out[1] = four.y;
    if (left > 2)
        out[2] = four.z;
}

FUNCTION void merge_four(const struct chunk *chunk, uint i, uint symbols)
{
    uint shape = chunk->shape;
    if (shape == MMH_DEVICE_SHAPE_6_OF_2)
        merge_four_as(chunk, i, symbols, 6, 2, true, false);
    else if (shape == MMH_DEVICE_SHAPE_6_OF_4)
        merge_four_as(chunk, i, symbols, 6, 4, true, false);
    else if (shape == MMH_DEVICE_SHAPE_9_OF_2)
        merge_four_as(chunk, i, symbols, 9, 2, true, true);
    else
        merge_four_as(chunk, i, symbols, chunk->stored_bits, chunk->element_bytes, false, false);
}

/* ---- group style: kernels ---- */

/* Bit e of eight in the lowest bit of nibble e. */
FUNCTION uint spread_eight(uint eight)
{
    eight = (eight | eight << 12) & 0x000f000f;
    eight = (eight | eight << 6) & 0x03030303;
    return (eight | eight << 3) & 0x11111111;
}

/*
 * The symbols of entries 8 unit .. 8 unit + 7 of a tier, a byte each.
 *
 * `starts` counts the 3s of the tier before each of its words. Entry i has at most i of them before
 * it, so no place in the list is beyond i, whatever the planes hold; and no word is read behind the
 * last one that these entries take from, since others may be writing there.
 */
FUNCTION uint2 tier_eight(GLOBAL const uint *planes, uint words, uint ranks,
                          LOCAL const ushort *starts, LOCAL const uint *list, uint unit)
{
    uint word = unit / 4, shift = unit % 4 * 8;
    uint plane0 = planes[word], plane1 = planes[words + word], later = plane0 & plane1;
    uint at = starts[word] + POPCOUNT(later & ((1u << shift) - 1));
    uint bits0 = spread_eight(plane0 >> shift & 255), bits1 = spread_eight(plane1 >> shift & 255);
    uint codes = bits0 + 2 * bits1, threes = bits0 & bits1;
    /* The next symbols of the later tiers, dealt out to the entries whose code is 3: a nibble tells
     * how many of them lie before its entry. */
    uint before = threes * 0x11111110u, dealt = 0x32103210u + 4 * threes;
    uint end = at % 4 + POPCOUNT(threes), skip = at % 4 * 8;
    uint first = list[at / 4], second = end > 4 ? list[at / 4 + 1] : 0;
    uint third = end > 8 ? list[at / 4 + 2] : 0;
    uint low = FUNNEL(first, second, skip), high = FUNNEL(second, third, skip);
    return UINT2(PERMUTE(PERMUTE(ranks, 0, codes), PERMUTE(low, high, before), dealt),
                 PERMUTE(PERMUTE(ranks, 0, codes >> 16), PERMUTE(low, high, before >> 16),
                         dealt >> 16));
}

/*
 * For each item the sums of the items before it, three words at once. Each item adds up to its own
 * place in a part of 16, then the parts are added up: three barriers, and little work. The totals
 * lie in scan[SCAN_TOTALS..].
 */
#define SCAN_PART 16
#define SCAN_PARTS (MMH_DEVICE_ITEMS / SCAN_PART)
#define SCAN_WORDS ((SCAN_PART + 1) * SCAN_PARTS) /* one more for each part: other banks */
#define SCAN_SUMS (3 * SCAN_WORDS)
#define SCAN_TOTALS (SCAN_SUMS + 3 * SCAN_PARTS)

FUNCTION void scan_items(LOCAL uint *scan, uint sum[3], uint item)
{
    uint own = item + item / SCAN_PART, part = item / SCAN_PART;
    for (uint p = 0; p < 3; p++)
        scan[p * SCAN_WORDS + own] = sum[p];
    BARRIER();
    if (item < 3 * SCAN_PARTS) {
        LOCAL uint *at = scan + item * (SCAN_PART + 1);
        uint total = 0;
        for (uint i = 0; i < SCAN_PART; i++) {
            uint value = at[i];
            at[i] = total;
            total += value;
        }
        scan[SCAN_SUMS + item] = total;
    }
    BARRIER();
    if (item < 3) {
        LOCAL uint *at = scan + SCAN_SUMS + item * SCAN_PARTS;
        uint total = 0;
        for (uint i = 0; i < SCAN_PARTS; i++) {
            uint value = at[i];
            at[i] = total;
            total += value;
        }
        scan[SCAN_TOTALS + item] = total;
    }
    BARRIER();
    for (uint p = 0; p < 3; p++)
        sum[p] = scan[p * SCAN_WORDS + own] + scan[SCAN_SUMS + p * SCAN_PARTS + part];
}

/*
 * One group decodes one block: the places of all tiers by one scan of popcounts, then the tiers
 * from the last to the first. One list of symbols in local memory grows in place from tier to tier,
 * from its end: an entry never takes a symbol from behind its own place.
 */
KERNEL(mmh_tiers_group, MMH_DEVICE_ITEMS)(BUFFERS)
{
    LOCAL_ARRAY(uint, list, MMH_DEVICE_RUN / 4);
    LOCAL_ARRAY(ushort, starts, MMH_DEVICE_TIERS *WORDS);
    LOCAL_ARRAY(uint, counts, MMH_DEVICE_TIERS + 1); /* entries; the last: escapes */
    LOCAL_ARRAY(uint, places, MMH_DEVICE_TIERS + 1); /* of the planes, in words */
    uint item = ITEM, index = side[work + 2 * GROUP], block = side[work + 2 * GROUP + 1];
    GLOBAL const struct mmh_device_fields *field = fields + index;
    GLOBAL const uchar *payload = payloads + (ulong)field->payload * MMH_DEVICE_UNIT;
    uint tier_count = field->tier_count;
    GLOBAL const ushort *entry =
        (GLOBAL const ushort *)(payload + field->directory) + block * (1 + tier_count);
    GLOBAL const uint *base = (GLOBAL const uint *)(payload + field->blocks) + (uint)entry[0];
    if (item <= tier_count) {
        uint left = field->elements - block * MMH_DEVICE_RUN;
        counts[item] = item ? entry[item] : left < MMH_DEVICE_RUN ? left : MMH_DEVICE_RUN;
    }
    BARRIER();
    if (item <= tier_count) {
        uint place = 0;
        for (uint k = 0; k < item; k++)
            place += (counts[k] + 31) / 32 * 2;
        places[item] = place;
    }
    BARRIER();

    /* Item i counts the 3s of words 2 i and 2 i + 1 of each tier; two tiers share a word to scan. */
    uint sum[MMH_DEVICE_TIERS / 2] = { 0, 0, 0 };
    bool damaged = false;
    for (uint k = 0; k < MMH_DEVICE_TIERS; k++) {
        if (k >= tier_count)
            break;
        GLOBAL const uint *planes = base + places[k];
        uint count = counts[k], words = (count + 31) / 32, threes[2] = { 0, 0 };
        for (uint w = 0; w < 2; w++) {
            uint word = 2 * item + w;
            if (word >= words)
                continue;
            uint plane0 = planes[word], plane1 = planes[words + word], used = count - 32 * word;
            threes[w] = POPCOUNT(plane0 & plane1);
            if (used < 32 && (plane0 | plane1) >> used)
                damaged = true; /* a bit that belongs to no entry */
        }
        starts[k * WORDS + 2 * item + 1] = (ushort)threes[0]; /* within the item, for now */
        sum[k / 2] += (threes[0] + threes[1]) << (k % 2 * 16);
    }
    LOCAL uint *scan = list; /* before there is a list */
    scan_items(scan, sum, item);
    for (uint k = 0; k < MMH_DEVICE_TIERS; k++)
        if (k < tier_count) {
            uint start = sum[k / 2] >> (k % 2 * 16) & 0xffff, at = k * WORDS + 2 * item;
            starts[at] = (ushort)start;
            starts[at + 1] = (ushort)(starts[at + 1] + start);
        }
    if (item < tier_count &&
        (scan[SCAN_TOTALS + item / 2] >> (item % 2 * 16) & 0xffff) != counts[item + 1])
        damaged = true;
    if (damaged)
        ATOMIC_OR(&flags[index], 1u);
    BARRIER();

    for (uint u = item; u < (counts[tier_count] + 3) / 4; u += MMH_DEVICE_ITEMS)
        list[u] = base[places[tier_count] + u];
    BARRIER();
    for (uint k = tier_count - 1; k >= 1; k--) {
        GLOBAL const uint *planes = base + places[k];
        uint ranks = field->ranks[k], words = (counts[k] + 31) / 32, units = (counts[k] + 7) / 8;
        for (uint batch = (units + MMH_DEVICE_ITEMS - 1) / MMH_DEVICE_ITEMS; batch-- > 0;) {
            uint u = batch * MMH_DEVICE_ITEMS + item;
            uint2 symbols = UINT2(0, 0);
            if (u < units)
                symbols = tier_eight(planes, words, ranks, starts + k * WORDS, list, u);
            BARRIER();
            if (u < units) {
                list[2 * u] = symbols.x;
                list[2 * u + 1] = symbols.y;
            }
        }
        BARRIER();
    }

    struct chunk chunk = chunk_of(payloads, field, side, models, output);
    uint ranks = field->ranks[0], first = block * MMH_DEVICE_RUN;
    uint words = (counts[0] + 31) / 32, units = (counts[0] + 7) / 8;
    bool shifted = field->shifted;
    struct walk walk;
    walk.step = 8 * MMH_DEVICE_ITEMS;
    if (shifted)
        walk_to(&walk, &chunk, first + 8 * item);
    for (uint u = item; u < units; u += MMH_DEVICE_ITEMS) {
        uint2 symbols = tier_eight(base, words, ranks, starts, list, u);
        if (shifted) {
            symbols = UINT2(add_four(symbols.x, walk_four(&walk, &chunk, 0)),
                            add_four(symbols.y, walk_four(&walk, &chunk, 4)));
            walk_on(&walk, &chunk);
        }
        merge_eight(&chunk, first + 8 * u, symbols);
    }
}

KERNEL(mmh_fill_group, MMH_DEVICE_ITEMS)(BUFFERS)
{
    uint index = side[work + 2 * GROUP], first = side[work + 2 * GROUP + 1] * MMH_DEVICE_RUN;
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    uint left = chunk.elements - first, symbol = chunk.fields->fill;
    uint units = ((left < MMH_DEVICE_RUN ? left : MMH_DEVICE_RUN) + 7) / 8;
    for (uint u = ITEM; u < units; u += MMH_DEVICE_ITEMS)
        merge_eight(&chunk, first + 8 * u, UINT2(symbol, symbol));
}

/* 32 items decode one stripe, `stripes` of them in a group. Every item of the group takes every
 * step, whether it has a symbol left or not: a ballot may be a barrier. */
FUNCTION void rans_group(const struct chunk *chunk, GLOBAL const uint *models,
                         GLOBAL uint *flag, uint first_stripe, uint stripes, bool in_local,
                         LOCAL uint *tables, LOCAL uint *slots, LOCAL uchar *map)
{
    GLOBAL const struct mmh_device_fields *fields = chunk->fields;
    uint item = ITEM, lane = item % MMH_DEVICE_LANES, turn = item / MMH_DEVICE_LANES;
    uint items = stripes * MMH_DEVICE_LANES, bits = fields->table_bits, mask = (1u << bits) - 1;
    uint many_tables = fields->table_count > 1;
    if (item < 3 * stripes)
        slots[item] = 0;
    for (uint i = item; i < 64; i += items)
        map[i] = ((GLOBAL const uchar *)(models + fields->map))[i];
    if (in_local)
        for (uint i = item; i < fields->compact_words; i += items)
            tables[i] = models[fields->compact + i];
    BARRIER();
    LOCAL const uchar *compact = (LOCAL const uchar *)tables;
    LOCAL const uint *ranges = tables + fields->compact_ranges;
    GLOBAL const uint *global_tables = models + fields->tables;
    uint stride = fields->compact_stride;
    slots += 3 * turn;

    uint stripe = first_stripe + turn, stripe_elements = fields->stripe_elements;
    uint group_left = chunk->elements - first_stripe * stripe_elements;
    uint group_units = ((group_left < stripe_elements ? group_left : stripe_elements) + 127) / 128;
    bool has_stripe = stripe < fields->stripe_count;
    uint first = stripe * stripe_elements, units = 0, x = 1u << 16, word_count = 0, used = 0;
    GLOBAL const ushort *words = (GLOBAL const ushort *)chunk->payload;
    if (has_stripe) {
        uint left = chunk->elements - first;
        units = ((left < stripe_elements ? left : stripe_elements) + 127) / 128;
        GLOBAL const uint *entry = chunk->side + fields->stripes + 2 * stripe;
        x = ((GLOBAL const uint *)(chunk->payload + entry[0]))[lane];
        words = (GLOBAL const ushort *)(chunk->payload + entry[0] + 4 * MMH_DEVICE_LANES);
        word_count = entry[1];
    }
    struct walk walk;
    walk.step = 128;
    if (many_tables)
        walk_to(&walk, chunk, has_stripe ? first + 4 * lane : 0);
    uint below = (1u << lane) - 1, slot_turn = 0;
    for (uint unit = 0; unit < group_units; unit++) {
        bool active = unit < units;
        uint element = first + 128 * unit + 4 * lane, symbols = 0, ids = 0;
        if (many_tables && active) {
            uint classes = walk_four(&walk, chunk, 0);
            for (uint e = 0; e < 4; e++)
                if (element + e < chunk->elements) /* what fills a stripe up has table 0 */
                    ids |= (uint)map[bin_of(classes >> (8 * e))] << (8 * e);
            walk_on(&walk, chunk);
        }
        for (uint e = 0; e < 4; e++) {
            uint slot = x & mask, id = ids >> (8 * e) & 255, symbol = 0;
            if (active) {
                uint entry, offset;
                if (in_local) {
                    entry = ranges[id * stride + compact[(id << bits) + slot]];
                    offset = slot - (entry & 4095);
                } else {
                    entry = global_tables[(id << bits) + slot];
                    offset = entry & 4095;
                }
                symbol = entry >> 24;
                x = (entry >> 12 & 4095) * (x >> bits) + offset;
            }
            bool need = active && x < 1u << 16;
            uint lanes = ballot(slots, slot_turn, lane, need);
            if (need) {
                uint at = used + POPCOUNT(lanes & below);
                x = x << 16 | (at < word_count ? words[at] : 0);
            }
            used += POPCOUNT(lanes);
            slot_turn = slot_turn == 2 ? 0 : slot_turn + 1;
            symbols |= symbol << (8 * e);
        }
        if (active && element < chunk->elements)
            merge_four(chunk, element, symbols);
    }
    if (x != 1u << 16 || used != word_count)
        ATOMIC_OR(flag, 1u);
}

KERNEL(mmh_rans_group_local, MMH_LOCAL_STRIPES *MMH_DEVICE_LANES)
(BUFFERS LOCAL_PARAMETER(uint, tables))
{
    LOCAL_OF_HOST(uint, tables);
    LOCAL_ARRAY(uint, slots, 3 * MMH_LOCAL_STRIPES);
    LOCAL_ARRAY(uchar, map, 64);
    uint index = side[work + 2 * GROUP], part = side[work + 2 * GROUP + 1];
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    rans_group(&chunk, models, flags + index, part, MMH_LOCAL_STRIPES, true, tables, slots, map);
}

KERNEL(mmh_rans_group_global, MMH_GLOBAL_STRIPES *MMH_DEVICE_LANES)(BUFFERS)
{
    LOCAL_ARRAY(uint, slots, 3 * MMH_GLOBAL_STRIPES);
    LOCAL_ARRAY(uchar, map, 64);
    uint index = side[work + 2 * GROUP], part = side[work + 2 * GROUP + 1];
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    rans_group(&chunk, models, flags + index, part, MMH_GLOBAL_STRIPES, false, slots, slots, map);
}

#endif

/* ---- both styles ---- */

/* An item writes the head of one patched element; the chunk's other kernels have ended. */
KERNEL(mmh_patch, MMH_DEVICE_PATCH_ITEMS)(BUFFERS)
{
    GLOBAL const struct mmh_device_fields *chunk = fields + side[work + 2 * GROUP];
    uint patch = side[work + 2 * GROUP + 1] * MMH_DEVICE_PATCH_ITEMS + ITEM;
    if (patch >= chunk->patch_count)
        return;
    GLOBAL const uchar *payload = payloads + (ulong)chunk->payload * MMH_DEVICE_UNIT;
    uint position = ((GLOBAL const uint *)(payload + chunk->positions))[patch];
    ushort head = ((GLOBAL const ushort *)(payload + chunk->heads))[patch];
    GLOBAL uchar *element = output + (ulong)chunk->output * MMH_DEVICE_UNIT +
                            (ulong)position * chunk->element_bytes;
    *(GLOBAL ushort *)(element + chunk->element_bytes - 2) = head;
}

/* ---- item style: OpenCL alone ---- */

#if defined(MMH_ITEM_STYLE)

/* Write elements i..i+15 (i a multiple of 16), as far as there are so many. Vectors go to memory
 * through pointers to vectors: vstore16 is one store for each element with some compilers. */
FUNCTION void merge_sixteen(const struct chunk *chunk, uint i, uchar16 bytes)
{
    ushort16 symbol = convert_ushort16(bytes), stored = (ushort16)(0);
    uint bits = chunk->stored_bits, group = i / 64, quarter = i % 64 / 16;
    if (bits & 8)
        stored = convert_ushort16(vload16(0, chunk->payload + chunk->plane8 + i));
    if (bits & 4) {
        uchar16 four = vload16(quarter % 2, chunk->payload + chunk->plane4 + 32 * group);
        stored = stored << (ushort)4 |
                 convert_ushort16(four >> (uchar)(quarter / 2 * 4) & (uchar)15);
    }
    if (bits & 2) {
        uchar16 two = vload16(0, chunk->payload + chunk->plane2 + 16 * group);
        stored = stored << (ushort)2 | convert_ushort16(two >> (uchar)(2 * quarter) & (uchar)3);
    }
    if (bits & 1) {
        uchar8 one = vload8(0, chunk->payload + chunk->plane1 + 8 * group);
        uchar16 two = (uchar16)(one >> (uchar)(2 * quarter), one >> (uchar)(2 * quarter + 1));
        stored = stored << (ushort)1 | convert_ushort16(two & (uchar)1);
    }
    ushort16 high = as_ushort16(symbol >= (ushort)(1u << chunk->mantissa_bits));
    symbol += high & (ushort)chunk->window;
    ushort16 head = symbol << (ushort)chunk->symbol_shift & (ushort)0x7fff;
    if (chunk->sign_stored)
        head |= stored >> (ushort)1 << (ushort)chunk->zero_low | stored << (ushort)15;
    else
        head |= stored << (ushort)chunk->zero_low | (ushort)chunk->sign;
    uint left = chunk->elements - i;
    if (chunk->element_bytes == 2) {
        GLOBAL ushort *out = (GLOBAL ushort *)chunk->output + i;
        if (left >= 16) {
            *(GLOBAL ushort16 *)out = head;
            return;
        }
        ushort16 last = head;
        for (uint e = 0; e < left; e++)
            out[e] = ((const ushort *)&last)[e];
        return;
    }
    ushort16 tail;
    if (chunk->tail_mode == 1) {
        tail = vload16(0, (GLOBAL const ushort *)(chunk->payload + chunk->tail) + i);
    } else {
        uint2 pairs[4];
        for (uint e = 0; e < 4; e++)
            pairs[e] = tails_four(chunk, i + 4 * e);
        tail = as_ushort16((uint8)(pairs[0], pairs[1], pairs[2], pairs[3]));
    }
    uint16 element = convert_uint16(head) << 16 | convert_uint16(tail);
    GLOBAL uint *out = (GLOBAL uint *)chunk->output + i;
    if (left >= 16) {
        *(GLOBAL uint16 *)out = element;
        return;
    }
    uint16 last = element;
    for (uint e = 0; e < left; e++)
        out[e] = ((const uint *)&last)[e];
}

/* Write `count` elements from `first`, a multiple of 64, on. */
FUNCTION void merge_run(const struct chunk *chunk, uint first, uint count, const uchar16 *symbols)
{
    for (uint i = 0; i < count; i += 16)
        merge_sixteen(chunk, first + i, symbols[i / 16]);
}

KERNEL(mmh_fill_item, 1)(BUFFERS)
{
    uint index = side[work + 2 * GROUP], first = side[work + 2 * GROUP + 1] * MMH_DEVICE_RUN;
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    uint left = chunk.elements - first;
    uchar16 symbols = (uchar16)((uchar)chunk.fields->fill);
    for (uint i = 0; i < left && i < MMH_DEVICE_RUN; i += 16)
        merge_sixteen(&chunk, first + i, symbols);
}

/* Row class + column class of the sixteen elements from here on. */
FUNCTION uchar16 walk_sixteen(const struct walk *walk, const struct chunk *chunk)
{
    if (walk->column + 16 <= walk->columns && walk->element + 16 <= walk->end) {
        uchar16 classes = (uchar16)((uchar)row_class(walk, walk->row));
        if (walk->has_columns)
            classes += vload16(0, walk->column_classes + walk->column);
        return classes;
    }
    return as_uchar16((uint4)(walk_four(walk, chunk, 0), walk_four(walk, chunk, 4),
                              walk_four(walk, chunk, 8), walk_four(walk, chunk, 12)));
}

/* One tier of one block. */
struct tier {
    GLOBAL const uint *plane0, *plane1;
    uint count, words;
};

/* The tiers of a block and what follows them. Returns the number of escapes. */
FUNCTION uint tiers_of(struct tier tiers[MMH_DEVICE_TIERS], GLOBAL const uint **escapes,
                       const struct chunk *chunk, uint block)
{
    GLOBAL const struct mmh_device_fields *fields = chunk->fields;
    uint tier_count = fields->tier_count;
    GLOBAL const ushort *entry =
        (GLOBAL const ushort *)(chunk->payload + fields->directory) + block * (1 + tier_count);
    GLOBAL const uint *at =
        (GLOBAL const uint *)(chunk->payload + fields->blocks) + (uint)entry[0];
    uint left = chunk->elements - block * MMH_DEVICE_RUN;
    uint count = left < MMH_DEVICE_RUN ? left : MMH_DEVICE_RUN;
    for (uint k = 0; k < tier_count; k++) {
        tiers[k].count = count;
        tiers[k].words = (count + 31) / 32;
        tiers[k].plane0 = at;
        tiers[k].plane1 = at + tiers[k].words;
        at += 2 * tiers[k].words;
        count = entry[1 + k];
    }
    *escapes = at;
    return count;
}

/* Symbols of a tier from those of the later ones. Whole words: both have room for a block. The
 * words of a tier hold at most as many 3s as a block has symbols, so no place is beyond the list.
 * Returns how many 3s there were, or more than any count if a bit belongs to no entry. */
FUNCTION uint tier_item(uchar16 *symbols, const struct tier *tier, uint ranks, const uchar *list)
{
    uchar *bytes = (uchar *)symbols;
    const uchar16 bits = (uchar16)(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
    const uchar16 rank0 = (uchar16)((uchar)ranks);
    const uchar16 flip1 = rank0 ^ (uchar16)((uchar)(ranks >> 8));
    const uchar16 flip2 = rank0 ^ (uchar16)((uchar)(ranks >> 16));
    uint at = 0;
    for (uint w = 0; w < tier->words; w++) {
        uint plane0 = tier->plane0[w], plane1 = tier->plane1[w], later = plane0 & plane1;
        for (uint part = 0; part < 2; part++) {
            uint shift = 16 * part;
            uchar16 byte0 = (uchar16)((uchar8)((uchar)(plane0 >> shift)),
                                      (uchar8)((uchar)(plane0 >> (shift + 8))));
            uchar16 byte1 = (uchar16)((uchar8)((uchar)(plane1 >> shift)),
                                      (uchar8)((uchar)(plane1 >> (shift + 8))));
            uchar16 is1 = as_uchar16((byte0 & bits) != (uchar)0);
            uchar16 is2 = as_uchar16((byte1 & bits) != (uchar)0);
            symbols[2 * w + part] = rank0 ^ (is1 & flip1) ^ (is2 & flip2);
        }
        for (uint left = later; left; left &= left - 1)
            bytes[32 * w + 31 - clz(left & (0 - left))] = list[at++];
        uint used = tier->count - 32 * w;
        if (used < 32 && (plane0 | plane1) >> used)
            at += 2 * MMH_DEVICE_RUN; /* the last word: no place follows */
    }
    return at;
}

KERNEL(mmh_tiers_item, 1)(BUFFERS)
{
    uint index = side[work + 2 * GROUP], block = side[work + 2 * GROUP + 1];
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    struct tier tiers[MMH_DEVICE_TIERS];
    GLOBAL const uint *escapes;
    uint wanted = tiers_of(tiers, &escapes, &chunk, block);
    uchar16 lists[2][MMH_DEVICE_RUN / 16];
    uint now = 0;
    for (uint i = 0; i < (wanted + 3) / 4; i++)
        ((uint *)lists[0])[i] = escapes[i];
    bool damaged = false;
    for (uint k = chunk.fields->tier_count; k-- > 0;) {
        damaged |= tier_item(lists[now ^ 1], &tiers[k], chunk.fields->ranks[k],
                             (const uchar *)lists[now]) !=
                   wanted;
        wanted = tiers[k].count;
        now ^= 1;
    }
    if (damaged)
        atomic_or(&flags[index], 1u);
    uint first = block * MMH_DEVICE_RUN;
    if (chunk.fields->shifted) {
        struct walk walk;
        walk.step = 16;
        walk_to(&walk, &chunk, first);
        for (uint i = 0; i < wanted; i += 16) {
            lists[now][i / 16] += walk_sixteen(&walk, &chunk);
            walk_on(&walk, &chunk);
        }
    }
    merge_run(&chunk, first, wanted, lists[now]);
}

KERNEL(mmh_rans_item, 1)(BUFFERS)
{
    uint index = side[work + 2 * GROUP], stripe = side[work + 2 * GROUP + 1];
    struct chunk chunk = chunk_of(payloads, fields + index, side, models, output);
    GLOBAL const struct mmh_device_fields *f = chunk.fields;
    GLOBAL const uint *entry = side + f->stripes + 2 * stripe;
    GLOBAL const uint *states = (GLOBAL const uint *)(chunk.payload + entry[0]);
    GLOBAL const ushort *words =
        (GLOBAL const ushort *)(chunk.payload + entry[0] + 4 * MMH_DEVICE_LANES);
    GLOBAL const uint *tables = models + f->tables;
    GLOBAL const uchar *map = (GLOBAL const uchar *)(models + f->map);
    uint word_count = entry[1], used = 0, bits = f->table_bits, mask = (1u << bits) - 1;
    uint first = stripe * f->stripe_elements, left = chunk.elements - first;
    uint count = left < f->stripe_elements ? left : f->stripe_elements;
    uint x[MMH_DEVICE_LANES], table[128];
    uchar16 symbols[8];
    for (uint l = 0; l < MMH_DEVICE_LANES; l++)
        x[l] = states[l];
    for (uint i = 0; i < 128; i++)
        table[i] = 0;
    struct walk walk;
    walk.step = 16;
    if (f->table_count > 1)
        walk_to(&walk, &chunk, first);
    for (uint unit = 0; unit < count; unit += 128) {
        if (f->table_count > 1)
            for (uint i = 0; i < 128; i += 16) {
                char16 sums = as_char16(walk_sixteen(&walk, &chunk));
                uchar16 bins = as_uchar16(clamp(add_sat(sums, (char16)(32)), (char16)(0),
                                                (char16)(63)));
                for (uint e = 0; e < 16; e++) {
                    uint id = map[((const uchar *)&bins)[e]];
                    table[i + e] = unit + i + e < count ? id << bits : 0;
                }
                walk_on(&walk, &chunk);
            }
        for (uint e = 0; e < 4; e++) {
            for (uint l = 0; l < MMH_DEVICE_LANES; l++) {
                uint slot = tables[table[4 * l + e] + (x[l] & mask)];
                x[l] = (slot >> 12 & 4095) * (x[l] >> bits) + (slot & 4095);
                ((uchar *)symbols)[4 * l + e] = (uchar)(slot >> 24);
            }
            /* A word is read whether it is needed or not: no branch to guess. The last one, behind
             * which there is nothing, serves for all that are beyond it. */
            for (uint l = 0; l < MMH_DEVICE_LANES; l++) {
                uint word = used < word_count ? words[used] : 0, need = x[l] < 1u << 16;
                x[l] = need ? x[l] << 16 | word : x[l];
                used += need;
            }
        }
        merge_run(&chunk, first + unit, count - unit < 128 ? count - unit : 128, symbols);
    }
    uint wrong = used ^ word_count;
    for (uint l = 0; l < MMH_DEVICE_LANES; l++)
        wrong |= x[l] ^ 1u << 16;
    if (wrong)
        atomic_or(&flags[index], 1u);
}

#endif
