/*
 * tflite: not read yet.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "format/format_table.h"

static bool detect(const struct mmh_format_probe *probe)
{
    (void)probe;
    return false;
}

const struct mmh_format mmh_format_tflite = {
    .name = "tflite",
    .detect = detect,
};
