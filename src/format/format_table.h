/*
 * Inside the format room: what each format_*.c gives, and how it reads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_FORMAT_TABLE_H
#define MMH_FORMAT_TABLE_H

#include "format/format.h"

enum { MMH_FORMAT_HEAD_BYTES = 16 };

/* What detection looks at. */
struct mmh_format_probe {
    const struct mmh_source *source;
    const struct mmh_format_options *options; /* never NULL */
    uint8_t head[MMH_FORMAT_HEAD_BYTES];      /* the file's first bytes */
    size_t head_bytes;                        /* fewer only if the file has no more */
};

struct mmh_format {
    const char *name;
    const char *suffix; /* that its files have; NULL: none of their own */

    /* True if the file looks like one of this format: a cheap and narrow test. */
    bool (*detect)(const struct mmh_format_probe *probe);

    /*
     * Add its tensors and metadata. MMH_E_CORRUPT and MMH_E_UNSUPPORTED mean that the file is not
     * of this format after all: the message becomes a remark, what was added is discarded, and
     * the next format gets its turn. Other failures are the caller's.
     */
    mmh_status (*map)(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                      mmh_error *err);
};

/* The table, in the order in which formats are asked; NULL past its end. */
const struct mmh_format *mmh_format_at(size_t index);

extern const struct mmh_format mmh_format_safetensors;
extern const struct mmh_format mmh_format_npy;
extern const struct mmh_format mmh_format_shard_index;
extern const struct mmh_format mmh_format_raw;
extern const struct mmh_format mmh_format_opaque;

/*
 * Bytes [offset, offset + bytes) of the source with a NUL after them, for mmh_free (allocator as
 * the caller's). The caller has checked that the source has them.
 */
mmh_status mmh_source_take(uint8_t **data, const struct mmh_source *source, uint64_t offset,
                           size_t bytes, const mmh_allocator *allocator, mmh_error *err);

/* The file's name without folders and without its last suffix, or "array"; NULL: no memory. */
const char *mmh_source_stem(const struct mmh_source *source, struct mmh_arena *arena);

#endif
