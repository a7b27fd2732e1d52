/*
 * Classic McEliece of libmceliece, alone and with X25519.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: Classic McEliece, NIST submission, round 4. Making keys takes megabytes of stack, so all of it
 * runs on one of its own, which is given back to the system afterwards with all that was left on it.
 */
#include "crypto/kem_private.h"

#ifdef MMH_HAVE_MCELIECE
#include <mceliece.h>

#include "base/memory.h"
#include "base/pages.h"
#include "crypto/random.h"

/* The stack is twice what the library may want; what of it is not touched costs nothing. */
enum { SHARED_BYTES = 32, STACK_BYTES = 16 << 20 };

struct set {
    size_t public_bytes, secret_bytes, enc_bytes;
    void (*keypair)(unsigned char *public_key, unsigned char *secret_key);
    int (*enc)(unsigned char *enc, unsigned char *shared, const unsigned char *public_key);
    int (*dec)(unsigned char *shared, const unsigned char *enc, const unsigned char *secret_key);
};

#define SET(name)                          \
    static const struct set set_##name = { \
        mceliece##name##_PUBLICKEYBYTES,   \
        mceliece##name##_SECRETKEYBYTES,   \
        mceliece##name##_CIPHERTEXTBYTES,  \
        mceliece##name##_keypair,          \
        mceliece##name##_enc,              \
        mceliece##name##_dec,              \
    };                                     \
    _Static_assert(mceliece##name##_BYTES == SHARED_BYTES, "shared secrets have 32 bytes");

/* clang-format off */
SET(460896f)
SET(6688128)
SET(6960119f)
/* clang-format on */

/* ---- a stack of its own ---- */

enum operation { KEYPAIR, ENC, DEC };

struct job {
    const struct set *set;
    enum operation operation;
    uint8_t *first, *second; /* out: public, secret key; enc, shared secret; shared secret */
    const uint8_t *in, *key; /* in: -; public key; enc, secret key */
    int result;
};

static void job_run(void *argument)
{
    struct job *job = argument;
    if (job->operation == KEYPAIR)
        job->set->keypair(job->first, job->second);
    else if (job->operation == ENC)
        job->result = job->set->enc(job->first, job->second, job->key);
    else
        job->result = job->set->dec(job->first, job->in, job->key);
}

/* MMH_E_KEY where the library says no: padding bits of a public key or of what was sent. */
static mmh_status run(struct job *job, mmh_error *err)
{
    job->result = 0;
    mmh_status status = mmh_stack_run(STACK_BYTES, job_run, job, err);
    if (status != MMH_OK)
        return status;
    return job->result ? mmh_kem_fail(err) : MMH_OK;
}

/* The library can tell of no failure to get random bytes: ask before. */
static mmh_status random_works(mmh_error *err)
{
    uint8_t some[32];
    mmh_status status = mmh_random(some, sizeof some, err);
    mmh_wipe(some, sizeof some);
    return status;
}

/* ---- with X25519 or without ---- */

static mmh_status generate(const struct set *set, bool hybrid, uint8_t *public_key,
                           uint8_t *secret_key, mmh_error *err)
{
    struct job job = {
        .set = set, .operation = KEYPAIR, .first = public_key, .second = secret_key
    };
    mmh_status status = random_works(err);
    if (status == MMH_OK)
        status = run(&job, err);
    return status == MMH_OK && hybrid ? mmh_kem_x25519.generate(public_key + set->public_bytes,
                                                                secret_key + set->secret_bytes, err)
                                      : status;
}

static mmh_status encapsulate(const struct set *set, bool hybrid, uint8_t *enc, size_t *enc_bytes,
                              uint8_t *shared, const uint8_t *public_key, size_t public_bytes,
                              mmh_error *err)
{
    struct job job = {
        .set = set, .operation = ENC, .first = enc, .second = shared, .key = public_key
    };
    size_t point_bytes = hybrid ? MMH_X25519_BYTES : 0, sent = 0;
    if (public_bytes != set->public_bytes + point_bytes)
        return mmh_kem_fail(err);
    mmh_status status = random_works(err);
    if (status == MMH_OK)
        status = run(&job, err);
    if (status == MMH_OK && hybrid)
        status = mmh_kem_x25519.encapsulate(enc + set->enc_bytes, &sent, shared + SHARED_BYTES,
                                            public_key + set->public_bytes, point_bytes, err);
    *enc_bytes = set->enc_bytes + sent;
    return status;
}

static mmh_status decapsulate(const struct set *set, bool hybrid, uint8_t *shared,
                              const uint8_t *enc, size_t enc_bytes, const uint8_t *secret_key,
                              size_t secret_bytes, mmh_error *err)
{
    struct job job = {
        .set = set, .operation = DEC, .first = shared, .in = enc, .key = secret_key
    };
    size_t more = hybrid ? MMH_X25519_BYTES : 0;
    if (enc_bytes != set->enc_bytes + more || secret_bytes != set->secret_bytes + more)
        return mmh_kem_fail(err);
    mmh_status status = run(&job, err);
    return status == MMH_OK && hybrid
             ? mmh_x25519(shared + SHARED_BYTES, secret_key + set->secret_bytes,
                          enc + set->enc_bytes, err)
             : status;
}

#define MCELIECE(function, set, hybrid)                                                          \
    static mmh_status generate_##function(uint8_t *public_key, uint8_t *secret_key,              \
                                          mmh_error *err)                                        \
    {                                                                                            \
        return generate(&set_##set, hybrid, public_key, secret_key, err);                        \
    }                                                                                            \
    static mmh_status encapsulate_##function(uint8_t *enc, size_t *enc_bytes, uint8_t *shared,   \
                                             const uint8_t *public_key, size_t public_bytes,     \
                                             mmh_error *err)                                     \
    {                                                                                            \
        return encapsulate(&set_##set, hybrid, enc, enc_bytes, shared, public_key, public_bytes, \
                           err);                                                                 \
    }                                                                                            \
    static mmh_status decapsulate_##function(                                                    \
        uint8_t *shared, const uint8_t *enc, size_t enc_bytes, const uint8_t *secret_key,        \
        size_t secret_bytes, const uint8_t *public_key, size_t public_bytes, mmh_error *err)     \
    {                                                                                            \
        (void)public_key;                                                                        \
        (void)public_bytes;                                                                      \
        return decapsulate(&set_##set, hybrid, shared, enc, enc_bytes, secret_key, secret_bytes, \
                           err);                                                                 \
    }

#define LINE(kind, title, function, set, category, hybrid)                                  \
    {                                                                                       \
        .id = (kind), .name = (title), .nist_category = (category), .classical = (hybrid),  \
        .post_quantum = true, .wrap = MMH_WRAP_HKDF384,                                     \
        .public_bytes = mceliece##set##_PUBLICKEYBYTES + ((hybrid) ? MMH_X25519_BYTES : 0), \
        .secret_bytes = mceliece##set##_SECRETKEYBYTES + ((hybrid) ? MMH_X25519_BYTES : 0), \
        .enc_bytes = mceliece##set##_CIPHERTEXTBYTES + ((hybrid) ? MMH_X25519_BYTES : 0),   \
        .shared_bytes = SHARED_BYTES + ((hybrid) ? MMH_X25519_BYTES : 0),                   \
        .generate = generate_##function, .encapsulate = encapsulate_##function,             \
        .decapsulate = decapsulate_##function,                                              \
    }

/* clang-format off */
MCELIECE(460896f, 460896f, false)
MCELIECE(6688128, 6688128, false)
MCELIECE(6960119f, 6960119f, false)
MCELIECE(460896f_x25519, 460896f, true)
MCELIECE(6688128_x25519, 6688128, true)
MCELIECE(6960119f_x25519, 6960119f, true)

const struct mmh_kem mmh_kem_mceliece[MMH_KEM_MCELIECE_COUNT] = {
    LINE(MMH_KEM_MCELIECE_460896F, "mceliece460896f", 460896f, 460896f, 3, false),
    LINE(MMH_KEM_MCELIECE_6688128, "mceliece6688128", 6688128, 6688128, 5, false),
    LINE(MMH_KEM_MCELIECE_6960119F, "mceliece6960119f", 6960119f, 6960119f, 5, false),
    LINE(MMH_KEM_MCELIECE_460896F_X25519, "mceliece460896f-x25519", 460896f_x25519, 460896f, 3, true),
    LINE(MMH_KEM_MCELIECE_6688128_X25519, "mceliece6688128-x25519", 6688128_x25519, 6688128, 5, true),
    LINE(MMH_KEM_MCELIECE_6960119F_X25519, "mceliece6960119f-x25519", 6960119f_x25519, 6960119f, 5, true),
};
/* clang-format on */
#endif
