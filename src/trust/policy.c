/*
 * Policies: which signatures are required, and why those that there are do not do.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "trust/policy_private.h"

static bool is_strong(const struct mmh_policy *policy, const struct mmh_signature *signature)
{
    return (!policy->hybrid || (signature->classical && signature->post_quantum)) &&
           (!policy->post_quantum || signature->post_quantum) &&
           signature->nist_category >= policy->min_category;
}

/* The strength that is required, for people; not "" as long as something may be too weak. */
static const char *strength_text(const struct mmh_policy *policy, char *text, size_t bytes)
{
    int used = snprintf(text, bytes, "%s",
                        policy->hybrid         ? "hybrid"
                        : policy->post_quantum ? "post-quantum"
                                               : "");
    if (policy->min_category)
        (void)snprintf(text + used, bytes - (size_t)used, "%sof NIST category %u",
                       used ? " and " : "", policy->min_category);
    return text;
}

mmh_status mmh_judge_init(struct mmh_judge *judge, const struct mmh_policy *policy,
                          uint64_t now_seconds, mmh_error *err)
{
    size_t room = 0;
    memset(judge, 0, sizeof *judge);
    judge->policy = policy;
    judge->allocator = policy->signer_count ? policy->signers[0]->allocator : NULL;
    judge->now_seconds = now_seconds;
    for (size_t i = 0; i < policy->signer_count; i++)
        room += policy->signers[i]->part_count;
    judge->keys = mmh_alloc_array(judge->allocator, room, sizeof *judge->keys);
    if (!judge->keys)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu signers", policy->signer_count);
    for (size_t i = 0; i < policy->signer_count; i++) {
        const size_t before = judge->key_count;
        for (size_t j = 0; j < policy->signers[i]->part_count; j++) {
            const struct mmh_key_part *part = &policy->signers[i]->parts[j];
            if (!part->signature)
                continue;
            struct mmh_judged_key *key = &judge->keys[judge->key_count++];
            key->part = part;
            key->signer = i;
            key->expires = policy->expires ? policy->expires[i] : 0;
            key->strong = is_strong(policy, part->signature);
        }
        if (judge->key_count == before)
            return mmh_fail(err, MMH_E_USAGE,
                            "signer %zu of %zu has no key that signs: nothing can be by it", i + 1,
                            policy->signer_count);
    }
    return MMH_OK;
}

void mmh_judge_release(struct mmh_judge *judge)
{
    mmh_free(judge->allocator, judge->keys);
    judge->keys = NULL;
    judge->key_count = 0;
}

bool mmh_judge_note(struct mmh_judge *judge, size_t key, bool right, bool of_root, uint64_t counter)
{
    struct mmh_judged_key *judged = &judge->keys[key];
    enum mmh_reached reached = MMH_REACHED_ALL;
    if (!right)
        reached = MMH_REACHED_WRONG;
    else if (!of_root)
        reached = MMH_REACHED_OTHER_ROOT;
    else if (counter < judge->policy->min_counter)
        reached = MMH_REACHED_OLD;
    else if (judged->expires && judge->now_seconds >= judged->expires)
        reached = MMH_REACHED_EXPIRED;
    if (right && of_root)
        judged->counter = MMH_MAX(judged->counter, counter);
    judged->reached = MMH_MAX(judged->reached, reached);
    return reached == MMH_REACHED_ALL && judged->strong;
}

/* Say why a key's signatures do not do. */
static mmh_status refuse(const struct mmh_policy *policy, const struct mmh_judged_key *key,
                         mmh_error *err)
{
    char who[96], strength[64];
    const uint8_t *print = key->part->fingerprint;
    (void)snprintf(who, sizeof who, "%s key %02x%02x%02x%02x%02x%02x%02x%02x",
                   key->part->signature->name, print[0], print[1], print[2], print[3], print[4],
                   print[5], print[6], print[7]);
    switch (key->reached) {
    case MMH_REACHED_NONE:
        return mmh_fail(err, MMH_E_UNTRUSTED, "there is no signature by the %s", who);
    case MMH_REACHED_WRONG:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the signature by the %s is wrong", who);
    case MMH_REACHED_OTHER_ROOT:
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "the signature by the %s is of other content, not of this container", who);
    case MMH_REACHED_OLD:
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "the signature by the %s has counter %" PRIu64 ", at least %" PRIu64
                        " is required: this is an older version",
                        who, key->counter, policy->min_counter);
    case MMH_REACHED_EXPIRED:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the %s has expired", who);
    default:
        return mmh_fail(err, MMH_E_UNTRUSTED, "the signature by the %s is too weak: %s is required",
                        who, strength_text(policy, strength, sizeof strength));
    }
}

/* Whether each key that is strong enough has signed, and each signer has one. */
static mmh_status all_decide(const struct mmh_judge *judge, mmh_error *err)
{
    const struct mmh_judged_key *keys = judge->keys;
    char strength[64];
    for (size_t k = 0, strong = 0; k < judge->key_count; k++) {
        if (keys[k].strong && keys[k].reached != MMH_REACHED_ALL)
            return refuse(judge->policy, &keys[k], err);
        strong += keys[k].strong;
        if (k + 1 < judge->key_count && keys[k + 1].signer == keys[k].signer)
            continue;
        if (!strong)
            return mmh_fail(err, MMH_E_UNTRUSTED, "signer %zu of %zu has no key that is %s",
                            keys[k].signer + 1, judge->policy->signer_count,
                            strength_text(judge->policy, strength, sizeof strength));
        strong = 0;
    }
    return MMH_OK;
}

/* Whether one key that is strong enough has signed. */
static mmh_status any_decide(const struct mmh_judge *judge, mmh_error *err)
{
    const struct mmh_judged_key *keys = judge->keys, *furthest = &keys[0];
    char strength[64];
    bool strong = false;
    for (size_t k = 0; k < judge->key_count; k++) {
        if (keys[k].strong && keys[k].reached == MMH_REACHED_ALL)
            return MMH_OK;
        if (keys[k].reached > furthest->reached)
            furthest = &keys[k];
        strong = strong || keys[k].strong;
    }
    if (!strong)
        return mmh_fail(err, MMH_E_UNTRUSTED, "no signer has a key that is %s",
                        strength_text(judge->policy, strength, sizeof strength));
    if (furthest->reached == MMH_REACHED_NONE)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "none of the signatures (%zu) is by a key that is believed",
                        judge->counts.found);
    return refuse(judge->policy, furthest, err);
}

mmh_status mmh_judge_decide(const struct mmh_judge *judge, mmh_error *err)
{
    if (!judge->key_count)
        return mmh_fail(err, MMH_E_UNTRUSTED,
                        "a signature is required, but there is no key to believe one by");
    if (!judge->counts.found)
        return mmh_fail(err, MMH_E_UNTRUSTED, "a signature is required, and there is none");
    return judge->policy->all ? all_decide(judge, err) : any_decide(judge, err);
}

/* Check one signature, once, and note what it does for each key that may have made it. */
static mmh_status signature_judge(struct mmh_judge *judge, const struct mmh_signature_view *view,
                                  bool of_root, mmh_error *err)
{
    bool checked = false, right = false, counted = false;
    for (size_t k = 0; k < judge->key_count; k++) {
        const struct mmh_judged_key *key = &judge->keys[k];
        if (!mmh_signature_is_by(view, key->part))
            continue;
        if (!checked) {
            mmh_error problem = { MMH_OK, "" };
            const mmh_status status = mmh_signature_check_by(view, key->part, judge->allocator,
                                                             &problem);
            if (status != MMH_OK && status != MMH_E_UNTRUSTED)
                return mmh_fail(err, status, "%s", problem.message);
            checked = true;
            right = status == MMH_OK;
        }
        counted = mmh_judge_note(judge, k, right, of_root, view->statement.counter) || counted;
    }
    judge->counts.matched += checked;
    judge->counts.right += right && of_root;
    judge->counts.counted += counted;
    if (counted)
        judge->counts.counter = MMH_MAX(judge->counts.counter, view->statement.counter);
    return MMH_OK;
}

mmh_status mmh_policy_check(const struct mmh_policy *policy,
                            const struct mmh_section_view *sections, size_t section_count,
                            unsigned hash_suite, const uint8_t *root, size_t root_bytes,
                            uint64_t now_seconds, struct mmh_policy_counts *counts, mmh_error *err)
{
    struct mmh_judge judge;
    mmh_status status = mmh_judge_init(&judge, policy, now_seconds, err);
    for (size_t s = 0; s < section_count && status == MMH_OK; s++) {
        struct mmh_signatures signatures;
        status = mmh_signatures_view(&signatures, sections[s].section, sections[s].bytes, err);
        for (size_t i = 0; status == MMH_OK && i < signatures.count; i++) {
            struct mmh_signature_view view;
            mmh_signatures_at(&signatures, i, &view);
            status = signature_judge(&judge, &view,
                                     mmh_signature_is_of(&view, hash_suite, root, root_bytes), err);
        }
        judge.counts.found += status == MMH_OK ? signatures.count : 0;
    }
    if (status == MMH_OK)
        status = mmh_judge_decide(&judge, err);
    if (counts)
        *counts = judge.counts;
    mmh_judge_release(&judge);
    return status;
}
