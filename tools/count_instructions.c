/*
 * A plugin for qemu-user that counts the instructions which the program under it executes.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * The program marks a place by close() of a file descriptor 0xbe0000NN, which cannot be; the plugin
 * then prints `mark NN count` to stderr. Counts are exact at marks: a system call ends a block of
 * translated code, and every block adds its length when it is entered. One thread only.
 *
 *   cc -shared -fPIC tools/count_instructions.c -o count.so
 *   qemu-aarch64 -plugin ./count.so PROGRAM
 *
 * QEMU's header is seldom packaged, so what is used of its plugin interface, version 1, is declared
 * here; QEMU 7.2 and 8 have it. Source: QEMU's documentation, "QEMU TCG Plugins".
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb; /* a block of translated code */
enum { ADD_U64 = 0 };  /* the one operation that can be done inline */

typedef void tb_callback(uint64_t plugin, struct qemu_plugin_tb *block);
typedef void syscall_callback(uint64_t plugin, unsigned vcpu, int64_t number, uint64_t a1,
                              uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                              uint64_t a7, uint64_t a8);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, tb_callback *callback);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t plugin, syscall_callback *callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *at,
                                              uint64_t value);
EXPORT int qemu_plugin_install(uint64_t plugin, const void *info, int argc, char **argv);

EXPORT int qemu_plugin_version = 1;

static uint64_t executed;

static void on_block(uint64_t plugin, struct qemu_plugin_tb *block)
{
    (void)plugin;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed,
                                             qemu_plugin_tb_n_insns(block));
}

static void on_syscall(uint64_t plugin, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2,
                       uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)plugin, (void)vcpu, (void)number, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6;
    (void)a7, (void)a8;
    if ((a1 & 0xffffff00) == 0xbe000000)
        fprintf(stderr, "mark %u %" PRIu64 "\n", (unsigned)(a1 & 0xff), executed);
}

int qemu_plugin_install(uint64_t plugin, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_block);
    qemu_plugin_register_vcpu_syscall_cb(plugin, on_syscall);
    return 0;
}
