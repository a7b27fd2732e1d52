/*
 * Pack: blocks are read, planned, encoded, checked, sealed and hashed by workers, and written in order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "engine/area.h"
#include "engine/guard.h"
#include "engine/plan.h"
#include "engine/recode.h"
#include "engine/seal.h"
#include "integrity/digest.h"
#include "integrity/recovery.h"
#include "kernel/kernel.h"

enum { DEFAULT_LEVEL = 5 };

/* What one block becomes, from its worker to the ordered writer. */
struct slot {
    uint8_t *raw, *swapped, *encoded, *hashes;
    size_t raw_room, swapped_room, encoded_room, hashes_room;
    uint8_t *model_bytes;
    size_t model_room;
    struct mmh_stored_chunk model;
    bool has_model;
    struct mmh_stored_chunk *chunks;
    size_t chunks_room;
    uint64_t floor_bytes;
};

struct packing {
    mmh_context *context;
    const mmh_pack_options *options;
    unsigned hash_suite, aead_suite;
    struct mmh_fresh_key key; /* of an encrypted container */
    mmh_sealer *sealer;       /* NULL without encryption */
    uint64_t *seals_before;   /* [block_count] seal numbers of the blocks before each */
    struct mmh_guarding guarding;
    struct mmh_plan plan;
    struct mmh_arena arena;
    mmh_container_writer *writer;
    struct slot *slots;
    size_t window;
    /* the ordered side */
    size_t file;    /* the file whose blocks are being written */
    bool file_open; /* its digest has begun */
    mmh_digest *digest;
    mmh_output *output;
    uint64_t tensor_count;
    struct mmh_area_maker area;
};

static void slots_release(struct packing *packing)
{
    const mmh_allocator *allocator = packing->context->allocator;
    for (size_t i = 0; packing->slots && i < packing->window; i++) {
        struct slot *slot = &packing->slots[i];
        mmh_free(allocator, slot->raw);
        mmh_free(allocator, slot->swapped);
        mmh_free(allocator, slot->encoded);
        mmh_free(allocator, slot->hashes);
        mmh_free(allocator, slot->model_bytes);
        mmh_free(allocator, slot->chunks);
    }
    mmh_free(allocator, packing->slots);
}

/* ---- the workers' side ---- */

static mmh_status read_block(struct packing *packing, const struct mmh_plan_block *block,
                             struct slot *slot, mmh_error *err)
{
    const struct mmh_plan_file *file = &packing->plan.files[block->file];
    mmh_input *input;
    mmh_status status = mmh_context_room(packing->context, &slot->raw, &slot->raw_room,
                                         (size_t)block->bytes, err);
    if (status == MMH_OK)
        status = mmh_plan_open(&input, file, packing->context->allocator, err);
    if (status != MMH_OK)
        return status;
    status = mmh_input_read(input, slot->raw, block->offset, (size_t)block->bytes, err);
    if (status == MMH_OK) /* nor has it changed during the read */
        status = mmh_input_unchanged(input, err);
    mmh_input_close(input);
    return status;
}

/* Decode what was encoded, with the model as stored, and compare. A chunk that does not come
 * back (a defect of a codec, never of the data) is stored as it is. */
static mmh_status check_chunk(struct packing *packing, struct mmh_worker *worker,
                              const struct mmh_chunk *chunk, const uint8_t *src, uint8_t *encoded,
                              size_t *encoded_bytes, unsigned *codec_id, const mmh_model *model,
                              mmh_error *err)
{
    mmh_status status = mmh_worker_room(packing->context, worker, 0, chunk->bytes, err);
    if (status != MMH_OK)
        return status;
    status = mmh_chunk_decode(worker->decoded, worker->codec, chunk, *codec_id, encoded,
                              *encoded_bytes, model, false, NULL);
    if (status == MMH_E_MEMORY)
        return mmh_fail(err, status, "no memory to check a chunk");
    if (status != MMH_OK || memcmp(worker->decoded, src, chunk->bytes) != 0) {
        memcpy(encoded, src, chunk->bytes);
        *encoded_bytes = chunk->bytes;
        *codec_id = MMH_CODEC_STORE;
    }
    return MMH_OK;
}

/* Seal what is to be stored, if that is wanted, and hash it. data: the chunk's, with room for a tag. */
static mmh_status guard_chunk(struct packing *packing, struct mmh_stored_chunk *chunk,
                              uint8_t *data, unsigned worker, uint64_t seal_number, mmh_error *err)
{
    struct mmh_stage_times *times = &packing->context->times;
    uint64_t clock = mmh_clock_ns();
    mmh_status status = MMH_OK;
    if (packing->sealer) {
        status = mmh_sealer_likeness(packing->sealer, worker, chunk->likeness, data, chunk->bytes,
                                     err);
        if (status == MMH_OK)
            status = mmh_sealer_seal(packing->sealer, worker, data, chunk->bytes, seal_number, err);
        chunk->seal_number = seal_number;
        chunk->bytes += MMH_AEAD_TAG_BYTES;
        clock = mmh_stage_add(&times->seal_ns, clock);
    }
    if (status == MMH_OK)
        status = mmh_hash(chunk->hash, packing->hash_suite, MMH_DOMAIN_CHUNK, data, chunk->bytes,
                          err);
    mmh_stage_add(&times->hash_ns, clock);
    return status;
}

/* Plan a block; its model, if it has one, is kept in the slot, and parsed as it was stored. */
static mmh_status plan_block(struct packing *packing, const struct mmh_plan_block *block,
                             struct slot *slot, const uint8_t *data, struct mmh_worker *worker,
                             const struct mmh_block_plan **plan, mmh_model **model, mmh_error *err)
{
    const uint8_t *model_bytes = NULL;
    size_t model_length = 0;
    uint64_t floor_bits = 0, clock = mmh_clock_ns();
    slot->has_model = false;
    mmh_status status = mmh_worker_room(packing->context, worker, 0, 0, err);
    if (status == MMH_OK)
        status = mmh_block_plan_make(plan, &model_bytes, &model_length, &floor_bits, worker->codec,
                                     data, (size_t)block->bytes, &block->hint, err);
    if (status != MMH_OK)
        return status;
    slot->floor_bytes = (floor_bits + 7) / 8;
    if (model_bytes) {
        status = mmh_context_room(packing->context, &slot->model_bytes, &slot->model_room,
                                  model_length + MMH_AEAD_TAG_BYTES, err);
        if (status != MMH_OK)
            return status;
        memcpy(slot->model_bytes, model_bytes, model_length);
        slot->has_model = true;
        slot->model = (struct mmh_stored_chunk){ .data = slot->model_bytes,
                                                 .bytes = (uint32_t)model_length,
                                                 .codec_id = MMH_CODEC_MODEL };
        status = mmh_model_create(model, slot->model_bytes, model_length,
                                  block->bytes / mmh_dtype_scalar_bytes(block->hint.dtype),
                                  packing->context->allocator, err);
    }
    (void)mmh_stage_add(&packing->context->times.plan_ns, clock);
    return status;
}

/* One chunk of a block, encoded to `dst`, and checked. */
static mmh_status encode_chunk(struct packing *packing, const struct mmh_chunk *chunk,
                               const uint8_t *src, uint8_t *dst, struct mmh_worker *worker,
                               const struct mmh_block_plan *plan, const mmh_model *model,
                               struct mmh_stored_chunk *stored, mmh_error *err)
{
    struct mmh_stage_times *times = &packing->context->times;
    size_t bytes;
    unsigned codec_id;
    uint64_t clock = mmh_clock_ns();
    mmh_status status = mmh_chunk_encode(dst, &bytes, &codec_id, worker->codec, plan, src, chunk,
                                         false, err);
    clock = mmh_stage_add(&times->encode_ns, clock);
    if (status == MMH_OK && !packing->options->skip_check) {
        status = check_chunk(packing, worker, chunk, src, dst, &bytes, &codec_id, model, err);
        mmh_stage_add(&times->check_ns, clock);
    }
    if (status == MMH_OK)
        *stored = (struct mmh_stored_chunk){ .data = dst,
                                             .bytes = (uint32_t)bytes,
                                             .codec_id = (uint8_t)codec_id };
    return status;
}

static mmh_status encode_block(struct packing *packing, size_t job, struct slot *slot,
                               const uint8_t *data, unsigned worker_index, mmh_error *err)
{
    const struct mmh_plan_block *block = &packing->plan.blocks[job];
    struct mmh_worker *worker = &packing->context->workers[worker_index];
    const struct mmh_block_plan *plan = NULL;
    size_t chunk_count = (size_t)mmh_divide_up(block->bytes, block->chunk_bytes);
    uint64_t seal_number = packing->sealer ? packing->seals_before[job] : 0;
    mmh_model *model = NULL;
    unsigned scalar_bytes = mmh_dtype_scalar_bytes(block->hint.dtype);
    bool uses_model = false;

    mmh_status status = plan_block(packing, block, slot, data, worker, &plan, &model, err);
    if (status != MMH_OK)
        return status;
    uint8_t *chunks = (uint8_t *)(void *)slot->chunks;
    size_t chunk_room = mmh_chunk_bound(block->chunk_bytes) + MMH_AEAD_TAG_BYTES;
    status = mmh_context_room(packing->context, &slot->encoded, &slot->encoded_room,
                              chunk_count * chunk_room, err);
    if (status == MMH_OK)
        status = mmh_context_room(packing->context, &chunks, &slot->chunks_room,
                                  chunk_count * sizeof *slot->chunks, err);
    slot->chunks = (struct mmh_stored_chunk *)(void *)chunks;
    uint8_t *next = slot->encoded;
    for (size_t i = 0; i < chunk_count && status == MMH_OK; i++) {
        uint64_t begin = (uint64_t)i * block->chunk_bytes;
        struct mmh_stored_chunk *stored = &slot->chunks[i];
        struct mmh_chunk chunk = {
            .dtype = block->hint.dtype,
            .first_element = begin / scalar_bytes,
            .bytes = block->bytes - begin < block->chunk_bytes ? (size_t)(block->bytes - begin)
                                                               : block->chunk_bytes,
        };
        status = encode_chunk(packing, &chunk, data + begin, next, worker, plan, model, stored,
                              err);
        if (status == MMH_OK)
            status = guard_chunk(packing, stored, next, worker_index, seal_number + 1 + i, err);
        if (status != MMH_OK)
            break;
        next += stored->bytes;
        uses_model = uses_model || mmh_codec_uses_model(stored->codec_id);
        atomic_fetch_add_explicit(&packing->context->done_bytes, chunk.bytes, memory_order_relaxed);
        status = mmh_context_poll(packing->context, err);
    }
    mmh_model_destroy(model);
    /* Nobody reads its bytes any more: now they may be sealed. */
    slot->has_model = slot->has_model && uses_model;
    if (status == MMH_OK && slot->has_model)
        status = guard_chunk(packing, &slot->model, slot->model_bytes, worker_index, seal_number,
                             err);
    return status;
}

static mmh_status produce(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct packing *packing = context;
    struct mmh_stage_times *times = &packing->context->times;
    const struct mmh_plan_block *block = &packing->plan.blocks[job];
    const struct mmh_plan_file *file = &packing->plan.files[block->file];
    struct slot *slot = &packing->slots[job % packing->window];
    uint64_t clock = mmh_clock_ns();

    mmh_status status = read_block(packing, block, slot, err);
    if (status != MMH_OK)
        return status;
    clock = mmh_stage_add(&times->read_ns, clock);
    size_t slices = mmh_slices_inside(block->offset, (size_t)block->bytes, file->info.bytes);
    status = mmh_context_room(packing->context, &slot->hashes, &slot->hashes_room,
                              slices * mmh_hash_bytes(packing->hash_suite), err);
    if (status == MMH_OK)
        status = mmh_slices_hash(slot->hashes, packing->hash_suite, slot->raw, block->offset,
                                 (size_t)block->bytes, file->info.bytes, err);
    if (status != MMH_OK)
        return status;
    mmh_stage_add(&times->hash_ns, clock);
    const uint8_t *data = slot->raw;
    if (block->big_endian) {
        /* The ordered side still needs the ends of the original bytes, so not in place. */
        unsigned scalar_bytes = mmh_dtype_scalar_bytes(block->hint.dtype);
        status = mmh_context_room(packing->context, &slot->swapped, &slot->swapped_room,
                                  (size_t)block->bytes, err);
        if (status != MMH_OK)
            return status;
        mmh_kernels_get()->swap_bytes(slot->swapped, slot->raw, (size_t)block->bytes / scalar_bytes,
                                      scalar_bytes);
        data = slot->swapped;
    }
    return encode_block(packing, job, slot, data, worker_index, err);
}

/* ---- the ordered side ---- */

static mmh_status sink(void *context, const void *data, size_t bytes, mmh_error *err)
{
    struct packing *packing = context;
    uint64_t clock = mmh_clock_ns();
    mmh_status status = mmh_output_append(packing->output, data, bytes, err);
    mmh_stage_add(&packing->context->times.write_ns, clock);
    atomic_fetch_add(&packing->context->stored_bytes, bytes);
    return status;
}

/* End the current file: its record goes into the index. */
static mmh_status finish_file(struct packing *packing, mmh_error *err)
{
    const struct mmh_plan_file *file = &packing->plan.files[packing->file];
    struct mmh_file_record record = {
        .name = file->name,
        .mode = file->info.mode,
        .has_time = packing->options->keep_times,
        .time_seconds = file->info.mtime_seconds,
    };
    mmh_status status = MMH_OK;
    struct mmh_metadata_entry *metadata = NULL;
    switch (file->info.kind) {
    case MMH_PATH_FILE:
        record.kind = MMH_FILE_REGULAR;
        record.format = file->map.format;
        record.bytes = file->info.bytes;
        record.block_count = file->block_count;
        if (!packing->file_open)
            status = mmh_digest_init(packing->digest, packing->hash_suite, record.bytes, err);
        packing->file_open = false;
        if (status == MMH_OK)
            status = mmh_digest_final(packing->digest, record.digest, err);
        break;
    case MMH_PATH_FOLDER:
        record.kind = MMH_FILE_FOLDER;
        break;
    default:
        record.kind = MMH_FILE_SYMLINK;
        record.target = file->info.target;
        break;
    }
    if (status == MMH_OK && file->map.metadata_count) {
        metadata = mmh_alloc_array(packing->context->allocator, file->map.metadata_count,
                                   sizeof *metadata);
        if (!metadata)
            return mmh_fail(err, MMH_E_MEMORY, "no memory for the metadata of \"%s\"", file->path);
        for (size_t i = 0; i < file->map.metadata_count; i++) {
            metadata[i].key = file->map.metadata[i].key;
            metadata[i].value = file->map.metadata[i].value;
        }
        record.metadata = metadata;
        record.metadata_count = file->map.metadata_count;
    }
    if (status == MMH_OK)
        status = mmh_container_write_file(packing->writer, &record, err);
    mmh_free(packing->context->allocator, metadata);
    packing->file++;
    return status;
}

static mmh_status consume(void *context, size_t job, mmh_error *err)
{
    struct packing *packing = context;
    const struct mmh_plan_block *block = &packing->plan.blocks[job];
    struct slot *slot = &packing->slots[job % packing->window];
    mmh_status status = MMH_OK;
    while (packing->file < block->file && status == MMH_OK)
        status = finish_file(packing, err);
    const struct mmh_plan_file *file = &packing->plan.files[packing->file];
    packing->context->state.name = file->name;
    if (status == MMH_OK && !packing->file_open) {
        status = mmh_digest_init(packing->digest, packing->hash_suite, file->info.bytes, err);
        packing->file_open = status == MMH_OK;
    }
    if (status == MMH_OK)
        status = mmh_digest_add(packing->digest, slot->raw, (size_t)block->bytes, slot->hashes,
                                err);
    struct mmh_block_record record = {
        .dtype = block->hint.dtype,
        .big_endian = block->big_endian,
        .bytes = block->bytes,
        .chunk_bytes = block->chunk_bytes,
        .floor_bytes = slot->floor_bytes,
        .model = slot->has_model ? &slot->model : NULL,
        .chunks = slot->chunks,
    };
    if (status == MMH_OK)
        status = mmh_container_write_block(packing->writer, &record, err);
    return status;
}

static mmh_status write_tensors(struct packing *packing, mmh_error *err)
{
    for (size_t i = 0; i < packing->plan.file_count; i++) {
        const struct mmh_plan_file *file = &packing->plan.files[i];
        if (file->info.kind != MMH_PATH_FILE)
            continue;
        for (size_t t = 0; t < file->map.tensor_count; t++) {
            const struct mmh_map_tensor *tensor = &file->map.tensors[t];
            struct mmh_tensor_record record = {
                .file = i,
                .name = tensor->name,
                .dtype = tensor->dtype,
                .big_endian = tensor->big_endian,
                .column_major = tensor->column_major,
                .dimensions = tensor->dimensions,
                .shape = tensor->shape,
                .strides = tensor->strides,
                .offset = tensor->offset,
                .bytes = tensor->bytes,
            };
            mmh_status status = mmh_container_write_tensor(packing->writer, &record, err);
            if (status != MMH_OK)
                return status;
        }
        packing->tensor_count += file->map.tensor_count;
    }
    return MMH_OK;
}

/* ---- the calls ---- */

/* Whoever looks at stored chunks first: numbers that no two of them share, in the order of the plan. */
static mmh_status number_seals(struct packing *packing, mmh_error *err)
{
    mmh_context *context = packing->context;
    const struct mmh_plan *plan = &packing->plan;
    uint64_t number = 0;
    if (!packing->aead_suite)
        return MMH_OK;
    packing->seals_before = mmh_alloc_array(context->allocator, plan->block_count,
                                            sizeof *packing->seals_before);
    if (!packing->seals_before)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu blocks", plan->block_count);
    for (size_t i = 0; i < plan->block_count; i++) {
        packing->seals_before[i] = number;
        number += 1 + mmh_divide_up(plan->blocks[i].bytes, plan->blocks[i].chunk_bytes);
    }
    return mmh_sealer_create(&packing->sealer, context, packing->aead_suite,
                             packing->key.keys.chunk, true, err);
}

static mmh_status pack(struct packing *packing, struct mmh_container_totals *totals, mmh_error *err)
{
    mmh_context *context = packing->context;
    struct mmh_container_options options = {
        .hash_suite = packing->hash_suite,
        .level = (uint8_t)packing->options->level,
        .writer = "mmh " MMH_VERSION_STRING,
        .times = packing->options->keep_times,
        .aead_suite = packing->aead_suite,
        .keys = packing->aead_suite ? &packing->key.keys : NULL,
        .guard = mmh_guarding_write,
        .guard_context = &packing->guarding,
        .read_back = mmh_area_read_back,
        .read_context = packing->output,
    };
    mmh_area_maker_init(&packing->area, context, packing->output, packing->options->parity);
    if (packing->options->parity)
        options.recovery = &packing->area.recovery;
    mmh_status status = number_seals(packing, err);
    if (status == MMH_OK)
        status = mmh_container_writer_create(&packing->writer, &options, sink, packing,
                                             context->allocator, err);
    if (status != MMH_OK)
        return status;
    packing->window = mmh_pool_threads(context->pool) + (mmh_pool_threads(context->pool) > 1);
    packing->slots = mmh_alloc_array(context->allocator, packing->window, sizeof *packing->slots);
    packing->digest = mmh_alloc(context->allocator, 64, sizeof *packing->digest);
    if (!packing->slots || !packing->digest)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to pack");
    status = mmh_pool_ordered(context->pool, packing->plan.block_count, packing->window, produce,
                              consume, packing, err);
    while (packing->file < packing->plan.file_count && status == MMH_OK)
        status = finish_file(packing, err);
    if (status == MMH_OK)
        status = write_tensors(packing, err);
    if (status == MMH_OK)
        status = mmh_container_finish(packing->writer, totals, err);
    return status;
}

static mmh_status check_options(mmh_pack_options *options, const mmh_pack_options *given,
                                unsigned *hash_suite, mmh_error *err)
{
    mmh_status status = mmh_options_copy(options, sizeof *options, given, "mmh_pack_options", err);
    if (status != MMH_OK)
        return status;
    if (!options->level)
        options->level = DEFAULT_LEVEL;
    if (options->level < 1 || options->level > 9)
        return mmh_fail(err, MMH_E_USAGE, "level %d: levels are 1 to 9", options->level);
    if (options->parity > MMH_PARITY_MAX)
        return mmh_fail(err, MMH_E_USAGE, "parity is at most %u %%", MMH_PARITY_MAX / 100);
    if (options->blake3 && !mmh_hash_suite_available(MMH_HASH_BLAKE3))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "hash suite blake3 is not in this build");
    *hash_suite = options->sha384 ? MMH_HASH_SHA384
                : options->sha256 ? MMH_HASH_SHA256
                                  : mmh_hash_suite_default();
    return MMH_OK;
}

/* Who will be let in and who signs; a file key, if there is somebody to have it. */
static mmh_status prepare_guards(struct packing *packing, mmh_error *err)
{
    const mmh_pack_options *options = packing->options;
    struct mmh_guarding *guarding = &packing->guarding;
    *guarding = (struct mmh_guarding){
        .context = packing->context,
        .hash_suite = packing->hash_suite,
        .recipients = options->recipients,
        .recipient_count = options->recipient_count,
        .passphrase = options->passphrase,
        .passphrase_bytes = options->passphrase_bytes,
        .signers = options->signers,
        .signer_count = options->signer_count,
        .counter = options->counter,
        .time_seconds = options->time_seconds,
    };
    mmh_status status = mmh_guarding_check(guarding, err);
    if (status != MMH_OK || (!options->recipient_count && !options->passphrase))
        return status;
    status = mmh_aead_choose(&packing->aead_suite, options->aead, err);
    if (status == MMH_OK)
        status = mmh_fresh_key_make(&packing->key, packing->aead_suite, packing->hash_suite, err);
    guarding->aead_suite = packing->aead_suite;
    guarding->file_key = packing->key.file_key;
    guarding->keys = &packing->key.keys;
    return status;
}

/* Tell the remarks about all files. Returns how many there are. */
static uint64_t tell_remarks(const struct mmh_plan *plan, const mmh_pack_options *options)
{
    uint64_t count = 0;
    for (size_t i = 0; i < plan->file_count; i++) {
        const struct mmh_extent_map *map = &plan->files[i].map;
        mmh_remarks remarks = {
            .name = plan->files[i].name,
            .texts = map->remarks,
            .text_count = (size_t)MMH_MIN(map->remark_count, (uint64_t)MMH_MAP_REMARKS_MAX),
            .count = map->remark_count,
        };
        if (remarks.count && options->remarks)
            options->remarks(options->remarks_user, &remarks);
        count += remarks.count;
    }
    return count;
}

/* Whether a file is packed that only its owner may read, and the container is plain. */
static bool holds_private(const struct packing *packing)
{
    for (size_t i = 0; i < packing->plan.file_count && !packing->guarding.file_key; i++) {
        const struct mmh_path_info *info = &packing->plan.files[i].info;
        if (info->kind == MMH_PATH_FILE && mmh_path_is_private(info))
            return true;
    }
    return false;
}

/* Where a container goes: a path, or a sink, or a descriptor. */
struct destination {
    const char *path;
    const mmh_sink *sink;
    int descriptor;
};

static mmh_status open_output(struct packing *packing, const struct destination *destination,
                              mmh_error *err)
{
    const mmh_allocator *allocator = packing->context->allocator;
    const struct mmh_output_options options = { .overwrite = packing->options->overwrite,
                                                .sweep = true,
                                                .secret = holds_private(packing) };
    if (destination->path)
        return mmh_output_create(&packing->output, destination->path, &options, allocator, err);
    if (destination->sink)
        return mmh_output_open_sink(&packing->output, destination->sink, allocator, err);
    return mmh_output_open_descriptor(&packing->output, destination->descriptor, "output",
                                      allocator, err);
}

static mmh_status pack_to(mmh_context *context, const struct mmh_plan_inputs *inputs,
                          const struct destination *destination, const mmh_pack_options *given,
                          mmh_pack_report *report, mmh_error *err)
{
    mmh_pack_options options = { 0 };
    struct packing packing = { .context = context, .options = &options };
    struct mmh_container_totals totals = { 0 };
    uint64_t begin = mmh_clock_ns(), sync_ns = 0;
    mmh_status status = check_options(&options, given, &packing.hash_suite, err);
    if (status == MMH_OK)
        status = mmh_struct_check(report, "mmh_pack_report", err);
    if (status == MMH_OK)
        status = prepare_guards(&packing, err);
    if (status != MMH_OK) {
        mmh_wipe(&packing.key, sizeof packing.key);
        return status;
    }
    mmh_arena_init(&packing.arena, context->allocator);
    mmh_context_begin(context, "pack", 0);
    const char *path = destination->path;
    if (!path && options.parity)
        status = mmh_fail(err, MMH_E_USAGE, "parity needs an output that can be read back: a file");
    if (path && !options.overwrite) { /* before any work is done; commit asks again */
        struct mmh_path_info info;
        status = mmh_path_stat(&info, path, false, err);
        if (status == MMH_OK && info.kind != MMH_PATH_NONE)
            status = mmh_fail(err, MMH_E_USAGE, "\"%s\" exists", path);
    }
    if (status == MMH_OK)
        status = mmh_plan_make(&packing.plan, context, &packing.arena, inputs, path, &options, err);
    context->state.total_bytes = packing.plan.total_bytes;
    if (status == MMH_OK)
        status = open_output(&packing, destination, err);
    if (status == MMH_OK)
        status = pack(&packing, &totals, err);
    if (status == MMH_OK) {
        uint64_t clock = mmh_clock_ns();
        status = mmh_output_commit(packing.output, err);
        sync_ns = mmh_clock_ns() - clock;
    }
    uint64_t remark_count = status == MMH_OK ? tell_remarks(&packing.plan, &options) : 0;
    if (status == MMH_OK && report) {
        struct mmh_stage_times *times = &context->times;
        mmh_pack_report done = {
            .original_bytes = packing.plan.total_bytes,
            .stored_bytes = totals.container_bytes,
            .floor_bytes = totals.floor_bytes,
            .file_count = packing.plan.file_count,
            .tensor_count = packing.tensor_count,
            .chunk_count = totals.chunk_count,
            .shared_chunks = totals.shared_chunks,
            .shared_bytes = totals.shared_bytes,
            .read_ns = times->read_ns,
            .plan_ns = times->plan_ns,
            .encode_ns = times->encode_ns,
            .check_ns = times->check_ns,
            .hash_ns = times->hash_ns,
            .write_ns = times->write_ns,
            .sync_ns = sync_ns,
            .wall_ns = mmh_clock_ns() - begin,
            .followed_links = packing.plan.followed_links,
            .odd_names = packing.plan.odd_names.count,
            .remark_count = remark_count,
            .seal_ns = times->seal_ns,
            .sign_ns = times->sign_ns,
            .parity_ns = packing.area.wall_ns,
            .parity_bytes = totals.recovery_bytes,
            .root_bytes = mmh_hash_bytes(packing.hash_suite),
        };
        memcpy(done.root, totals.root, sizeof done.root);
        if (done.odd_names)
            mmh_odd_name_text(done.odd_name, sizeof done.odd_name, &packing.plan.odd_names);
        mmh_report_copy(report, &done, sizeof done);
    }
    mmh_context_end(context, status);
    if (packing.file_open)
        mmh_digest_abandon(packing.digest);
    mmh_output_close(packing.output);
    mmh_container_writer_destroy(packing.writer);
    slots_release(&packing);
    mmh_sealer_destroy(packing.sealer);
    mmh_wipe(&packing.key, sizeof packing.key);
    mmh_free(context->allocator, packing.seals_before);
    mmh_free(context->allocator, packing.digest);
    mmh_arena_release(&packing.arena);
    return status;
}

mmh_status mmh_pack(mmh_context *context, const char *const *inputs, size_t input_count,
                    const char *output, const mmh_pack_options *options, mmh_pack_report *report,
                    mmh_error *err)
{
    const struct mmh_plan_inputs paths = { .paths = inputs, .count = input_count };
    const struct destination destination = { .path = output };
    return pack_to(context, &paths, &destination, options, report, err);
}

mmh_status mmh_pack_to_descriptor(mmh_context *context, const char *const *inputs,
                                  size_t input_count, int descriptor,
                                  const mmh_pack_options *options, mmh_pack_report *report,
                                  mmh_error *err)
{
    const struct mmh_plan_inputs paths = { .paths = inputs, .count = input_count };
    const struct destination destination = { .descriptor = descriptor };
    return pack_to(context, &paths, &destination, options, report, err);
}

mmh_status mmh_pack_sources(mmh_context *context, const mmh_source *sources, size_t source_count,
                            const char *output, const mmh_sink *given_sink,
                            const mmh_pack_options *options, mmh_pack_report *report,
                            mmh_error *err)
{
    const struct mmh_plan_inputs inputs = { .sources = sources, .count = source_count };
    mmh_sink sink = { 0 };
    const struct destination destination = { .path = output, .sink = given_sink ? &sink : NULL };
    if (!output == !given_sink)
        return mmh_fail(err, MMH_E_USAGE, "the output is either a path or a sink");
    mmh_status status = mmh_options_copy(&sink, sizeof sink, given_sink, "mmh_sink", err);
    if (status == MMH_OK && given_sink) /* before any work is done */
        status = mmh_sink_check(&sink, err);
    return status == MMH_OK ? pack_to(context, &inputs, &destination, options, report, err)
                            : status;
}

/* ---- for repair ---- */

/* One block, by the calling thread. */
static mmh_status recode_block(struct packing *packing, size_t job,
                               const struct mmh_recoding *recoding, mmh_error *err)
{
    const struct mmh_plan_block *block = &packing->plan.blocks[job];
    struct slot *slot = &packing->slots[0];
    mmh_status status = produce(packing, job, 0, err);
    if (status != MMH_OK)
        return status;
    return recoding->take(recoding->user, packing->plan.files[block->file].name, block->offset,
                          slot->has_model ? &slot->model : NULL, slot->chunks,
                          (size_t)mmh_divide_up(block->bytes, block->chunk_bytes), err);
}

/* Map files of no known format as the container tells of them. */
static mmh_status map_told(struct packing *packing, const struct mmh_recoding *recoding,
                           mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < packing->plan.file_count && status == MMH_OK; i++) {
        struct mmh_plan_file *file = &packing->plan.files[i];
        struct mmh_map_tensor *tensors = NULL;
        size_t count = 0;
        if (file->info.kind != MMH_PATH_FILE || file->map.tensor_count)
            continue;
        status = recoding->tell(recoding->user, file->name, &packing->arena, &tensors, &count, err);
        if (status != MMH_OK || !count)
            continue;
        mmh_extent_map_init(&file->map, &packing->arena, file->info.bytes);
        status = mmh_format_map_told(&file->map, tensors, count, err);
    }
    return status;
}

mmh_status mmh_recode(mmh_context *context, const struct mmh_recoding *recoding, mmh_error *err)
{
    const mmh_pack_options options = { .struct_size = sizeof options, .level = recoding->level };
    struct packing packing = {
        .context = context, .options = &options, .hash_suite = mmh_hash_suite_default(), .window = 1
    };
    mmh_arena_init(&packing.arena, context->allocator);
    const struct mmh_plan_inputs inputs = { .paths = &recoding->path, .count = 1 };
    mmh_status status = mmh_plan_files(&packing.plan, context, &packing.arena, &inputs, NULL,
                                       &options, err);
    if (status == MMH_OK)
        status = map_told(&packing, recoding, err);
    if (status == MMH_OK)
        status = mmh_plan_cut(&packing.plan, context, &packing.arena, options.level, err);
    packing.slots = mmh_alloc_array(context->allocator, packing.window, sizeof *packing.slots);
    if (status == MMH_OK && !packing.slots)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory to code blocks again");
    for (size_t i = 0; i < packing.plan.block_count && status == MMH_OK; i++) {
        const struct mmh_plan_block *block = &packing.plan.blocks[i];
        if (recoding->wanted(recoding->user, packing.plan.files[block->file].name, block->offset,
                             block->bytes))
            status = recode_block(&packing, i, recoding, err);
    }
    slots_release(&packing);
    mmh_arena_release(&packing.arena);
    return status;
}
