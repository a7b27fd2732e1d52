/*
 * Header, footer and root: the fixed structures of the container.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "container/layout.h"

#include <string.h>

#include "base/bits.h"
#include "container/trailer.h"
#include "integrity/digest.h"

enum { ROOT_FIRST_BYTES = 32 }; /* of the root, where all footers have them */

void mmh_footer_write(uint8_t out[MMH_FOOTER_BYTES], const struct mmh_footer *footer)
{
    memset(out, 0, MMH_FOOTER_BYTES);
    memcpy(out, MMH_FOOTER_MAGIC, 8);
    mmh_store64(out + 8, footer->container_bytes);
    mmh_store64(out + 16, footer->index_a);
    mmh_store64(out + 24, footer->index_b);
    mmh_store64(out + 32, footer->index_bytes);
    mmh_store32(out + 40, footer->table_bytes);
    mmh_store32(out + 44, footer->page_count);
    mmh_store64(out + 48, footer->trailer);
    mmh_store64(out + 56, footer->trailer_bytes);
    memcpy(out + 64, footer->root, ROOT_FIRST_BYTES);
    memcpy(out + 96, footer->header, MMH_HEADER_BYTES);
    memcpy(out + 224, footer->root + ROOT_FIRST_BYTES, MMH_HASH_BYTES - ROOT_FIRST_BYTES);
    mmh_store32(out + 252, mmh_crc32(out, 252));
}

bool mmh_footer_read(struct mmh_footer *footer, const uint8_t in[MMH_FOOTER_BYTES])
{
    if (memcmp(in, MMH_FOOTER_MAGIC, 8) != 0 || mmh_load32(in + 252) != mmh_crc32(in, 252) ||
        !mmh_header_crc_right(in + 96) || !mmh_container_magic(in + 96, MMH_HEADER_BYTES) ||
        !mmh_hash_suite_name(in[96 + 14]))
        return false;
    footer->container_bytes = mmh_load64(in + 8);
    footer->index_a = mmh_load64(in + 16);
    footer->index_b = mmh_load64(in + 24);
    footer->index_bytes = mmh_load64(in + 32);
    footer->table_bytes = mmh_load32(in + 40);
    footer->page_count = mmh_load32(in + 44);
    footer->trailer = mmh_load64(in + 48);
    footer->trailer_bytes = mmh_load64(in + 56);
    memcpy(footer->header, in + 96, MMH_HEADER_BYTES);
    size_t hash_bytes = mmh_hash_bytes(footer->header[14]);
    memset(footer->root, 0, sizeof footer->root);
    memcpy(footer->root, in + 64, ROOT_FIRST_BYTES);
    memcpy(footer->root + ROOT_FIRST_BYTES, in + 224, hash_bytes - ROOT_FIRST_BYTES);

    /* Sizes below 2^62 first, so that the sums cannot overflow. */
    const uint64_t limit = UINT64_C(1) << 62;
    if (footer->container_bytes > limit || footer->index_a > limit || footer->index_b > limit ||
        footer->index_bytes > limit || footer->trailer > limit || footer->trailer_bytes > limit)
        return false;
    return footer->index_a >= MMH_HEADER_BYTES &&
           footer->index_a + footer->index_bytes <= footer->trailer &&
           footer->trailer_bytes <= MMH_TRAILER_BYTES_MAX &&
           footer->trailer + footer->trailer_bytes + MMH_FOOTER_BYTES == footer->index_b &&
           footer->index_b + footer->index_bytes + MMH_FOOTER_BYTES == footer->container_bytes &&
           footer->table_bytes <= footer->index_bytes && footer->page_count &&
           (uint64_t)footer->page_count * (MMH_PAGE_HEAD_BYTES + hash_bytes) == footer->table_bytes;
}

void mmh_header_write(uint8_t out[MMH_HEADER_BYTES], const struct mmh_container_options *options)
{
    memset(out, 0, MMH_HEADER_BYTES);
    memcpy(out, MMH_HEADER_MAGIC, 8);
    mmh_store16(out + 8, MMH_FORMAT_MAJOR);
    mmh_store16(out + 10, MMH_FORMAT_MINOR);
    mmh_store16(out + 12, MMH_FORMAT_DRAFT);
    out[14] = (uint8_t)options->hash_suite;
    out[15] = (uint8_t)options->aead_suite;
    if (options->aead_suite) {
        mmh_store32(out + 16, MMH_REQUIRED_SEALED);
        memcpy(out + MMH_COMMITMENT_AT, options->keys->commitment, MMH_COMMITMENT_BYTES);
    }
    mmh_store32(out + 20, options->times ? MMH_OPTIONAL_TIMES : 0);
    mmh_store32(out + 24, MMH_SEGMENT_ALIGNMENT);
    mmh_store32(out + 28, MMH_CHUNK_ALIGNMENT);
    mmh_store32(out + 124, mmh_crc32(out, 124));
}

bool mmh_header_crc_right(const uint8_t in[MMH_HEADER_BYTES])
{
    return mmh_load32(in + 124) == mmh_crc32(in, 124);
}

mmh_status mmh_header_check(const uint8_t in[MMH_HEADER_BYTES], unsigned *hash_suite,
                            unsigned *aead_suite, mmh_error *err)
{
    if (!mmh_header_crc_right(in))
        return mmh_fail(err, MMH_E_CORRUPT, "the header is damaged (checksum)");
    if (!mmh_container_magic(in, MMH_HEADER_BYTES))
        return mmh_fail(err, MMH_E_CORRUPT, "not an mmh container");
    unsigned major = mmh_load16(in + 8), minor = mmh_load16(in + 10);
    unsigned draft = mmh_load16(in + 12);
    uint32_t required = mmh_load32(in + 16);
    if (major != MMH_FORMAT_MAJOR)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "format version %u.%u; this program reads %d.%d",
                        major, minor, MMH_FORMAT_MAJOR, MMH_FORMAT_MINOR);
    if (draft != MMH_FORMAT_DRAFT)
        return mmh_fail(err, MMH_E_UNSUPPORTED,
                        "format %u.%u draft %u; this program reads draft %d", major, minor, draft,
                        MMH_FORMAT_DRAFT);
    if (required & ~(uint32_t)MMH_REQUIRED_KNOWN)
        return mmh_fail(err, MMH_E_UNSUPPORTED,
                        "the container needs features (bits 0x%x) that this version lacks",
                        (unsigned)(required & ~(uint32_t)MMH_REQUIRED_KNOWN));
    *hash_suite = in[14];
    if (!mmh_hash_suite_available(*hash_suite)) {
        const char *name = mmh_hash_suite_name(*hash_suite);
        return mmh_fail(err, MMH_E_UNSUPPORTED, "hash suite %u (%s) is not in this build",
                        *hash_suite, name ? name : "unknown");
    }
    *aead_suite = in[15];
    if (*aead_suite != MMH_AEAD_NONE && !mmh_aead_name(*aead_suite))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "encryption suite %u is not in this build",
                        *aead_suite);
    if ((*aead_suite != MMH_AEAD_NONE) != ((required & MMH_REQUIRED_SEALED) != 0))
        return mmh_fail(err, MMH_E_CORRUPT, "the header says both, encrypted and not");
    return MMH_OK;
}

mmh_status mmh_root_hash(uint8_t root[MMH_HASH_BYTES], unsigned suite,
                         const uint8_t header[MMH_HEADER_BYTES], const uint8_t *table,
                         size_t table_bytes, mmh_error *err)
{
    mmh_hasher hasher;
    memset(root, 0, MMH_HASH_BYTES);
    mmh_status status = mmh_hasher_init(&hasher, suite, MMH_DOMAIN_ROOT, err);
    if (status != MMH_OK)
        return status;
    status = mmh_hasher_update(&hasher, header, MMH_HEADER_BYTES, err);
    if (status == MMH_OK)
        status = mmh_hasher_update(&hasher, table, table_bytes, err);
    if (status != MMH_OK) {
        mmh_hasher_abandon(&hasher);
        return status;
    }
    return mmh_hasher_final(&hasher, root, err);
}

bool mmh_container_magic(const uint8_t *data, size_t bytes)
{
    return bytes >= 8 && memcmp(data, MMH_HEADER_MAGIC, 8) == 0;
}
