/*
 * A format plug-in for mmh: the .bin files of whisper.cpp ("ggml" files, from before GGUF).
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *     cc -shared -fPIC -o ggml_bin.so ggml_bin.c         (with mmh_format.h on the include path)
 *     mmh pack --format-plugin=./ggml_bin.so ggml-base.en.bin
 *
 * All numbers are little-endian. Two kinds of header follow the magic number:
 *
 *   speech to text      11 numbers (n_vocab first, ftype last), then a filter bank: n_mel, n_fft and
 *                       n_mel * n_fft floats, then a vocabulary: count, and for each word its length
 *                       and its bytes
 *   voice activity      length and text of what it is ("silero-16k"), 3 numbers of the version,
 *                       window, context, layers; for each layer channels in, out and kernel; then
 *                       LSTM input, LSTM hidden, final channels in and out
 *
 * After it tensors to the end of the file: number of dimensions, length of the name, type; the
 * dimensions, fastest first; the name; the elements.
 * Source: github.com/ggml-org/whisper.cpp, models/convert-pt-to-ggml.py and
 * models/convert-silero-vad-to-ggml.py.
 */
#include <stdbool.h>
#include <string.h>

#include "mmh_format.h"

enum {
    HYPERPARAMETERS = 11,
    NAME_BYTES_MAX = 255,
    DIMENSIONS_MAX = 4,
    WORD_BYTES_MAX = 1 << 16,
    LAYERS_MAX = 64
};

static const uint32_t magic = 0x67676d6c; /* "ggml" */

/* A place in the file, and what reading there has come to: after the first failure every number is
 * 0, so that a parser reads on and asks once. */
struct reader {
    mmh_format_file *file;
    const mmh_format_host *host;
    uint64_t position;
    int problem;
};

static uint32_t number(struct reader *in)
{
    uint8_t bytes[4] = { 0 };
    if (!in->problem)
        in->problem = in->host->read(in->file, in->position, bytes, sizeof bytes);
    if (in->problem)
        return 0;
    in->position += sizeof bytes;
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void skip(struct reader *in, uint64_t bytes)
{
    uint64_t whole = in->host->file_bytes(in->file);
    if (in->problem || bytes > whole - in->position)
        in->problem = in->problem ? in->problem : MMH_PLUGIN_END;
    else
        in->position += bytes;
}

/* Text of `bytes` bytes, which text[] has room for; with a NUL after it. */
static void text_of(struct reader *in, char *text, uint32_t bytes)
{
    if (!in->problem)
        in->problem = in->host->read(in->file, in->position, text, bytes);
    text[in->problem ? 0 : bytes] = 0;
    in->position += in->problem ? 0 : bytes;
}

/* ---- headers ---- */

/* The vocabulary has more words than any text about what the model is has bytes. */
static bool is_speech_header(uint32_t first)
{
    return first > NAME_BYTES_MAX;
}

static void speech_header(struct reader *in)
{
    for (int i = 1; i < HYPERPARAMETERS; i++)
        (void)number(in);
    uint64_t filters = number(in);
    filters *= number(in);
    if (filters > UINT64_MAX / sizeof(float))
        in->problem = MMH_PLUGIN_OTHER;
    skip(in, filters * sizeof(float));
    for (uint32_t words = number(in); words && !in->problem; words--) {
        uint32_t bytes = number(in);
        if (bytes > WORD_BYTES_MAX)
            in->problem = MMH_PLUGIN_OTHER;
        skip(in, bytes);
    }
}

static void voice_header(struct reader *in, uint32_t text_bytes)
{
    char what[NAME_BYTES_MAX + 1];
    text_of(in, what, text_bytes);
    for (int i = 0; i < 5; i++) /* version, window, context */
        (void)number(in);
    uint32_t layers = number(in);
    if (layers > LAYERS_MAX)
        in->problem = MMH_PLUGIN_OTHER;
    for (uint32_t i = 0; i < 3 * layers && !in->problem; i++)
        (void)number(in);
    for (int i = 0; i < 4; i++)
        (void)number(in);
    if (!in->problem)
        (void)in->host->add_metadata(in->file, "model_type", what);
}

/* ---- tensors ---- */

/* The types of ggml, and how many elements and bytes are in one of their blocks. */
static const struct type {
    const char *name; /* as mmh calls it; NULL: no such number */
    unsigned elements, bytes;
} types[] = {
    { "F32", 1, 4 },      { "F16", 1, 2 },      { "Q4_0", 32, 18 },   { "Q4_1", 32, 20 },
    { NULL, 0, 0 },       { NULL, 0, 0 },       { "Q5_0", 32, 22 },   { "Q5_1", 32, 24 },
    { "Q8_0", 32, 34 },   { "Q8_1", 32, 36 },   { "Q2_K", 256, 84 },  { "Q3_K", 256, 110 },
    { "Q4_K", 256, 144 }, { "Q5_K", 256, 176 }, { "Q6_K", 256, 210 },
};

static void tensor(struct reader *in)
{
    char name[NAME_BYTES_MAX + 1];
    uint64_t shape[DIMENSIONS_MAX], elements = 1;
    uint32_t dimensions = number(in), name_bytes = number(in), type = number(in);
    if (!in->problem && (dimensions > DIMENSIONS_MAX || name_bytes > NAME_BYTES_MAX ||
                         type >= sizeof types / sizeof *types || !types[type].name))
        in->problem = MMH_PLUGIN_OTHER;
    for (uint32_t i = 0; i < dimensions && !in->problem; i++) {
        uint64_t extent = number(in);
        shape[dimensions - 1 - i] = extent; /* mmh wants the slowest first */
        if (extent && elements > UINT64_MAX / 64 / extent)
            in->problem = MMH_PLUGIN_OTHER;
        elements *= extent;
    }
    if (in->problem)
        return;
    text_of(in, name, name_bytes);
    mmh_format_tensor found = {
        .struct_size = sizeof found,
        .name = name,
        .dtype_name = types[type].name,
        .dimensions = dimensions,
        .shape = shape,
        .offset = in->position,
        .bytes = elements / types[type].elements * types[type].bytes,
    };
    skip(in, found.bytes);
    if (!in->problem && in->host->add_tensor(in->file, &found) == MMH_PLUGIN_MEMORY)
        in->problem = MMH_PLUGIN_MEMORY;
}

/* ---- what mmh calls ---- */

static int detect(mmh_format_file *file, const mmh_format_host *host)
{
    struct reader in = { file, host, 0, MMH_PLUGIN_OK };
    return number(&in) == magic && !in.problem;
}

static int map(mmh_format_file *file, const mmh_format_host *host)
{
    struct reader in = { file, host, sizeof magic, MMH_PLUGIN_OK };
    uint32_t first = number(&in);
    if (is_speech_header(first))
        speech_header(&in);
    else
        voice_header(&in, first);
    while (!in.problem && in.position < host->file_bytes(file))
        tensor(&in);
    if (in.problem)
        host->remark(file, "the file ends within its header or a tensor");
    return in.problem;
}

const mmh_format_reader *mmh_format_plugin(void)
{
    static const mmh_format_reader reader = {
        .abi = MMH_FORMAT_ABI,
        .struct_size = sizeof reader,
        .name = "whisper.cpp ggml",
        .detect = detect,
        .map = map,
    };
    return &reader;
}
