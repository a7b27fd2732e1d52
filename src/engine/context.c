/*
 * Contexts: threads, limits, progress, and what workers keep between calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/engine.h"

#include <string.h>

/* Interrupts reach some programs (Python) in the thread that called alone: it reports more often, so that it
 * mostly is the one that does. */
enum {
    REPORT_INTERVAL_NS = 100 * 1000 * 1000,
    CALLER_INTERVAL_NS = 20 * 1000 * 1000,
    LOCK_SECONDS = 30
};

static const uint64_t default_index_bytes = UINT64_C(1) << 30;
static const uint64_t default_anew_bytes = UINT64_C(64) << 20;

const char *mmh_version(void)
{
    return MMH_VERSION_STRING;
}

const char *mmh_status_name(mmh_status status)
{
    static const char *const names[] = {
        [MMH_OK] = "ok",
        [MMH_E_USAGE] = "usage",
        [MMH_E_IO] = "io",
        [MMH_E_MEMORY] = "memory",
        [MMH_E_UNSUPPORTED] = "unsupported",
        [MMH_E_CORRUPT] = "corrupt",
        [MMH_E_UNTRUSTED] = "untrusted",
        [MMH_E_KEY] = "key",
        [MMH_E_LIMIT] = "limit",
        [MMH_E_DEVICE] = "device",
        [MMH_E_CANCELLED] = "cancelled",
    };
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "unknown";
}

const char *mmh_dtype_text(mmh_dtype dtype)
{
    const char *name = mmh_dtype_name(dtype);
    return name ? name : "?";
}

unsigned mmh_dtype_bit_count(mmh_dtype dtype)
{
    return mmh_dtype_bits(dtype);
}

mmh_dtype mmh_dtype_parse(const char *name)
{
    return mmh_dtype_find(name, strlen(name));
}

/* struct_size is the first member of every option and report struct. */
static size_t struct_size(const void *object)
{
    size_t bytes;
    memcpy(&bytes, object, sizeof bytes);
    return bytes;
}

mmh_status mmh_struct_check(const void *object, const char *type, mmh_error *err)
{
    if (object && struct_size(object) < sizeof(size_t))
        return mmh_fail(err, MMH_E_USAGE, "%s: struct_size is not set", type);
    return MMH_OK;
}

mmh_status mmh_options_copy(void *options, size_t bytes, const void *from, const char *type,
                            mmh_error *err)
{
    mmh_status status = mmh_struct_check(from, type, err);
    if (status == MMH_OK && from)
        memcpy(options, from, struct_size(from) < bytes ? struct_size(from) : bytes);
    return status;
}

void mmh_report_copy(void *to, const void *report, size_t bytes)
{
    if (!to)
        return;
    size_t room = struct_size(to);
    if (room > bytes)
        room = bytes;
    if (room > sizeof room)
        memcpy((uint8_t *)to + sizeof room, (const uint8_t *)report + sizeof room,
               room - sizeof room);
}

static mmh_progress progress_now(mmh_context *context)
{
    mmh_progress progress = context->state;
    progress.done_bytes = atomic_load(&context->done_bytes);
    progress.stored_bytes = atomic_load(&context->stored_bytes);
    return progress;
}

mmh_status mmh_context_poll(mmh_context *context, mmh_error *err)
{
    if (!context->progress)
        return MMH_OK;
    if (!atomic_flag_test_and_set(&context->reporting)) {
        uint64_t now = mmh_clock_ns();
        uint64_t interval = mmh_pool_is_caller(context->pool) ? CALLER_INTERVAL_NS
                                                              : REPORT_INTERVAL_NS;
        if (now - context->last_report_ns >= interval) {
            context->last_report_ns = now;
            mmh_progress progress = progress_now(context);
            if (!context->progress(context->progress_user, &progress))
                atomic_store(&context->stopped, true);
        }
        atomic_flag_clear(&context->reporting);
    }
    return atomic_load(&context->stopped) ? mmh_fail(err, MMH_E_CANCELLED, "cancelled") : MMH_OK;
}

mmh_status mmh_context_lock(mmh_context *context, int *lock, const char *path, mmh_error *err)
{
    uint64_t begin = mmh_clock_ns();
    *lock = -1;
    for (;;) {
        mmh_status status = mmh_path_lock(lock, path, REPORT_INTERVAL_NS, err);
        if (status != MMH_OK || *lock >= 0)
            return status;
        if (mmh_clock_ns() - begin >= LOCK_SECONDS * UINT64_C(1000000000))
            return mmh_fail(err, MMH_E_IO, "%s: another process is changing it", path);
        status = mmh_context_poll(context, err);
        if (status != MMH_OK)
            return status;
    }
}

/* Asked by the pool before each job. */
static bool cancelled(void *user)
{
    return mmh_context_poll(user, NULL) != MMH_OK;
}

mmh_status mmh_context_create(mmh_context **out, const mmh_context_options *given, mmh_error *err)
{
    mmh_context_options options = { 0 };
    *out = NULL;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_context_options",
                                         err);
    if (status != MMH_OK)
        return status;
    mmh_context *context = mmh_alloc_array(options.allocator, 1, sizeof *context);
    if (!context)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a context");
    if (options.allocator) {
        context->allocator_copy = *options.allocator;
        context->allocator = &context->allocator_copy;
    }
    mmh_plugins_init(&context->plugins, context->allocator);
    context->limits = options.limits;
    if (!context->limits.index_bytes)
        context->limits.index_bytes = default_index_bytes;
    context->anew_bytes = default_anew_bytes;
    context->progress = options.progress;
    context->progress_user = options.progress_user;
    status = mmh_pool_create(&context->pool, options.threads, context->allocator, err);
    if (status == MMH_OK) {
        context->workers = mmh_alloc_array(context->allocator, mmh_pool_threads(context->pool),
                                           sizeof *context->workers);
        if (!context->workers)
            status = mmh_fail(err, MMH_E_MEMORY, "no memory for a context");
    }
    if (status != MMH_OK) {
        mmh_context_destroy(context);
        return status;
    }
    mmh_pool_set_cancelled(context->pool, cancelled, context);
    *out = context;
    return MMH_OK;
}

void mmh_context_destroy(mmh_context *context)
{
    if (!context)
        return;
    for (unsigned i = 0; context->workers && i < mmh_pool_threads(context->pool); i++) {
        mmh_codec_workspace_destroy(context->workers[i].codec);
        mmh_free(context->allocator, context->workers[i].stored);
        mmh_free(context->allocator, context->workers[i].decoded);
        for (size_t k = 0; k < 2; k++)
            mmh_free(context->allocator, context->workers[i].ahead.kept[k].data);
    }
    mmh_free(context->allocator, context->workers);
    mmh_pool_destroy(context->pool);
    mmh_plugins_release(&context->plugins);
    mmh_guards_release(context);
    /* The allocator's copy lies in the context itself. */
    mmh_allocator allocator = context->allocator_copy;
    mmh_free(context->allocator ? &allocator : NULL, context);
}

void mmh_context_begin(mmh_context *context, const char *stage, uint64_t total_bytes)
{
    context->state = (mmh_progress){ .stage = stage, .total_bytes = total_bytes };
    atomic_store(&context->done_bytes, 0);
    atomic_store(&context->stored_bytes, 0);
    atomic_flag_clear(&context->reporting);
    atomic_store(&context->stopped, false);
    context->last_report_ns = 0;
    struct mmh_stage_times *times = &context->times;
    atomic_store(&times->read_ns, 0);
    atomic_store(&times->plan_ns, 0);
    atomic_store(&times->encode_ns, 0);
    atomic_store(&times->check_ns, 0);
    atomic_store(&times->hash_ns, 0);
    atomic_store(&times->decode_ns, 0);
    atomic_store(&times->write_ns, 0);
    atomic_store(&times->open_ns, 0);
    atomic_store(&times->seal_ns, 0);
    atomic_store(&times->unseal_ns, 0);
    atomic_store(&times->sign_ns, 0);
}

void mmh_context_end(mmh_context *context, mmh_status status)
{
    if (!context->progress || status != MMH_OK)
        return;
    mmh_progress progress = progress_now(context);
    context->progress(context->progress_user, &progress);
}

uint64_t mmh_stage_add(atomic_uint_fast64_t *stage, uint64_t begin_ns)
{
    uint64_t now = mmh_clock_ns();
    atomic_fetch_add_explicit(stage, now - begin_ns, memory_order_relaxed);
    return now;
}

mmh_status mmh_context_room(mmh_context *context, uint8_t **buffer, size_t *room_bytes,
                            size_t bytes, mmh_error *err)
{
    if (*room_bytes >= bytes && *buffer)
        return MMH_OK;
    mmh_free(context->allocator, *buffer);
    *room_bytes = 0;
    *buffer = mmh_alloc(context->allocator, 64, bytes);
    if (!*buffer)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a buffer of %zu bytes", bytes);
    *room_bytes = bytes;
    return MMH_OK;
}

mmh_status mmh_worker_room(mmh_context *context, struct mmh_worker *worker, size_t stored_bytes,
                           size_t decoded_bytes, mmh_error *err)
{
    mmh_status status = MMH_OK;
    if (!worker->codec)
        status = mmh_codec_workspace_create(&worker->codec, context->allocator, err);
    if (status == MMH_OK)
        status = mmh_context_room(context, &worker->stored, &worker->stored_room, stored_bytes,
                                  err);
    if (decoded_bytes)
        worker->holds.reader = 0;
    if (status == MMH_OK)
        status = mmh_context_room(context, &worker->decoded, &worker->decoded_room, decoded_bytes,
                                  err);
    return status;
}
