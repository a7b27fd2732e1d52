/*
 * PEM read strictly and written.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 7468, RFC 4648. Base64 is computed without tables, so that no cache tells of secrets.
 */
#include "crypto/pem.h"

#include <string.h>

#include "base/bits.h"
#include "crypto/secret.h"

enum { LABEL_BYTES_MAX = 64, LINE_BYTES = 64 };

static const char begin_mark[] = "-----BEGIN ", end_mark[] = "-----END ", dashes[] = "-----";

/* ---- reading ---- */

void mmh_pem_init(struct mmh_pem *pem, const char *text, size_t bytes, const char *name)
{
    static const char mark[] = "\xef\xbb\xbf"; /* UTF-8's, that editors put there */
    *pem = (struct mmh_pem){ .text = text, .bytes = bytes, .name = name };
    if (bytes >= 3 && memcmp(text, mark, 3) == 0)
        pem->position = 3;
}

void mmh_pem_item_release(struct mmh_pem_item *item)
{
    mmh_secret_free(item->data, item->bytes);
    item->data = NULL;
    item->bytes = 0;
}

bool mmh_pem_item_is(const struct mmh_pem_item *item, const char *text)
{
    return item->text_bytes == strlen(text) && memcmp(item->text, text, item->text_bytes) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line without white space around it; false at the end. */
static bool next_line(struct mmh_pem *pem, const char **line, size_t *bytes)
{
    if (pem->position >= pem->bytes)
        return false;
    const char *from = pem->text + pem->position;
    size_t left = pem->bytes - pem->position;
    const char *newline = memchr(from, '\n', left);
    size_t length = newline ? (size_t)(newline - from) : left;
    pem->position += length + (newline ? 1 : 0);
    pem->line++;
    while (length && is_blank(from[length - 1]))
        length--;
    while (length && is_blank(*from)) {
        from++;
        length--;
    }
    *line = from;
    *bytes = length;
    return true;
}

static bool begins(const char *line, size_t bytes, const char *with)
{
    return bytes >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

/* The label of "-----BEGIN label-----"; false: the line is no such thing. */
static bool label_of(const char *line, size_t bytes, const char *mark, const char **label,
                     size_t *label_bytes)
{
    size_t before = strlen(mark), after = sizeof dashes - 1;
    if (!begins(line, bytes, mark) || bytes <= before + after ||
        memcmp(line + bytes - after, dashes, after) != 0)
        return false;
    *label = line + before;
    *label_bytes = bytes - before - after;
    if (*label_bytes > LABEL_BYTES_MAX)
        return false;
    for (size_t i = 0; i < *label_bytes; i++)
        if ((*label)[i] < ' ' || (*label)[i] > '~')
            return false;
    return true;
}

/* All ones if low <= c <= high, else 0. */
static unsigned within(unsigned c, unsigned low, unsigned high)
{
    return ((c - low) >> 31 ^ 1U) & ((high - c) >> 31 ^ 1U) ? ~0U : 0U;
}

/* 0..63, or more: no digit. */
static unsigned digit_of(unsigned char c)
{
    unsigned digit = 64 & ~(within(c, 'A', 'Z') | within(c, 'a', 'z') | within(c, '0', '9') |
                            within(c, '+', '+') | within(c, '/', '/'));
    digit |= (c - 'A' + 0U) & within(c, 'A', 'Z');
    digit |= (c - 'a' + 26U) & within(c, 'a', 'z');
    digit |= (c - '0' + 52U) & within(c, '0', '9');
    digit |= 62U & within(c, '+', '+');
    return digit | (63U & within(c, '/', '/'));
}

/* Base64 as it comes, line by line. */
struct decoder {
    uint8_t *data;
    size_t bytes;
    uint32_t bits;
    unsigned count;   /* of digits in bits, 0..3 */
    unsigned padding; /* of '=' seen */
};

static bool decode_line(struct decoder *decoder, const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (line[i] == '=') {
            decoder->padding++;
            continue;
        }
        unsigned digit = digit_of((unsigned char)line[i]);
        if (digit > 63 || decoder->padding)
            return false;
        decoder->bits = decoder->bits << 6 | digit;
        if (++decoder->count == 4) {
            decoder->data[decoder->bytes++] = (uint8_t)(decoder->bits >> 16);
            decoder->data[decoder->bytes++] = (uint8_t)(decoder->bits >> 8);
            decoder->data[decoder->bytes++] = (uint8_t)decoder->bits;
            decoder->count = 0;
            decoder->bits = 0;
        }
    }
    return true;
}

/* The last one to three bytes; false unless the padding is right and the bits left over are 0. */
static bool decode_end(struct decoder *decoder)
{
    unsigned count = decoder->count;
    if (count == 1 || decoder->padding != (count ? 4 - count : 0))
        return false;
    uint32_t bits = decoder->bits << 6 * (4 - count);
    for (unsigned i = 1; count && i < count; i++)
        decoder->data[decoder->bytes++] = (uint8_t)(bits >> (24 - 8 * i));
    return !count || !(bits & (count == 2 ? 0xffffU : 0xffU));
}

static mmh_status broken(const struct mmh_pem *pem, const char *what, mmh_error *err)
{
    return mmh_fail(err, MMH_E_KEY, "%s, line %u: %s", pem->name, pem->line, what);
}

/* The lines of a block, up to its end. */
static mmh_status read_block(struct mmh_pem *pem, struct mmh_pem_item *item,
                             struct decoder *decoder, mmh_error *err)
{
    const char *line, *label;
    size_t bytes, label_bytes;
    while (next_line(pem, &line, &bytes)) {
        if (begins(line, bytes, dashes)) {
            if (!label_of(line, bytes, end_mark, &label, &label_bytes) ||
                label_bytes != item->text_bytes || memcmp(label, item->text, label_bytes) != 0)
                return broken(pem, "the key that begins before does not end here", err);
            return decode_end(decoder) && decoder->bytes
                     ? MMH_OK
                     : broken(pem, "the base64 of this key is cut off", err);
        }
        if (memchr(line, ':', bytes))
            return broken(pem,
                          "keys with headers of their own (old PEM encryption) are not read: "
                          "`openssl pkcs8 -topk8` writes them anew",
                          err);
        if (!decode_line(decoder, line, bytes))
            return broken(pem, "this is no base64", err);
    }
    return broken(pem, "the text ends within a key", err);
}

mmh_status mmh_pem_next(struct mmh_pem *pem, struct mmh_pem_item *item, mmh_error *err)
{
    const char *line, *label;
    size_t bytes;
    memset(item, 0, sizeof *item);
    do
        if (!next_line(pem, &line, &bytes))
            return MMH_OK; /* MMH_PEM_END */
    while (!bytes || *line == '#');
    item->line = pem->line;
    if (!begins(line, bytes, dashes)) {
        item->kind = MMH_PEM_LINE;
        item->text = line;
        item->text_bytes = bytes;
        return MMH_OK;
    }
    if (!label_of(line, bytes, begin_mark, &label, &item->text_bytes))
        return broken(pem, "this begins no key", err);
    item->text = label;
    item->kind = MMH_PEM_BLOCK;
    /* Room for all that could be of this block: up to the next mark. */
    const char *from = pem->text + pem->position;
    size_t left = pem->bytes - pem->position;
    const char *end = memchr(from, '-', left);
    size_t room = (end ? (size_t)(end - from) : left) / 4 * 3 + 3;
    struct decoder decoder = { .data = mmh_secret_alloc(room) };
    if (!decoder.data)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    mmh_status status = read_block(pem, item, &decoder, err);
    if (status == MMH_OK && (item->data = mmh_secret_alloc(decoder.bytes))) {
        item->bytes = decoder.bytes;
        memcpy(item->data, decoder.data, decoder.bytes);
    } else if (status == MMH_OK)
        status = mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    mmh_secret_free(decoder.data, room);
    mmh_wipe(&decoder, sizeof decoder);
    return status;
}

/* ---- writing ---- */

void mmh_secret_text_add(struct mmh_secret_text *text, const void *data, size_t bytes)
{
    if (text->failed)
        return;
    if (bytes > text->room - text->bytes) {
        size_t room = MMH_MAX(2 * text->room, text->bytes + bytes + 4096);
        char *grown = mmh_secret_alloc(room);
        if (!grown) {
            text->failed = true;
            return;
        }
        if (text->bytes)
            memcpy(grown, text->data, text->bytes);
        mmh_secret_free(text->data, text->room);
        text->data = grown;
        text->room = room;
    }
    if (bytes)
        memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

void mmh_secret_text_release(struct mmh_secret_text *text)
{
    mmh_secret_free(text->data, text->room);
    memset(text, 0, sizeof *text);
}

static char character_of(unsigned digit)
{
    unsigned c = ('A' + digit) & within(digit, 0, 25);
    c |= ('a' + digit - 26) & within(digit, 26, 51);
    c |= ('0' + digit - 52) & within(digit, 52, 61);
    c |= '+' & within(digit, 62, 62);
    return (char)(c | ('/' & within(digit, 63, 63)));
}

static void add_mark(struct mmh_secret_text *text, const char *mark, const char *label)
{
    mmh_secret_text_add(text, mark, strlen(mark));
    mmh_secret_text_add(text, label, strlen(label));
    mmh_secret_text_add(text, "-----\n", 6);
}

void mmh_pem_write(struct mmh_secret_text *text, const char *label, const uint8_t *data,
                   size_t bytes)
{
    char line[LINE_BYTES + 1];
    add_mark(text, begin_mark, label);
    for (size_t at = 0; at < bytes;) {
        size_t length = 0;
        for (; length < LINE_BYTES && at < bytes; at += 3, length += 4) {
            size_t left = MMH_MIN(bytes - at, (size_t)3);
            uint32_t bits = (uint32_t)data[at] << 16;
            bits |= left > 1 ? (uint32_t)data[at + 1] << 8 : 0;
            bits |= left > 2 ? data[at + 2] : 0;
            for (unsigned i = 0; i < 4; i++)
                line[length + i] = i > left ? '=' : character_of(bits >> (18 - 6 * i) & 63);
        }
        line[length++] = '\n';
        mmh_secret_text_add(text, line, length);
    }
    add_mark(text, end_mark, label);
    mmh_wipe(line, sizeof line);
}
