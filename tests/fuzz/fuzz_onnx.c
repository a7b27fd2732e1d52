/*
 * Fuzz target: ONNX.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_onnx, "m.onnx" },
    { NULL, NULL },
};
