/*
 * Sources: an open input, bytes in memory or a part of another source behind one read function.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "base/bits.h"
#include "format/format_table.h"

static mmh_status read_input(void *context, uint64_t offset, void *dst, size_t bytes,
                             mmh_error *err)
{
    return mmh_input_read(context, dst, offset, bytes, err);
}

static mmh_status read_memory(void *context, uint64_t offset, void *dst, size_t bytes,
                              mmh_error *err)
{
    (void)err;
    memcpy(dst, (const uint8_t *)context + offset, bytes);
    return MMH_OK;
}

mmh_source mmh_source_of_input(const mmh_input *input)
{
    return (mmh_source){
        .struct_size = sizeof(mmh_source),
        .read = read_input,
        .user = (void *)(uintptr_t)input, /* mmh_input_read takes it as const again */
        .bytes = mmh_input_bytes(input),
        .name = mmh_input_name(input),
    };
}

mmh_source mmh_source_of_memory(const void *data, size_t bytes, const char *name)
{
    return (mmh_source){
        .struct_size = sizeof(mmh_source),
        .read = read_memory,
        .user = (void *)(uintptr_t)data, /* only read */
        .bytes = bytes,
        .name = name,
    };
}

static mmh_status read_part(void *context, uint64_t offset, void *dst, size_t bytes, mmh_error *err)
{
    const struct mmh_source_part *part = context;
    return part->whole->read(part->whole->user, part->offset + offset, dst, bytes, err);
}

mmh_source mmh_source_of_part(struct mmh_source_part *part, const mmh_source *whole,
                              uint64_t offset, uint64_t bytes, const char *name)
{
    *part = (struct mmh_source_part){ whole, offset };
    return (mmh_source){ .struct_size = sizeof(mmh_source),
                         .read = read_part,
                         .user = part,
                         .bytes = bytes,
                         .name = name };
}

mmh_status mmh_source_take(uint8_t **data, const mmh_source *source, uint64_t offset, size_t bytes,
                           const mmh_allocator *allocator, mmh_error *err)
{
    uint8_t *memory = mmh_alloc(allocator, 0, bytes + 1);
    if (!memory)
        return mmh_fail(err, MMH_E_MEMORY, "header of %zu bytes", bytes);
    mmh_status status = bytes ? source->read(source->user, offset, memory, bytes, err) : MMH_OK;
    if (status) {
        mmh_free(allocator, memory);
        return status;
    }
    memory[bytes] = '\0';
    *data = memory;
    return MMH_OK;
}

const char *mmh_source_base_name(const mmh_source *source)
{
    const char *name = source->name ? source->name : "";
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

const char *mmh_source_stem(const mmh_source *source, struct mmh_arena *arena)
{
    const char *name = mmh_source_base_name(source);
    const char *dot = strrchr(name, '.');
    size_t bytes = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    return bytes ? mmh_arena_string(arena, name, bytes) : mmh_arena_string(arena, "array", 5);
}
