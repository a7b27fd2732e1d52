/*
 * mmh cat: tensors, parts of them, and files, to standard output or a file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/host.h"
#include "cli/outfile.h"
#include "cli/progress.h"
#include "cli/selection.h"

enum {
    PIECE_BYTES = 16 << 20, /* that are held at a time */
    SPAN = 1024,            /* elements that are turned into numbers at a time */
    SUMMARY_ABOVE = 1000,   /* elements; of more a terminal is shown the edges */
    EDGE = 3
};

/* What is being written. */
struct cat {
    const struct mmh_cli_options *options;
    mmh_reader *reader;
    const char *container;
    FILE *out;
    uint64_t number; /* of the tensor */
    mmh_tensor_info tensor;
    struct mmh_selection selection;
    uint8_t *buffer;                  /* [PIECE_BYTES] */
    uint64_t first, end;              /* elements of the tensor that the buffer holds */
    uint64_t last;                    /* the last one that will be wanted */
    uint64_t done_bytes, total_bytes; /* of the tensor or file that is being written */
    uint64_t asked_bytes;             /* of all so far */
    mmh_error *err;
};

static mmh_status fail(struct cat *cat, mmh_status status, const char *format, ...)
    MMH_CLI_PRINTF(3, 4);
static mmh_status fail(struct cat *cat, mmh_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cat->err->message, sizeof cat->err->message, format, arguments);
    va_end(arguments);
    return cat->err->status = status;
}

static mmh_status put(struct cat *cat, const void *data, size_t bytes)
{
    cat->done_bytes += bytes;
    if (bytes && fwrite(data, 1, bytes, cat->out) != bytes) {
        if (!cat->options->output)
            mmh_host_output_failed();
        return fail(cat, MMH_E_IO, "cannot write: %s", strerror(errno));
    }
    if (cat->options->output) /* else the numbers themselves are in the way */
        mmh_bar_own("cat", cat->done_bytes, cat->total_bytes);
    if (mmh_host_interrupted())
        return fail(cat, MMH_E_CANCELLED, "interrupted");
    return MMH_OK;
}

/* ---- what the elements become ---- */

/* Elements in a block of a block type; 0 for all others. */
static unsigned block_elements(mmh_dtype dtype)
{
    unsigned bytes, elements = mmh_dtype_block(dtype, &bytes);
    return elements > 1 ? elements : 0;
}

/* Bytes of so many elements of a type of whole bytes, or of whole blocks. */
static uint64_t bytes_of(uint64_t count, mmh_dtype dtype)
{
    unsigned bytes, elements = mmh_dtype_block(dtype, &bytes);
    return elements > 1 ? count / elements * bytes : count * bytes;
}

struct npy_type {
    const char *text;  /* numpy's name, for little-endian */
    mmh_dtype written; /* the type that is written: wider where numpy has none */
};

/* Every type that numpy lacks fits in one that it has, exactly. */
static struct npy_type npy_type(mmh_dtype dtype)
{
    static const struct npy_type types[MMH_DTYPE_COUNT] = {
        [MMH_DTYPE_OPAQUE] = { "|u1", MMH_DTYPE_U8 },  [MMH_DTYPE_BOOL] = { "|b1", MMH_DTYPE_BOOL },
        [MMH_DTYPE_U8] = { "|u1", MMH_DTYPE_U8 },      [MMH_DTYPE_I8] = { "|i1", MMH_DTYPE_I8 },
        [MMH_DTYPE_U16] = { "<u2", MMH_DTYPE_U16 },    [MMH_DTYPE_I16] = { "<i2", MMH_DTYPE_I16 },
        [MMH_DTYPE_U32] = { "<u4", MMH_DTYPE_U32 },    [MMH_DTYPE_I32] = { "<i4", MMH_DTYPE_I32 },
        [MMH_DTYPE_U64] = { "<u8", MMH_DTYPE_U64 },    [MMH_DTYPE_I64] = { "<i8", MMH_DTYPE_I64 },
        [MMH_DTYPE_F16] = { "<f2", MMH_DTYPE_F16 },    [MMH_DTYPE_F32] = { "<f4", MMH_DTYPE_F32 },
        [MMH_DTYPE_F64] = { "<f8", MMH_DTYPE_F64 },    [MMH_DTYPE_C64] = { "<c8", MMH_DTYPE_C64 },
        [MMH_DTYPE_C128] = { "<c16", MMH_DTYPE_C128 }, [MMH_DTYPE_I4] = { "|i1", MMH_DTYPE_I8 },
        [MMH_DTYPE_U4] = { "|u1", MMH_DTYPE_U8 },      [MMH_DTYPE_I2] = { "|i1", MMH_DTYPE_I8 },
        [MMH_DTYPE_U2] = { "|u1", MMH_DTYPE_U8 },
    };
    if (block_elements(dtype))
        return (struct npy_type){ "|u1", dtype };
    return types[dtype].text ? types[dtype] : (struct npy_type){ "<f4", MMH_DTYPE_F32 };
}

/* Turn the bytes of every number around. */
static void reverse(uint8_t *data, size_t bytes, mmh_dtype dtype)
{
    unsigned values = mmh_dtype_values(dtype); /* 0: blocks, whose bytes stay as they are */
    size_t width = values ? mmh_dtype_bit_count(dtype) / 8 / values : 1;
    for (size_t at = 0; width > 1 && at + width <= bytes; at += width)
        for (size_t i = 0; i < width / 2; i++) {
            uint8_t byte = data[at + i];
            data[at + i] = data[at + width - 1 - i];
            data[at + width - 1 - i] = byte;
        }
}

/* Little-endian, whatever the host is. */
static void to_little_endian(uint8_t *data, size_t bytes, mmh_dtype dtype)
{
    const uint16_t probe = 1;
    if (*(const uint8_t *)&probe == 0)
        reverse(data, bytes, dtype);
}

/* Numbers as a wider type. */
static mmh_status put_wide(struct cat *cat, const double *values, size_t count, mmh_dtype written)
{
    uint8_t wide[SPAN * 4];
    size_t width = mmh_dtype_bit_count(written) / 8;
    for (size_t i = 0; i < count; i++) {
        float number = (float)values[i];
        if (written == MMH_DTYPE_F32)
            memcpy(wide + i * width, &number, width);
        else
            wide[i] = (uint8_t)(int)values[i];
    }
    to_little_endian(wide, count * width, written);
    return put(cat, wide, count * width);
}

/* Elements [first, first + count) of data, in the type that is written. */
static mmh_status put_elements(struct cat *cat, uint8_t *data, size_t bytes, uint64_t first,
                               uint64_t count, bool npy)
{
    mmh_dtype dtype = cat->tensor.dtype;
    mmh_dtype written = npy ? npy_type(dtype).written : dtype;
    if (written == dtype || dtype == MMH_DTYPE_OPAQUE) {
        to_little_endian(data, bytes, dtype);
        return put(cat, data, bytes);
    }
    mmh_status status = MMH_OK;
    for (uint64_t done = 0; done < count && status == MMH_OK; done += SPAN) {
        double values[SPAN];
        size_t span = count - done < SPAN ? (size_t)(count - done) : SPAN;
        status = mmh_values(values, data, bytes, dtype, first + done, span, cat->err);
        if (status == MMH_OK)
            status = put_wide(cat, values, span, written);
    }
    return status;
}

/* ---- pieces ---- */

/* The dimension that varies slowest in the order of the file, number `n` from there. */
static uint32_t slow_dimension(const struct cat *cat, uint32_t n)
{
    return cat->tensor.column_major ? cat->selection.dimensions - 1 - n : n;
}

/* Bytes of a file as they are. */
static mmh_status put_bytes(struct cat *cat, uint64_t file, uint64_t offset, uint64_t count)
{
    mmh_status status = MMH_OK;
    for (uint64_t done = 0; done < count && status == MMH_OK;) {
        size_t bytes = count - done < PIECE_BYTES ? (size_t)(count - done) : PIECE_BYTES;
        status = mmh_read(cat->reader, file, offset + done, cat->buffer, bytes, cat->err);
        if (status == MMH_OK)
            status = put(cat, cat->buffer, bytes);
        done += bytes;
    }
    return status;
}

/* Write a row of blocks that the buffer does not hold: a box of one row. */
static mmh_status put_row(struct cat *cat, const struct mmh_selection *box, uint64_t bytes)
{
    uint64_t row = 0;
    for (uint32_t n = 0; n + 1 < box->dimensions; n++) {
        uint32_t d = slow_dimension(cat, n);
        row = row * cat->tensor.shape[d] + box->begin[d];
    }
    return put_bytes(cat, cat->tensor.file, cat->tensor.file_offset + row * bytes, bytes);
}

/* Write a box in the order of the file, halved until it fits the buffer. */
static mmh_status put_box(struct cat *cat, const struct mmh_selection *box, bool npy)
{
    uint64_t count = mmh_selection_count(box), bytes = bytes_of(count, cat->tensor.dtype);
    if (bytes <= PIECE_BYTES) {
        mmh_status status = mmh_load_slice(cat->reader, cat->number, box->begin, box->end,
                                           cat->buffer, PIECE_BYTES, cat->err);
        return status == MMH_OK
                 ? put_elements(cat, cat->buffer, (size_t)bytes, 0, (size_t)count, npy)
                 : status;
    }
    for (uint32_t n = 0; n < box->dimensions; n++) {
        uint32_t d = slow_dimension(cat, n);
        uint64_t length = box->end[d] - box->begin[d];
        if (length < 2 || (n + 1 == box->dimensions && block_elements(cat->tensor.dtype)))
            continue;
        struct mmh_selection half = *box;
        half.end[d] = box->begin[d] + length / 2;
        mmh_status status = put_box(cat, &half, npy);
        half.begin[d] = half.end[d];
        half.end[d] = box->end[d];
        return status == MMH_OK ? put_box(cat, &half, npy) : status;
    }
    return put_row(cat, box, bytes);
}

/* Strides in elements, the tensor's own if it has any, and where the selection begins. */
static uint64_t strides(uint64_t *stride, const struct cat *cat)
{
    uint64_t size = 1, first = 0;
    for (uint32_t n = cat->selection.dimensions; n-- > 0;) {
        uint32_t d = slow_dimension(cat, n);
        stride[d] = cat->tensor.strides ? cat->tensor.strides[d] : size;
        size *= cat->tensor.shape[d];
        first += cat->selection.begin[d] * stride[d];
    }
    return first;
}

/* From the file's byte order to the host's. */
static void to_host_order(uint8_t *data, size_t bytes, const mmh_tensor_info *tensor)
{
    const uint16_t probe = 1;
    bool host_is_big = *(const uint8_t *)&probe == 0;
    if (tensor->big_endian != host_is_big)
        reverse(data, bytes, tensor->dtype);
}

/*
 * Have element `number` of the tensor, and what follows it as far as there is room, in the buffer:
 * *index is its place there, *count how many there are from it on. Elements are numbered in the
 * order of the file, and asked for mostly in that order: each is read once then.
 */
static mmh_status window(struct cat *cat, uint64_t number, uint64_t *index, uint64_t *count)
{
    unsigned bits = mmh_dtype_bit_count(cat->tensor.dtype);
    if (number < cat->first || number >= cat->end) {
        uint64_t first = number / 4 * 4; /* of 6 bits: at a whole byte */
        uint64_t room = (uint64_t)PIECE_BYTES * 8 / bits / 4 * 4;
        uint64_t end = cat->last - first < room ? cat->last + 1 : first + room;
        uint64_t begin_byte = first / 4 * bits / 2; /* first * bits / 8, and never too large */
        uint64_t bytes = ((end - first) * bits + 7) / 8;
        cat->first = cat->end = 0;
        mmh_status status = mmh_read(cat->reader, cat->tensor.file,
                                     cat->tensor.file_offset + begin_byte, cat->buffer,
                                     (size_t)bytes, cat->err);
        if (status != MMH_OK)
            return status;
        to_host_order(cat->buffer, (size_t)bytes, &cat->tensor);
        cat->first = first;
        cat->end = end;
    }
    *index = number - cat->first;
    *count = cat->end - number;
    return MMH_OK;
}

/* Begin to read a selection by windows: strides in elements, and the number of its first. */
static uint64_t begin_windows(uint64_t *stride, struct cat *cat)
{
    uint64_t first = strides(stride, cat);
    cat->first = cat->end = 0;
    cat->last = first;
    for (uint32_t d = 0; d < cat->selection.dimensions; d++)
        cat->last += (cat->selection.end[d] - cat->selection.begin[d] - 1) * stride[d];
    return first;
}

/* A selection of elements that share bytes: runs along the fastest dimension. */
static mmh_status put_packed(struct cat *cat)
{
    const struct mmh_selection *selection = &cat->selection;
    uint64_t stride[MMH_SELECTION_DIMENSIONS_MAX], at[MMH_SELECTION_DIMENSIONS_MAX] = { 0 };
    uint64_t first = begin_windows(stride, cat), count = mmh_selection_count(selection);
    uint32_t fast = selection->dimensions ? slow_dimension(cat, selection->dimensions - 1) : 0;
    uint64_t run = selection->dimensions ? selection->end[fast] - selection->begin[fast] : 1;
    mmh_status status = MMH_OK;
    for (uint64_t done = 0; done < count && status == MMH_OK; done += run) {
        uint64_t element = first, index, there;
        for (uint32_t d = 0; d < selection->dimensions; d++)
            element += at[d] * stride[d];
        for (uint64_t part = 0; part < run && status == MMH_OK; part += there) {
            status = window(cat, element + part, &index, &there);
            if (status != MMH_OK)
                break;
            there = there < run - part ? there : run - part;
            status = put_elements(cat, cat->buffer, PIECE_BYTES, index, there, true);
        }
        for (uint32_t n = selection->dimensions; n-- > 1;) {
            uint32_t d = slow_dimension(cat, n - 1);
            if (++at[d] < selection->end[d] - selection->begin[d])
                break;
            at[d] = 0;
        }
    }
    return status;
}

static mmh_status put_npy_header(struct cat *cat)
{
    uint64_t shape[MMH_SELECTION_DIMENSIONS_MAX];
    uint32_t dimensions = mmh_selection_shape(shape, &cat->selection);
    char header[64 * 24 + 160];
    struct npy_type type = npy_type(cat->tensor.dtype);
    size_t used = 10;
    bool blocks = block_elements(cat->tensor.dtype) != 0;
    if (blocks) { /* of whole rows: the fastest dimension is there */
        uint64_t *row = &shape[cat->tensor.column_major ? 0 : dimensions - 1];
        *row = bytes_of(*row, cat->tensor.dtype);
        mmh_message_note("numpy has no %s: rows of %s are written as their bytes, %" PRIu64 " each",
                         mmh_dtype_text(cat->tensor.dtype), cat->tensor.name, *row);
    }
    used += (size_t)snprintf(header + used, sizeof header - used,
                             "{'descr': '%s', 'fortran_order': %s, 'shape': (", type.text,
                             cat->tensor.column_major ? "True" : "False");
    for (uint32_t d = 0; d < dimensions; d++)
        used += (size_t)snprintf(header + used, sizeof header - used, "%s%" PRIu64, d ? ", " : "",
                                 shape[d]);
    used += (size_t)snprintf(header + used, sizeof header - used, "%s), }",
                             dimensions == 1 ? "," : "");
    size_t end = (used + 1 + 63) / 64 * 64; /* numpy aligns the data so */
    memset(header + used, ' ', end - used);
    header[end - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01", 8);
    header[7] = 0;
    header[8] = (char)((end - 10) & 255);
    header[9] = (char)((end - 10) >> 8);
    if (type.written != cat->tensor.dtype && cat->tensor.dtype != MMH_DTYPE_OPAQUE)
        mmh_message_note("numpy has no %s: %s is written as %s, exactly",
                         mmh_dtype_text(cat->tensor.dtype), cat->tensor.name,
                         mmh_dtype_text(type.written));
    return put(cat, header, end);
}

/* ---- numbers for people ---- */

/* As many digits as tell every two values of the type apart. */
static int digits_of(mmh_dtype dtype)
{
    switch (dtype) {
    case MMH_DTYPE_F64:
    case MMH_DTYPE_C128:
        return 17;
    case MMH_DTYPE_F32:
    case MMH_DTYPE_C64:
        return 9;
    case MMH_DTYPE_F16:
        return 5;
    case MMH_DTYPE_BF16:
    case MMH_DTYPE_F8_E8M0:
        return 4;
    default:
        return mmh_dtype_bit_count(dtype) > 8 ? 20 : 3;
    }
}

/* The shortest text that reads back as the same value of the type. */
static void number_text(char *out, size_t room, double value, int digits, bool single)
{
    if (value == floor(value) && fabs(value) < 1e7) { /* not 1e+03 */
        snprintf(out, room, "%.0f", value);
        return;
    }
    for (int precision = 1; precision <= digits; precision++) {
        snprintf(out, room, "%.*g", precision, value);
        double back = strtod(out, NULL);
        if (single ? (float)back == (float)value : back == value)
            return;
    }
}

static void element_text(char *out, size_t room, const uint8_t *element, mmh_dtype dtype,
                         const double *values)
{
    uint64_t bits;
    bool single = dtype != MMH_DTYPE_F64 && dtype != MMH_DTYPE_C128;
    switch (dtype) {
    case MMH_DTYPE_U64:
    case MMH_DTYPE_I64:
        memcpy(&bits, element, sizeof bits);
        if (dtype == MMH_DTYPE_U64)
            snprintf(out, room, "%" PRIu64, bits);
        else
            snprintf(out, room, "%" PRId64, (int64_t)bits);
        return;
    case MMH_DTYPE_BOOL:
        snprintf(out, room, "%s", values[0] == 0 ? "false" : "true");
        return;
    case MMH_DTYPE_C64:
    case MMH_DTYPE_C128: {
        char real[32], imaginary[32];
        number_text(real, sizeof real, values[0], digits_of(dtype), single);
        number_text(imaginary, sizeof imaginary, values[1], digits_of(dtype), single);
        snprintf(out, room, "%s%s%si", real, imaginary[0] == '-' ? "" : "+", imaginary);
        return;
    }
    default:
        if (digits_of(dtype) == 20 || dtype == MMH_DTYPE_OPAQUE || dtype == MMH_DTYPE_U8 ||
            dtype == MMH_DTYPE_I8)
            snprintf(out, room, "%.0f", values[0]);
        else
            number_text(out, room, values[0], digits_of(dtype), single);
    }
}

/* Print elements [from, to) of the last dimension of the row that begins at `at`. */
static mmh_status print_run(struct cat *cat, const uint64_t *at, uint64_t from, uint64_t to)
{
    uint32_t dimensions = cat->selection.dimensions;
    unsigned bits = mmh_dtype_bit_count(cat->tensor.dtype);
    uint64_t stride[MMH_SELECTION_DIMENSIONS_MAX], row = strides(stride, cat);
    for (uint32_t d = 0; d + 1 < dimensions; d++)
        row += at[d] * stride[d];
    uint64_t step = dimensions ? stride[dimensions - 1] : 1;
    for (uint64_t i = from; i < to; i++) {
        char text[96];
        double values[2];
        uint64_t index, there;
        mmh_status status = window(cat, row + i * step, &index, &there);
        if (status == MMH_OK)
            status = mmh_values(values, cat->buffer, PIECE_BYTES, cat->tensor.dtype, index, 1,
                                cat->err);
        if (status != MMH_OK)
            return status;
        element_text(text, sizeof text, cat->buffer + index * (bits / 8), cat->tensor.dtype,
                     values);
        fprintf(cat->out, "%s%s", i > from ? ", " : "", text);
    }
    return MMH_OK;
}

/* Print dimension d and those within it as numpy does. edges: of long dimensions only these. */
static mmh_status print_dimension(struct cat *cat, uint64_t *at, uint32_t d, unsigned depth,
                                  bool edges)
{
    const struct mmh_selection *selection = &cat->selection;
    bool last = d + 1 >= selection->dimensions;
    if (!selection->dimensions)
        return print_run(cat, at, 0, 1);
    uint64_t length = selection->end[d] - selection->begin[d];
    bool brackets = !selection->dropped[d], cut = edges && length > 2 * EDGE;
    mmh_status status = MMH_OK;
    if (mmh_host_interrupted())
        return fail(cat, MMH_E_CANCELLED, "interrupted");
    if (brackets)
        putc('[', cat->out);
    if (last) {
        status = print_run(cat, at, 0, cut ? EDGE : length);
        if (cut && status == MMH_OK) {
            fputs(", ..., ", cat->out);
            status = print_run(cat, at, length - EDGE, length);
        }
    }
    for (uint64_t i = 0; i < length && status == MMH_OK && !last; i++) {
        if (i && brackets)
            fprintf(cat->out, ",\n%*s", (int)(depth + 1), "");
        if (cut && i == EDGE) {
            fprintf(cat->out, "...,\n%*s", (int)(depth + 1), "");
            i = length - EDGE;
        }
        at[d] = i;
        status = print_dimension(cat, at, d + 1, depth + brackets, edges);
    }
    if (brackets)
        putc(']', cat->out);
    return status;
}

static mmh_status print_text(struct cat *cat, const char *name)
{
    uint64_t at[MMH_SELECTION_DIMENSIONS_MAX] = { 0 }, shape[MMH_SELECTION_DIMENSIONS_MAX];
    uint32_t dimensions = mmh_selection_shape(shape, &cat->selection);
    uint64_t count = mmh_selection_count(&cat->selection);
    char *clean = mmh_cli_clean(name);
    fprintf(cat->out, "%s: %s [", clean, mmh_dtype_text(cat->tensor.dtype));
    free(clean);
    for (uint32_t d = 0; d < dimensions; d++)
        fprintf(cat->out, "%s%" PRIu64, d ? ", " : "", shape[d]);
    fputs("]\n", cat->out);
    uint64_t stride[MMH_SELECTION_DIMENSIONS_MAX];
    if (count)
        (void)begin_windows(stride, cat);
    mmh_status status = count ? print_dimension(cat, at, 0, 0,
                                                !cat->options->text && count > SUMMARY_ABOVE)
                              : MMH_OK;
    if (status == MMH_OK)
        fputs(count ? "\n" : "[]\n", cat->out);
    return status;
}

/* ---- tensors and files ---- */

/* Whether rows are taken whole, and are of whole blocks. */
static bool whole_rows(const struct cat *cat)
{
    unsigned block = block_elements(cat->tensor.dtype);
    if (!block || !cat->selection.dimensions)
        return false; /* a scalar is less than a block */
    uint32_t fast = slow_dimension(cat, cat->selection.dimensions - 1);
    return cat->selection.begin[fast] == 0 && !cat->selection.dropped[fast] &&
           cat->selection.end[fast] == cat->tensor.shape[fast] &&
           cat->tensor.shape[fast] % block == 0;
}

/* A tensor of a block type: bytes, whatever is asked for. */
static mmh_status cat_blocks(struct cat *cat, bool npy, bool text, char **hint)
{
    const char *type = mmh_dtype_text(cat->tensor.dtype), *name = cat->tensor.name;
    if (text) {
        *hint = mmh_cli_format("--npy -o FILE.npy writes its bytes");
        return fail(cat, MMH_E_UNSUPPORTED, "\"%s\" is %s, numbers in blocks: it has no text", name,
                    type);
    }
    if (!whole_rows(cat) && (npy || !cat->selection.whole)) {
        *hint = mmh_cli_format("take rows whole, along the %s dimension",
                               cat->tensor.column_major ? "first" : "last");
        return fail(cat, MMH_E_UNSUPPORTED, "\"%s\" is %s, blocks of %u elements: no part of a row",
                    name, type, block_elements(cat->tensor.dtype));
    }
    mmh_status status = npy ? put_npy_header(cat) : MMH_OK;
    if (status != MMH_OK || !mmh_selection_count(&cat->selection))
        return status;
    return cat->selection.whole
             ? put_bytes(cat, cat->tensor.file, cat->tensor.file_offset, cat->tensor.bytes)
             : put_box(cat, &cat->selection, npy);
}

/* Whether what comes now is over --max-size, with what was written before; told then. */
static bool too_much(struct cat *cat)
{
    uint64_t limit = cat->options->max_bytes;
    cat->asked_bytes += cat->total_bytes;
    if (!limit || (cat->total_bytes <= limit && cat->asked_bytes <= limit))
        return false;
    fail(cat, MMH_E_LIMIT, "\"%s\" takes %" PRIu64 " bytes more, over the limit of %" PRIu64,
         cat->tensor.name, cat->total_bytes, limit);
    return true;
}

static mmh_status cat_tensor(struct cat *cat, const char *name, bool text, char **hint)
{
    mmh_dtype dtype = cat->tensor.dtype;
    bool npy = cat->options->npy && !text, packed = mmh_dtype_bit_count(dtype) % 8 != 0;
    bool blocks = block_elements(dtype) != 0;
    uint64_t count = mmh_selection_count(&cat->selection);
    mmh_status status = MMH_OK;
    cat->total_bytes = packed && !npy && !text ? cat->tensor.bytes
                     : blocks
                         ? bytes_of(count, dtype)
                         : count * mmh_dtype_bit_count(npy ? npy_type(dtype).written : dtype) / 8;
    cat->done_bytes = 0;
    if (too_much(cat))
        return cat->err->status;
    if (blocks)
        return cat_blocks(cat, npy, text, hint);
    if (text)
        return print_text(cat, name);
    if (packed && !npy && !cat->selection.whole) {
        *hint = mmh_cli_format("--npy -o FILE.npy writes each by itself");
        return fail(cat, MMH_E_UNSUPPORTED,
                    "elements of %s share bytes: a part of \"%s\" has no raw form",
                    mmh_dtype_text(dtype), cat->tensor.name);
    }
    if (npy)
        status = put_npy_header(cat);
    if (status != MMH_OK || !count)
        return status;
    status = !packed ? put_box(cat, &cat->selection, npy)
           : npy     ? put_packed(cat)
                     : put_bytes(cat, cat->tensor.file, cat->tensor.file_offset, cat->tensor.bytes);
    if (status == MMH_OK && !npy && cat->tensor.column_major && cat->tensor.dimensions > 1)
        mmh_message_note("%s is stored with its first dimension fastest, and written so",
                         cat->tensor.name);
    return status;
}

static mmh_status cat_file(struct cat *cat, uint64_t file, const mmh_file_info *info)
{
    cat->tensor.name = info->name;
    cat->total_bytes = info->bytes;
    cat->done_bytes = 0;
    return too_much(cat) ? cat->err->status : put_bytes(cat, file, 0, info->bytes);
}

/* The regular file of a name, or (NULL) the only one there is. */
static bool find_file(struct cat *cat, const char *name, uint64_t *file, mmh_file_info *info)
{
    uint64_t count = 0;
    mmh_file_info now = { .struct_size = sizeof now };
    for (uint64_t i = 0; mmh_file(cat->reader, i, &now, NULL) == MMH_OK; i++)
        if (now.kind == MMH_FILE_REGULAR && (!name || strcmp(now.name, name) == 0)) {
            *info = now;
            *file = i;
            count++;
        }
    return count == 1;
}

/* The name of a tensor or file near to what was typed; NULL if none is. */
static const char *nearest_name(struct cat *cat, const char *name)
{
    enum { NAMES_MAX = 20000 };
    const char **names = mmh_cli_alloc(NAMES_MAX * sizeof *names);
    size_t count = 0;
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    mmh_file_info file = { .struct_size = sizeof file };
    while (count < NAMES_MAX && mmh_tensor(cat->reader, count, &tensor, NULL) == MMH_OK)
        names[count++] = tensor.name;
    for (uint64_t i = 0; count < NAMES_MAX && mmh_file(cat->reader, i, &file, NULL) == MMH_OK; i++)
        names[count++] = file.name;
    const char *nearest = mmh_message_nearest(name, names, count);
    free(names);
    return nearest;
}

/* Refuse a bare name that tensors of several files have: which one is meant? */
static mmh_status check_only(struct cat *cat, const char *name, size_t length, char **hint)
{
    mmh_tensor_info other = { .struct_size = sizeof other };
    mmh_file_info file = { .struct_size = sizeof file };
    if (strlen(cat->tensor.name) != length || strncmp(cat->tensor.name, name, length) != 0)
        return MMH_OK; /* "file:tensor" */
    for (uint64_t i = cat->number + 1; mmh_tensor(cat->reader, i, &other, NULL) == MMH_OK; i++) {
        if (other.file == cat->tensor.file || strcmp(other.name, cat->tensor.name) != 0)
            continue;
        mmh_status status = mmh_file(cat->reader, cat->tensor.file, &file, cat->err);
        if (status != MMH_OK)
            return status;
        *hint = mmh_cli_format("FILE:NAME says which: %s:%s", file.name, name);
        return fail(cat, MMH_E_USAGE, "several files have a tensor \"%s\"", cat->tensor.name);
    }
    return MMH_OK;
}

static mmh_status cat_name(struct cat *cat, const char *name, bool text, char **hint)
{
    mmh_file_info info = { .struct_size = sizeof info };
    uint64_t file;
    size_t split = strlen(name);
    cat->tensor = (mmh_tensor_info){ .struct_size = sizeof cat->tensor };
    mmh_status status = mmh_find(cat->reader, name, &cat->number, NULL);
    if (status != MMH_OK && find_file(cat, name, &file, &info)) {
        if (!cat->options->npy)
            return cat_file(cat, file, &info);
        return fail(cat, MMH_E_USAGE, "\"%s\" is a file and no tensor: no --npy", name);
    }
    if (status != MMH_OK && (split = mmh_selection_split(name)) < strlen(name)) {
        char *tensor = mmh_cli_format("%.*s", (int)split, name);
        status = mmh_find(cat->reader, tensor, &cat->number, NULL);
        free(tensor);
    }
    if (status != MMH_OK) {
        char *wanted = mmh_cli_format("%.*s", (int)split, name);
        if (find_file(cat, wanted, &file, &info)) {
            *hint = mmh_cli_format("\"mmh ls %s\" lists the tensors", cat->container);
            status = fail(cat, MMH_E_USAGE, "\"%s\" is a file and no tensor: it has no parts",
                          wanted);
            free(wanted);
            return status;
        }
        const char *nearest = nearest_name(cat, wanted);
        *hint = nearest ? mmh_cli_format("did you mean \"%s\"?", nearest)
                        : mmh_cli_format("\"mmh ls %s\" lists what there is", cat->container);
        status = fail(cat, MMH_E_USAGE, "there is no tensor and no file \"%s\"", wanted);
        free(wanted);
        return status;
    }
    status = mmh_tensor(cat->reader, cat->number, &cat->tensor, cat->err);
    if (status == MMH_OK)
        status = check_only(cat, name, split, hint);
    if (status != MMH_OK)
        return status;
    char problem[160];
    if (name[split]) {
        if (!mmh_selection_parse(&cat->selection, name + split + 1, strlen(name + split) - 2,
                                 &cat->tensor, problem, sizeof problem)) {
            *hint = mmh_cli_format("as in numpy: %.*s[0:16, :], [-1], [..., 3]", (int)split, name);
            return fail(cat, MMH_E_USAGE, "%.*s: %s", (int)split, name, problem);
        }
    } else if (!mmh_selection_all(&cat->selection, &cat->tensor)) {
        return fail(cat, MMH_E_UNSUPPORTED, "\"%s\" has too many dimensions", name);
    }
    return cat_tensor(cat, name, text, hint);
}

static mmh_status cat_all(struct cat *cat, bool text, char **hint)
{
    mmh_file_info info = { .struct_size = sizeof info };
    uint64_t file;
    mmh_status status = MMH_OK;
    if (cat->options->input_count < 2) {
        if (cat->options->npy || text || !find_file(cat, NULL, &file, &info)) {
            *hint = mmh_cli_format("\"mmh ls %s\" lists them", cat->container);
            return fail(cat, MMH_E_USAGE, "name the tensors or files to print");
        }
        return cat_file(cat, file, &info);
    }
    for (size_t i = 1; i < cat->options->input_count && status == MMH_OK; i++)
        status = cat_name(cat, cat->options->inputs[i], text, hint);
    return status;
}

/* Whether a path is one of the files that are read. */
static bool is_input(struct cat *cat, const char *where, const char *path)
{
    mmh_file_info info = { .struct_size = sizeof info };
    if (mmh_host_same(where, path))
        return true;
    bool folder = mmh_host_kind(where) == MMH_HOST_FOLDER, same = false;
    char *parent = folder ? mmh_cli_format("%s", where) : mmh_cli_folder_of(where);
    for (uint64_t i = 0; !same && mmh_file(cat->reader, i, &info, NULL) == MMH_OK; i++) {
        char *file = mmh_cli_join(parent,
                                  info.name); /* of an original: a shard, or in the folder */
        same = mmh_host_same(file, path) && !info.digest_bytes;
        free(file);
    }
    free(parent);
    return same;
}

int mmh_cmd_cat(const struct mmh_cli_options *options, mmh_context *context)
{
    int code = MMH_EXIT_OK;
    mmh_error err = { 0 };
    static const char exists[] = "-f replaces it, -o names another";
    struct mmh_outfile out;
    char *hint = NULL;
    bool replace = options->force;
    const char *container = options->inputs[0], *output = options->output;
    bool to_terminal = !output && mmh_host_is_terminal(stdout);
    bool text = options->text || (to_terminal && !options->npy && !options->to_stdout);
    if (options->text && options->npy)
        return mmh_cli_refuse(options, container, NULL, "--text and --npy exclude each other");
    if (options->json && !output)
        return mmh_cli_refuse(options, container, "name a file with -o",
                              "--json and what is printed both want standard output");
    if (options->npy && to_terminal && !options->force)
        return mmh_cli_refuse(options, container, "-o FILE.npy, or > FILE.npy",
                              "an npy file is nothing for a terminal");
    mmh_reader *reader = NULL;
    mmh_bar_begin(container, 0, 1);
    const char *where = mmh_cli_begin_input(options, container, NULL, &code);
    if (where)
        reader = mmh_cli_open_model(options, context, container, &code);
    mmh_bar_end();
    if (!reader) {
        mmh_cli_end_input();
        return code;
    }
    struct cat cat = { .options = options, .reader = reader, .container = container, .err = &err };
    if (output && is_input(&cat, where, output)) {
        fail(&cat, MMH_E_USAGE, "\"%s\" is input and output", output);
    } else if (!mmh_outfile_open(&out, output, replace)) {
        code = mmh_outfile_fail(options, container, output, exists);
    } else {
        cat.out = out.file;
        cat.buffer = mmh_cli_alloc(PIECE_BYTES);
        mmh_bar_begin(container, 0, 1);
        mmh_status status = cat_all(&cat, text, &hint);
        mmh_bar_end();
        free(cat.buffer);
        if (status != MMH_OK)
            mmh_outfile_abandon(&out);
        else if (!mmh_outfile_commit(&out, replace) && output)
            code = mmh_outfile_fail(options, container, output, exists);
        else if (options->json) {
            struct mmh_json_out json;
            mmh_cli_json_begin(&json, options, container, MMH_OK, code);
            mmh_json_out_text(&json, "output", output);
            mmh_json_out_end(&json);
            (void)mmh_json_out_finish(&json);
        }
    }
    if (err.status == MMH_E_IO && !output && mmh_host_pipe_closed())
        mmh_cli_pipe_closed();
    if (err.status != MMH_OK)
        code = (err.status == MMH_E_CORRUPT || err.status == MMH_E_UNSUPPORTED) && !hint
                 ? mmh_cli_fail_container(options, container, &err, mmh_exit_of(err.status))
                 : mmh_cli_fail(options, container, &err, mmh_exit_of(err.status), hint);
    free(hint);
    mmh_close(reader);
    mmh_cli_end_input();
    return code;
}
