/*
 * Fuzz target: TensorFlow: graphs and indexes of checkpoints.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_tf_graph, "saved_model.pb" },
    { &mmh_format_tf_bundle, "variables.index" },
    { NULL, NULL },
};
