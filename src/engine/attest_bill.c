/*
 * Bills of materials: a container's cryptography and model as CycloneDX.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: CycloneDX 1.6 (ECMA-424), JSON. Hashes of files are given only where they are what CycloneDX means
 * by their names: roots and content digests of containers are of trees, and stand among the properties.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "engine/attest_audit.h"
#include "trust/store.h"

/* The assets that a container uses, each once. */
struct used {
    const struct mmh_asset **assets; /* [count] */
    size_t count;
};

static void use(struct used *used, const char *name)
{
    const struct mmh_asset *asset = mmh_asset_by_name(name);
    for (size_t i = 0; i < used->count; i++)
        if (used->assets[i] == asset)
            return;
    if (!asset)
        return;
    used->assets[used->count++] = asset;
    if (asset->first)
        use(used, asset->first);
    if (asset->second)
        use(used, asset->second);
}

/* What docs/format.md section 15 wraps a file key with for a kind of recipient. */
static void use_recipient(struct used *used, const char *algorithm)
{
    use(used, algorithm);
    if (strcmp(algorithm, "x25519") == 0 || strcmp(algorithm, "x-wing") == 0) {
        use(used, "hkdf-sha256");
        use(used, "chacha20-poly1305");
    } else if (strcmp(algorithm, "passphrase") == 0) {
        use(used, "chacha20-poly1305");
    } else {
        use(used, "hkdf-sha384");
        use(used, "aes-256-gcm");
    }
}

static void use_all(struct used *used, const struct mmh_audit *audit)
{
    const mmh_security_info *security = &audit->security;
    const bool sha384 = strcmp(security->hash_suite, "sha384") == 0;
    use(used, security->hash_suite);
    if (security->encrypted) {
        use(used, security->aead ? security->aead : "");
        use(used, sha384 ? "hkdf-sha384" : "hkdf-sha256");
        use(used, sha384 ? "hmac-sha384" : "hmac-sha256");
    }
    for (size_t i = 0; i < security->recipient_count; i++)
        use_recipient(used, audit->recipients[i].algorithm);
    for (size_t i = 0; i < security->signature_count; i++)
        use(used, audit->signatures[i].algorithm);
}

/* "crypto/ml-dsa-65" */
static void reference(struct mmh_json_writer *json, const char *kind, const char *name)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%s/%s", kind, name);
    mmh_json_text(json, text);
}

static void property(struct mmh_json_writer *json, const char *name, const char *value)
{
    mmh_json_open(json, '{');
    mmh_json_pair(json, "name", name);
    mmh_json_pair(json, "value", value);
    mmh_json_close(json, '}');
}

static void property_number(struct mmh_json_writer *json, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    property(json, name, text);
}

/* ---- cryptography ---- */

static void write_asset(struct mmh_json_writer *json, const struct mmh_asset *asset)
{
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "cryptographic-asset");
    mmh_json_key(json, "bom-ref");
    reference(json, "crypto", asset->name);
    mmh_json_pair(json, "name", asset->title);
    mmh_json_key(json, "cryptoProperties");
    mmh_json_open(json, '{');
    mmh_json_pair(json, "assetType", "algorithm");
    mmh_json_key(json, "algorithmProperties");
    mmh_json_open(json, '{');
    mmh_json_pair(json, "primitive", asset->primitive);
    if (asset->parameters)
        mmh_json_pair(json, "parameterSetIdentifier", asset->parameters);
    mmh_json_pair(json, "executionEnvironment", "software-plain-ram");
    mmh_json_pair(json, "implementationPlatform", "unknown");
    mmh_json_key(json, "certificationLevel");
    mmh_json_open(json, '[');
    mmh_json_text(json, "none");
    mmh_json_close(json, ']');
    if (strcmp(asset->name, "aes-256-gcm") == 0)
        mmh_json_pair(json, "mode", "gcm");
    if (strcmp(asset->name, "rsa-oaep") == 0)
        mmh_json_pair(json, "padding", "oaep");
    mmh_json_key(json, "cryptoFunctions");
    mmh_json_open(json, '[');
    for (const char *at = asset->functions; *at;) {
        char function[32];
        const size_t bytes = strcspn(at, " ");
        (void)snprintf(function, sizeof function, "%.*s", (int)bytes, at);
        mmh_json_text(json, function);
        at += bytes + (at[bytes] == ' ');
    }
    mmh_json_close(json, ']');
    if (asset->classical_bits) {
        mmh_json_key(json, "classicalSecurityLevel");
        mmh_json_number(json, asset->classical_bits);
    }
    if (asset->quantum_level >= 0) {
        mmh_json_key(json, "nistQuantumSecurityLevel");
        mmh_json_number(json, (uint64_t)asset->quantum_level);
    }
    mmh_json_close(json, '}');
    if (asset->oid)
        mmh_json_pair(json, "oid", asset->oid);
    mmh_json_close(json, '}');
    mmh_json_close(json, '}');
}

/* Whether an earlier signature is by the same key. */
static bool key_was_written(const struct mmh_audit *audit, size_t number)
{
    for (size_t i = 0; i < number; i++)
        if (memcmp(audit->signatures[i].fingerprint, audit->signatures[number].fingerprint,
                   sizeof audit->signatures[i].fingerprint) == 0)
            return true;
    return false;
}

/* The public key of a signature, by its fingerprint. */
static void write_key(struct mmh_json_writer *json, const mmh_signature_info *signature)
{
    char print[2 * sizeof signature->fingerprint + 1];
    mmh_hex(print, signature->fingerprint, sizeof signature->fingerprint);
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "cryptographic-asset");
    mmh_json_key(json, "bom-ref");
    reference(json, "key", print);
    mmh_json_pair(json, "name", "key that a signature names");
    mmh_json_key(json, "cryptoProperties");
    mmh_json_open(json, '{');
    mmh_json_pair(json, "assetType", "related-crypto-material");
    mmh_json_key(json, "relatedCryptoMaterialProperties");
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "public-key");
    mmh_json_pair(json, "id", print);
    if (mmh_asset_by_name(signature->algorithm)) {
        mmh_json_key(json, "algorithmRef");
        reference(json, "crypto", signature->algorithm);
    }
    mmh_json_close(json, '}');
    mmh_json_close(json, '}');
    mmh_json_close(json, '}');
}

/* ---- model ---- */

static void write_file(struct mmh_json_writer *json, const struct mmh_audit *audit, size_t number)
{
    const struct mmh_audit_file *file = &audit->files[number];
    char text[32];
    (void)snprintf(text, sizeof text, "%zu", number + 1);
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "file");
    mmh_json_key(json, "bom-ref");
    reference(json, "file", text);
    mmh_json_pair(json, "name", file->name);
    if (audit->hashed) {
        mmh_json_key(json, "hashes");
        mmh_json_open(json, '[');
        mmh_json_open(json, '{');
        mmh_json_pair(json, "alg", "SHA-256");
        mmh_json_key(json, "content");
        mmh_json_hex(json, file->sha256, sizeof file->sha256);
        mmh_json_close(json, '}');
        mmh_json_close(json, ']');
    }
    mmh_json_key(json, "properties");
    mmh_json_open(json, '[');
    property_number(json, "mmh:bytes", file->bytes);
    property(json, "mmh:format", file->format);
    property_number(json, "mmh:tensors", file->tensor_count);
    mmh_json_close(json, ']');
    mmh_json_close(json, '}');
}

static void write_model(struct mmh_json_writer *json, const struct mmh_audit *audit)
{
    const size_t bytes = strlen(audit->name);
    char name[256];
    (void)snprintf(
        name, sizeof name, "%.*s",
        (int)(bytes > 4 && strcmp(audit->name + bytes - 4, ".mmh") == 0 ? bytes - 4 : bytes),
        audit->name);
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "machine-learning-model");
    mmh_json_pair(json, "bom-ref", "model");
    mmh_json_pair(json, "name", name);
    mmh_json_key(json, "properties");
    mmh_json_open(json, '[');
    if (audit->files_known) {
        property_number(json, "mmh:bytes", audit->original_bytes);
        property_number(json, "mmh:files", audit->file_count);
        property_number(json, "mmh:tensors", audit->tensor_count);
    } else {
        property(json, "mmh:files", "encrypted");
    }
    mmh_json_close(json, ']');
    if (audit->file_count) {
        mmh_json_key(json, "components");
        mmh_json_open(json, '[');
        for (size_t i = 0; i < audit->file_count; i++)
            write_file(json, audit, i);
        mmh_json_close(json, ']');
    }
    mmh_json_close(json, '}');
}

/* ---- the bill ---- */

/* A serial number that is of this container: a UUID of version 8 out of the root. */
static void write_serial(struct mmh_json_writer *json, const mmh_security_info *security)
{
    uint8_t id[16];
    char text[64];
    memcpy(id, security->root, sizeof id);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x80);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    (void)snprintf(text, sizeof text,
                   "urn:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10],
                   id[11], id[12], id[13], id[14], id[15]);
    mmh_json_pair(json, "serialNumber", text);
}

static void write_metadata(struct mmh_json_writer *json, const struct mmh_audit *audit)
{
    const mmh_security_info *security = &audit->security;
    char time[24], root[2 * sizeof security->root + 1];
    mmh_hex(root, security->root, security->root_bytes);
    mmh_time_text(time, audit->time_seconds);
    mmh_json_key(json, "metadata");
    mmh_json_open(json, '{');
    if (audit->time_seconds)
        mmh_json_pair(json, "timestamp", time);
    mmh_json_key(json, "tools");
    mmh_json_open(json, '{');
    mmh_json_key(json, "components");
    mmh_json_open(json, '[');
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "application");
    mmh_json_pair(json, "name", "mmh");
    mmh_json_pair(json, "version", MMH_VERSION_STRING);
    mmh_json_close(json, '}');
    mmh_json_close(json, ']');
    mmh_json_close(json, '}');
    mmh_json_key(json, "component");
    mmh_json_open(json, '{');
    mmh_json_pair(json, "type", "file");
    mmh_json_pair(json, "bom-ref", "container");
    mmh_json_pair(json, "name", audit->name);
    mmh_json_key(json, "properties");
    mmh_json_open(json, '[');
    property(json, "mmh:root", root);
    property(json, "mmh:hash-suite", security->hash_suite);
    property(json, "mmh:encrypted", security->encrypted ? "yes" : "no");
    property_number(json, "mmh:recipients", security->recipient_count);
    property_number(json, "mmh:signatures", security->signature_count);
    for (size_t p = 0; p < MMH_PROFILE_COUNT; p++) {
        char name[48];
        (void)snprintf(name, sizeof name, "mmh:profile:%s", mmh_profile_row(p)->name);
        property(json, name, mmh_audit_meets(audit, mmh_profile_row(p)->name) ? "met" : "not met");
    }
    mmh_json_close(json, ']');
    mmh_json_close(json, '}');
    mmh_json_close(json, '}');
}

static void write_dependencies(struct mmh_json_writer *json, const struct used *used)
{
    mmh_json_key(json, "dependencies");
    mmh_json_open(json, '[');
    mmh_json_open(json, '{');
    mmh_json_pair(json, "ref", "container");
    mmh_json_key(json, "dependsOn");
    mmh_json_open(json, '[');
    mmh_json_text(json, "model");
    for (size_t i = 0; i < used->count; i++)
        reference(json, "crypto", used->assets[i]->name);
    mmh_json_close(json, ']');
    mmh_json_close(json, '}');
    for (size_t i = 0; i < used->count; i++) {
        const struct mmh_asset *asset = used->assets[i];
        if (!asset->first)
            continue;
        mmh_json_open(json, '{');
        mmh_json_key(json, "ref");
        reference(json, "crypto", asset->name);
        mmh_json_key(json, "dependsOn");
        mmh_json_open(json, '[');
        reference(json, "crypto", asset->first);
        if (asset->second)
            reference(json, "crypto", asset->second);
        mmh_json_close(json, ']');
        mmh_json_close(json, '}');
    }
    mmh_json_close(json, ']');
}

mmh_status mmh_audit_bill(const struct mmh_audit *audit, struct mmh_buffer *text, mmh_error *err)
{
    struct mmh_json_writer json;
    struct used used = { .assets = mmh_alloc_array(audit->allocator, mmh_asset_count(),
                                                   sizeof *used.assets) };
    if (!used.assets)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for a bill of materials");
    use_all(&used, audit);
    mmh_json_writer_init(&json, text);
    mmh_json_open(&json, '{');
    mmh_json_pair(&json, "$schema", "http://cyclonedx.org/schema/bom-1.6.schema.json");
    mmh_json_pair(&json, "bomFormat", "CycloneDX");
    mmh_json_pair(&json, "specVersion", "1.6");
    write_serial(&json, &audit->security);
    mmh_json_key(&json, "version");
    mmh_json_number(&json, 1);
    write_metadata(&json, audit);
    mmh_json_key(&json, "components");
    mmh_json_open(&json, '[');
    write_model(&json, audit);
    for (size_t i = 0; i < used.count; i++)
        write_asset(&json, used.assets[i]);
    for (size_t i = 0; i < audit->security.signature_count; i++)
        if (!key_was_written(audit, i))
            write_key(&json, &audit->signatures[i]);
    mmh_json_close(&json, ']');
    write_dependencies(&json, &used);
    mmh_json_close(&json, '}');
    mmh_free(audit->allocator, (void *)used.assets);
    return mmh_buffer_finish(text, "bill of materials", err);
}
