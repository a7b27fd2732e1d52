/*
 * The pickle machine without its powers: a stack, marks and a memo of plain values.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every size is bounded by the bytes that were read: a memo index may not run ahead of them, the
 * stack is of a fixed depth, and the values of a hostile pickle, which may take 50 times its bytes,
 * stop at a budget that follows from the size of the file.
 * Source: Python's Lib/pickletools.py (opcodes of protocols 0 to 5).
 */
#include "format/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum {
    ARENA_BYTES = 32 << 20, /* plus ARENA_FACTOR times the source */
    ARENA_FACTOR = 3,
    STACK_MAX = 1 << 20,
    MARKS_MAX = 1 << 16,
    MEMO_MAX = 1 << 20, /* plus a 32nd of the bytes read */
    LINE_MAX_BYTES = MMH_PICKLE_TEXT_MAX,
    SMALL_COUNT = 32
};

struct scan {
    struct mmh_pickle *pickle;
    struct mmh_arena *arena;
    struct mmh_stream *in;
    uint64_t begin;
    size_t arena_before, arena_most;
    struct mmh_pickle_value **stack, **memo;
    size_t depth, stack_room, memo_count, memo_room;
    size_t *marks;
    size_t mark_count, mark_room;
    struct mmh_pickle_value *small; /* [SMALL_COUNT] integers, shared by all who have them */
    struct mmh_pickle_value *none;
    mmh_status status;
    mmh_error *err;
};

static bool fail(struct scan *scan, mmh_status status, const char *what)
{
    if (!scan->status && !mmh_stream_failed(scan->in)) /* whose own failure came first */
        scan->status = mmh_fail(scan->err, status, "pickle %s, near 0x%llx", what,
                                (unsigned long long)scan->in->position);
    return false;
}

static void *take_arena(struct scan *scan, size_t bytes)
{
    if (scan->arena->used - scan->arena_before > scan->arena_most) {
        fail(scan, MMH_E_UNSUPPORTED, "holds more values than its size warrants");
        return NULL;
    }
    void *memory = mmh_arena_alloc(scan->arena, 8, bytes);
    if (!memory)
        fail(scan, MMH_E_MEMORY, "without memory");
    return memory;
}

static struct mmh_pickle_value *new_value(struct scan *scan, enum mmh_pickle_kind kind)
{
    struct mmh_pickle_value *value = take_arena(scan, sizeof *value);
    if (value) {
        memset(value, 0, sizeof *value);
        value->kind = (uint8_t)kind;
        scan->pickle->value_count++;
    }
    return value;
}

/* Room for one more of `size` bytes in *array [count]. */
static bool make_room(struct scan *scan, void **array, size_t *room, size_t count, size_t size,
                      size_t most)
{
    if (count < *room)
        return true;
    if (count >= most)
        return fail(scan, MMH_E_UNSUPPORTED, "is deeper or larger than its size warrants");
    size_t more = MMH_MIN(MMH_MAX(*room * 2, (size_t)64), most);
    more = MMH_MAX(more, MMH_MIN(count + 1, most));
    void *larger = mmh_alloc_array(scan->arena->allocator, more, size);
    if (!larger)
        return fail(scan, MMH_E_MEMORY, "without memory");
    if (*room)
        memcpy(larger, *array, *room * size);
    mmh_free(scan->arena->allocator, *array);
    *array = larger;
    *room = more;
    return true;
}

/* ---- stack, marks, memo ---- */

static bool push(struct scan *scan, struct mmh_pickle_value *value)
{
    void *stack = scan->stack;
    if (!value || !make_room(scan, &stack, &scan->stack_room, scan->depth, sizeof value, STACK_MAX))
        return false;
    scan->stack = stack;
    scan->stack[scan->depth++] = value;
    return true;
}

/* The place on the stack above which values belong to the last mark. */
static size_t floor_of(const struct scan *scan)
{
    return scan->mark_count ? scan->marks[scan->mark_count - 1] : 0;
}

static struct mmh_pickle_value *pop(struct scan *scan)
{
    if (scan->depth <= floor_of(scan)) {
        fail(scan, MMH_E_CORRUPT, "takes what is not on its stack");
        return NULL;
    }
    return scan->stack[--scan->depth];
}

static struct mmh_pickle_value *top(struct scan *scan)
{
    struct mmh_pickle_value *value = pop(scan);
    scan->depth += value != NULL;
    return value;
}

static bool push_mark(struct scan *scan)
{
    void *marks = scan->marks;
    if (!make_room(scan, &marks, &scan->mark_room, scan->mark_count, sizeof *scan->marks,
                   MARKS_MAX))
        return false;
    scan->marks = marks;
    scan->marks[scan->mark_count++] = scan->depth;
    return true;
}

/* Values above the last mark are stack[*from .. *to), which are off the stack then. */
static bool pop_mark(struct scan *scan, size_t *from, size_t *to)
{
    if (!scan->mark_count)
        return fail(scan, MMH_E_CORRUPT, "lacks a mark");
    *from = scan->marks[--scan->mark_count];
    *to = scan->depth;
    scan->depth = *from;
    return true;
}

static bool put_memo(struct scan *scan, uint64_t index)
{
    struct mmh_pickle_value *value = top(scan);
    uint64_t most = MEMO_MAX + (scan->in->position - scan->begin) / 32;
    void *memo = scan->memo;
    if (!value)
        return false;
    if (index >= most)
        return fail(scan, MMH_E_UNSUPPORTED, "has a memo larger than its size warrants");
    if (!make_room(scan, &memo, &scan->memo_room, (size_t)index, sizeof value, (size_t)most))
        return false;
    scan->memo = memo;
    scan->memo_count += !scan->memo[index];
    scan->memo[index] = value;
    return true;
}

static bool get_memo(struct scan *scan, uint64_t index)
{
    if (index >= scan->memo_room || !scan->memo[index])
        return fail(scan, MMH_E_CORRUPT, "asks its memo for what it never put there");
    return push(scan, scan->memo[index]);
}

/* ---- values ---- */

static bool push_none(struct scan *scan)
{
    return push(scan, scan->none);
}

static bool push_integer(struct scan *scan, int64_t integer)
{
    if (integer >= 0 && integer < SMALL_COUNT)
        return push(scan, &scan->small[integer]);
    struct mmh_pickle_value *value = new_value(scan, MMH_PICKLE_INTEGER);
    if (value)
        value->integer = integer;
    return push(scan, value);
}

/* A little-endian integer of two's complement. */
static bool push_long(struct scan *scan, uint64_t bytes)
{
    uint64_t integer = 0, last = 0;
    if (bytes > 8) {
        mmh_stream_skip(scan->in, bytes);
        return push_none(scan);
    }
    for (uint64_t i = 0; i < bytes; i++)
        integer |= (last = mmh_stream_u8(scan->in)) << 8 * i;
    if (bytes && bytes < 8 && last & 0x80)
        integer |= UINT64_MAX << 8 * bytes;
    return push_integer(scan, (int64_t)integer);
}

static bool push_text(struct scan *scan, uint64_t bytes)
{
    struct mmh_pickle_value *value = new_value(scan, MMH_PICKLE_TEXT);
    if (!value)
        return false;
    value->offset = scan->in->position;
    value->bytes = bytes;
    if (bytes > MMH_PICKLE_TEXT_MAX || bytes > mmh_stream_left(scan->in)) {
        mmh_stream_skip(scan->in, bytes);
        return push(scan, value);
    }
    char *text = take_arena(scan, (size_t)bytes + 1);
    if (!text)
        return false;
    for (uint64_t i = 0; i < bytes; i++)
        text[i] = (char)mmh_stream_u8(scan->in);
    text[bytes] = '\0';
    value->text = strlen(text) == bytes ? text : NULL;
    return push(scan, value);
}

/* The next line without its end, in the arena; NULL: too long. */
static char *take_line(struct scan *scan)
{
    char line[LINE_MAX_BYTES + 1];
    size_t bytes = 0;
    for (;;) {
        char c = (char)mmh_stream_u8(scan->in);
        if (mmh_stream_failed(scan->in))
            return NULL;
        if (c == '\n')
            break;
        if (bytes == LINE_MAX_BYTES) {
            fail(scan, MMH_E_UNSUPPORTED, "has a long line");
            return NULL;
        }
        line[bytes++] = c;
    }
    char *text = take_arena(scan, bytes + 1);
    if (text) {
        memcpy(text, line, bytes);
        text[bytes] = '\0';
    }
    return text;
}

/* INT, LONG and the memo's lines of protocol 0: "12", "12L", "01" (true). */
static bool line_number(struct scan *scan, bool *is_number, int64_t *number)
{
    char *line = take_line(scan), *end;
    if (!line)
        return false;
    long long value = strtoll(line, &end, 10); /* saturates: no place for a memo, no size */
    *number = value;
    *is_number = end > line && (!*end || strcmp(end, "L") == 0) && strlen(line) < 19;
    return true;
}

static bool push_line_number(struct scan *scan)
{
    bool is_number;
    int64_t number;
    return line_number(scan, &is_number, &number) &&
           (is_number ? push_integer(scan, number) : push_none(scan));
}

/* STRING: quoted, with Python's escapes, which names do not have; UNICODE: as it is. */
static bool push_line_text(struct scan *scan, bool quoted)
{
    struct mmh_pickle_value *value = new_value(scan, MMH_PICKLE_TEXT);
    char *line = value ? take_line(scan) : NULL;
    if (!line)
        return false;
    size_t bytes = strlen(line);
    if (quoted && bytes >= 2 && line[bytes - 1] == line[0]) {
        line[bytes - 1] = '\0';
        line++;
    }
    value->text = strchr(line, '\\') ? NULL : line;
    value->offset = scan->in->position; /* its bytes are not what it stands for */
    return push(scan, value);
}

static bool push_global(struct scan *scan, const char *module, const char *name)
{
    struct mmh_pickle_value *value = new_value(scan, MMH_PICKLE_GLOBAL);
    if (!value)
        return false;
    if (module && name) {
        char *text = take_arena(scan, strlen(module) + strlen(name) + 2);
        if (!text)
            return false;
        memcpy(text, module, strlen(module));
        text[strlen(module)] = ' ';
        memcpy(text + strlen(module) + 1, name, strlen(name) + 1);
        value->text = text;
    }
    return push(scan, value);
}

static struct mmh_pickle_value *line_global(struct scan *scan)
{
    char *module = take_line(scan);
    char *name = module ? take_line(scan) : NULL;
    return name && push_global(scan, module, name) ? pop(scan) : NULL;
}

static bool push_stack_global(struct scan *scan)
{
    struct mmh_pickle_value *name = pop(scan);
    struct mmh_pickle_value *module = name ? pop(scan) : NULL;
    return module && push_global(scan, mmh_pickle_text(module), mmh_pickle_text(name));
}

static bool add_item(struct scan *scan, struct mmh_pickle_value *to, struct mmh_pickle_value *key,
                     struct mmh_pickle_value *value)
{
    struct mmh_pickle_item *item = take_arena(scan, sizeof *item);
    if (!item)
        return false;
    *item = (struct mmh_pickle_item){ .key = key, .value = value };
    if (to->last)
        to->last->next = item;
    else
        to->first = item;
    to->last = item;
    to->count++;
    return true;
}

/* Add stack[from .. to) to a value, if it is one that takes items. */
static bool add_items(struct scan *scan, struct mmh_pickle_value *value, size_t from, size_t to,
                      bool pairs)
{
    if (!value || (pairs && (to - from) % 2))
        return value ? fail(scan, MMH_E_CORRUPT, "has a key without a value") : false;
    bool takes = value->kind == MMH_PICKLE_CALL || value->kind == MMH_PICKLE_TUPLE ||
                 value->kind == (pairs ? MMH_PICKLE_DICT : MMH_PICKLE_LIST);
    for (size_t i = from; takes && i < to; i += pairs ? 2 : 1)
        if (!add_item(scan, value, pairs ? scan->stack[i] : NULL, scan->stack[i + pairs]))
            return false;
    return true;
}

/* A new value of stack[from .. to). */
static bool push_items(struct scan *scan, enum mmh_pickle_kind kind, size_t from, size_t to)
{
    struct mmh_pickle_value *value = new_value(scan, kind);
    return value && add_items(scan, value, from, to, kind == MMH_PICKLE_DICT) && push(scan, value);
}

static bool push_marked(struct scan *scan, enum mmh_pickle_kind kind)
{
    size_t from, to;
    return pop_mark(scan, &from, &to) && push_items(scan, kind, from, to);
}

/* A tuple of the last `count` values. */
static bool push_tuple(struct scan *scan, size_t count)
{
    if (scan->depth - floor_of(scan) < count)
        return fail(scan, MMH_E_CORRUPT, "takes what is not on its stack");
    scan->depth -= count;
    return push_items(scan, MMH_PICKLE_TUPLE, scan->depth, scan->depth + count);
}

/* SETITEM(S), APPEND(S), ADDITEMS: `count` values, or (SIZE_MAX) those above the mark. */
static bool extend(struct scan *scan, size_t count, bool pairs)
{
    size_t from, to;
    if (count == SIZE_MAX) {
        if (!pop_mark(scan, &from, &to))
            return false;
    } else {
        if (scan->depth - floor_of(scan) < count)
            return fail(scan, MMH_E_CORRUPT, "takes what is not on its stack");
        to = scan->depth;
        from = scan->depth -= count;
    }
    struct mmh_pickle_value *value = top(scan);
    return value && value->kind != MMH_PICKLE_TUPLE ? add_items(scan, value, from, to, pairs)
                                                    : value != NULL;
}

static bool push_call(struct scan *scan, struct mmh_pickle_value *callee,
                      struct mmh_pickle_value *arguments)
{
    struct mmh_pickle_value *value = callee && arguments ? new_value(scan, MMH_PICKLE_CALL) : NULL;
    if (!value)
        return false;
    value->callee = callee;
    value->arguments = arguments;
    return push(scan, value);
}

/* REDUCE, NEWOBJ, NEWOBJ_EX (`keywords`, which are not kept). */
static bool call(struct scan *scan, bool keywords)
{
    if (keywords && !pop(scan))
        return false;
    struct mmh_pickle_value *arguments = pop(scan);
    return push_call(scan, arguments ? pop(scan) : NULL, arguments);
}

/* INST and OBJ of protocols 0 and 1: arguments lie above the mark, in OBJ after their class. */
static bool call_marked(struct scan *scan, struct mmh_pickle_value *callee)
{
    size_t from, to;
    if (!pop_mark(scan, &from, &to))
        return false;
    if (!callee && from == to)
        return fail(scan, MMH_E_CORRUPT, "has an object without a class");
    size_t first = callee ? from : from + 1;
    if (!callee)
        callee = scan->stack[from];
    return push_items(scan, MMH_PICKLE_TUPLE, first, to) && push_call(scan, callee, pop(scan));
}

static bool build(struct scan *scan)
{
    struct mmh_pickle_value *state = pop(scan);
    struct mmh_pickle_value *value = state ? top(scan) : NULL;
    if (value && value->kind == MMH_PICKLE_CALL)
        value->state = state;
    return value != NULL;
}

static bool push_persistent(struct scan *scan, struct mmh_pickle_value *id)
{
    struct mmh_pickle_value *value = id ? new_value(scan, MMH_PICKLE_PERSISTENT) : NULL;
    if (value) {
        value->id = id;
        value->before = scan->pickle->last_persistent;
        scan->pickle->last_persistent = value;
    }
    return push(scan, value);
}

/* ---- opcodes ---- */

static bool step_line(struct scan *scan, uint8_t opcode)
{
    bool is_number;
    int64_t number;
    switch (opcode) {
    case 'F':
        return take_line(scan) && push_none(scan);
    case 'I':
    case 'L':
        return push_line_number(scan);
    case 'S':
    case 'V':
        return push_line_text(scan, opcode == 'S');
    case 'P':
        return push_line_text(scan, false) && push_persistent(scan, pop(scan));
    case 'c':
        return push(scan, line_global(scan));
    case 'i': {
        struct mmh_pickle_value *callee = line_global(scan);
        return callee && call_marked(scan, callee);
    }
    default: /* 'g', 'p' */
        if (!line_number(scan, &is_number, &number))
            return false;
        if (!is_number || number < 0)
            return fail(scan, MMH_E_CORRUPT, "has a memo index that is no number");
        return opcode == 'g' ? get_memo(scan, (uint64_t)number) : put_memo(scan, (uint64_t)number);
    }
}

static bool step_text(struct scan *scan, uint8_t opcode)
{
    struct mmh_stream *in = scan->in;
    switch (opcode) {
    case 'U':
    case 'C':
    case 0x8c:
        return push_text(scan, mmh_stream_u8(in));
    case 'T':
    case 'X':
    case 'B':
        return push_text(scan, mmh_stream_u32(in));
    default: /* BINUNICODE8, BINBYTES8, BYTEARRAY8 */
        return push_text(scan, mmh_stream_u64(in));
    }
}

static bool step_stack(struct scan *scan, uint8_t opcode)
{
    size_t from, to;
    switch (opcode) {
    case '(':
        return push_mark(scan);
    case '0': /* takes a mark if that is the last */
        if (scan->mark_count && scan->depth == floor_of(scan)) {
            scan->mark_count--;
            return true;
        }
        return pop(scan) != NULL;
    case '1':
        return pop_mark(scan, &from, &to);
    case '2':
        return push(scan, top(scan));
    case 'h':
        return get_memo(scan, mmh_stream_u8(scan->in));
    case 'j':
        return get_memo(scan, mmh_stream_u32(scan->in));
    case 'q':
        return put_memo(scan, mmh_stream_u8(scan->in));
    case 'r':
        return put_memo(scan, mmh_stream_u32(scan->in));
    default: /* MEMOIZE */
        return put_memo(scan, scan->memo_count);
    }
}

static bool step_collection(struct scan *scan, uint8_t opcode)
{
    switch (opcode) {
    case ']':
    case 0x8f: /* EMPTY_SET */
        return push_items(scan, MMH_PICKLE_LIST, 0, 0);
    case '}':
        return push_items(scan, MMH_PICKLE_DICT, 0, 0);
    case ')':
        return push_items(scan, MMH_PICKLE_TUPLE, 0, 0);
    case 'l':
    case 0x91: /* FROZENSET */
        return push_marked(scan, MMH_PICKLE_LIST);
    case 'd':
        return push_marked(scan, MMH_PICKLE_DICT);
    case 't':
        return push_marked(scan, MMH_PICKLE_TUPLE);
    case 'a':
        return extend(scan, 1, false);
    case 's':
        return extend(scan, 2, true);
    case 'e':
    case 0x90: /* ADDITEMS */
        return extend(scan, SIZE_MAX, false);
    case 'u':
        return extend(scan, SIZE_MAX, true);
    default: /* TUPLE1, TUPLE2, TUPLE3 */
        return push_tuple(scan, opcode - 0x84u);
    }
}

static bool step_scalar(struct scan *scan, uint8_t opcode)
{
    struct mmh_stream *in = scan->in;
    switch (opcode) {
    case 'N':
    case 0x97: /* NEXT_BUFFER: out of band */
        return push_none(scan);
    case 0x88:
    case 0x89:
        return push_integer(scan, opcode == 0x88);
    case 'J':
        return push_integer(scan, (int32_t)mmh_stream_u32(in));
    case 'K':
        return push_integer(scan, mmh_stream_u8(in));
    case 'M':
        return push_integer(scan, mmh_stream_u16(in));
    case 0x8a:
        return push_long(scan, mmh_stream_u8(in));
    case 0x8b:
        return push_long(scan, mmh_stream_u32(in));
    case 'G':
        mmh_stream_skip(in, 8);
        return push_none(scan);
    default: /* EXT1, EXT2, EXT4: globals by number */
        mmh_stream_skip(in, opcode == 0x82 ? 1 : opcode == 0x83 ? 2 : 4);
        return push_none(scan);
    }
}

static bool step(struct scan *scan, uint8_t opcode)
{
    switch (opcode) {
    case 'F':
    case 'I':
    case 'L':
    case 'S':
    case 'V':
    case 'P':
    case 'c':
    case 'i':
    case 'g':
    case 'p':
        return step_line(scan, opcode);
    case 'U':
    case 'C':
    case 0x8c:
    case 'T':
    case 'X':
    case 'B':
    case 0x8d:
    case 0x8e:
    case 0x96:
        return step_text(scan, opcode);
    case '(':
    case '0':
    case '1':
    case '2':
    case 'h':
    case 'j':
    case 'q':
    case 'r':
    case 0x94:
        return step_stack(scan, opcode);
    case ']':
    case '}':
    case ')':
    case 'l':
    case 'd':
    case 't':
    case 'a':
    case 's':
    case 'e':
    case 'u':
    case 0x8f:
    case 0x90:
    case 0x91:
    case 0x85:
    case 0x86:
    case 0x87:
        return step_collection(scan, opcode);
    case 'N':
    case 'J':
    case 'K':
    case 'M':
    case 'G':
    case 0x82:
    case 0x83:
    case 0x84:
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
    case 0x97:
        return step_scalar(scan, opcode);
    case 'R':
    case 0x81:
        return call(scan, false);
    case 0x92:
        return call(scan, true);
    case 'o':
        return call_marked(scan, NULL);
    case 'b':
        return build(scan);
    case 'Q':
        return push_persistent(scan, pop(scan));
    case 0x93:
        return push_stack_global(scan);
    case 0x80: /* PROTO */
        mmh_stream_skip(scan->in, 1);
        return true;
    case 0x95: /* FRAME */
        mmh_stream_skip(scan->in, 8);
        return true;
    case 0x98: /* READONLY_BUFFER */
        return true;
    default:
        return fail(scan, MMH_E_CORRUPT, "has an opcode that there is not");
    }
}

static void run(struct scan *scan)
{
    scan->none = new_value(scan, MMH_PICKLE_OTHER);
    scan->small = take_arena(scan, SMALL_COUNT * sizeof *scan->small);
    if (!scan->none || !scan->small)
        return;
    memset(scan->small, 0, SMALL_COUNT * sizeof *scan->small);
    for (int i = 0; i < SMALL_COUNT; i++) {
        scan->small[i].kind = MMH_PICKLE_INTEGER;
        scan->small[i].integer = i;
    }
    for (;;) {
        uint8_t opcode = mmh_stream_u8(scan->in);
        if (mmh_stream_failed(scan->in))
            return;
        if (opcode == '.')
            break;
        if (!step(scan, opcode) || mmh_stream_failed(scan->in))
            return;
    }
    scan->pickle->root = pop(scan);
}

mmh_status mmh_pickle_read(struct mmh_pickle *pickle, struct mmh_arena *arena,
                           struct mmh_stream *in, mmh_error *err)
{
    uint64_t room = MMH_MIN(in->source->bytes, (uint64_t)SIZE_MAX / 8) * ARENA_FACTOR;
    struct scan scan = { .pickle = pickle,
                         .arena = arena,
                         .in = in,
                         .begin = in->position,
                         .arena_before = arena->used,
                         .arena_most = ARENA_BYTES + (size_t)room,
                         .err = err };
    *pickle = (struct mmh_pickle){ 0 };
    run(&scan);
    mmh_free(arena->allocator, scan.stack);
    mmh_free(arena->allocator, scan.marks);
    mmh_free(arena->allocator, scan.memo);
    return scan.status ? scan.status : mmh_stream_finish(in, "pickle", err);
}

/* ---- looking at values ---- */

bool mmh_pickle_is_global(const struct mmh_pickle_value *value, const char *name)
{
    return value && value->kind == MMH_PICKLE_GLOBAL && value->text &&
           strcmp(value->text, name) == 0;
}

bool mmh_pickle_is_call(const struct mmh_pickle_value *value, const char *name)
{
    return value && value->kind == MMH_PICKLE_CALL && mmh_pickle_is_global(value->callee, name);
}

struct mmh_pickle_value *mmh_pickle_at(const struct mmh_pickle_value *value, size_t index)
{
    if (!value || (value->kind != MMH_PICKLE_TUPLE && value->kind != MMH_PICKLE_LIST) ||
        index >= value->count)
        return NULL;
    struct mmh_pickle_item *item = value->first;
    while (index--)
        item = item->next;
    return item->value;
}

struct mmh_pickle_value *mmh_pickle_find(const struct mmh_pickle_value *value, const char *key)
{
    if (!value || (value->kind != MMH_PICKLE_DICT && value->kind != MMH_PICKLE_CALL))
        return NULL;
    for (const struct mmh_pickle_item *item = value->first; item; item = item->next) {
        const char *text = mmh_pickle_text(item->key);
        if (text && strcmp(text, key) == 0)
            return item->value;
    }
    return NULL;
}

const char *mmh_pickle_text(const struct mmh_pickle_value *value)
{
    return value && value->kind == MMH_PICKLE_TEXT ? value->text : NULL;
}

bool mmh_pickle_natural(uint64_t *number, const struct mmh_pickle_value *value)
{
    if (!value || value->kind != MMH_PICKLE_INTEGER || value->integer < 0)
        return false;
    *number = (uint64_t)value->integer;
    return true;
}

int mmh_pickle_naturals(uint64_t *numbers, unsigned room, const struct mmh_pickle_value *value)
{
    if (mmh_pickle_is_call(value, "torch Size"))
        value = mmh_pickle_at(value->arguments, 0);
    if (!value || (value->kind != MMH_PICKLE_TUPLE && value->kind != MMH_PICKLE_LIST) ||
        value->count > room)
        return -1;
    int count = 0;
    for (const struct mmh_pickle_item *item = value->first; item; item = item->next)
        if (!mmh_pickle_natural(&numbers[count++], item->value))
            return -1;
    return count;
}
