/*
 * Fuzz target: CoreML: specifications and weights apart.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_coreml, "model.mlmodel" },
    { &mmh_format_coreml_weights, "weight.bin" },
    { NULL, NULL },
};
