/*
 * Model Signing bundles of containers, folders and files.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: OpenSSF Model Signing specification 1.0, sections 6 and 8.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "engine/attest.h"
#include "trust/oms.h"
#include "trust/text.h"

void mmh_policy_of(struct mmh_policy *policy, const mmh_identity **signers, const mmh_trust *trust)
{
    for (size_t i = 0; i < trust->signer_count; i++)
        signers[i] = mmh_key_identity(trust->signers[i]);
    *policy = (struct mmh_policy){ .signers = signers,
                                   .signer_count = trust->signer_count,
                                   .expires = trust->expires,
                                   .all = trust->all,
                                   .hybrid = trust->hybrid,
                                   .post_quantum = trust->post_quantum,
                                   .min_category = trust->min_category,
                                   .min_counter = trust->min_counter };
}

/* ---- what is hashed ---- */

/* Resources of a model, and where their hashes go. */
struct listing {
    struct mmh_oms_resource *resources;
    struct mmh_model_hash *hashes;
    size_t count, room;
};

static size_t part_count(const struct mmh_model_file *file, uint64_t shard_bytes)
{
    return shard_bytes ? (size_t)mmh_divide_up(file->bytes, shard_bytes) : 1;
}

static mmh_status listing_make(struct listing *listing, struct mmh_model *model,
                               uint64_t shard_bytes, mmh_error *err)
{
    memset(listing, 0, sizeof *listing);
    for (size_t i = 0; i < model->file_count; i++) {
        const uint64_t parts = shard_bytes ? mmh_divide_up(model->files[i].bytes, shard_bytes) : 1;
        if (parts > SIZE_MAX / 2 - listing->room)
            return mmh_fail(err, MMH_E_LIMIT, "parts of %" PRIu64 " bytes are too many",
                            shard_bytes);
        listing->room += (size_t)parts;
    }
    listing->resources = mmh_arena_array(&model->arena, listing->room, sizeof *listing->resources);
    listing->hashes = mmh_arena_array(&model->arena, listing->room, sizeof *listing->hashes);
    return listing->resources && listing->hashes
             ? MMH_OK
             : mmh_fail(err, MMH_E_MEMORY, "no memory for a list of %zu files", listing->room);
}

/* Add a file, as it is to be hashed. */
static void listing_add(struct listing *listing, const struct mmh_model *model, size_t file,
                        uint64_t shard_bytes)
{
    const struct mmh_model_file *from = &model->files[file];
    for (size_t i = 0; i < part_count(from, shard_bytes); i++) {
        struct mmh_oms_resource *resource = &listing->resources[listing->count];
        struct mmh_model_hash *hash = &listing->hashes[listing->count++];
        resource->path = from->name;
        hash->file = file;
        hash->begin = i * shard_bytes;
        hash->end = shard_bytes ? MMH_MIN(hash->begin + shard_bytes, from->bytes) : from->bytes;
        hash->digest = resource->digest;
        resource->begin = shard_bytes ? hash->begin : 0;
        resource->end = shard_bytes ? hash->end : 0;
    }
}

static void count_hashed(mmh_bundle_report *report, const struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        report->bytes += listing->hashes[i].end - listing->hashes[i].begin;
        report->file_count += !i || listing->hashes[i].file != listing->hashes[i - 1].file;
    }
}

static mmh_status check_keys(const mmh_key *const *keys, size_t count, mmh_error *err)
{
    if (count && !keys)
        return mmh_fail(err, MMH_E_USAGE, "keys are counted, and none are given");
    for (size_t i = 0; i < count; i++)
        if (!keys[i])
            return mmh_fail(err, MMH_E_USAGE, "key %zu of %zu is not given", i + 1, count);
    return MMH_OK;
}

/* ---- writing ---- */

/* Keys that sign, of all that are given. */
static mmh_status signing_parts(const struct mmh_key_part ***parts, size_t *count,
                                struct mmh_arena *arena, const mmh_key *const *signers,
                                size_t signer_count, mmh_error *err)
{
    size_t room = 0;
    *count = 0;
    for (size_t i = 0; i < signer_count; i++)
        room += mmh_key_identity(signers[i])->part_count;
    *parts = mmh_arena_array(arena, room, sizeof **parts);
    if (!*parts)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu keys", room);
    for (size_t i = 0; i < signer_count; i++) {
        const mmh_identity *identity = mmh_key_identity(signers[i]);
        const size_t before = *count;
        for (size_t j = 0; j < identity->part_count; j++)
            if (identity->parts[j].signature && identity->parts[j].secret)
                (*parts)[(*count)++] = &identity->parts[j];
        if (*count == before)
            return mmh_fail(err, MMH_E_KEY, "key %zu of %zu cannot sign: a private one is needed",
                            i + 1, signer_count);
    }
    return *count ? MMH_OK : mmh_fail(err, MMH_E_USAGE, "no key to sign with is given");
}

/* The paths that a bundle says were left out: git's, the caller's, and its own place in the model. */
static mmh_status ignored_paths(struct mmh_oms_manifest *manifest, struct mmh_model *model,
                                const mmh_bundle_options *options, const char *output,
                                mmh_error *err)
{
    const size_t room = MMH_MODEL_IGNORED_COUNT + options->ignored_count + 1;
    const char **paths = mmh_arena_array(&model->arena, room, sizeof *paths);
    size_t count = 0, prefix = strlen(model->path);
    if (!paths)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu paths", room);
    for (size_t i = 0; i < MMH_MODEL_IGNORED_COUNT; i++)
        paths[count++] = mmh_model_ignored[i];
    for (size_t i = 0; i < options->ignored_count; i++)
        paths[count++] = options->ignored[i];
    while (prefix > 1 && model->path[prefix - 1] == '/')
        prefix--;
    if (model->folder && strncmp(output, model->path, prefix) == 0 && output[prefix] == '/' &&
        mmh_path_is_relative(output + prefix + 1))
        paths[count++] = output + prefix + 1;
    manifest->ignored = paths;
    manifest->ignored_count = count;
    return MMH_OK;
}

static mmh_status check_ignored(const mmh_bundle_options *options, mmh_error *err)
{
    if (options->ignored_count && !options->ignored)
        return mmh_fail(err, MMH_E_USAGE, "paths to ignore are counted, and none are given");
    for (size_t i = 0; i < options->ignored_count; i++) {
        const char *path = options->ignored[i];
        if (!mmh_path_is_relative(path) || strpbrk(path, "*?["))
            return mmh_fail(err, MMH_E_USAGE,
                            "\"%s\" cannot be ignored: paths are relative to the model, without "
                            "wildcards",
                            path);
        if (!mmh_text_is_utf8(path, strlen(path)))
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" is no UTF-8", path);
    }
    return MMH_OK;
}

static mmh_status write_file(const char *path, const struct mmh_buffer *text, bool overwrite,
                             const mmh_allocator *allocator, mmh_error *err)
{
    const struct mmh_output_options options = { .overwrite = overwrite };
    mmh_output *output;
    mmh_status status = mmh_output_create(&output, path, &options, allocator, err);
    if (status != MMH_OK)
        return status;
    status = mmh_output_append(output, text->data, text->bytes, err);
    if (status == MMH_OK)
        status = mmh_output_commit(output, err);
    mmh_output_close(output);
    return status;
}

static mmh_status model_sign(struct mmh_model *model, const char *output,
                             const mmh_key *const *signers, size_t signer_count,
                             const mmh_bundle_options *options, mmh_bundle_report *report,
                             mmh_error *err)
{
    const mmh_allocator *allocator = model->context->allocator;
    struct mmh_oms_manifest manifest = { .model = options->name ? options->name : model->name,
                                         .hash = MMH_FILE_HASH_SHA256,
                                         .shard_bytes = options->shard_bytes,
                                         .symlinks = options->symlinks };
    const struct mmh_key_part **parts;
    struct listing listing;
    struct mmh_buffer text;
    size_t count;
    if (!mmh_text_is_utf8(manifest.model, strlen(manifest.model)) || !manifest.model[0])
        return mmh_fail(err, MMH_E_USAGE, "the model's name is no UTF-8, or empty: give one");
    mmh_status status = signing_parts(&parts, &count, &model->arena, signers, signer_count, err);
    if (status == MMH_OK)
        status = ignored_paths(&manifest, model, options, output, err);
    if (status == MMH_OK)
        status = listing_make(&listing, model, options->shard_bytes, err);
    if (status != MMH_OK)
        return status;
    for (size_t i = 0; i < model->file_count; i++)
        if (!model->files[i].ignored)
            listing_add(&listing, model, i, options->shard_bytes);
    if (!listing.count)
        return mmh_fail(err, MMH_E_USAGE, "\"%s\" has no files to sign", model->path);
    status = mmh_model_hash(model, listing.hashes, listing.count, manifest.hash, "sign", err);
    if (status != MMH_OK)
        return status;
    count_hashed(report, &listing);
    report->signature_count = report->right_count = count;
    report->is_signed = true;
    manifest.resources = listing.resources;
    manifest.count = listing.count;
    mmh_buffer_init(&text, allocator);
    status = mmh_oms_write(&text, &manifest, parts, count, err);
    if (status == MMH_OK)
        status = write_file(output, &text, options->overwrite, allocator, err);
    mmh_buffer_release(&text);
    return status;
}

mmh_status mmh_bundle_write(mmh_context *context, const char *path, const char *output,
                            const mmh_key *const *signers, size_t signer_count,
                            const mmh_bundle_options *given, mmh_bundle_report *given_report,
                            mmh_error *err)
{
    mmh_bundle_options options = { 0 };
    mmh_bundle_report report = { .struct_size = sizeof report };
    struct mmh_path_info info;
    struct mmh_model model;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_bundle_options",
                                         err);
    if (status == MMH_OK)
        status = mmh_struct_check(given_report, "mmh_bundle_report", err);
    if (status == MMH_OK)
        status = check_ignored(&options, err);
    if (status == MMH_OK)
        status = check_keys(signers, signer_count, err);
    if (status == MMH_OK && !options.overwrite) { /* before everything is read */
        status = mmh_path_stat(&info, output, false, err);
        if (status == MMH_OK && info.kind != MMH_PATH_NONE)
            status = mmh_fail(err, MMH_E_USAGE, "\"%s\" exists", output);
    }
    if (status != MMH_OK)
        return status;
    const struct mmh_model_rules rules = { .ignored = options.ignored,
                                           .ignored_count = options.ignored_count,
                                           .bundle = output,
                                           .as_file = options.as_file,
                                           .symlinks = options.symlinks };
    status = mmh_model_open(&model, context, path, &rules, err);
    if (status == MMH_OK)
        status = model_sign(&model, output, signers, signer_count, &options, &report, err);
    mmh_model_release(&model);
    mmh_report_copy(given_report, &report, sizeof report);
    return status;
}

/* ---- verifying ---- */

struct verifying {
    struct mmh_model *model;
    const struct mmh_oms_manifest *manifest;
    const mmh_bundle_options *options;
    mmh_bundle_report *report;
    struct listing listing;
    const struct mmh_oms_resource **expected; /* [listing.count] */
    const char *first;                        /* what was found first, for the message */
    mmh_bundle_finding first_finding;
};

static void found(struct verifying *verifying, mmh_bundle_finding finding, const char *name)
{
    uint64_t *const counts[] = { [MMH_BUNDLE_DIFFERS] = &verifying->report->differing,
                                 [MMH_BUNDLE_MISSING] = &verifying->report->missing,
                                 [MMH_BUNDLE_EXTRA] = &verifying->report->extra };
    ++*counts[finding];
    if (!verifying->first) {
        verifying->first = name;
        verifying->first_finding = finding;
    }
    if (verifying->options->finding)
        verifying->options->finding(verifying->options->finding_user, finding, name);
}

/* The resources of the manifest that are of one file, from number `first` on. */
static size_t same_path(const struct mmh_oms_manifest *manifest, size_t first)
{
    size_t end = first + 1;
    while (end < manifest->count &&
           strcmp(manifest->resources[end].path, manifest->resources[first].path) == 0)
        end++;
    return end;
}

/* A file that is there and signed: it is to be hashed, if it is signed in the parts that it has. */
static void match(struct verifying *verifying, size_t file, size_t first, size_t end)
{
    struct listing *listing = &verifying->listing;
    const size_t before = listing->count;
    const struct mmh_oms_resource *signed_parts = &verifying->manifest->resources[first];
    listing_add(listing, verifying->model, file, verifying->manifest->shard_bytes);
    bool same = listing->count - before == end - first;
    for (size_t i = 0; same && i < end - first; i++) {
        same = listing->resources[before + i].begin == signed_parts[i].begin &&
               listing->resources[before + i].end == signed_parts[i].end;
        verifying->expected[before + i] = &signed_parts[i];
    }
    if (!same) {
        listing->count = before;
        found(verifying, MMH_BUNDLE_DIFFERS, verifying->model->files[file].name);
    }
}

/* Go through both lists, by name. */
static void match_all(struct verifying *verifying)
{
    const struct mmh_oms_manifest *manifest = verifying->manifest;
    struct mmh_model *model = verifying->model;
    size_t file = 0, resource = 0;
    while (file < model->file_count || resource < manifest->count) {
        const int order = file == model->file_count ? 1
                        : resource == manifest->count
                            ? -1
                            : strcmp(model->files[file].name, manifest->resources[resource].path);
        if (order < 0) {
            const struct mmh_model_file *extra = &model->files[file++];
            /* An empty file has no parts that could be signed. */
            if (!extra->ignored && !verifying->options->allow_extra &&
                (!manifest->shard_bytes || extra->bytes))
                found(verifying, MMH_BUNDLE_EXTRA, extra->name);
            continue;
        }
        const size_t end = same_path(manifest, resource);
        if (order > 0)
            found(verifying, MMH_BUNDLE_MISSING, manifest->resources[resource].path);
        else
            match(verifying, file++, resource, end);
        resource = end;
    }
}

static void compare_digests(struct verifying *verifying)
{
    const struct listing *listing = &verifying->listing;
    const size_t bytes = mmh_file_hash_bytes(verifying->manifest->hash);
    for (size_t i = 0; i < listing->count;) {
        const size_t file = listing->hashes[i].file;
        bool same = true;
        for (; i < listing->count && listing->hashes[i].file == file; i++)
            same = same &&
                   memcmp(listing->resources[i].digest, verifying->expected[i]->digest, bytes) == 0;
        if (!same)
            found(verifying, MMH_BUNDLE_DIFFERS, verifying->model->files[file].name);
    }
}

static mmh_status model_verify(struct verifying *verifying, mmh_error *err)
{
    static const char *const texts[] = { [MMH_BUNDLE_DIFFERS] = "differs from what was signed",
                                         [MMH_BUNDLE_MISSING] = "was signed, and is missing",
                                         [MMH_BUNDLE_EXTRA] = "was not signed" };
    struct mmh_model *model = verifying->model;
    const struct mmh_oms_manifest *manifest = verifying->manifest;
    mmh_bundle_report *report = verifying->report;
    /* Some write the only file of a model as ".". */
    if (!model->folder && model->file_count == 1 && strcmp(manifest->resources[0].path, ".") == 0)
        model->files[0].name = ".";
    mmh_status status = listing_make(&verifying->listing, model, manifest->shard_bytes, err);
    if (status != MMH_OK)
        return status;
    verifying->expected = mmh_arena_array(&model->arena, verifying->listing.room,
                                          sizeof *verifying->expected);
    if (!verifying->expected)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu files", verifying->listing.room);
    match_all(verifying);
    status = mmh_model_hash(model, verifying->listing.hashes, verifying->listing.count,
                            manifest->hash, "verify", err);
    if (status != MMH_OK)
        return status;
    count_hashed(report, &verifying->listing);
    compare_digests(verifying);
    const uint64_t all = report->differing + report->missing + report->extra;
    if (!all)
        return MMH_OK;
    if (all == 1)
        return mmh_fail(err, MMH_E_UNTRUSTED, "\"%s\" %s", verifying->first,
                        texts[verifying->first_finding]);
    return mmh_fail(err, MMH_E_UNTRUSTED, "\"%s\" %s, and %" PRIu64 " more files are not as signed",
                    verifying->first, texts[verifying->first_finding], all - 1);
}

/* The signatures of a bundle. */
static mmh_status check_bundle(const struct mmh_oms_bundle *bundle, const mmh_trust *trust,
                               const mmh_allocator *allocator, mmh_bundle_report *report,
                               mmh_error *err)
{
    struct mmh_policy policy;
    struct mmh_policy_counts counts = { 0 };
    const mmh_identity **signers = mmh_alloc_array(allocator, trust->signer_count, sizeof *signers);
    if (!signers)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu signers", trust->signer_count);
    mmh_policy_of(&policy, signers, trust);
    const mmh_status status = mmh_oms_check(bundle, &policy, (uint64_t)time(NULL), &counts, err);
    report->signature_count = bundle->signature_count;
    report->right_count = counts.right;
    report->is_signed = status == MMH_OK;
    mmh_free(allocator, signers);
    return status;
}

/* Open the model with what a manifest leaves out, and compare them. */
static mmh_status check_model(mmh_context *context, const char *path, const char *bundle,
                              const struct mmh_oms_manifest *manifest,
                              const mmh_bundle_options *options, mmh_bundle_report *report,
                              mmh_error *err)
{
    const size_t count = manifest->ignored_count + options->ignored_count;
    const char **ignored = mmh_alloc_array(context->allocator, count, sizeof *ignored);
    struct mmh_model model;
    struct verifying verifying = {
        .model = &model, .manifest = manifest, .options = options, .report = report
    };
    if (!ignored)
        return mmh_fail(err, MMH_E_MEMORY, "no memory for %zu paths", count);
    for (size_t i = 0; i < count; i++)
        ignored[i] = i < manifest->ignored_count ? manifest->ignored[i]
                                                 : options->ignored[i - manifest->ignored_count];
    const struct mmh_model_rules rules = { .ignored = ignored,
                                           .ignored_count = count,
                                           .bundle = bundle,
                                           .as_file = options->as_file,
                                           .symlinks = manifest->symlinks };
    mmh_status status = mmh_model_open(&model, context, path, &rules, err);
    if (status == MMH_OK)
        status = model_verify(&verifying, err);
    mmh_model_release(&model);
    mmh_free(context->allocator, ignored);
    return status;
}

mmh_status mmh_bundle_verify(mmh_context *context, const char *path, const char *model,
                             const mmh_trust *given_trust, const mmh_bundle_options *given,
                             mmh_bundle_report *given_report, mmh_error *err)
{
    mmh_bundle_options options = { 0 };
    mmh_bundle_report report = { .struct_size = sizeof report };
    mmh_trust trust = { 0 };
    struct mmh_oms_bundle bundle;
    struct mmh_oms_manifest manifest;
    uint8_t *text = NULL;
    size_t bytes;
    mmh_status status = mmh_options_copy(&options, sizeof options, given, "mmh_bundle_options",
                                         err);
    if (status == MMH_OK)
        status = mmh_options_copy(&trust, sizeof trust, given_trust, "mmh_trust", err);
    if (status == MMH_OK)
        status = mmh_struct_check(given_report, "mmh_bundle_report", err);
    if (status == MMH_OK)
        status = check_ignored(&options, err);
    if (status == MMH_OK)
        status = check_keys(trust.signers, trust.signer_count, err);
    if (status == MMH_OK && trust.min_counter)
        status = mmh_fail(err, MMH_E_USAGE, "bundles have no counter that could be required");
    if (status == MMH_OK)
        status = mmh_input_slurp(&text, &bytes, path, MMH_OMS_BYTES_MAX, context->allocator, err);
    if (status != MMH_OK)
        return status;
    status = mmh_oms_read(&bundle, text, bytes, context->allocator, err);
    mmh_free(context->allocator, text);
    if (status == MMH_OK)
        status = check_bundle(&bundle, &trust, context->allocator, &report, err);
    if (status == MMH_OK)
        status = mmh_oms_manifest(&manifest, &bundle, err);
    if (status == MMH_OK)
        status = check_model(context, model, path, &manifest, &options, &report, err);
    mmh_oms_release(&bundle);
    mmh_report_copy(given_report, &report, sizeof report);
    return status;
}
