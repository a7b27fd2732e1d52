/*
 * Fuzz target: the recipients section. Any bytes are read, and tried with keys of ours; what opens is the
 * file key, and nothing else is given out.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The first byte says what the rest is: 0 a section; else stanzas that get a right MAC.
 */
#include "fuzz.h"

#include "../recipients_sample.h"
#include "crypto/recipient.h"

enum { KEYS = 3, HEADER_BYTES = 128 };

static struct mmh_key_part parts[KEYS];
static uint8_t header[HEADER_BYTES];
static struct mmh_file_keys right;

/* Keys of the sample, and an X-Wing one out of zeros. */
static void keys_init(void)
{
    static const unsigned kinds[KEYS] = { MMH_KEM_X25519, MMH_KEM_ML_KEM_768, MMH_KEM_X_WING };
    static const uint8_t seed[MMH_X_WING_SEED_BYTES];
    static uint8_t public_keys[KEYS][1216], secret_keys[KEYS][MMH_X_WING_SECRET_BYTES];
    memcpy(secret_keys[0], sample_x25519_secret, sizeof sample_x25519_secret);
    memcpy(secret_keys[1], sample_ml_kem_seed, sizeof sample_ml_kem_seed);
    FUZZ_REQUIRE(!mmh_x_wing_expand(secret_keys[2], seed, NULL));
    for (size_t i = 0; i < KEYS; i++) {
        const struct mmh_kem *kem = mmh_kem_by_id(kinds[i]);
        parts[i] = (struct mmh_key_part){ .kem = kem,
                                          .secret = true,
                                          .public_key = public_keys[i],
                                          .secret_key = secret_keys[i],
                                          .public_bytes = kem->public_bytes,
                                          .secret_bytes = kem->secret_bytes };
        FUZZ_REQUIRE(!kem->derive(public_keys[i], secret_keys[i], NULL));
    }
    for (size_t i = 0; i < HEADER_BYTES; i++)
        header[i] = (uint8_t)i;
    FUZZ_REQUIRE(!mmh_file_keys_derive(&right, sample_file_key, SAMPLE_AEAD, SAMPLE_HASH, NULL));
}

static mmh_status answer(void *user, const char *why, char *passphrase, size_t room, size_t *bytes,
                         mmh_error *err)
{
    (void)user, (void)err;
    FUZZ_REQUIRE(why && sizeof sample_passphrase - 1 <= room);
    *bytes = sizeof sample_passphrase - 1;
    memcpy(passphrase, sample_passphrase, *bytes);
    return MMH_OK;
}

/* What a section says is inside it, and fills it. Returns how many stanzas it has; 0: it is none. */
static unsigned look(const uint8_t *section, size_t bytes)
{
    struct mmh_recipients_view view;
    size_t used = 0;
    mmh_status status = mmh_recipients_view(&view, section, bytes, NULL);
    FUZZ_REQUIRE(!status || status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED);
    if (status) {
        FUZZ_REQUIRE(!view.count);
        return 0;
    }
    for (unsigned i = 0; i < view.count; i++) {
        unsigned kind;
        const uint8_t *body;
        size_t body_bytes;
        if (view.count > 16 && i % 64) /* each call walks from the first */
            continue;
        FUZZ_REQUIRE(!mmh_recipients_stanza(&view, i, &kind, &body, &body_bytes, NULL));
        FUZZ_REQUIRE(body >= section && body + body_bytes + 32 <= section + bytes);
        used += 8 + body_bytes;
    }
    FUZZ_REQUIRE(view.count > 16 || used == view.stanza_bytes);
    FUZZ_REQUIRE(view.mac + 32 == section + bytes);
    return view.count;
}

static void open_with(const uint8_t *section, size_t bytes, bool is_section, bool mac_is_right)
{
    static const struct mmh_argon2_cost limit = { 64, 2, 2 };
    const mmh_identity identity = { .parts = parts, .part_count = KEYS };
    const mmh_identity *const identities[] = { &identity };
    const struct mmh_unlock unlock = {
        .identities = identities, .identity_count = 1, .ask = answer, .cost_limit = &limit
    };
    uint8_t file_key[MMH_FILE_KEY_BYTES];
    static const struct mmh_file_keys none;
    struct mmh_file_keys keys;
    mmh_status status = mmh_recipients_open(file_key, &keys, section, bytes, &unlock,
                                            right.commitment, SAMPLE_AEAD, SAMPLE_HASH, header,
                                            sizeof header, sample_root, sizeof sample_root, NULL);
    FUZZ_REQUIRE(is_section || status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED);
    if (status == MMH_OK) {
        FUZZ_REQUIRE(!memcmp(file_key, sample_file_key, sizeof file_key));
        FUZZ_REQUIRE(!memcmp(&keys, &right, sizeof keys));
        return;
    }
    FUZZ_REQUIRE(status == MMH_E_KEY || status == MMH_E_LIMIT ||
                 (!mac_is_right && (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED)));
    FUZZ_REQUIRE(!memcmp(file_key, &none, sizeof file_key) && !memcmp(&keys, &none, sizeof keys));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mmh_buffer made;
    if (!parts[0].kem)
        keys_init();
    if (!bytes)
        return 0;
    const bool whole = !data[0];
    data++, bytes--;
    if (whole) {
        uint8_t *section = fuzz_copy(data, bytes);
        open_with(section, bytes, look(section, bytes) > 0, false);
        free(section);
        return 0;
    }
    /* As many stanzas as are there. */
    unsigned count = 0;
    size_t used = 0;
    while (count < MMH_RECIPIENTS_MAX && bytes - used >= 8 &&
           mmh_load32(data + used + 4) <= bytes - used - 8) {
        used += 8 + mmh_load32(data + used + 4);
        count++;
    }
    if (!count)
        return 0;
    mmh_buffer_init(&made, NULL);
    FUZZ_REQUIRE(!mmh_recipients_write(&made, data, used, count, &right, SAMPLE_HASH, header,
                                       sizeof header, sample_root, sizeof sample_root, NULL));
    uint8_t *section = fuzz_copy(made.data, made.bytes);
    unsigned seen = look(section, made.bytes);
    FUZZ_REQUIRE(!seen || seen == count);
    open_with(section, made.bytes, seen > 0, seen > 0);
    free(section);
    mmh_buffer_release(&made);
    return 0;
}
