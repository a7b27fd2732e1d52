/*
 * Plain driver for fuzz targets: runs one on every file of the corpus folders and files named in
 * argv, then on mutations of them; any compiler will do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { MUTATIONS = 64, FILE_BYTES_MAX = 16 << 20 };

static uint64_t random_state = 1;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Exactly as long as it should be on the heap, so that a sanitizer sees every byte past it. */
static void run_copy(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        abort();
    if (bytes)
        memcpy(copy, data, bytes);
    (void)LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
}

static void run_file(const char *path)
{
    uint8_t *data;
    size_t bytes;
    mmh_error err = { .status = MMH_OK };
    if (mmh_input_slurp(&data, &bytes, path, FILE_BYTES_MAX, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    run_copy(data, bytes);
    for (int i = 0; bytes && i < MUTATIONS; i++) {
        size_t at = (size_t)(random_next() % bytes);
        uint8_t kept = data[at];
        data[at] = (uint8_t)random_next();
        run_copy(data, i % 4 ? bytes : at);
        data[at] = kept;
    }
    mmh_free(NULL, data);
}

int main(int argc, char **argv)
{
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        struct mmh_path_info info;
        struct mmh_arena arena;
        struct mmh_path_info *entries;
        size_t count;
        mmh_folder *folder;
        mmh_error err = { .status = MMH_OK };
        if (mmh_path_stat(&info, argv[i], true, &err) || info.kind == MMH_PATH_NONE)
            continue;
        if (info.kind == MMH_PATH_FILE) {
            run_file(argv[i]);
            files++;
            continue;
        }
        mmh_arena_init(&arena, NULL);
        if (mmh_folder_open(&folder, argv[i], false, NULL, &err) ||
            mmh_folder_list(&entries, &count, &arena, folder, NULL, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 2;
        }
        for (size_t f = 0; f < count; f++) {
            const char *path = mmh_arena_format(&arena, "%s/%s", argv[i], entries[f].path);
            if (path && entries[f].kind == MMH_PATH_FILE) {
                run_file(path);
                files++;
            }
        }
        mmh_folder_close(folder);
        mmh_arena_release(&arena);
    }
    run_copy(NULL, 0);
    printf("%zu files replayed\n", files);
    return 0;
}
