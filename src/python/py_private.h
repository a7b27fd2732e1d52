/*
 * What the files of the extension module mmh._mmh share.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The module is a thin face of mmh.h: objects for a context, a reader and a key, and one function for
 * each long call. What users see is made of it in the package's modules. CPython's limited API of 3.11 alone, so
 * that one binary serves every later Python.
 */
#ifndef MMH_PY_PRIVATE_H
#define MMH_PY_PRIVATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "mmh.h"

/*
 * A context and who uses it: one call at a time, others wait for the lock without the GIL. In a process
 * that was forked since it is useless (its threads are not there): calls fail, and it is never freed.
 */
typedef struct {
    PyObject_HEAD mmh_context *context;
    PyThread_type_lock lock;
    unsigned long owner, depth;    /* of the lock: a callback that calls again is told so */
    unsigned long callback_thread; /* that runs `progress` now; 0: none does */
    PyObject *progress;            /* callable or NULL */
    PyObject *keys;                /* tuple of Key: the context has pointers to them */
    PyObject *trusted;             /* the same for what is required */
    char *passphrase;              /* [passphrase_bytes] of its own, or NULL */
    size_t passphrase_bytes;
    PyObject *error[3]; /* what a callback raised, until the call is over */
    unsigned long generation;
} py_context;

typedef struct {
    PyObject_HEAD mmh_key *key;
} py_key;

extern PyTypeObject *py_context_type, *py_key_type;

/* How often this process has been forked. */
extern unsigned long py_fork_generation;

/* Raise what mmh/_errors.py makes of a failure; returns NULL. */
PyObject *py_raise(const mmh_error *err);

/* Raise what a callback raised in the meantime, else the failure; returns NULL. */
PyObject *py_context_raise(py_context *context, const mmh_error *err);

/*
 * Begin a call: take the lock and let the GIL go. 0 after a failure, which is raised. py_context_leave
 * takes the GIL again.
 */
int py_context_enter(py_context *context, PyThreadState **thread);
void py_context_leave(py_context *context, PyThreadState *thread);

/* Keep the exception that is set for the end of the call. The GIL is held. */
void py_context_keep_error(py_context *context);

/*
 * Memory of a caller: an object with the buffer protocol, or a tuple (address, bytes) of memory that stays
 * there for the call.
 */
struct py_memory {
    Py_buffer buffer;
    bool has_buffer;
    PyObject *capsule; /* of DLPack; NULL: none */
    void *data;
    size_t bytes;
};

/* 0 after a failure, which is raised. `what` is for messages. */
int py_memory_get(struct py_memory *memory, PyObject *object, bool writable, const char *what);
void py_memory_release(struct py_memory *memory);

/* An array of the keys of a sequence of Key objects; *owner keeps them. NULL and *count 0 for none. 0
 * after a failure. For PyMem_Free. */
int py_keys_get(const mmh_key ***keys, size_t *count, PyObject **owner, PyObject *sequence);

/* Dictionary entries; `value` is a new reference that is taken. 0 after a failure. */
int py_put(PyObject *dictionary, const char *name, PyObject *value);
PyObject *py_hex(const uint8_t *bytes, size_t count);
PyObject *py_text(const char *text); /* UTF-8, odd bytes as surrogates; None of NULL */
PyObject *py_path_text(const char *path);

/* Sources and sinks of Python, for mmh_source and mmh_sink. */

struct py_source {
    mmh_source source;
    py_context *context;
    PyObject *name; /* bytes */
    PyObject *read; /* callable(offset, memoryview), or NULL: */
    PyObject *idle; /* list of bytearrays that earlier reads have filled, for the next ones */
    struct py_memory *parts; /* [part_count] bytes one after another */
    uint64_t *part_ends;
    size_t part_count;
};

/* (name, parts) or (name, bytes, callable). 0 after a failure. */
int py_source_get(struct py_source *source, py_context *context, PyObject *object);
void py_source_release(struct py_source *source);

struct py_sink {
    mmh_sink sink;
    py_context *context;
    PyObject *write; /* callable(memoryview) */
};

/* The write of such a sink. */
mmh_status py_sink_write(void *user, const void *data, size_t bytes, mmh_error *err);

/* Each file adds what it has to the module; 0 after a failure. */
int py_context_add(PyObject *module);
int py_reader_add(PyObject *module);
int py_key_add(PyObject *module);

extern PyMethodDef py_operations[];

#endif
