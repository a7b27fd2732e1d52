/*
 * Tensors of a pickle's graph by the names that their state dict has, on the storages that they
 * look at.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * What one tensor covers from its first to its last byte is that tensor. Other storages are coded
 * as what most of them is, and their tensors are views.
 * Source: torch/_utils.py (_rebuild_*), torch/serialization.py, torch/nn/modules/module.py;
 * numpy/_core/src/multiarray/methods.c (array_reduce).
 */
#include "format/torch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

enum {
    DEPTH_MAX = 200,            /* of values in values */
    SEEN_MAX = 1024,            /* times that one value is looked at, by different names */
    VISITS = 1 << 22,           /* of values and their items, plus four for each value there is */
    PATH_BYTES_MAX = 4096,      /* of a name */
    SPENT_BYTES_MAX = 16 << 20, /* on tensors, plus SPENT_FACTOR times the source */
    SPENT_FACTOR = 2
};

/* A tensor that a pickle tells of. */
struct mmh_torch_claim {
    struct mmh_torch_claim *next;
    struct mmh_torch_storage *storage;
    struct mmh_map_tensor tensor; /* role and layout as decided so far */
    bool whole;                   /* it covers its storage */
};

/* ---- element types ---- */

/* Named as in "FloatStorage" or "float32"; what is not here mmh_dtype_find knows. */
static const struct {
    const char *name;
    uint8_t dtype;
} dtype_names[] = {
    { "Double", MMH_DTYPE_F64 },
    { "Float", MMH_DTYPE_F32 },
    { "Half", MMH_DTYPE_F16 },
    { "BFloat16", MMH_DTYPE_BF16 },
    { "Long", MMH_DTYPE_I64 },
    { "Int", MMH_DTYPE_I32 },
    { "Short", MMH_DTYPE_I16 },
    { "Char", MMH_DTYPE_I8 },
    { "Byte", MMH_DTYPE_U8 },
    { "Bool", MMH_DTYPE_BOOL },
    { "ComplexDouble", MMH_DTYPE_C128 },
    { "ComplexFloat", MMH_DTYPE_C64 },
    { "UInt16", MMH_DTYPE_U16 },
    { "UInt32", MMH_DTYPE_U32 },
    { "UInt64", MMH_DTYPE_U64 },
    { "QInt8", MMH_DTYPE_I8 },
    { "QUInt8", MMH_DTYPE_U8 },
    { "QInt32", MMH_DTYPE_I32 },
    { "QUInt4x2", MMH_DTYPE_U8 }, /* coded as bytes: its tensors have more elements than those */
    { "QUInt2x4", MMH_DTYPE_U8 },
    { "Untyped", MMH_DTYPE_U8 },
    { "Float8_e4m3fn", MMH_DTYPE_F8_E4M3 },
    { "Float8_e5m2", MMH_DTYPE_F8_E5M2 },
    { "Float8_e4m3fnuz", MMH_DTYPE_F8_E4M3FNUZ },
    { "Float8_e5m2fnuz", MMH_DTYPE_F8_E5M2FNUZ },
    { "Float8_e8m0fnu", MMH_DTYPE_F8_E8M0 },
    { "qint8", MMH_DTYPE_I8 },
    { "quint8", MMH_DTYPE_U8 },
    { "qint32", MMH_DTYPE_I32 },
    { "float4_e2m1fn_x2", MMH_DTYPE_U8 }, /* its elements are pairs */
    { "bits8", MMH_DTYPE_U8 },
};

static mmh_dtype find_dtype(const char *name, size_t bytes)
{
    for (size_t i = 0; i < MMH_COUNT_OF(dtype_names); i++)
        if (strlen(dtype_names[i].name) == bytes && memcmp(dtype_names[i].name, name, bytes) == 0)
            return (mmh_dtype)dtype_names[i].dtype;
    mmh_dtype dtype = mmh_dtype_find(name, bytes);
    return dtype == MMH_DTYPE_COUNT ? MMH_DTYPE_OPAQUE : dtype;
}

mmh_dtype mmh_torch_storage_dtype(const struct mmh_pickle_value *value)
{
    static const char suffix[] = "Storage";
    const char *text = value && value->kind == MMH_PICKLE_GLOBAL ? value->text : NULL;
    const char *name = text ? strchr(text, ' ') : NULL;
    if (!name || !mmh_name_has_suffix(text, suffix) || strncmp(text, "torch", 5) != 0)
        return MMH_DTYPE_OPAQUE;
    return find_dtype(name + 1, strlen(name + 1) - strlen(suffix));
}

/* "torch float8_e4m3fn". */
static mmh_dtype dtype_of(const struct mmh_pickle_value *value)
{
    const char *text = value && value->kind == MMH_PICKLE_GLOBAL ? value->text : NULL;
    return text && strncmp(text, "torch ", 6) == 0 ? find_dtype(text + 6, strlen(text + 6))
                                                   : MMH_DTYPE_OPAQUE;
}

/* ---- storages ---- */

void mmh_torch_init(struct mmh_torch *torch, struct mmh_extent_map *map, const mmh_source *source,
                    struct mmh_arena *scratch)
{
    *torch = (struct mmh_torch){ .map = map, .source = source, .scratch = scratch };
}

static int compare_keys(const void *left, const void *right)
{
    const struct mmh_torch_storage *a = *(const struct mmh_torch_storage *const *)left;
    const struct mmh_torch_storage *b = *(const struct mmh_torch_storage *const *)right;
    int order = strcmp(a->key, b->key);
    return order ? order : a < b ? -1 : a > b;
}

mmh_status mmh_torch_index(struct mmh_torch *torch, mmh_error *err)
{
    torch->by_key = mmh_arena_array(torch->scratch, torch->storage_count,
                                    sizeof(struct mmh_torch_storage *));
    if (!torch->by_key)
        return mmh_fail(err, MMH_E_MEMORY, "%zu storages", torch->storage_count);
    for (size_t i = 0; i < torch->storage_count; i++)
        torch->by_key[i] = &torch->storages[i];
    if (torch->storage_count > 1)
        qsort(torch->by_key, torch->storage_count, sizeof(struct mmh_torch_storage *),
              compare_keys);
    torch->indexed_count = torch->storage_count;
    return MMH_OK;
}

static int compare_key(const void *key, const void *storage)
{
    return strcmp(key, (*(const struct mmh_torch_storage *const *)storage)->key);
}

struct mmh_torch_storage *mmh_torch_find(const struct mmh_torch *torch, const char *key)
{
    if (!torch->indexed_count)
        return NULL;
    struct mmh_torch_storage **found = bsearch(key, torch->by_key, torch->indexed_count,
                                               sizeof(struct mmh_torch_storage *), compare_key);
    return found ? *found : NULL;
}

/* ---- the walk ---- */

struct walk {
    struct mmh_torch *torch;
    size_t visits_left;
    unsigned depth;
    size_t path_bytes;
    bool too_many, too_deep; /* remarked already */
    mmh_status status;
    mmh_error *err;
    char path[PATH_BYTES_MAX + 1];
};

static void out_of_memory(struct walk *walk)
{
    if (!walk->status)
        walk->status = mmh_fail(walk->err, MMH_E_MEMORY, "tensors of a pickle");
}

static void visit(struct walk *walk, struct mmh_pickle_value *value);

/* Whether there is anything to find in a value, now. */
static bool is_worth_a_visit(const struct mmh_pickle_value *value)
{
    return value && value->kind >= MMH_PICKLE_TUPLE && value->kind != MMH_PICKLE_GLOBAL &&
           !value->is_open && value->seen < SEEN_MAX;
}

/* Look at a value whose name goes on with `key`; "": with nothing. */
static void visit_under(struct walk *walk, const char *key, struct mmh_pickle_value *value)
{
    if (!is_worth_a_visit(value))
        return;
    size_t before = walk->path_bytes, bytes = strlen(key), dot = before && bytes;
    if (before + dot + bytes > PATH_BYTES_MAX) {
        mmh_extent_map_remark_tensor(walk->torch->map, key, "has too long a name");
        return;
    }
    if (dot)
        walk->path[before] = '.';
    memcpy(walk->path + before + dot, key, bytes);
    walk->path_bytes = before + dot + bytes;
    walk->path[walk->path_bytes] = '\0';
    visit(walk, value);
    walk->path_bytes = before;
    walk->path[before] = '\0';
}

static void visit_number(struct walk *walk, int64_t number, struct mmh_pickle_value *value)
{
    char key[24];
    if (!is_worth_a_visit(value))
        return;
    (void)snprintf(key, sizeof key, "%lld", (long long)number);
    visit_under(walk, key, value);
}

/* The name at this place; NULL: no memory. */
static const char *name_here(struct walk *walk)
{
    const char *name = walk->path_bytes
                         ? mmh_arena_string(walk->torch->map->arena, walk->path, walk->path_bytes)
                         : mmh_source_stem(walk->torch->source, walk->torch->map->arena);
    if (!name)
        out_of_memory(walk);
    return name;
}

/* Whether the next tensor may be kept: hostile pickles name the same one again and again. */
static bool may_spend(struct walk *walk, uint32_t dimensions)
{
    struct mmh_torch *torch = walk->torch;
    uint64_t most = SPENT_BYTES_MAX + SPENT_FACTOR * MMH_MIN(torch->source->bytes, UINT64_MAX / 8);
    torch->spent_bytes += sizeof(struct mmh_torch_claim) + 2 * sizeof(struct mmh_map_tensor) +
                          walk->path_bytes + 16u * dimensions;
    if (torch->spent_bytes <= most)
        return true;
    if (!walk->too_many)
        mmh_extent_map_remark(torch->map, "more tensors than the file has room for: the others are "
                                          "left out");
    walk->too_many = true;
    return false;
}

/* ---- tensors ---- */

/* Where a tensor's storage is said to be. */
struct place {
    struct mmh_torch_storage *storage;
    mmh_dtype dtype;
    uint64_t offset; /* bytes in the storage at which this begins */
    uint64_t count;  /* elements */
    const char *problem;
};

/* A storage whose bytes lie in the pickle: those of a stream of their own. */
static struct place find_bytes(struct walk *walk, struct mmh_pickle_value *value)
{
    struct mmh_torch *torch = walk->torch;
    struct place place = { .problem = "has a storage within the pickle that we cannot read" };
    const struct mmh_pickle_value *bytes = mmh_pickle_at(value->arguments, 0);
    struct mmh_torch_storage *storage = value->found;
    mmh_error problem = { 0 };
    if (!bytes || bytes->kind != MMH_PICKLE_TEXT)
        return place;
    if (!storage) {
        value->found = storage = mmh_arena_array(torch->scratch, 1, sizeof *storage);
        if (!storage) {
            out_of_memory(walk);
            return place;
        }
        storage->key = "within";
        mmh_status status = mmh_torch_read_bytes(storage, torch, bytes->offset, bytes->bytes,
                                                 &problem);
        if (status) {
            storage->dtype = MMH_DTYPE_OPAQUE;
            if (status != MMH_E_CORRUPT && status != MMH_E_UNSUPPORTED && !walk->status)
                walk->status = mmh_fail(walk->err, status, "%s", problem.message);
            return place;
        }
        storage->next = torch->within;
        torch->within = storage;
    }
    if (storage->dtype == MMH_DTYPE_OPAQUE)
        return place;
    return (struct place){ .storage = storage,
                           .dtype = storage->dtype,
                           .count = storage->bytes / (mmh_dtype_bits(storage->dtype) / 8) };
}

/* ('storage', class, key, device, elements[, view]), which other writers than torch leave as a tuple
 * of the pickle; view: (key, first element, elements). */
static struct place find_place(struct walk *walk, struct mmh_pickle_value *value)
{
    struct place place = { 0 };
    if (mmh_pickle_is_call(value, "torch.storage _load_from_bytes"))
        return find_bytes(walk, value);
    const struct mmh_pickle_value *id = value && value->kind == MMH_PICKLE_PERSISTENT ? value->id
                                                                                      : value;
    const char *kind = mmh_pickle_text(mmh_pickle_at(id, 0));
    const char *key = mmh_pickle_text(mmh_pickle_at(id, 2));
    struct mmh_pickle_value *view = mmh_pickle_at(id, 5);
    uint64_t first;
    if (!kind || strcmp(kind, "storage") != 0 || !key) {
        place.problem = "lies in no storage that we know";
        return place;
    }
    place.storage = mmh_torch_find(walk->torch, key);
    place.dtype = mmh_torch_storage_dtype(mmh_pickle_at(id, 1));
    if (!mmh_pickle_natural(&place.count, mmh_pickle_at(id, 4)))
        place.problem = "lies in a storage without a size";
    if (view && view->kind == MMH_PICKLE_TUPLE &&
        (!mmh_pickle_natural(&first, mmh_pickle_at(view, 1)) ||
         !mmh_pickle_natural(&place.count, mmh_pickle_at(view, 2)) ||
         !mmh_u64_mul(&place.offset, first, MMH_MAX(mmh_dtype_bits(place.dtype) / 8, 1u))))
        place.problem = "lies in a part of a storage without a size";
    if (place.storage && !place.storage->dtype)
        place.storage->dtype = place.dtype;
    return place;
}

/* Whether elements follow one another, the last dimension fastest (or, columns: the first). */
static bool is_dense(const struct mmh_map_tensor *tensor, bool columns)
{
    uint64_t expected = 1;
    for (uint32_t n = 0; n < tensor->dimensions; n++) {
        uint32_t d = columns ? n : tensor->dimensions - 1 - n;
        if (tensor->shape[d] == 1)
            continue;
        if (tensor->strides[d] != expected)
            return false;
        expected *= tensor->shape[d]; /* fits: the tensor's bytes do */
    }
    return true;
}

/* Whether elements follow one another with the dimensions in any order: ordered [dimensions] is the
 * shape in that order, slowest first. */
static bool is_ordered(uint64_t *ordered, const struct mmh_map_tensor *tensor)
{
    uint32_t order[MMH_MAP_DIMENSIONS_MAX] = { 0 }, dimensions = tensor->dimensions;
    uint64_t expected = 1;
    for (uint32_t n = 0; n < dimensions; n++) {
        uint32_t at = n;
        for (; at > 0 && tensor->strides[order[at - 1]] < tensor->strides[n]; at--)
            order[at] = order[at - 1];
        order[at] = n;
    }
    for (uint32_t n = dimensions; n-- > 0;) {
        ordered[n] = tensor->shape[order[n]];
        if (ordered[n] != 1 && tensor->strides[order[n]] != expected)
            return false;
        expected *= ordered[n];
    }
    return true;
}

/* Where a tensor begins in its storage, and whether it lies within; what is wrong, or NULL. */
static const char *place_tensor(struct mmh_torch_claim *claim, const struct place *place,
                                uint64_t first)
{
    struct mmh_map_tensor *tensor = &claim->tensor;
    uint64_t dense, reach, begin;
    unsigned bytes = mmh_dtype_bits(tensor->dtype) / 8;
    if (tensor->dtype == MMH_DTYPE_OPAQUE)
        return "has an element type that we do not know";
    if (!mmh_shape_bytes(&dense, tensor->dtype, tensor->dimensions, tensor->shape) ||
        !mmh_strides_bytes(&reach, tensor->dtype, tensor->dimensions, tensor->shape,
                           tensor->strides) ||
        !mmh_u64_mul(&begin, first, bytes) || !mmh_u64_add(&begin, begin, place->offset))
        return "has a shape whose size overflows";
    tensor->bytes = reach;
    if (!reach) {
        tensor->strides = NULL;
        tensor->offset = claim->storage ? claim->storage->offset : 0;
        return NULL;
    }
    if (!claim->storage)
        return "lies in a storage that the file lacks";
    if (begin > claim->storage->bytes || reach > claim->storage->bytes - begin)
        return "reaches past its storage";
    tensor->offset = claim->storage->offset + begin;
    claim->whole = !begin && reach == claim->storage->bytes && !claim->storage->part;
    if (reach == dense && is_dense(tensor, false)) {
        tensor->strides = NULL;
    } else if (reach == dense && is_dense(tensor, true)) {
        tensor->strides = NULL;
        tensor->column_major = true;
    }
    return NULL;
}

/* Keep a tensor for mmh_torch_finish; shape and strides [dimensions] are copied. */
static void keep_tensor(struct walk *walk, const struct place *place, mmh_dtype dtype,
                        uint64_t first, uint32_t dimensions, const uint64_t *shape,
                        const uint64_t *strides)
{
    struct mmh_torch *torch = walk->torch;
    if (!may_spend(walk, dimensions))
        return;
    struct mmh_torch_claim *claim = mmh_arena_array(torch->scratch, 1, sizeof *claim);
    uint64_t *numbers = mmh_arena_array(torch->map->arena, 2 * (size_t)dimensions, sizeof *numbers);
    const char *name = name_here(walk);
    if (!claim || !numbers || !name) {
        out_of_memory(walk);
        return;
    }
    if (dimensions) {
        memcpy(numbers, shape, dimensions * sizeof *shape);
        memcpy(numbers + dimensions, strides, dimensions * sizeof *strides);
    }
    claim->storage = place->storage;
    claim->tensor = (struct mmh_map_tensor){
        .name = name,
        .dtype = dtype,
        .big_endian = torch->big_endian && mmh_dtype_scalar_bytes(dtype) > 1,
        .dimensions = dimensions,
        .shape = numbers,
        .strides = numbers + dimensions,
    };
    const char *problem = place->problem ? place->problem : place_tensor(claim, place, first);
    if (problem) {
        mmh_extent_map_remark_tensor(torch->map, name, problem);
        return;
    }
    if (torch->last)
        torch->last->next = claim;
    else
        torch->first = claim;
    torch->last = claim;
}

static void leave_out(struct walk *walk, const char *problem)
{
    const char *name = may_spend(walk, 0) ? name_here(walk) : NULL;
    if (name)
        mmh_extent_map_remark_tensor(walk->torch->map, name, problem);
}

/* Whether the metadata of a tensor says that its elements are not what its bytes are. */
static bool is_lazy(const struct mmh_pickle_value *metadata)
{
    uint64_t conjugated = 0, negated = 0;
    (void)mmh_pickle_natural(&conjugated, mmh_pickle_find(metadata, "conj"));
    (void)mmh_pickle_natural(&negated, mmh_pickle_find(metadata, "neg"));
    return conjugated || negated;
}

/* A storage that is a value itself: flat. */
static void take_storage(struct walk *walk, struct mmh_pickle_value *value)
{
    struct place place = find_place(walk, value);
    mmh_dtype dtype = place.dtype ? place.dtype : MMH_DTYPE_U8;
    if (!place.problem)
        keep_tensor(walk, &place, dtype, 0, 1, &place.count, &(uint64_t){ 1 });
}

/* _rebuild_tensor(storage, first element, shape, strides, ...), with a dtype of its own or not. */
static void take_tensor(struct walk *walk, const struct mmh_pickle_value *arguments,
                        const struct mmh_pickle_value *own_dtype,
                        const struct mmh_pickle_value *metadata)
{
    uint64_t shape[MMH_MAP_DIMENSIONS_MAX], strides[MMH_MAP_DIMENSIONS_MAX], first;
    struct place place = find_place(walk, mmh_pickle_at(arguments, 0));
    int dimensions = mmh_pickle_naturals(shape, MMH_MAP_DIMENSIONS_MAX,
                                         mmh_pickle_at(arguments, 2));
    int stride_count = mmh_pickle_naturals(strides, MMH_MAP_DIMENSIONS_MAX,
                                           mmh_pickle_at(arguments, 3));
    if (dimensions < 0 || dimensions != stride_count ||
        !mmh_pickle_natural(&first, mmh_pickle_at(arguments, 1))) {
        leave_out(walk, "has no shape, strides and place of whole numbers");
        return;
    }
    if (is_lazy(metadata)) {
        leave_out(walk, "is conjugated or negated when it is read");
        return;
    }
    mmh_dtype dtype = own_dtype ? dtype_of(own_dtype) : place.dtype;
    keep_tensor(walk, &place, dtype, first, (uint32_t)dimensions, shape, strides);
}

/* (qscheme, scale, zero point), or per channel with tensors for them. */
static void take_quantised(struct walk *walk, const struct mmh_pickle_value *arguments)
{
    take_tensor(walk, arguments, NULL, NULL);
    visit_under(walk, "scales", mmh_pickle_at(mmh_pickle_at(arguments, 4), 1));
    visit_under(walk, "zero_points", mmh_pickle_at(mmh_pickle_at(arguments, 4), 2));
}

/* (layout, (indices, values, shape)) or, compressed, (layout, (rows, columns, values, shape)). */
static void take_sparse(struct walk *walk, const struct mmh_pickle_value *arguments)
{
    static const char *const coordinates[] = { "indices", "values" };
    static const char *const compressed[] = { "crow_indices", "col_indices", "values" };
    static const char *const by_columns[] = { "ccol_indices", "row_indices", "values" };
    const struct mmh_pickle_value *layout = mmh_pickle_at(arguments, 0);
    const struct mmh_pickle_value *data = mmh_pickle_at(arguments, 1);
    const char *text = layout && layout->kind == MMH_PICKLE_CALL
                         ? mmh_pickle_text(mmh_pickle_at(layout->arguments, 0))
                         : NULL;
    bool columns = text && (strstr(text, "_csc") || strstr(text, "_bsc"));
    bool rows = text && (strstr(text, "_csr") || strstr(text, "_bsr"));
    const char *const *names = columns ? by_columns : rows ? compressed : coordinates;
    for (size_t i = 0; i < (columns || rows ? 3u : 2u); i++)
        visit_under(walk, names[i], mmh_pickle_at(data, i));
}

/* ---- numpy arrays ---- */

/* dtype('f4', ...) with the state (3, '<', ...). */
static mmh_dtype numpy_dtype(const struct mmh_pickle_value *value, bool *big_endian)
{
    static const char kinds[][4] = { "b1", "u1", "i1", "u2", "i2", "u4", "i4",
                                     "u8", "i8", "f2", "f4", "f8", "c8", "c16" };
    static const uint8_t dtypes[] = { MMH_DTYPE_BOOL, MMH_DTYPE_U8,  MMH_DTYPE_I8,  MMH_DTYPE_U16,
                                      MMH_DTYPE_I16,  MMH_DTYPE_U32, MMH_DTYPE_I32, MMH_DTYPE_U64,
                                      MMH_DTYPE_I64,  MMH_DTYPE_F16, MMH_DTYPE_F32, MMH_DTYPE_F64,
                                      MMH_DTYPE_C64,  MMH_DTYPE_C128 };
    if (!mmh_pickle_is_call(value, "numpy dtype"))
        return MMH_DTYPE_OPAQUE;
    const char *text = mmh_pickle_text(mmh_pickle_at(value->arguments, 0));
    const char *order = mmh_pickle_text(mmh_pickle_at(value->state, 1));
    *big_endian = order && strcmp(order, ">") == 0;
    for (size_t i = 0; text && i < MMH_COUNT_OF(kinds); i++)
        if (strcmp(text, kinds[i]) == 0)
            return (mmh_dtype)dtypes[i];
    return MMH_DTYPE_OPAQUE;
}

static void add_array(struct walk *walk, const struct mmh_pickle_value *data,
                      const struct mmh_pickle_value *shape, const struct mmh_pickle_value *type,
                      bool column_major)
{
    uint64_t numbers[MMH_MAP_DIMENSIONS_MAX], bytes;
    struct mmh_torch *torch = walk->torch;
    struct mmh_map_tensor tensor = { .column_major = column_major };
    int dimensions = mmh_pickle_naturals(numbers, MMH_MAP_DIMENSIONS_MAX, shape);
    tensor.dtype = numpy_dtype(type, &tensor.big_endian);
    if (dimensions < 0 || tensor.dtype == MMH_DTYPE_OPAQUE || !data ||
        data->kind != MMH_PICKLE_TEXT ||
        !mmh_shape_bytes(&bytes, tensor.dtype, (uint32_t)dimensions, numbers) ||
        bytes != data->bytes || !may_spend(walk, (uint32_t)dimensions))
        return; /* objects, text, structures: or their bytes are not there as they are */
    uint64_t *copy = mmh_arena_array(torch->map->arena, (size_t)dimensions, sizeof *copy);
    tensor.name = name_here(walk);
    if (!copy || !tensor.name) {
        out_of_memory(walk);
        return;
    }
    memcpy(copy, numbers, (size_t)dimensions * sizeof *copy);
    tensor.shape = copy;
    tensor.dimensions = (uint32_t)dimensions;
    tensor.offset = data->offset;
    tensor.bytes = bytes;
    mmh_status status = mmh_extent_map_add(torch->map, &tensor, walk->err);
    if (status)
        walk->status = status;
}

/* _reconstruct(...) with the state (version, shape, dtype, is Fortran's, data). */
static void take_array(struct walk *walk, const struct mmh_pickle_value *state)
{
    uint64_t fortran = 0;
    (void)mmh_pickle_natural(&fortran, mmh_pickle_at(state, 3));
    struct mmh_pickle_value *data = mmh_pickle_at(state, 4);
    struct mmh_pickle_value *shape = mmh_pickle_at(state, 1);
    if (data && data->kind == MMH_PICKLE_LIST) { /* of objects, which may hold arrays again */
        bool scalar = shape && shape->kind == MMH_PICKLE_TUPLE && !shape->count;
        visit_under(walk, "", scalar ? mmh_pickle_at(data, 0) : data);
    }
    add_array(walk, data, shape, mmh_pickle_at(state, 2), fortran);
}

/* _frombuffer(data, dtype, shape, order). */
static void take_buffer(struct walk *walk, const struct mmh_pickle_value *arguments)
{
    const char *order = mmh_pickle_text(mmh_pickle_at(arguments, 3));
    add_array(walk, mmh_pickle_at(arguments, 0), mmh_pickle_at(arguments, 2),
              mmh_pickle_at(arguments, 1), order && strcmp(order, "F") == 0);
}

/* ---- objects ---- */

/* Parts of a module's state whose own name its state dict leaves out. */
static bool is_module_level(const char *key)
{
    return strcmp(key, "_parameters") == 0 || strcmp(key, "_buffers") == 0 ||
           strcmp(key, "_modules") == 0;
}

static void visit_pairs(struct walk *walk, const struct mmh_pickle_value *value)
{
    int64_t number = 0;
    bool module = mmh_pickle_find(value, "_parameters") && mmh_pickle_find(value, "_modules");
    for (const struct mmh_pickle_item *item = value->first; item; item = item->next, number++) {
        const char *key = mmh_pickle_text(item->key);
        if (key)
            visit_under(walk, module && is_module_level(key) ? "" : key, item->value);
        else
            visit_number(walk,
                         item->key && item->key->kind == MMH_PICKLE_INTEGER ? item->key->integer
                                                                            : number,
                         item->value);
    }
}

static void visit_sequence(struct walk *walk, const struct mmh_pickle_value *value)
{
    int64_t number = 0;
    for (const struct mmh_pickle_item *item = value->first; item; item = item->next)
        visit_number(walk, number++, item->value);
}

/* OrderedDict([[key, value], ...]), as Python 2 has it. */
static void visit_pair_list(struct walk *walk, const struct mmh_pickle_value *list)
{
    for (const struct mmh_pickle_item *item = list->first; item; item = item->next) {
        const char *key = mmh_pickle_text(mmh_pickle_at(item->value, 0));
        if (key)
            visit_under(walk, key, mmh_pickle_at(item->value, 1));
    }
}

/* What BUILD gives an object: its attributes, or a pair of these and its slots. */
static void visit_state(struct walk *walk, struct mmh_pickle_value *state)
{
    if (state && state->kind == MMH_PICKLE_TUPLE) {
        visit_under(walk, "", mmh_pickle_at(state, 0));
        visit_under(walk, "", mmh_pickle_at(state, 1));
    } else {
        visit_under(walk, "", state);
    }
}

/* Items, attributes and arguments of any other object, by what it would call them. */
static void visit_object(struct walk *walk, const struct mmh_pickle_value *value)
{
    struct mmh_pickle_value *arguments = value->arguments;
    struct mmh_pickle_value *only = arguments->count == 1 ? mmh_pickle_at(arguments, 0) : NULL;
    if (only && only->kind == MMH_PICKLE_LIST &&
        mmh_pickle_is_call(value, "collections OrderedDict"))
        visit_pair_list(walk, only);
    else if (arguments->count)
        visit_under(walk, "", only ? only : arguments);
    if (value->first && value->first->key)
        visit_pairs(walk, value);
    else
        visit_sequence(walk, value);
    visit_state(walk, value->state);
}

enum call {
    CALL_OTHER = 0,
    CALL_TENSOR,
    CALL_TENSOR_DTYPE,
    CALL_QUANTISED,
    CALL_SPARSE,
    CALL_WRAPPED, /* the first argument is what it is about */
    CALL_TYPED,   /* (function, class, its arguments, state) */
    CALL_ARRAY,
    CALL_BUFFER,
    CALL_STORAGE,
    CALL_EMPTY /* has no bytes anywhere */
};

static enum call find_call(const struct mmh_pickle_value *callee)
{
    static const struct {
        const char *name;
        enum call call;
    } calls[] = {
        { "torch._utils _rebuild_tensor", CALL_TENSOR },
        { "torch._utils _rebuild_tensor_v2", CALL_TENSOR },
        { "torch._utils _rebuild_tensor_v3", CALL_TENSOR_DTYPE },
        { "torch._utils _rebuild_qtensor", CALL_QUANTISED },
        { "torch._utils _rebuild_sparse_tensor", CALL_SPARSE },
        { "torch._utils _rebuild_sparse_csr_tensor", CALL_SPARSE },
        { "torch._utils _rebuild_parameter", CALL_WRAPPED },
        { "torch._utils _rebuild_parameter_with_state", CALL_WRAPPED },
        { "torch._utils _rebuild_device_tensor_from_numpy", CALL_WRAPPED },
        { "torch._utils _rebuild_device_tensor_from_cpu_tensor", CALL_WRAPPED },
        { "torch._utils _rebuild_nested_tensor", CALL_WRAPPED },
        { "torch.nn.parameter Parameter", CALL_WRAPPED },
        { "torch.jit._pickle build_tensorlist_from_id", CALL_WRAPPED },
        { "torch.jit._pickle restore_type_tag", CALL_WRAPPED },
        { "torch._tensor _rebuild_from_type", CALL_TYPED },
        { "torch._tensor _rebuild_from_type_v2", CALL_TYPED },
        { "torch._utils _rebuild_meta_tensor_no_storage", CALL_EMPTY },
        { "numpy.core.multiarray _reconstruct", CALL_ARRAY },
        { "numpy._core.multiarray _reconstruct", CALL_ARRAY },
        { "numpy.core.numeric _frombuffer", CALL_BUFFER },
        { "numpy._core.numeric _frombuffer", CALL_BUFFER },
        { "torch.storage _load_from_bytes", CALL_STORAGE },
        { "numpy dtype", CALL_EMPTY },
        { "torch Size", CALL_EMPTY },
        { "torch device", CALL_EMPTY },
    };
    if (callee && callee->kind == MMH_PICKLE_GLOBAL && callee->text)
        for (size_t i = 0; i < MMH_COUNT_OF(calls); i++)
            if (strcmp(calls[i].name, callee->text) == 0)
                return calls[i].call;
    return CALL_OTHER;
}

static void visit_call(struct walk *walk, const struct mmh_pickle_value *callee,
                       const struct mmh_pickle_value *arguments, struct mmh_pickle_value *value)
{
    switch (find_call(callee)) {
    case CALL_TENSOR:
        take_tensor(walk, arguments, NULL, mmh_pickle_at(arguments, 6));
        break;
    case CALL_TENSOR_DTYPE:
        take_tensor(walk, arguments, mmh_pickle_at(arguments, 6), mmh_pickle_at(arguments, 7));
        break;
    case CALL_QUANTISED:
        take_quantised(walk, arguments);
        break;
    case CALL_SPARSE:
        take_sparse(walk, arguments);
        break;
    case CALL_WRAPPED:
        visit_under(walk, "", mmh_pickle_at(arguments, 0));
        break;
    case CALL_TYPED:
        if (find_call(mmh_pickle_at(arguments, 0)) == CALL_TYPED) /* no wrappers in wrappers */
            break;
        visit_call(walk, mmh_pickle_at(arguments, 0), mmh_pickle_at(arguments, 2), NULL);
        visit_state(walk, mmh_pickle_at(arguments, 3)); /* what else it holds */
        break;
    case CALL_ARRAY:
        if (value)
            take_array(walk, value->state);
        break;
    case CALL_BUFFER:
        take_buffer(walk, arguments);
        break;
    case CALL_OTHER:
        if (value)
            visit_object(walk, value);
        break;
    case CALL_STORAGE:
        if (value)
            take_storage(walk, value);
        break;
    case CALL_EMPTY:
        break;
    }
}

static int compare_named(const void *key, const void *named)
{
    return strcmp(key, ((const struct mmh_torch_named *)named)->key);
}

/* A storage, or (before 0.2) a tensor by its key. */
static void visit_persistent(struct walk *walk, struct mmh_pickle_value *value)
{
    const struct mmh_torch *torch = walk->torch;
    char digits[24];
    const char *key = mmh_pickle_text(value->id);
    if (value->id->kind == MMH_PICKLE_INTEGER) {
        (void)snprintf(digits, sizeof digits, "%lld", (long long)value->id->integer);
        key = digits;
    }
    if (!key) {
        take_storage(walk, value);
        return;
    }
    const struct mmh_torch_named *named = torch->named_count
                                            ? bsearch(key, torch->named, torch->named_count,
                                                      sizeof *named, compare_named)
                                            : NULL;
    if (!named || !named->storage)
        return;
    struct place place = { .storage = named->storage, .dtype = named->storage->dtype };
    keep_tensor(walk, &place, place.dtype, named->offset, named->dimensions, named->shape,
                named->strides);
}

static void visit(struct walk *walk, struct mmh_pickle_value *value)
{
    if (walk->status)
        return;
    if (walk->visits_left <= value->count || walk->depth == DEPTH_MAX) {
        if (!walk->too_deep)
            mmh_extent_map_remark(walk->torch->map,
                                  "values of the pickle are nested too deep or too "
                                  "often: not all are looked at");
        walk->too_deep = true;
        return;
    }
    walk->visits_left -= 1 + value->count;
    walk->depth++;
    value->is_open = true;
    value->seen++;
    switch (value->kind) {
    case MMH_PICKLE_DICT:
        visit_pairs(walk, value);
        break;
    case MMH_PICKLE_TUPLE:
    case MMH_PICKLE_LIST:
        visit_sequence(walk, value);
        break;
    case MMH_PICKLE_CALL:
        visit_call(walk, value->callee, value->arguments, value);
        break;
    case MMH_PICKLE_PERSISTENT:
        visit_persistent(walk, value);
        break;
    default:
        break;
    }
    value->is_open = false;
    walk->depth--;
}

/* Begin at `name`; NULL: at no name. */
static void begin_walk(struct walk *walk, struct mmh_torch *torch, const char *name, mmh_error *err)
{
    size_t bytes = name ? MMH_MIN(strlen(name), (size_t)PATH_BYTES_MAX) : 0;
    memset(walk, 0, offsetof(struct walk, path));
    walk->torch = torch;
    walk->err = err;
    walk->path_bytes = bytes;
    if (bytes)
        memcpy(walk->path, name, bytes);
    walk->path[bytes] = '\0';
}

mmh_status mmh_torch_walk(struct mmh_torch *torch, const struct mmh_pickle *pickle,
                          const char *name, mmh_error *err)
{
    struct walk walk;
    begin_walk(&walk, torch, name, err);
    walk.visits_left = VISITS + 4 * pickle->value_count;
    visit(&walk, pickle->root);
    return walk.status;
}

mmh_status mmh_torch_tell(struct mmh_torch *torch, const char *name,
                          struct mmh_torch_storage *storage, const struct mmh_torch_layout *layout,
                          mmh_error *err)
{
    struct walk walk;
    struct place place = { .storage = storage };
    begin_walk(&walk, torch, name, err);
    keep_tensor(&walk, &place, layout->dtype, layout->first, layout->dimensions, layout->shape,
                layout->strides);
    return walk.status;
}

/* ---- storages and tensors to the map ---- */

/* What covers each storage. */
static void find_covers(struct mmh_torch *torch)
{
    for (struct mmh_torch_claim *claim = torch->first; claim; claim = claim->next) {
        struct mmh_torch_storage *storage = claim->storage;
        const struct mmh_map_tensor *tensor = &claim->tensor;
        uint64_t ordered[MMH_MAP_DIMENSIONS_MAX];
        if (!storage || !tensor->bytes)
            continue;
        if (!storage->largest || tensor->bytes > storage->largest->tensor.bytes)
            storage->largest = claim;
        if (!claim->whole)
            continue;
        struct mmh_torch_claim **cover = !tensor->strides && !tensor->column_major ? &storage->cover
                                       : !tensor->strides            ? &storage->column_cover
                                       : is_ordered(ordered, tensor) ? &storage->ordered_cover
                                                                     : NULL;
        if (cover && !*cover)
            *cover = claim;
    }
}

/* The shape of a storage that one tensor covers with its dimensions in another order. */
static mmh_status set_ordered_shape(struct mmh_map_tensor *tensor,
                                    const struct mmh_torch_claim *cover, struct mmh_arena *arena,
                                    mmh_error *err)
{
    uint64_t ordered[MMH_MAP_DIMENSIONS_MAX], bytes;
    if (!is_ordered(ordered, &cover->tensor) ||
        !mmh_shape_bytes(&bytes, tensor->dtype, cover->tensor.dimensions, ordered) ||
        bytes != tensor->bytes)
        return MMH_OK; /* larger than the storage: elements lie over one another */
    uint64_t *shape = mmh_arena_array(arena, cover->tensor.dimensions, sizeof *shape);
    if (!shape)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a storage");
    memcpy(shape, ordered, cover->tensor.dimensions * sizeof *shape);
    tensor->shape = shape;
    tensor->dimensions = cover->tensor.dimensions;
    return MMH_OK;
}

/* Add a storage that no tensor stands for. */
static mmh_status add_storage(struct mmh_torch *torch, const struct mmh_torch_storage *storage,
                              mmh_error *err)
{
    struct mmh_arena *arena = torch->map->arena;
    mmh_dtype dtype = storage->ordered_cover ? storage->ordered_cover->tensor.dtype
                    : storage->largest       ? storage->largest->tensor.dtype
                                             : storage->dtype;
    uint64_t *count = mmh_arena_array(arena, 1, sizeof *count);
    unsigned bytes = mmh_dtype_bits(dtype) / 8;
    if (!count)
        return mmh_fail(err, MMH_E_MEMORY, "shape of a storage");
    if (dtype == MMH_DTYPE_OPAQUE || !bytes || storage->bytes % bytes)
        return MMH_OK; /* plain bytes */
    *count = storage->bytes / bytes;
    struct mmh_map_tensor tensor = {
        .name = mmh_arena_format(arena, "storage %s", storage->key),
        .dtype = dtype,
        .big_endian = torch->big_endian && mmh_dtype_scalar_bytes(dtype) > 1,
        .role = MMH_MAP_STORAGE,
        .dimensions = 1,
        .shape = count,
        .offset = storage->offset,
        .bytes = storage->bytes,
    };
    if (!tensor.name)
        return mmh_fail(err, MMH_E_MEMORY, "name of a storage");
    mmh_status status = storage->ordered_cover
                          ? set_ordered_shape(&tensor, storage->ordered_cover, arena, err)
                          : MMH_OK;
    return status ? status : mmh_extent_map_add(torch->map, &tensor, err);
}

/* Whether a storage has bytes that no tensor stands for. */
static bool is_coded_alone(const struct mmh_torch_storage *storage)
{
    return storage->bytes && !storage->part && !storage->cover && !storage->column_cover;
}

mmh_status mmh_torch_finish(struct mmh_torch *torch, mmh_error *err)
{
    mmh_status status = MMH_OK;
    find_covers(torch);
    for (size_t i = 0; i < torch->storage_count && !status; i++) {
        const struct mmh_torch_storage *storage = &torch->storages[i];
        if (is_coded_alone(storage))
            status = add_storage(torch, storage, err);
    }
    for (struct mmh_torch_storage *storage = torch->within; storage && !status;
         storage = storage->next)
        if (is_coded_alone(storage))
            status = add_storage(torch, storage, err);
    for (struct mmh_torch_claim *claim = torch->first; claim && !status; claim = claim->next) {
        struct mmh_map_tensor tensor = claim->tensor;
        bool stands_for = claim->whole && !tensor.strides &&
                          (!tensor.column_major || !claim->storage->cover);
        tensor.role = stands_for || !tensor.bytes ? MMH_MAP_TENSOR : MMH_MAP_VIEW;
        status = mmh_extent_map_add(torch->map, &tensor, err);
    }
    return status;
}

mmh_status mmh_torch_map_file(struct mmh_extent_map *map, const struct mmh_format_probe *probe,
                              mmh_status (*find)(struct mmh_torch *torch, mmh_error *err),
                              mmh_error *err)
{
    struct mmh_arena scratch;
    struct mmh_torch torch;
    mmh_arena_init(&scratch, map->arena->allocator);
    mmh_torch_init(&torch, map, probe->source, &scratch);
    mmh_status status = find(&torch, err);
    mmh_arena_release(&scratch);
    return status;
}
