/*
 * Fuzz target: manifests of TensorFlow.js.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_tfjs, "m/weights_manifest.json" },
    { &mmh_format_tfjs, "m/model.json" },
    { NULL, NULL },
};
