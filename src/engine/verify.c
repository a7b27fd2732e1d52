/*
 * Verify: unpack without a destination, which goes on after damage, and looks at what nothing needs too; of
 * a container that no key opens as much as can be seen from outside.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "base/bits.h"
#include "engine/layers.h"
#include "engine/repair.h"
#include "engine/restore.h"

/* What is wrong with a chunk that is damaged. */
static void chunk_problem(void *context, uint64_t chunk, mmh_error *problem)
{
    mmh_reader *reader = context;
    if (mmh_reader_fetch_stored(reader, &reader->context->workers[0], chunk, problem) == MMH_OK)
        mmh_fail(problem, MMH_E_CORRUPT, "chunk %" PRIu64 " was damaged when it was first read",
                 chunk);
}

/* ---- stored bytes only ---- */

struct quick_check {
    mmh_reader *reader;
    uint8_t *bad; /* [chunk_count] 1: damaged */
};

static mmh_status quick_chunk(void *context, size_t job, unsigned worker_index, mmh_error *err)
{
    struct quick_check *check = context;
    mmh_context *engine = check->reader->context;
    mmh_status status = mmh_reader_fetch_stored(check->reader, &engine->workers[worker_index], job,
                                                err);
    if (status == MMH_E_CORRUPT) {
        check->bad[job] = 1;
        status = MMH_OK;
    }
    atomic_fetch_add_explicit(&engine->done_bytes, check->reader->container.index.chunks[job].bytes,
                              memory_order_relaxed);
    return status == MMH_OK ? mmh_context_poll(engine, err) : status;
}

/* ---- chunks that no block names ---- */

static uint8_t *chunk_flags(mmh_reader *reader, mmh_error *err)
{
    uint64_t count = reader->container.index.chunk_count;
    uint8_t *flags = mmh_alloc_array(reader->context->allocator, (size_t)count, 1);
    if (!flags)
        mmh_fail(err, MMH_E_MEMORY, "no memory to check %" PRIu64 " chunks", count);
    return flags;
}

/* Nothing decodes them, but their bytes have hashes too.
 *   bad  [chunk_count] what is known to be damaged; NULL: they are to be read */
static mmh_status check_unnamed(mmh_reader *reader, const uint8_t *bad, struct mmh_damages *damages,
                                mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    uint8_t *named = chunk_flags(reader, err);
    if (!named)
        return MMH_E_MEMORY;
    for (uint64_t i = 0; i < index->ref_count; i++)
        named[index->refs[i]] = 1;
    for (uint64_t i = 0; i < index->block_count; i++)
        if (index->blocks[i].has_model)
            named[index->blocks[i].model] = 1;
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < index->chunk_count && status == MMH_OK; i++) {
        mmh_error problem = { 0 };
        if (named[i] || (bad && !bad[i]))
            continue;
        status = bad ? mmh_reader_fetch_stored(reader, &reader->context->workers[0], i, &problem)
                     : mmh_reader_fetch(reader, &reader->context->workers[0], i, &problem);
        if (status == MMH_OK && bad)
            chunk_problem(reader, i, &problem);
        if (status == MMH_E_CORRUPT || bad) {
            mmh_damages_add(damages, MMH_DAMAGE_NO_FILE, 0, 0, 1, "", &problem);
            status = MMH_OK;
        } else if (status != MMH_OK) {
            mmh_fail(err, status, "%s", problem.message);
        }
    }
    mmh_free(reader->context->allocator, named);
    return status;
}

static mmh_status verify_quick(mmh_reader *reader, struct mmh_damages *damages, mmh_error *err)
{
    struct quick_check check = { .reader = reader, .bad = chunk_flags(reader, err) };
    if (!check.bad)
        return MMH_E_MEMORY;
    reader->context->state.total_bytes = reader->container.container_bytes;
    mmh_status status = mmh_pool_run(reader->context->pool,
                                     (size_t)reader->container.index.chunk_count, quick_chunk,
                                     &check, err);
    mmh_damages_add_chunks(damages, check.bad, chunk_problem,
                           reader); /* what was found before a failure, too */
    if (status == MMH_OK)
        status = check_unnamed(reader, check.bad, damages, err);
    mmh_free(reader->context->allocator, check.bad);
    return status;
}

/* The bytes between chunks mean nothing and no hash covers them, but they were written as zeros: note
 * it if they are not. */
static mmh_status check_padding(mmh_reader *reader, mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    uint64_t at = MMH_CHUNKS_BEGIN;
    for (uint64_t i = 0; i <= index->chunk_count; i++) {
        uint64_t next = i < index->chunk_count ? index->chunks[i].offset
                                               : reader->container.index_offset;
        if (i == index->chunk_count && next - at >= MMH_SMALL_ALIGNMENT)
            break; /* what a trailer was added behind: old indexes and footers */
        while (at < next) {
            uint8_t gap[4096], any = 0;
            size_t bytes = next - at < sizeof gap ? (size_t)(next - at) : sizeof gap;
            mmh_status status = mmh_input_read(reader->input, gap, at, bytes, err);
            if (status != MMH_OK)
                return status;
            for (size_t b = 0; b < bytes; b++)
                any |= gap[b];
            if (any)
                reader->container.mended |= MMH_PADDING_DAMAGED;
            at += bytes;
        }
        if (i < index->chunk_count)
            at = index->chunks[i].offset + index->chunks[i].bytes;
    }
    return MMH_OK;
}

/* ---- layers ---- */

/* How far a container that does not open was right. */
static void layers_of_failure(struct mmh_layers *layers, const struct mmh_opening *opening,
                              const mmh_error *problem)
{
    static const mmh_layer_id wrong[] = {
        [MMH_OPEN_STRUCTURE] = MMH_LAYER_STRUCTURE, [MMH_OPEN_TRUST] = MMH_LAYER_SIGNATURE,
        [MMH_OPEN_KEYS] = MMH_LAYER_AEAD,           [MMH_OPEN_MERKLE] = MMH_LAYER_MERKLE,
        [MMH_OPEN_SEALS] = MMH_LAYER_AEAD,          [MMH_OPEN_INDEX] = MMH_LAYER_STRUCTURE,
        [MMH_OPEN_DONE] = MMH_LAYER_STRUCTURE,
    };
    if (opening->stage > MMH_OPEN_STRUCTURE)
        mmh_layers_set(layers, MMH_LAYER_STRUCTURE, MMH_LAYER_RIGHT, 0, "%s", "");
    if (opening->stage > MMH_OPEN_MERKLE)
        mmh_layers_set(layers, MMH_LAYER_MERKLE, MMH_LAYER_RIGHT, 0, "%s", "");
    mmh_layers_set(layers, wrong[opening->stage], MMH_LAYER_WRONG, 0, "%s", problem->message);
}

static void layers_of_structure(struct mmh_layers *layers, const mmh_reader *reader)
{
    enum { HEADERS_AND_FOOTERS = 4 };
    const mmh_container_reader *container = &reader->container;
    unsigned wrong = container->mended & ~(unsigned)(MMH_MENDED_INDEX | MMH_MENDED_CHUNKS);
    uint64_t sections = 0;
    for (unsigned i = 0; i < MMH_SECTION_TYPES; i++)
        sections += container->trailer.sections[i].present;
    mmh_layers_set(layers, MMH_LAYER_STRUCTURE, wrong ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                   HEADERS_AND_FOOTERS + sections, "%s%s%s%s%s%s", wrong ? "damaged:" : "",
                   wrong & MMH_MENDED_HEADER ? " header" : "",
                   wrong & MMH_MENDED_FOOTER ? " footer" : "",
                   wrong & MMH_SPARE_DAMAGED ? " spare copy" : "",
                   wrong & MMH_PADDING_DAMAGED ? " padding" : "",
                   wrong & MMH_TRAILER_DAMAGED ? " trailer" : "");
    bool mended = container->mended & MMH_MENDED_INDEX;
    mmh_layers_set(layers, MMH_LAYER_MERKLE, mended ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                   container->page_count, "%s",
                   mended ? "pages are right in the second index" : "");
}

static void layers_of_guards(struct mmh_layers *layers, const mmh_reader *reader,
                             const struct mmh_opening *opening, bool decoded)
{
    const mmh_container_reader *container = &reader->container;
    const struct mmh_checked *checked = &reader->checked;
    if (!container->aead_suite)
        mmh_layers_set(layers, MMH_LAYER_AEAD, MMH_LAYER_ABSENT, 0, "%s", "");
    else if (container->locked)
        mmh_layers_set(layers, MMH_LAYER_AEAD, MMH_LAYER_SKIPPED, 0, "no key opens it");
    else if (decoded)
        mmh_layers_set(layers, MMH_LAYER_AEAD,
                       checked->seals_wrong ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                       checked->seals_right + checked->seals_wrong, "%s",
                       checked->seals_wrong ? "chunks are not what was sealed" : "");
    if (reader->context->guards.required)
        mmh_layers_set(layers, MMH_LAYER_SIGNATURE, MMH_LAYER_RIGHT, opening->signatures_counted,
                       "%s", "");
    else if (!opening->has_signatures)
        mmh_layers_set(layers, MMH_LAYER_SIGNATURE, MMH_LAYER_ABSENT, 0, "%s", "");
    else
        mmh_layers_set(layers, MMH_LAYER_SIGNATURE, MMH_LAYER_SKIPPED, 0,
                       "no key says whose they must be");
    if (!container->trailer.sections[MMH_SECTION_PARITY].present)
        mmh_layers_set(layers, MMH_LAYER_PARITY, MMH_LAYER_ABSENT, 0, "%s", "");
}

static void layers_of_content(struct mmh_layers *layers, const struct mmh_restoring *restoring,
                              bool complete, bool decoded)
{
    const mmh_reader *reader = restoring->reader;
    const struct mmh_checked *checked = &reader->checked;
    if (complete || checked->hashes_wrong)
        mmh_layers_set(layers, MMH_LAYER_CHUNKS,
                       checked->hashes_wrong ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                       reader->container.index.chunk_count, "%s",
                       checked->hashes_wrong ? "chunks are damaged" : "");
    if (!decoded)
        return;
    bool wrong = checked->decodes_wrong, wrong_chunks = wrong || checked->hashes_wrong;
    if (complete || wrong)
        mmh_layers_set(layers, MMH_LAYER_DECODE, wrong ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                       checked->decodes_right + checked->decodes_wrong, "%s",
                       wrong ? "chunks do not decode" : "");
    /* A file with lost chunks has no digest to compare. */
    if ((complete && (restoring->digests_right || !wrong_chunks)) || restoring->digests_wrong)
        mmh_layers_set(layers, MMH_LAYER_DIGEST,
                       restoring->digests_wrong ? MMH_LAYER_WRONG : MMH_LAYER_RIGHT,
                       restoring->digests_right + restoring->digests_wrong, "%s",
                       restoring->digests_wrong ? "files are not what was packed" : "");
}

/* Look at parity, and whether a repair could undo what was found: `status` so far. Opening may have
 * failed. */
static mmh_status layer_of_parity(struct mmh_assessment *assessment, struct mmh_layers *layers,
                                  mmh_context *context, const char *container, mmh_status status,
                                  mmh_error *err)
{
    mmh_status assessed = mmh_repair_assess(assessment, context, container, status == MMH_OK, err);
    if (assessed != MMH_OK)
        return assessed;
    if (!assessment->has_parity)
        mmh_layers_set(layers, MMH_LAYER_PARITY, MMH_LAYER_ABSENT, 0, "%s", "");
    else if (assessment->packets_wrong)
        mmh_layers_set(layers, MMH_LAYER_PARITY, MMH_LAYER_WRONG, assessment->packet_count,
                       "%" PRIu64 " packets are damaged", assessment->packets_wrong);
    else
        mmh_layers_set(layers, MMH_LAYER_PARITY, MMH_LAYER_RIGHT, assessment->packet_count, "%s",
                       status == MMH_OK         ? ""
                       : assessment->restorable ? "it restores all that is damaged"
                                                : "it is used up");
    return MMH_OK;
}

/* ---- the call ---- */

/* What unpack would have mended is damage all the same. */
static mmh_status tell_mended(unsigned mended, const char *container, mmh_error *err)
{
    return mmh_fail(
        err, MMH_E_CORRUPT, "%s: damaged, and can be restored:%s%s%s%s%s%s%s", container,
        mended & MMH_MENDED_CHUNKS ? " chunks" : "", mended & MMH_MENDED_HEADER ? " header" : "",
        mended & MMH_MENDED_INDEX ? " index" : "", mended & MMH_MENDED_FOOTER ? " footer" : "",
        mended & MMH_SPARE_DAMAGED ? " spare copy" : "",
        mended & MMH_PADDING_DAMAGED ? " padding" : "",
        mended & MMH_TRAILER_DAMAGED ? " trailer" : "");
}

static mmh_status verify_content(struct mmh_restoring *restoring, mmh_error *err)
{
    mmh_reader *reader = restoring->reader;
    restoring->context->state.total_bytes = reader->original_bytes;
    mmh_status status = mmh_restore_check_limit(restoring, err);
    if (status == MMH_OK)
        status = mmh_restoring_init(restoring, err);
    if (status == MMH_OK)
        status = mmh_restore_files(restoring, 0, reader->container.index.file_count, err);
    return status == MMH_OK ? check_unnamed(reader, NULL, restoring->damages, err) : status;
}

/* Whether a container that could not be opened can be with the help of its parity, and is signed as it
 * must be; else *status and *err may tell more than they did. */
static bool check_rescued(mmh_status *status, mmh_context *context, const char *container,
                          mmh_error *err)
{
    mmh_error other = { 0 };
    struct mmh_opening opening = { .keyless = true };
    mmh_reader *reader;
    mmh_status rescued = mmh_reader_open_as(context, container, &opening, &reader, &other);
    if (rescued == MMH_OK) {
        mmh_close(reader);
        return true;
    }
    *status = rescued;
    *err = other;
    return false;
}

mmh_status mmh_verify(mmh_context *context, const char *container, const mmh_verify_options *given,
                      mmh_unpack_report *report, mmh_error *err)
{
    mmh_verify_options options = { 0 };
    struct mmh_opening opening = { .spares = true, .keyless = true };
    struct mmh_layers layers;
    mmh_error problem = { 0 };
    mmh_reader *reader;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_verify_options",
                                         err);
    if (status == MMH_OK)
        status = mmh_struct_check(report, "mmh_unpack_report", err);
    if (status != MMH_OK)
        return status;
    uint64_t begin = mmh_clock_ns();
    mmh_context_begin(context, "verify", 0);
    mmh_layers_init(&layers);
    status = mmh_reader_open_as(context, container, &opening, &reader, &problem);
    if (status != MMH_OK) {
        struct mmh_assessment assessment = { .restorable = false };
        mmh_unpack_report done = { 0 };
        if (status == MMH_E_CORRUPT || status == MMH_E_UNTRUSTED || status == MMH_E_KEY)
            layers_of_failure(&layers, &opening, &problem);
        if (status == MMH_E_CORRUPT &&
            layer_of_parity(&assessment, &layers, context, container, status, err) != MMH_OK)
            return MMH_E_MEMORY;
        if (status == MMH_E_CORRUPT || status == MMH_E_UNTRUSTED || status == MMH_E_KEY)
            mmh_layers_tell(&layers, options.layer, options.layer_user);
        if (assessment.restorable && context->guards.required)
            assessment.restorable = check_rescued(&status, context, container, &problem);
        if (!assessment.restorable)
            return mmh_fail(err, status, "%s", problem.message);
        done.mended = assessment.mended;
        mmh_report_copy(report, &done, sizeof done);
        return tell_mended(done.mended, container, err);
    }
    reader->never_mends = true;
    struct mmh_damages damages = { .reader = reader,
                                   .tell = options.damage,
                                   .user = options.damage_user };
    struct mmh_restoring restoring = {
        .context = context, .reader = reader, .digests = true, .damages = &damages
    };
    bool decodes = !options.quick && !reader->container.locked;
    status = mmh_restore_check_links(&restoring, &problem);
    if (status == MMH_OK)
        status = decodes ? verify_content(&restoring, &problem)
                         : verify_quick(reader, &damages, &problem);
    if (status == MMH_OK)
        status = check_padding(reader, &problem);
    layers_of_structure(&layers, reader);
    layers_of_guards(&layers, reader, &opening, decodes);
    layers_of_content(&layers, &restoring, status == MMH_OK, decodes);
    status = mmh_damages_end(&damages, status, &problem);
    struct mmh_assessment assessment = { .restorable = false };
    bool has_area = reader->container.footer.trailer >
                    reader->container.index_offset + reader->container.index_bytes;
    if ((status == MMH_OK || status == MMH_E_CORRUPT) && has_area) {
        mmh_error other = { 0 };
        mmh_status assessed = layer_of_parity(&assessment, &layers, context, container, status,
                                              &other);
        if (assessed != MMH_OK) {
            status = assessed;
            problem = other;
        }
    }
    if (assessment.restorable)
        reader->container.mended |= assessment.mended;
    else if (status == MMH_OK && has_area) /* what content does not need is lost */
        reader->container.mended |= MMH_TRAILER_DAMAGED;
    else if (status ==
             MMH_E_CORRUPT) /* chunks have no second copy, whatever else could be mended */
        reader->container.mended = 0;
    bool restorable = reader->container.mended && (status == MMH_OK || assessment.restorable);
    if (status != MMH_OK && !restorable)
        status = mmh_fail(err, status, "%s", problem.message);
    /* Verify never mends: what unpack would have mended is damage all the same. */
    mmh_restore_report(report, &restoring, begin, 0);
    if (restorable)
        status = tell_mended(reader->container.mended, container, err);
    if (status == MMH_OK && reader->container.locked &&
        (!options.quick || context->guards.identity_count)) /* a key that is given is to open it */
        status = mmh_fail(
            err, MMH_E_KEY,
            "%s: no key opens it: what is stored is right, what it holds was not seen", container);
    mmh_layers_tell(&layers, options.layer, options.layer_user);
    mmh_context_end(context, status);
    mmh_restoring_release(&restoring);
    mmh_close(reader);
    return status;
}
