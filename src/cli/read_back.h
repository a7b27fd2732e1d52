/*
 * pack --rm: read a container back, compare it with what it was made of, and only then remove that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_READ_BACK_H
#define MMH_READ_BACK_H

#include "mmh.h"

/*
 * Open `container` anew, check every stored byte, decode every file and compare it with the one
 * that it was packed from; then remove those. Folders go when they are empty; what is not in the
 * container is never touched, and nothing is removed unless everything was the same.
 *
 *   inputs   [input_count] what was given to mmh_pack; no standard input
 *   removed  how many files, symlinks and folders are gone, after a failure too
 *
 * Fails with MMH_E_IO if a file has changed since, or cannot be removed, else as mmh_verify.
 */
mmh_status mmh_read_back(mmh_context *context, const char *const *inputs, size_t input_count,
                         const char *container, uint64_t *removed, mmh_error *err);

#endif
