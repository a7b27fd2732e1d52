/*
 * A pickle followed opcode by opcode into a graph of plain values: nothing is imported, called or
 * executed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_PICKLE_H
#define MMH_PICKLE_H

#include "format/format_table.h"

enum mmh_pickle_kind {
    MMH_PICKLE_OTHER = 0, /* None, floats, large integers: nothing is asked of them */
    MMH_PICKLE_INTEGER,   /* truth values too */
    MMH_PICKLE_TEXT,      /* str, bytes, bytearray */
    MMH_PICKLE_TUPLE,
    MMH_PICKLE_LIST, /* sets too */
    MMH_PICKLE_DICT,
    MMH_PICKLE_GLOBAL,    /* a class or function */
    MMH_PICKLE_CALL,      /* what calling one would give: its arguments, state, items */
    MMH_PICKLE_PERSISTENT /* what lies outside of the pickle */
};

struct mmh_pickle_item {
    struct mmh_pickle_item *next;
    struct mmh_pickle_value *key; /* NULL in sequences */
    struct mmh_pickle_value *value;
};

struct mmh_pickle_value {
    uint8_t kind;  /* enum mmh_pickle_kind */
    bool is_open;  /* for who walks the graph: it is being looked at (values may hold themselves) */
    uint16_t seen; /* for who walks the graph: how often it was looked at */
    uint32_t count; /* items */
    union {
        int64_t integer;
        struct {
            const char *text; /* with a NUL after it; NULL: longer than MMH_PICKLE_TEXT_MAX, or with
                                 a NUL in it. Of a global "module name" */
            uint64_t offset, bytes; /* in the source; not of a global */
        };
        struct {
            struct mmh_pickle_item *first, *last;
            struct mmh_pickle_value *callee, *arguments, *state; /* of a call; state may be NULL */
            void *found;                                         /* for who walks the graph */
        };
        struct { /* of a persistent one */
            struct mmh_pickle_value *id;
            struct mmh_pickle_value *before; /* the one before it in the pickle */
        };
    };
};

enum { MMH_PICKLE_TEXT_MAX = 4096 };

struct mmh_pickle {
    struct mmh_pickle_value *root;
    struct mmh_pickle_value *last_persistent; /* and on by `before` */
    size_t value_count;
};

/*
 * Read one pickle (protocol 0 to 5) of a stream, which stands behind its STOP afterwards. Values go
 * to the arena, which takes at most some 32 MB and three times the source. Fails with MMH_E_CORRUPT
 * or MMH_E_UNSUPPORTED (too large, or too deep for what its bytes warrant).
 */
mmh_status mmh_pickle_read(struct mmh_pickle *pickle, struct mmh_arena *arena,
                           struct mmh_stream *in, mmh_error *err);

/* ---- looking at values; all take NULL ---- */

/* Whether it is the global "module name". */
bool mmh_pickle_is_global(const struct mmh_pickle_value *value, const char *name);

/* Whether it is what calling the global "module name" would give. */
bool mmh_pickle_is_call(const struct mmh_pickle_value *value, const char *name);

/* Item `index` of a tuple or list; NULL: it is none, or has fewer. */
struct mmh_pickle_value *mmh_pickle_at(const struct mmh_pickle_value *value, size_t index);

/* The value of a text key in a dict, or in an object that holds items; NULL: none. */
struct mmh_pickle_value *mmh_pickle_find(const struct mmh_pickle_value *value, const char *key);

/* The text; NULL: it is none. */
const char *mmh_pickle_text(const struct mmh_pickle_value *value);

/* False unless it is an integer >= 0. */
bool mmh_pickle_natural(uint64_t *number, const struct mmh_pickle_value *value);

/* The natural numbers of a tuple, list or torch.Size, at most `room`; -1: it is none of them. */
int mmh_pickle_naturals(uint64_t *numbers, unsigned room, const struct mmh_pickle_value *value);

#endif
