/*
 * The trust store: a folder of public keys that are believed, one text file each; and successors.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A file "<name>.trusted" is lines, in this order, each ended by one line feed:
 *
 *     mmh trusted key 1
 *     name: alice
 *     added: 2026-11-28T12:00:00Z
 *     expires: never                         or a time
 *     revoked: no                            or a time
 *     reason:                                of the revocation; the space is there, too
 *     successor-of:                          name of another key
 *     counter: 7 llama                       none or more: the highest that was seen, and its subject
 *     -----BEGIN PUBLIC KEY-----             the key's PEM (crypto/key.h)
 *     ...
 *     sha256: 0123...                        of all before this line, so that damage shows
 *
 * A successor's statement is alike:
 *
 *     mmh successor 1
 *     name: alice-2
 *     time: 2026-11-28T12:00:00Z
 *     of: 0123...                            fingerprint of a part of the old key that signs; one or more lines
 *     -----BEGIN PUBLIC KEY-----             the new key's PEM
 *     ...
 *     signature: ml-dsa-65 0123... AbC=      algorithm, fingerprint, signature: by each part that signs of
 *                                            the old key and of the new one
 *
 * What is signed is "mmh successor v1" LF and all before the first signature's line; the context is "mmh".
 */
#ifndef MMH_TRUST_STORE_H
#define MMH_TRUST_STORE_H

#include "base/arena.h"
#include "base/cursor.h"
#include "crypto/key.h"

enum {
    MMH_TRUSTED_NAME_MAX = 64,
    MMH_TRUSTED_TEXT_MAX = 200, /* of reasons and subjects */
    MMH_TRUSTED_COUNTERS_MAX = 1024
};

struct mmh_trusted_counter {
    const char *subject;
    uint64_t counter;
};

/* A key of the store. Strings live in the store's arena. */
struct mmh_trusted {
    const char *name;
    const char *path; /* of its file */
    mmh_identity *identity;
    uint64_t added_seconds, expires_seconds, revoked_seconds; /* since 1970; 0: never */
    const char *reason, *successor_of;
    struct mmh_trusted_counter *counters;
    size_t counter_count;
};

struct mmh_trust_store {
    const mmh_allocator *allocator;
    char *path;
    struct mmh_arena arena;
    struct mmh_trusted *keys; /* [count] by name */
    size_t count;
};

/* Read a store: a folder that is not there is empty. Release it in either case. */
mmh_status mmh_trust_store_open(struct mmh_trust_store *store, const char *path,
                                const mmh_allocator *allocator, mmh_error *err);
void mmh_trust_store_release(struct mmh_trust_store *store);

/* Whether a key is neither revoked nor expired. */
bool mmh_trusted_is_believed(const struct mmh_trusted *key, uint64_t now_seconds);

/* The key by a name or the beginning (8 digits or more) of a fingerprint of one of its parts. MMH_E_USAGE:
 * none or several. */
mmh_status mmh_trust_store_find(const struct mmh_trust_store *store, const char *name,
                                size_t *number, mmh_error *err);

/* The key that has a part with that fingerprint, or NULL. */
const struct mmh_trusted *mmh_trust_store_by_fingerprint(const struct mmh_trust_store *store,
                                                         const uint8_t *fingerprint);

/*
 * Changes: each writes one file anew, out of what it holds by then, and reads the store again (so that all
 * pointers into it are new). successor_of may be NULL.
 */
mmh_status mmh_trust_store_add(struct mmh_trust_store *store, const char *name,
                               const mmh_identity *identity, uint64_t now_seconds,
                               uint64_t expires_seconds, const char *successor_of, mmh_error *err);
mmh_status mmh_trust_store_revoke(struct mmh_trust_store *store, size_t number, const char *reason,
                                  uint64_t now_seconds, mmh_error *err);
mmh_status mmh_trust_store_expire(struct mmh_trust_store *store, size_t number,
                                  uint64_t expires_seconds, mmh_error *err);
mmh_status mmh_trust_store_remove(struct mmh_trust_store *store, size_t number, mmh_error *err);

/* Remember a counter of a key; MMH_E_UNTRUSTED if a higher one was seen. */
mmh_status mmh_trust_store_count(struct mmh_trust_store *store, size_t number, const char *subject,
                                 uint64_t counter, mmh_error *err);

/* ---- successors ---- */

/* Append the statement that `next` comes after `old`; both are private. */
mmh_status mmh_successor_make(struct mmh_buffer *text, const mmh_identity *old,
                              const mmh_identity *next, const char *name, uint64_t time_seconds,
                              mmh_error *err);

/* Add the key that a statement [bytes] names, if the store believes the old one.
 *
 *   what  names the statement, for messages
 *   name  another name for it; NULL: as it says
 */
mmh_status mmh_trust_store_accept(struct mmh_trust_store *store, const char *text, size_t bytes,
                                  const char *what, const char *name, uint64_t now_seconds,
                                  size_t *number, mmh_error *err);

/* ---- times, for tests and reports ---- */

/* "2026-11-28T12:00:00Z"; seconds before the year 10000. */
void mmh_time_text(char text[24], uint64_t seconds);
MMH_MUST_CHECK bool mmh_time_from_text(uint64_t *seconds, const char *text, size_t bytes);

#endif
