/*
 * What fuzz targets share: weights out of few bytes, files.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

/* ---- weights ---- */

enum { KIND_BYTES, KIND_ZEROS, KIND_ONE, KIND_RAMP, KIND_NOISE, KIND_BELL, KIND_SPARSE, KIND_COPY };

static uint32_t noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* About normal: a float of the type that is so wide, or the sum of a few bits for an integer. */
static void put_bell(uint8_t *dst, unsigned element_bytes, uint64_t *state, unsigned scale)
{
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (int32_t)(noise(state) >> 16);
    float value = (float)(sum - (2 << 16)) / (float)(1u << (16 + scale % 16));
    double wide = (double)value;
    uint32_t narrow;
    memcpy(&narrow, &value, 4);
    if (element_bytes == 8)
        memcpy(dst, &wide, 8);
    else if (element_bytes == 4)
        memcpy(dst, &narrow, 4);
    else if (element_bytes == 2)
        mmh_store16(dst, (uint16_t)(narrow >> 16));
    else
        dst[0] = (uint8_t)((sum - (2 << 16)) >> (8 + scale % 8));
}

void fuzz_fill(uint8_t *dst, size_t bytes, unsigned element_bytes, struct fuzz_input *in)
{
    uint64_t state = bytes;
    for (size_t at = 0; at < bytes;) {
        unsigned op = in->bytes ? (unsigned)fuzz_number(in, 1) : KIND_NOISE | 31u << 3;
        size_t run = MMH_MIN((size_t)element_bytes << MMH_MIN(op >> 3, 20u), bytes - at);
        uint64_t argument = 0;
        if ((op & 7) == KIND_BYTES || (op & 7) == KIND_ONE) {
            run = (op & 7) == KIND_BYTES ? MMH_MIN(run, in->bytes + 1) : run;
            argument = fuzz_number(in, 8 * ((op & 7) == KIND_ONE));
        } else if ((op & 7) != KIND_ZEROS) {
            argument = fuzz_number(in, 2);
            state ^= argument << 20;
        }
        for (size_t i = 0; i < run; i += element_bytes) {
            uint8_t element[8] = { 0 };
            size_t width = MMH_MIN((size_t)element_bytes, run - i);
            uint64_t value = argument;
            switch (op & 7) {
            case KIND_BYTES:
                value = fuzz_number(in, width);
                break;
            case KIND_ZEROS:
                value = 0;
                break;
            case KIND_RAMP:
                value = argument * (i / element_bytes + 1);
                break;
            case KIND_NOISE:
                value = (uint64_t)noise(&state) << 32;
                value |= noise(&state);
                break;
            case KIND_COPY:
                value = 0;
                if (at + i > argument)
                    memcpy(&value, dst + at + i - argument - 1,
                           MMH_MIN(width, (size_t)argument + 1));
                break;
            default:
                break;
            }
            mmh_store64(element, value);
            if ((op & 7) == KIND_BELL ||
                ((op & 7) == KIND_SPARSE && noise(&state) >> 24 < (argument & 255)))
                put_bell(element, element_bytes, &state, (unsigned)argument >> 8);
            else if ((op & 7) == KIND_SPARSE) /* few of them -0.0 */
                mmh_store64(element, (uint64_t)(noise(&state) >> 28 == 0) << (8 * width - 1));
            memcpy(dst + at + i, element, width);
        }
        at += run;
    }
}

/* ---- files ---- */

static char folder[256];

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)place;
    if (kind == FTW_D || kind == FTW_DNR)
        (void)chmod(path, 0700);
    return 0;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

void fuzz_remove(const char *path)
{
    if (unlink(path) == 0)
        return;
    (void)nftw(path, remove_one, 16, FTW_PHYS);
    (void)nftw(path, remove_entry, 16, FTW_PHYS | FTW_DEPTH);
}

static void remove_folder(void)
{
    fuzz_remove(folder);
}

const char *fuzz_path(const char *name)
{
    static char paths[8][512];
    static unsigned next;
    if (!folder[0]) {
        const char *parent = getenv("FUZZ_FOLDER"); /* of tools/fuzz.py, which clears it up */
        if (!parent)
            parent = access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";
        FUZZ_REQUIRE(snprintf(folder, sizeof folder, "%s/mmh-fuzz-XXXXXX", parent) <
                     (int)sizeof folder);
        FUZZ_REQUIRE(mkdtemp(folder) && !atexit(remove_folder));
    }
    char *path = paths[next++ % 8];
    FUZZ_REQUIRE(snprintf(path, sizeof paths[0], "%s/%s", folder, name) < (int)sizeof paths[0]);
    return path;
}

void fuzz_write(const char *path, const uint8_t *data, size_t bytes)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    FUZZ_REQUIRE(file >= 0);
    for (size_t at = 0; at < bytes;) {
        ssize_t written = write(file, data + at, bytes - at);
        FUZZ_REQUIRE(written > 0);
        at += (size_t)written;
    }
    FUZZ_REQUIRE(!close(file));
}

uint8_t *fuzz_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    FUZZ_REQUIRE(!fseek(file, 0, SEEK_END));
    long end = ftell(file);
    FUZZ_REQUIRE(end >= 0 && !fseek(file, 0, SEEK_SET));
    uint8_t *data = fuzz_memory((size_t)end);
    *bytes = fread(data, 1, (size_t)end, file);
    FUZZ_REQUIRE(*bytes == (size_t)end && !fclose(file));
    return data;
}

enum { THREADS_MAX = 4 };

static mmh_context *contexts[THREADS_MAX + 1];

static void destroy_contexts(void)
{
    for (unsigned threads = 0; threads <= THREADS_MAX; threads++)
        mmh_context_destroy(contexts[threads]);
}

/* libcrypto's error state of threads that still live when it cleans up at the end of the process: not
 * ours to free. The unit tests, which join every thread before, look for leaks without this. */
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier) */
const char *__lsan_default_suppressions(void)
{
    return "leak:CRYPTO_zalloc\nleak:CRYPTO_malloc\n"; /* as the linker has them */
}

mmh_context *fuzz_context(unsigned threads)
{
    static bool noted;
    FUZZ_REQUIRE(threads <= THREADS_MAX);
    if (!noted)
        noted = atexit(destroy_contexts) == 0;
    mmh_context_options options = { .struct_size = sizeof options, .threads = threads };
    if (!contexts[threads])
        FUZZ_REQUIRE(!mmh_context_create(&contexts[threads], &options, NULL));
    return contexts[threads];
}
