/*
 * Reading Model Signing bundles: JSON in, a payload and its signatures out; then the list in the payload.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Strict where the specification's schemas are: unknown fields only where those allow them, no field
 * twice. Source: OpenSSF Model Signing specification 1.0 and its schemas; Sigstore bundle 0.3.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/json.h"
#include "trust/oms.h"
#include "trust/text.h"

enum { DIGITS_MAX = 18 }; /* of sizes: they fit then */

/* ---- objects ---- */

/* A field of an object that is being read. */
struct field {
    const char *name;
    bool required;
};

/*
 * The next key of an object: its number in fields [count], or `count` for one that is not there.
 *
 *   seen  bits of the fields that there were
 *
 * False at the end of the object (which is rejected if a required field was missing) and after an error.
 */
static bool next_field(struct mmh_json *json, const struct field *fields, size_t count,
                       unsigned *seen, size_t *number)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_KEY) {
        for (size_t i = 0; i < count && token.kind == MMH_JSON_OBJECT_END; i++)
            if (fields[i].required && !(*seen >> i & 1))
                mmh_json_reject(json, &token, "a field is missing in the object that ends here");
        return false;
    }
    for (*number = 0; *number < count; (*number)++)
        if (mmh_json_is(&token, fields[*number].name))
            break;
    if (*number < count) {
        if (*seen >> *number & 1)
            mmh_json_reject(json, &token, "this field is there twice");
        *seen |= 1u << *number;
    }
    return !json->problem;
}

/* For fields that may not be: what the schemas do not know could mean anything. */
static void refuse_field(struct mmh_json *json)
{
    struct mmh_json_token token;
    (void)mmh_json_next(json, &token);
    mmh_json_reject(json, &token, "this is the value of an unknown field");
}

static bool open_object(struct mmh_json *json)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_OBJECT) {
        mmh_json_reject(json, &token, "an object is expected");
        return false;
    }
    return true;
}

static bool open_array(struct mmh_json *json)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY) {
        mmh_json_reject(json, &token, "an array is expected");
        return false;
    }
    return true;
}

/* ---- values ---- */

/* A string without NULs; NULL after an error or without memory. */
static const char *read_text(struct mmh_json *json, struct mmh_arena *arena)
{
    struct mmh_json_token token;
    size_t bytes;
    if (mmh_json_next(json, &token) != MMH_JSON_STRING) {
        mmh_json_reject(json, &token, "a text is expected");
        return NULL;
    }
    const char *text = mmh_json_string(&token, arena, &bytes);
    if (text && strlen(text) != bytes) {
        mmh_json_reject(json, &token, "this text has a NUL in it");
        return NULL;
    }
    return text;
}

/* Bytes in base64; NULL after an error or without memory. */
static const uint8_t *read_base64(struct mmh_json *json, struct mmh_arena *arena, size_t *bytes)
{
    struct mmh_json_token token;
    size_t text_bytes;
    *bytes = 0;
    if (mmh_json_next(json, &token) != MMH_JSON_STRING || !token.bytes) {
        mmh_json_reject(json, &token, "bytes in base64 are expected");
        return NULL;
    }
    const char *text = mmh_json_string(&token, arena, &text_bytes);
    uint8_t *data = text ? mmh_arena_alloc(arena, 1, text_bytes / 4 * 3) : NULL;
    if (data && !mmh_text_from_base64(data, bytes, text, text_bytes)) {
        mmh_json_reject(json, &token, "this is not base64");
        return NULL;
    }
    return data;
}

/* ---- verification material ---- */

/* Pass over an array of certificates or log entries, or the null that some write for none. */
static size_t count_items(struct mmh_json *json)
{
    struct mmh_json_token token;
    size_t count = 0;
    if (mmh_json_next(json, &token) == MMH_JSON_NULL)
        return 0;
    if (token.kind != MMH_JSON_ARRAY) {
        mmh_json_reject(json, &token, "an array is expected");
        return 0;
    }
    while (mmh_json_next(json, &token) == MMH_JSON_OBJECT) {
        mmh_json_skip_rest(json, &token);
        count++;
    }
    if (token.kind != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "an object is expected");
    return count;
}

static void read_public_key(struct mmh_json *json, struct mmh_oms_bundle *bundle)
{
    static const struct field fields[] = { { "hint", false }, { "rawBytes", false } };
    struct mmh_json_token token;
    unsigned seen = 0;
    size_t number;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number)) {
        struct mmh_json ahead = *json;
        if (number == 0 && mmh_json_next(&ahead, &token) != MMH_JSON_NULL)
            bundle->hint = read_text(json, &bundle->arena);
        else
            mmh_json_skip_value(json);
    }
    if (!seen && !json->problem) {
        (void)mmh_json_next(json, &token);
        mmh_json_reject(json, &token, "the public key before this has neither hint nor rawBytes");
    }
}

/* A certificate: an object with its bytes. */
static void read_certificate(struct mmh_json *json, struct mmh_arena *arena)
{
    static const struct field fields[] = { { "rawBytes", true } };
    unsigned seen = 0;
    size_t number, bytes;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            (void)read_base64(json, arena, &bytes);
        else
            mmh_json_skip_value(json);
}

static void read_chain(struct mmh_json *json)
{
    static const struct field fields[] = { { "certificates", true } };
    struct mmh_json_token token;
    unsigned seen = 0;
    size_t number, count = 0;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            count = count_items(json);
        else
            mmh_json_skip_value(json);
    if (!count && !json->problem) {
        (void)mmh_json_next(json, &token);
        mmh_json_reject(json, &token, "the chain before this has no certificate");
    }
}

static void read_material(struct mmh_json *json, struct mmh_oms_bundle *bundle)
{
    static const struct field fields[] = { { "publicKey", false },
                                           { "x509CertificateChain", false },
                                           { "certificate", false },
                                           { "tlogEntries", false } };
    struct mmh_json_token token;
    unsigned seen = 0;
    size_t number, entries = 0;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            read_public_key(json, bundle);
        else if (number == 1)
            read_chain(json);
        else if (number == 2)
            read_certificate(json, &bundle->arena);
        else if (number == 3)
            entries = count_items(json);
        else
            mmh_json_skip_value(json);
    if (json->problem)
        return;
    const unsigned kind = seen & 7;
    bundle->method = kind == 1 ? MMH_OMS_KEY : kind == 2 ? MMH_OMS_CERTIFICATE : MMH_OMS_SIGSTORE;
    if (mmh_popcount32(kind) != 1 || (bundle->method == MMH_OMS_SIGSTORE && !entries)) {
        (void)mmh_json_next(json, &token);
        mmh_json_reject(json, &token,
                        mmh_popcount32(kind) != 1
                            ? "the verification material before this is not of one kind"
                            : "the certificate before this has no log entry");
    }
}

/* ---- envelope ---- */

static void read_signature(struct mmh_json *json, struct mmh_oms_bundle *bundle)
{
    static const struct field fields[] = { { "sig", true }, { "keyid", false } };
    struct mmh_oms_signature signature = { .keyid = "" };
    struct mmh_json_token token;
    unsigned seen = 0;
    size_t number;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number)) {
        struct mmh_json ahead = *json;
        if (number == 0)
            signature.data = read_base64(json, &bundle->arena, &signature.bytes);
        else if (number == 1 && mmh_json_next(&ahead, &token) != MMH_JSON_NULL)
            signature.keyid = read_text(json, &bundle->arena);
        else if (number == 1)
            mmh_json_skip_value(json);
        else
            refuse_field(json);
    }
    bundle->signatures[bundle->signature_count++] = signature;
}

static void read_signatures(struct mmh_json *json, struct mmh_oms_bundle *bundle)
{
    struct mmh_json_token token;
    if (!open_array(json))
        return;
    while (mmh_json_next(json, &token) == MMH_JSON_OBJECT) {
        if (bundle->signature_count == MMH_OMS_SIGNATURES_MAX) {
            mmh_json_reject(json, &token, "this is one signature too many");
            return;
        }
        read_signature(json, bundle);
    }
    if (token.kind != MMH_JSON_ARRAY_END || !bundle->signature_count)
        mmh_json_reject(json, &token, "a signature is expected");
}

static void read_envelope(struct mmh_json *json, struct mmh_oms_bundle *bundle)
{
    static const struct field fields[] = { { "payload", true },
                                           { "payloadType", true },
                                           { "signatures", true } };
    unsigned seen = 0;
    size_t number;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            bundle->payload = read_base64(json, &bundle->arena, &bundle->payload_bytes);
        else if (number == 1)
            bundle->payload_type = read_text(json, &bundle->arena);
        else if (number == 2)
            read_signatures(json, bundle);
        else
            refuse_field(json);
}

/* Everything that is a pointer is there. */
static bool has_all(const struct mmh_oms_bundle *bundle)
{
    for (size_t i = 0; i < bundle->signature_count; i++)
        if (!bundle->signatures[i].data || !bundle->signatures[i].keyid)
            return false;
    return bundle->payload && bundle->payload_type && bundle->hint;
}

static bool media_type_is_known(const char *type)
{
    static const char *const types[] = { "application/vnd.dev.sigstore.bundle.v0.3+json",
                                         "application/vnd.dev.sigstore.bundle+json;version=0.3",
                                         "application/vnd.dev.sigstore.bundle+json;version=0.2",
                                         "application/vnd.dev.sigstore.bundle+json;version=0.1" };
    for (size_t i = 0; i < MMH_COUNT_OF(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

mmh_status mmh_oms_read(struct mmh_oms_bundle *bundle, const void *text, size_t bytes,
                        const mmh_allocator *allocator, mmh_error *err)
{
    static const struct field fields[] = { { "mediaType", true },
                                           { "verificationMaterial", true },
                                           { "dsseEnvelope", true } };
    struct mmh_json json;
    const char *type = NULL;
    unsigned seen = 0;
    size_t number;
    memset(bundle, 0, sizeof *bundle);
    mmh_arena_init(&bundle->arena, allocator);
    bundle->hint = "";
    if (bytes > MMH_OMS_BYTES_MAX)
        return mmh_fail(err, MMH_E_LIMIT, "a bundle of %zu bytes, over %d", bytes,
                        MMH_OMS_BYTES_MAX);
    mmh_json_init(&json, text, bytes);
    const bool opened = open_object(&json);
    while (opened && next_field(&json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            type = read_text(&json, &bundle->arena);
        else if (number == 1)
            read_material(&json, bundle);
        else if (number == 2)
            read_envelope(&json, bundle);
        else
            refuse_field(&json);
    mmh_status status = mmh_json_finish(&json, "bundle", err);
    if (status != MMH_OK)
        return status;
    if (!type || !has_all(bundle))
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a bundle");
    if (!media_type_is_known(type))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "a bundle of type \"%s\": it is not known", type);
    return MMH_OK;
}

void mmh_oms_release(struct mmh_oms_bundle *bundle)
{
    mmh_arena_release(&bundle->arena);
}

/* ---- the list ---- */

/* What is being read of a statement. */
struct reading {
    struct mmh_json json;
    struct mmh_arena *arena;
    struct mmh_oms_manifest *manifest;
    struct mmh_buffer resources; /* structs mmh_oms_resource */
    unsigned resources_hash;     /* that they name; MMH_FILE_HASH_COUNT: none yet */
    uint64_t resources_shard;    /* that they name; 0: none */
    uint8_t root[32];            /* that the subject has */
    struct mmh_buffer digests;   /* of the resources, in their order */
    bool shards, out_of_memory;
};

static void read_subject(struct reading *reading)
{
    static const struct field fields[] = { { "name", true }, { "digest", true } };
    static const struct field digests[] = { { "sha256", true } };
    struct mmh_json *json = &reading->json;
    struct mmh_json_token token;
    unsigned seen = 0, seen_digests = 0;
    size_t number;
    if (!open_array(json) || !open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number)) {
        if (number == 0) {
            reading->manifest->model = read_text(json, reading->arena);
        } else if (number == 1 && open_object(json)) {
            while (next_field(json, digests, 1, &seen_digests, &number)) {
                const bool sha256 = number == 0;
                if (mmh_json_next(json, &token) != MMH_JSON_STRING ||
                    (sha256 && (token.bytes != 64 ||
                                !mmh_text_from_hex(reading->root, token.text, token.bytes))))
                    mmh_json_reject(json, &token, "a digest is expected");
            }
        } else if (number > 1) {
            mmh_json_skip_value(json);
        }
    }
    if (mmh_json_next(json, &token) != MMH_JSON_ARRAY_END)
        mmh_json_reject(json, &token, "only one subject may be");
}

/* The digits of text [bytes] as a number that is not 0; 0 if it is none. */
static uint64_t number_of(const char *text, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || i == DIGITS_MAX)
            return 0;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    return value;
}

/* The hash of a name, which model_signing writes as "sha256-sharded-1000" for parts of files: *shard_bytes,
 * else 0. MMH_FILE_HASH_COUNT after an error. */
static unsigned read_hash(struct mmh_json *json, uint64_t *shard_bytes)
{
    static const char sharded[] = "-sharded-";
    struct mmh_json_token token;
    *shard_bytes = 0;
    if (mmh_json_next(json, &token) == MMH_JSON_STRING)
        for (unsigned id = 0; id < MMH_FILE_HASH_COUNT; id++) {
            const size_t name = strlen(mmh_file_hash_name(id)), prefix = name + sizeof sharded - 1;
            if (mmh_json_is(&token, mmh_file_hash_name(id)))
                return id;
            if (!token.escaped && token.bytes > prefix &&
                memcmp(token.text, mmh_file_hash_name(id), name) == 0 &&
                memcmp(token.text + name, sharded, sizeof sharded - 1) == 0) {
                *shard_bytes = number_of(token.text + prefix, token.bytes - prefix);
                if (*shard_bytes)
                    return id;
            }
        }
    mmh_json_reject(json, &token, "this hash is not known");
    return MMH_FILE_HASH_COUNT;
}

static void read_resource(struct reading *reading)
{
    static const struct field fields[] = { { "name", true },
                                           { "digest", true },
                                           { "algorithm", true } };
    struct mmh_json *json = &reading->json;
    struct mmh_oms_resource resource;
    struct mmh_json_token digest = { 0 };
    unsigned seen = 0, hash = MMH_FILE_HASH_COUNT;
    uint64_t shard_bytes = 0;
    size_t number;
    memset(&resource, 0, sizeof resource);
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            resource.path = read_text(json, reading->arena);
        else if (number == 1)
            (void)mmh_json_next(json, &digest);
        else if (number == 2)
            hash = read_hash(json, &shard_bytes);
        else
            mmh_json_skip_value(json);
    if (json->problem)
        return;
    if (!resource.path) {
        reading->out_of_memory = true;
        return;
    }
    const size_t bytes = mmh_file_hash_bytes(hash);
    if (digest.kind != MMH_JSON_STRING || digest.bytes != 2 * bytes ||
        !mmh_text_from_hex(resource.digest, digest.text, digest.bytes))
        mmh_json_reject(json, &digest, "this is not a digest of the algorithm that is named");
    else if (reading->resources_hash != MMH_FILE_HASH_COUNT &&
             (reading->resources_hash != hash || reading->resources_shard != shard_bytes))
        mmh_json_reject(json, &digest, "this digest is of another algorithm than those before");
    reading->resources_hash = hash;
    reading->resources_shard = shard_bytes;
    mmh_buffer_bytes(&reading->resources, &resource, sizeof resource);
    mmh_buffer_bytes(&reading->digests, resource.digest, bytes);
}

static void read_resources(struct reading *reading)
{
    struct mmh_json_token token;
    bool any = false;
    if (!open_array(&reading->json))
        return;
    while (mmh_json_next(&reading->json, &token) == MMH_JSON_OBJECT) {
        read_resource(reading);
        any = true;
    }
    if (token.kind != MMH_JSON_ARRAY_END || !any)
        mmh_json_reject(&reading->json, &token, "a file of the model is expected");
}

static void read_ignored(struct reading *reading)
{
    struct mmh_oms_manifest *manifest = reading->manifest;
    struct mmh_json_token token;
    struct mmh_json again = reading->json;
    size_t count = 0;
    if (!open_array(&reading->json))
        return;
    while (mmh_json_next(&reading->json, &token) == MMH_JSON_STRING)
        count++;
    if (token.kind != MMH_JSON_ARRAY_END) {
        mmh_json_reject(&reading->json, &token, "a path is expected");
        return;
    }
    const char **paths = mmh_arena_array(reading->arena, count, sizeof *paths);
    (void)mmh_json_next(&again, &token);
    for (size_t i = 0; paths && i < count; i++) {
        (void)mmh_json_next(&again, &token);
        paths[i] = mmh_json_string(&token, reading->arena, NULL);
        if (!paths[i])
            reading->out_of_memory = true;
    }
    if (!paths)
        reading->out_of_memory = true;
    manifest->ignored = paths;
    manifest->ignored_count = paths ? count : 0;
}

/* A whole number; some write "1000000000.0". */
static uint64_t read_size(struct mmh_json *json)
{
    struct mmh_json_token token;
    (void)mmh_json_next(json, &token);
    uint64_t value = 0;
    size_t at = 0;
    for (; token.kind == MMH_JSON_NUMBER && at < token.bytes && at < DIGITS_MAX &&
           token.text[at] >= '0' && token.text[at] <= '9';
         at++)
        value = value * 10 + (uint64_t)(token.text[at] - '0');
    if (token.bytes == at + 2 && memcmp(token.text + at, ".0", 2) == 0)
        at += 2;
    if (token.kind != MMH_JSON_NUMBER || at != token.bytes || !value)
        mmh_json_reject(json, &token, "a size in bytes is expected");
    return value;
}

static void read_serialization(struct reading *reading)
{
    static const struct field fields[] = { { "method", true },
                                           { "hash_type", true },
                                           { "allow_symlinks", true },
                                           { "shard_size", false },
                                           { "ignore_paths", false } };
    struct mmh_json *json = &reading->json;
    struct mmh_json_token token;
    uint64_t named_shard = 0;
    unsigned seen = 0;
    size_t number;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0) {
            (void)mmh_json_next(json, &token);
            reading->shards = token.kind == MMH_JSON_STRING && mmh_json_is(&token, "shards");
            if (!reading->shards &&
                (token.kind != MMH_JSON_STRING || !mmh_json_is(&token, "files")))
                mmh_json_reject(json, &token, "this method is not known");
        } else if (number == 1) {
            reading->manifest->hash = read_hash(json, &named_shard);
        } else if (number == 2) {
            (void)mmh_json_next(json, &token);
            reading->manifest->symlinks = token.kind == MMH_JSON_TRUE;
            if (token.kind != MMH_JSON_TRUE && token.kind != MMH_JSON_FALSE)
                mmh_json_reject(json, &token, "true or false is expected");
        } else if (number == 3) {
            reading->manifest->shard_bytes = read_size(json);
        } else if (number == 4) {
            read_ignored(reading);
        } else {
            refuse_field(json);
        }
    if (!json->problem &&
        (reading->shards != (reading->manifest->shard_bytes != 0) || named_shard)) {
        (void)mmh_json_next(json, &token);
        mmh_json_reject(json, &token, "method and shard_size before this do not go together");
    }
}

static void read_predicate(struct reading *reading)
{
    static const struct field fields[] = { { "resources", true }, { "serialization", true } };
    unsigned seen = 0;
    size_t number;
    if (!open_object(&reading->json))
        return;
    while (next_field(&reading->json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            read_resources(reading);
        else if (number == 1)
            read_serialization(reading);
        else
            refuse_field(&reading->json);
}

/* A field whose value can only be one text. */
static void read_constant(struct mmh_json *json, const char *text, const char *problem)
{
    struct mmh_json_token token;
    if (mmh_json_next(json, &token) != MMH_JSON_STRING || !mmh_json_is(&token, text))
        mmh_json_reject(json, &token, problem);
}

static void read_statement(struct reading *reading)
{
    static const struct field fields[] = {
        { "_type", true }, { "subject", true }, { "predicateType", true }, { "predicate", true }
    };
    struct mmh_json *json = &reading->json;
    unsigned seen = 0;
    size_t number;
    if (!open_object(json))
        return;
    while (next_field(json, fields, MMH_COUNT_OF(fields), &seen, &number))
        if (number == 0)
            read_constant(json, "https://in-toto.io/Statement/v1",
                          "this is no in-toto statement 1");
        else if (number == 1)
            read_subject(reading);
        else if (number == 2)
            read_constant(json, "https://model_signing/signature/v1.0",
                          "this is no list of a model's files, version 1.0");
        else if (number == 3)
            read_predicate(reading);
        else
            refuse_field(json);
}

/* Take ":<begin>:<end>" off the end of a name. */
static bool cut_range(char *name, struct mmh_oms_resource *resource)
{
    uint64_t *const values[2] = { &resource->end, &resource->begin };
    for (unsigned i = 0; i < 2; i++) {
        char *colon = strrchr(name, ':');
        size_t digits = 0;
        *values[i] = 0;
        if (!colon)
            return false;
        for (const char *at = colon + 1; *at >= '0' && *at <= '9' && digits < DIGITS_MAX; at++)
            *values[i] = *values[i] * 10 + (uint64_t)(colon[1 + digits++] - '0');
        if (!digits || colon[1 + digits] || (digits > 1 && colon[1] == '0'))
            return false;
        *colon = 0;
    }
    return resource->begin < resource->end;
}

/* Names lead into the model, are there once, and are what the subject's digest is of. */
static mmh_status manifest_check(struct reading *reading, mmh_error *err)
{
    struct mmh_oms_manifest *manifest = reading->manifest;
    uint8_t root[32];
    if (!mmh_file_hash_available(manifest->hash))
        return mmh_fail(err, MMH_E_UNSUPPORTED, "the bundle's hash, %s, is not in this build",
                        mmh_file_hash_name(manifest->hash));
    mmh_status status = mmh_file_hash(root, MMH_FILE_HASH_SHA256, reading->digests.data,
                                      reading->digests.bytes, err);
    if (status != MMH_OK)
        return status;
    if (memcmp(root, reading->root, sizeof root) != 0)
        return mmh_fail(err, MMH_E_CORRUPT, "the bundle's digest is not that of its list of files");
    for (size_t i = 0; i < manifest->count; i++) {
        struct mmh_oms_resource *resource = &manifest->resources[i];
        if (reading->shards && !cut_range((char *)resource->path, resource)) /* the arena's */
            return mmh_fail(err, MMH_E_CORRUPT,
                            "the bundle names \"%s\", which is no part of a file", resource->path);
        if (strcmp(resource->path, ".") != 0 && !mmh_path_is_relative(resource->path))
            return mmh_fail(err, MMH_E_CORRUPT,
                            "the bundle names \"%s\", which is not in the model", resource->path);
    }
    mmh_oms_sort(manifest->resources, manifest->count);
    for (size_t i = 1; i < manifest->count; i++)
        if (strcmp(manifest->resources[i - 1].path, manifest->resources[i].path) == 0 &&
            manifest->resources[i - 1].begin == manifest->resources[i].begin)
            return mmh_fail(err, MMH_E_CORRUPT, "the bundle names \"%s\" twice",
                            manifest->resources[i].path);
    return MMH_OK;
}

mmh_status mmh_oms_manifest(struct mmh_oms_manifest *manifest, struct mmh_oms_bundle *bundle,
                            mmh_error *err)
{
    struct reading reading = { .arena = &bundle->arena,
                               .manifest = manifest,
                               .resources_hash = MMH_FILE_HASH_COUNT };
    memset(manifest, 0, sizeof *manifest);
    mmh_json_init(&reading.json, bundle->payload, bundle->payload_bytes);
    mmh_buffer_init(&reading.resources, bundle->arena.allocator);
    mmh_buffer_init(&reading.digests, bundle->arena.allocator);
    read_statement(&reading);
    mmh_status status = mmh_json_finish(&reading.json, "signed list of files", err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&reading.resources, "list of files", err);
    if (status == MMH_OK)
        status = mmh_buffer_finish(&reading.digests, "list of digests", err);
    if (status != MMH_OK)
        goto done;
    if (!reading.out_of_memory &&
        (reading.resources_hash != manifest->hash ||
         (reading.resources_shard && reading.resources_shard != manifest->shard_bytes))) {
        status = mmh_fail(err, MMH_E_CORRUPT, "the bundle's digests are not of its hash, %s",
                          mmh_file_hash_name(manifest->hash));
        goto done;
    }
    manifest->count = reading.resources.bytes / sizeof *manifest->resources;
    manifest->resources = mmh_arena_array(&bundle->arena, manifest->count,
                                          sizeof *manifest->resources);
    if (!manifest->resources || !manifest->model || reading.out_of_memory) {
        status = mmh_fail(err, MMH_E_MEMORY, "no memory for a list of %zu files", manifest->count);
        goto done;
    }
    if (manifest->count)
        memcpy(manifest->resources, reading.resources.data, reading.resources.bytes);
    status = manifest_check(&reading, err);
done:
    mmh_buffer_release(&reading.digests);
    mmh_buffer_release(&reading.resources);
    return status;
}
