/*
 * torch tar: what torch.save wrote before 0.2: a tar of storages, tensors and a pickle.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * "storages" is a count, then for each a pickle (key, device, class), a count of elements (u64) and
 * their bytes, and a list of storages within others; "tensors" likewise a pickle (key, storage,
 * class), dimensions (u64), shape, strides, first element; "pickle" names tensors by their keys.
 * Other writers leave out "tensors" and that list, and let the pickle rebuild tensors as it does now.
 * Source: torch/serialization.py (legacy_load); POSIX.1-2017, pax (ustar).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "format/torch.h"

enum { BLOCK_BYTES = 512, MEMBERS_MAX = 1 << 12, SIZE_OFFSET = 124, SUM_OFFSET = 148 };

/* ---- tar ---- */

/* Octal digits, spaces before and after them. */
static bool octal(uint64_t *number, const uint8_t *text, size_t bytes)
{
    size_t at = 0, digits = 0;
    *number = 0;
    while (at < bytes && text[at] == ' ')
        at++;
    for (; at < bytes && text[at] >= '0' && text[at] <= '7'; at++, digits++)
        *number = *number << 3 | (uint64_t)(text[at] - '0'); /* at most 12 digits */
    return digits > 0 && (at == bytes || text[at] == ' ' || text[at] == '\0');
}

/* Whether a block is a member's header, by its sum. */
static bool is_header(const uint8_t block[BLOCK_BYTES])
{
    uint64_t claimed, sum = 0;
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        sum += i >= SUM_OFFSET && i < SUM_OFFSET + 8 ? ' ' : block[i];
    return octal(&claimed, block + SUM_OFFSET, 8) && claimed == sum;
}

struct member {
    uint64_t begin, end; /* in the source; end 0: it is not there */
};

struct tar {
    struct member storages, tensors, pickle;
};

static void note_member(struct tar *tar, const uint8_t *block, uint64_t begin, uint64_t end)
{
    static const char *const names[] = { "storages", "tensors", "pickle" };
    struct member *const members[] = { &tar->storages, &tar->tensors, &tar->pickle };
    for (size_t i = 0; i < MMH_COUNT_OF(names); i++) {
        const char *name = (const char *)block;
        if (strncmp(name, "./", 2) == 0)
            name += 2;
        if (strncmp(name, names[i], strlen(names[i]) + 1) == 0)
            *members[i] = (struct member){ begin, end };
    }
}

static mmh_status read_tar(struct tar *tar, const mmh_source *source, mmh_error *err)
{
    uint64_t at = 0, bytes;
    memset(tar, 0, sizeof *tar);
    for (unsigned i = 0; i < MEMBERS_MAX && source->bytes - at >= BLOCK_BYTES; i++) {
        uint8_t block[BLOCK_BYTES];
        mmh_status status = source->read(source->user, at, block, sizeof block, err);
        if (status)
            return status;
        if (!is_header(block) || !octal(&bytes, block + SIZE_OFFSET, 12))
            break;
        at += BLOCK_BYTES;
        if (bytes > source->bytes - at)
            break;
        note_member(tar, block, at, at + bytes);
        at += MMH_MIN((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES, source->bytes - at);
    }
    if (!tar->storages.end || !tar->pickle.end)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "a tar, but not of storages and a pickle");
    return MMH_OK;
}

static bool detect(const struct mmh_format_probe *probe)
{
    uint8_t block[BLOCK_BYTES];
    struct tar tar;
    return probe->head_bytes == MMH_FORMAT_HEAD_BYTES && probe->source->bytes >= 3 * BLOCK_BYTES &&
           probe->head[0] >= '.' && probe->head[0] < 0x7f &&
           probe->source->read(probe->source->user, 0, block, sizeof block, NULL) == MMH_OK &&
           is_header(block) && read_tar(&tar, probe->source, NULL) == MMH_OK;
}

/* ---- storages and tensors ---- */

/* The key of a storage or tensor, an integer or text; NULL: neither, or no memory. */
static const char *key_of(const struct mmh_pickle_value *value, struct mmh_arena *scratch)
{
    return value && value->kind == MMH_PICKLE_INTEGER
             ? mmh_arena_format(scratch, "%lld", (long long)value->integer)
             : mmh_pickle_text(value);
}

/* The number that a member begins with: not more than it has bytes. */
static mmh_status read_count(uint64_t *count, struct mmh_torch *torch, struct mmh_stream *in,
                             mmh_error *err)
{
    struct mmh_pickle pickle;
    mmh_status status = mmh_pickle_read(&pickle, torch->scratch, in, err);
    if (status)
        return status;
    if (!mmh_pickle_natural(count, pickle.root) || *count > mmh_stream_left(in) / 8)
        return mmh_fail(err, MMH_E_CORRUPT, "tar member begins with no count of what is in it");
    return MMH_OK;
}

/* A storage that is a part of another: (key, root's key, first element, elements). */
static void add_part(struct mmh_torch *torch, const struct mmh_pickle_value *view)
{
    uint64_t first, count, begin, bytes;
    const char *key = key_of(mmh_pickle_at(view, 0), torch->scratch);
    const char *root_key = key_of(mmh_pickle_at(view, 1), torch->scratch);
    const struct mmh_torch_storage *root = root_key ? mmh_torch_find(torch, root_key) : NULL;
    unsigned width = root ? mmh_dtype_bits(root->dtype) / 8 : 0;
    if (!key || !root || !mmh_pickle_natural(&first, mmh_pickle_at(view, 2)) ||
        !mmh_pickle_natural(&count, mmh_pickle_at(view, 3)) || !mmh_u64_mul(&begin, first, width) ||
        !mmh_u64_mul(&bytes, count, width) || begin > root->bytes || bytes > root->bytes - begin) {
        mmh_extent_map_remark(torch->map, "a storage within another is not: left out");
        return;
    }
    torch->storages[torch->storage_count++] =
        (struct mmh_torch_storage){ .key = key,
                                    .offset = root->offset + begin,
                                    .bytes = bytes,
                                    .dtype = root->dtype,
                                    .part = true };
}

/* The list of storages within others, behind the storages: all of them in one array then. */
static mmh_status add_parts(struct mmh_torch *torch, const struct mmh_pickle_value *parts,
                            mmh_error *err)
{
    size_t count = torch->storage_count;
    if (parts->kind != MMH_PICKLE_LIST || !parts->count)
        return MMH_OK;
    struct mmh_torch_storage *all = mmh_arena_array(torch->scratch, count + parts->count,
                                                    sizeof *all);
    if (!all)
        return mmh_fail(err, MMH_E_MEMORY, "%zu storages", count + parts->count);
    if (count)
        memcpy(all, torch->storages, count * sizeof *all);
    torch->storages = all;
    for (const struct mmh_pickle_item *item = parts->first; item; item = item->next)
        add_part(torch, item->value); /* looks for roots among those that are indexed */
    return mmh_torch_index(torch, err);
}

static mmh_status read_storages(struct mmh_torch *torch, struct mmh_stream *in, mmh_error *err)
{
    struct mmh_pickle pickle;
    uint64_t count;
    mmh_status status = read_count(&count, torch, in, err);
    if (status)
        return status;
    torch->storages = mmh_arena_array(torch->scratch, (size_t)count, sizeof *torch->storages);
    if (!torch->storages)
        return mmh_fail(err, MMH_E_MEMORY, "%llu storages", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        struct mmh_torch_storage *storage = &torch->storages[torch->storage_count++];
        status = mmh_pickle_read(&pickle, torch->scratch, in, err);
        if (status)
            return status;
        storage->key = key_of(mmh_pickle_at(pickle.root, 0), torch->scratch);
        storage->dtype = mmh_torch_storage_dtype(mmh_pickle_at(pickle.root, 2));
        uint64_t elements = mmh_stream_u64(in);
        if (mmh_stream_failed(in))
            return mmh_stream_finish(in, "storages", err);
        unsigned width = mmh_dtype_bits(storage->dtype) / 8;
        if (!storage->key || storage->dtype == MMH_DTYPE_OPAQUE || !width ||
            !mmh_u64_mul(&storage->bytes, elements, width) || storage->bytes > mmh_stream_left(in))
            return mmh_fail(err, MMH_E_CORRUPT, "storage %llu has no type or reaches past the end",
                            (unsigned long long)i);
        storage->offset = in->position;
        mmh_stream_skip(in, storage->bytes);
    }
    status = mmh_torch_index(torch, err);
    if (status || !mmh_stream_left(in))
        return status;
    status = mmh_pickle_read(&pickle, torch->scratch, in, err);
    return status ? status : add_parts(torch, pickle.root, err);
}

static mmh_status read_layout(struct mmh_torch_named *named, struct mmh_torch *torch,
                              struct mmh_stream *in, mmh_error *err)
{
    uint32_t dimensions = mmh_stream_u32(in);
    mmh_stream_skip(in, 4); /* was one number of 8 bytes once */
    if (dimensions > MMH_MAP_DIMENSIONS_MAX)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "tensor of %lu dimensions",
                        (unsigned long)dimensions);
    named->dimensions = dimensions;
    named->shape = mmh_arena_array(torch->scratch, dimensions, sizeof *named->shape);
    named->strides = mmh_arena_array(torch->scratch, dimensions, sizeof *named->strides);
    if (!named->shape || !named->strides)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a tensor");
    for (uint32_t d = 0; d < dimensions; d++)
        named->shape[d] = mmh_stream_u64(in);
    for (uint32_t d = 0; d < dimensions; d++)
        named->strides[d] = mmh_stream_u64(in);
    named->offset = mmh_stream_u64(in);
    return mmh_stream_finish(in, "tensors", err);
}

static int compare_named(const void *left, const void *right)
{
    const struct mmh_torch_named *a = left, *b = right;
    return strcmp(a->key, b->key);
}

static mmh_status read_tensors(struct mmh_torch *torch, struct mmh_stream *in, mmh_error *err)
{
    uint64_t count;
    mmh_status status = read_count(&count, torch, in, err);
    if (status)
        return status;
    torch->named = mmh_arena_array(torch->scratch, (size_t)count, sizeof *torch->named);
    if (!torch->named)
        return mmh_fail(err, MMH_E_MEMORY, "%llu tensors", (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++) {
        struct mmh_torch_named *named = &torch->named[i];
        struct mmh_pickle pickle;
        status = mmh_pickle_read(&pickle, torch->scratch, in, err);
        if (status)
            return status;
        const char *storage = key_of(mmh_pickle_at(pickle.root, 1), torch->scratch);
        named->key = key_of(mmh_pickle_at(pickle.root, 0), torch->scratch);
        if (!named->key)
            return mmh_fail(err, MMH_E_CORRUPT, "tensor %llu has no key", (unsigned long long)i);
        named->storage = storage ? mmh_torch_find(torch, storage) : NULL;
        status = read_layout(named, torch, in, err);
        if (status)
            return status;
    }
    torch->named_count = (size_t)count;
    if (count > 1)
        qsort(torch->named, (size_t)count, sizeof *torch->named, compare_named);
    return MMH_OK;
}

static mmh_status map_members(struct mmh_torch *torch, mmh_error *err)
{
    struct tar tar;
    struct mmh_stream in;
    struct mmh_pickle pickle;
    mmh_status status = read_tar(&tar, torch->source, err);
    if (status)
        return status;
    mmh_stream_init(&in, torch->source, tar.storages.begin, tar.storages.end);
    status = read_storages(torch, &in, err);
    if (status)
        return status;
    if (tar.tensors.end) {
        mmh_stream_seek(&in, tar.tensors.begin, tar.tensors.end);
        status = read_tensors(torch, &in, err);
        if (status)
            return status;
    }
    mmh_stream_seek(&in, tar.pickle.begin, tar.pickle.end);
    status = mmh_pickle_read(&pickle, torch->scratch, &in, err);
    if (!status)
        status = mmh_torch_walk(torch, &pickle, NULL, err);
    return status ? status : mmh_torch_finish(torch, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    return mmh_torch_map_file(map, probe, map_members, err);
}

const struct mmh_format mmh_format_torch_tar = {
    .name = "torch tar",
    .detect = detect,
    .map = map_file,
};
