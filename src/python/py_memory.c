/*
 * Memory of callers: the buffer protocol, DLPack, and plain addresses.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Source: DLPack 1.0 (dmlc/dlpack, dlpack.h) and the array API's __dlpack__. A capsule that nobody takes over
 * calls its owner's deleter when it goes, so that letting go of the capsule is all there is to do.
 */
#include "python/py_private.h"

#include <string.h>

/* The structures of DLPack as far as they are read here. */

enum { DEVICE_CPU = 1, FLAG_READ_ONLY = 1 };

struct dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t dimensions;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* strides in elements; NULL: row-major */
    uint64_t byte_offset;
};

struct dl_managed { /* "dltensor" */
    struct dl_tensor tensor;
    void *manager;
    void (*deleter)(struct dl_managed *self);
};

struct dl_versioned { /* "dltensor_versioned" */
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct dl_versioned *self);
    uint64_t flags;
    struct dl_tensor tensor;
};

/* The capsule of an object: with flags if it can, else without. */
static PyObject *ask_capsule(PyObject *object)
{
    PyObject *method = PyObject_GetAttrString(object, "__dlpack__");
    PyObject *none = PyTuple_New(0);
    PyObject *version = Py_BuildValue("{s(ii)}", "max_version", 1, 0);
    PyObject *capsule = method && none && version ? PyObject_Call(method, none, version) : NULL;
    if (!capsule && method && none && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = PyObject_Call(method, none, NULL);
    }
    Py_XDECREF(method);
    Py_XDECREF(none);
    Py_XDECREF(version);
    return capsule;
}

/* Bytes of a tensor that lies row-major without gaps; -1 if it does not, or too many. */
static int64_t dense_bytes(const struct dl_tensor *tensor)
{
    uint64_t bits = (uint64_t)tensor->bits * tensor->lanes, elements = 1;
    for (int32_t d = tensor->dimensions - 1; d >= 0; d--) {
        if (tensor->shape[d] == 0)
            return 0;
        if (tensor->strides && tensor->shape[d] != 1 && tensor->strides[d] != (int64_t)elements)
            return -1;
        if (tensor->shape[d] < 0 || (uint64_t)tensor->shape[d] > INT64_MAX / 1024 / elements)
            return -1;
        elements *= (uint64_t)tensor->shape[d];
    }
    return bits % 8 ? -1 : (int64_t)(elements * (bits / 8));
}

static int get_dlpack(struct py_memory *memory, PyObject *object, bool writable, const char *what)
{
    const struct dl_tensor *tensor;
    bool read_only = false;
    memory->capsule = ask_capsule(object);
    if (!memory->capsule)
        return 0;
    if (PyCapsule_IsValid(memory->capsule, "dltensor_versioned")) {
        const struct dl_versioned *managed = PyCapsule_GetPointer(memory->capsule,
                                                                  "dltensor_versioned");
        if (managed->major != 1) {
            PyErr_Format(PyExc_BufferError, "memory for %s is of DLPack %u, and 1 is known here",
                         what, (unsigned)managed->major);
            return 0;
        }
        tensor = &managed->tensor;
        read_only = managed->flags & FLAG_READ_ONLY;
    } else {
        const struct dl_managed *managed = PyCapsule_GetPointer(memory->capsule, "dltensor");
        if (!managed)
            return 0;
        tensor = &managed->tensor;
    }
    int64_t bytes = dense_bytes(tensor);
    if (tensor->device_type != DEVICE_CPU || bytes < 0 || (writable && read_only)) {
        PyErr_Format(PyExc_ValueError, "memory for %s must be %s", what,
                     tensor->device_type != DEVICE_CPU ? "the processor's"
                     : bytes < 0                       ? "contiguous"
                                                       : "writable");
        return 0;
    }
    memory->data = (uint8_t *)tensor->data + tensor->byte_offset;
    memory->bytes = (size_t)bytes;
    return 1;
}

int py_memory_get(struct py_memory *memory, PyObject *object, bool writable, const char *what)
{
    memset(memory, 0, sizeof *memory);
    if (PyTuple_Check(object)) {
        unsigned long long address = 0, bytes = 0;
        if (!PyArg_ParseTuple(object, "KK;memory is a buffer, or a tuple (address, bytes)",
                              &address, &bytes))
            return 0;
        memory->data = (void *)(uintptr_t)address;
        memory->bytes = (size_t)bytes;
        return 1;
    }
    if (!PyObject_CheckBuffer(object) && PyObject_HasAttrString(object, "__dlpack__")) {
        if (get_dlpack(memory, object, writable, what))
            return 1;
        Py_CLEAR(memory->capsule);
        return 0;
    }
    if (PyObject_GetBuffer(object, &memory->buffer,
                           writable ? PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS : PyBUF_C_CONTIGUOUS)) {
        if (PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_ValueError, "memory for %s must be contiguous%s", what,
                         writable ? " and writable" : "");
        }
        return 0;
    }
    memory->has_buffer = true;
    memory->data = memory->buffer.buf;
    memory->bytes = (size_t)memory->buffer.len;
    return 1;
}

void py_memory_release(struct py_memory *memory)
{
    if (memory->has_buffer)
        PyBuffer_Release(&memory->buffer);
    Py_CLEAR(memory->capsule);
    memory->has_buffer = false;
}
