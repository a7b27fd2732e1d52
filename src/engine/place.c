/*
 * Where unpacked files go: what may stand there, giving complete files their names, and undoing that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine/place.h"

#include <inttypes.h>
#include <string.h>

/* Nothing that exists is in the way: before any work is done. */
mmh_status mmh_place_check(const mmh_folder *folder, const mmh_reader *reader, bool overwrite,
                           mmh_error *err)
{
    const struct mmh_index *index = &reader->container.index;
    const struct mmh_path_info *self = mmh_input_info(reader->input);
    for (uint64_t i = 0; i < index->file_count; i++) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (strcmp(record->name, ".") == 0)
            continue;
        struct mmh_path_info info;
        mmh_status status = mmh_folder_stat(&info, folder, record->name, err);
        if (status != MMH_OK)
            return status;
        if (info.kind == MMH_PATH_NONE ||
            (info.kind == MMH_PATH_FOLDER && record->kind == MMH_FILE_FOLDER))
            continue;
        if (!overwrite || info.kind == MMH_PATH_FOLDER || record->kind == MMH_FILE_FOLDER)
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" exists in the destination", record->name);
        if (info.kind == MMH_PATH_FILE && info.device == self->device && info.inode == self->inode)
            return mmh_fail(err, MMH_E_USAGE, "\"%s\" would replace the container that it is in",
                            record->name);
        if (info.kind == MMH_PATH_OTHER)
            return mmh_fail(err, MMH_E_USAGE,
                            "\"%s\" is a device or a pipe, which cannot be replaced", record->name);
    }
    return MMH_OK;
}

/* Staged files are called by their number. */
void mmh_place_staged_name(char name[64], const char *staging, uint64_t file)
{
    size_t length = strlen(staging);
    memcpy(name, staging, length);
    name[length++] = '/';
    char digits[24];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + file % 10);
    while (file /= 10);
    while (count)
        name[length++] = digits[--count];
    name[length] = 0;
}

/* Make the first `bytes` of a name a folder. *made_bytes: the outermost one that was missing. */
static mmh_status make_folder(const mmh_folder *folder, const char *name, size_t bytes,
                              uint32_t *made_bytes, mmh_error *err)
{
    char path[4096];
    mmh_status status = MMH_OK;
    *made_bytes = 0;
    if (bytes >= sizeof path)
        return mmh_fail(err, MMH_E_UNSUPPORTED, "the name \"%.64s...\" is too long", name);
    for (size_t end = bytes; end && status == MMH_OK; end--) { /* mostly it is there */
        struct mmh_path_info info;
        if (end < bytes && name[end] != '/')
            continue;
        memcpy(path, name, end);
        path[end] = 0;
        status = mmh_folder_stat(&info, folder, path, err);
        if (status != MMH_OK || info.kind != MMH_PATH_NONE)
            break;
        *made_bytes = (uint32_t)end;
    }
    if (status != MMH_OK)
        *made_bytes = 0;
    memcpy(path, name, bytes);
    path[bytes] = 0;
    if (status == MMH_OK && *made_bytes)
        status = mmh_folder_make(folder, path, 0777, err);
    return status;
}

/* Give a staged file or symlink its name. */
static mmh_status place_entry(const mmh_folder *folder, const char *staged, const char *name,
                              bool overwrite, struct mmh_placed *placed, mmh_error *err)
{
    bool exchanged = false;
    mmh_status status = MMH_OK;
    if (overwrite)
        status = mmh_folder_exchange(folder, staged, name, &exchanged, err);
    if (status == MMH_OK && exchanged) {
        struct mmh_path_info old;
        placed->how = PLACED_EXCHANGED;
        status = mmh_folder_stat(&old, folder, staged, err);
        if (status == MMH_OK && old.kind != MMH_PATH_FILE && old.kind != MMH_PATH_SYMLINK)
            status = mmh_fail(err, MMH_E_USAGE, "\"%s\" exists in the destination", name);
    } else if (status == MMH_OK) {
        mmh_error problem = { 0 };
        status = mmh_folder_rename(folder, staged, name, false, &problem);
        if (status == MMH_OK)
            placed->how = PLACED_NEW;
        else if (status == MMH_E_USAGE && overwrite) /* no exchange here: there is no way back */
            return mmh_folder_rename(folder, staged, name, true, err);
        else
            return mmh_fail(err, status, "%s", problem.message);
    }
    return status;
}

/* Everything is complete and checked: give the files their names. A folder that was there before
 * keeps its mode if it is the destination. */
mmh_status mmh_place_files(const mmh_folder *folder, const char *staging,
                           const struct mmh_index *index, bool overwrite, bool created,
                           struct mmh_placed *placed, mmh_error *err)
{
    mmh_status status = MMH_OK;
    for (uint64_t i = 0; i < index->file_count && status == MMH_OK; i++) {
        const struct mmh_file_record *record = &index->files[i].record;
        char staged[64];
        if (strcmp(record->name, ".") == 0)
            continue;
        if (record->kind == MMH_FILE_FOLDER) {
            status = make_folder(folder, record->name, strlen(record->name), &placed[i].made_bytes,
                                 err);
            continue;
        }
        const char *slash = strrchr(record->name, '/');
        if (slash) /* containers may leave folders out */
            status = make_folder(folder, record->name, (size_t)(slash - record->name),
                                 &placed[i].made_bytes, err);
        mmh_place_staged_name(staged, staging, i);
        if (status == MMH_OK && record->kind == MMH_FILE_SYMLINK)
            status = mmh_folder_symlink(folder, staged, record->target, false, err);
        if (status == MMH_OK)
            status = place_entry(folder, staged, record->name, overwrite, &placed[i], err);
    }
    /* Modes of folders last and innermost first: one may forbid writing. */
    for (uint64_t i = index->file_count; i-- > 0 && status == MMH_OK;) {
        const struct mmh_file_record *record = &index->files[i].record;
        if (record->kind == MMH_FILE_FOLDER && (created || strcmp(record->name, ".") != 0))
            status = mmh_folder_set_mode(folder, record->name, record->mode & MMH_MODE_KEPT, err);
    }
    return status;
}

/* After a failure: what was replaced comes back, what was made goes. */
void mmh_place_undo(const mmh_folder *folder, const char *staging, const struct mmh_index *index,
                    const struct mmh_placed *placed)
{
    for (uint64_t i = 0; i < index->file_count; i++) /* outermost first: they must be writable */
        if (index->files[i].record.kind == MMH_FILE_FOLDER && placed[i].made_bytes)
            (void)mmh_folder_set_mode(folder, index->files[i].record.name, 0700, NULL);
    for (uint64_t i = index->file_count; i-- > 0;) {
        const char *name = index->files[i].record.name;
        char path[4096];
        bool exchanged;
        mmh_place_staged_name(path, staging, i);
        if (placed[i].how == PLACED_EXCHANGED)
            (void)mmh_folder_exchange(folder, path, name, &exchanged, NULL);
        else if (placed[i].how == PLACED_NEW)
            (void)mmh_folder_remove(folder, name, NULL);
        for (size_t end = strlen(name); placed[i].made_bytes && end >= placed[i].made_bytes; end--)
            if ((!name[end] || name[end] == '/') && end < sizeof path) {
                struct mmh_path_info info;
                memcpy(path, name, end);
                path[end] = 0;
                if (mmh_folder_stat(&info, folder, path, NULL) == MMH_OK &&
                    info.kind == MMH_PATH_FOLDER)
                    (void)mmh_folder_remove(folder, path, NULL); /* if nobody put anything in it */
            }
    }
}

/* Empty and remove the staging folder. Its entries are known, so that no memory is wanted. */
void mmh_place_remove_staged(const mmh_folder *folder, const char *staging,
                             const struct mmh_index *index)
{
    for (int tries = 0; tries < 3; tries++) { /* once is enough if all was moved out of it */
        if (mmh_folder_remove(folder, staging, NULL) == MMH_OK)
            return;
        for (uint64_t i = 0; i < index->file_count; i++) {
            char staged[64];
            mmh_place_staged_name(staged, staging, i);
            if (index->files[i].record.kind != MMH_FILE_FOLDER)
                (void)mmh_folder_remove(folder, staged, NULL);
        }
    }
}

/* How much of the path of a folder there is: what follows is made, and removed after a failure. */
size_t mmh_place_existing_bytes(const char *path)
{
    char part[4096];
    size_t bytes = strlen(path);
    if (bytes >= sizeof part)
        return bytes;
    memcpy(part, path, bytes + 1);
    for (; bytes; bytes--) {
        struct mmh_path_info info;
        part[bytes] = 0;
        if (path[bytes] && path[bytes] != '/')
            continue;
        if (mmh_path_stat(&info, part, true, NULL) != MMH_OK || info.kind != MMH_PATH_NONE)
            break;
    }
    return bytes;
}

void mmh_place_remove_made(const char *path, size_t existing)
{
    char part[4096];
    size_t bytes = strlen(path);
    if (bytes >= sizeof part)
        return;
    memcpy(part, path, bytes + 1);
    for (; bytes > existing; bytes--)
        if (!path[bytes] || path[bytes] == '/') {
            part[bytes] = 0;
            (void)mmh_path_remove_folder(part, NULL);
        }
}

mmh_status mmh_place_check_room(const mmh_folder *folder, const char *path,
                                const mmh_reader *reader, mmh_error *err)
{
    uint64_t room = mmh_folder_room(folder);
    if (reader->original_bytes > room)
        return mmh_fail(err, MMH_E_IO,
                        "%s holds %" PRIu64 " bytes unpacked, and where \"%s\" is there is room "
                        "for %" PRIu64,
                        mmh_input_name(reader->input), reader->original_bytes, path, room);
    return MMH_OK;
}
