/*
 * Repair: a damaged container becomes what it was, in place by way of a journal, or as a new file.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/repair.h"

#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "container/container_end.h"
#include "engine/area.h"
#include "engine/damage.h"

enum { COPY_BYTES = 4 << 20, COMPARE_BYTES = 1 << 16 };

/* ---- what is there ---- */

/* Whether a file is a container, or what is left of one. */
static mmh_status is_container(bool *yes, const struct mmh_remains *remains, mmh_error *err)
{
    uint8_t magic[8];
    mmh_status status = mmh_copy_read((void *)(uintptr_t)&remains->copy, magic, 0, sizeof magic,
                                      err);
    *yes = status == MMH_OK &&
           (remains->found || remains->has_packets || mmh_container_magic(magic, sizeof magic));
    return status;
}

static mmh_status open_copy(struct mmh_repairing *repairing, size_t number, const char *path,
                            mmh_error *err)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    mmh_input **input = &repairing->inputs[number];
    mmh_status status = repairing->source && !number
                          ? mmh_input_open_source(input, repairing->source, allocator, err)
                          : mmh_input_open_file(input, path, allocator, err);
    if (status == MMH_E_USAGE && repairing->dry)
        status = MMH_E_CORRUPT; /* a pipe that was read is gone: nothing is left of it to look at */
    if (status == MMH_OK)
        status = mmh_remains_find(&repairing->remains[number], repairing->inputs[number], true,
                                  allocator, err);
    return status;
}

static void close_copy(struct mmh_repairing *repairing, size_t number)
{
    mmh_remains_release(&repairing->remains[number]);
    mmh_input_close(repairing->inputs[number]);
    repairing->inputs[number] = NULL;
}

/* Whether a container lacks nothing, whatever a journal beside it says. */
static mmh_status is_sound(bool *sound, const struct mmh_repairing *repairing, mmh_error *err)
{
    struct mmh_assessment assessment;
    mmh_status status = mmh_repair_assess(&assessment, repairing->context, repairing->path, false,
                                          err);
    *sound = status == MMH_OK && assessment.restorable && !assessment.mended;
    return status;
}

/* The container itself; an interrupted repair is completed first, if there is still something to repair. */
static mmh_status open_first(struct mmh_repairing *repairing, mmh_error *err)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    enum mmh_journal_kind kind = MMH_JOURNAL_NONE;
    mmh_status status = open_copy(repairing, 0, repairing->path, err);
    if (status == MMH_OK && !repairing->dry)
        status = mmh_journal_look(&kind, repairing->path, allocator, err);
    if (status != MMH_OK || kind == MMH_JOURNAL_NONE)
        return status;
    bool sound;
    status = is_sound(&sound, repairing, err);
    if (status != MMH_OK || sound)
        return sound && kind == MMH_JOURNAL_OWN
                 ? mmh_journal_forget(repairing->path, allocator, err)
                 : status;
    if (kind == MMH_JOURNAL_OTHER)
        return repairing->options.output
                 ? MMH_OK
                 : mmh_fail(err, MMH_E_USAGE,
                            "\"%s-journal\" is no journal of a repair of yours: move it away, or "
                            "repair into another file",
                            repairing->path);
    const struct mmh_remains *remains = &repairing->remains[0];
    status = mmh_journal_replay(&repairing->report.replayed, repairing->path,
                                remains->found ? remains->footer.root : NULL,
                                remains->footer.container_bytes, allocator, err);
    close_copy(repairing, 0);
    return status == MMH_OK ? open_copy(repairing, 0, repairing->path, err) : status;
}

/* The other sources: folders are originals, containers copies; what is neither for sure may be both, as
 * hashes tell. */
static mmh_status open_sources(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_status status = MMH_OK;
    repairing->copy_count = 1;
    for (size_t i = 0; i < repairing->options.source_count && status == MMH_OK; i++) {
        const char *path = repairing->options.sources[i];
        struct mmh_path_info info;
        bool container = false;
        status = mmh_path_stat(&info, path, true, err);
        if (status == MMH_OK && info.kind != MMH_PATH_FOLDER) {
            status = open_copy(repairing, repairing->copy_count, path, err);
            if (status == MMH_OK)
                status = is_container(&container, &repairing->remains[repairing->copy_count], err);
            repairing->copy_count++;
        }
        if (status == MMH_OK && !container)
            repairing->originals[repairing->original_count++] = path;
    }
    return status;
}

/* The tail that counts: the container's own, or if it is lost another copy's. */
static mmh_status choose_main(struct mmh_repairing *repairing, mmh_error *err)
{
    repairing->main = NULL;
    for (size_t c = 0; c < repairing->copy_count; c++) {
        const struct mmh_remains *remains = &repairing->remains[c];
        const struct mmh_remains *best = repairing->main;
        bool newer = best && remains->footer.container_bytes > best->footer.container_bytes;
        bool better = remains->found &&
                      (!best || (remains->trailer_right && (!best->trailer_right || newer)));
        if (repairing->main && remains->found &&
            !mmh_footers_agree(&repairing->main->footer, &remains->footer))
            return mmh_fail(err, MMH_E_USAGE, "%s is not a copy of %s: its root is another",
                            mmh_input_name(repairing->inputs[c]),
                            mmh_input_name(repairing->main->copy.input));
        if (better)
            repairing->main = remains;
    }
    if (!repairing->main)
        return mmh_fail(err, MMH_E_CORRUPT, "%s: no footer is left, nor parity of one",
                        repairing->path);
    if (!mmh_hash_suite_available(repairing->main->hash_suite))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "%s: its hash suite is not in this build",
                        repairing->path);
    for (size_t c = 0; c < repairing->copy_count; c++)
        repairing->copies[c] = repairing->remains[c].copy;
    return MMH_OK;
}

static mmh_status open_all(struct mmh_repairing *repairing, mmh_error *err)
{
    const mmh_allocator *allocator = repairing->context->allocator;
    size_t count = repairing->options.source_count + 1;
    repairing->inputs = mmh_alloc_array(allocator, count, sizeof *repairing->inputs);
    repairing->remains = mmh_alloc_array(allocator, count, sizeof *repairing->remains);
    repairing->copies = mmh_alloc_array(allocator, count, sizeof *repairing->copies);
    repairing->originals = mmh_alloc_array(allocator, count, sizeof *repairing->originals);
    if (!repairing->inputs || !repairing->remains || !repairing->copies || !repairing->originals)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a repair");
    mmh_status status = open_first(repairing, err);
    if (status == MMH_OK)
        status = open_sources(repairing, err);
    return status == MMH_OK ? choose_main(repairing, err) : status;
}

/* ---- what is not as it was ---- */

/* Note what differs from the file: data [bytes] should be at `offset`. */
static mmh_status compare(void *context, uint64_t offset, const void *data, size_t bytes,
                          mmh_error *err)
{
    struct mmh_repairing *repairing = context;
    uint8_t *there = mmh_alloc(repairing->context->allocator, 0, COMPARE_BYTES);
    mmh_status status = there ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory to compare");
    uint64_t end = repairing->main->footer.index_a + repairing->main->footer.index_bytes;
    for (size_t at = 0; at < bytes && status == MMH_OK;) {
        const uint8_t *wanted = (const uint8_t *)data + at;
        size_t part = MMH_MIN(bytes - at, (size_t)COMPARE_BYTES);
        status = mmh_copy_read(&repairing->copies[0], there, offset + at, part, err);
        if (status == MMH_OK && memcmp(there, wanted, part) != 0) {
            repairing->differences++;
            if (!repairing->dry)
                status = mmh_journal_add(&repairing->journal, offset + at, wanted, part, NULL, err);
            for (uint64_t j = (offset + at) / repairing->block_bytes;
                 offset + at < end && j < repairing->block_count &&
                 j * repairing->block_bytes < offset + at + part;
                 j++) {
                uint64_t from = MMH_MAX(j * repairing->block_bytes, offset + at);
                uint64_t to = MMH_MIN((j + 1) * repairing->block_bytes, offset + at + part);
                if (memcmp(there + (from - offset - at), wanted + (from - offset - at),
                           (size_t)(to - from)) != 0)
                    repairing->damaged[j] = 1;
            }
        }
        at += part;
    }
    mmh_free(repairing->context->allocator, there);
    return status;
}

/* As compare; *differs is set if something was noted. */
static mmh_status compare_part(struct mmh_repairing *repairing, unsigned mended, uint64_t offset,
                               const void *data, uint64_t bytes, mmh_error *err)
{
    uint64_t before = repairing->differences;
    mmh_status status = compare(repairing, offset, data, (size_t)bytes, err);
    if (repairing->differences > before)
        repairing->report.mended |= mended;
    return status;
}

static mmh_status compare_gaps(struct mmh_repairing *repairing, mmh_error *err)
{
    static const uint8_t zeros[4096];
    const struct mmh_index *index = &repairing->reader.container.index;
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i <= index->chunk_count; i++) {
        if (!repairing->bad_gaps[i])
            continue;
        const struct mmh_chunk_entry *before = &index->chunks[i - !!i];
        uint64_t at = i ? before->offset + before->bytes : MMH_CHUNKS_BEGIN;
        uint64_t end = i < index->chunk_count ? index->chunks[i].offset
                                              : repairing->main->footer.index_a;
        for (; at < end && status == MMH_OK;) {
            uint64_t part = MMH_MIN(end - at, (uint64_t)sizeof zeros);
            status = compare_part(repairing, MMH_PADDING_DAMAGED, at, zeros, part, err);
            at += part;
        }
    }
    return status;
}

/* The table anew, if it was lost and all data are right. */
static mmh_status make_table(struct mmh_repairing *repairing, mmh_error *err)
{
    struct mmh_mend *mend = &repairing->mend;
    uint8_t *block = mmh_alloc(mend->allocator, 0, repairing->block_bytes);
    mend->table = mmh_alloc(mend->allocator, 0,
                            (size_t)mend->geometry.block_count * MMH_BLOCK_HASH_BYTES);
    mmh_status status = block && mend->table
                          ? MMH_OK
                          : mmh_fail(err, MMH_E_MEMORY, "no memory for parity's table");
    for (uint64_t j = 0; j < mend->geometry.block_count && status == MMH_OK; j++) {
        size_t bytes = mmh_geometry_block_bytes(&mend->geometry, j);
        status = mmh_repairing_read(repairing, block, j * repairing->block_bytes, bytes, err);
        if (status == MMH_OK)
            status = mmh_block_hash(mend->table + j * MMH_BLOCK_HASH_BYTES, mend->hash_suite, j,
                                    block, bytes, err);
    }
    mmh_free(mend->allocator, block);
    return status;
}

/* The packets of a tail: in the recovery area, or of a later one right before its trailer. */
static mmh_status compare_tail(struct mmh_repairing *repairing, const struct mmh_recovery_job *job,
                               const struct mmh_old_tail *tail, mmh_error *err)
{
    const struct mmh_recovery_layout *layout = &repairing->copies[0].layout;
    size_t bytes = MMH_FOOTER_BYTES + (size_t)tail->footer.trailer_bytes;
    uint64_t later_bytes = mmh_tail_area_bytes(&layout->geometry, bytes);
    uint64_t area_end = layout->area_offset + layout->area_bytes;
    if (tail->footer.trailer == area_end)
        return mmh_recovery_pieces_write(job, layout, MMH_PACKET_TAIL, tail->bytes, bytes, err);
    if (!tail->generation || tail->footer.trailer < area_end ||
        tail->footer.trailer - area_end < later_bytes)
        return MMH_OK;
    return mmh_tail_area_write(job, &layout->geometry, tail->footer.trailer - later_bytes,
                               tail->bytes, bytes, tail->generation, err);
}

/* What ended the container before a later trailer was put behind it. */
static mmh_status compare_end(struct mmh_repairing *repairing, const struct mmh_old_tail *tail,
                              mmh_error *err)
{
    const struct mmh_footer *footer = &tail->footer;
    mmh_status status = compare(repairing, footer->trailer, tail->bytes + MMH_FOOTER_BYTES,
                                (size_t)footer->trailer_bytes, err);
    if (status == MMH_OK)
        status = compare(repairing, footer->trailer + footer->trailer_bytes, tail->bytes,
                         MMH_FOOTER_BYTES, err);
    if (status == MMH_OK)
        status = compare(repairing, footer->index_b, repairing->index, (size_t)footer->index_bytes,
                         err);
    if (status == MMH_OK)
        status = compare(repairing, footer->container_bytes - MMH_FOOTER_BYTES, tail->bytes,
                         MMH_FOOTER_BYTES, err);
    return status;
}

/* Packets that are not of parity, and zeros between them; what older trailers have left. */
static mmh_status compare_area(struct mmh_repairing *repairing, mmh_error *err)
{
    static const uint8_t zeros[8];
    const struct mmh_remains *remains = repairing->main;
    const struct mmh_recovery_layout *layout = &repairing->copies[0].layout;
    struct mmh_recovery_job job = { .hash_suite = remains->hash_suite,
                                    .pool = repairing->context->pool,
                                    .allocator = repairing->context->allocator,
                                    .write = compare,
                                    .write_context = repairing };
    uint64_t before = repairing->differences;
    mmh_status status = compare(repairing, layout->area_offset, zeros,
                                (size_t)(layout->front - layout->area_offset), err);
    if (status == MMH_OK && !repairing->mend.table && !repairing->bad_count)
        status = make_table(repairing, err);
    if (status == MMH_OK && repairing->mend.table)
        status = mmh_recovery_pieces_write(&job, layout, MMH_PACKET_TABLE, repairing->mend.table,
                                           layout->table.bytes, err);
    for (size_t i = 0; i < remains->old_tail_count && status == MMH_OK; i++) {
        status = compare_tail(repairing, &job, &remains->old_tails[i], err);
        if (status == MMH_OK)
            status = compare_end(repairing, &remains->old_tails[i], err);
    }
    struct mmh_old_tail tail = { .footer = remains->footer, .generation = remains->generation };
    size_t tail_bytes = MMH_FOOTER_BYTES + (size_t)remains->footer.trailer_bytes;
    tail.bytes = mmh_alloc(repairing->context->allocator, 0, tail_bytes);
    if (status == MMH_OK && !tail.bytes)
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for the trailer");
    if (status == MMH_OK) {
        memcpy(tail.bytes, remains->footer_bytes, MMH_FOOTER_BYTES);
        if (remains->footer.trailer_bytes)
            memcpy(tail.bytes + MMH_FOOTER_BYTES, remains->trailer, tail_bytes - MMH_FOOTER_BYTES);
        status = compare_tail(repairing, &job, &tail, err);
    }
    mmh_free(repairing->context->allocator, tail.bytes);
    if (repairing->differences > before)
        repairing->report.mended |= MMH_TRAILER_DAMAGED;
    return status;
}

/* Everything but chunks and parity packets, which are noted as they are mended. */
static mmh_status compare_all(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_remains *remains = repairing->main;
    const struct mmh_footer *footer = &remains->footer;
    uint64_t trailer_end = footer->trailer + footer->trailer_bytes;
    mmh_status status = compare_part(repairing, MMH_MENDED_HEADER, 0, footer->header,
                                     MMH_HEADER_BYTES, err);
    if (status == MMH_OK)
        status = compare_gaps(repairing, err);
    if (status == MMH_OK)
        status = compare_part(repairing, MMH_MENDED_INDEX, footer->index_a, repairing->index,
                              footer->index_bytes, err);
    if (status == MMH_OK && remains->has_parity && repairing->copies[0].has_layout)
        status = compare_area(repairing, err);
    if (status == MMH_OK && footer->trailer_bytes)
        status = compare_part(repairing, MMH_TRAILER_DAMAGED, footer->trailer, remains->trailer,
                              footer->trailer_bytes, err);
    if (status == MMH_OK)
        status = compare_part(repairing, MMH_SPARE_DAMAGED, trailer_end, remains->footer_bytes,
                              MMH_FOOTER_BYTES, err);
    if (status == MMH_OK)
        status = compare_part(repairing, MMH_SPARE_DAMAGED, footer->index_b, repairing->index,
                              footer->index_bytes, err);
    if (status == MMH_OK)
        status = compare_part(repairing, MMH_MENDED_FOOTER,
                              footer->container_bytes - MMH_FOOTER_BYTES, remains->footer_bytes,
                              MMH_FOOTER_BYTES, err);
    return status;
}

/* ---- writing ---- */

static mmh_status write_in_place(struct mmh_repairing *repairing, mmh_error *err)
{
    bool replayed;
    mmh_status status = mmh_journal_commit(&repairing->journal, err);
    /* From here on it is complete whatever happens. */
    return status == MMH_OK
             ? mmh_journal_replay(&replayed, repairing->path, repairing->main->footer.root,
                                  repairing->main->footer.container_bytes,
                                  repairing->context->allocator, err)
             : status;
}

/* The container's bytes [0, end) as they are known, to an output. */
static mmh_status copy_known(struct mmh_repairing *repairing, mmh_output *output, uint64_t end,
                             mmh_error *err)
{
    uint8_t *data = mmh_alloc(repairing->context->allocator, 0, COPY_BYTES);
    mmh_status status = data ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory to copy");
    for (uint64_t at = 0; at < end && status == MMH_OK;) {
        size_t bytes = (size_t)MMH_MIN(end - at, (uint64_t)COPY_BYTES);
        status = mmh_repairing_read(repairing, data, at, bytes, err);
        if (status == MMH_OK)
            status = mmh_output_append(output, data, bytes, err);
        if (status == MMH_OK)
            status = mmh_context_poll(repairing->context, err);
        at += bytes;
    }
    mmh_free(repairing->context->allocator, data);
    return status;
}

static mmh_status append(void *output, const void *data, size_t bytes, mmh_error *err)
{
    return mmh_output_append(output, data, bytes, err);
}

/* Behind index A: a recovery area anew, the trailer with what it had, and all that ends a container. */
static mmh_status write_with_parity(struct mmh_repairing *repairing, mmh_output *output,
                                    mmh_error *err)
{
    const struct mmh_remains *remains = repairing->main;
    const mmh_allocator *allocator = repairing->context->allocator;
    struct mmh_trailer old = { .allocator = allocator,
                               .data = remains->trailer,
                               .bytes = (size_t)remains->footer.trailer_bytes };
    struct mmh_area_maker maker;
    struct mmh_buffer trailer;
    mmh_area_maker_init(&maker, repairing->context, output, repairing->options.add_parity);
    mmh_buffer_init(&trailer, allocator);
    mmh_trailer_keep(&trailer, &old, 1u << MMH_SECTION_PARITY);
    struct mmh_container_end end = {
        .sink = append,
        .sink_context = output,
        .position = remains->footer.index_a + remains->footer.index_bytes,
        .hash_suite = remains->hash_suite,
        .footer = remains->footer,
        .index = repairing->index,
        .trailer = &trailer,
        .recovery = &maker.recovery,
        .read_back = mmh_area_read_back,
        .read_context = output,
    };
    mmh_status status = mmh_buffer_finish(&trailer, "the trailer", err);
    if (status == MMH_OK)
        status = mmh_container_end_write(&end, allocator, err);
    mmh_buffer_release(&trailer);
    return status;
}

static mmh_status write_new(struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_footer *footer = &repairing->main->footer;
    bool parity = repairing->options.add_parity != 0;
    const char *path = repairing->options.output ? repairing->options.output : repairing->path;
    const struct mmh_path_info *info = mmh_input_info(repairing->inputs[0]);
    struct mmh_output_options options = {
        .overwrite = repairing->options.overwrite || !repairing->options.output,
        .secret = repairing->options.output && mmh_path_is_private(info),
        .mode = repairing->options.output ? 0 : info->mode
    };
    mmh_output *output = NULL;
    mmh_status status = mmh_output_create(&output, path, &options, repairing->context->allocator,
                                          err);
    if (status == MMH_OK)
        status = copy_known(
            repairing, output,
            parity ? footer->index_a + footer->index_bytes : footer->container_bytes, err);
    if (status == MMH_OK)
        status = parity ? write_with_parity(repairing, output, err)
                        : mmh_journal_apply(&repairing->journal, output, err);
    if (status == MMH_OK) {
        repairing->report.bytes_written = mmh_output_position(output);
        status = mmh_output_commit(output, err);
    }
    mmh_output_close(output);
    return status;
}

/* ---- the call ---- */

static void count_blocks(struct mmh_repairing *repairing)
{
    mmh_repair_report *report = &repairing->report;
    if (!repairing->has_mend) {
        report->damaged_blocks = report->damaged_chunks;
        report->restored_blocks = report->damaged_chunks - repairing->bad_count;
        return;
    }
    for (uint64_t j = 0; j < repairing->block_count; j++) {
        bool wrong = repairing->mend.states[j] != MMH_BLOCK_RIGHT;
        report->damaged_blocks += repairing->damaged[j] || wrong;
        report->restored_blocks += repairing->damaged[j] && !wrong;
    }
    uint64_t packets = (uint64_t)repairing->mend.geometry.parity_count *
                       repairing->mend.geometry.stripe_count;
    for (uint64_t n = 0; n < packets && repairing->parity_wanted; n++) {
        report->damaged_blocks += repairing->parity_wanted[n] != 0;
        report->restored_blocks += repairing->parity_wanted[n] == 2;
    }
}

static void say_lost(void *context, uint64_t chunk, mmh_error *problem)
{
    const struct mmh_repairing *repairing = context;
    bool key = repairing->original_count && repairing->reader.container.locked;
    mmh_fail(problem, MMH_E_CORRUPT, "chunk %" PRIu64 " is lost%s%s", chunk,
             repairing->has_mend ? ": parity is used up" : "",
             key ? "; with its key it could be made of the originals" : "");
}

/* Tell what stays lost. Returns MMH_OK if nothing does. */
static mmh_status tell_lost(struct mmh_repairing *repairing, mmh_error *err)
{
    struct mmh_damages damages = { .reader = &repairing->reader,
                                   .tell = repairing->options.damage,
                                   .user = repairing->options.damage_user };
    mmh_error problem = { 0 };
    if (!repairing->bad_count)
        return MMH_OK;
    mmh_damages_add_chunks(&damages, repairing->bad, say_lost, repairing);
    mmh_status status = mmh_damages_end(&damages, MMH_OK, &problem);
    for (uint64_t i = 0; i < repairing->reader.container.index.chunk_count && !problem.status; i++)
        if (repairing->bad[i]) /* of an encrypted container, what it is of is not known */
            say_lost(repairing, i, &problem);
    return mmh_fail(err, status == MMH_OK ? MMH_E_CORRUPT : status,
                    "%" PRIu64 " of %" PRIu64 " damaged chunks stay lost: %s", repairing->bad_count,
                    repairing->report.damaged_chunks,
                    problem.status == MMH_OK ? repairing->path : problem.message);
}

/* Whether what will be there is signed as it must be. */
static mmh_status check_trust(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_reader reader = { .context = repairing->context };
    struct mmh_opening opening = { .keyless = true };
    if (!repairing->context->guards.required)
        return MMH_OK;
    mmh_status status = mmh_guards_open_by(&reader, &opening, mmh_repairing_read, repairing,
                                           repairing->main->footer.container_bytes, err);
    if (status == MMH_OK)
        mmh_container_close(&reader.container);
    return status;
}

static mmh_status repair(struct mmh_repairing *repairing, mmh_error *err)
{
    mmh_repair_report *report = &repairing->report;
    mmh_status status = open_all(repairing, err);
    if (status == MMH_OK) {
        const struct mmh_footer *footer = &repairing->main->footer;
        const char *beside = repairing->options.output ? repairing->options.output
                                                       : repairing->path;
        mmh_error problem = { 0 };
        bool sound = false;
        status = mmh_journal_create(&repairing->journal, beside, footer->root,
                                    mmh_input_bytes(repairing->inputs[0]), footer->container_bytes,
                                    repairing->context->allocator, &problem);
        if (status == MMH_E_IO && !repairing->options.output && !repairing->options.add_parity) {
            /* Where nothing can be written there may be nothing to write. */
            mmh_status assessed = is_sound(&sound, repairing, err);
            if (assessed != MMH_OK)
                return assessed;
        }
        if (sound)
            return MMH_OK;
        if (status != MMH_OK)
            return mmh_fail(err, status, "%s", problem.message);
    }
    if (status == MMH_OK)
        status = mmh_repairing_run(repairing, err);
    if (status == MMH_OK)
        status = compare_all(repairing, err);
    if (status != MMH_OK)
        return status;
    if (!repairing->right_count && report->damaged_chunks && (report->mended & MMH_MENDED_HEADER) &&
        !repairing->remains[0].found)
        return mmh_fail(err, MMH_E_USAGE, "%s: nothing of the container is in it", repairing->path);
    if (mmh_input_bytes(repairing->inputs[0]) != repairing->main->footer.container_bytes)
        report->mended |= MMH_MENDED_FOOTER;
    status = check_trust(repairing, err);
    if (status != MMH_OK)
        return status;
    count_blocks(repairing);
    report->restored_chunks = report->damaged_chunks - repairing->bad_count;
    report->bytes_written = repairing->journal.data_bytes;
    bool differs = repairing->journal.count ||
                   mmh_input_bytes(repairing->inputs[0]) != repairing->main->footer.container_bytes;
    if (repairing->bad_count && repairing->options.add_parity)
        return tell_lost(repairing, err);
    if (repairing->options.output || repairing->options.add_parity)
        status = write_new(repairing, err);
    else if (differs)
        status = write_in_place(repairing, err);
    if (status == MMH_OK)
        status = tell_lost(repairing, err);
    if (status == MMH_OK && repairing->main->trailer_lost)
        status = mmh_fail(err, MMH_E_CORRUPT, "%s: the trailer is lost: %s", repairing->path,
                          repairing->main->trailer_right
                              ? "an older one serves, what was added later is gone"
                              : "signatures, recipients or parity of it are gone");
    return status;
}

mmh_status mmh_repair_assess(struct mmh_assessment *assessment, mmh_context *context,
                             const char *container, bool chunks_right, mmh_error *err)
{
    struct mmh_repairing repairing = {
        .context = context, .path = container, .dry = true, .chunks_right = chunks_right
    };
    mmh_error problem = { 0 };
    *assessment = (struct mmh_assessment){ .has_parity = false };
    mmh_status status = open_all(&repairing, &problem);
    if (status == MMH_OK)
        status = mmh_repairing_run(&repairing, &problem);
    if (status == MMH_OK)
        status = compare_all(&repairing, &problem);
    assessment->has_parity = repairing.has_mend;
    if (repairing.parity_wanted)
        assessment->packet_count = mmh_recovery_packet_count(&repairing.copies[0].layout,
                                                             MMH_PACKET_PARITY);
    for (uint64_t n = 0; n < assessment->packet_count; n++)
        assessment->packets_wrong += repairing.parity_wanted[n];
    assessment->mended = repairing.report.mended |
                         (repairing.report.damaged_chunks ? MMH_MENDED_CHUNKS : 0u) |
                         (assessment->packets_wrong ? MMH_TRAILER_DAMAGED : 0u);
    if (status == MMH_OK &&
        mmh_input_bytes(repairing.inputs[0]) != repairing.main->footer.container_bytes)
        assessment->mended |= MMH_MENDED_FOOTER;
    assessment->restorable = status == MMH_OK && !repairing.bad_count &&
                             !repairing.main->trailer_lost;
    mmh_repairing_release(&repairing);
    return status == MMH_E_CORRUPT || status == MMH_OK
             ? MMH_OK
             : mmh_fail(err, status, "%s", problem.message);
}

/* Note a part of the container as mended if what is stored at `offset` is other than `right` [bytes]. */
static mmh_status note_mended(unsigned *mended, unsigned part, struct mmh_repairing *repairing,
                              uint64_t offset, const void *right, uint64_t bytes, mmh_error *err)
{
    uint8_t stored[4096];
    for (uint64_t done = 0; done < bytes; done += sizeof stored) {
        size_t length = bytes - done < sizeof stored ? (size_t)(bytes - done) : sizeof stored;
        mmh_status status = mmh_copy_read(&repairing->copies[0], stored, offset + done, length,
                                          err);
        if (status != MMH_OK)
            return status;
        if (memcmp(stored, (const uint8_t *)right + done, length) != 0) {
            *mended |= part;
            break;
        }
    }
    return MMH_OK;
}

/* What of all that opening needs was not as it should be. */
static mmh_status mended_to_open(unsigned *mended, struct mmh_repairing *repairing, mmh_error *err)
{
    const struct mmh_remains *remains = repairing->main;
    const struct mmh_footer *footer = &remains->footer;
    const struct {
        unsigned part;
        uint64_t offset, bytes;
        const void *right;
    } parts[] = {
        { MMH_MENDED_HEADER, 0, MMH_HEADER_BYTES, footer->header },
        { MMH_MENDED_INDEX, footer->index_a, footer->index_bytes, repairing->index },
        { MMH_TRAILER_DAMAGED, footer->trailer, footer->trailer_bytes, remains->trailer },
        { MMH_MENDED_FOOTER, footer->container_bytes - MMH_FOOTER_BYTES, MMH_FOOTER_BYTES,
          remains->footer_bytes },
    };
    mmh_status status = MMH_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == MMH_OK; i++)
        status = note_mended(mended, parts[i].part, repairing, parts[i].offset, parts[i].right,
                             parts[i].bytes, err);
    return status;
}

mmh_status mmh_repair_rescue(mmh_reader *reader, struct mmh_opening *opening, const char *path,
                             mmh_error *err)
{
    struct mmh_repairing repairing = {
        .context = reader->context, .path = path, .source = opening->source, .dry = true
    };
    mmh_status status = open_all(&repairing, err);
    if (status == MMH_OK && !repairing.main->has_parity)
        status = mmh_fail(err, MMH_E_CORRUPT, "there is no parity");
    if (status == MMH_OK)
        status = mmh_repairing_begin(&repairing, err);
    if (status == MMH_OK) {
        uint64_t bytes = repairing.main->footer.container_bytes;
        status = mmh_guards_open_by(reader, opening, mmh_repairing_read, &repairing, bytes, err);
        if (status == MMH_OK)
            status = mended_to_open(&reader->container.mended, &repairing, err);
        if (status != MMH_OK)
            mmh_container_close(&reader->container);
    }
    mmh_repairing_release(&repairing);
    return status;
}

mmh_status mmh_repair(mmh_context *context, const char *container, const mmh_repair_options *given,
                      mmh_repair_report *report, mmh_error *err)
{
    struct mmh_repairing repairing = { .context = context, .path = container };
    mmh_status status = mmh_options_copy(&repairing.options, sizeof repairing.options, given,
                                         "mmh_repair_options", err);
    if (status == MMH_OK)
        status = mmh_struct_check(report, "mmh_repair_report", err);
    if (status == MMH_OK && repairing.options.add_parity > MMH_PARITY_MAX)
        status = mmh_fail(err, MMH_E_USAGE, "parity is at most %u %%", MMH_PARITY_MAX / 100);
    if (status != MMH_OK)
        return status;
    uint64_t begin = mmh_clock_ns();
    mmh_context_begin(context, "repair", 0);
    int lock = -1;
    if (!repairing.options.output || strcmp(repairing.options.output, container) == 0)
        status = mmh_context_lock(context, &lock, container, err);
    if (status == MMH_OK)
        status = repair(&repairing, err);
    repairing.report.wall_ns = mmh_clock_ns() - begin;
    mmh_report_copy(report, &repairing.report, sizeof repairing.report);
    mmh_context_end(context, status);
    mmh_repairing_release(&repairing);
    mmh_path_unlock(lock);
    return status;
}
