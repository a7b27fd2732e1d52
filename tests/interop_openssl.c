/*
 * For tests of interoperation: the same with libcrypto alone, and nothing of ours.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     interop_openssl generate ALGORITHM STEM    STEM.key and STEM.pub
 *     interop_openssl sign KEY ALGORITHM IN OUT
 *     interop_openssl verify KEY ALGORITHM IN SIGNATURE
 *     interop_openssl info KEY                   a line for each block
 *
 * Written from docs/format.md section 16, src/crypto/key.h's words on files, and
 * draft-ietf-lamps-pq-composite-sigs. Status 0: right, 1: wrong, 2: it did not come to that.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

struct algorithm {
    const char *name, *first, *first_digest, *second, *second_digest, *label;
    size_t first_bytes; /* of the signature's ML-DSA half */
};

static const struct algorithm algorithms[] = {
    { "ed25519", "ED25519", NULL, NULL, NULL, NULL, 0 },
    { "ecdsa-p256", "P-256", "SHA256", NULL, NULL, NULL, 0 },
    { "ecdsa-p384", "P-384", "SHA384", NULL, NULL, NULL, 0 },
    { "ecdsa-p521", "P-521", "SHA512", NULL, NULL, NULL, 0 },
    { "rsa-pss", "RSA", "SHA256", NULL, NULL, NULL, 0 },
    { "ml-dsa-44", "ML-DSA-44", NULL, NULL, NULL, NULL, 0 },
    { "ml-dsa-65", "ML-DSA-65", NULL, NULL, NULL, NULL, 0 },
    { "ml-dsa-87", "ML-DSA-87", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-128s", "SLH-DSA-SHA2-128s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-128f", "SLH-DSA-SHA2-128f", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-192s", "SLH-DSA-SHA2-192s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-192f", "SLH-DSA-SHA2-192f", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-256s", "SLH-DSA-SHA2-256s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-sha2-256f", "SLH-DSA-SHA2-256f", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-128s", "SLH-DSA-SHAKE-128s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-128f", "SLH-DSA-SHAKE-128f", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-192s", "SLH-DSA-SHAKE-192s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-192f", "SLH-DSA-SHAKE-192f", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-256s", "SLH-DSA-SHAKE-256s", NULL, NULL, NULL, NULL, 0 },
    { "slh-dsa-shake-256f", "SLH-DSA-SHAKE-256f", NULL, NULL, NULL, NULL, 0 },
    { "ml-dsa-44-ed25519", "ML-DSA-44", NULL, "ED25519", NULL, "COMPSIG-MLDSA44-Ed25519-SHA512",
      2420 },
    { "ml-dsa-65-ed25519", "ML-DSA-65", NULL, "ED25519", NULL, "COMPSIG-MLDSA65-Ed25519-SHA512",
      3309 },
    { "ml-dsa-65-ecdsa-p256", "ML-DSA-65", NULL, "P-256", "SHA256",
      "COMPSIG-MLDSA65-ECDSA-P256-SHA512", 3309 },
    { "ml-dsa-87-ecdsa-p384", "ML-DSA-87", NULL, "P-384", "SHA384",
      "COMPSIG-MLDSA87-ECDSA-P384-SHA512", 4627 },
    { "x25519", "X25519", NULL, NULL, NULL, NULL, 0 },
    { "ml-kem-768", "ML-KEM-768", NULL, NULL, NULL, NULL, 0 },
    { "ml-kem-1024", "ML-KEM-1024", NULL, NULL, NULL, NULL, 0 },
    { "x-wing", "ML-KEM-768", NULL, "X25519", NULL, NULL, 0 },
    { "rsa-oaep", "RSA", NULL, NULL, NULL, NULL, 0 },
};

static void give_up(const char *what)
{
    (void)fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(2);
}

static const struct algorithm *algorithm_of(const char *name)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    give_up("no such algorithm");
    return NULL;
}

static unsigned char *read_all(const char *path, size_t *bytes)
{
    static unsigned char memory[2][1 << 20];
    static unsigned used;
    unsigned char *into = memory[used++ % 2];
    FILE *file = fopen(path, "rb");
    if (!file)
        give_up(path);
    *bytes = fread(into, 1, 1 << 20, file);
    fclose(file);
    return into;
}

/* The keys of a file, in their order. */
static size_t read_keys(const char *path, EVP_PKEY *keys[], size_t room)
{
    char *label, *header;
    unsigned char *der;
    long bytes;
    size_t count = 0;
    BIO *bio = BIO_new_file(path, "rb");
    if (!bio)
        give_up(path);
    while (count < room && PEM_read_bio(bio, &label, &header, &der, &bytes)) {
        const unsigned char *at = der;
        keys[count] = strcmp(label, "PUBLIC KEY") == 0 ? d2i_PUBKEY(NULL, &at, bytes)
                                                       : d2i_AutoPrivateKey(NULL, &at, bytes);
        if (!keys[count] || at != der + bytes)
            give_up(label);
        count++;
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    ERR_clear_error(); /* the end of the file */
    BIO_free(bio);
    return count;
}

static EVP_PKEY *make_key(const char *type)
{
    EVP_PKEY *key = strcmp(type, "RSA") == 0    ? EVP_RSA_gen(2048)
                  : strncmp(type, "P-", 2) == 0 ? EVP_EC_gen(type)
                                                : EVP_PKEY_Q_keygen(NULL, NULL, type);
    if (!key)
        give_up(type);
    return key;
}

static int generate(const struct algorithm *algorithm, const char *stem)
{
    EVP_PKEY *keys[2] = { make_key(algorithm->first),
                          algorithm->second ? make_key(algorithm->second) : NULL };
    for (unsigned secret = 0; secret < 2; secret++) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s.%s", stem, secret ? "key" : "pub");
        BIO *bio = BIO_new_file(path, "wb");
        if (!bio)
            give_up(path);
        if (keys[1] || strcmp(algorithm->first, "RSA") == 0)
            BIO_printf(bio, "mmh key: %s %s\n",
                       algorithm->first_digest || algorithm->label ? "sign" : "decrypt",
                       algorithm->name);
        for (unsigned i = 0; i < 2 && keys[i]; i++)
            if (secret ? PEM_write_bio_PrivateKey(bio, keys[i], NULL, NULL, 0, NULL, NULL) != 1
                       : PEM_write_bio_PUBKEY(bio, keys[i]) != 1)
                give_up(path);
        BIO_free(bio);
    }
    return 0;
}

/* A context with all that it is told; digest NULL for algorithms with their own. */
static EVP_MD_CTX *begin(bool sign, EVP_PKEY *key, const char *digest, const char *context)
{
    EVP_PKEY_CTX *pkey;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int done = sign ? EVP_DigestSignInit_ex(md, &pkey, digest, NULL, NULL, key, NULL)
                    : EVP_DigestVerifyInit_ex(md, &pkey, digest, NULL, NULL, key, NULL);
    if (done != 1)
        give_up("init");
    if (EVP_PKEY_is_a(key, "RSA") &&
        (EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING) != 1 ||
         EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey, 32) != 1 ||
         EVP_PKEY_CTX_set_rsa_mgf1_md(pkey, EVP_sha256()) != 1))
        give_up("pss");
    if (context) {
        OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("context-string", (void *)context,
                                                                  strlen(context)),
                                OSSL_PARAM_construct_end() };
        if (EVP_PKEY_CTX_set_params(pkey, params) != 1)
            give_up("context");
    }
    return md;
}

/* M' of the draft, with the context "mmh". */
static size_t composite_message(unsigned char *out, const char *label, const unsigned char *message,
                                size_t bytes)
{
    size_t at = (size_t)sprintf((char *)out, "CompositeAlgorithmSignatures2025%s%c%s", label, 3,
                                "mmh");
    unsigned hashed;
    if (EVP_Digest(message, bytes, out + at, &hashed, EVP_sha512(), NULL) != 1)
        give_up("sha512");
    return at + hashed;
}

static int sign(const struct algorithm *algorithm, EVP_PKEY *keys[2], const char *in,
                const char *out)
{
    static unsigned char signature[2 << 16], message[512];
    size_t bytes, first = sizeof signature, second = 0;
    const unsigned char *text = read_all(in, &bytes);
    const char *context = strncmp(algorithm->first, "ML-", 3) == 0 ||
                                  strncmp(algorithm->first, "SLH", 3) == 0
                            ? "mmh"
                            : NULL;
    if (algorithm->label) {
        bytes = composite_message(message, algorithm->label, text, bytes);
        text = message;
        context = algorithm->label;
    }
    EVP_MD_CTX *md = begin(true, keys[0], algorithm->first_digest, context);
    if (EVP_DigestSign(md, signature, &first, text, bytes) != 1)
        give_up("sign");
    EVP_MD_CTX_free(md);
    if (algorithm->second) {
        second = sizeof signature - first;
        md = begin(true, keys[1], algorithm->second_digest, NULL);
        if (EVP_DigestSign(md, signature + first, &second, text, bytes) != 1)
            give_up("sign");
        EVP_MD_CTX_free(md);
    }
    FILE *file = fopen(out, "wb");
    if (!file || fwrite(signature, 1, first + second, file) != first + second || fclose(file))
        give_up(out);
    return 0;
}

static int verify(const struct algorithm *algorithm, EVP_PKEY *keys[2], const char *in,
                  const char *signature_path)
{
    static unsigned char message[512];
    size_t bytes, signature_bytes;
    const unsigned char *text = read_all(in, &bytes);
    const unsigned char *signature = read_all(signature_path, &signature_bytes);
    size_t first = algorithm->label ? algorithm->first_bytes : signature_bytes;
    const char *context = strncmp(algorithm->first, "ML-", 3) == 0 ||
                                  strncmp(algorithm->first, "SLH", 3) == 0
                            ? "mmh"
                            : NULL;
    if (first > signature_bytes)
        return 1;
    if (algorithm->label) {
        bytes = composite_message(message, algorithm->label, text, bytes);
        text = message;
        context = algorithm->label;
    }
    EVP_MD_CTX *md = begin(false, keys[0], algorithm->first_digest, context);
    bool right = EVP_DigestVerify(md, signature, first, text, bytes) == 1;
    EVP_MD_CTX_free(md);
    if (algorithm->second) {
        md = begin(false, keys[1], algorithm->second_digest, NULL);
        right &= EVP_DigestVerify(md, signature + first, signature_bytes - first, text, bytes) == 1;
        EVP_MD_CTX_free(md);
    }
    return right ? 0 : 1;
}

int main(int argc, char **argv)
{
    EVP_PKEY *keys[4] = { NULL };
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "generate") == 0 && argc == 4)
        return generate(algorithm_of(argv[2]), argv[3]);
    if (argc < 3)
        give_up("usage");
    size_t count = read_keys(argv[2], keys, 4);
    if (strcmp(verb, "info") == 0)
        for (size_t i = 0; i < count; i++)
            printf("%s\n", EVP_PKEY_get0_type_name(keys[i]));
    else if (argc == 6) {
        const struct algorithm *algorithm = algorithm_of(argv[3]);
        if (count < (algorithm->second ? 2 : 1))
            give_up("keys are missing");
        return strcmp(verb, "sign") == 0 ? sign(algorithm, keys, argv[4], argv[5])
                                         : verify(algorithm, keys, argv[4], argv[5]);
    }
    return 0;
}
