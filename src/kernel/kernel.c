/*
 * Choice of the kernels for the machine that we run on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel_private.h"

/* MMH_KERNELS_ONLY_C: leave the others out, as on a machine without any. */
#if defined(__x86_64__) && !defined(MMH_KERNELS_ONLY_C)
#define X86 1
#include <cpuid.h>
#else
#define X86 0
#endif
/* Every arm64 machine has NEON; the kernels take the lanes for little-endian ones. */
#if defined(__aarch64__) && !MMH_BIG_ENDIAN && !defined(MMH_KERNELS_ONLY_C)
#define ARM64 1
#else
#define ARM64 0
#endif

#define KERNELS(set)                                                                        \
    {                                                                                       \
        .name = #set, .split = mmh_split_##set, .merge = mmh_merge_##set,                   \
        .pairs_split = mmh_pairs_split_##set, .fence = mmh_fence_##set,                     \
        .pack_bits = mmh_pack_bits_##set, .unpack_bits = mmh_unpack_bits_##set,             \
        .histogram = mmh_histogram_##set, .histogram_classes = mmh_histogram_classes_##set, \
        .row_column_sums = mmh_row_column_sums_##set, .bits_used = mmh_bits_used_##set,     \
        .tier_encode = mmh_tier_encode_##set, .tier_decode = mmh_tier_decode_##set,         \
        .tier_merge = mmh_tier_merge_##set, .classes = mmh_classes_##set,                   \
        .within = mmh_within_##set, .bytes_add = mmh_bytes_add_##set,                       \
        .bytes_subtract = mmh_bytes_subtract_##set, .rans_decode = mmh_rans_decode_##set,   \
        .rans_encode = mmh_rans_encode_##set, .swap_bytes = mmh_swap_bytes_##set,           \
    }

/* From the plainest to the best. */
static const struct mmh_kernels kernels[] = {
    KERNELS(c),
#if X86
    KERNELS(avx2),
    KERNELS(avx512),
#elif ARM64
    KERNELS(neon),
#endif
};

static bool runs_here(size_t index)
{
    if (!index)
        return true;
#if X86
    unsigned a, b, c, d;
    /* __builtin_cpu_supports asks the OS about the registers too; clang 14 does not know lzcnt. */
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                __builtin_cpu_supports("popcnt") && __get_cpuid(0x80000001, &a, &b, &c, &d) &&
                (c & 1u << 5);
    if (index == 1 || !avx2)
        return avx2;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2");
#else
    return ARM64;
#endif
}

/* Whether a comma list holds a name. */
static bool listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (;;) {
        size_t item = strcspn(list, ",");
        if (item == length && memcmp(list, name, length) == 0)
            return true;
        if (!list[item])
            return false;
        list += item + 1;
    }
}

const struct mmh_kernels *mmh_kernels_get(void)
{
    static _Atomic(const struct mmh_kernels *) chosen;
    const struct mmh_kernels *best = atomic_load_explicit(&chosen, memory_order_acquire);
    if (best)
        return best;
    const char *list = getenv("MMH_CPU");
    best = &kernels[0];
    for (size_t i = 1; i < MMH_COUNT_OF(kernels); i++)
        if (runs_here(i) && (!list || !*list || listed(list, kernels[i].name)))
            best = &kernels[i];
    /* Threads that race here choose the same. */
    atomic_store_explicit(&chosen, best, memory_order_release);
    return best;
}

const struct mmh_kernels *mmh_kernels_at(size_t index)
{
    for (size_t i = 0; i < MMH_COUNT_OF(kernels); i++)
        if (runs_here(i) && index-- == 0)
            return &kernels[i];
    return NULL;
}
