/*
 * Fuzz target: Model Signing bundles of any bytes are read, and their lists lead nowhere but into the model.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include "base/io.h"
#include "trust/oms.h"

/* The key of the seeds. */
static const char key_text[] = "-----BEGIN PUBLIC KEY-----\n"
                               "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+vtAHea0rF8V8BjLKXeFrfSP8Nws\n"
                               "GM92iBB2T5YHsBn6xk5UnP0E5p94aBwdfyC+r1uxF79fAZswKashbBK4cg==\n"
                               "-----END PUBLIC KEY-----\n";

static const mmh_identity *signer(void)
{
    static mmh_identity *identity;
    if (!identity)
        FUZZ_REQUIRE(mmh_identity_parse(&identity, key_text, sizeof key_text - 1, "key", NULL, NULL,
                                        NULL, NULL) == MMH_OK);
    return identity;
}

static void list(struct mmh_oms_bundle *bundle)
{
    struct mmh_oms_manifest manifest;
    mmh_error err = { MMH_OK, "" };
    if (mmh_oms_manifest(&manifest, bundle, &err) != MMH_OK) {
        FUZZ_REQUIRE(err.message[0]);
        return;
    }
    FUZZ_REQUIRE(manifest.count && manifest.model);
    for (size_t i = 0; i < manifest.count; i++) {
        const struct mmh_oms_resource *resource = &manifest.resources[i];
        FUZZ_REQUIRE(strcmp(resource->path, ".") == 0 || mmh_path_is_relative(resource->path));
        FUZZ_REQUIRE(manifest.shard_bytes ? resource->begin < resource->end : !resource->end);
        const int order = i ? strcmp(resource[-1].path, resource->path) : -1;
        FUZZ_REQUIRE(order < 0 || (order == 0 && resource[-1].begin < resource->begin));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const mmh_identity *signers[] = { signer() };
    struct mmh_policy policy = { .signers = signers, .signer_count = 1 };
    struct mmh_policy_counts counts;
    struct mmh_oms_bundle bundle;
    if (mmh_oms_read(&bundle, data, bytes, NULL, NULL) == MMH_OK) {
        FUZZ_REQUIRE(bundle.signature_count && bundle.signature_count <= MMH_OMS_SIGNATURES_MAX);
        const mmh_status status = mmh_oms_check(&bundle, &policy, 0, &counts, NULL);
        FUZZ_REQUIRE(status != MMH_OK || counts.counted);
        list(&bundle);
    }
    mmh_oms_release(&bundle);
    /* The same bytes as what is signed. */
    memset(&bundle, 0, sizeof bundle);
    mmh_arena_init(&bundle.arena, NULL);
    bundle.payload = data;
    bundle.payload_bytes = bytes;
    list(&bundle);
    mmh_oms_release(&bundle);
    return 0;
}
