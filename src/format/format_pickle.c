/*
 * pickle: numpy arrays and torch tensors whose bytes lie in a pickle as they are.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * That is so from protocol 3 on; before it, bytes are text with escapes. Further pickles may follow
 * the first one; what each would run is never run.
 * Source: Python's Lib/pickletools.py.
 */
#include "base/bits.h"
#include "format/torch.h"

enum { PROTOCOL_MIN = 2, PROTOCOL_MAX = 5, PICKLES_MAX = 1 << 12 };

/* After the protocol a pickle of more than one value begins with a frame, or with one of these. */
static bool begins_one(const uint8_t *head)
{
    return head[0] == 0x80 && head[1] >= PROTOCOL_MIN && head[1] <= PROTOCOL_MAX &&
           (head[2] == 0x95 || head[2] == 'c' || head[2] == '(' || head[2] == ']' ||
            head[2] == '}' || head[2] == ')' || head[2] == 0x8c || head[2] == 'X');
}

static bool detect(const struct mmh_format_probe *probe)
{
    return probe->head_bytes >= 4 && begins_one(probe->head);
}

/* The next pickle; *more tells whether there was one. */
static mmh_status map_next(struct mmh_torch *torch, struct mmh_stream *in, unsigned number,
                           bool *more, mmh_error *err)
{
    struct mmh_pickle pickle;
    mmh_error problem = { 0 };
    uint64_t begin = in->position;
    mmh_status status = mmh_pickle_read(&pickle, torch->scratch, in, &problem);
    *more = !status;
    if (number && (status == MMH_E_CORRUPT || status == MMH_E_UNSUPPORTED)) {
        mmh_extent_map_remark(torch->map, "%llu bytes follow the pickle",
                              (unsigned long long)(in->end - begin));
        return MMH_OK;
    }
    if (status)
        return mmh_fail(err, status, "%s", problem.message);
    char *name = number ? mmh_arena_format(torch->map->arena, "%u", number) : NULL;
    if (number && !name)
        return mmh_fail(err, MMH_E_MEMORY, "name of a pickle");
    return mmh_torch_walk(torch, &pickle, name, err);
}

static mmh_status map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                           mmh_error *err)
{
    struct mmh_arena scratch;
    struct mmh_torch torch;
    struct mmh_stream in;
    bool more = true;
    mmh_arena_init(&scratch, map->arena->allocator);
    mmh_torch_init(&torch, map, probe->source, &scratch);
    mmh_stream_init(&in, probe->source, 0, probe->source->bytes);
    mmh_status status = MMH_OK;
    for (unsigned number = 0; !status && more && mmh_stream_left(&in) && number < PICKLES_MAX;
         number++)
        status = map_next(&torch, &in, number, &more, err);
    if (!status)
        status = mmh_torch_finish(&torch, err);
    mmh_arena_release(&scratch);
    return status;
}

const struct mmh_format mmh_format_pickle = {
    .name = "pickle",
    .detect = detect,
    .map = map_file,
};
