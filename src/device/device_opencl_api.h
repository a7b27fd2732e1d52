/*
 * As much of OpenCL 1.2 as device_opencl.c calls, so that building needs no headers of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names, numbers and types are those of the Khronos OpenCL 1.2 specification; handles, which are
 * pointers to types that nobody defines, are void pointers here.
 */
#ifndef MMH_DEVICE_OPENCL_API_H
#define MMH_DEVICE_OPENCL_API_H

#include <stddef.h>
#include <stdint.h>

enum {
    CL_SUCCESS = 0,
    CL_DEVICE_NOT_FOUND = -1,
    CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
    CL_OUT_OF_RESOURCES = -5,
    CL_OUT_OF_HOST_MEMORY = -6,
    CL_INVALID_BUFFER_SIZE = -61,
    CL_PLATFORM_NOT_FOUND_KHR = -1001,

    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_MAX_COMPUTE_UNITS = 0x1002,
    CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_GLOBAL_MEM_SIZE = 0x101f,
    CL_DEVICE_LOCAL_MEM_SIZE = 0x1023,
    CL_DEVICE_ENDIAN_LITTLE = 0x1026,
    CL_DEVICE_AVAILABLE = 0x1027,
    CL_DEVICE_COMPILER_AVAILABLE = 0x1028,
    CL_DEVICE_NAME = 0x102b,
    CL_DRIVER_VERSION = 0x102d,

    CL_PROGRAM_BUILD_LOG = 0x1183,
    CL_PROFILING_COMMAND_START = 0x1282,
    CL_PROFILING_COMMAND_END = 0x1283,
};

#define CL_DEVICE_TYPE_CPU ((uint64_t)1 << 1)
#define CL_DEVICE_TYPE_ALL ((uint64_t)0xffffffff)
#define CL_QUEUE_PROFILING_ENABLE ((uint64_t)1 << 1)
#define CL_MEM_READ_WRITE ((uint64_t)1 << 0)

typedef int32_t cl_int;
typedef uint32_t cl_uint;

/* result, name, parameters */
#define MMH_OPENCL_FUNCTIONS(F)                                                                   \
    F(cl_int, clGetPlatformIDs, (cl_uint room, void **platforms, cl_uint *count))                 \
    F(cl_int, clGetDeviceIDs,                                                                     \
      (void *platform, uint64_t type, cl_uint room, void **devices, cl_uint *count))              \
    F(cl_int, clGetDeviceInfo,                                                                    \
      (void *device, cl_uint what, size_t room, void *value, size_t *bytes))                      \
    F(void *, clCreateContext,                                                                    \
      (const intptr_t *properties, cl_uint count, void *const *devices,                           \
       void (*notify)(const char *, const void *, size_t, void *), void *user, cl_int *error))    \
    F(cl_int, clReleaseContext, (void *context))                                                  \
    F(void *, clCreateCommandQueue,                                                               \
      (void *context, void *device, uint64_t properties, cl_int *error))                          \
    F(cl_int, clReleaseCommandQueue, (void *queue))                                               \
    F(void *, clCreateProgramWithSource,                                                          \
      (void *context, cl_uint count, const char **text, const size_t *bytes, cl_int *error))      \
    F(cl_int, clBuildProgram,                                                                     \
      (void *program, cl_uint count, void *const *devices, const char *options,                   \
       void (*notify)(void *, void *), void *user))                                               \
    F(cl_int, clGetProgramBuildInfo,                                                              \
      (void *program, void *device, cl_uint what, size_t room, void *value, size_t *bytes))       \
    F(cl_int, clReleaseProgram, (void *program))                                                  \
    F(void *, clCreateKernel, (void *program, const char *name, cl_int *error))                   \
    F(cl_int, clReleaseKernel, (void *kernel))                                                    \
    F(cl_int, clSetKernelArg, (void *kernel, cl_uint index, size_t bytes, const void *value))     \
    F(void *, clCreateBuffer,                                                                     \
      (void *context, uint64_t flags, size_t bytes, void *host, cl_int *error))                   \
    F(cl_int, clReleaseMemObject, (void *memory))                                                 \
    F(cl_int, clEnqueueWriteBuffer,                                                               \
      (void *queue, void *buffer, cl_uint blocking, size_t offset, size_t bytes, const void *src, \
       cl_uint wait_count, void *const *wait, void **event))                                      \
    F(cl_int, clEnqueueReadBuffer,                                                                \
      (void *queue, void *buffer, cl_uint blocking, size_t offset, size_t bytes, void *dst,       \
       cl_uint wait_count, void *const *wait, void **event))                                      \
    F(cl_int, clEnqueueCopyBuffer,                                                                \
      (void *queue, void *src, void *dst, size_t src_offset, size_t dst_offset, size_t bytes,     \
       cl_uint wait_count, void *const *wait, void **event))                                      \
    F(cl_int, clEnqueueFillBuffer,                                                                \
      (void *queue, void *buffer, const void *pattern, size_t pattern_bytes, size_t offset,       \
       size_t bytes, cl_uint wait_count, void *const *wait, void **event))                        \
    F(cl_int, clEnqueueNDRangeKernel,                                                             \
      (void *queue, void *kernel, cl_uint dimensions, const size_t *offset, const size_t *global, \
       const size_t *local, cl_uint wait_count, void *const *wait, void **event))                 \
    F(cl_int, clGetEventProfilingInfo,                                                            \
      (void *event, cl_uint what, size_t room, void *value, size_t *bytes))                       \
    F(cl_int, clReleaseEvent, (void *event))                                                      \
    F(cl_int, clFlush, (void *queue))                                                             \
    F(cl_int, clFinish, (void *queue))

#define MMH_OPENCL_MEMBER(result, name, parameters) result(*name) parameters;
struct mmh_opencl {
    MMH_OPENCL_FUNCTIONS(MMH_OPENCL_MEMBER)
};

#endif
