/*
 * The trust store of include/mmh_trust.h, over trust/store.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "crypto/secret.h"
#include "engine/attest.h"
#include "trust/store.h"

enum { STATEMENT_BYTES_MAX = 16 << 20 };

struct mmh_store {
    struct mmh_trust_store store;
    mmh_key **keys; /* [store.count] those of the store, as the caller sees them */
    size_t key_count;
    const mmh_key **signers; /* [key_count] of mmh_store_signers */
    uint64_t *expires;
};

static uint64_t now(void)
{
    return (uint64_t)time(NULL);
}

/* ---- keys as the caller sees them ---- */

static void forget_keys(mmh_store *store)
{
    for (size_t i = 0; i < store->key_count; i++)
        mmh_key_destroy(store->keys[i]);
    mmh_free(NULL, store->keys);
    mmh_free(NULL, (void *)store->signers);
    mmh_free(NULL, store->expires);
    store->keys = NULL;
    store->signers = NULL;
    store->expires = NULL;
    store->key_count = 0;
}

/* A key of the caller's that is the public part of an identity. */
static mmh_status key_of(mmh_key **key, const mmh_identity *identity, const char *name,
                         mmh_error *err)
{
    char *text;
    size_t bytes;
    mmh_status status = mmh_identity_write(&text, &bytes, identity, false, NULL, 0, err);
    if (status != MMH_OK)
        return status;
    status = mmh_key_parse(key, text, bytes, name, NULL, NULL, err);
    mmh_secret_free(text, bytes + 1);
    return status;
}

static mmh_status make_keys(mmh_store *store, mmh_error *err)
{
    const size_t count = store->store.count;
    forget_keys(store);
    store->keys = mmh_alloc_array(NULL, count, sizeof *store->keys);
    store->signers = mmh_alloc_array(NULL, count, sizeof *store->signers);
    store->expires = mmh_alloc_array(NULL, count, sizeof *store->expires);
    if (!store->keys || !store->signers || !store->expires)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu keys", count);
    for (size_t i = 0; i < count; i++) {
        const struct mmh_trusted *trusted = &store->store.keys[i];
        mmh_status status = key_of(&store->keys[i], trusted->identity, trusted->path, err);
        if (status != MMH_OK)
            return status;
        store->key_count++;
    }
    return MMH_OK;
}

/* After a change: what the caller sees is what the store has by now, whether it went well or not. */
static mmh_status changed(mmh_store *store, mmh_status status, mmh_error *err)
{
    const mmh_status made = make_keys(store, status == MMH_OK ? err : NULL);
    return status == MMH_OK ? made : status;
}

mmh_status mmh_store_open(mmh_store **out, const char *folder, mmh_error *err)
{
    *out = NULL;
    mmh_store *store = mmh_alloc_array(NULL, 1, sizeof *store);
    if (!store)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for the trust store");
    mmh_status status = mmh_trust_store_open(&store->store, folder, NULL, err);
    if (status == MMH_OK)
        status = make_keys(store, err);
    if (status != MMH_OK) {
        mmh_store_close(store);
        return status;
    }
    *out = store;
    return MMH_OK;
}

void mmh_store_close(mmh_store *store)
{
    if (!store)
        return;
    forget_keys(store);
    mmh_trust_store_release(&store->store);
    mmh_free(NULL, store);
}

/* ---- looking ---- */

mmh_status mmh_store_key_at(const mmh_store *store, size_t number, mmh_store_key *info,
                            mmh_error *err)
{
    mmh_status status = mmh_struct_check(info, "mmh_store_key", err);
    if (status != MMH_OK)
        return status;
    if (number >= store->key_count)
        return mmh_fail(err, MMH_E_USAGE, "the trust store has %zu keys", store->key_count);
    const struct mmh_trusted *key = &store->store.keys[number];
    const mmh_store_key whole = { .struct_size = sizeof whole,
                                  .name = key->name,
                                  .key = store->keys[number],
                                  .added_seconds = key->added_seconds,
                                  .expires_seconds = key->expires_seconds,
                                  .revoked_seconds = key->revoked_seconds,
                                  .reason = key->reason,
                                  .successor_of = key->successor_of,
                                  .believed = mmh_trusted_is_believed(key, now()),
                                  .path = key->path };
    mmh_report_copy(info, &whole, sizeof whole);
    return MMH_OK;
}

mmh_status mmh_store_find(const mmh_store *store, const char *name, size_t *number, mmh_error *err)
{
    return mmh_trust_store_find(&store->store, name, number, err);
}

mmh_status mmh_store_signers(mmh_store *store, const mmh_key *const **signers,
                             const uint64_t **expires, size_t *count, mmh_error *err)
{
    const uint64_t at = now();
    (void)err;
    *count = 0;
    for (size_t i = 0; i < store->key_count; i++) {
        const struct mmh_trusted *key = &store->store.keys[i];
        bool signs = false;
        for (size_t p = 0; p < key->identity->part_count; p++)
            signs = signs || key->identity->parts[p].signature;
        if (!signs || !mmh_trusted_is_believed(key, at))
            continue;
        store->signers[*count] = store->keys[i];
        store->expires[(*count)++] = key->expires_seconds;
    }
    *signers = store->signers;
    *expires = store->expires;
    return MMH_OK;
}

uint64_t mmh_store_counter(const mmh_store *store, const uint8_t fingerprint[32],
                           const char *subject)
{
    const struct mmh_trusted *key = mmh_trust_store_by_fingerprint(&store->store, fingerprint);
    for (size_t i = 0; key && i < key->counter_count; i++)
        if (strcmp(key->counters[i].subject, subject ? subject : "") == 0)
            return key->counters[i].counter;
    return 0;
}

/* ---- changing ---- */

mmh_status mmh_store_add(mmh_store *store, const char *name, const mmh_key *key,
                         uint64_t expires_seconds, mmh_error *err)
{
    return changed(store,
                   mmh_trust_store_add(&store->store, name, mmh_key_identity(key), now(),
                                       expires_seconds, NULL, err),
                   err);
}

mmh_status mmh_store_revoke(mmh_store *store, size_t number, const char *reason, mmh_error *err)
{
    return changed(store,
                   mmh_trust_store_revoke(&store->store, number, reason ? reason : "", now(), err),
                   err);
}

mmh_status mmh_store_expire(mmh_store *store, size_t number, uint64_t expires_seconds,
                            mmh_error *err)
{
    return changed(store, mmh_trust_store_expire(&store->store, number, expires_seconds, err), err);
}

mmh_status mmh_store_remove(mmh_store *store, size_t number, mmh_error *err)
{
    return changed(store, mmh_trust_store_remove(&store->store, number, err), err);
}

mmh_status mmh_store_note_counter(mmh_store *store, const uint8_t fingerprint[32],
                                  const char *subject, uint64_t counter, mmh_error *err)
{
    const struct mmh_trusted *key = mmh_trust_store_by_fingerprint(&store->store, fingerprint);
    if (!key)
        return mmh_fail(err, MMH_E_USAGE, "no key of the trust store has that fingerprint");
    return changed(store,
                   mmh_trust_store_count(&store->store, (size_t)(key - store->store.keys),
                                         subject ? subject : "", counter, err),
                   err);
}

/* ---- successors ---- */

mmh_status mmh_successor_write(const mmh_key *old, const mmh_key *next, const char *name,
                               uint64_t time_seconds, const char *path, bool overwrite,
                               mmh_error *err)
{
    const struct mmh_output_options options = { .overwrite = overwrite };
    struct mmh_buffer text;
    mmh_output *output = NULL;
    mmh_buffer_init(&text, NULL);
    mmh_status status = mmh_successor_make(&text, mmh_key_identity(old), mmh_key_identity(next),
                                           name, time_seconds, err);
    if (status == MMH_OK)
        status = mmh_output_create(&output, path, &options, NULL, err);
    if (status == MMH_OK)
        status = mmh_output_append(output, text.data, text.bytes, err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    mmh_buffer_release(&text);
    return status;
}

mmh_status mmh_store_accept(mmh_store *store, const char *path, const char *name, size_t *number,
                            mmh_error *err)
{
    uint8_t *text;
    size_t bytes;
    mmh_status status = mmh_input_slurp(&text, &bytes, path, STATEMENT_BYTES_MAX, NULL, err);
    if (status != MMH_OK)
        return status;
    status = mmh_trust_store_accept(&store->store, (const char *)text, bytes, path, name, now(),
                                    number, err);
    mmh_free(NULL, text);
    return changed(store, status, err);
}
