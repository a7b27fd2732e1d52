/*
 * What TensorFlow's graphs and checkpoints have in common: element types and shapes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_TF_H
#define MMH_TF_H

#include "format/proto.h"

/* DataType as ours, quantised types as their integers; MMH_DTYPE_COUNT: none (strings, handles, a
 * number that none has). */
mmh_dtype mmh_tf_dtype(uint64_t data_type);

/* The same for elements of less than a byte that lie in a byte each: a type of whole bytes. */
mmh_dtype mmh_tf_dtype_of_bytes(mmh_dtype dtype);

/* The shape in a TensorShapeProto; of unknown rank: more dimensions than there can be. */
void mmh_tf_read_shape(struct mmh_stream *in, const struct mmh_proto_field *message,
                       struct mmh_proto_tensor *tensor);

/* Whether the tensor can have `bytes` bytes; makes its type one of whole bytes if it needs that. */
bool mmh_tf_fits(struct mmh_proto_tensor *tensor, uint64_t bytes);

#endif
