/*
 * The directory of a zip archive: which entries there are, and which of them lie plainly in the file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_ZIP_H
#define MMH_ZIP_H

#include "format/format_table.h"

enum { MMH_ZIP_STORED = 0 };

struct mmh_zip_entry {
    const char *name; /* UTF-8, or what the archive has instead; cut off at a NUL */
    uint64_t header;  /* offset of its local header in the source */
    uint64_t offset;  /* of its data */
    uint64_t bytes;   /* of its data, as it lies in the file */
    uint16_t method;  /* MMH_ZIP_STORED, or how it is compressed */
    bool encrypted;
    bool plain; /* stored, not encrypted, within the archive and not over another entry: its data
                   are the source's bytes [offset, offset + bytes) */
};

struct mmh_zip {
    struct mmh_zip_entry *entries; /* in the order of the directory */
    size_t entry_count;
    uint64_t compressed_bytes; /* of entries that are compressed */
    size_t doubtful_count;     /* entries that are not plain though they are stored */
};

/* Where the directory of the archive that ends at `end` lies. */
struct mmh_zip_directory {
    uint64_t offset, end; /* of its entries in the source */
    uint64_t shift;       /* what offsets in it count from */
    uint64_t entry_count; /* as claimed */
};

/* Fails with MMH_E_CORRUPT if there is none in source[0, end). */
mmh_status mmh_zip_find_directory(struct mmh_zip_directory *directory, const mmh_source *source,
                                  uint64_t end, mmh_error *err);

/* Whether this may be a zip: it begins like one, or ends like one and is called like one. */
bool mmh_zip_detect(const struct mmh_format_probe *probe);

/* Whether an entry's name ends so: reads the directory alone. */
bool mmh_zip_has_suffix(const mmh_source *source, const char *suffix);

/*
 * Read the directory of the archive that ends at `end`, and the header of each entry, into the
 * arena. Fails with MMH_E_CORRUPT if it is no zip; entries that cannot be are left out or not
 * plain.
 */
mmh_status mmh_zip_read(struct mmh_zip *zip, struct mmh_arena *arena, const mmh_source *source,
                        uint64_t end, mmh_error *err);

/* Say in remarks what of the archive stays as it is. */
void mmh_zip_remark(const struct mmh_zip *zip, struct mmh_extent_map *map);

#endif
