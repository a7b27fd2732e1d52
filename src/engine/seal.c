/*
 * A cipher for each worker, under the chunk key of one container.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/seal.h"

struct mmh_sealer {
    const mmh_allocator *allocator;
    unsigned count;
    mmh_aead *aeads[]; /* [count] */
};

mmh_status mmh_sealer_create(mmh_sealer **out, mmh_context *context, unsigned aead_suite,
                             const uint8_t key[MMH_AEAD_KEY_BYTES], mmh_error *err)
{
    unsigned count = mmh_pool_threads(context->pool);
    mmh_sealer *sealer = mmh_alloc_array(context->allocator, 1,
                                         sizeof *sealer + count * sizeof *sealer->aeads);
    *out = NULL;
    if (!sealer)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for ciphers");
    sealer->allocator = context->allocator;
    sealer->count = count;
    mmh_status status = MMH_OK;
    for (unsigned i = 0; i < count && status == MMH_OK; i++)
        status = mmh_aead_create(&sealer->aeads[i], aead_suite, key, err);
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
    for (unsigned i = 0; i < sealer->count; i++)
        mmh_aead_destroy(sealer->aeads[i]);
    mmh_free(sealer->allocator, sealer);
}

mmh_status mmh_sealer_seal(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err)
{
    uint8_t nonce[MMH_AEAD_NONCE_BYTES];
    mmh_aead_nonce(nonce, number);
    return mmh_aead_seal(sealer->aeads[worker], data, nonce, data, bytes, NULL, 0, err);
}

mmh_status mmh_sealer_open(mmh_sealer *sealer, unsigned worker, uint8_t *data, size_t bytes,
                           uint64_t number, mmh_error *err)
{
    uint8_t nonce[MMH_AEAD_NONCE_BYTES];
    mmh_aead_nonce(nonce, number);
    return mmh_aead_open(sealer->aeads[worker], data, nonce, data, bytes, NULL, 0, err);
}
