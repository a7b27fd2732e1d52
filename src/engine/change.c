/*
 * What guards a container is changed: signatures, recipients, encryption. Weights are not coded again.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A new trailer is put behind the old footer (the old one stays good until the new one is), or in small
 * containers, and new files, in its place. Another file key makes another container: chunks are opened
 * and sealed by workers, and written in their order.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "container/container_end.h"
#include "engine/area.h"
#include "engine/guard.h"
#include "engine/seal.h"
#include "integrity/recovery.h"

enum {
    COPY_BYTES = 4 << 20, /* at a time */
    RUN_BYTES = 4 << 20,  /* stored bytes of one job's chunks */
    HUNDREDTHS = 10000
};

/* A container that is changed, and the file that it becomes. */
struct changing {
    mmh_context *context;
    const char *path;
    const mmh_change_options *options;
    mmh_reader *reader;
    uint8_t file_key[MMH_FILE_KEY_BYTES]; /* of an encrypted one that was opened */
    struct mmh_guarding guarding;
    mmh_output *output;
    struct mmh_area_maker area;
    bool in_place; /* appended to */
    int lock;      /* of the container, if that is what is changed; -1: none */
};

static mmh_status sink(void *context, const void *data, size_t bytes, mmh_error *err)
{
    struct changing *changing = context;
    atomic_fetch_add(&changing->context->stored_bytes, bytes);
    return mmh_output_append(changing->output, data, bytes, err);
}

static mmh_status settle(void *context, mmh_error *err)
{
    struct changing *changing = context;
    return mmh_output_sync(changing->output, err);
}

/* ---- opening and naming ---- */

/* Lock and open what is to be changed: whole, as what is written anew would seal damage in.
 *   keyless  it may stay locked */
static mmh_status change_open(struct changing *changing, bool keyless, bool keeps_rest,
                              mmh_error *err)
{
    struct mmh_opening opening = {
        .spares = true, .keyless = keyless, .keeps_rest = keeps_rest, .file_key = changing->file_key
    };
    const char *output = changing->options->output;
    bool beside = keyless && changing->options->detached;
    bool locks = !beside && (!output || strcmp(output, changing->path) == 0);
    mmh_status status = MMH_OK;
    changing->lock = -1;
    if (locks)
        status = mmh_context_lock(changing->context, &changing->lock, changing->path, err);
    if (status == MMH_OK)
        status = mmh_reader_open_as(changing->context, changing->path, &opening, &changing->reader,
                                    err);
    const mmh_container_reader *container = status == MMH_OK ? &changing->reader->container : NULL;
    unsigned mended = container ? container->mended : 0;
    /* What another call left unfinished behind the footer is no damage. */
    if (mended == MMH_MENDED_FOOTER &&
        container->footer.container_bytes < container->container_bytes)
        mended = 0;
    if (mended)
        status = mmh_fail(err, MMH_E_CORRUPT, "%s: damaged: repair it first", changing->path);
    return status;
}

/* Where the new file goes, before any work is done. */
static mmh_status change_check_output(const struct changing *changing, mmh_error *err)
{
    const char *output = changing->options->output;
    struct mmh_path_info info;
    mmh_status status = mmh_path_stat(&info, output ? output : changing->path, false, err);
    if (status != MMH_OK)
        return status;
    if (!output && info.kind == MMH_PATH_SYMLINK)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" is a symlink: name what it points to",
                        changing->path);
    if (output && info.kind != MMH_PATH_NONE && !changing->options->overwrite)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" exists", output);
    return MMH_OK;
}

/* The new file: `output`, or one that takes the container's place. */
static mmh_status change_create(struct changing *changing, mmh_error *err)
{
    const char *output = changing->options->output;
    const struct mmh_output_options options = {
        .overwrite = !output || changing->options->overwrite,
        .sweep = true,
        /* What only its owner may read stays so. */
        .secret = output && mmh_path_is_private(mmh_input_info(changing->reader->input)),
        .mode = output ? 0 : mmh_input_info(changing->reader->input)->mode
    };
    return mmh_output_create(&changing->output, output ? output : changing->path, &options,
                             changing->context->allocator, err);
}

static void change_release(struct changing *changing, mmh_status status)
{
    mmh_context_end(changing->context, status);
    mmh_output_close(changing->output);
    mmh_close(changing->reader);
    mmh_path_unlock(changing->lock);
    mmh_wipe(changing->file_key, sizeof changing->file_key);
}

/* ---- parity ---- */

/* The section of parity, if there is a usable one. */
static const struct mmh_section *parity_section(const mmh_container_reader *container)
{
    const struct mmh_section *section = &container->trailer.sections[MMH_SECTION_PARITY];
    bool usable = section->present && section->right && section->bytes >= MMH_PARITY_SECTION_BYTES;
    return usable ? section : NULL;
}

/* Parity for the changed container: as told, or as it has; hundredths of a percent. */
static unsigned wanted_parity(const struct changing *changing)
{
    const struct mmh_section *section = parity_section(&changing->reader->container);
    struct mmh_geometry geometry;
    if (changing->options->parity || !section || !mmh_geometry_read(&geometry, section->data))
        return changing->options->parity;
    /* What others wrote may be beyond what this makes. */
    return MMH_MIN(geometry.parity_count * HUNDREDTHS / geometry.data_count, MMH_PARITY_MAX);
}

/* The highest generation of the tail's packets. */
static mmh_status tail_generation(const struct changing *changing,
                                  const struct mmh_section *section, uint32_t *generation,
                                  mmh_error *err)
{
    const struct mmh_footer *footer = &changing->reader->container.footer;
    uint64_t begin = mmh_load64(section->data + MMH_GEOMETRY_BYTES) +
                     mmh_load64(section->data + MMH_GEOMETRY_BYTES + 8);
    struct mmh_found found = { .allocator = changing->context->allocator };
    mmh_status status = MMH_OK;
    *generation = 0;
    if (begin < footer->trailer)
        status = mmh_recovery_scan(&found, changing->reader->container.hash_suite,
                                   mmh_reader_read_at, changing->reader->input, begin,
                                   footer->trailer, err);
    for (size_t i = 0; i < found.count && status == MMH_OK; i++)
        *generation = MMH_MAX(*generation, found.packets[i].generation);
    mmh_found_release(&found);
    return status;
}

/* ---- another trailer ---- */

/* Bytes [0, end) as they are. */
static mmh_status copy_bytes(struct changing *changing, uint64_t end, mmh_error *err)
{
    mmh_context *context = changing->context;
    uint8_t *piece = mmh_alloc(context->allocator, 64, COPY_BYTES);
    if (!piece)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to copy a container");
    mmh_status status = MMH_OK;
    for (uint64_t at = 0; at < end && status == MMH_OK; at += COPY_BYTES) {
        size_t bytes = (size_t)MMH_MIN(end - at, (uint64_t)COPY_BYTES);
        status = mmh_input_read(changing->reader->input, piece, at, bytes, err);
        if (status == MMH_OK)
            status = sink(changing, piece, bytes, err);
        atomic_fetch_add_explicit(&context->done_bytes, bytes, memory_order_relaxed);
        if (status == MMH_OK)
            status = mmh_context_poll(context, err);
    }
    mmh_free(context->allocator, piece);
    return status;
}

/* Put an end with another trailer (without parity's section) to the container. */
static mmh_status write_trailer(struct changing *changing, const struct mmh_buffer *trailer,
                                mmh_error *err)
{
    mmh_context *context = changing->context;
    const mmh_container_reader *container = &changing->reader->container;
    const struct mmh_footer *footer = &container->footer;
    const struct mmh_section *section = parity_section(container);
    uint64_t protected_bytes = footer->index_a + footer->index_bytes;
    unsigned parity = wanted_parity(changing);
    uint32_t generation = 0;
    uint8_t *index = mmh_alloc(context->allocator, 64, (size_t)footer->index_bytes);
    if (!index)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the index");
    /* What is taken away must not come back with the old footer: that is written anew. */
    changing->in_place = !changing->options->output && !changing->options->parity &&
                         !changing->options->remove &&
                         footer->container_bytes > changing->context->anew_bytes;
    context->state.total_bytes = changing->in_place ? 0 : protected_bytes;
    mmh_status status = mmh_input_read(changing->reader->input, index, footer->index_a,
                                       (size_t)footer->index_bytes, err);
    if (status == MMH_OK && changing->in_place && section)
        status = tail_generation(changing, section, &generation, err);
    if (status == MMH_OK && changing->in_place)
        status = mmh_input_unchanged(changing->reader->input, err);
    if (status == MMH_OK)
        status = changing->in_place ? mmh_output_open_existing(&changing->output, changing->path,
                                                               context->allocator, err)
                                    : change_create(changing, err);
    if (status == MMH_OK && changing->in_place &&
        footer->container_bytes < container->container_bytes)
        status = mmh_output_resize(changing->output, footer->container_bytes, err);
    if (status == MMH_OK && changing->in_place)
        status = mmh_output_seek_end(changing->output, err);
    if (status == MMH_OK && !changing->in_place)
        status = copy_bytes(changing, protected_bytes, err);
    if (status == MMH_OK && !changing->in_place)
        status = mmh_input_unchanged(changing->reader->input, err);
    mmh_area_maker_init(&changing->area, context, changing->output, parity);
    changing->area.generation = generation + 1;
    struct mmh_container_end end = {
        .sink = sink,
        .sink_context = changing,
        .position = changing->in_place ? footer->container_bytes : protected_bytes,
        .hash_suite = container->hash_suite,
        .footer = *footer,
        .index = index,
        .trailer = trailer,
        .recovery = parity ? &changing->area.recovery : NULL,
        .read_back = mmh_area_read_back,
        .read_context = changing->output,
        .old_parity = changing->in_place ? section : NULL,
        .settle = changing->in_place ? settle : NULL,
        .settle_context = changing,
    };
    if (status == MMH_OK)
        status = mmh_container_end_write(&end, context->allocator, err);
    if (status == MMH_OK)
        status = mmh_output_commit(changing->output, err);
    mmh_free(context->allocator, index);
    return status;
}

/* ---- signatures ---- */

static void keep_signatures(struct changing *changing)
{
    const struct mmh_section *old =
        &changing->reader->container.trailer.sections[MMH_SECTION_SIGNATURES];
    if (old->present && old->right && !changing->options->remove) {
        changing->guarding.old_signatures = old->data;
        changing->guarding.old_signature_bytes = old->bytes;
    }
}

/* Signatures beside the container. */
static mmh_status write_detached(struct changing *changing, mmh_error *err)
{
    const mmh_container_reader *container = &changing->reader->container;
    const char *path = changing->options->detached;
    const struct mmh_output_options options = { .overwrite = changing->options->overwrite };
    struct mmh_buffer section, file;
    mmh_buffer_init(&section, changing->context->allocator);
    mmh_buffer_init(&file, changing->context->allocator);
    mmh_status status = mmh_guarding_sign(&changing->guarding, &section, container->root,
                                          container->hash_bytes, err);
    if (status == MMH_OK)
        status = mmh_signature_file_write(&file, section.data, section.bytes, err);
    if (status == MMH_OK)
        status = mmh_output_create(&changing->output, path, &options, changing->context->allocator,
                                   err);
    if (status == MMH_OK)
        status = mmh_output_append(changing->output, file.data, file.bytes, err);
    if (status == MMH_OK)
        status = mmh_output_commit(changing->output, err);
    mmh_buffer_release(&file);
    mmh_buffer_release(&section);
    return status;
}

static mmh_status write_signed(struct changing *changing, mmh_error *err)
{
    const mmh_container_reader *container = &changing->reader->container;
    struct mmh_buffer trailer;
    mmh_buffer_init(&trailer, changing->context->allocator);
    keep_signatures(changing);
    mmh_trailer_keep(&trailer, &container->trailer,
                     1u << MMH_SECTION_SIGNATURES | 1u << MMH_SECTION_PARITY);
    mmh_status status = mmh_guarding_write(&changing->guarding, &trailer, container->footer.header,
                                           container->root, container->hash_bytes, err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&trailer, "the trailer", err);
    if (status == MMH_OK)
        status = write_trailer(changing, &trailer, err);
    mmh_buffer_release(&trailer);
    return status;
}

mmh_status mmh_sign(mmh_context *context, const char *container, const mmh_key *const *signers,
                    size_t signer_count, const mmh_change_options *given, mmh_error *err)
{
    mmh_change_options options = { 0 };
    struct changing changing = { .context = context, .path = container, .options = &options };
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_change_options",
                                         err);
    changing.guarding = (struct mmh_guarding){ .context = context,
                                               .signers = signers,
                                               .signer_count = signer_count,
                                               .counter = options.counter,
                                               .time_seconds = options.time_seconds };
    if (status == MMH_OK)
        status = mmh_guarding_check(&changing.guarding, err);
    if (status == MMH_OK && !signer_count && !options.remove)
        status = mmh_fail(err, MMH_E_USAGE, "no key is given to sign with");
    if (status == MMH_OK && !options.detached)
        status = change_check_output(&changing, err);
    if (status != MMH_OK)
        return status;
    mmh_context_begin(context, "sign", 0);
    status = change_open(&changing, true, false, err);
    if (status == MMH_OK) {
        changing.guarding.hash_suite = changing.reader->container.hash_suite;
        status = options.detached ? write_detached(&changing, err) : write_signed(&changing, err);
    }
    change_release(&changing, status);
    return status;
}

/* ---- more recipients ---- */

static struct mmh_guarding guarding_of(mmh_context *context, const mmh_key *const *recipients,
                                       size_t recipient_count, const char *passphrase,
                                       size_t passphrase_bytes)
{
    return (struct mmh_guarding){ .context = context,
                                  .recipients = recipients,
                                  .recipient_count = recipient_count,
                                  .passphrase = passphrase,
                                  .passphrase_bytes = passphrase_bytes };
}

static mmh_status write_recipients(struct changing *changing, mmh_error *err)
{
    const mmh_container_reader *container = &changing->reader->container;
    const struct mmh_section *old = &container->trailer.sections[MMH_SECTION_RECIPIENTS];
    struct mmh_guarding *guarding = &changing->guarding;
    struct mmh_buffer trailer;
    if (!container->aead_suite)
        return mmh_fail(err, MMH_E_USAGE, "%s is not encrypted", changing->path);
    guarding->hash_suite = container->hash_suite;
    guarding->aead_suite = container->aead_suite;
    guarding->file_key = changing->file_key;
    guarding->keys = &container->keys;
    guarding->old_recipients = old->data;
    guarding->old_recipient_bytes = old->bytes;
    mmh_buffer_init(&trailer, changing->context->allocator);
    mmh_status status = mmh_guarding_write(guarding, &trailer, container->footer.header,
                                           container->root, container->hash_bytes, err);
    mmh_trailer_keep(&trailer, &container->trailer,
                     1u << MMH_SECTION_RECIPIENTS | 1u << MMH_SECTION_PARITY);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&trailer, "the trailer", err);
    if (status == MMH_OK)
        status = write_trailer(changing, &trailer, err);
    mmh_buffer_release(&trailer);
    return status;
}

/* The options, and that there is somebody to encrypt to. */
static mmh_status recipients_check(const struct changing *changing, mmh_change_options *options,
                                   const mmh_change_options *given, mmh_error *err)
{
    const struct mmh_guarding *guarding = &changing->guarding;
    mmh_status status = mmh_options_copy(options, sizeof *options, given, "mmh_change_options",
                                         err);
    if (status == MMH_OK)
        status = mmh_guarding_check(guarding, err);
    if (status == MMH_OK && !guarding->recipient_count && !guarding->passphrase)
        status = mmh_fail(err, MMH_E_USAGE, "no recipient is given");
    return status;
}

mmh_status mmh_add_recipients(mmh_context *context, const char *container,
                              const mmh_key *const *recipients, size_t recipient_count,
                              const char *passphrase, size_t passphrase_bytes,
                              const mmh_change_options *given, mmh_error *err)
{
    mmh_change_options options = { 0 };
    struct changing changing = { .context = context, .path = container, .options = &options };
    changing.guarding = guarding_of(context, recipients, recipient_count, passphrase,
                                    passphrase_bytes);
    mmh_status status = recipients_check(&changing, &options, given, err);
    if (status == MMH_OK)
        status = change_check_output(&changing, err);
    if (status != MMH_OK)
        return status;
    mmh_context_begin(context, "encrypt", 0);
    status = change_open(&changing, false, false, err);
    if (status == MMH_OK)
        status = write_recipients(&changing, err);
    change_release(&changing, status);
    return status;
}

/* ---- another file key, or none ---- */

/* Chunks on their way, from a worker to the ordered writer. */
struct slot {
    uint8_t *data;
    size_t room;
    struct mmh_stored_chunk *chunks;
    size_t chunks_room;
};

struct resealing {
    struct changing *changing;
    struct mmh_fresh_key key;
    unsigned aead_suite; /* of the new container */
    mmh_sealer *sealer;  /* NULL: it is a plain one */
    mmh_container_writer *writer;
    uint8_t *alignments; /* [chunk_count] log2 of each chunk's alignment */
    uint64_t *runs;      /* [run_count + 1] the first chunk of each job */
    size_t run_count, window;
    struct slot *slots;
};

/* Open and seal one chunk, as it lies in `data`, with room for a tag behind it. */
static mmh_status reseal_chunk(struct resealing *resealing, struct mmh_stored_chunk *chunk,
                               uint8_t *data, uint64_t number, unsigned worker, mmh_error *err)
{
    mmh_reader *reader = resealing->changing->reader;
    struct mmh_stage_times *times = &reader->context->times;
    const struct mmh_index *index = &reader->container.index;
    const struct mmh_chunk_entry *entry = &index->chunks[number];
    uint32_t bytes = mmh_reader_payload_bytes(reader, entry);
    mmh_error problem = { 0 };
    uint64_t clock = mmh_clock_ns();
    mmh_status status = mmh_input_read(reader->input, data, entry->offset, entry->bytes, err);
    if (status != MMH_OK)
        return status;
    clock = mmh_stage_add(&times->read_ns, clock);
    status = mmh_container_check_chunk(&reader->container, number, data, &problem);
    clock = mmh_stage_add(&times->hash_ns, clock);
    if (status == MMH_OK && reader->sealer)
        status = mmh_sealer_open(reader->sealer, worker, data, entry->bytes,
                                 index->seal_numbers[number], &problem);
    if (status != MMH_OK)
        return mmh_fail(err, status, "%s: chunk %" PRIu64 ": %s", resealing->changing->path, number,
                        problem.message);
    clock = mmh_stage_add(&times->unseal_ns, clock);
    if (resealing->sealer) {
        status = mmh_sealer_seal(resealing->sealer, worker, data, bytes, number, err);
        bytes += MMH_AEAD_TAG_BYTES;
        clock = mmh_stage_add(&times->seal_ns, clock);
    }
    *chunk = (struct mmh_stored_chunk){
        .data = data, .bytes = bytes, .codec_id = entry->codec_id, .seal_number = number
    };
    if (status == MMH_OK)
        status = mmh_hash(chunk->hash, reader->container.hash_suite, MMH_DOMAIN_CHUNK, data, bytes,
                          err);
    mmh_stage_add(&times->hash_ns, clock);
    return status;
}

static mmh_status reseal_run(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct resealing *resealing = context;
    mmh_context *engine = resealing->changing->context;
    const struct mmh_chunk_entry *entries = resealing->changing->reader->container.index.chunks;
    struct slot *slot = &resealing->slots[job % resealing->window];
    uint64_t first = resealing->runs[job], end = resealing->runs[job + 1];
    uint8_t *chunks = (uint8_t *)(void *)slot->chunks;
    size_t bytes = 0, at = 0;
    for (uint64_t i = first; i < end; i++)
        bytes += entries[i].bytes + MMH_AEAD_TAG_BYTES;
    mmh_status status = mmh_context_room(engine, &slot->data, &slot->room, bytes, err);
    if (status == MMH_OK)
        status = mmh_context_room(engine, &chunks, &slot->chunks_room,
                                  (size_t)(end - first) * sizeof *slot->chunks, err);
    slot->chunks = (struct mmh_stored_chunk *)(void *)chunks;
    for (uint64_t i = first; i < end && status == MMH_OK; i++) {
        status = reseal_chunk(resealing, &slot->chunks[i - first], slot->data + at, i, worker, err);
        at += entries[i].bytes + MMH_AEAD_TAG_BYTES;
        atomic_fetch_add_explicit(&engine->done_bytes, entries[i].bytes, memory_order_relaxed);
        if (status == MMH_OK)
            status = mmh_context_poll(engine, err);
    }
    return status;
}

static mmh_status write_run(void *context, size_t job, mmh_error *err)
{
    struct resealing *resealing = context;
    const struct slot *slot = &resealing->slots[job % resealing->window];
    uint64_t first = resealing->runs[job], end = resealing->runs[job + 1];
    mmh_status status = MMH_OK;
    for (uint64_t i = first; i < end && status == MMH_OK; i++)
        status = mmh_container_copy_chunk(resealing->writer, &slot->chunks[i - first],
                                          1u << resealing->alignments[i], err);
    return status;
}

/* Chunks lie as pack would have them: the first block that names one says how. */
static mmh_status plan_alignments(struct resealing *resealing, mmh_error *err)
{
    const mmh_reader *reader = resealing->changing->reader;
    const struct mmh_index *index = &reader->container.index;
    const mmh_allocator *allocator = resealing->changing->context->allocator;
    uint8_t *alignments = mmh_alloc_array(allocator, (size_t)index->chunk_count, 1);
    if (!alignments)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %" PRIu64 " chunks", index->chunk_count);
    for (uint64_t b = 0; b < index->block_count; b++) {
        const struct mmh_block_entry *block = &index->blocks[b];
        const uint32_t *refs = &index->refs[block->first_ref];
        uint64_t count = mmh_divide_up(block->bytes, block->chunk_bytes), bytes = 0;
        for (uint64_t c = 0; c < count; c++)
            bytes += mmh_reader_payload_bytes(reader, &index->chunks[refs[c]]);
        if (block->has_model && !alignments[block->model])
            alignments[block->model] = (uint8_t)mmh_log2_ceil(MMH_SMALL_ALIGNMENT);
        for (uint64_t c = 0; c < count; c++)
            if (!alignments[refs[c]])
                alignments[refs[c]] = (uint8_t)mmh_log2_ceil(mmh_chunk_alignment(bytes, c));
    }
    for (uint64_t i = 0; i < index->chunk_count; i++) /* that no block names */
        if (!alignments[i])
            alignments[i] = (uint8_t)mmh_log2_ceil(MMH_SMALL_ALIGNMENT);
    resealing->alignments = alignments;
    return MMH_OK;
}

/* Cut the chunks into jobs; only counts while there is no list. */
static size_t list_runs(struct resealing *resealing)
{
    const struct mmh_index *index = &resealing->changing->reader->container.index;
    size_t count = 0;
    uint64_t bytes = RUN_BYTES;
    for (uint64_t i = 0; i < index->chunk_count; i++) {
        if (bytes >= RUN_BYTES) {
            if (resealing->runs)
                resealing->runs[count] = i;
            count++;
            bytes = 0;
        }
        bytes += index->chunks[i].bytes;
    }
    if (resealing->runs)
        resealing->runs[count] = index->chunk_count;
    return count;
}

static mmh_status reseal_prepare(struct resealing *resealing, mmh_error *err)
{
    struct changing *changing = resealing->changing;
    mmh_context *context = changing->context;
    const mmh_container_reader *container = &changing->reader->container;
    mmh_status status = plan_alignments(resealing, err);
    if (status != MMH_OK)
        return status;
    resealing->window = mmh_pool_window(context->pool);
    resealing->run_count = list_runs(resealing);
    resealing->runs = mmh_alloc_array(context->allocator, resealing->run_count + 1,
                                      sizeof *resealing->runs);
    resealing->slots = mmh_alloc_array(context->allocator, resealing->window,
                                       sizeof *resealing->slots);
    if (!resealing->runs || !resealing->slots)
        return mmh_fail(err, MMH_E_MEMORY, "no memory to change a container");
    (void)list_runs(resealing);
    if (resealing->aead_suite)
        status = mmh_fresh_key_make(&resealing->key, resealing->aead_suite, container->hash_suite,
                                    err);
    if (status == MMH_OK && resealing->aead_suite)
        status = mmh_sealer_create(&resealing->sealer, context, resealing->aead_suite,
                                   resealing->key.keys.chunk, false, err);
    return status == MMH_OK ? change_create(changing, err) : status;
}

static mmh_status reseal(struct resealing *resealing, mmh_error *err)
{
    struct changing *changing = resealing->changing;
    mmh_context *context = changing->context;
    const mmh_container_reader *container = &changing->reader->container;
    mmh_status status = reseal_prepare(resealing, err);
    if (status != MMH_OK)
        return status;
    context->state.total_bytes = container->index_offset;
    changing->guarding.hash_suite = container->hash_suite;
    changing->guarding.aead_suite = resealing->aead_suite;
    changing->guarding.file_key = resealing->aead_suite ? resealing->key.file_key : NULL;
    changing->guarding.keys = &resealing->key.keys;
    unsigned parity = wanted_parity(changing);
    mmh_area_maker_init(&changing->area, context, changing->output, parity);
    const struct mmh_container_options options = {
        .hash_suite = container->hash_suite,
        .level = container->index.level,
        .writer = container->index.writer,
        .times = container->times,
        .aead_suite = resealing->aead_suite,
        .keys = resealing->aead_suite ? &resealing->key.keys : NULL,
        .guard = mmh_guarding_write,
        .guard_context = &changing->guarding,
        .recovery = parity ? &changing->area.recovery : NULL,
        .read_back = mmh_area_read_back,
        .read_context = changing->output,
    };
    status = mmh_container_writer_create(&resealing->writer, &options, sink, changing,
                                         context->allocator, err);
    if (status == MMH_OK)
        status = mmh_pool_ordered(context->pool, resealing->run_count, resealing->window,
                                  reseal_run, write_run, resealing, err);
    if (status == MMH_OK)
        status = mmh_container_copy_rest(resealing->writer, container->rest, container->rest_bytes,
                                         err);
    if (status == MMH_OK)
        status = mmh_container_finish(resealing->writer, NULL, err);
    if (status == MMH_OK)
        status = mmh_input_unchanged(changing->reader->input, err);
    return status == MMH_OK ? mmh_output_commit(changing->output, err) : status;
}

static void reseal_release(struct resealing *resealing)
{
    const mmh_allocator *allocator = resealing->changing->context->allocator;
    mmh_container_writer_destroy(resealing->writer);
    for (size_t i = 0; resealing->slots && i < resealing->window; i++) {
        mmh_free(allocator, resealing->slots[i].data);
        mmh_free(allocator, resealing->slots[i].chunks);
    }
    mmh_free(allocator, resealing->slots);
    mmh_free(allocator, resealing->runs);
    mmh_free(allocator, resealing->alignments);
    mmh_sealer_destroy(resealing->sealer);
    mmh_wipe(&resealing->key, sizeof resealing->key);
}

/* The same container under another file key (encrypts) or without one. */
static mmh_status change_key(struct changing *changing, bool encrypts, const char *stage,
                             mmh_error *err)
{
    struct resealing resealing = { .changing = changing };
    mmh_status status = change_check_output(changing, err);
    if (status == MMH_OK && encrypts)
        status = mmh_aead_choose(&resealing.aead_suite, changing->options->aead, err);
    if (status != MMH_OK)
        return status;
    mmh_context_begin(changing->context, stage, 0);
    status = change_open(changing, false, true, err);
    if (status == MMH_OK && !encrypts && !changing->reader->container.aead_suite)
        status = mmh_fail(err, MMH_E_USAGE, "%s is not encrypted", changing->path);
    if (status == MMH_OK)
        status = reseal(&resealing, err);
    reseal_release(&resealing);
    change_release(changing, status);
    return status;
}

mmh_status mmh_encrypt(mmh_context *context, const char *container,
                       const mmh_key *const *recipients, size_t recipient_count,
                       const char *passphrase, size_t passphrase_bytes,
                       const mmh_change_options *given, mmh_error *err)
{
    mmh_change_options options = { 0 };
    struct changing changing = { .context = context, .path = container, .options = &options };
    changing.guarding = guarding_of(context, recipients, recipient_count, passphrase,
                                    passphrase_bytes);
    mmh_status status = recipients_check(&changing, &options, given, err);
    return status == MMH_OK ? change_key(&changing, true, "encrypt", err) : status;
}

mmh_status mmh_decrypt(mmh_context *context, const char *container, const mmh_change_options *given,
                       mmh_error *err)
{
    mmh_change_options options = { 0 };
    struct changing changing = { .context = context, .path = container, .options = &options };
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_change_options",
                                         err);
    changing.guarding = guarding_of(context, NULL, 0, NULL, 0);
    return status == MMH_OK ? change_key(&changing, false, "decrypt", err) : status;
}
