/*
 * Element types: names, sizes, and what the codecs see in them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_DTYPE_H
#define MMH_DTYPE_H

#include "mmh.h"

/* Bits of one element: 2, 4, 6, 8, 16, 32, 64, 128; 8 for opaque. 0 for block types, and for a
 * number that is no dtype. */
unsigned mmh_dtype_bits(mmh_dtype dtype);

/* Whether it is a block type: elements come in blocks, mmh_dtype_block says of how many. */
bool mmh_dtype_is_block(mmh_dtype dtype);

/* Whether the number is one of ours. */
bool mmh_dtype_known(mmh_dtype dtype);

/* The name that safetensors uses ("BF16", "F8_E4M3"), "OPAQUE" for opaque. NULL for no dtype. */
const char *mmh_dtype_name(mmh_dtype dtype);

/* By that name, any case, or numpy's/torch's usual ones ("bfloat16", "float32", "int8").
 * MMH_DTYPE_COUNT if there is none. */
mmh_dtype mmh_dtype_find(const char *name, size_t name_bytes);

/* The scalar that codecs code: complex types are pairs of their part, sub-byte and block types bytes. */
mmh_dtype mmh_dtype_scalar(mmh_dtype dtype);

/* Bytes of that scalar: 1, 2, 4 or 8. */
unsigned mmh_dtype_scalar_bytes(mmh_dtype dtype);

#endif
