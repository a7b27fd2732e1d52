/*
 * Fuzz target: files of the trust store and statements of successors, of any bytes with the right sum.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "base/io.h"
#include "crypto/file_hash.h"
#include "trust/store.h"
#include "trust/text.h"

enum { NOW = 1800000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mmh_trust_store store, again;
    struct mmh_buffer text;
    mmh_folder *made;
    uint8_t digest[32];
    size_t number;
    char folder[512];
    mmh_error err = { MMH_OK, "" };
    snprintf(folder, sizeof folder, "%s", fuzz_path("store"));
    fuzz_remove(folder);
    /* As a statement: the key that it is of is not believed. */
    FUZZ_REQUIRE(mmh_trust_store_open(&store, folder, NULL, NULL) == MMH_OK);
    FUZZ_REQUIRE(mmh_trust_store_accept(&store, (const char *)data, bytes, "fuzz", NULL, NOW,
                                        &number, &err) != MMH_OK);
    FUZZ_REQUIRE(err.message[0] && !store.count);
    mmh_trust_store_release(&store);
    /* As a key's file. */
    mmh_buffer_init(&text, NULL);
    mmh_buffer_bytes(&text, data, bytes);
    FUZZ_REQUIRE(mmh_file_hash(digest, MMH_FILE_HASH_SHA256, data, bytes, NULL) == MMH_OK);
    mmh_text_add(&text, "sha256: ");
    mmh_text_hex(&text, digest, sizeof digest);
    mmh_text_add(&text, "\n");
    FUZZ_REQUIRE(mmh_folder_open(&made, folder, true, NULL, NULL) == MMH_OK);
    mmh_folder_close(made);
    fuzz_write(fuzz_path("store/alice.trusted"), text.data, text.bytes);
    mmh_buffer_release(&text);
    err = (mmh_error){ MMH_OK, "" };
    if (mmh_trust_store_open(&store, folder, NULL, &err) == MMH_OK) {
        FUZZ_REQUIRE(store.count == 1 && store.keys[0].identity->part_count);
        const uint64_t revoked = store.keys[0].revoked_seconds;
        /* Written anew, it says the same. */
        FUZZ_REQUIRE(mmh_trust_store_expire(&store, 0, 5, NULL) == MMH_OK);
        FUZZ_REQUIRE(mmh_trust_store_open(&again, folder, NULL, NULL) == MMH_OK);
        FUZZ_REQUIRE(again.count == 1 && again.keys[0].revoked_seconds == revoked &&
                     again.keys[0].expires_seconds == 5 &&
                     again.keys[0].counter_count == store.keys[0].counter_count &&
                     strcmp(again.keys[0].reason, store.keys[0].reason) == 0);
        mmh_trust_store_release(&again);
    } else {
        FUZZ_REQUIRE(strstr(err.message, "alice.trusted"));
    }
    mmh_trust_store_release(&store);
    fuzz_remove(folder);
    return 0;
}
