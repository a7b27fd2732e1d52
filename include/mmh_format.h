/*
 * mmh_format: teach mmh a model format of your own, with a shared library and this header alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plug-in says which bytes of a file are which tensor, and no more: mmh packs every byte whatever
 * it says, and unpacks without it. It exports one function, mmh_format_plugin:
 *
 *     static int detect(mmh_format_file *file, const mmh_format_host *host)
 *     {
 *         char magic[4];
 *         return !host->read(file, 0, magic, 4) && memcmp(magic, "abcd", 4) == 0;
 *     }
 *     static int map(mmh_format_file *file, const mmh_format_host *host)
 *     {
 *         uint64_t shape[2] = { 4096, 1024 };
 *         mmh_format_tensor tensor = { .struct_size = sizeof tensor, .name = "wte",
 *                                      .dtype_name = "bf16", .dimensions = 2, .shape = shape,
 *                                      .offset = 4 };
 *         return host->add_tensor(file, &tensor);
 *     }
 *     MMH_FORMAT_EXPORT const mmh_format_reader *mmh_format_plugin(void)
 *     {
 *         static const mmh_format_reader reader = { MMH_FORMAT_ABI, sizeof reader, "abcd",
 *                                                   detect, map };
 *         return &reader;
 *     }
 *
 *     cc -shared -fPIC -o abcd.so abcd.c
 *     mmh pack --format-plugin=./abcd.so model.abcd
 *
 * docs/formats-custom.md goes through a whole one. Nothing here links libmmh. Plug-ins are called
 * by one thread at a time for each context, maybe by several contexts at once: keep no state.
 */
#ifndef MMH_FORMAT_PLUGIN_H
#define MMH_FORMAT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The version of this interface. Another number is another interface: mmh refuses such a plug-in.
 * Within one, structs grow at their ends: each says its size, and who reads it does without what is
 * not there. A plug-in that needs a host function later than `remark` looks at table_size first.
 */
#define MMH_FORMAT_ABI 1u

#if defined(_WIN32)
#define MMH_FORMAT_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define MMH_FORMAT_EXPORT __attribute__((visibility("default")))
#else
#define MMH_FORMAT_EXPORT
#endif

/* What functions of both sides return. */
enum {
    MMH_PLUGIN_OK = 0,
    MMH_PLUGIN_OTHER = 1,    /* map: the file is not of this format, or not whole. What was added is
                                forgotten, and other formats are asked */
    MMH_PLUGIN_END = 2,      /* read: not that many bytes there; nothing was read */
    MMH_PLUGIN_LEFT_OUT = 3, /* add_...: that one cannot be, and is left out; others may follow */
    MMH_PLUGIN_IO = 4,       /* the file cannot be read, */
    MMH_PLUGIN_MEMORY = 5    /* or there is no memory: give it back, mmh fails with it anyway */
};

/* The file that is looked at; it may be a part of one, such as an archive's member. */
typedef struct mmh_format_file mmh_format_file;

enum { /* flags of a tensor */
       MMH_TENSOR_BIG_ENDIAN = 1,
       MMH_TENSOR_COLUMN_MAJOR = 2 /* the first dimension varies fastest */
};

/* A tensor as its file names it. Zero it, set struct_size, fill in what there is. */
typedef struct mmh_format_tensor {
    size_t struct_size;
    const char *name; /* UTF-8 */
    const char
        *dtype_name;     /* "bf16", "F32", "int8", "Q4_0", ... as `mmh --dtype`; NULL: see dtype */
    uint32_t dtype;      /* enum mmh_dtype of mmh.h, if dtype_name is NULL */
    uint32_t flags;      /* MMH_TENSOR_... */
    uint32_t dimensions; /* 0: a scalar; at most 64 */
    const uint64_t *shape;   /* [dimensions] slowest first (column-major: fastest first) */
    const uint64_t *strides; /* [dimensions] in elements; NULL: one after another */
    uint64_t offset;         /* of its first element, in the file */
    uint64_t bytes;          /* 0: what type and shape make; else it must be just that */
} mmh_format_tensor;

/*
 * What mmh does for a plug-in. Strings and shapes that are given are copied. Failures of the file
 * and of memory are remembered: a plug-in that does not look at what these return does no harm.
 */
typedef struct mmh_format_host {
    uint32_t abi;      /* MMH_FORMAT_ABI of the mmh that runs */
    size_t table_size; /* of this struct there */

    uint64_t (*file_bytes)(mmh_format_file *file);
    /* Its name without folders; never NULL. Lives until detect or map returns. */
    const char *(*file_name)(mmh_format_file *file);
    /* dst[bytes] from `offset`. Small reads near each other are cheap. */
    int (*read)(mmh_format_file *file, uint64_t offset, void *dst, size_t bytes);

    /* These are for map, not for detect (MMH_PLUGIN_LEFT_OUT). A tensor that overlaps another one is
     * left out later, one with exactly the same bytes is tied to it. */
    int (*add_tensor)(mmh_format_file *file, const mmh_format_tensor *tensor);
    int (*add_metadata)(mmh_format_file *file, const char *key, const char *value);

    /* Note something odd about the file, for people. */
    void (*remark)(mmh_format_file *file, const char *text);
} mmh_format_host;

/* What a plug-in is. */
typedef struct mmh_format_reader {
    uint32_t abi;       /* MMH_FORMAT_ABI */
    size_t struct_size; /* sizeof(mmh_format_reader) */
    const char *name;   /* of the format, for messages */

    /* Not 0 if the file looks like one of this format: a cheap and narrow test. */
    int (*detect)(mmh_format_file *file, const mmh_format_host *host);
    /* Add its tensors and metadata. Anything but MMH_PLUGIN_OK: as MMH_PLUGIN_OTHER. */
    int (*map)(mmh_format_file *file, const mmh_format_host *host);
} mmh_format_reader;

/* The function that a plug-in exports. What it returns lives as long as the process. */
MMH_FORMAT_EXPORT const mmh_format_reader *mmh_format_plugin(void);

#ifdef __cplusplus
}
#endif
#endif
