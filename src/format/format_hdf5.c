/*
 * hdf5: a superblock, and groups of groups and datasets from its root on.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Datasets are called by their path without the first slash, as Keras and h5py have it. Which bytes
 * are theirs is said in hdf5_dataset.c; what is no dataset (headers, trees, free space) is opaque.
 * Source: as hdf5.h.
 */
#include <string.h>

#include "base/bits.h"
#include "format/hdf5.h"

enum {
    SIGNATURE_BYTES = 8,
    USER_BLOCK_BYTES_MIN = 512,
    USER_BLOCK_BYTES_MAX = 1 << 30,
    ARENA_BYTES = 12 << 20, /* of what is found, besides three quarters of the file */
    WORK_BYTES = 16 << 20,  /* besides twice the file */
    GROUPS_FIRST = 64       /* places in the set of groups, at first; a power of two */
};

static const uint8_t signature[SIGNATURE_BYTES] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };

/* Where the superblock is: at 0, or behind a user block. False: nowhere. */
static bool find_superblock(uint64_t *offset, const struct mmh_format_probe *probe)
{
    const mmh_source *source = probe->source;
    uint8_t found[SIGNATURE_BYTES];
    *offset = 0;
    if (probe->head_bytes >= SIGNATURE_BYTES &&
        memcmp(probe->head, signature, SIGNATURE_BYTES) == 0)
        return true;
    if (probe->head_bytes >= 4 && memcmp(probe->head, "PK\3\4", 4) == 0)
        return false; /* the user block would be an archive, which the file might be a member of */
    for (*offset = USER_BLOCK_BYTES_MIN; *offset <= USER_BLOCK_BYTES_MAX; *offset *= 2) {
        if (source->bytes < *offset + SIGNATURE_BYTES ||
            source->read(source->user, *offset, found, sizeof found, NULL))
            return false;
        if (memcmp(found, signature, SIGNATURE_BYTES) == 0)
            return true;
    }
    return false;
}

static bool detect(const struct mmh_format_probe *probe)
{
    uint64_t offset;
    return find_superblock(&offset, probe);
}

/* Read the superblock: how wide addresses are, and where the root group is. */
static mmh_status read_superblock(struct mmh_hdf5 *h5, uint64_t *root, mmh_error *err)
{
    mmh_stream_skip(&h5->in, SIGNATURE_BYTES);
    unsigned version = mmh_stream_u8(&h5->in);
    mmh_stream_skip(&h5->in, version < 2 ? 4 : 0); /* versions of other structures */
    h5->address_bytes = mmh_stream_u8(&h5->in);
    h5->length_bytes = mmh_stream_u8(&h5->in);
    if (mmh_stream_failed(&h5->in))
        return mmh_stream_finish(&h5->in, "superblock", err);
    if (version > 3)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "superblock of version %u", version);
    if ((h5->address_bytes != 2 && h5->address_bytes != 4 && h5->address_bytes != 8) ||
        (h5->length_bytes != 2 && h5->length_bytes != 4 && h5->length_bytes != 8))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "addresses of %u bytes and lengths of %u",
                        h5->address_bytes, h5->length_bytes);
    if (version < 2) {
        mmh_stream_skip(&h5->in, 1 + 2 + 2 + 4 + (version ? 4 : 0));
        mmh_stream_skip(&h5->in, (uint64_t)4 * h5->address_bytes); /* base, free, end, driver */
        mmh_stream_skip(&h5->in, h5->length_bytes);                /* the root's name */
    } else {
        mmh_stream_skip(&h5->in, 1);
        mmh_stream_skip(&h5->in, (uint64_t)3 * h5->address_bytes); /* base, extension, end */
    }
    *root = mmh_hdf5_address(h5);
    return mmh_stream_finish(&h5->in, "superblock", err);
}

/* ---- groups, each visited once ---- */

/* Addresses of groups; those of nothing are 0, which no group has. */
struct groups {
    const mmh_allocator *allocator;
    uint64_t *places;
    size_t place_count, used;
};

/* Where an address is or belongs. */
static uint64_t *find_group(const struct groups *groups, uint64_t address)
{
    size_t place = (size_t)(address * 0x9e3779b97f4a7c15u >> 20) & (groups->place_count - 1);
    while (groups->places[place] && groups->places[place] != address)
        place = (place + 1) & (groups->place_count - 1);
    return &groups->places[place];
}

static mmh_status grow(struct groups *groups, mmh_error *err)
{
    struct groups wider = { .allocator = groups->allocator, .used = groups->used };
    wider.place_count = groups->place_count ? 2 * groups->place_count : GROUPS_FIRST;
    wider.places = mmh_alloc_array(groups->allocator, wider.place_count, sizeof *wider.places);
    if (!wider.places)
        return mmh_fail(err, MMH_E_MEMORY, "set of %zu groups", groups->used);
    for (size_t i = 0; i < groups->place_count; i++)
        if (groups->places[i])
            *find_group(&wider, groups->places[i]) = groups->places[i];
    mmh_free(groups->allocator, groups->places);
    *groups = wider;
    return MMH_OK;
}

/* *is_new: whether the group at the address was not there yet. */
static mmh_status add_group(struct groups *groups, uint64_t address, bool *is_new, mmh_error *err)
{
    if (groups->used >= groups->place_count / 2) {
        mmh_status status = grow(groups, err);
        if (status)
            return status;
    }
    uint64_t *place = find_group(groups, address);
    *is_new = *place != address;
    groups->used += *is_new;
    *place = address;
    return MMH_OK;
}

/* ---- the walk ---- */

/* The object that a link leads to; links out of a group come before `*next`. */
static mmh_status map_object(struct mmh_hdf5 *h5, struct groups *groups,
                             struct mmh_hdf5_link **next, const struct mmh_hdf5_link *link,
                             mmh_error *err)
{
    struct mmh_hdf5_object object;
    bool is_new = false;
    mmh_status status = MMH_OK;
    mmh_hdf5_object_read(h5, &object, link->path, link->address);
    if (object.is_group) {
        status = add_group(groups, link->address, &is_new, err);
        if (status)
            return status;
        if (is_new && mmh_hdf5_good(h5))
            mmh_hdf5_group_read(h5, &object);
        for (struct mmh_hdf5_link *child = object.links; is_new && child;) {
            struct mmh_hdf5_link *before = child->next;
            child->next = *next;
            *next = child;
            child = before;
        }
    } else if (object.has_layout && *link->path && mmh_hdf5_good(h5)) {
        status = mmh_hdf5_dataset_map(h5, &object, err);
    }
    if (status || h5->in.status)
        return status ? status : mmh_fail(err, h5->in.status, "%s", h5->in.error.message);
    if (h5->in.short_read)
        mmh_hdf5_fail(h5, "ends too early");
    bool is_group = object.is_group || !*link->path;
    if (h5->problem && is_group)
        mmh_extent_map_remark(h5->map, "group \"/%.160s\" %s: some of it is kept as plain bytes",
                              link->path, h5->problem);
    else if (h5->problem)
        mmh_extent_map_remark_tensor(h5->map, link->path, h5->problem);
    h5->in.short_read = false;
    h5->names.short_read = false;
    h5->problem = NULL;
    return MMH_OK;
}

static void remark_counts(struct mmh_hdf5 *h5)
{
    if (h5->coded_count)
        mmh_extent_map_remark(h5->map,
                              "%llu datasets keep %llu bytes in chunks that are already "
                              "compressed: kept as plain bytes",
                              (unsigned long long)h5->coded_count,
                              (unsigned long long)h5->coded_bytes);
    if (h5->foreign_count)
        mmh_extent_map_remark(h5->map,
                              "%llu datasets are of strings or other types that we do not "
                              "code: kept as plain bytes",
                              (unsigned long long)h5->foreign_count);
    if (h5->exhausted)
        mmh_extent_map_remark(h5->map,
                              "tells of more than a file of its size can hold: what was not "
                              "found by then is kept as plain bytes");
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct mmh_hdf5 h5 = { .map = map };
    struct groups groups = { .allocator = map->arena->allocator };
    struct mmh_hdf5_link root = { .path = "" }, *next = &root;
    uint64_t file_bytes = probe->source->bytes;
    if (!find_superblock(&h5.base, probe))
        return mmh_fail(err, MMH_E_CORRUPT, "no superblock");
    mmh_stream_init(&h5.in, probe->source, h5.base, file_bytes);
    mmh_stream_init(&h5.names, probe->source, 0, file_bytes);
    h5.arena_bytes_max = map->arena->used + ARENA_BYTES +
                         (size_t)(MMH_MIN(file_bytes, (uint64_t)SIZE_MAX / 4) / 4 * 3);
    h5.work_left = WORK_BYTES + 2 * MMH_MIN(file_bytes, UINT64_MAX / 4);
    mmh_status status = read_superblock(&h5, &root.address, err);
    while (!status && next && !h5.exhausted) {
        const struct mmh_hdf5_link *link = next;
        next = next->next;
        status = map_object(&h5, &groups, &next, link, err);
    }
    mmh_free(groups.allocator, groups.places);
    if (!status)
        remark_counts(&h5);
    return status;
}

const struct mmh_format mmh_format_hdf5 = {
    .name = "hdf5",
    .suffix = ".h5",
    .detect = detect,
    .map = map_file,
};
