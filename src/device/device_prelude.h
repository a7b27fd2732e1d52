/*
 * The words in which decode.cl is OpenCL 1.2 C and CUDA at once.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Only what the two spell differently, and what one of them lacks: OpenCL 1.2 has no ballot, so
 * there it goes through local memory.
 */
#ifndef MMH_DEVICE_PRELUDE_H
#define MMH_DEVICE_PRELUDE_H

#if defined(__OPENCL_C_VERSION__)

#define KERNEL(name, items) __kernel __attribute__((reqd_work_group_size(items, 1, 1))) void name
/* Inlined without choice: where a function is left alone and always gets the same local array, the
 * compiler moves the array's name into it, which one driver (PoCL 3.1) then reads as another one.
 * Oclgrind knows nothing of what inlining and restrict leave in the code: -DMMH_PLAIN is for it. */
#if defined(MMH_PLAIN)
#define FUNCTION static inline
#define RESTRICT
#else
#define FUNCTION static inline __attribute__((always_inline))
#define RESTRICT restrict
#endif
#define GLOBAL __global
#define LOCAL __local
#define LOCAL_ARRAY(type, name, count) __local type name[count]
/* Local memory whose size the host decides: a parameter here, an array there. */
#define LOCAL_PARAMETER(type, name) , __local type *name
#define LOCAL_OF_HOST(type, name)
#define GROUP ((uint)get_group_id(0))
#define ITEM ((uint)get_local_id(0))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define POPCOUNT(value) popcount((uint)(value))
#define UINT2(a, b) ((uint2)(a, b))
#define UINT4(a, b, c, d) ((uint4)(a, b, c, d))
#define ATOMIC_OR(address, value) atomic_or(address, value)
/* The low word of two, shifted right by 0..31. */
#define FUNNEL(low, high, shift) ((uint)(((ulong)(high) << 32 | (low)) >> (shift)))
#define PERMUTE(low, high, selector) permute(low, high, selector)
/* Stripes that share a group, and the barriers of its ballots. */
#ifndef MMH_LOCAL_STRIPES
#define MMH_LOCAL_STRIPES 4
#define MMH_GLOBAL_STRIPES 1
#endif

/* Four of the bytes of two words: those that the low four nibbles of the selector number, 0..7. */
FUNCTION uint permute(uint low, uint high, uint selector)
{
    uint result = 0;
    for (uint e = 0; e < 4; e++) {
        uint word = selector >> (4 * e + 2) & 1 ? high : low;
        result |= (word >> (8 * (selector >> (4 * e) & 3)) & 255) << (8 * e);
    }
    return result;
}

/*
 * The lanes of a stripe for which `need` is true. Three slots for each stripe, all 0 before the
 * first call, taken in turn: a lane may be reading one slot while a faster one already sets bits
 * in the next, so the one to clear is neither of them.
 */
FUNCTION uint ballot(LOCAL uint *slots, uint slot, uint lane, bool need)
{
    if (need)
        atomic_or(&slots[slot], 1u << lane);
    barrier(CLK_LOCAL_MEM_FENCE);
    uint lanes = slots[slot];
    if (lane == 0)
        slots[slot == 0 ? 2 : slot - 1] = 0;
    return lanes;
}

#elif defined(__CUDACC__)

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
#define ulong unsigned long long /* system headers have a type of that name */
/* So many registers that a multiprocessor can hold 1024 items: loads hide behind each other. */
#define KERNEL(name, items) extern "C" __global__ void __launch_bounds__(items, 1024 / (items)) name
#define FUNCTION static __device__ __forceinline__
#define GLOBAL
#define LOCAL
#define LOCAL_ARRAY(type, name, count) __shared__ type name[count]
#define LOCAL_PARAMETER(type, name)
#define LOCAL_OF_HOST(type, name) extern __shared__ type name[]
#define RESTRICT __restrict__
#define GROUP ((uint)blockIdx.x)
#define ITEM ((uint)threadIdx.x)
#define BARRIER() __syncthreads()
#define POPCOUNT(value) ((uint)__popc(value))
#define UINT2(a, b) make_uint2(a, b)
#define UINT4(a, b, c, d) make_uint4(a, b, c, d)
#define ATOMIC_OR(address, value) atomicOr(address, value)
#define FUNNEL(low, high, shift) __funnelshift_r(low, high, shift)
#define PERMUTE(low, high, selector) permute(low, high, selector)
/* A warp's ballot costs no barrier, so more stripes share the tables. */
#define MMH_LOCAL_STRIPES 8
#define MMH_GLOBAL_STRIPES 4

/* __byte_perm without its masking of the selector: no nibble of ours is above 7. */
FUNCTION uint permute(uint low, uint high, uint selector)
{
    uint result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
    return result;
}

FUNCTION uint ballot(uint *, uint, uint, bool need)
{
    return __ballot_sync(0xffffffffu, need);
}

#endif
#endif
