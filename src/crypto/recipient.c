/*
 * File keys and the recipients section: docs/format.md section 15.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: RFC 9180 (HPKE) and C2SP's age specification for the wrapping of x-wing and x25519.
 */
#include "crypto/recipient.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/bits.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/random.h"
#include "crypto/recipient_private.h"
#include "crypto/secret.h"

enum {
    SECTION_VERSION = 1,
    SECTION_HEAD_BYTES = 4,
    STANZA_HEAD_BYTES = 8,
    MAC_BYTES = 32,
    SEALED_BYTES = MMH_FILE_KEY_BYTES + MMH_AEAD_TAG_BYTES,
    PASSPHRASE_WORK_MAX = 1 << 24, /* KiB times passes: 2^20 KiB, 16 passes, once */
    SALT_BYTES = 16,
    PASSPHRASE_HEAD_BYTES = 12 + SALT_BYTES,
    SHA384_BYTES = 48
};

static enum mmh_kdf_hash kdf_hash(unsigned hash_suite)
{
    return hash_suite == MMH_HASH_SHA384 ? MMH_KDF_SHA384 : MMH_KDF_SHA256;
}

static mmh_status no_key(mmh_error *err)
{
    return mmh_fail(err, MMH_E_KEY, "no key opens this container");
}

/* ---- keys of a container ---- */

mmh_status mmh_file_keys_derive(struct mmh_file_keys *keys,
                                const uint8_t file_key[MMH_FILE_KEY_BYTES], unsigned aead_suite,
                                unsigned hash_suite, mmh_error *err)
{
    static const char salt[] = "mmh container v1";
    const struct {
        const char *what;
        uint8_t *key;
    } wanted[] = {
        { "chunk", keys->chunk },
        { "page", keys->page },
        { "recipients", keys->recipients },
        { "commitment", keys->commitment },
    };
    const enum mmh_kdf_hash hash = kdf_hash(hash_suite);
    uint8_t prk[MMH_KDF_HASH_BYTES_MAX], info[16];
    mmh_status status = mmh_hkdf_extract(prk, hash, salt, sizeof salt - 1, file_key,
                                         MMH_FILE_KEY_BYTES, err);
    for (size_t i = 0; i < MMH_COUNT_OF(wanted) && status == MMH_OK; i++) {
        size_t bytes = strlen(wanted[i].what);
        memcpy(info, wanted[i].what, bytes);
        info[bytes] = (uint8_t)aead_suite;
        info[bytes + 1] = (uint8_t)hash_suite;
        status = mmh_hkdf_expand(wanted[i].key, 32, hash, prk, info, bytes + 2, err);
    }
    mmh_wipe(prk, sizeof prk);
    if (status != MMH_OK)
        mmh_wipe(keys, sizeof *keys);
    return status;
}

/* ---- wrapping ---- */

static mmh_status sha384(uint8_t out[SHA384_BYTES], const uint8_t *data, size_t bytes,
                         mmh_error *err)
{
    ERR_set_mark();
    bool done = EVP_Digest(data, bytes, out, NULL, EVP_sha384(), NULL) == 1;
    ERR_pop_to_mark();
    return done ? MMH_OK : mmh_fail(err, MMH_E_MEMORY, "no memory for a hash");
}

/* What one file key is sealed under. */
struct wrap_key {
    unsigned suite;
    uint8_t key[MMH_AEAD_KEY_BYTES], nonce[MMH_AEAD_NONCE_BYTES];
};

/* Out of what a KEM gave. */
static mmh_status wrap_key_derive(struct wrap_key *wrap, const struct mmh_kem *kem,
                                  const char *label, const uint8_t *shared, const uint8_t *enc,
                                  size_t enc_bytes, const uint8_t *public_key, size_t public_bytes,
                                  mmh_error *err)
{
    uint8_t text[128 + MMH_KEM_ENC_BYTES_MAX + SHA384_BYTES];
    size_t label_bytes = strlen(label), name_bytes = strlen(kem->name), at;
    memset(wrap->nonce, 0, sizeof wrap->nonce);
    wrap->suite = MMH_AEAD_CHACHA20_POLY1305;
    switch (kem->wrap) {
    case MMH_WRAP_HPKE:
        return mmh_hpke_schedule(wrap->key, wrap->nonce, shared, label, label_bytes, err);
    case MMH_WRAP_AGE:
        memcpy(text, enc, enc_bytes);
        memcpy(text + enc_bytes, public_key, public_bytes);
        return mmh_hkdf(wrap->key, sizeof wrap->key, MMH_KDF_SHA256, text, enc_bytes + public_bytes,
                        shared, kem->shared_bytes, label, label_bytes, err);
    default:
        wrap->suite = MMH_AEAD_AES_256_GCM;
        memcpy(text, label, label_bytes);
        memcpy(text + label_bytes, kem->name, name_bytes);
        at = label_bytes + name_bytes;
        mmh_store16(text + at, (uint16_t)kem->id);
        memcpy(text + at + 2, enc, enc_bytes);
        at += 2 + enc_bytes;
        mmh_status status = sha384(text + at, public_key, public_bytes, err);
        return status == MMH_OK ? mmh_hkdf(wrap->key, sizeof wrap->key, MMH_KDF_SHA384, NULL, 0,
                                           shared, kem->shared_bytes, text, at + SHA384_BYTES, err)
                                : status;
    }
}

static mmh_status wrap_seal(uint8_t *sealed, const struct wrap_key *wrap, const uint8_t *file_key,
                            size_t file_key_bytes, mmh_error *err)
{
    mmh_aead *aead;
    mmh_status status = mmh_aead_create(&aead, wrap->suite, wrap->key, err);
    if (status == MMH_OK)
        status = mmh_aead_seal(aead, sealed, wrap->nonce, file_key, file_key_bytes, NULL, 0, err);
    mmh_aead_destroy(aead);
    return status;
}

/* MMH_E_KEY, not corrupt, if the tag is wrong: it is the wrong key. */
static mmh_status wrap_open(uint8_t *file_key, size_t file_key_bytes, const struct wrap_key *wrap,
                            const uint8_t *sealed, mmh_error *err)
{
    mmh_aead *aead;
    mmh_status status = mmh_aead_create(&aead, wrap->suite, wrap->key, err);
    if (status == MMH_OK)
        status = mmh_aead_open(aead, file_key, wrap->nonce, sealed,
                               file_key_bytes + MMH_AEAD_TAG_BYTES, NULL, 0, NULL);
    mmh_aead_destroy(aead);
    return status == MMH_E_CORRUPT ? no_key(err) : status;
}

/* Whether a public key has the length of the KEM's; RSA's is judged when it is read. */
static bool public_fits(const struct mmh_kem *kem, size_t bytes)
{
    return kem->public_bytes ? bytes == kem->public_bytes : bytes > 0;
}

mmh_status mmh_wrap_seal(struct mmh_buffer *out, const struct mmh_kem *kem, const char *label,
                         const uint8_t *public_key, size_t public_bytes, const uint8_t *file_key,
                         size_t file_key_bytes, mmh_error *err)
{
    uint8_t enc[MMH_KEM_ENC_BYTES_MAX], shared[MMH_KEM_SHARED_BYTES_MAX];
    uint8_t sealed[SEALED_BYTES];
    struct wrap_key wrap = { 0 };
    size_t enc_bytes = 0;
    if (!public_fits(kem, public_bytes) || file_key_bytes > MMH_FILE_KEY_BYTES)
        return mmh_fail(err, MMH_E_KEY, "a public key for %s is not right", kem->name);
    mmh_status status = kem->encapsulate(enc, &enc_bytes, shared, public_key, public_bytes, err);
    if (status == MMH_OK)
        status = wrap_key_derive(&wrap, kem, label, shared, enc, enc_bytes, public_key,
                                 public_bytes, err);
    if (status == MMH_OK)
        status = wrap_seal(sealed, &wrap, file_key, file_key_bytes, err);
    if (status == MMH_OK) {
        mmh_buffer_bytes(out, enc, enc_bytes);
        mmh_buffer_bytes(out, sealed, file_key_bytes + MMH_AEAD_TAG_BYTES);
        status = mmh_buffer_finish(out, "a recipient", err);
    }
    mmh_wipe(shared, sizeof shared);
    mmh_wipe(&wrap, sizeof wrap);
    return status;
}

mmh_status mmh_wrap_open(uint8_t *file_key, size_t file_key_bytes, const struct mmh_kem *kem,
                         const char *label, const uint8_t *public_key, size_t public_bytes,
                         const uint8_t *secret_key, size_t secret_bytes, const uint8_t *body,
                         size_t body_bytes, mmh_error *err)
{
    uint8_t shared[MMH_KEM_SHARED_BYTES_MAX];
    struct wrap_key wrap = { 0 };
    const size_t sealed_bytes = file_key_bytes + MMH_AEAD_TAG_BYTES;
    if (body_bytes <= sealed_bytes || !public_fits(kem, public_bytes))
        return no_key(err);
    const size_t enc_bytes = body_bytes - sealed_bytes;
    if (kem->enc_bytes ? enc_bytes != kem->enc_bytes : enc_bytes > MMH_KEM_ENC_BYTES_MAX)
        return no_key(err);
    mmh_status status = kem->decapsulate(shared, body, enc_bytes, secret_key, secret_bytes,
                                         public_key, public_bytes, NULL);
    if (status == MMH_OK)
        status = wrap_key_derive(&wrap, kem, label, shared, body, enc_bytes, public_key,
                                 public_bytes, NULL);
    if (status == MMH_OK)
        status = wrap_open(file_key, file_key_bytes, &wrap, body + enc_bytes, NULL);
    mmh_wipe(shared, sizeof shared);
    mmh_wipe(&wrap, sizeof wrap);
    if (status == MMH_OK || status == MMH_E_KEY)
        return status == MMH_OK ? MMH_OK : no_key(err);
    return mmh_fail(err, status, "a key could not be tried");
}

/* ---- stanzas ---- */

static const char *label_of(const struct mmh_kem *kem)
{
    return kem->wrap == MMH_WRAP_AGE  ? "mmh/v1/x25519"
         : kem->wrap == MMH_WRAP_HPKE ? "mmh/v1/x-wing"
                                      : "mmh/v1/";
}

/* Take back what was appended from `begin` on, if it is not whole; else fill in how long it is. */
static mmh_status stanza_end(struct mmh_buffer *out, size_t begin, mmh_status status)
{
    if (status == MMH_OK)
        mmh_store32(out->data + begin + 4, (uint32_t)(out->bytes - begin - STANZA_HEAD_BYTES));
    else
        out->bytes = begin;
    return status;
}

static void stanza_begin(struct mmh_buffer *out, unsigned kind)
{
    mmh_buffer_u16(out, (uint16_t)kind);
    mmh_buffer_u16(out, 0);
    mmh_buffer_u32(out, 0);
}

mmh_status mmh_stanza_write(struct mmh_buffer *out, const uint8_t file_key[MMH_FILE_KEY_BYTES],
                            const struct mmh_key_part *recipient, mmh_error *err)
{
    const struct mmh_kem *kem = recipient->kem;
    const size_t begin = out->bytes;
    if (!kem || !recipient->public_key)
        return mmh_fail(err, MMH_E_KEY, "a key to sign with is no recipient");
    stanza_begin(out, kem->id);
    return stanza_end(out, begin,
                      mmh_wrap_seal(out, kem, label_of(kem), recipient->public_key,
                                    recipient->public_bytes, file_key, MMH_FILE_KEY_BYTES, err));
}

static mmh_status passphrase_key(struct wrap_key *wrap, const char *passphrase,
                                 size_t passphrase_bytes, const struct mmh_argon2_cost *cost,
                                 const uint8_t salt[SALT_BYTES], mmh_error *err)
{
    wrap->suite = MMH_AEAD_CHACHA20_POLY1305;
    memset(wrap->nonce, 0, sizeof wrap->nonce);
    return mmh_argon2id(wrap->key, sizeof wrap->key, cost, passphrase, passphrase_bytes, salt, err);
}

mmh_status mmh_stanza_write_passphrase(struct mmh_buffer *out,
                                       const uint8_t file_key[MMH_FILE_KEY_BYTES],
                                       const char *passphrase, size_t passphrase_bytes,
                                       const struct mmh_argon2_cost *cost, mmh_error *err)
{
    uint8_t salt[SALT_BYTES], sealed[SEALED_BYTES];
    struct wrap_key wrap = { 0 };
    const size_t begin = out->bytes;
    if (!passphrase_bytes || passphrase_bytes > MMH_PASSPHRASE_BYTES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "a passphrase of %zu bytes: 1 to %d", passphrase_bytes,
                        MMH_PASSPHRASE_BYTES_MAX);
    mmh_status status = mmh_random(salt, sizeof salt, err);
    if (status == MMH_OK)
        status = passphrase_key(&wrap, passphrase, passphrase_bytes, cost, salt, err);
    if (status == MMH_OK)
        status = wrap_seal(sealed, &wrap, file_key, MMH_FILE_KEY_BYTES, err);
    if (status == MMH_OK) {
        stanza_begin(out, MMH_KEM_PASSPHRASE);
        mmh_buffer_u32(out, cost->memory_kib);
        mmh_buffer_u32(out, cost->passes);
        mmh_buffer_u32(out, cost->lanes);
        mmh_buffer_bytes(out, salt, sizeof salt);
        mmh_buffer_bytes(out, sealed, sizeof sealed);
        status = stanza_end(out, begin, mmh_buffer_finish(out, "a recipient", err));
    }
    mmh_wipe(&wrap, sizeof wrap);
    return status;
}

/* ---- the section ---- */

static mmh_status section_mac(uint8_t mac[MAC_BYTES], const struct mmh_file_keys *keys,
                              unsigned hash_suite, const uint8_t *header, size_t header_bytes,
                              const uint8_t *root, size_t root_bytes, const uint8_t *section,
                              size_t bytes, mmh_error *err)
{
    const struct mmh_piece pieces[] = { { header, header_bytes },
                                        { root, root_bytes },
                                        { section, bytes } };
    return mmh_hmac(mac, kdf_hash(hash_suite), keys->recipients, pieces, MMH_COUNT_OF(pieces), err);
}

mmh_status mmh_recipients_write(struct mmh_buffer *out, const uint8_t *stanzas, size_t stanza_bytes,
                                unsigned count, const struct mmh_file_keys *keys,
                                unsigned hash_suite, const uint8_t *header, size_t header_bytes,
                                const uint8_t *root, size_t root_bytes, mmh_error *err)
{
    uint8_t mac[MAC_BYTES];
    const size_t begin = out->bytes;
    if (!count || count > MMH_RECIPIENTS_MAX)
        return mmh_fail(err, MMH_E_USAGE, "%u recipients: a container has 1 to %d", count,
                        MMH_RECIPIENTS_MAX);
    mmh_buffer_u16(out, SECTION_VERSION);
    mmh_buffer_u16(out, (uint16_t)count);
    mmh_buffer_bytes(out, stanzas, stanza_bytes);
    mmh_status status = mmh_buffer_finish(out, "recipients", err);
    if (status == MMH_OK)
        status = section_mac(mac, keys, hash_suite, header, header_bytes, root, root_bytes,
                             out->data + begin, out->bytes - begin, err);
    if (status == MMH_OK) {
        mmh_buffer_bytes(out, mac, sizeof mac);
        status = mmh_buffer_finish(out, "recipients", err);
    }
    if (status != MMH_OK)
        out->bytes = begin;
    return status;
}

/* The next stanza; the cursor fails at its end. */
static const uint8_t *stanza_next(struct mmh_cursor *in, unsigned *kind, size_t *body_bytes,
                                  bool *reserved)
{
    *kind = mmh_cursor_u16(in);
    *reserved = mmh_cursor_u16(in) != 0;
    *body_bytes = mmh_cursor_u32(in);
    return mmh_cursor_bytes(in, *body_bytes);
}

mmh_status mmh_recipients_view(struct mmh_recipients_view *view, const uint8_t *section,
                               size_t bytes, mmh_error *err)
{
    struct mmh_cursor in;
    unsigned passphrases = 0;
    memset(view, 0, sizeof *view);
    mmh_cursor_init(&in, section, bytes);
    unsigned version = mmh_cursor_u16(&in), count = mmh_cursor_u16(&in);
    if (!mmh_cursor_failed(&in) && version != SECTION_VERSION)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "recipients of version %u: this build reads %d",
                        version, SECTION_VERSION);
    if (!count || count > MMH_RECIPIENTS_MAX)
        return mmh_fail(err, MMH_E_CORRUPT, "%u recipients: a container has 1 to %d", count,
                        MMH_RECIPIENTS_MAX);
    for (unsigned i = 0; i < count && !mmh_cursor_failed(&in); i++) {
        unsigned kind;
        size_t body_bytes;
        bool reserved;
        (void)stanza_next(&in, &kind, &body_bytes, &reserved);
        passphrases += kind == MMH_KEM_PASSPHRASE;
        if (reserved || passphrases > MMH_PASSPHRASES_MAX)
            return mmh_fail(err, MMH_E_CORRUPT, "recipient %u is not as it should be", i);
    }
    size_t stanza_bytes = mmh_cursor_position(&in);
    const uint8_t *mac = mmh_cursor_bytes(&in, MAC_BYTES);
    mmh_status status = mmh_cursor_finish(&in, "recipients", err);
    if (status != MMH_OK)
        return status;
    view->count = count;
    view->stanzas = section + SECTION_HEAD_BYTES;
    view->stanza_bytes = stanza_bytes - SECTION_HEAD_BYTES;
    view->mac = mac;
    return MMH_OK;
}

mmh_status mmh_recipients_stanza(const struct mmh_recipients_view *view, unsigned number,
                                 unsigned *kind, const uint8_t **body, size_t *body_bytes,
                                 mmh_error *err)
{
    struct mmh_cursor in;
    bool reserved;
    if (number >= view->count)
        return mmh_fail(err, MMH_E_USAGE, "recipient %u of %u", number, view->count);
    mmh_cursor_init(&in, view->stanzas, view->stanza_bytes);
    for (unsigned i = 0; i <= number; i++)
        *body = stanza_next(&in, kind, body_bytes, &reserved);
    return mmh_cursor_finish_prefix(&in, "recipients", err);
}

/* ---- opening ---- */

/* One search for the file key. */
struct search {
    uint8_t *file_key;
    struct mmh_file_keys *keys;
    const struct mmh_unlock *unlock;
    const uint8_t *commitment;
    unsigned aead_suite, hash_suite;
    size_t tries;
    uint64_t passphrase_work; /* KiB times passes, of the passphrases that were tried */
    bool found;
};

/* Whether file_key is that of this container. */
static mmh_status commitment_check(struct search *search, mmh_error *err)
{
    mmh_status status = mmh_file_keys_derive(search->keys, search->file_key, search->aead_suite,
                                             search->hash_suite, err);
    search->found = status == MMH_OK && mmh_secret_equal(search->keys->commitment,
                                                         search->commitment, MMH_COMMITMENT_BYTES);
    return status;
}

/* What a try counts for MMH_UNLOCK_TRIES_MAX: about its time, in tenths of a millisecond or so. */
static size_t try_cost(const struct mmh_key_part *part)
{
    if (part->kem->id != MMH_KEM_RSA_OAEP)
        return part->kem->public_bytes > 65536 ? 4 : 1;
    const size_t kilobits = MMH_MAX(mmh_divide_up(part->bits, 1024),
                                    2); /* its time is their cube */
    return kilobits * kilobits * kilobits * 3 / 4;
}

/* All keys of its kind on one stanza. */
static mmh_status try_keys(struct search *search, const struct mmh_kem *kem, const uint8_t *body,
                           size_t body_bytes, mmh_error *err)
{
    for (size_t i = 0; i < search->unlock->identity_count; i++) {
        const mmh_identity *identity = search->unlock->identities[i];
        for (size_t k = 0; k < identity->part_count; k++) {
            const struct mmh_key_part *part = &identity->parts[k];
            if (part->kem != kem || !part->secret || !part->secret_key || !part->public_key)
                continue;
            search->tries += try_cost(part);
            if (search->tries > MMH_UNLOCK_TRIES_MAX)
                return mmh_fail(err, MMH_E_LIMIT,
                                "more keys and recipients than are tried: give fewer keys");
            mmh_status status = mmh_wrap_open(
                search->file_key, MMH_FILE_KEY_BYTES, kem, label_of(kem), part->public_key,
                part->public_bytes, part->secret_key, part->secret_bytes, body, body_bytes, NULL);
            if (status == MMH_OK)
                status = commitment_check(search, NULL);
            if (search->found)
                return MMH_OK;
            if (status != MMH_OK && status != MMH_E_KEY)
                return mmh_fail(err, status, "a key could not be tried");
        }
    }
    return MMH_OK;
}

/* A passphrase on one stanza. MMH_E_LIMIT: it is not tried. */
static mmh_status try_passphrase(struct search *search, const char *passphrase,
                                 size_t passphrase_bytes, const uint8_t *body, size_t body_bytes,
                                 mmh_error *err)
{
    const struct mmh_argon2_cost *limit = search->unlock->cost_limit;
    struct wrap_key wrap = { 0 };
    if (body_bytes != PASSPHRASE_HEAD_BYTES + SEALED_BYTES)
        return MMH_OK;
    const struct mmh_argon2_cost cost = { mmh_load32(body), mmh_load32(body + 4),
                                          mmh_load32(body + 8) };
    /* Eight stanzas at the highest cost would be minutes: all together may cost as much as one. */
    const uint64_t work = (uint64_t)cost.memory_kib * cost.passes;
    if (work > PASSPHRASE_WORK_MAX - search->passphrase_work)
        return mmh_fail(err, MMH_E_LIMIT, "trying all passphrases would cost too much");
    search->passphrase_work += work;
    if (limit && (cost.memory_kib > limit->memory_kib || cost.passes > limit->passes ||
                  cost.lanes > limit->lanes))
        return mmh_fail(err, MMH_E_LIMIT,
                        "a passphrase wants Argon2id with %lu KiB, %lu passes and %lu lanes: more "
                        "than is allowed",
                        (unsigned long)cost.memory_kib, (unsigned long)cost.passes,
                        (unsigned long)cost.lanes);
    mmh_status status = passphrase_key(&wrap, passphrase, passphrase_bytes, &cost, body + 12, err);
    if (status == MMH_OK)
        status = wrap_open(search->file_key, MMH_FILE_KEY_BYTES, &wrap,
                           body + PASSPHRASE_HEAD_BYTES, NULL);
    if (status == MMH_OK)
        status = commitment_check(search, err);
    mmh_wipe(&wrap, sizeof wrap);
    return status == MMH_E_KEY ? MMH_OK : status;
}

/* The passphrase, asked for, on all stanzas that take one: the cheap ones are not kept from being tried
 * by one whose costs are refused. */
static mmh_status try_passphrases(struct search *search, const struct mmh_recipients_view *view,
                                  mmh_error *err)
{
    enum { ROOM = MMH_PASSPHRASE_BYTES_MAX };
    struct mmh_cursor in;
    mmh_error refused = { 0 };
    size_t passphrase_bytes = 0;
    mmh_status status;
    char *passphrase = mmh_secret_alloc(ROOM);
    if (!passphrase)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a passphrase");
    status = search->unlock->ask(search->unlock->user, "passphrase of the container", passphrase,
                                 ROOM, &passphrase_bytes, err);
    if (status == MMH_OK && passphrase_bytes > ROOM)
        status = mmh_fail(err, MMH_E_USAGE, "a passphrase of %zu bytes: at most %d",
                          passphrase_bytes, ROOM);
    mmh_cursor_init(&in, view->stanzas, view->stanza_bytes);
    for (unsigned i = 0; i < view->count && status == MMH_OK && !search->found; i++) {
        unsigned kind;
        size_t body_bytes;
        bool reserved;
        const uint8_t *body = stanza_next(&in, &kind, &body_bytes, &reserved);
        if (kind == MMH_KEM_PASSPHRASE)
            status = try_passphrase(search, passphrase, passphrase_bytes, body, body_bytes,
                                    &refused);
        if (status == MMH_E_LIMIT)
            status = MMH_OK;
    }
    if (status == MMH_OK && !search->found && refused.status != MMH_OK)
        status = mmh_fail(err, refused.status, "%s", refused.message);
    else if (status != MMH_OK && refused.status != MMH_OK)
        (void)mmh_fail(err, status, "%s", refused.message);
    mmh_secret_free(passphrase, ROOM);
    return status;
}

mmh_status mmh_recipients_open(uint8_t file_key[MMH_FILE_KEY_BYTES], struct mmh_file_keys *keys,
                               const uint8_t *section, size_t bytes,
                               const struct mmh_unlock *unlock,
                               const uint8_t commitment[MMH_COMMITMENT_BYTES], unsigned aead_suite,
                               unsigned hash_suite, const uint8_t *header, size_t header_bytes,
                               const uint8_t *root, size_t root_bytes, mmh_error *err)
{
    struct search search = { .file_key = file_key,
                             .keys = keys,
                             .unlock = unlock,
                             .commitment = commitment,
                             .aead_suite = aead_suite,
                             .hash_suite = hash_suite };
    struct mmh_recipients_view view;
    struct mmh_cursor in;
    uint8_t mac[MAC_BYTES];
    bool takes_passphrase = false;
    mmh_status status = mmh_recipients_view(&view, section, bytes, err);
    mmh_cursor_init(&in, view.stanzas, view.stanza_bytes);
    for (unsigned i = 0; i < view.count && status == MMH_OK && !search.found; i++) {
        unsigned kind;
        size_t body_bytes;
        bool reserved;
        const uint8_t *body = stanza_next(&in, &kind, &body_bytes, &reserved);
        const struct mmh_kem *kem = mmh_kem_by_id(kind);
        takes_passphrase |= kind == MMH_KEM_PASSPHRASE;
        if (kem)
            status = try_keys(&search, kem, body, body_bytes, err);
    }
    if (status == MMH_OK && !search.found && takes_passphrase && unlock->ask)
        status = try_passphrases(&search, &view, err);
    if (status == MMH_OK && !search.found)
        status = no_key(err);
    if (status == MMH_OK)
        status = section_mac(mac, keys, hash_suite, header, header_bytes, root, root_bytes, section,
                             bytes - MAC_BYTES, err);
    if (status == MMH_OK && !mmh_secret_equal(mac, view.mac, MAC_BYTES))
        status = mmh_fail(err, MMH_E_CORRUPT, "the recipients are not those that were written");
    if (status != MMH_OK) {
        mmh_wipe(file_key, MMH_FILE_KEY_BYTES);
        mmh_wipe(keys, sizeof *keys);
    }
    return status;
}
