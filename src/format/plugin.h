/*
 * Formats that the user brings: shared libraries with the interface of include/mmh_format.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * A plug-in runs as part of mmh, so none is loaded but those that the caller names. What it says of a
 * file is checked as what the file itself says.
 */
#ifndef MMH_PLUGIN_H
#define MMH_PLUGIN_H

#include "format/format_table.h"
#include "mmh_format.h"

/* Plug-ins in the order in which they are asked. */
struct mmh_plugins {
    struct mmh_arena arena;
    struct mmh_plugin *first;
};

/* When a plug-in is asked: one that the user named for this call knows best; one that merely lies in
 * a folder gets what no other format takes. */
enum mmh_plugin_turn { MMH_PLUGIN_BEFORE_ALL, MMH_PLUGIN_AFTER_ALL };

/* allocator may be NULL; it must outlive the plug-ins. */
void mmh_plugins_init(struct mmh_plugins *plugins, const mmh_allocator *allocator);
void mmh_plugins_release(struct mmh_plugins *plugins);

/* Load one by its path. Fails with MMH_E_USAGE (it is no such plug-in), MMH_E_UNSUPPORTED (it cannot
 * be loaded, or is for another version of the interface), MMH_E_IO, MMH_E_MEMORY. */
mmh_status mmh_plugins_load(struct mmh_plugins *plugins, const char *path,
                            enum mmh_plugin_turn turn, mmh_error *err);

/* Take one that is in memory already; `path` is for messages, and copied. */
mmh_status mmh_plugins_take(struct mmh_plugins *plugins, const mmh_format_reader *reader,
                            const char *path, enum mmh_plugin_turn turn, mmh_error *err);

/* Ask those of one turn, in order, for a map of the probe's source. *taken: one has made it. */
mmh_status mmh_plugins_map(struct mmh_extent_map *map, bool *taken,
                           const struct mmh_format_probe *probe, enum mmh_plugin_turn turn,
                           mmh_error *err);

#endif
