/*
 * Fuzz target: HDF5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_hdf5, "m.h5" },
    { NULL, NULL },
};
