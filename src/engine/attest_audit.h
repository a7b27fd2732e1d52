/*
 * What an audit knows of a container.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MMH_ATTEST_AUDIT_H
#define MMH_ATTEST_AUDIT_H

#include "engine/attest.h"
#include "trust/profile.h"
#include "trust/text.h"

/* An original file, for the bill of materials. */
struct mmh_audit_file {
    const char *name, *format;
    uint64_t bytes, tensor_count;
    uint8_t sha256[32];
};

struct mmh_audit {
    const mmh_allocator *allocator;
    struct mmh_arena arena;
    const char *name; /* of the container, the last part of its path */
    mmh_security_info security;
    mmh_recipient_info *recipients; /* [security.recipient_count] */
    mmh_signature_info *signatures; /* [security.signature_count] */
    mmh_audit_finding *findings;    /* [finding_count] */
    size_t finding_count;
    bool files_known;             /* false: encrypted, and no key opens it */
    struct mmh_audit_file *files; /* [file_count] */
    size_t file_count;
    uint64_t tensor_count, original_bytes;
    bool hashed; /* sha256 of the files is set */
    uint64_t time_seconds;
    struct mmh_buffer text; /* that was written last */
};

/* Write the bill of materials. */
mmh_status mmh_audit_bill(const struct mmh_audit *audit, struct mmh_buffer *text, mmh_error *err);

#endif
