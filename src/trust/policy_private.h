/*
 * Policies: what each of their keys has signed, and whether that is enough.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Signatures of containers and of bundles are judged alike.
 */
#ifndef MMH_POLICY_PRIVATE_H
#define MMH_POLICY_PRIVATE_H

#include "trust/statement.h"

/* How far the signatures by a key got. */
enum mmh_reached {
    MMH_REACHED_NONE, /* there is none by it */
    MMH_REACHED_WRONG,
    MMH_REACHED_OTHER_ROOT,
    MMH_REACHED_OLD,
    MMH_REACHED_EXPIRED,
    MMH_REACHED_ALL
};

struct mmh_judged_key {
    const struct mmh_key_part *part;
    size_t signer; /* its number in the policy */
    uint64_t expires;
    bool strong; /* enough for the policy */
    enum mmh_reached reached;
    uint64_t counter; /* the highest of its right signatures */
};

struct mmh_judge {
    const struct mmh_policy *policy;
    const mmh_allocator *allocator; /* of the first signer */
    struct mmh_judged_key *keys;    /* [key_count] those that sign, in the policy's order */
    size_t key_count;
    uint64_t now_seconds;
    struct mmh_policy_counts counts;
};

/* MMH_E_USAGE if a signer has no key that signs. Release it in either case. */
mmh_status mmh_judge_init(struct mmh_judge *judge, const struct mmh_policy *policy,
                          uint64_t now_seconds, mmh_error *err);
void mmh_judge_release(struct mmh_judge *judge);

/* Note what one signature that was checked does for key number `key`. Returns whether it counts. */
bool mmh_judge_note(struct mmh_judge *judge, size_t key, bool right, bool of_root,
                    uint64_t counter);

/* MMH_E_UNTRUSTED with the requirement that is not met. judge->counts.found is set by now. */
mmh_status mmh_judge_decide(const struct mmh_judge *judge, mmh_error *err);

#endif
