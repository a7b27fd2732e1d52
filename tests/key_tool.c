/*
 * For tests of interoperation: makes keys, signs and verifies files, tells what is in files of
 * keys.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     key_tool generate ALGORITHMS STEM [PASSPHRASE]   STEM.key and STEM.pub
 *     key_tool sign KEY IN OUT                         with its first key that signs
 *     key_tool verify KEY IN SIGNATURE
 *     key_tool info KEY [PASSPHRASE]                   a line for each part
 *     key_tool recipient KEY                           age's, of its first key that has one
 *     key_tool times                                   microseconds to make a key, sign and verify
 *
 * Passphrases are arguments here: they are no secrets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "crypto/bech32.h"
#include "engine/keys.h"

static mmh_error err;

static mmh_status answer(void *user, const char *why, char *passphrase, size_t room, size_t *bytes,
                         mmh_error *error)
{
    (void)why;
    if (!user)
        return mmh_fail(error, MMH_E_KEY, "no passphrase");
    *bytes = strlen(user) < room ? strlen(user) : room;
    memcpy(passphrase, user, *bytes);
    return MMH_OK;
}

static mmh_status generate(const char *algorithms, const char *stem, const char *passphrase)
{
    char path[1024];
    mmh_key *key;
    mmh_status status = mmh_key_generate(&key, algorithms, 2048, &err);
    if (status != MMH_OK)
        return status;
    (void)snprintf(path, sizeof path, "%s.key", stem);
    status = mmh_key_write(key, path, true, passphrase, passphrase ? strlen(passphrase) : 0, true,
                           &err);
    (void)snprintf(path, sizeof path, "%s.pub", stem);
    if (status == MMH_OK)
        status = mmh_key_write(key, path, false, NULL, 0, true, &err);
    mmh_key_destroy(key);
    return status;
}

static const struct mmh_key_part *signing_part(const mmh_key *key)
{
    const mmh_identity *identity = mmh_key_identity(key);
    for (size_t i = 0; i < identity->part_count; i++)
        if (identity->parts[i].signature)
            return &identity->parts[i];
    return NULL;
}

static mmh_status sign_or_verify(bool sign, const char *key_path, const char *in, const char *out)
{
    static uint8_t signature[MMH_SIGNATURE_BYTES_MAX];
    mmh_key *key;
    uint8_t *text = NULL, *given = NULL;
    size_t bytes, signature_bytes;
    mmh_status status = mmh_key_read(&key, key_path, answer, NULL, &err);
    const struct mmh_key_part *part = status == MMH_OK ? signing_part(key) : NULL;
    if (status == MMH_OK && !part)
        status = mmh_fail(&err, MMH_E_KEY, "%s has no key to sign with", key_path);
    if (status == MMH_OK)
        status = mmh_input_slurp(&text, &bytes, in, 1 << 24, NULL, &err);
    if (status == MMH_OK && sign) {
        FILE *file = fopen(out, "wb");
        status = mmh_signature_sign(signature, &signature_bytes, part, text, bytes, "mmh", 3, &err);
        if (!file || fwrite(signature, 1, signature_bytes, file) != signature_bytes || fclose(file))
            status = mmh_fail(&err, MMH_E_IO, "%s cannot be written", out);
    } else if (status == MMH_OK) {
        status = mmh_input_slurp(&given, &signature_bytes, out, 1 << 24, NULL, &err);
        if (status == MMH_OK)
            status = mmh_signature_verify(part, given, signature_bytes, text, bytes, "mmh", 3,
                                          &err);
    }
    mmh_free(NULL, given);
    mmh_free(NULL, text);
    mmh_key_destroy(key);
    return status;
}

static mmh_status info(const char *path, char *passphrase)
{
    mmh_key *key;
    mmh_key_info part = { .struct_size = sizeof part };
    mmh_status status = mmh_key_read(&key, path, answer, passphrase, &err);
    if (status != MMH_OK)
        return status;
    for (size_t i = 0; mmh_key_part(key, i, &part, NULL) == MMH_OK; i++) {
        printf("%s %s ", part.secret ? "private" : "public", part.algorithm);
        for (size_t j = 0; j < sizeof part.fingerprint; j++)
            printf("%02x", part.fingerprint[j]);
        putchar('\n');
    }
    mmh_key_destroy(key);
    return MMH_OK;
}

static mmh_status recipient(const char *path)
{
    char text[MMH_BECH32_TEXT_MAX];
    mmh_key *key;
    mmh_status status = mmh_key_read(&key, path, answer, NULL, &err);
    if (status != MMH_OK)
        return status;
    const mmh_identity *identity = mmh_key_identity(key);
    status = MMH_E_KEY;
    for (size_t i = 0; status != MMH_OK && i < identity->part_count; i++)
        status = mmh_age_recipient(text, &identity->parts[i], NULL);
    mmh_key_destroy(key);
    if (status == MMH_OK)
        puts(text);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static mmh_status times(void)
{
    static uint8_t signature[MMH_SIGNATURE_BYTES_MAX];
    mmh_status status = MMH_OK;
    printf("%-22s %10s %10s %10s %7s\n", "algorithm", "make", "sign", "verify", "bytes");
    for (size_t i = 0; status == MMH_OK && i < mmh_signature_count(); i++) {
        enum { ROUNDS_MAX = 101 };
        double spent[3][ROUNDS_MAX];
        size_t bytes = 0, rounds = 0;
        const uint64_t began = mmh_clock_ns();
        do {
            mmh_identity *key;
            uint64_t clock[4] = { mmh_clock_ns() };
            status = mmh_identity_generate(&key, mmh_signature_at(i)->name, NULL, 0, NULL, &err);
            clock[1] = mmh_clock_ns();
            if (status == MMH_OK)
                status = mmh_signature_sign(signature, &bytes, &key->parts[0], "message", 7, "mmh",
                                            3, &err);
            clock[2] = mmh_clock_ns();
            if (status == MMH_OK)
                status = mmh_signature_verify(&key->parts[0], signature, bytes, "message", 7, "mmh",
                                              3, &err);
            clock[3] = mmh_clock_ns();
            mmh_identity_destroy(key);
            for (unsigned j = 0; j < 3; j++)
                spent[j][rounds] = (double)(clock[j + 1] - clock[j]) / 1e3;
            rounds++;
        } while (status == MMH_OK && rounds < ROUNDS_MAX &&
                 (rounds < 3 || mmh_clock_ns() - began < 1000000000));
        for (unsigned j = 0; j < 3; j++)
            qsort(spent[j], rounds, sizeof spent[j][0], by_value);
        printf("%-22s %10.0f %10.0f %10.0f %7zu\n", mmh_signature_at(i)->name, spent[0][rounds / 2],
               spent[1][rounds / 2], spent[2][rounds / 2], bytes);
    }
    return status;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    mmh_status status = MMH_E_USAGE;
    if (strcmp(verb, "generate") == 0 && argc >= 4)
        status = generate(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
    else if (strcmp(verb, "sign") == 0 && argc == 5)
        status = sign_or_verify(true, argv[2], argv[3], argv[4]);
    else if (strcmp(verb, "verify") == 0 && argc == 5)
        status = sign_or_verify(false, argv[2], argv[3], argv[4]);
    else if (strcmp(verb, "info") == 0 && argc >= 3)
        status = info(argv[2], argc > 3 ? argv[3] : NULL);
    else if (strcmp(verb, "recipient") == 0 && argc == 3)
        status = recipient(argv[2]);
    else if (strcmp(verb, "times") == 0)
        status = times();
    if (status != MMH_OK)
        (void)fprintf(stderr, "%s: %s\n", mmh_status_name(status), err.message);
    return (int)status;
}
