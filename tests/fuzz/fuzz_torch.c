/*
 * Fuzz target: PyTorch: zips, streams, tars, shards, bare pickles.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "parser.h"

const struct fuzz_parser fuzz_parsers[] = {
    { &mmh_format_torch, "m.pt" },
    { &mmh_format_torch_legacy, "m.pth" },
    { &mmh_format_torch_tar, "m.tar" },
    { &mmh_format_torch_shard, "__0_0.distcp" },
    { &mmh_format_torch_metadata, ".metadata" },
    { &mmh_format_pickle, "m.pkl" },
    { NULL, NULL },
};
