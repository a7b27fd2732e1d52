/*
 * The table of KEMs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "crypto/kem.h"

#include <string.h>

#include "base/bits.h"
#include "crypto/kem_private.h"

static const char *const names[] = {
    [MMH_KEM_X25519] = "x25519",
    [MMH_KEM_ML_KEM_768] = "ml-kem-768",
    [MMH_KEM_ML_KEM_1024] = "ml-kem-1024",
    [MMH_KEM_X_WING] = "x-wing",
    [MMH_KEM_MCELIECE_460896F] = "mceliece460896f",
    [MMH_KEM_MCELIECE_6688128] = "mceliece6688128",
    [MMH_KEM_MCELIECE_6960119F] = "mceliece6960119f",
    [MMH_KEM_MCELIECE_460896F_X25519] = "mceliece460896f-x25519",
    [MMH_KEM_MCELIECE_6688128_X25519] = "mceliece6688128-x25519",
    [MMH_KEM_MCELIECE_6960119F_X25519] = "mceliece6960119f-x25519",
    [MMH_KEM_RSA_OAEP] = "rsa-oaep",
    [MMH_KEM_PASSPHRASE] = "passphrase",
};

static const struct mmh_kem *const kems[] = {
    &mmh_kem_x25519,      &mmh_kem_ml_kem_768,  &mmh_kem_ml_kem_1024, &mmh_kem_x_wing,
#ifdef MMH_HAVE_MCELIECE
    &mmh_kem_mceliece[0], &mmh_kem_mceliece[1], &mmh_kem_mceliece[2], &mmh_kem_mceliece[3],
    &mmh_kem_mceliece[4], &mmh_kem_mceliece[5],
#endif
    &mmh_kem_rsa_oaep,
};

size_t mmh_kem_count(void)
{
    return MMH_COUNT_OF(kems);
}

const struct mmh_kem *mmh_kem_at(size_t number)
{
    return number < MMH_COUNT_OF(kems) ? kems[number] : NULL;
}

const struct mmh_kem *mmh_kem_by_id(unsigned id)
{
    for (size_t i = 0; i < MMH_COUNT_OF(kems); i++)
        if (kems[i]->id == id)
            return kems[i];
    return NULL;
}

const struct mmh_kem *mmh_kem_by_name(const char *name)
{
    for (size_t i = 0; i < MMH_COUNT_OF(kems); i++)
        if (strcmp(kems[i]->name, name) == 0)
            return kems[i];
    return NULL;
}

const char *mmh_kem_name(unsigned id)
{
    return id < MMH_COUNT_OF(names) ? names[id] : NULL;
}

mmh_status mmh_kem_fail(mmh_error *err)
{
    return mmh_fail(err, MMH_E_KEY, "the key or what was sent to it is not right");
}
