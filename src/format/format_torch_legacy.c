/*
 * torch legacy: the one stream of torch.save before 1.6: pickles, then storages.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Five pickles: a magic number, the version, facts of the system that wrote it, the objects, the
 * storages' keys in the order of the file. Each storage is its number of elements (u64) and their
 * bytes, both little-endian on every system.
 * Source: torch/serialization.py (_legacy_save, _legacy_load), torch/csrc/serialization.cpp.
 */
#include <string.h>

#include "base/bits.h"
#include "format/torch.h"

enum { PICKLES_BEFORE = 3, MAGIC_BYTES = 10 };

/* The magic number as Python's protocols 2 and up write it. */
static const uint8_t magic[] = { 0x8a, MAGIC_BYTES, 0x6c, 0xfc, 0x9c, 0x46,
                                 0xf9, 0x20,        0x6a, 0xa8, 0x50, 0x19 };
static const char magic_digits[] = "L11954703714603"; /* protocols 0 and 1: the first of them */

/* Whether a stream begins at `offset`. */
static bool begins_at(const mmh_source *source, uint64_t offset, uint64_t bytes)
{
    uint8_t head[2 + 9 + sizeof magic]; /* PROTO, FRAME */
    if (bytes < sizeof head || offset > source->bytes || bytes > source->bytes - offset ||
        source->read(source->user, offset, head, sizeof head, NULL) != MMH_OK)
        return false;
    if (memcmp(head, magic_digits, sizeof magic_digits - 1) == 0)
        return true;
    size_t at = head[2] == 0x95 ? 11 : 2;
    return head[0] == 0x80 && memcmp(head + at, magic, sizeof magic) == 0;
}

static bool detect(const struct mmh_format_probe *probe)
{
    return (probe->head[0] == 0x80 || probe->head[0] == 'L') &&
           begins_at(probe->source, 0, probe->source->bytes);
}

/* ---- pickles ---- */

/* Objects and keys; the stream stands at the first storage then. */
static mmh_status read_pickles(struct mmh_pickle *objects, struct mmh_pickle *keys,
                               struct mmh_stream *in, struct mmh_arena *scratch, mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (unsigned i = 0; i < PICKLES_BEFORE && !status; i++)
        status = mmh_pickle_read(objects, scratch, in, err);
    if (!status)
        status = mmh_pickle_read(objects, scratch, in, err);
    return status ? status : mmh_pickle_read(keys, scratch, in, err);
}

static mmh_status list_storages(struct mmh_torch *torch, const struct mmh_pickle_value *keys,
                                mmh_error *err)
{
    if (keys->kind != MMH_PICKLE_LIST)
        return mmh_fail(err, MMH_E_CORRUPT, "keys of storages are no list");
    torch->storages = mmh_arena_array(torch->scratch, keys->count, sizeof *torch->storages);
    if (!torch->storages)
        return mmh_fail(err, MMH_E_MEMORY, "%lu storages", (unsigned long)keys->count);
    for (const struct mmh_pickle_item *item = keys->first; item; item = item->next) {
        const char *key = mmh_pickle_text(item->value);
        if (!key)
            return mmh_fail(err, MMH_E_CORRUPT, "a key of a storage is no text");
        torch->storages[torch->storage_count++] = (struct mmh_torch_storage){ .key = key };
    }
    return mmh_torch_index(torch, err);
}

/* Only the objects tell what the storages' elements are. */
static void name_dtypes(struct mmh_torch *torch, const struct mmh_pickle *objects)
{
    for (const struct mmh_pickle_value *value = objects->last_persistent; value;
         value = value->before) {
        const char *key = mmh_pickle_text(mmh_pickle_at(value->id, 2));
        struct mmh_torch_storage *storage = key ? mmh_torch_find(torch, key) : NULL;
        mmh_dtype dtype = mmh_torch_storage_dtype(mmh_pickle_at(value->id, 1));
        if (storage && dtype != MMH_DTYPE_OPAQUE)
            storage->dtype = dtype;
    }
}

/* Find where each storage lies, one after another, as far as that can be known. */
static void place_storages(struct mmh_torch *torch, struct mmh_stream *in)
{
    for (size_t i = 0; i < torch->storage_count; i++) {
        struct mmh_torch_storage *storage = &torch->storages[i];
        unsigned width = mmh_dtype_bits(storage->dtype) / 8;
        uint64_t bytes;
        bool known = storage->dtype != MMH_DTYPE_OPAQUE && width;
        uint64_t count = mmh_stream_u64(in);
        if (!known || mmh_stream_failed(in) || !mmh_u64_mul(&bytes, count, width) ||
            bytes > mmh_stream_left(in)) {
            mmh_extent_map_remark(torch->map,
                                  "%zu storages from \"%s\" on are cut off or of no type that we "
                                  "know: kept as plain bytes",
                                  torch->storage_count - i, storage->key);
            return;
        }
        storage->offset = in->position;
        storage->bytes = bytes;
        mmh_stream_skip(in, bytes);
    }
}

static mmh_status map_stream(struct mmh_torch *torch, mmh_error *err)
{
    struct mmh_stream in;
    struct mmh_pickle objects, keys;
    mmh_stream_init(&in, torch->source, 0, torch->source->bytes);
    mmh_status status = read_pickles(&objects, &keys, &in, torch->scratch, err);
    if (!status)
        status = list_storages(torch, keys.root, err);
    if (status)
        return status;
    name_dtypes(torch, &objects);
    place_storages(torch, &in);
    if (in.status)
        return mmh_stream_finish(&in, "storages", err);
    status = mmh_torch_walk(torch, &objects, NULL, err);
    return status ? status : mmh_torch_finish(torch, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    return mmh_torch_map_file(map, probe, map_stream, err);
}

mmh_status mmh_torch_read_bytes(struct mmh_torch_storage *storage, struct mmh_torch *torch,
                                uint64_t offset, uint64_t bytes, mmh_error *err)
{
    struct mmh_stream in;
    struct mmh_pickle object, keys;
    if (!begins_at(torch->source, offset, bytes))
        return mmh_fail(err, MMH_E_CORRUPT, "bytes of a storage are no stream of torch.save");
    mmh_stream_init(&in, torch->source, offset, offset + bytes);
    mmh_status status = read_pickles(&object, &keys, &in, torch->scratch, err);
    if (status)
        return status;
    const struct mmh_pickle_value *root = object.root;
    const struct mmh_pickle_value *id = root->kind == MMH_PICKLE_PERSISTENT ? root->id : NULL;
    storage->dtype = mmh_torch_storage_dtype(mmh_pickle_at(id, 1));
    uint64_t count = mmh_stream_u64(&in);
    if (mmh_stream_failed(&in))
        return mmh_stream_finish(&in, "storage", err);
    unsigned width = mmh_dtype_bits(storage->dtype) / 8;
    if (storage->dtype == MMH_DTYPE_OPAQUE || !width || keys.root->count != 1 ||
        !mmh_u64_mul(&storage->bytes, count, width) || storage->bytes > mmh_stream_left(&in))
        return mmh_fail(err, MMH_E_CORRUPT, "bytes of a storage are not one storage");
    storage->offset = in.position;
    return MMH_OK;
}

const struct mmh_format mmh_format_torch_legacy = {
    .name = "torch legacy",
    .detect = detect,
    .map = map_file,
};
