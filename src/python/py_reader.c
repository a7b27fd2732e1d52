/*
 * Readers: what is in a container or an original file, loaded into the caller's memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

typedef struct {
    PyObject_HEAD py_context *context;
    mmh_reader *reader;        /* NULL: closed */
    struct py_source *sources; /* [source_count] that it reads from */
    size_t source_count;
} py_reader;

static PyTypeObject *py_reader_type;

/* ---- small things ---- */

int py_put(PyObject *dictionary, const char *name, PyObject *value)
{
    int done = value && PyDict_SetItemString(dictionary, name, value) == 0;
    Py_XDECREF(value);
    return done;
}

PyObject *py_hex(const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    char text[128];
    if (count > sizeof text / 2)
        count = sizeof text / 2;
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return PyUnicode_FromStringAndSize(text, (Py_ssize_t)(2 * count));
}

PyObject *py_text(const char *text)
{
    if (!text)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "surrogateescape");
}

static PyObject *shape_tuple(const uint64_t *shape, uint32_t dimensions)
{
    if (!shape)
        Py_RETURN_NONE;
    PyObject *tuple = PyTuple_New((Py_ssize_t)dimensions);
    for (uint32_t i = 0; tuple && i < dimensions; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(shape[i]);
        if (!number || PyTuple_SetItem(tuple, (Py_ssize_t)i, number))
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* Begin a call on an open reader. */
static int enter(py_reader *self, PyThreadState **thread)
{
    if (!py_context_enter(self->context, thread))
        return 0;
    if (self->reader)
        return 1;
    py_context_leave(self->context, *thread);
    PyErr_SetString(PyExc_ValueError, "this file is closed");
    return 0;
}

/* End it: None, or what went wrong. */
static PyObject *leave(py_reader *self, PyThreadState *thread, mmh_status status,
                       const mmh_error *err)
{
    py_context_leave(self->context, thread);
    if (status != MMH_OK || self->context->error[0])
        return py_context_raise(self->context, err);
    Py_RETURN_NONE;
}

/* ---- open, close ---- */

static void release_sources(py_reader *self)
{
    for (size_t i = 0; i < self->source_count; i++)
        py_source_release(&self->sources[i]);
    PyMem_Free(self->sources);
    self->sources = NULL;
    self->source_count = 0;
}

static int get_sources(py_reader *self, PyObject *sequence)
{
    Py_ssize_t count = PySequence_Size(sequence);
    if (count < 0)
        return 0;
    self->sources = PyMem_Calloc((size_t)count + 1, sizeof *self->sources);
    if (!self->sources) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sequence, i);
        int got = item && py_source_get(&self->sources[i], self->context, item);
        Py_XDECREF(item);
        if (!got)
            return 0;
        self->source_count++;
    }
    return 1;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = { "context", "path", "original", "alone", "sources", NULL };
    PyObject *context, *path, *sources = Py_None;
    int original = 0, alone = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O|ppO:Reader", names, py_context_type,
                                     &context, &path, &original, &alone, &sources))
        return NULL;
    if (path == Py_None && (sources == Py_None || PySequence_Size(sources) == 0))
        return PyErr_Format(PyExc_TypeError, "a path or sources are needed");
    PyObject *text = NULL;
    if (path != Py_None && !PyUnicode_FSConverter(path, &text))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    py_reader *self = (py_reader *)allocate(type, 0);
    if (!self) {
        Py_XDECREF(text);
        return NULL;
    }
    self->context = (py_context *)Py_NewRef(context);
    PyThreadState *thread;
    mmh_source *plain = NULL;
    bool ready = sources == Py_None || get_sources(self, sources);
    if (ready && self->source_count) {
        plain = PyMem_Calloc(self->source_count, sizeof *plain);
        for (size_t i = 0; plain && i < self->source_count; i++)
            plain[i] = self->sources[i].source;
        ready = plain != NULL;
        if (!ready)
            PyErr_NoMemory();
    }
    if (!ready || !py_context_enter(self->context, &thread)) {
        PyMem_Free(plain);
        Py_XDECREF(text);
        Py_DECREF(self);
        return NULL;
    }
    mmh_error err = { 0 };
    mmh_pack_options options = { .struct_size = sizeof options, .alone = alone };
    mmh_status status;
    if (plain && original) {
        status = mmh_open_original_source(self->context->context, plain, self->source_count,
                                          &options, &self->reader, &err);
    } else if (plain) {
        status = mmh_open_source(self->context->context, plain, &self->reader, &err);
    } else if (original) {
        status = mmh_open_original(self->context->context, PyBytes_AsString(text), &options,
                                   &self->reader, &err);
    } else {
        status = mmh_open(self->context->context, PyBytes_AsString(text), &self->reader, &err);
    }
    if (status != MMH_OK)
        self->reader = NULL;
    PyObject *done = leave(self, thread, status, &err);
    PyMem_Free(plain);
    Py_XDECREF(text);
    if (!done) {
        Py_DECREF(self);
        return NULL;
    }
    Py_DECREF(done);
    return (PyObject *)self;
}

static PyObject *reader_close(PyObject *object, PyObject *unused)
{
    py_reader *self = (py_reader *)object;
    PyThreadState *thread;
    (void)unused;
    if (self->context->generation != py_fork_generation) { /* its threads and locks are not here */
        self->reader = NULL;
        Py_RETURN_NONE;
    }
    if (!py_context_enter(self->context, &thread))
        return NULL;
    mmh_close(self->reader);
    self->reader = NULL;
    py_context_leave(self->context, thread);
    release_sources(self);
    Py_RETURN_NONE;
}

static int reader_traverse(PyObject *object, visitproc visit, void *arg)
{
    py_reader *self = (py_reader *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->context);
    for (size_t i = 0; i < self->source_count; i++)
        Py_VISIT(self->sources[i].read);
    return 0;
}

static void reader_dealloc(PyObject *object)
{
    py_reader *self = (py_reader *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->reader && self->context->generation == py_fork_generation)
        mmh_close(self->reader); /* nobody else has it: no lock */
    release_sources(self);
    Py_XDECREF((PyObject *)self->context);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* ---- looking ---- */

static PyObject *file_tuple(py_reader *self, uint64_t index)
{
    mmh_file_info info = { .struct_size = sizeof info };
    mmh_error err = { 0 };
    if (mmh_file(self->reader, index, &info, &err) != MMH_OK)
        return py_raise(&err);
    return Py_BuildValue("(NiIKzNNKKN)", py_text(info.name), (int)info.kind, (unsigned)info.mode,
                         (unsigned long long)info.bytes, info.format, py_text(info.link_target),
                         info.digest ? py_hex(info.digest, info.digest_bytes) : Py_NewRef(Py_None),
                         (unsigned long long)info.tensor_count,
                         (unsigned long long)info.stored_bytes,
                         PyLong_FromUnsignedLongLong(info.remark_count));
}

/* Lock without a long call: what follows reads the index alone. */
static int begin(py_reader *self)
{
    PyThreadState *thread;
    if (!enter(self, &thread))
        return 0;
    PyEval_RestoreThread(thread);
    return 1;
}

static void end(py_reader *self)
{
    self->context->depth = 0;
    PyThread_release_lock(self->context->lock);
}

static PyObject *reader_file(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    unsigned long long index;
    if (!PyArg_ParseTuple(args, "K:file", &index) || !begin(self))
        return NULL;
    PyObject *tuple = file_tuple(self, index);
    end(self);
    return tuple;
}

static PyObject *reader_tensor(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    mmh_tensor_info info = { .struct_size = sizeof info };
    mmh_error err = { 0 };
    unsigned long long index;
    if (!PyArg_ParseTuple(args, "K:tensor", &index) || !begin(self))
        return NULL;
    PyObject *tuple = NULL;
    if (mmh_tensor(self->reader, index, &info, &err) != MMH_OK)
        py_raise(&err);
    else
        tuple = Py_BuildValue(
            "(NsNKKKNNNK)", py_text(info.name), mmh_dtype_text(info.dtype),
            shape_tuple(info.shape, info.dimensions), (unsigned long long)info.bytes,
            (unsigned long long)info.file, (unsigned long long)info.file_offset,
            shape_tuple(info.strides, info.dimensions), PyBool_FromLong(info.column_major),
            PyBool_FromLong(info.big_endian), (unsigned long long)info.stored_bytes);
    end(self);
    return tuple;
}

/* [(name, file), ...] of all tensors, in their order. */
static PyObject *reader_names(PyObject *object, PyObject *unused)
{
    py_reader *self = (py_reader *)object;
    mmh_container_info container = { .struct_size = sizeof container };
    mmh_error err = { 0 };
    (void)unused;
    if (!begin(self))
        return NULL;
    PyObject *list = NULL;
    if (mmh_container(self->reader, &container, &err) != MMH_OK)
        py_raise(&err);
    else
        list = PyList_New((Py_ssize_t)container.tensor_count);
    for (uint64_t i = 0; list && i < container.tensor_count; i++) {
        mmh_tensor_info info = { .struct_size = sizeof info };
        PyObject *item = NULL;
        if (mmh_tensor(self->reader, i, &info, &err) != MMH_OK)
            py_raise(&err);
        else
            item = Py_BuildValue("(NK)", py_text(info.name), (unsigned long long)info.file);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item))
            Py_CLEAR(list);
    }
    end(self);
    return list;
}

static PyObject *reader_find(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    PyObject *name;
    uint64_t index = 0;
    mmh_error err = { 0 };
    if (!PyArg_ParseTuple(args, "U:find", &name))
        return NULL;
    PyObject *text = PyUnicode_AsEncodedString(name, "utf-8", "surrogateescape");
    if (!text && !PyErr_ExceptionMatches(PyExc_UnicodeError))
        return NULL;
    PyErr_Clear(); /* no tensor has a name that cannot be written down */
    if (!begin(self)) {
        Py_XDECREF(text);
        return NULL;
    }
    mmh_status status = MMH_E_USAGE;
    if (text && strlen(PyBytes_AsString(text)) == (size_t)PyBytes_Size(text))
        status = mmh_find(self->reader, PyBytes_AsString(text), &index, &err);
    end(self);
    Py_XDECREF(text);
    if (status == MMH_E_USAGE)
        Py_RETURN_NONE;
    return status == MMH_OK ? PyLong_FromUnsignedLongLong(index) : py_raise(&err);
}

static PyObject *reader_metadata(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    unsigned long long file;
    if (!PyArg_ParseTuple(args, "K:metadata", &file) || !begin(self))
        return NULL;
    PyObject *dictionary = PyDict_New();
    for (uint64_t entry = 0; dictionary; entry++) {
        const char *key, *value;
        if (mmh_metadata(self->reader, file, entry, &key, &value, NULL) != MMH_OK)
            break;
        PyObject *name = py_text(key), *text = py_text(value);
        if (!name || !text || PyDict_SetItem(dictionary, name, text))
            Py_CLEAR(dictionary);
        Py_XDECREF(name);
        Py_XDECREF(text);
    }
    end(self);
    return dictionary;
}

static PyObject *usage_list(const mmh_usage *usages, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        const mmh_usage *usage = &usages[i];
        PyObject *item = Py_BuildValue(
            "(sKKKK)", usage->name, (unsigned long long)usage->original_bytes,
            (unsigned long long)usage->stored_bytes, (unsigned long long)usage->floor_bytes,
            (unsigned long long)usage->chunk_count);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item))
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *reader_info(PyObject *object, PyObject *unused)
{
    py_reader *self = (py_reader *)object;
    mmh_container_info info = { .struct_size = sizeof info };
    mmh_error err = { 0 };
    (void)unused;
    if (!begin(self))
        return NULL;
    PyObject *all = NULL;
    if (mmh_container(self->reader, &info, &err) != MMH_OK) {
        py_raise(&err);
    } else {
        char version[32];
        PyOS_snprintf(version, sizeof version, "%u.%u", (unsigned)info.format_major,
                      (unsigned)info.format_minor);
        const struct {
            const char *name;
            PyObject *value;
        } entries[] = {
            { "format_version", PyUnicode_FromString(version) },
            { "hash_suite", py_text(info.hash_suite) },
            { "writer", py_text(info.writer) },
            { "level", PyLong_FromLong(info.level) },
            { "container_bytes", PyLong_FromUnsignedLongLong(info.container_bytes) },
            { "original_bytes", PyLong_FromUnsignedLongLong(info.original_bytes) },
            { "index_bytes", PyLong_FromUnsignedLongLong(info.index_bytes) },
            { "floor_bytes", PyLong_FromUnsignedLongLong(info.floor_bytes) },
            { "file_count", PyLong_FromUnsignedLongLong(info.file_count) },
            { "tensor_count", PyLong_FromUnsignedLongLong(info.tensor_count) },
            { "block_count", PyLong_FromUnsignedLongLong(info.block_count) },
            { "chunk_count", PyLong_FromUnsignedLongLong(info.chunk_count) },
            { "root", py_hex(info.whole_root, info.root_bytes) },
            { "mended", PyLong_FromUnsignedLong(info.mended) },
            { "encrypted", PyBool_FromLong(info.encrypted) },
            { "by_dtype", usage_list(info.by_dtype, info.by_dtype_count) },
            { "by_codec", usage_list(info.by_codec, info.by_codec_count) },
        };
        all = PyDict_New();
        for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
            if (all && !py_put(all, entries[i].name, Py_XNewRef(entries[i].value)))
                Py_CLEAR(all);
            Py_XDECREF(entries[i].value);
        }
    }
    end(self);
    return all;
}

/* ---- loading ---- */

/* Memory that is too large is a mistake as well: of the shape, or of the name. */
static mmh_status check_sizes(mmh_reader *reader, const mmh_load_request *requests, size_t count,
                              mmh_error *err)
{
    for (size_t i = 0; i < count; i++) {
        mmh_tensor_info info = { .struct_size = sizeof info };
        mmh_status status = mmh_tensor(reader, requests[i].tensor, &info, err);
        if (status != MMH_OK)
            return status;
        if (info.bytes != requests[i].destination_bytes) {
            PyOS_snprintf(err->message, sizeof err->message,
                          "\"%.300s\" takes %llu bytes, and its memory has %zu", info.name,
                          (unsigned long long)info.bytes, requests[i].destination_bytes);
            return err->status = MMH_E_USAGE;
        }
    }
    return MMH_OK;
}

static PyObject *reader_load_many(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    PyObject *given, *done = NULL;
    if (!PyArg_ParseTuple(args, "O:load_many", &given))
        return NULL;
    PyObject *sequence = PySequence_Tuple(given);
    if (!sequence)
        return NULL;
    Py_ssize_t count = PyTuple_Size(sequence), got = 0;
    struct py_memory *memory = PyMem_Calloc((size_t)count + 1, sizeof *memory);
    mmh_load_request *requests = PyMem_Calloc((size_t)count + 1, sizeof *requests);
    if (!memory || !requests) {
        PyErr_NoMemory();
        goto done;
    }
    for (; got < count; got++) {
        unsigned long long index;
        PyObject *to;
        PyObject *item = PyTuple_GetItem(sequence, got);
        if (!PyTuple_Check(item)) {
            PyErr_SetString(PyExc_TypeError, "requests are tuples (index, memory)");
            goto done;
        }
        if (!PyArg_ParseTuple(item, "KO", &index, &to) ||
            !py_memory_get(&memory[got], to, true, "a tensor"))
            goto done;
        requests[got] = (mmh_load_request){ .tensor = index,
                                            .destination = memory[got].data,
                                            .destination_bytes = memory[got].bytes };
    }
    PyThreadState *thread;
    mmh_error err = { 0 };
    if (enter(self, &thread)) {
        mmh_status status = check_sizes(self->reader, requests, (size_t)count, &err);
        if (status == MMH_OK)
            status = mmh_load_many(self->reader, requests, (size_t)count, &err);
        done = leave(self, thread, status, &err);
    }
done:
    for (Py_ssize_t i = 0; i < got; i++)
        py_memory_release(&memory[i]);
    PyMem_Free(memory);
    PyMem_Free(requests);
    Py_DECREF(sequence);
    return done;
}

/* The same of a slice; bounds that cannot be and types without whole bytes are mmh_load_slice's to tell. */
static mmh_status check_slice_size(const mmh_tensor_info *info, const uint64_t *begin,
                                   const uint64_t *end, size_t memory_bytes, mmh_error *err)
{
    unsigned bits = mmh_dtype_bit_count(info->dtype);
    uint64_t bytes = bits / 8;
    for (uint32_t i = 0; i < info->dimensions; i++) {
        if (begin[i] > end[i] || end[i] > info->shape[i])
            return MMH_OK;
        bytes *= end[i] - begin[i];
    }
    if (!bits || bits % 8 || bytes == memory_bytes)
        return MMH_OK;
    PyOS_snprintf(err->message, sizeof err->message,
                  "the slice of \"%.300s\" takes %llu bytes, and its memory has %zu", info->name,
                  (unsigned long long)bytes, memory_bytes);
    return err->status = MMH_E_USAGE;
}

/* A tuple of numbers as an array for PyMem_Free; *count must be the size that is expected. */
static uint64_t *get_numbers(PyObject *object, Py_ssize_t *count)
{
    PyObject *tuple = PySequence_Tuple(object);
    if (!tuple)
        return NULL;
    *count = PyTuple_Size(tuple);
    uint64_t *numbers = PyMem_Calloc((size_t)*count + 1, sizeof *numbers);
    for (Py_ssize_t i = 0; numbers && i < *count; i++) {
        numbers[i] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(tuple, i));
        if (PyErr_Occurred()) {
            PyMem_Free(numbers);
            numbers = NULL;
        }
    }
    if (!numbers && !PyErr_Occurred())
        PyErr_NoMemory();
    Py_DECREF(tuple);
    return numbers;
}

static PyObject *reader_load_slice(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    unsigned long long index;
    PyObject *first, *last, *to, *done = NULL;
    if (!PyArg_ParseTuple(args, "KOOO:load_slice", &index, &first, &last, &to))
        return NULL;
    Py_ssize_t first_count = 0, last_count = 0;
    struct py_memory memory = { 0 };
    uint64_t *from = get_numbers(first, &first_count), *until = NULL;
    if (from)
        until = get_numbers(last, &last_count);
    if (until && py_memory_get(&memory, to, true, "a slice")) {
        mmh_tensor_info info = { .struct_size = sizeof info };
        mmh_error err = { 0 };
        PyThreadState *thread;
        if (enter(self, &thread)) {
            mmh_status status = mmh_tensor(self->reader, index, &info, &err);
            if (status == MMH_OK && (first_count != last_count || first_count != info.dimensions)) {
                status = err.status = MMH_E_USAGE;
                PyOS_snprintf(err.message, sizeof err.message,
                              "a slice of \"%.200s\" needs %u begins and ends, not %zd and %zd",
                              info.name, (unsigned)info.dimensions, first_count, last_count);
            }
            if (status == MMH_OK)
                status = check_slice_size(&info, from, until, memory.bytes, &err);
            if (status == MMH_OK)
                status = mmh_load_slice(self->reader, index, from, until, memory.data, memory.bytes,
                                        &err);
            done = leave(self, thread, status, &err);
        }
    }
    py_memory_release(&memory);
    PyMem_Free(from);
    PyMem_Free(until);
    return done;
}

static PyObject *reader_read(PyObject *object, PyObject *args)
{
    py_reader *self = (py_reader *)object;
    unsigned long long file, offset;
    PyObject *to, *done = NULL;
    struct py_memory memory;
    if (!PyArg_ParseTuple(args, "KKO:read", &file, &offset, &to) ||
        !py_memory_get(&memory, to, true, "a range"))
        return NULL;
    mmh_error err = { 0 };
    PyThreadState *thread;
    if (enter(self, &thread)) {
        mmh_status status = mmh_read(self->reader, file, offset, memory.data, memory.bytes, &err);
        done = leave(self, thread, status, &err);
    }
    py_memory_release(&memory);
    return done;
}

static PyObject *reader_closed(PyObject *object, void *unused)
{
    (void)unused;
    return PyBool_FromLong(!((py_reader *)object)->reader);
}

static PyMethodDef reader_methods[] = {
    { "close", reader_close, METH_NOARGS, NULL },
    { "file", reader_file, METH_VARARGS, NULL },
    { "tensor", reader_tensor, METH_VARARGS, NULL },
    { "names", reader_names, METH_NOARGS, NULL },
    { "find", reader_find, METH_VARARGS, NULL },
    { "metadata", reader_metadata, METH_VARARGS, NULL },
    { "info", reader_info, METH_NOARGS, NULL },
    { "load_many", reader_load_many, METH_VARARGS, NULL },
    { "load_slice", reader_load_slice, METH_VARARGS, NULL },
    { "read", reader_read, METH_VARARGS, NULL },
    { NULL, NULL, 0, NULL },
};

static PyGetSetDef reader_values[] = {
    { "closed", reader_closed, NULL, NULL, NULL },
    { NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot reader_slots[] = {
    { Py_tp_new, reader_new },
    { Py_tp_dealloc, reader_dealloc },
    { Py_tp_traverse, reader_traverse },
    { Py_tp_methods, reader_methods },
    { Py_tp_getset, reader_values },
    { Py_tp_doc, "An open container." },
    { 0, NULL },
};

static PyType_Spec reader_spec = { .name = "mmh._mmh.Reader",
                                   .basicsize = sizeof(py_reader),
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                                            Py_TPFLAGS_HAVE_GC,
                                   .slots = reader_slots };

int py_reader_add(PyObject *module)
{
    py_reader_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    return py_reader_type && PyModule_AddType(module, py_reader_type) == 0;
}
