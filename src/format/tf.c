/*
 * TensorFlow's element types and shapes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: github.com/tensorflow/tensorflow, tensorflow/core/framework/types.proto and
 * tensor_shape.proto.
 */
#include "format/tf.h"

#include "base/bits.h"

enum { SHAPE_DIMENSION = 2, SHAPE_UNKNOWN_RANK = 3, DIMENSION_SIZE = 1 };

mmh_dtype mmh_tf_dtype(uint64_t data_type)
{
    static const uint8_t dtypes[] = {
        [1] = MMH_DTYPE_F32,          [2] = MMH_DTYPE_F64,      [3] = MMH_DTYPE_I32,
        [4] = MMH_DTYPE_U8,           [5] = MMH_DTYPE_I16,      [6] = MMH_DTYPE_I8,
        [8] = MMH_DTYPE_C64,          [9] = MMH_DTYPE_I64,      [10] = MMH_DTYPE_BOOL,
        [11] = MMH_DTYPE_I8, /* from here to 13, 15, 16: quantised */
        [12] = MMH_DTYPE_U8,          [13] = MMH_DTYPE_I32,     [14] = MMH_DTYPE_BF16,
        [15] = MMH_DTYPE_I16,         [16] = MMH_DTYPE_U16,     [17] = MMH_DTYPE_U16,
        [18] = MMH_DTYPE_C128,        [19] = MMH_DTYPE_F16,     [22] = MMH_DTYPE_U32,
        [23] = MMH_DTYPE_U64,         [24] = MMH_DTYPE_F8_E5M2, [25] = MMH_DTYPE_F8_E4M3,
        [26] = MMH_DTYPE_F8_E4M3FNUZ, [27] = MMH_DTYPE_U8, /* float8 e4m3 b11 fnuz: none of ours */
        [28] = MMH_DTYPE_F8_E5M2FNUZ, [29] = MMH_DTYPE_I4,      [30] = MMH_DTYPE_U4,
        [31] = MMH_DTYPE_I2,          [32] = MMH_DTYPE_U2,      [33] = MMH_DTYPE_F4,
    };
    mmh_dtype dtype = data_type < MMH_COUNT_OF(dtypes) ? (mmh_dtype)dtypes[data_type]
                                                       : MMH_DTYPE_OPAQUE;
    return dtype == MMH_DTYPE_OPAQUE ? MMH_DTYPE_COUNT : dtype;
}

mmh_dtype mmh_tf_dtype_of_bytes(mmh_dtype dtype)
{
    return dtype == MMH_DTYPE_I4 || dtype == MMH_DTYPE_I2                          ? MMH_DTYPE_I8
         : dtype == MMH_DTYPE_U4 || dtype == MMH_DTYPE_U2 || dtype == MMH_DTYPE_F4 ? MMH_DTYPE_U8
                                                                                   : dtype;
}

/* One Dim; a size of 0 is not written. */
static uint64_t read_dimension(struct mmh_stream *in, const struct mmh_proto_field *message)
{
    struct mmh_proto_field field;
    uint64_t size = 0;
    struct mmh_proto_place outer = mmh_proto_enter(in, message);
    while (mmh_proto_next(in, &field))
        if (mmh_proto_is_varint(&field, DIMENSION_SIZE))
            size = field.value;
    mmh_proto_leave(in, &outer);
    return size;
}

void mmh_tf_read_shape(struct mmh_stream *in, const struct mmh_proto_field *message,
                       struct mmh_proto_tensor *tensor)
{
    struct mmh_proto_field field;
    struct mmh_proto_place outer = mmh_proto_enter(in, message);
    tensor->dimensions = 0;
    while (mmh_proto_next(in, &field) && tensor->dimensions <= MMH_MAP_DIMENSIONS_MAX) {
        if (mmh_proto_is_bytes(&field, SHAPE_DIMENSION)) {
            uint64_t size = read_dimension(in, &field);
            if (tensor->dimensions < MMH_MAP_DIMENSIONS_MAX)
                tensor->shape[tensor->dimensions] = size;
            tensor->dimensions++;
        } else if (mmh_proto_is_varint(&field, SHAPE_UNKNOWN_RANK) && field.value) {
            tensor->dimensions = MMH_MAP_DIMENSIONS_MAX + 1;
        }
    }
    mmh_proto_leave(in, &outer);
}

bool mmh_tf_fits(struct mmh_proto_tensor *tensor, uint64_t bytes)
{
    uint64_t wanted;
    if (tensor->dtype == MMH_DTYPE_COUNT || tensor->dimensions > MMH_MAP_DIMENSIONS_MAX)
        return false;
    if (mmh_shape_bytes(&wanted, tensor->dtype, tensor->dimensions, tensor->shape) &&
        wanted == bytes)
        return true;
    mmh_dtype whole = mmh_tf_dtype_of_bytes(tensor->dtype);
    if (!mmh_shape_bytes(&wanted, whole, tensor->dimensions, tensor->shape) || wanted != bytes)
        return false;
    tensor->dtype = whole;
    return true;
}
