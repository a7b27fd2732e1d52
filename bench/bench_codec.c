/*
 * Speed and size of the chunk codecs on real tensors, beside memcpy in the same run.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   bench_codec [options] FILE...
 *     --levels 1,4,5     levels to run (default 1..9)
 *     --cpu avx512,c     kernel sets (default: the best one); "all"
 *     --runs N           timed runs of each, the median is printed (default 5)
 *     --bytes N          tile the tensors up to so many MiB (default 256; 0: as they are)
 *     --dtype bf16       FILE is raw elements of this type, not safetensors; "q4_k": its blocks
 *     --shape 768,3072   of the raw elements
 *     --only f32         take only tensors of this type
 *     --threads T        default 1
 *     --fresh            encode and decode into new memory in each run (page faults counted)
 *     --huge             the same, asking the system for huge pages as src/base/memory.h does
 *     --check            check each chunk by decoding while encoding
 *     --hash             decode as a verified load does: check each payload's hash first
 *     --op decode        time only that (or encode)
 *     --sizes            one untimed, checked run: bytes alone
 *     --codecs           print bytes by codec
 *     --tensors          print one line for each tensor (with --sizes)
 *
 * Encoding plans each block and encodes its chunks; decoding parses the models and decodes the
 * chunks, both into memory that is already there (or is allocated within the time measured, with
 * --fresh), decoding with stores that bypass the cache. memcpy always copies into memory that is
 * there. Prints JSON lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/io.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/pool.h"
#include "codec/codec_private.h"
#include "crypto/hash.h"

enum { LINE = 64, TENSORS_MAX = 1 << 16, LEVEL_COUNT = 9, RUNS_MAX = 101 };

struct tensor {
    const char *name;
    mmh_dtype dtype;
    uint32_t dimensions;
    uint64_t shape[8];
    size_t offset, bytes; /* in the data */
};

struct block {
    const struct tensor *tensor;
    size_t offset, bytes; /* in the data */
    uint64_t first;       /* element of the tensor */
    size_t chunk_bytes, chunks;
    size_t first_chunk; /* in the tables below */
    uint8_t *model;
    size_t model_bytes, model_room;
    uint64_t floor_bits;
};

struct bench {
    uint8_t *data, *out;
    size_t bytes;
    struct tensor *tensors;
    size_t tensor_count;
    struct block *blocks;
    size_t block_count, chunk_count;
    uint8_t *payload_memory;
    uint8_t **payloads; /* [chunk_count], in it */
    size_t *payload_bytes;
    unsigned *codecs;
    mmh_codec_workspace **workspaces;
    mmh_pool *pool;
    int level;
    bool check, stream, huge, hash;
    uint8_t (*hashes)[MMH_HASH_BYTES]; /* [chunk_count] of payloads, with --hash */
};

static void die(const char *what, const mmh_error *err)
{
    fprintf(stderr, "bench_codec: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

static void *need(void *memory)
{
    if (!memory)
        die("out of memory", NULL);
    return memory;
}

/* Memory that has no pages yet. */
static uint8_t *new_memory(const struct bench *bench, size_t bytes)
{
    uint8_t *memory =
        need(aligned_alloc(MMH_HUGE_ALIGNMENT, mmh_round_up(bytes, (size_t)MMH_HUGE_ALIGNMENT)));
    if (bench->huge)
        mmh_huge_advise(memory, bytes);
    return memory;
}

/* ---- input ---- */

static void add_tensor(struct bench *bench, struct tensor tensor)
{
    if (bench->tensor_count == TENSORS_MAX)
        die("too many tensors", NULL);
    if (tensor.bytes)
        bench->tensors[bench->tensor_count++] = tensor;
}

static void read_safetensors(struct bench *bench, struct mmh_arena *arena, const uint8_t *file,
                             size_t bytes, size_t base, const char *only)
{
    mmh_error err = { 0 };
    if (bytes < 8 || mmh_load64(file) > bytes - 8)
        die("not a safetensors file", NULL);
    size_t header = mmh_load64(file);
    struct mmh_json json;
    struct mmh_json_token token;
    mmh_json_init(&json, file + 8, header);
    if (mmh_json_next(&json, &token) != MMH_JSON_OBJECT)
        die("not a safetensors file", NULL);
    while (mmh_json_next(&json, &token) == MMH_JSON_KEY) {
        struct tensor tensor = { .name = need(mmh_json_string(&token, arena, NULL)) };
        uint64_t begin = 0, end = 0;
        if (mmh_json_is(&token, "__metadata__")) {
            mmh_json_skip_value(&json);
            continue;
        }
        mmh_json_next(&json, &token);
        while (mmh_json_next(&json, &token) == MMH_JSON_KEY) {
            if (mmh_json_is(&token, "dtype")) {
                mmh_json_next(&json, &token);
                tensor.dtype = mmh_dtype_find(token.text, token.bytes);
            } else if (mmh_json_is(&token, "shape")) {
                mmh_json_next(&json, &token);
                while (mmh_json_next(&json, &token) == MMH_JSON_NUMBER)
                    if (tensor.dimensions < 8)
                        tensor.shape[tensor.dimensions++] = token.u64;
            } else if (mmh_json_is(&token, "data_offsets")) {
                mmh_json_next(&json, &token);
                mmh_json_next(&json, &token);
                begin = token.u64;
                mmh_json_next(&json, &token);
                end = token.u64;
                mmh_json_next(&json, &token);
            } else {
                mmh_json_skip_value(&json);
            }
        }
        if (end > bytes - 8 - header || begin > end)
            die("a tensor lies outside the file", NULL);
        tensor.offset = base + 8 + header + begin;
        tensor.bytes = end - begin;
        if (!only || mmh_dtype_find(only, strlen(only)) == tensor.dtype)
            add_tensor(bench, tensor);
    }
    if (mmh_json_finish(&json, "safetensors header", &err))
        die("json", &err);
}

/* ---- blocks ---- */

/* What codecs see of a tensor: block types are opaque bytes that are records. */
static mmh_dtype coded_of(const struct tensor *tensor)
{
    return mmh_dtype_is_block(tensor->dtype) ? MMH_DTYPE_OPAQUE : mmh_dtype_scalar(tensor->dtype);
}

static size_t chunk_bytes_of(const struct tensor *tensor)
{
    if (mmh_dtype_is_block(tensor->dtype))
        return mmh_records_chunk_bytes(tensor->dtype);
    return tensor->dtype == MMH_DTYPE_OPAQUE
             ? (size_t)MMH_OPAQUE_CHUNK_BYTES
             : (size_t)MMH_CHUNK_ELEMENTS * mmh_dtype_scalar_bytes(tensor->dtype);
}

static void cut_blocks(struct bench *bench)
{
    size_t room = 0;
    for (size_t i = 0; i < bench->tensor_count; i++)
        room += bench->tensors[i].bytes / MMH_OPAQUE_CHUNK_BYTES + 2;
    bench->blocks = need(calloc(room, sizeof *bench->blocks));
    for (size_t i = 0; i < bench->tensor_count; i++) {
        const struct tensor *tensor = &bench->tensors[i];
        unsigned unit = mmh_dtype_scalar_bytes(tensor->dtype);
        size_t chunk = chunk_bytes_of(tensor), most = MMH_BLOCK_BYTES_MAX / chunk * chunk;
        for (size_t at = 0; at < tensor->bytes; at += most) {
            struct block *block = &bench->blocks[bench->block_count++];
            *block = (struct block){ .tensor = tensor,
                                     .offset = tensor->offset + at,
                                     .bytes = MMH_MIN(tensor->bytes - at, most),
                                     .first = at / unit,
                                     .chunk_bytes = chunk,
                                     .first_chunk = bench->chunk_count };
            block->chunks = mmh_divide_up(block->bytes, chunk);
            bench->chunk_count += block->chunks;
        }
    }
    bench->payloads = need(calloc(bench->chunk_count, sizeof *bench->payloads));
    bench->payload_bytes = need(calloc(bench->chunk_count, sizeof *bench->payload_bytes));
    bench->codecs = need(calloc(bench->chunk_count, sizeof *bench->codecs));
}

/* Room for the chunks' payloads, in memory that has no pages yet. */
static void place_payloads(struct bench *bench)
{
    size_t total = 0;
    for (size_t b = 0; b < bench->block_count; b++)
        total += bench->blocks[b].chunks *
                 mmh_round_up(mmh_chunk_bound(bench->blocks[b].chunk_bytes), 128);
    bench->payload_memory = new_memory(bench, total);
    uint8_t *next = bench->payload_memory;
    for (size_t b = 0, i = 0; b < bench->block_count; b++)
        for (size_t c = 0; c < bench->blocks[b].chunks; c++, i++) {
            bench->payloads[i] = next;
            next += mmh_round_up(mmh_chunk_bound(bench->blocks[b].chunk_bytes), 128);
        }
}

static struct mmh_chunk chunk_of(const struct block *block, size_t index)
{
    size_t at = index * block->chunk_bytes;
    return (struct mmh_chunk){
        .dtype = coded_of(block->tensor),
        .first_element = at / mmh_dtype_scalar_bytes(block->tensor->dtype),
        .bytes = MMH_MIN(block->chunk_bytes, block->bytes - at),
    };
}

/* ---- the work ---- */

static mmh_status encode_block(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct bench *bench = context;
    struct block *block = &bench->blocks[job];
    const struct mmh_block_plan *plan;
    const uint8_t *model;
    size_t model_bytes;
    bool records = mmh_dtype_is_block(block->tensor->dtype);
    unsigned record_bytes, of_record = mmh_dtype_block(block->tensor->dtype, &record_bytes);
    unsigned unit = records ? record_bytes : mmh_dtype_scalar_bytes(block->tensor->dtype);
    struct mmh_block_part part = { .elements = block->bytes / unit,
                                   .tensor_first = records ? block->first / unit : block->first,
                                   .dimensions = block->tensor->dimensions };
    struct mmh_block_hint hint = { .dtype = coded_of(block->tensor),
                                   .records = records ? block->tensor->dtype : MMH_DTYPE_OPAQUE,
                                   .parts = &part,
                                   .part_count = 1,
                                   .level = bench->level };
    memcpy(part.shape, block->tensor->shape, sizeof part.shape);
    if (records && part.dimensions)
        part.shape[part.dimensions - 1] /= of_record;
    const uint8_t *src = bench->data + block->offset;
    mmh_status status = mmh_block_plan_make(&plan, &model, &model_bytes, &block->floor_bits,
                                            bench->workspaces[worker], src, block->bytes, &hint,
                                            err);
    if (status)
        return status;
    if (model_bytes > block->model_room) {
        block->model_room = model_bytes + model_bytes / 4;
        free(block->model);
        block->model = need(malloc(block->model_room));
    }
    block->model_bytes = model_bytes;
    if (model_bytes)
        memcpy(block->model, model, model_bytes);
    for (size_t c = 0; c < block->chunks && !status; c++) {
        struct mmh_chunk chunk = chunk_of(block, c);
        size_t i = block->first_chunk + c;
        status = mmh_chunk_encode(bench->payloads[i], &bench->payload_bytes[i], &bench->codecs[i],
                                  bench->workspaces[worker], plan, src + c * block->chunk_bytes,
                                  &chunk, bench->check, err);
    }
    return status;
}

static mmh_status decode_block(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct bench *bench = context;
    struct block *block = &bench->blocks[job];
    mmh_model *model = NULL;
    mmh_status status = MMH_OK;
    if (block->model_bytes)
        status = mmh_model_create(&model, block->model, block->model_bytes,
                                  block->bytes / mmh_dtype_scalar_bytes(block->tensor->dtype), NULL,
                                  err);
    for (size_t c = 0; c < block->chunks && !status; c++) {
        struct mmh_chunk chunk = chunk_of(block, c);
        size_t i = block->first_chunk + c;
        uint8_t hash[MMH_HASH_BYTES];
        if (bench->hash) {
            status = mmh_hash(hash, mmh_hash_suite_default(), MMH_DOMAIN_CHUNK, bench->payloads[i],
                              bench->payload_bytes[i], err);
            if (status || memcmp(hash, bench->hashes[i], sizeof hash))
                die("a hash differs", err);
        }
        status = mmh_chunk_decode(bench->out + block->offset + c * block->chunk_bytes,
                                  bench->workspaces[worker], &chunk, bench->codecs[i],
                                  bench->payloads[i], bench->payload_bytes[i], model, bench->stream,
                                  err);
    }
    mmh_model_destroy(model);
    return status;
}

static mmh_status copy_block(void *context, size_t job, unsigned worker, mmh_error *err)
{
    struct bench *bench = context;
    struct block *block = &bench->blocks[job];
    (void)worker;
    (void)err;
    memcpy(bench->out + block->offset, bench->data + block->offset, block->bytes);
    return MMH_OK;
}

static double seconds_of(struct bench *bench, mmh_pool_job *job, bool fresh)
{
    mmh_error err = { 0 };
    uint64_t begin = mmh_clock_ns();
    if (fresh && job == encode_block)
        place_payloads(bench);
    else if (fresh)
        bench->out = new_memory(bench, bench->bytes);
    if (mmh_pool_run(bench->pool, bench->block_count, job, bench, &err))
        die("run", &err);
    return (double)(mmh_clock_ns() - begin) * 1e-9;
}

static size_t stored_bytes(const struct bench *bench)
{
    size_t bytes = 0;
    for (size_t i = 0; i < bench->chunk_count; i++)
        bytes += bench->payload_bytes[i];
    for (size_t b = 0; b < bench->block_count; b++)
        bytes += bench->blocks[b].model_bytes;
    return bytes;
}

static size_t coded_bytes(const struct bench *bench)
{
    size_t bytes = 0;
    for (size_t b = 0; b < bench->block_count; b++)
        bytes += bench->blocks[b].bytes;
    return bytes;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_double);
    return values[count / 2];
}

static void check_equal(const struct bench *bench)
{
    for (size_t b = 0; b < bench->block_count; b++)
        if (memcmp(bench->out + bench->blocks[b].offset, bench->data + bench->blocks[b].offset,
                   bench->blocks[b].bytes))
            die("decoded bytes differ", NULL);
}

static void print_codecs(const struct bench *bench)
{
    for (unsigned id = 0; id < MMH_CODEC_COUNT; id++) {
        size_t original = 0, stored = 0, chunks = 0;
        for (size_t b = 0; b < bench->block_count; b++)
            for (size_t c = 0; c < bench->blocks[b].chunks; c++) {
                size_t i = bench->blocks[b].first_chunk + c;
                if (bench->codecs[i] != id)
                    continue;
                original += chunk_of(&bench->blocks[b], c).bytes;
                stored += bench->payload_bytes[i];
                chunks++;
            }
        if (id == MMH_CODEC_MODEL)
            for (size_t b = 0; b < bench->block_count; b++) {
                stored += bench->blocks[b].model_bytes;
                chunks += bench->blocks[b].model_bytes != 0;
            }
        if (chunks)
            printf("{\"level\":%d,\"codec\":\"%s\",\"chunks\":%zu,\"bytes\":%zu,\"stored\":%zu}\n",
                   bench->level, mmh_codec_name(id), chunks, original, stored);
    }
}

static void print_tensors(const struct bench *bench)
{
    for (size_t b = 0; b < bench->block_count; b++) {
        const struct block *block = &bench->blocks[b];
        size_t stored = 0;
        for (size_t c = 0; c < block->chunks; c++)
            stored += bench->payload_bytes[block->first_chunk + c];
        printf("{\"tensor\":\"%s\",\"first\":%llu,\"dtype\":\"%s\",\"bytes\":%zu,\"stored\":%zu,"
               "\"model\":%zu,\"codec\":\"%s\",\"percent\":%.3f,\"floor\":%.3f}\n",
               block->tensor->name, (unsigned long long)block->first,
               mmh_dtype_name(block->tensor->dtype), block->bytes, stored, block->model_bytes,
               mmh_codec_name(bench->codecs[block->first_chunk]),
               100.0 * (double)(stored + block->model_bytes) / (double)block->bytes,
               100.0 / 8 * (double)block->floor_bits / (double)block->bytes);
    }
}

struct options {
    bool levels[LEVEL_COUNT + 1];
    const char *cpu, *dtype, *only, *op;
    uint64_t shape[8];
    uint32_t dimensions;
    unsigned runs, threads;
    size_t tile;
    bool fresh, huge, check, hash, sizes, codecs, tensors;
};

/* What a verified load compares with. */
static void hash_payloads(struct bench *bench)
{
    mmh_error err = { 0 };
    if (!bench->hashes)
        bench->hashes = need(calloc(bench->chunk_count, sizeof *bench->hashes));
    for (size_t i = 0; i < bench->chunk_count; i++)
        if (mmh_hash(bench->hashes[i], mmh_hash_suite_default(), MMH_DOMAIN_CHUNK,
                     bench->payloads[i], bench->payload_bytes[i], &err))
            die("hash", &err);
    bench->hash = true;
}

static void run_level(struct bench *bench, const struct options *options, const char *cpu,
                      const char *dtype)
{
    double encode[RUNS_MAX], decode[RUNS_MAX], copy[RUNS_MAX];
    size_t coded = coded_bytes(bench);
    unsigned runs = options->sizes ? 1 : options->runs;
    bench->check = options->check || options->sizes;
    bench->stream = true;
    if (!options->sizes) { /* page in what is written */
        seconds_of(bench, encode_block, false);
        seconds_of(bench, copy_block, false);
    }
    if (options->fresh) {
        /* A virtual machine gets memory from its host when it first touches it, which takes far
         * longer than a page fault: have had as much before. */
        uint8_t *memory = new_memory(bench, bench->bytes);
        memset(memory, 1, bench->bytes);
        free(memory);
    }
    bool encodes = !options->op || !strcmp(options->op, "encode");
    bool decodes = !options->op || !strcmp(options->op, "decode");
    for (unsigned r = 0; r < runs; r++) {
        if (encodes || options->sizes) {
            if (options->fresh)
                free(bench->payload_memory);
            encode[r] = seconds_of(bench, encode_block, options->fresh);
        }
        copy[r] = seconds_of(bench, copy_block, false);
        if (!decodes)
            continue;
        if (options->hash)
            hash_payloads(bench);
        uint8_t *old = bench->out;
        if (!options->fresh)
            memset(bench->out, 0x5a, bench->bytes); /* what is not written shows */
        decode[r] = seconds_of(bench, decode_block, options->fresh);
        check_equal(bench);
        if (options->fresh) {
            free(bench->out);
            bench->out = old;
        }
    }
    size_t stored = stored_bytes(bench);
    double percent = 100.0 * (double)stored / (double)coded;
    uint64_t floor_bits = 0;
    for (size_t b = 0; b < bench->block_count; b++)
        floor_bits += bench->blocks[b].floor_bits;
    if (options->sizes) {
        printf("{\"dtype\":\"%s\",\"level\":%d,\"cpu\":\"%s\",\"size_percent\":%.3f,"
               "\"floor_percent\":%.3f,\"stored\":%zu,\"bytes\":%zu}\n",
               dtype, bench->level, cpu, percent, 100.0 / 8 * (double)floor_bits / (double)coded,
               stored, coded);
    } else {
        double gb = (double)coded * 1e-9, memcpy_gbps = gb / median(copy, runs);
        for (int d = !encodes; d < 1 + decodes; d++) {
            double gbps = gb / median(d ? decode : encode, runs);
            printf("{\"dtype\":\"%s\",\"level\":%d,\"cpu\":\"%s\",\"op\":\"%s\",\"threads\":%u,"
                   "\"memory\":\"%s\",\"check\":%s,\"hash\":%s,\"gbps\":%.3f,\"memcpy_gbps\":%.3f,"
                   "\"share\":%.3f,\"best_gbps\":%.3f,\"best_memcpy_gbps\":%.3f,"
                   "\"size_percent\":%.3f,\"bytes\":%zu}\n",
                   dtype, bench->level, cpu, d ? "decode" : "encode", options->threads,
                   options->huge    ? "fresh, huge pages"
                   : options->fresh ? "fresh"
                                    : "there",
                   bench->check && !d ? "true" : "false", bench->hash && d ? "true" : "false", gbps,
                   memcpy_gbps, gbps / memcpy_gbps, gb / (d ? decode : encode)[0], gb / copy[0],
                   percent, coded); /* sorted */
        }
    }
    if (options->codecs)
        print_codecs(bench);
    if (options->tensors)
        print_tensors(bench);
    fflush(stdout);
}

static bool named(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, name, n) && (at[n] == ',' || !at[n]))
            return true;
    }
    return false;
}

int main(int count, char **arguments)
{
    struct options options = { .runs = 5, .threads = 1, .tile = 256 };
    struct bench bench = { 0 };
    struct mmh_arena arena;
    mmh_error err = { 0 };
    bool any_level = false;
    mmh_arena_init(&arena, NULL);
    bench.tensors = need(calloc(TENSORS_MAX, sizeof *bench.tensors));
    int first_file = count;
    for (int i = 1; i < count; i++) {
        const char *a = arguments[i], *v = i + 1 < count ? arguments[i + 1] : "";
        if (!strcmp(a, "--levels")) {
            for (const char *c = v; *c; c++)
                if (*c >= '1' && *c <= '9')
                    any_level = options.levels[*c - '0'] = true;
        } else if (!strcmp(a, "--cpu")) {
            options.cpu = v;
        } else if (!strcmp(a, "--runs")) {
            options.runs = (unsigned)MMH_MIN(MMH_MAX(atoi(v), 1), RUNS_MAX);
        } else if (!strcmp(a, "--bytes")) {
            options.tile = (size_t)atoi(v);
        } else if (!strcmp(a, "--dtype")) {
            options.dtype = v;
        } else if (!strcmp(a, "--op")) {
            options.op = v;
        } else if (!strcmp(a, "--only")) {
            options.only = v;
        } else if (!strcmp(a, "--threads")) {
            options.threads = (unsigned)atoi(v);
        } else if (!strcmp(a, "--shape")) {
            for (const char *c = v; *c && options.dimensions < 8; c += *c == ',')
                options.shape[options.dimensions++] = strtoull(c, (char **)&c, 10);
        } else {
            options.fresh |= !strcmp(a, "--fresh");
            options.huge |= !strcmp(a, "--huge");
            options.check |= !strcmp(a, "--check");
            options.hash |= !strcmp(a, "--hash");
            options.sizes |= !strcmp(a, "--sizes");
            options.codecs |= !strcmp(a, "--codecs");
            options.tensors |= !strcmp(a, "--tensors");
            if (a[0] != '-') {
                first_file = i;
                break;
            }
            continue;
        }
        i++;
    }
    if (first_file == count)
        die("no FILE; see the top of bench/bench_codec.c", NULL);
    if (!any_level)
        for (int l = 1; l <= LEVEL_COUNT; l++)
            options.levels[l] = true;

    for (int i = first_file; i < count; i++) {
        uint8_t *file;
        size_t bytes;
        if (mmh_input_slurp(&file, &bytes, arguments[i], SIZE_MAX / 2, NULL, &err))
            die(arguments[i], &err);
        bench.data = need(realloc(bench.data, bench.bytes + bytes + 64));
        memcpy(bench.data + bench.bytes, file, bytes);
        if (options.dtype) {
            struct tensor tensor = { .name = arguments[i],
                                     .dtype = mmh_dtype_find(options.dtype, strlen(options.dtype)),
                                     .dimensions = options.dimensions,
                                     .offset = bench.bytes };
            unsigned unit = mmh_dtype_scalar_bytes(tensor.dtype);
            if (!unit)
                die("unknown --dtype", NULL);
            memcpy(tensor.shape, options.shape, sizeof tensor.shape);
            if (mmh_dtype_is_block(tensor.dtype))
                (void)mmh_dtype_block(tensor.dtype, &unit);
            tensor.bytes = bytes / unit * unit;
            add_tensor(&bench, tensor);
        } else {
            read_safetensors(&bench, &arena, file, bytes, bench.bytes, options.only);
        }
        bench.bytes += bytes;
        mmh_free(NULL, file);
    }
    if (!bench.tensor_count)
        die("no tensors", NULL);

    /* Each tensor at the start of a cache line, as loaders allocate them; and as many copies as it
     * takes for memory and not a cache to feed every method. */
    size_t tensors_once = bench.tensor_count, coded = 0, copies = 1;
    for (size_t i = 0; i < tensors_once; i++)
        coded += bench.tensors[i].bytes;
    if (!options.sizes && options.tile)
        copies = mmh_divide_up(options.tile << 20, coded);
    uint8_t *files = bench.data;
    bench.bytes = 0;
    for (size_t i = 0; i < tensors_once; i++)
        bench.bytes += mmh_round_up(bench.tensors[i].bytes, LINE);
    bench.data = need(aligned_alloc(4096, mmh_round_up(bench.bytes * copies, 4096)));
    bench.bytes = 0;
    for (size_t c = 0; c < copies; c++)
        for (size_t i = 0; i < tensors_once; i++) {
            struct tensor tensor = bench.tensors[i];
            uint8_t *place = bench.data + bench.bytes;
            memcpy(place, files + tensor.offset, tensor.bytes);
            tensor.offset = bench.bytes;
            bench.bytes += mmh_round_up(tensor.bytes, LINE);
            if (c)
                add_tensor(&bench, tensor);
        }
    for (size_t i = 0, at = 0; i < tensors_once; i++) {
        bench.tensors[i].offset = at;
        at += mmh_round_up(bench.tensors[i].bytes, LINE);
    }
    free(files);
    options.fresh |= options.huge;
    bench.out = new_memory(&bench, bench.bytes);
    cut_blocks(&bench);
    place_payloads(&bench);
    bench.huge = options.huge; /* memcpy's destination stays as it would be */
    if (mmh_pool_create(&bench.pool, options.threads, NULL, &err))
        die("threads", &err);
    options.threads = mmh_pool_threads(bench.pool);
    bench.workspaces = need(calloc(options.threads, sizeof *bench.workspaces));
    for (unsigned t = 0; t < options.threads; t++)
        if (mmh_codec_workspace_create(&bench.workspaces[t], NULL, &err))
            die("workspace", &err);

    size_t largest = 0; /* its type names the rows */
    for (size_t i = 1; i < bench.tensor_count; i++)
        if (bench.tensors[i].bytes > bench.tensors[largest].bytes)
            largest = i;
    const char *dtype = mmh_dtype_name(bench.tensors[largest].dtype);
    const struct mmh_kernels *kernels = mmh_kernels_get();
    for (size_t k = 0; options.cpu ? (kernels = mmh_kernels_at(k)) != NULL : !k; k++) {
        if (options.cpu && strcmp(options.cpu, "all") && !named(options.cpu, kernels->name))
            continue;
        for (unsigned t = 0; t < options.threads; t++)
            mmh_workspace_set_kernels(bench.workspaces[t], kernels);
        for (int level = 1; level <= LEVEL_COUNT; level++) {
            bench.level = level;
            if (options.levels[level])
                run_level(&bench, &options, kernels->name, dtype);
        }
    }

    for (unsigned t = 0; t < options.threads; t++)
        mmh_codec_workspace_destroy(bench.workspaces[t]);
    mmh_pool_destroy(bench.pool);
    for (size_t b = 0; b < bench.block_count; b++)
        free(bench.blocks[b].model);
    free(bench.payload_memory);
    free(bench.payloads);
    free(bench.payload_bytes);
    free(bench.hashes);
    free(bench.codecs);
    free(bench.workspaces);
    free(bench.blocks);
    free(bench.tensors);
    free(bench.data);
    free(bench.out);
    mmh_arena_release(&arena);
    return 0;
}
