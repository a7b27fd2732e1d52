/*
 * Checks and times the device kernels as CUDA, on sets that device_dump.c wrote.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 *   nvcc -O3 -arch=native -Isrc bench/bench_device_cuda.cu -o bench_device_cuda
 *   bench_device_cuda DUMP [--mib N] [--runs N] [--check]
 *
 * Each case is repeated up to N MiB of output (default 1024), with payloads of its own for each
 * repetition, decoded once and compared (by digest, and the repetitions with each other), then
 * timed beside a copy of the same bytes by events: medians, device memory to device memory. Exits
 * with 1 after a difference, 77 where there is no CUDA device.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "device/decode.cl"
#include "device_case.h"

static void must(cudaError_t error, const char *what)
{
    if (error != cudaSuccess) {
        std::fprintf(stderr, "bench_device_cuda: %s: %s\n", what, cudaGetErrorString(error));
        std::exit(1);
    }
}

template <typename T> static T *upload(const std::vector<T> &data)
{
    T *memory;
    size_t bytes = data.size() * sizeof(T);
    must(cudaMalloc(&memory, bytes + 64), "allocate");
    must(cudaMemcpy(memory, data.data(), bytes, cudaMemcpyHostToDevice), "write");
    return memory;
}

template <typename T> static std::vector<T> read(std::FILE *file, uint64_t bytes)
{
    std::vector<T> data(bytes / sizeof(T));
    if (std::fread(data.data(), 1, bytes, file) != bytes) {
        std::fprintf(stderr, "bench_device_cuda: the dump ends early\n");
        std::exit(1);
    }
    return data;
}

struct batch {
    unsigned char *payloads, *output;
    struct mmh_device_fields *fields;
    unsigned *side, *models, *flags;
    unsigned work_first[DEVICE_CASE_KERNELS], work_count[DEVICE_CASE_KERNELS];
    size_t table_bytes;
};

static void launch(const batch &b)
{
#define ARGUMENTS(kind) \
    b.payloads, b.fields, b.side, b.models, b.output, b.flags, b.work_first[kind]
    const unsigned *count = b.work_count;
    if (count[MMH_DEVICE_FILL])
        mmh_fill_group<<<count[MMH_DEVICE_FILL], MMH_DEVICE_ITEMS>>>(ARGUMENTS(MMH_DEVICE_FILL));
    if (count[MMH_DEVICE_TIER])
        mmh_tiers_group<<<count[MMH_DEVICE_TIER], MMH_DEVICE_ITEMS>>>(ARGUMENTS(MMH_DEVICE_TIER));
    if (count[MMH_DEVICE_RANS_LOCAL])
        mmh_rans_group_local<<<count[MMH_DEVICE_RANS_LOCAL], MMH_LOCAL_STRIPES * MMH_DEVICE_LANES,
                               b.table_bytes>>>(ARGUMENTS(MMH_DEVICE_RANS_LOCAL));
    if (count[MMH_DEVICE_RANS_GLOBAL])
        mmh_rans_group_global<<<count[MMH_DEVICE_RANS_GLOBAL],
                                MMH_GLOBAL_STRIPES * MMH_DEVICE_LANES>>>(
            ARGUMENTS(MMH_DEVICE_RANS_GLOBAL));
    if (count[MMH_DEVICE_PATCH])
        mmh_patch<<<count[MMH_DEVICE_PATCH], MMH_DEVICE_PATCH_ITEMS>>>(ARGUMENTS(MMH_DEVICE_PATCH));
    must(cudaGetLastError(), "launch");
}

static bool bench(std::FILE *file, const device_case &header, uint64_t mib, int runs)
{
    auto fields = read<struct mmh_device_fields>(file, header.fields_bytes);
    auto side = read<unsigned>(file, header.side_bytes);
    auto models = read<unsigned>(file, header.models_bytes);
    auto payload = read<unsigned char>(file, header.payload_bytes);

    /* The same chunks again and again, each with a payload and an output of its own. */
    size_t times = std::max<uint64_t>((mib << 20) / header.output_bytes, 1);
    size_t chunks = fields.size(), output_bytes = times * header.output_bytes;
    std::vector<struct mmh_device_fields> all_fields;
    std::vector<unsigned char> all_payloads;
    batch b = {};
    for (size_t r = 0; r < times; r++) {
        for (auto one : fields) {
            one.payload += (unsigned)(r * (header.payload_bytes / MMH_DEVICE_UNIT));
            one.output += (unsigned)(r * (header.output_bytes / MMH_DEVICE_UNIT));
            all_fields.push_back(one);
        }
        all_payloads.insert(all_payloads.end(), payload.begin(), payload.end());
    }
    std::vector<unsigned> all_side = side;
    for (int k = 0; k < DEVICE_CASE_KERNELS; k++) {
        b.work_first[k] = (unsigned)all_side.size();
        b.work_count[k] = (unsigned)(times * header.work_count[k]);
        for (size_t r = 0; r < times; r++)
            for (uint64_t w = 0; w < header.work_count[k]; w++) {
                const unsigned *entry = &side[header.work_first[k] + 2 * w];
                all_side.push_back(entry[0] + (unsigned)(r * chunks));
                all_side.push_back(entry[1]);
            }
    }
    b.payloads = upload(all_payloads);
    b.fields = upload(all_fields);
    b.side = upload(all_side);
    b.models = upload(models);
    b.flags = upload(std::vector<unsigned>(all_fields.size(), 0));
    b.table_bytes = header.table_bytes;
    if (b.table_bytes)
        must(cudaFuncSetAttribute(mmh_rans_group_local, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)b.table_bytes),
             "allow the tables (dump with a smaller --local-kib)");
    unsigned char *copy;
    must(cudaMalloc(&b.output, output_bytes + 64), "allocate");
    must(cudaMalloc(&copy, output_bytes + 64), "allocate");
    must(cudaMemset(b.output, 0, output_bytes), "clear");

    launch(b);
    must(cudaDeviceSynchronize(), "decode");
    std::vector<unsigned char> output(output_bytes);
    std::vector<unsigned> flags(all_fields.size());
    must(cudaMemcpy(output.data(), b.output, output_bytes, cudaMemcpyDeviceToHost), "read");
    must(cudaMemcpy(flags.data(), b.flags, flags.size() * 4, cudaMemcpyDeviceToHost), "read");
    bool equal = device_case_digest(output.data(), header.output_bytes) == header.digest &&
                 !*std::max_element(flags.begin(), flags.end());
    for (size_t r = 1; r < times && equal; r++)
        equal = std::memcmp(output.data(), &output[r * header.output_bytes],
                            header.output_bytes) == 0;

    std::vector<float> decode_ms, copy_ms;
    cudaEvent_t begin, middle, end;
    must(cudaEventCreate(&begin), "event");
    must(cudaEventCreate(&middle), "event");
    must(cudaEventCreate(&end), "event");
    for (int run = 0; run < runs; run++) {
        float ms;
        must(cudaEventRecord(begin), "event");
        launch(b);
        must(cudaEventRecord(middle), "event");
        must(cudaMemcpyAsync(copy, b.output, output_bytes, cudaMemcpyDeviceToDevice), "copy");
        must(cudaEventRecord(end), "event");
        must(cudaEventSynchronize(end), "decode");
        must(cudaEventElapsedTime(&ms, begin, middle), "event");
        decode_ms.push_back(ms);
        must(cudaEventElapsedTime(&ms, middle, end), "event");
        copy_ms.push_back(ms);
    }
    std::printf("  %-16s", header.name);
    if (runs) {
        std::sort(decode_ms.begin(), decode_ms.end());
        std::sort(copy_ms.begin(), copy_ms.end());
        double elements = (double)times * (double)header.element_bytes;
        double decode = elements / (decode_ms[runs / 2] * 1e6);
        double copying = (double)output_bytes / (copy_ms[runs / 2] * 1e6);
        std::printf(" %6.2f %% %8.1f GB/s, copy %8.1f GB/s, %4.0f %% of it",
                    100. * (double)header.stored_bytes / (double)header.element_bytes, decode,
                    copying, 100 * decode / copying);
    }
    std::printf("  %s\n", equal ? "exact" : "DIFFERENT");
    std::fflush(stdout);
    cudaFree(b.payloads);
    cudaFree(b.fields);
    cudaFree(b.side);
    cudaFree(b.models);
    cudaFree(b.flags);
    cudaFree(b.output);
    cudaFree(copy);
    cudaEventDestroy(begin);
    cudaEventDestroy(middle);
    cudaEventDestroy(end);
    return equal;
}

int main(int argc, char **argv)
{
    uint64_t mib = 1024;
    int runs = 9;
    for (int i = 2; i < argc; i++)
        if (std::strcmp(argv[i], "--check") == 0)
            runs = 0, mib = 64;
        else if (std::strcmp(argv[i], "--mib") == 0 && i + 1 < argc)
            mib = std::strtoull(argv[++i], nullptr, 10);
        else if (std::strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = std::atoi(argv[++i]);
    std::FILE *file = argc > 1 ? std::fopen(argv[1], "rb") : nullptr;
    if (!file) {
        std::fprintf(stderr, "usage: bench_device_cuda DUMP [--mib N] [--runs N] [--check]\n");
        return 2;
    }
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || !count) {
        std::printf("bench_device_cuda: skipped: no CUDA device\n");
        return 77;
    }
    cudaDeviceProp device;
    int driver = 0, runtime = 0;
    must(cudaGetDeviceProperties(&device, 0), "describe");
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    char date[32];
    std::time_t now = std::time(nullptr);
    std::strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", std::gmtime(&now));
    std::printf("%s, command:", date);
    for (int i = 0; i < argc; i++)
        std::printf(" %s", argv[i]);
    std::printf("\nCUDA device 0: %s, sm_%d%d, %d units, driver for CUDA %d.%d, runtime %d.%d\n",
                device.name, device.major, device.minor, device.multiProcessorCount, driver / 1000,
                driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    bool equal = true;
    device_case header;
    int cases = 0;
    for (; std::fread(&header, sizeof header, 1, file) == 1; cases++) {
        if (header.magic != DEVICE_CASE_MAGIC) {
            std::fprintf(stderr, "bench_device_cuda: this is no dump\n");
            return 1;
        }
        equal = bench(file, header, mib, runs) && equal;
    }
    std::fclose(file);
    return equal && cases ? 0 : 1;
}
