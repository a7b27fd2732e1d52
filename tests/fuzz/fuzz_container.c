/*
 * Fuzz target: containers of any bytes are opened, listed, loaded, verified and unpacked, or
 * refused; unpacking stays in its folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input that begins as a container is one; it is read as it is, and again with right checksums.
 * Any other is the parts of one (sealed_parts), so that nothing stops at hashes.
 */
#include "sealed.h"
#include "tensor/extent.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ORIGINAL_MAX = 4 << 20,   /* what a container claims beyond that is not restored, to be fast */
    UNPACKED_MAX = 256 << 10, /* and beyond that not unpacked */
    UNPACKED_THINGS_MAX = 64, /* files of what is unpacked */
    THINGS_MAX = 16           /* files and tensors that are looked at */
};

/* Load a tensor whole, and slices of it: without the first and last index of each dimension (of
 * blocks without its first and last rows, whichever way they lie), and the last element alone. Returns whether all was well. */
static bool load_tensor(mmh_reader *reader, uint64_t number)
{
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    uint64_t begin[64], end[64], last[64], found;
    uint8_t element[16];
    FUZZ_REQUIRE(!mmh_tensor(reader, number, &tensor, NULL));
    (void)mmh_find(reader, tensor.name, &found, NULL);
    uint8_t *memory = fuzz_memory((size_t)tensor.bytes);
    mmh_status status = mmh_load(reader, number, memory, (size_t)tensor.bytes, NULL);
    unsigned unit, block = mmh_dtype_block(tensor.dtype, &unit);
    bool empty = false;
    for (uint32_t d = 0; d < tensor.dimensions; d++) {
        bool row = d == (tensor.column_major ? 0 : tensor.dimensions - 1);
        begin[d] = tensor.shape[d] > 2 && !(row && block > 1);
        end[d] = tensor.shape[d] - begin[d];
        empty = empty || !tensor.shape[d];
        last[d] = tensor.shape[d] - !empty;
    }
    mmh_status one = mmh_load_slice(reader, number, last, tensor.shape, element, sizeof element,
                                    NULL);
    uint64_t bytes;
    if (status == MMH_OK && block &&
        tensor.dtype != MMH_DTYPE_OPAQUE && /* whose shape may say anything */
        mmh_shape_bytes(&bytes, tensor.dtype, tensor.dimensions, tensor.shape) &&
        bytes <= tensor.bytes) { /* unless elements share bytes */
        mmh_status part = mmh_load_slice(reader, number, begin, end, memory, (size_t)tensor.bytes,
                                         NULL);
        if (block == 1 || part != MMH_E_UNSUPPORTED) /* rows may be of no whole blocks */
            status = part;
        FUZZ_REQUIRE(block > 1 || empty || !one);
    }
    free(memory);
    return status == MMH_OK;
}

static bool read_file(mmh_reader *reader, uint64_t number)
{
    mmh_file_info file = { .struct_size = sizeof file };
    const char *key, *value;
    FUZZ_REQUIRE(!mmh_file(reader, number, &file, NULL));
    for (uint64_t i = 0; i < THINGS_MAX && !mmh_metadata(reader, number, i, &key, &value, NULL);)
        i += 1 + strlen(key) % 2 + strlen(value) % 2;
    if (file.kind != MMH_FILE_REGULAR || !file.bytes)
        return true;
    uint64_t skip = file.bytes / 3;
    uint8_t *memory = fuzz_memory((size_t)(file.bytes - skip));
    bool good = mmh_read(reader, number, skip, memory, (size_t)(file.bytes - skip), NULL) == MMH_OK;
    free(memory);
    return good;
}

/* Whether a folder holds `name` alone, or nothing. */
static bool holds_only(const char *path, const char *name)
{
    DIR *folder = opendir(path);
    FUZZ_REQUIRE(folder);
    bool only = true;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        only = only && (entry->d_name[0] == '.' || !strcmp(entry->d_name, name));
    (void)closedir(folder);
    return only;
}

/* A symlink that was made stays beneath the folder that it was unpacked to, taken by its letters;
 * ftw counts the folders above it. */
static int check_link(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    char target[4096];
    (void)about;
    if (kind != FTW_SL && kind != FTW_SLN)
        return 0;
    ssize_t length = readlink(path, target, sizeof target - 1);
    FUZZ_REQUIRE(length > 0 && target[0] != '/');
    target[length] = 0;
    int depth = place->level - 1;
    for (char *part = strtok(target, "/"); part; part = strtok(NULL, "/")) {
        depth += !strcmp(part, "..") ? -1 : strcmp(part, ".") != 0;
        FUZZ_REQUIRE(depth >= 0);
    }
    return 0;
}

/* Unpack three folders deep; nothing may appear above. */
static mmh_status unpack(const char *container)
{
    mmh_context *context = fuzz_context(1);
    const char *top = fuzz_path("u"), *middle = fuzz_path("u/v"), *inner = fuzz_path("u/v/w");
    fuzz_remove(top);
    FUZZ_REQUIRE(!mkdir(top, 0755) && !mkdir(middle, 0755));
    mmh_status status = mmh_unpack(context, container, inner, NULL, NULL, NULL);
    FUZZ_REQUIRE(holds_only(top, "v") && holds_only(middle, "w"));
    (void)nftw(inner, check_link, 16, FTW_PHYS);
    return status;
}

/* Ranges of damage, one after another in their file; tensors within the last range. */
struct damage {
    mmh_damage range;
    uint64_t bytes;
    size_t count;
};

static void look_at_damage(void *user, const mmh_damage *damage)
{
    struct damage *seen = user;
    if (damage->tensor) {
        FUZZ_REQUIRE(seen->count && damage->file == seen->range.file && damage->bytes);
        FUZZ_REQUIRE(damage->offset >= seen->range.offset &&
                     damage->bytes <= seen->range.bytes - (damage->offset - seen->range.offset));
        return;
    }
    FUZZ_REQUIRE((damage->file == UINT64_MAX) == !damage->name);
    seen->range = *damage;
    seen->bytes += damage->bytes;
    seen->count++;
}

static mmh_status verify(mmh_context *context, const char *path, bool quick)
{
    struct damage seen = { .bytes = 0 };
    mmh_unpack_report report = { .struct_size = sizeof report };
    mmh_verify_options options = { .struct_size = sizeof options,
                                   .quick = quick,
                                   .damage = look_at_damage,
                                   .damage_user = &seen };
    mmh_status status = mmh_verify(context, path, &options, &report, NULL);
    FUZZ_REQUIRE(seen.bytes == report.damaged_bytes);
    FUZZ_REQUIRE(seen.count || !report.damaged_chunks);
    FUZZ_REQUIRE(!seen.count || status);
    return status;
}

struct bytes {
    const uint8_t *data;
    size_t bytes;
};

static mmh_status serve(void *user, uint64_t offset, void *destination, size_t bytes,
                        mmh_error *err)
{
    const struct bytes *all = user;
    (void)err;
    FUZZ_REQUIRE(bytes && offset <= all->bytes && bytes <= all->bytes - offset);
    memcpy(destination, all->data + offset, bytes);
    return MMH_OK;
}

/* A container that is served opens like its file, and gives the same bytes. */
static void read_served(mmh_context *context, const uint8_t *data, size_t bytes, mmh_reader *file,
                        mmh_status opened)
{
    struct bytes all = { data, bytes };
    const mmh_source source = { sizeof source, "served", bytes, serve, &all };
    mmh_file_info info = { .struct_size = sizeof info };
    mmh_reader *served;
    FUZZ_REQUIRE(mmh_open_source(context, &source, &served, NULL) == opened);
    if (opened || mmh_file(file, 0, &info, NULL) || info.kind != MMH_FILE_REGULAR ||
        info.bytes > ORIGINAL_MAX) {
        mmh_close(served);
        return;
    }
    uint8_t *one = fuzz_memory((size_t)info.bytes), *two = fuzz_memory((size_t)info.bytes);
    mmh_status status = mmh_read(file, 0, 0, one, (size_t)info.bytes, NULL);
    FUZZ_REQUIRE(mmh_read(served, 0, 0, two, (size_t)info.bytes, NULL) == status);
    FUZZ_REQUIRE(status || !info.bytes || !memcmp(one, two, (size_t)info.bytes));
    free(one);
    free(two);
    mmh_close(served);
}

static void read_container(const uint8_t *data, size_t bytes)
{
    mmh_context *context = fuzz_context(1);
    mmh_container_info info = { .struct_size = sizeof info };
    const char *path = fuzz_path("x.mmh");
    mmh_reader *reader;
    fuzz_write(path, data, bytes);
    mmh_status opened = mmh_open(context, path, &reader, NULL);
    read_served(context, data, bytes, reader, opened);
    if (opened) { /* what is encrypted may be right from outside */
        mmh_status status = verify(context, path, true);
        FUZZ_REQUIRE(status || opened == MMH_E_KEY);
        return;
    }
    FUZZ_REQUIRE(!mmh_container(reader, &info, NULL));
    bool small = info.original_bytes <= ORIGINAL_MAX, good = true;
    for (uint64_t i = 0; small && i < info.file_count && i < THINGS_MAX; i++)
        good = read_file(reader, i) && good;
    for (uint64_t i = 0; small && i < info.tensor_count && i < THINGS_MAX; i++)
        good = load_tensor(reader, i) && good;
    bool unpacks = info.original_bytes <= UNPACKED_MAX && info.file_count <= UNPACKED_THINGS_MAX;
    mmh_close(reader);
    (void)verify(context, path, true);
    mmh_status verified = small ? verify(context, path, false) : MMH_E_LIMIT;
    FUZZ_REQUIRE(verified || good); /* what verify finds nothing wrong with can be read */
    if (unpacks) {
        mmh_status status = unpack(path);
        /* ... and comes back, if names and modes suit the file system. */
        FUZZ_REQUIRE(verified || !status || status == MMH_E_IO || status == MMH_E_USAGE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 8)
        return 0;
    if (!mmh_container_magic(data, bytes)) {
        size_t made_bytes;
        uint8_t *made = sealed_parts(&made_bytes, data, bytes);
        read_container(made, made_bytes);
        free(made);
        return 0;
    }
    uint8_t *copy = fuzz_copy(data, bytes);
    read_container(copy, bytes);
    sealed_container(copy, bytes);
    read_container(copy, bytes);
    free(copy);
    return 0;
}
