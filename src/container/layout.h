/*
 * What the container's writer and reader share: fixed structures of docs/format.md.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_LAYOUT_H
#define MMH_LAYOUT_H

#include "container/trailer.h"

enum {
    MMH_PAGE_BYTES = 1 << 18, /* decoded */
    MMH_PAGE_HEAD_BYTES = 8,  /* of a page's entry, before its hash */
    MMH_INDEX_VERSION = 2,
    MMH_INDEX_FLOOR_BYTES = 1 << 20, /* that any index may decode to */
    MMH_INDEX_RATIO = 16             /* and for each byte that it is stored in */
};

#define MMH_HEADER_MAGIC "\x89MMH\r\n\x1a\n"
#define MMH_FOOTER_MAGIC "MMHFOOT\n"

enum { MMH_OPTIONAL_TIMES = 1u << 2 };
#define MMH_PAGE_SEALED (UINT32_C(1) << 31)

enum { MMH_REQUIRED_SEALED = 1 };
enum { MMH_REQUIRED_KNOWN = MMH_REQUIRED_SEALED }; /* required features that this reader knows */
enum { MMH_BLOCK_BIG_ENDIAN = 1, MMH_BLOCK_MODEL = 2, MMH_BLOCK_FLAGS = 3 };
enum { MMH_ROW_BIG_ENDIAN = 1, MMH_ROW_COLUMN_MAJOR = 2, MMH_ROW_STRIDES = 4, MMH_ROW_FLAGS = 7 };

/* Bytes of an entry of the page table. */
static inline size_t mmh_page_entry_bytes(unsigned hash_suite)
{
    return MMH_PAGE_HEAD_BYTES + mmh_hash_bytes(hash_suite);
}

/* The most that the pages of an index may decode to whose table and pages take `index_bytes`. */
static inline uint64_t mmh_index_bound(uint64_t index_bytes)
{
    return MMH_INDEX_FLOOR_BYTES + MMH_INDEX_RATIO * index_bytes;
}

void mmh_header_write(uint8_t out[MMH_HEADER_BYTES], const struct mmh_container_options *options);

/* Check the header: CRC first, then magic, version, features, suites. */
mmh_status mmh_header_check(const uint8_t in[MMH_HEADER_BYTES], unsigned *hash_suite,
                            unsigned *aead_suite, mmh_error *err);
bool mmh_header_crc_right(const uint8_t in[MMH_HEADER_BYTES]);

#endif
