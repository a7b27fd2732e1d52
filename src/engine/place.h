/*
 * Where unpacked files go: what may stand there, giving complete files their names, and undoing that.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Files are written under their numbers in a staging folder within the destination; once all are
 * complete and checked, each is moved to its name. After a failure what was replaced comes back.
 */
#ifndef MMH_PLACE_H
#define MMH_PLACE_H

#include "engine/engine.h"

enum { MMH_MODE_KEPT = 0777 }; /* of permissions: no container makes a file run as somebody else */

/* What has become of an entry of the container, so that it can be undone. */
struct mmh_placed {
    enum {
        PLACED_NOT,      /* yet; or it was there before and is as it was */
        PLACED_NEW,      /* nothing was there */
        PLACED_EXCHANGED /* what was there is in the staging folder now */
    } how;
    uint32_t made_bytes; /* of its name: the outermost folder that was made for it; 0: none */
};

/* Whether every entry may have its place: nothing stands there, or with `overwrite` a file that is
 * not the container itself. MMH_E_USAGE names the first that may not. */
mmh_status mmh_place_check(const mmh_folder *folder, const mmh_reader *reader, bool overwrite,
                           mmh_error *err);

/* MMH_E_IO if the file system has no room for all of it. `path`: the destination, for the message. */
mmh_status mmh_place_check_room(const mmh_folder *folder, const char *path,
                                const mmh_reader *reader, mmh_error *err);

/* "STAGING/NUMBER": where file number `file` lies until it has its name. */
void mmh_place_staged_name(char name[64], const char *staging, uint64_t file);

/* Everything is complete and checked: give the files their names. A folder that was there before
 * keeps its mode if it is the destination (`created` false).
 *   placed  [index->file_count] zeroed; what was done, for mmh_place_undo */
mmh_status mmh_place_files(const mmh_folder *folder, const char *staging,
                           const struct mmh_index *index, bool overwrite, bool created,
                           struct mmh_placed *placed, mmh_error *err);

/* After a failure: what was replaced comes back, what was made goes. */
void mmh_place_undo(const mmh_folder *folder, const char *staging, const struct mmh_index *index,
                    const struct mmh_placed *placed);

/* Empty and remove the staging folder. Its entries are known, so that no memory is wanted. */
void mmh_place_remove_staged(const mmh_folder *folder, const char *staging,
                             const struct mmh_index *index);

/* How much of the path of a folder there is: what follows is made, and removed after a failure. */
size_t mmh_place_existing_bytes(const char *path);
void mmh_place_remove_made(const char *path, size_t existing);

#endif
