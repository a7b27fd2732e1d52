/*
 * Keys of include/mmh.h: made, read, written, told about.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/keys.h"

#include <string.h>

#include "base/io.h"
#include "crypto/secret.h"
#include "engine/engine.h"

enum { KEY_FILE_BYTES_MAX = 16 << 20, ALGORITHM_BYTES_MAX = 64 };

struct mmh_key {
    mmh_identity *identity;
};

static const char default_algorithms[] = "ml-dsa-65-ed25519,x-wing";

/* An identity as a key; takes it over, also when it fails. */
static mmh_status key_create(mmh_key **key, mmh_identity *identity, mmh_error *err)
{
    *key = mmh_alloc_array(NULL, 1, sizeof **key);
    if (!*key) {
        mmh_identity_destroy(identity);
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for a key");
    }
    (*key)->identity = identity;
    return MMH_OK;
}

const mmh_identity *mmh_key_identity(const mmh_key *key)
{
    return key->identity;
}

void mmh_key_destroy(mmh_key *key)
{
    if (!key)
        return;
    mmh_identity_destroy(key->identity);
    mmh_free(NULL, key);
}

mmh_status mmh_key_generate(mmh_key **key, const char *algorithms, unsigned rsa_bits,
                            mmh_error *err)
{
    const struct mmh_signature *signature = NULL;
    const struct mmh_kem *kem = NULL;
    mmh_identity *identity;
    *key = NULL;
    for (const char *at = algorithms ? algorithms : default_algorithms; at;) {
        char name[ALGORITHM_BYTES_MAX];
        const char *comma = strchr(at, ',');
        size_t bytes = comma ? (size_t)(comma - at) : strlen(at);
        const struct mmh_signature *signs = NULL;
        const struct mmh_kem *decrypts = NULL;
        if (bytes < sizeof name) {
            memcpy(name, at, bytes);
            name[bytes] = 0;
            signs = mmh_signature_by_name(name);
            decrypts = mmh_kem_by_name(name);
        }
        if (!signs && !decrypts)
            return mmh_fail(err, MMH_E_USAGE, "this build knows no algorithm \"%.*s\"",
                            (int)(bytes < 100 ? bytes : 100), at);
        if ((signs && signature) || (decrypts && kem))
            return mmh_fail(err, MMH_E_USAGE, "a key has one algorithm to %s, not %s and %s",
                            signs ? "sign with" : "encrypt to", signs ? signature->name : kem->name,
                            name);
        signature = signs ? signs : signature;
        kem = decrypts ? decrypts : kem;
        at = comma ? comma + 1 : NULL;
    }
    mmh_status status = mmh_identity_generate(&identity, signature ? signature->name : NULL,
                                              kem ? kem->name : NULL, rsa_bits, NULL, err);
    return status == MMH_OK ? key_create(key, identity, err) : status;
}

mmh_status mmh_key_parse(mmh_key **key, const void *text, size_t bytes, const char *name,
                         mmh_passphrase_fn passphrase, void *user, mmh_error *err)
{
    mmh_identity *identity;
    *key = NULL;
    mmh_status status = mmh_identity_parse(&identity, text, bytes, name ? name : "key", passphrase,
                                           user, NULL, err);
    return status == MMH_OK ? key_create(key, identity, err) : status;
}

mmh_status mmh_key_read(mmh_key **key, const char *path, mmh_passphrase_fn passphrase, void *user,
                        mmh_error *err)
{
    mmh_error why = { 0 };
    uint8_t *text;
    size_t bytes;
    *key = NULL;
    mmh_status status = mmh_input_slurp(&text, &bytes, path, KEY_FILE_BYTES_MAX, NULL, &why);
    if (status == MMH_E_LIMIT)
        return mmh_fail(err, MMH_E_KEY, "%s is too large for keys (at most %d bytes)", path,
                        KEY_FILE_BYTES_MAX);
    if (status != MMH_OK)
        return mmh_fail(err, status, "%s", why.message);
    status = mmh_key_parse(key, text, bytes, path, passphrase, user, err);
    mmh_wipe(text, bytes);
    mmh_free(NULL, text);
    return status;
}

mmh_status mmh_key_write(const mmh_key *key, const char *path, bool secret, const char *passphrase,
                         size_t passphrase_bytes, bool overwrite, mmh_error *err)
{
    const struct mmh_output_options options = { .overwrite = overwrite,
                                                .secret = secret,
                                                .mode = 0644 };
    mmh_output *output = NULL;
    char *text;
    size_t bytes;
    mmh_status status = mmh_identity_write(&text, &bytes, key->identity, secret, passphrase,
                                           passphrase_bytes, err);
    if (status != MMH_OK)
        return status;
    status = mmh_output_create(&output, path, &options, NULL, err);
    if (status == MMH_OK)
        status = mmh_output_append(output, text, bytes, err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    mmh_secret_free(text, bytes + 1);
    return status;
}

/* ---- telling ---- */

static void tell_signature(mmh_key_info *info, const struct mmh_signature *signature)
{
    info->algorithm = signature->name;
    info->signs = true;
    info->classical = signature->classical;
    info->post_quantum = signature->post_quantum;
    info->nist_category = signature->nist_category;
}

static void tell_kem(mmh_key_info *info, const struct mmh_kem *kem)
{
    info->algorithm = kem->name;
    info->classical = kem->classical;
    info->post_quantum = kem->post_quantum;
    info->nist_category = kem->nist_category;
}

mmh_status mmh_key_part(const mmh_key *key, size_t number, mmh_key_info *info, mmh_error *err)
{
    mmh_key_info told = { 0 };
    mmh_status status = mmh_struct_check(info, "mmh_key_info", err);
    if (status != MMH_OK)
        return status;
    if (number >= key->identity->part_count)
        return mmh_fail(err, MMH_E_USAGE, "a key of %zu parts has no part %zu",
                        key->identity->part_count, number);
    const struct mmh_key_part *part = &key->identity->parts[number];
    if (part->signature)
        tell_signature(&told, part->signature);
    else
        tell_kem(&told, part->kem);
    told.secret = part->secret;
    told.bits = part->bits;
    memcpy(told.fingerprint, part->fingerprint, sizeof told.fingerprint);
    mmh_report_copy(info, &told, sizeof told);
    return MMH_OK;
}

mmh_status mmh_algorithm(size_t number, mmh_key_info *info, mmh_error *err)
{
    mmh_key_info told = { 0 };
    mmh_status status = mmh_struct_check(info, "mmh_key_info", err);
    if (status != MMH_OK)
        return status;
    const struct mmh_signature *signature = mmh_signature_at(number);
    const struct mmh_kem *kem = signature ? NULL : mmh_kem_at(number - mmh_signature_count());
    if (signature)
        tell_signature(&told, signature);
    else if (kem)
        tell_kem(&told, kem);
    else
        return mmh_fail(err, MMH_E_USAGE, "there are %zu algorithms, and no number %zu",
                        mmh_signature_count() + mmh_kem_count(), number);
    mmh_report_copy(info, &told, sizeof told);
    return MMH_OK;
}
