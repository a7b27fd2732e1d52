/*
 * Writing Model Signing bundles, and checking their signatures.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: OpenSSF Model Signing specification 1.0, sections 4 to 6; DSSE protocol 1.0.
 */
#include "trust/oms.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "crypto/secret.h"
#include "trust/policy_private.h"
#include "trust/text.h"

static const char payload_type[] = "application/vnd.in-toto+json";

/* Whether the specification knows signatures of this kind. */
static bool is_standard(const struct mmh_signature *signature)
{
    return signature->id == MMH_SIGN_ECDSA_P256 || signature->id == MMH_SIGN_ECDSA_P384 ||
           signature->id == MMH_SIGN_ECDSA_P521;
}

void mmh_oms_signed_text(struct mmh_buffer *text, const char *type, const uint8_t *payload,
                         size_t bytes)
{
    char number[32];
    (void)snprintf(number, sizeof number, "DSSEv1 %zu ", strlen(type));
    mmh_text_add(text, number);
    mmh_text_add(text, type);
    (void)snprintf(number, sizeof number, " %zu ", bytes);
    mmh_text_add(text, number);
    mmh_buffer_bytes(text, payload, bytes);
}

mmh_status mmh_oms_hint(char hint[65], const struct mmh_key_part *part,
                        const mmh_allocator *allocator, mmh_error *err)
{
    struct mmh_buffer pem;
    uint8_t *der, digest[32];
    size_t der_bytes;
    mmh_status status = mmh_key_part_public_der(&der, &der_bytes, part, err);
    if (status != MMH_OK)
        return status;
    mmh_buffer_init(&pem, allocator);
    mmh_text_add(&pem, "-----BEGIN PUBLIC KEY-----\n");
    mmh_text_base64(&pem, der, der_bytes, 64);
    mmh_text_add(&pem, "-----END PUBLIC KEY-----\n");
    mmh_secret_free(der, der_bytes);
    status = mmh_buffer_finish(&pem, "public key", err);
    if (status == MMH_OK)
        status = mmh_file_hash(digest, MMH_FILE_HASH_SHA256, pem.data, pem.bytes, err);
    mmh_buffer_release(&pem);
    if (status == MMH_OK)
        mmh_hex(hint, digest, sizeof digest);
    return status;
}

/* ---- writing ---- */

static int compare_resources(const void *a, const void *b)
{
    const struct mmh_oms_resource *x = a, *y = b;
    const int names = strcmp(x->path, y->path);
    if (names)
        return names;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

void mmh_oms_sort(struct mmh_oms_resource *resources, size_t count)
{
    if (count)
        qsort(resources, count, sizeof *resources, compare_resources);
}

/* Resources by the names that they get, which with shards is another order than that of the paths. */
struct named {
    const char *name;
    const struct mmh_oms_resource *resource;
};

static int compare_named(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static struct named *name_resources(const struct mmh_oms_manifest *manifest,
                                    struct mmh_arena *arena)
{
    struct named *named = mmh_arena_array(arena, manifest->count, sizeof *named);
    for (size_t i = 0; named && i < manifest->count; i++) {
        const struct mmh_oms_resource *resource = &manifest->resources[i];
        named[i].resource = resource;
        named[i].name = manifest->shard_bytes
                          ? mmh_arena_format(arena, "%s:%" PRIu64 ":%" PRIu64, resource->path,
                                             resource->begin, resource->end)
                          : resource->path;
        if (!named[i].name)
            return NULL;
    }
    if (named && manifest->count)
        qsort(named, manifest->count, sizeof *named, compare_named);
    return named;
}

/* SHA-256 of all digests, in the order in which they are written. */
static mmh_status root_digest(uint8_t digest[32], const struct named *named, size_t count,
                              size_t digest_bytes, mmh_error *err)
{
    struct mmh_file_hasher hasher;
    mmh_status status = mmh_file_hasher_init(&hasher, MMH_FILE_HASH_SHA256, err);
    if (status != MMH_OK)
        return status;
    for (size_t i = 0; i < count && status == MMH_OK; i++)
        status = mmh_file_hasher_update(&hasher, named[i].resource->digest, digest_bytes, err);
    if (status == MMH_OK)
        return mmh_file_hasher_final(&hasher, digest, err);
    mmh_file_hasher_abandon(&hasher);
    return status;
}

static mmh_status statement_text(struct mmh_buffer *text, const struct mmh_oms_manifest *manifest,
                                 mmh_error *err)
{
    struct mmh_json_writer json;
    struct mmh_arena arena;
    const char *hash = mmh_file_hash_name(manifest->hash);
    const size_t digest_bytes = mmh_file_hash_bytes(manifest->hash);
    uint8_t root[32];
    mmh_arena_init(&arena, text->allocator);
    const struct named *named = name_resources(manifest, &arena);
    mmh_status status = named ? root_digest(root, named, manifest->count, digest_bytes, err)
                              : mmh_fail(err, MMH_E_MEMORY, "no memory for a list of %zu files",
                                         manifest->count);
    if (status != MMH_OK)
        goto done;
    mmh_json_writer_init(&json, text);
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "_type", "https://in-toto.io/Statement/v1");
    mmh_json_key(&json, "subject");
    mmh_json_open(&json, '[');
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "name", manifest->model);
    mmh_json_key(&json, "digest");
    mmh_json_open(&json, '{');
    mmh_json_key(&json, "sha256");
    mmh_json_hex(&json, root, sizeof root);
    mmh_json_close(&json, '}');
    mmh_json_close(&json, '}');
    mmh_json_close(&json, ']');
    mmh_json_pair(&json, "predicateType", "https://model_signing/signature/v1.0");
    mmh_json_key(&json, "predicate");
    mmh_json_open(&json, '{');
    mmh_json_key(&json, "resources");
    mmh_json_open(&json, '[');
    for (size_t i = 0; i < manifest->count; i++) {
        mmh_json_open(&json, '{');
        mmh_json_pair(&json, "name", named[i].name);
        mmh_json_key(&json, "digest");
        mmh_json_hex(&json, named[i].resource->digest, digest_bytes);
        mmh_json_pair(&json, "algorithm", hash);
        mmh_json_close(&json, '}');
    }
    mmh_json_close(&json, ']');
    mmh_json_key(&json, "serialization");
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "method", manifest->shard_bytes ? "shards" : "files");
    mmh_json_pair(&json, "hash_type", hash);
    if (manifest->shard_bytes) {
        mmh_json_key(&json, "shard_size");
        mmh_json_number(&json, manifest->shard_bytes);
    }
    mmh_json_key(&json, "allow_symlinks");
    mmh_json_bool(&json, manifest->symlinks);
    mmh_json_key(&json, "ignore_paths");
    mmh_json_open(&json, '[');
    for (size_t i = 0; i < manifest->ignored_count; i++)
        mmh_json_text(&json, manifest->ignored[i]);
    mmh_json_close(&json, ']');
    mmh_json_close(&json, '}');
    mmh_json_close(&json, '}');
    mmh_json_close(&json, '}');
    status = mmh_buffer_finish(text, "statement", err);
done:
    mmh_arena_release(&arena);
    return status;
}

/* What others know is first, so that they find it. */
static const struct mmh_key_part *first_signer(const struct mmh_key_part *const *signers,
                                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_standard(signers[i]->signature))
            return signers[i];
    return signers[0];
}

static mmh_status signature_write(struct mmh_json_writer *json, const struct mmh_key_part *signer,
                                  const struct mmh_buffer *signed_text, bool named,
                                  uint8_t *signature, mmh_error *err)
{
    char hint[65], keyid[128] = "";
    size_t bytes;
    mmh_status status = mmh_signature_sign(signature, &bytes, signer, signed_text->data,
                                           signed_text->bytes, NULL, 0, err);
    if (status == MMH_OK && named) {
        status = mmh_oms_hint(hint, signer, signed_text->allocator, err);
        if (status == MMH_OK)
            (void)snprintf(keyid, sizeof keyid, "%s:%s", signer->signature->name, hint);
    }
    if (status != MMH_OK)
        return status;
    mmh_json_open(json, '{');
    mmh_json_key(json, "sig");
    mmh_json_base64(json, signature, bytes);
    mmh_json_pair(json, "keyid", keyid);
    mmh_json_close(json, '}');
    return MMH_OK;
}

mmh_status mmh_oms_write(struct mmh_buffer *bundle, const struct mmh_oms_manifest *manifest,
                         const struct mmh_key_part *const *signers, size_t signer_count,
                         mmh_error *err)
{
    struct mmh_buffer payload, signed_text;
    struct mmh_json_writer json;
    uint8_t *signature = NULL;
    char hint[65];
    if (!signer_count || signer_count > MMH_OMS_SIGNATURES_MAX)
        return mmh_fail(err, MMH_E_USAGE, "a bundle has 1 to %d signatures, not %zu",
                        MMH_OMS_SIGNATURES_MAX, signer_count);
    const struct mmh_key_part *first = first_signer(signers, signer_count);
    mmh_buffer_init(&payload, bundle->allocator);
    mmh_buffer_init(&signed_text, bundle->allocator);
    mmh_status status = statement_text(&payload, manifest, err);
    if (status != MMH_OK)
        goto done;
    mmh_oms_signed_text(&signed_text, payload_type, payload.data, payload.bytes);
    status = mmh_buffer_finish(&signed_text, "what is signed", err);
    if (status == MMH_OK)
        status = mmh_oms_hint(hint, first, bundle->allocator, err);
    if (status != MMH_OK)
        goto done;
    signature = mmh_alloc(bundle->allocator, 0, MMH_SIGNATURE_BYTES_MAX);
    if (!signature) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for a signature");
        goto done;
    }
    mmh_json_writer_init(&json, bundle);
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "mediaType", "application/vnd.dev.sigstore.bundle.v0.3+json");
    mmh_json_key(&json, "verificationMaterial");
    mmh_json_open(&json, '{');
    mmh_json_key(&json, "publicKey");
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "hint", hint);
    mmh_json_close(&json, '}');
    mmh_json_key(&json, "tlogEntries");
    mmh_json_open(&json, '[');
    mmh_json_close(&json, ']');
    mmh_json_close(&json, '}');
    mmh_json_key(&json, "dsseEnvelope");
    mmh_json_open(&json, '{');
    mmh_json_key(&json, "payload");
    mmh_json_base64(&json, payload.data, payload.bytes);
    mmh_json_pair(&json, "payloadType", payload_type);
    mmh_json_key(&json, "signatures");
    mmh_json_open(&json, '[');
    status = signature_write(&json, first, &signed_text, !is_standard(first->signature), signature,
                             err);
    for (size_t i = 0; i < signer_count && status == MMH_OK; i++)
        if (signers[i] != first)
            status = signature_write(&json, signers[i], &signed_text, true, signature, err);
    if (status != MMH_OK)
        goto done;
    mmh_json_close(&json, ']');
    mmh_json_close(&json, '}');
    mmh_json_close(&json, '}');
    status = mmh_buffer_finish(bundle, "bundle", err);
done:
    mmh_free(bundle->allocator, signature);
    mmh_buffer_release(&signed_text);
    mmh_buffer_release(&payload);
    return status;
}

/* ---- checking ---- */

/* Whether a signature may be by a key, by what the bundle says of it; `hint` is the key's. */
static bool may_be_by(const struct mmh_oms_signature *signature, const struct mmh_key_part *part,
                      const char *hint)
{
    const char *keyid = signature->keyid, *colon = strchr(keyid, ':');
    if (!colon) /* the keyid means nothing to the specification, and its hint may be made otherwise */
        return is_standard(part->signature);
    return strlen(part->signature->name) == (size_t)(colon - keyid) &&
           memcmp(keyid, part->signature->name, (size_t)(colon - keyid)) == 0 &&
           strcmp(colon + 1, hint) == 0;
}

/* What one key has to do with one signature. */
static mmh_status judge_one(struct mmh_judge *judge, size_t key, const char *hint,
                            const struct mmh_oms_bundle *bundle, size_t number,
                            const struct mmh_buffer *signed_text, struct mmh_policy_counts *seen,
                            mmh_error *err)
{
    const struct mmh_oms_signature *signature = &bundle->signatures[number];
    mmh_error problem = { MMH_OK, "" };
    if (!may_be_by(signature, judge->keys[key].part, hint))
        return MMH_OK;
    const mmh_status status = mmh_signature_verify(judge->keys[key].part, signature->data,
                                                   signature->bytes, signed_text->data,
                                                   signed_text->bytes, NULL, 0, &problem);
    if (status != MMH_OK && status != MMH_E_UNTRUSTED)
        return mmh_fail(err, status, "%s", problem.message);
    /* Another key's signature is no wrong one of this key, unless it is said to be its. */
    if (status != MMH_OK && !strchr(signature->keyid, ':') && strcmp(bundle->hint, hint) != 0)
        return MMH_OK;
    seen->matched = 1;
    seen->right |= status == MMH_OK;
    seen->counted |= mmh_judge_note(judge, key, status == MMH_OK, true, 0);
    return MMH_OK;
}

static mmh_status oms_judge(struct mmh_judge *judge, const struct mmh_oms_bundle *bundle,
                            const struct mmh_buffer *signed_text, mmh_error *err)
{
    struct mmh_policy_counts seen[MMH_OMS_SIGNATURES_MAX] = { { 0 } }; /* each 0 or 1 */
    for (size_t k = 0; k < judge->key_count; k++) {
        char hint[65];
        mmh_status status = mmh_oms_hint(hint, judge->keys[k].part, judge->allocator, err);
        for (size_t i = 0; i < bundle->signature_count && status == MMH_OK; i++)
            status = judge_one(judge, k, hint, bundle, i, signed_text, &seen[i], err);
        if (status != MMH_OK)
            return status;
    }
    for (size_t i = 0; i < bundle->signature_count; i++) {
        judge->counts.matched += seen[i].matched;
        judge->counts.right += seen[i].right;
        judge->counts.counted += seen[i].counted;
    }
    judge->counts.found = bundle->signature_count;
    return MMH_OK;
}

mmh_status mmh_oms_check(const struct mmh_oms_bundle *bundle, const struct mmh_policy *policy,
                         uint64_t now_seconds, struct mmh_policy_counts *counts, mmh_error *err)
{
    struct mmh_judge judge;
    struct mmh_buffer signed_text;
    if (strcmp(bundle->payload_type, payload_type) != 0)
        return mmh_fail(err, MMH_E_UNSUPPORTED,
                        "a bundle of \"%s\": only in-toto statements are read",
                        bundle->payload_type);
    mmh_status status = mmh_judge_init(&judge, policy, now_seconds, err);
    mmh_buffer_init(&signed_text, judge.allocator);
    if (status == MMH_OK) {
        mmh_oms_signed_text(&signed_text, bundle->payload_type, bundle->payload,
                            bundle->payload_bytes);
        status = mmh_buffer_finish(&signed_text, "what was signed", err);
    }
    if (status == MMH_OK)
        status = oms_judge(&judge, bundle, &signed_text, err);
    if (status == MMH_OK && bundle->method != MMH_OMS_KEY && !judge.counts.right && judge.key_count)
        status = mmh_fail(err, MMH_E_UNTRUSTED,
                          "the bundle is signed %s, and not by a key that is given: chains of "
                          "certificates and logs are not checked here, only keys that are given",
                          bundle->method == MMH_OMS_CERTIFICATE ? "with a certificate"
                                                                : "by way of Sigstore");
    if (status == MMH_OK)
        status = mmh_judge_decide(&judge, err);
    if (counts)
        *counts = judge.counts;
    mmh_buffer_release(&signed_text);
    mmh_judge_release(&judge);
    return status;
}
