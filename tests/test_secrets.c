/*
 * What is left in memory of keys, file keys and passphrases once all that used them is released.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The test keeps secrets masked, so that what it finds is not its own. It looks at all of the process's
 * writable memory, its stacks too. Linux alone tells where that is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>

#include "crypto/key.h"
#include "crypto/secret.h"
#include "engine/engine.h"
#include "engine/keys.h"
#include "scratch.h"

enum { MASK = 0x5a, SECRET_BYTES = 32, SECRETS_MAX = 64, WINDOW_BYTES = 1 << 20 };

static struct {
    const char *what;
    uint8_t masked[SECRET_BYTES];
} secrets[SECRETS_MAX];
static size_t secret_count;

/* Remember SECRET_BYTES bytes, masked. */
static void remember(const char *what, const void *secret)
{
    assert_true(secret_count < SECRETS_MAX);
    secrets[secret_count].what = what;
    for (size_t i = 0; i < SECRET_BYTES; i++)
        secrets[secret_count].masked[i] = ((const uint8_t *)secret)[i] ^ MASK;
    secret_count++;
}

static bool is_at(const uint8_t *memory, const uint8_t *masked)
{
    for (size_t i = 0; i < SECRET_BYTES; i++)
        if ((memory[i] ^ MASK) != masked[i])
            return false;
    return true;
}

/* How many secrets the bytes hold; each is named. */
static unsigned look(const uint8_t *memory, size_t bytes, const char *where)
{
    unsigned found = 0;
    for (size_t s = 0; s < secret_count; s++) {
        const uint8_t first = secrets[s].masked[0] ^ MASK;
        const uint8_t *at = memory, *end = memory + bytes - SECRET_BYTES + 1;
        while (at < end && (at = memchr(at, first, (size_t)(end - at)))) {
            if (is_at(at, secrets[s].masked)) {
                print_message("%s is in memory: %s", secrets[s].what, where);
                found++;
                break;
            }
            at++;
        }
    }
    return found;
}

/* All writable memory but the window that it is read through. */
static unsigned scan(void)
{
    int memory = open("/proc/self/mem", O_RDONLY);
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned found = 0;
    size_t seen = 0;
    char line[512];
    uint8_t *window = mmap(NULL, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                           -1, 0);
    assert_true(window != MAP_FAILED);
    if (memory < 0 || !maps)
        skip();
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char access[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || access[0] != 'r' ||
            access[1] != 'w')
            continue;
        for (unsigned long at = from; at < to; at += WINDOW_BYTES - SECRET_BYTES) {
            size_t bytes = to - at < WINDOW_BYTES ? to - at : WINDOW_BYTES;
            unsigned long begin = (unsigned long)(uintptr_t)window;
            if (at < begin + WINDOW_BYTES && at + bytes > begin) {
                if (at >= begin)
                    continue;
                bytes = begin - at; /* the kernel joins neighbours */
            }
            if (bytes < SECRET_BYTES || pread(memory, window, bytes, (off_t)at) != (ssize_t)bytes)
                continue;
            found += look(window, bytes, line);
            seen += bytes;
        }
    }
    munmap(window, WINDOW_BYTES);
    fclose(maps);
    close(memory);
    assert_true(seen > 100000); /* it did look */
    return found;
}

static mmh_status passphrase(void *user, const char *why, char *text, size_t room, size_t *bytes,
                             mmh_error *err)
{
    (void)user;
    (void)why;
    (void)err;
    assert_true(room > SECRET_BYTES);
    for (size_t i = 0; i < SECRET_BYTES; i++) /* "ABCD...": never whole in memory before */
        text[i] = (char)('A' + i);
    *bytes = SECRET_BYTES;
    return MMH_OK;
}

static const struct mmh_key_part *part_for(const mmh_identity *identity, bool signs)
{
    for (size_t i = 0; i < identity->part_count; i++)
        if (!identity->parts[i].signature == !signs)
            return &identity->parts[i];
    fail();
    return NULL;
}

/* The lines of base64 in private PEM blocks are secrets, too. */
static void remember_text(const char *text)
{
    for (const char *at = text; (at = strstr(at, "PRIVATE KEY-----\n")); at++) {
        const char *line = at + strlen("PRIVATE KEY-----\n");
        if (line[0] && strlen(line) > 48 && line[0] != '-')
            remember("PEM text of a private key", line + 8);
    }
}

/* Noinline: what it leaves on the stack lies below the scan's caller, where the scan looks. */
static __attribute__((noinline)) void use_secrets(const char *kem)
{
    mmh_error err = { 0 };
    mmh_key *key = NULL, *back = NULL;
    mmh_context *context = NULL;
    mmh_reader *reader = NULL;
    char algorithms[128], path[4200], source[4200], container[4200], out[4200];
    snprintf(algorithms, sizeof algorithms, "ml-dsa-65-ed25519,%s", kem);
    snprintf(path, sizeof path, "%s/secret.key", scratch_folder);
    snprintf(source, sizeof source, "%s/model.bin", scratch_folder);
    snprintf(container, sizeof container, "%s/model.mmh", scratch_folder);
    snprintf(out, sizeof out, "%s/back", scratch_folder);
    FILE *file = fopen(source, "wb");
    assert_non_null(file);
    for (unsigned i = 0; i < 300000; i++)
        fputc((int)(i * 2654435761u >> 13), file);
    fclose(file);

    assert_int_equal(mmh_key_generate(&key, algorithms, 0, &err), MMH_OK);
    const struct mmh_key_part *decrypts = part_for(mmh_key_identity(key), false);
    remember("the KEM's secret key", decrypts->secret_key + decrypts->secret_bytes - SECRET_BYTES);
    char *text;
    size_t bytes;
    assert_int_equal(mmh_identity_write(&text, &bytes, mmh_key_identity(key), true, NULL, 0, &err),
                     MMH_OK);
    remember_text(text);
    mmh_secret_free(text, bytes + 1);

    char word[64];
    size_t word_bytes;
    passphrase(NULL, "", word, sizeof word, &word_bytes, NULL);
    remember("the passphrase", word);
    assert_int_equal(mmh_key_write(key, path, true, word, word_bytes, true, &err), MMH_OK);
    assert_int_equal(mmh_key_read(&back, path, passphrase, NULL, &err), MMH_OK);

    mmh_context_options given = { .struct_size = sizeof given, .threads = 2 };
    assert_int_equal(mmh_context_create(&context, &given, &err), MMH_OK);
    const mmh_key *keys[] = { back };
    const char *inputs[] = { source };
    mmh_pack_options pack = { .struct_size = sizeof pack,
                              .overwrite = true,
                              .recipients = keys,
                              .recipient_count = 1,
                              .passphrase = word,
                              .passphrase_bytes = word_bytes,
                              .signers = keys,
                              .signer_count = 1 };
    assert_int_equal(mmh_pack(context, inputs, 1, container, &pack, NULL, &err), MMH_OK);
    mmh_wipe(word, sizeof word);
    assert_int_equal(mmh_context_add_key(context, back, &err), MMH_OK);
    mmh_context_set_passphrase(context, passphrase, NULL);
    const mmh_trust trust = { .struct_size = sizeof trust, .signers = keys, .signer_count = 1 };
    assert_int_equal(mmh_context_require(context, &trust, &err), MMH_OK);
    assert_int_equal(mmh_open(context, container, &reader, &err), MMH_OK);
    remember("a container's chunk key", reader->container.keys.chunk);
    remember("a container's page key", reader->container.keys.page);
    remember("a container's recipients key", reader->container.keys.recipients);
    mmh_close(reader);
    mmh_unpack_options unpack = { .struct_size = sizeof unpack, .overwrite = true };
    assert_int_equal(mmh_unpack(context, container, out, &unpack, NULL, &err), MMH_OK);
    const mmh_change_options change = { .struct_size = sizeof change };
    assert_int_equal(mmh_encrypt(context, container, keys, 1, NULL, 0, &change, &err), MMH_OK);
    mmh_context_destroy(context);

    /* By the passphrase alone. */
    passphrase(NULL, "", word, sizeof word, &word_bytes, NULL);
    pack.recipient_count = pack.signer_count = 0;
    assert_int_equal(mmh_context_create(&context, &given, &err), MMH_OK);
    mmh_context_set_passphrase(context, passphrase, NULL);
    assert_int_equal(mmh_pack(context, inputs, 1, container, &pack, NULL, &err), MMH_OK);
    mmh_wipe(word, sizeof word);
    assert_int_equal(mmh_unpack(context, container, out, &unpack, NULL, &err), MMH_OK);
    mmh_context_destroy(context);
    mmh_key_destroy(back);
    mmh_key_destroy(key);
}

/* The scan finds what is there: else it proved nothing. */
static void test_the_scan_finds_secrets(void **state)
{
    (void)state;
    uint8_t *secret = mmh_secret_alloc(SECRET_BYTES);
    assert_non_null(secret);
    for (size_t i = 0; i < SECRET_BYTES; i++)
        secret[i] = (uint8_t)(17 * i + 3);
    secret_count = 0;
    remember("a secret that is meant to be found", secret);
    assert_int_equal(scan(), 1);
    mmh_secret_free(secret, SECRET_BYTES);
    assert_int_equal(scan(), 0);
}

/* Nothing of keys, file keys, passphrases or key files is in memory when they were released. */
static void test_nothing_of_secrets_stays(void **state)
{
    (void)state;
    static const char *const kems[] = { "x-wing", "x25519", "ml-kem-1024", "rsa-oaep",
                                        "mceliece460896f-x25519" };
    for (size_t i = 0; i < sizeof kems / sizeof *kems; i++) {
        secret_count = 0;
        use_secrets(kems[i]);
        assert_true(secret_count >= 6);
        if (scan() != 0)
            fail_msg("secrets of %s are still there", kems[i]);
    }
}

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: sanitizers map more memory than can be looked through");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_scan_finds_secrets),
        cmocka_unit_test(test_nothing_of_secrets_stays),
    };
    return cmocka_run_group_tests_name("secrets", tests, scratch_make, scratch_remove);
}
