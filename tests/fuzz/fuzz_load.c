/*
 * Fuzz target: of a sound container any slice, range and set of tensors is what was packed, or is
 * refused, and nothing is written past its destination.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: calls, each a byte that says which, then its arguments.
 */
#include "fuzz.h"

#include <sys/stat.h>

enum { CALLS_MAX = 12, DIMENSIONS_MAX = 4, THREADS = 2 };

struct part {
    const char *file, *name, *dtype; /* dtype: of safetensors; NULL: npy's own */
    unsigned element_bytes;          /* 0: four bits */
    uint32_t dimensions;
    uint64_t shape[DIMENSIONS_MAX];
    bool big_endian;
    uint64_t file_offset, bytes;
    unsigned numbers; /* in an element; 0: one */
};

/* A byte more than one chunk, rows across its edge; types of all sizes; other orders of bytes. */
static struct part parts[] = {
    { "a.safetensors", "rows", "U8", 1, 3, { 3, 401, 250 }, false, 0, 0, 0 },
    { "a.safetensors", "wide", "F32", 4, 2, { 20, 33 }, false, 0, 0, 0 },
    { "a.safetensors", "half", "BF16", 2, 4, { 2, 3, 5, 7 }, false, 0, 0, 0 },
    { "a.safetensors", "nibbles", "F4", 0, 2, { 6, 8 }, false, 0, 0, 0 },
    { "a.safetensors", "scalar", "I64", 8, 0, { 0 }, false, 0, 0, 0 },
    { "a.safetensors", "void", "F16", 2, 2, { 0, 3 }, false, 0, 0, 0 },
    { "a.safetensors", "pairs", "C64", 8, 1, { 17 }, false, 0, 0, 2 },
    { "b.npy", "b", NULL, 8, 2, { 9, 11 }, true, 0, 0, 0 },
};
static uint8_t *contents[2]; /* of the two files */
static size_t contents_bytes[2];
static mmh_reader *reader;
static uint64_t numbers[MMH_COUNT_OF(parts)]; /* of the tensors in the container */

static uint64_t part_bytes(const struct part *part)
{
    uint64_t bytes = part->element_bytes ? part->element_bytes : 1;
    for (uint32_t d = 0; d < part->dimensions; d++)
        bytes *= part->shape[d];
    return part->element_bytes ? bytes : bytes / 2;
}

/* Both files, of weights and bytes. */
static void make_contents(void)
{
    static const uint8_t recipe[] = { 5 | 9 << 3, 1, 6, 4 | 13 << 3, 7, 7, 3 | 20 << 3, 3, 0 };
    struct fuzz_input in = { recipe, sizeof recipe };
    char head[1024] = "{";
    uint64_t offset = 0;
    for (size_t p = 0; p < MMH_COUNT_OF(parts); p++) {
        struct part *part = &parts[p];
        part->bytes = part_bytes(part);
        if (!part->dtype)
            continue;
        size_t at = strlen(head);
        at += (size_t)snprintf(head + at, sizeof head - at,
                               "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", p ? "," : "", part->name,
                               part->dtype);
        for (uint32_t d = 0; d < part->dimensions; d++)
            at += (size_t)snprintf(head + at, sizeof head - at, "%s%llu", d ? "," : "",
                                   (unsigned long long)part->shape[d]);
        (void)snprintf(head + at, sizeof head - at, "],\"data_offsets\":[%llu,%llu]}",
                       (unsigned long long)offset, (unsigned long long)(offset + part->bytes));
        part->file_offset = offset;
        offset += part->bytes;
    }
    strcat(head, "}");
    size_t head_bytes = strlen(head);
    contents_bytes[0] = 8 + head_bytes + (size_t)offset;
    contents[0] = fuzz_memory(contents_bytes[0]);
    mmh_store64(contents[0], head_bytes);
    memcpy(contents[0] + 8, head, head_bytes);
    fuzz_fill(contents[0] + 8 + head_bytes, (size_t)offset, 2, &in);
    for (size_t p = 0; p < MMH_COUNT_OF(parts); p++)
        parts[p].file_offset += 8 + head_bytes;

    struct part *array = &parts[MMH_COUNT_OF(parts) - 1];
    char npy[128];
    memset(npy, ' ', sizeof npy);
    memcpy(npy, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char text[] = "{'descr': '>f8', 'fortran_order': False, 'shape': (9, 11), }";
    memcpy(npy + 10, text, sizeof text - 1);
    npy[127] = '\n';
    array->file_offset = sizeof npy;
    contents_bytes[1] = sizeof npy + (size_t)array->bytes;
    contents[1] = fuzz_memory(contents_bytes[1]);
    memcpy(contents[1], npy, sizeof npy);
    fuzz_fill(contents[1] + sizeof npy, (size_t)array->bytes, 8, &in);
}

static void close_container(void)
{
    mmh_close(reader);
    free(contents[0]);
    free(contents[1]);
}

static void open_container(void)
{
    mmh_context *context = fuzz_context(THREADS);
    const char *folder = fuzz_path("model"), *container = fuzz_path("model.mmh");
    make_contents();
    FUZZ_REQUIRE(!mkdir(folder, 0755));
    fuzz_write(fuzz_path("model/a.safetensors"), contents[0], contents_bytes[0]);
    fuzz_write(fuzz_path("model/b.npy"), contents[1], contents_bytes[1]);
    FUZZ_REQUIRE(!mmh_pack(context, &folder, 1, container, NULL, NULL, NULL));
    FUZZ_REQUIRE(!mmh_open(context, container, &reader, NULL));
    FUZZ_REQUIRE(!atexit(close_container)); /* before the context, which was noted before it */
    for (size_t p = 0; p < MMH_COUNT_OF(parts); p++)
        FUZZ_REQUIRE(!mmh_find(reader, parts[p].name, &numbers[p], NULL));
}

static bool is_turned(const struct part *part)
{
    return part->big_endian == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
}

/* What an element is once loaded: its numbers in host order. */
static void take_element(uint8_t *dst, const struct part *part, uint64_t offset)
{
    const uint8_t *file = contents[part->dtype ? 0 : 1] + part->file_offset + offset;
    unsigned bytes = part->element_bytes ? part->element_bytes : 1;
    unsigned number_bytes = part->numbers ? bytes / part->numbers : bytes;
    for (unsigned i = 0; i < bytes; i++) {
        unsigned within = i % number_bytes;
        dst[i] = file[i - within + (is_turned(part) ? number_bytes - 1 - within : within)];
    }
}

static bool equals_part(const uint8_t *memory, const struct part *part)
{
    uint8_t element[8];
    unsigned bytes = part->element_bytes ? part->element_bytes : 1;
    if (!is_turned(part))
        return !part->bytes || !memcmp(memory, contents[part->dtype ? 0 : 1] + part->file_offset,
                                       (size_t)part->bytes);
    for (uint64_t at = 0; at < part->bytes; at += bytes) {
        take_element(element, part, at);
        if (memcmp(memory + at, element, bytes) != 0)
            return false;
    }
    return true;
}

static uint64_t some_size(struct fuzz_input *in, uint64_t wanted)
{
    unsigned how = fuzz_below(in, 8);
    return how == 7 ? fuzz_number(in, 4) % (wanted + 64) : wanted;
}

static void load_whole(struct fuzz_input *in)
{
    unsigned p = fuzz_below(in, MMH_COUNT_OF(parts));
    uint64_t room = some_size(in, parts[p].bytes);
    uint8_t *memory = fuzz_memory((size_t)room);
    mmh_status status = mmh_load(reader, numbers[p], memory, (size_t)room, NULL);
    FUZZ_REQUIRE((status == MMH_OK) == (room >= parts[p].bytes));
    FUZZ_REQUIRE(status || equals_part(memory, &parts[p]));
    free(memory);
}

/* Where a slice's element number `index` lies in the whole, in elements. */
static uint64_t place_of(const struct part *part, const uint64_t *begin, const uint64_t *end,
                         uint64_t index)
{
    uint64_t at[DIMENSIONS_MAX], place = 0;
    for (uint32_t d = part->dimensions; d-- > 0;) {
        at[d] = begin[d] + index % (end[d] - begin[d]);
        index /= end[d] - begin[d];
    }
    for (uint32_t d = 0; d < part->dimensions; d++)
        place = place * part->shape[d] + at[d];
    return place;
}

static void load_slice(struct fuzz_input *in)
{
    const struct part *part;
    unsigned p = fuzz_below(in, MMH_COUNT_OF(parts));
    uint64_t begin[DIMENSIONS_MAX], end[DIMENSIONS_MAX], count = 1;
    bool right = true;
    part = &parts[p];
    for (uint32_t d = 0; d < part->dimensions; d++) {
        begin[d] = fuzz_number(in, 1) % (part->shape[d] + 2);
        end[d] = fuzz_number(in, 2) % (part->shape[d] + 2);
        if (fuzz_below(in, 16) == 15)
            end[d] = fuzz_number(in, 8);
        right = right && begin[d] <= end[d] && end[d] <= part->shape[d];
        count = right ? count * (end[d] - begin[d]) : 0;
    }
    uint64_t room = some_size(in, count * part->element_bytes);
    uint8_t *memory = fuzz_memory((size_t)room);
    mmh_status status = mmh_load_slice(reader, numbers[p], begin, end, memory, (size_t)room, NULL);
    if (!part->element_bytes)
        FUZZ_REQUIRE(status);
    else
        FUZZ_REQUIRE((status == MMH_OK) == (right && room >= count * part->element_bytes));
    uint8_t element[8];
    for (uint64_t i = 0; !status && i < count; i++) {
        take_element(element, part, place_of(part, begin, end, i) * part->element_bytes);
        FUZZ_REQUIRE(!memcmp(memory + i * part->element_bytes, element, part->element_bytes));
    }
    free(memory);
}

static void read_range(struct fuzz_input *in)
{
    /* File 0 is the folder itself, then both in order of name. */
    unsigned file = fuzz_below(in, 2);
    uint64_t size = contents_bytes[file], offset = fuzz_number(in, 3) % (size + 2);
    uint64_t bytes = fuzz_number(in, 3) % (size + 2);
    if (fuzz_below(in, 16) == 15)
        offset = fuzz_number(in, 8);
    uint8_t *memory = fuzz_memory((size_t)bytes);
    bool right = offset <= size && bytes <= size - offset;
    mmh_file_info info = { .struct_size = sizeof info };
    uint64_t number = 0;
    while (!mmh_file(reader, number, &info, NULL) &&
           strcmp(info.name, file ? "b.npy" : "a.safetensors"))
        number++;
    mmh_status status = mmh_read(reader, number, offset, memory, (size_t)bytes, NULL);
    FUZZ_REQUIRE((status == MMH_OK) == right);
    FUZZ_REQUIRE(status || !bytes || !memcmp(memory, contents[file] + offset, (size_t)bytes));
    free(memory);
}

static void load_several(struct fuzz_input *in)
{
    enum { REQUESTS_MAX = 6 };
    mmh_load_request requests[REQUESTS_MAX] = { { 0 } };
    unsigned wanted[REQUESTS_MAX];
    size_t count = fuzz_below(in, REQUESTS_MAX + 1);
    bool right = true;
    for (size_t i = 0; i < count; i++) {
        wanted[i] = fuzz_below(in, MMH_COUNT_OF(parts));
        uint64_t room = some_size(in, parts[wanted[i]].bytes);
        right = right && room >= parts[wanted[i]].bytes;
        requests[i] = (mmh_load_request){ numbers[wanted[i]], fuzz_memory((size_t)room),
                                          (size_t)room };
    }
    mmh_status status = mmh_load_many(reader, requests, count, NULL);
    FUZZ_REQUIRE((status == MMH_OK) == right);
    for (size_t i = 0; i < count; i++) {
        FUZZ_REQUIRE(status || equals_part(requests[i].destination, &parts[wanted[i]]));
        free(requests[i].destination);
    }
}

static void ask(struct fuzz_input *in)
{
    char name[16] = { 0 };
    uint64_t number;
    const char *key, *value;
    mmh_tensor_info tensor = { .struct_size = sizeof tensor };
    for (size_t i = 0; i < fuzz_below(in, sizeof name); i++)
        name[i] = (char)fuzz_number(in, 1);
    if (!mmh_find(reader, name, &number, NULL))
        FUZZ_REQUIRE(!mmh_tensor(reader, number, &tensor, NULL));
    (void)mmh_metadata(reader, fuzz_number(in, 1), fuzz_number(in, 1), &key, &value, NULL);
    (void)mmh_tensor(reader, fuzz_number(in, 8), &tensor, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void (*const calls[])(struct fuzz_input *) = { load_whole, load_slice, read_range,
                                                          load_several, ask };
    struct fuzz_input in = { data, bytes };
    if (!reader)
        open_container();
    for (size_t i = 0; in.bytes && i < CALLS_MAX; i++)
        calls[fuzz_below(&in, MMH_COUNT_OF(calls))](&in);
    return 0;
}
