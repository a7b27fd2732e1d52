/*
 * Fuzz target: any text is keys or is refused; keys that were read are written and read again.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The first byte says what the others are: a text, or what one block of a text holds.
 */
#include "fuzz.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/key_private.h"
#include "crypto/pem.h"
#include "crypto/secret.h"

static const char *const labels[] = {
    NULL,
    "PRIVATE KEY",
    "PUBLIC KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PUBLIC KEY",
    MMH_SEALED_LABEL,
    MMH_MCELIECE_PUBLIC_LABEL,
    MMH_MCELIECE_PRIVATE_LABEL,
};

struct text {
    const char *data;
    size_t bytes;
};

/* Whether a block of ours is cheap to open: what is allowed takes up to a minute. */
static bool is_cheap(const struct text *text)
{
    static const char mark[] = "-----BEGIN " MMH_SEALED_LABEL "-----\n";
    uint8_t head[15];
    for (size_t at = 0; at < text->bytes; at++) {
        if (text->bytes - at < sizeof mark - 1 ||
            memcmp(text->data + at, mark, sizeof mark - 1) != 0)
            continue;
        at += sizeof mark - 1;
        return text->bytes - at >= 20 &&
               EVP_DecodeBlock(head, (const uint8_t *)text->data + at, 20) == 15 &&
               mmh_load32(head + 1) <= 64 && mmh_load32(head + 5) <= 2;
    }
    /* Written in another way: it is not tried. */
    for (size_t at = 0; at + sizeof MMH_SEALED_LABEL <= text->bytes; at++)
        if (memcmp(text->data + at, MMH_SEALED_LABEL, sizeof MMH_SEALED_LABEL - 1) == 0)
            return false;
    return true;
}

static mmh_status ask(void *user, const char *why, char *passphrase, size_t room, size_t *bytes,
                      mmh_error *err)
{
    static const char answer[] = "fuzz";
    (void)why;
    FUZZ_REQUIRE(room >= sizeof answer);
    if (!is_cheap(user))
        return mmh_fail(err, MMH_E_KEY, "no passphrase");
    memcpy(passphrase, answer, *bytes = sizeof answer - 1);
    return MMH_OK;
}

static void require_same(const mmh_identity *a, const mmh_identity *b)
{
    FUZZ_REQUIRE(a->part_count == b->part_count);
    for (size_t i = 0; i < a->part_count; i++)
        FUZZ_REQUIRE(memcmp(a->parts[i].fingerprint, b->parts[i].fingerprint, 32) == 0);
}

/* What was read is written, and read again. */
static void require_return(const mmh_identity *identity, bool secret)
{
    mmh_identity *back;
    char *text;
    size_t bytes;
    FUZZ_REQUIRE(mmh_identity_write(&text, &bytes, identity, secret, NULL, 0, NULL) == MMH_OK);
    FUZZ_REQUIRE(mmh_identity_parse(&back, text, bytes, "again", NULL, NULL, NULL, NULL) == MMH_OK);
    require_same(identity, back);
    mmh_identity_destroy(back);
    mmh_secret_free(text, bytes + 1);
}

static void run(const char *data, size_t bytes, bool with_passphrase)
{
    mmh_identity *identity;
    mmh_error err = { 0 };
    struct text text = { (const char *)fuzz_copy((const uint8_t *)data, bytes), bytes };
    mmh_status status = mmh_identity_parse(&identity, text.data, bytes, "fuzz.key",
                                           with_passphrase ? ask : NULL, &text, NULL, &err);
    FUZZ_REQUIRE(status == err.status && (status == MMH_OK) == !err.message[0]);
    FUZZ_REQUIRE(status == MMH_OK || status == MMH_E_KEY || status == MMH_E_UNSUPPORTED);
    FUZZ_REQUIRE((status == MMH_OK) == (identity != NULL));
    FUZZ_REQUIRE(!ERR_peek_error());
    if (identity) {
        bool all_secret = true;
        FUZZ_REQUIRE(identity->part_count);
        for (size_t i = 0; i < identity->part_count; i++) {
            const struct mmh_key_part *part = &identity->parts[i];
            all_secret &= part->secret;
            FUZZ_REQUIRE(!part->signature != !part->kem);
            FUZZ_REQUIRE(!part->kem || !part->kem->public_bytes ||
                         part->public_bytes == part->kem->public_bytes);
        }
        require_return(identity, false);
        if (all_secret)
            require_return(identity, true);
    }
    mmh_identity_destroy(identity);
    free((void *)(uintptr_t)text.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!bytes || bytes > 1 << 16)
        return 0;
    const char *label = labels[(*data & 15) % MMH_COUNT_OF(labels)];
    bool with_passphrase = (*data & 16) != 0;
    data++;
    bytes--;
    if (label) {
        struct mmh_secret_text text = { 0 };
        mmh_pem_write(&text, label, data, bytes);
        run(text.data, text.bytes, with_passphrase);
        mmh_secret_text_release(&text);
    } else
        run((const char *)data, bytes, with_passphrase);
    return 0;
}
