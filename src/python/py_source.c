/*
 * Sources and sinks: memory, and whatever Python can read and write, as inputs and outputs of the library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "python/py_private.h"

#include <string.h>

static mmh_status fail(mmh_error *err, const char *what, const char *name)
{
    if (err) {
        err->status = MMH_E_IO;
        PyOS_snprintf(err->message, sizeof err->message, "cannot %s %.300s", what, name);
    }
    return MMH_E_IO;
}

/* From memory: no GIL is needed. */
static mmh_status read_parts(void *user, uint64_t offset, void *destination, size_t bytes,
                             mmh_error *err)
{
    const struct py_source *source = user;
    uint8_t *to = destination;
    (void)err;
    size_t low = 0, high = source->part_count; /* the first part that ends behind offset */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source->part_ends[middle] > offset)
            high = middle;
        else
            low = middle + 1;
    }
    for (; bytes; low++) {
        const struct py_memory *part = &source->parts[low];
        size_t from = (size_t)(offset - (source->part_ends[low] - part->bytes));
        size_t now = part->bytes - from < bytes ? part->bytes - from : bytes;
        if (now)
            memcpy(to, (const uint8_t *)part->data + from, now);
        to += now;
        offset += now;
        bytes -= now;
    }
    return MMH_OK;
}

/* Memory of Python's own for a read of `bytes`: of an earlier one, or new. */
static PyObject *take_memory(struct py_source *source, size_t bytes)
{
    Py_ssize_t idle = PyList_Size(source->idle);
    while (idle > 0) {
        PyObject *own = Py_NewRef(PyList_GetItem(source->idle, --idle));
        if (PyList_SetSlice(source->idle, idle, idle + 1, NULL) == 0 &&
            (size_t)PyByteArray_Size(own) >= bytes)
            return own;
        Py_DECREF(own); /* too small */
        if (PyErr_Occurred())
            return NULL;
    }
    return PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)bytes);
}

/* A view of the first `bytes` of it. */
static PyObject *view_memory(PyObject *own, size_t bytes)
{
    PyObject *view = PyMemoryView_FromObject(own);
    if (!view || (size_t)PyByteArray_Size(own) == bytes)
        return view;
    PyObject *part = PySequence_GetSlice(view, 0, (Py_ssize_t)bytes);
    Py_DECREF(view);
    return part;
}

/*
 * From a callable(offset, memoryview), which fills all of it. It gets memory of Python's own: a file object may
 * keep what it was given, and slices of a memoryview stay when that is released. What it keeps shows what
 * it reads later, for the memory is used again: to have new pages each time costs more than the reading.
 */
static mmh_status read_callable(void *user, uint64_t offset, void *destination, size_t bytes,
                                mmh_error *err)
{
    struct py_source *source = user;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *own = take_memory(source, bytes);
    Py_buffer pinned; /* while it is held nobody can resize the memory */
    bool right = own && PyObject_GetBuffer(own, &pinned, PyBUF_WRITABLE) == 0;
    if (right) {
        PyObject *view = view_memory(own, bytes);
        PyObject *done = view ? PyObject_CallFunction(source->read, "KO",
                                                      (unsigned long long)offset, view)
                              : NULL;
        right = done != NULL;
        if (!right)
            py_context_keep_error(source->context);
        Py_XDECREF(done);
        Py_XDECREF(view);
        if (right) {
            PyThreadState *thread = PyEval_SaveThread();
            memcpy(destination, pinned.buf, bytes);
            PyEval_RestoreThread(thread);
        }
        PyBuffer_Release(&pinned);
        if (right && PyList_Append(source->idle, own))
            PyErr_Clear(); /* then there is new memory next time */
    } else {
        py_context_keep_error(source->context);
    }
    Py_XDECREF(own);
    PyGILState_Release(state);
    return right ? MMH_OK : fail(err, "read", source->source.name);
}

int py_source_get(struct py_source *source, py_context *context, PyObject *object)
{
    PyObject *name, *second, *third = NULL;
    memset(source, 0, sizeof *source);
    if (!PyTuple_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "a source is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(object, "UO|O;a source is a tuple", &name, &second, &third))
        return 0;
    source->context = context;
    source->name = PyUnicode_AsEncodedString(name, "utf-8", "surrogateescape");
    if (!source->name)
        return 0;
    if (strlen(PyBytes_AsString(source->name)) != (size_t)PyBytes_Size(source->name)) {
        PyErr_SetString(PyExc_ValueError, "a name has a null character");
        Py_CLEAR(source->name);
        return 0;
    }
    source->source = (mmh_source){ .struct_size = sizeof source->source,
                                   .name = PyBytes_AsString(source->name),
                                   .user = source };
    if (third) {
        source->source.bytes = PyLong_AsUnsignedLongLong(second);
        source->source.read = read_callable;
        source->read = Py_NewRef(third);
        source->idle = PyList_New(0);
        if (!PyErr_Occurred())
            return 1;
        py_source_release(source);
        return 0;
    }
    PyObject *parts = PySequence_Tuple(second);
    Py_ssize_t count = parts ? PyTuple_Size(parts) : 0;
    source->source.read = read_parts;
    source->parts = PyMem_Calloc((size_t)count + 1, sizeof *source->parts);
    source->part_ends = PyMem_Calloc((size_t)count + 1, sizeof *source->part_ends);
    if (parts && (!source->parts || !source->part_ends))
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < count; i++) {
        if (!py_memory_get(&source->parts[i], PyTuple_GetItem(parts, i), false, "what is packed"))
            break;
        source->part_count++;
        source->source.bytes += source->parts[i].bytes;
        source->part_ends[i] = source->source.bytes;
    }
    Py_XDECREF(parts);
    if (!PyErr_Occurred())
        return 1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    py_source_release(source);
    PyErr_Restore(type, value, trace);
    return 0;
}

void py_source_release(struct py_source *source)
{
    for (size_t i = 0; i < source->part_count; i++)
        py_memory_release(&source->parts[i]);
    PyMem_Free(source->parts);
    PyMem_Free(source->part_ends);
    Py_CLEAR(source->name);
    Py_CLEAR(source->read);
    Py_CLEAR(source->idle);
    memset(source, 0, sizeof *source);
}

/* A copy, as for reading: who collects what is written has it when the library's memory is gone. */
mmh_status py_sink_write(void *user, const void *data, size_t bytes, mmh_error *err)
{
    struct py_sink *sink = user;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *own = PyBytes_FromStringAndSize(data, (Py_ssize_t)bytes);
    PyObject *view = own ? PyMemoryView_FromObject(own) : NULL;
    PyObject *done = view ? PyObject_CallFunctionObjArgs(sink->write, view, NULL) : NULL;
    bool right = done != NULL;
    if (!right)
        py_context_keep_error(sink->context);
    Py_XDECREF(done);
    Py_XDECREF(view);
    Py_XDECREF(own);
    PyGILState_Release(state);
    return right ? MMH_OK : fail(err, "write", sink->sink.name);
}
