/*
 * PEM, strictly: blocks of base64 between BEGIN and END, and lines between the blocks.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 7468, its strict grammar, but for lines of any length. All of the text is given, as
 * block or as line: nothing is passed over but empty lines and those that begin with '#'.
 */
#ifndef MMH_PEM_H
#define MMH_PEM_H

#include "base/status.h"

/* ---- reading ---- */

struct mmh_pem {
    const char *text; /* lives as long as the reader */
    size_t bytes, position;
    unsigned line; /* of the line that was read last, from 1 */
    const char *name;
};

enum mmh_pem_kind { MMH_PEM_END, MMH_PEM_LINE, MMH_PEM_BLOCK };

struct mmh_pem_item {
    enum mmh_pem_kind kind;
    const char
        *text; /* the line, without white space around it; or the label; in the reader's text */
    size_t text_bytes;
    unsigned line;
    uint8_t *data; /* of a block: what it holds, for mmh_pem_item_release */
    size_t bytes;
};

/* name: for messages. */
void mmh_pem_init(struct mmh_pem *pem, const char *text, size_t bytes, const char *name);
/* Fails with MMH_E_KEY where the text is broken. */
mmh_status mmh_pem_next(struct mmh_pem *pem, struct mmh_pem_item *item, mmh_error *err);
void mmh_pem_item_release(struct mmh_pem_item *item); /* wipes */
bool mmh_pem_item_is(const struct mmh_pem_item *item, const char *text);

/* ---- writing ---- */

/* Text that grows in memory for secrets. */
struct mmh_secret_text {
    char *data;
    size_t bytes, room;
    bool failed;
};

void mmh_secret_text_add(struct mmh_secret_text *text, const void *data, size_t bytes);
void mmh_secret_text_release(struct mmh_secret_text *text);
void mmh_pem_write(struct mmh_secret_text *text, const char *label, const uint8_t *data,
                   size_t bytes);

#endif
