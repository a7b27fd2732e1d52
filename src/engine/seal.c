/*
 * A cipher for each worker, under the chunk key of one container.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/seal.h"

#include "crypto/random.h"

/* What one worker has. */
struct ciphers {
    mmh_aead *chunks, *likeness;
};

struct mmh_sealer {
    const mmh_allocator *allocator;
    unsigned count;
    struct ciphers ciphers[]; /* [count] */
};

mmh_status mmh_sealer_create(mmh_sealer **out, mmh_context *context, unsigned aead_suite,
                             const uint8_t key[MMH_AEAD_KEY_BYTES], bool likens, mmh_error *err)
{
    unsigned count = mmh_pool_threads(context->pool);
    mmh_sealer *sealer = mmh_alloc_array(context->allocator, 1,
                                         sizeof *sealer + count * sizeof *sealer->ciphers);
    *out = NULL;
    if (!sealer)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for ciphers");
    sealer->allocator = context->allocator;
    sealer->count = count;
    uint8_t random[MMH_AEAD_KEY_BYTES];
    mmh_status status = likens ? mmh_random(random, sizeof random, err) : MMH_OK;
    for (unsigned i = 0; i < count && status == MMH_OK; i++) {
        status = mmh_aead_create(&sealer->ciphers[i].chunks, aead_suite, key, err);
        if (status == MMH_OK && likens)
            status = mmh_aead_create(&sealer->ciphers[i].likeness, aead_suite, random, err);
    }
    mmh_wipe(random, sizeof random);
    if (status != MMH_OK)
        mmh_sealer_destroy(sealer);
    else
        *out = sealer;
    return status;
}

void mmh_sealer_destroy(mmh_sealer *sealer)
{
    if (!sealer)
        return;
    for (unsigned i = 0; i < sealer->count; i++) {
        mmh_aead_destroy(sealer->ciphers[i].chunks);
        mmh_aead_destroy(sealer->ciphers[i].likeness);
    }
    mmh_free(sealer->allocator, sealer);
}

mmh_status mmh_sealer_seal(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err)
{
    uint8_t nonce[MMH_AEAD_NONCE_BYTES];
    mmh_aead_nonce(nonce, number);
    return mmh_aead_seal(sealer->ciphers[worker].chunks, data, nonce, data, bytes, NULL, 0, err);
}

mmh_status mmh_sealer_open(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err)
{
    uint8_t nonce[MMH_AEAD_NONCE_BYTES];
    mmh_aead_nonce(nonce, number);
    return mmh_aead_open(sealer->ciphers[worker].chunks, data, nonce, data, bytes, NULL, 0, err);
}

mmh_status mmh_sealer_likeness(mmh_sealer *sealer, unsigned worker,
                               uint8_t likeness[MMH_AEAD_TAG_BYTES], const uint8_t *data,
                               size_t bytes, mmh_error *err)
{
    /* The tag of no text and this associated data. One nonce for all: equal data must give equal tags. */
    static const uint8_t nonce[MMH_AEAD_NONCE_BYTES];
    return mmh_aead_seal(sealer->ciphers[worker].likeness, likeness, nonce, NULL, 0, data, bytes,
                         err);
}
