/*
 * Shared libraries by way of dlopen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE 1 /* RTLD_NODELETE */
#endif
#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

struct mmh_library {
    const mmh_allocator *allocator;
    void *handle;
};

mmh_status mmh_library_open(mmh_library **library, const char *const *names, size_t count,
                            const mmh_allocator *allocator, mmh_error *err)
{
    *library = NULL;
    mmh_library *made = mmh_alloc_array(allocator, 1, sizeof *made);
    if (!made)
        return mmh_fail(err, MMH_E_MEMORY, "shared library");
    made->allocator = allocator;
    /* It stays mapped when it is closed: drivers have threads of their own. */
    for (size_t i = 0; i < count && !made->handle; i++)
        made->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!made->handle) {
        const char *reason = dlerror();
        mmh_free(allocator, made);
        return mmh_fail(err, MMH_E_UNSUPPORTED, "cannot load a shared library: %s",
                        reason ? reason : "no name");
    }
    *library = made;
    return MMH_OK;
}

void mmh_library_close(mmh_library *library)
{
    if (!library)
        return;
    dlclose(library->handle);
    mmh_free(library->allocator, library);
}

bool mmh_library_function(const mmh_library *library, const char *name, void *function)
{
    void *address = dlsym(library->handle, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}
