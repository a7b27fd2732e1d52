/*
 * What tests of files share: a temporary folder, small files, and what lies in a folder afterwards.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * To be included after cmocka.h.
 */
#ifndef MMH_TESTS_SCRATCH_H
#define MMH_TESTS_SCRATCH_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/io.h"
#include "mmh.h"

static char scratch_folder[256]; /* of this run, removed at the end */

/* The path of a file in the folder; the same pointer for the same name. */
static inline const char *at(const char *name)
{
    static struct {
        char name[64], path[512];
    } known[64];
    size_t i = 0;
    while (known[i].name[0] && strcmp(known[i].name, name) != 0)
        assert_true(++i < sizeof known / sizeof *known);
    if (!known[i].name[0]) {
        snprintf(known[i].name, sizeof known[i].name, "%s", name);
        snprintf(known[i].path, sizeof known[i].path, "%s/%s", scratch_folder, name);
    }
    return known[i].path;
}

static inline void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* To be freed; NULL: it is not there. */
static inline uint8_t *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file)
        return NULL;
    assert_int_equal(fstat(fileno(file), &info), 0);
    *bytes = (size_t)info.st_size;
    uint8_t *data = malloc(*bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

/* Whether a file holds just these bytes; false too if it is not there. */
static inline bool file_is(const char *path, const void *data, size_t bytes)
{
    size_t found = 0;
    uint8_t *content = read_file(path, &found);
    bool same = content && found == bytes && memcmp(content, data, bytes) == 0;
    free(content);
    return same;
}

/* Entries of a folder, hidden ones too; 0 if it is not there. */
static inline size_t entry_count(const char *path)
{
    DIR *folder = opendir(path);
    size_t count = 0;
    if (!folder)
        return 0;
    for (const struct dirent *item; (item = readdir(folder)) != NULL;)
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
    closedir(folder);
    return count;
}

enum { SMALL_MODEL_ROOM = 8192 };

/* A safetensors file of some kB: bf16 weights with scales of rows and columns (a model, rANS), fp32,
 * and text in between; file [SMALL_MODEL_ROOM]. Returns its bytes. */
static inline size_t make_small_model(uint8_t *file)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"w\":{\"dtype\":\"BF16\",\"shape\":[24,64],\"data_offsets\":[0,3072]},"
        "\"v\":{\"dtype\":\"F32\",\"shape\":[256],\"data_offsets\":[3072,4096]}}";
    size_t header_bytes = sizeof header - 1;
    uint64_t seed = 88172645463325252u;
    memset(file, 0, 8);
    mmh_store64(file, header_bytes);
    memcpy(file + 8, header, header_bytes);
    uint8_t *data = file + 8 + header_bytes;
    for (size_t i = 0; i < 24 * 64 + 256; i++) {
        int32_t sum = 0;
        for (int k = 0; k < 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            sum += (int32_t)(seed >> 48) - 0x8000;
        }
        float weight = (float)sum * (float)(1 << i / 64 % 5) * 1e-6f;
        uint32_t bits;
        memcpy(&bits, &weight, 4);
        if (i < 24 * 64)
            mmh_store16(data + 2 * i, (uint16_t)(bits >> 16));
        else
            mmh_store32(data + 3072 + 4 * (i - 24 * 64), bits & 0xffffff00);
    }
    return 8 + header_bytes + 4096;
}

/* Loaded elements, in this machine's order, are those of a little-endian file. */
static inline void assert_loaded(const void *loaded, const uint8_t *file, size_t bytes,
                                 mmh_dtype dtype)
{
    if (!MMH_BIG_ENDIAN) {
        assert_memory_equal(loaded, file, bytes);
        return;
    }
    const size_t unit = MMH_MAX(mmh_dtype_bit_count(dtype) / 8, 1u); /* blocks stay as they are */
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(((const uint8_t *)loaded)[i], file[i / unit * unit + unit - 1 - i % unit]);
}

static inline int scratch_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    if (!base) /* in memory nobody waits for syncs */
        base = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(scratch_folder, sizeof scratch_folder, "%s/mmh-test-XXXXXX", base);
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline void remove_tree(const char *path)
{
    mmh_folder *parent;
    struct stat info;
    char folder[4096];
    if (lstat(path, &info))
        return;
    const char *name = strrchr(path, '/') +
                       1; /* from its own folder: emulators show another root */
    assert_true(snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path) <
                (int)sizeof folder);
    assert_int_equal(mmh_folder_open(&parent, folder, false, NULL, NULL), MMH_OK);
    assert_int_equal(mmh_folder_remove_tree(parent, name, NULL), MMH_OK);
    mmh_folder_close(parent);
}

static inline int scratch_remove(void **state)
{
    (void)state;
    remove_tree(scratch_folder);
    return 0;
}

#endif
