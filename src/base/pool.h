/*
 * Thread pool: parallel loops over jobs, and the ordered pipeline.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Jobs are handed out in order. The calling thread is one of the workers, so a pool of one
 * thread creates none. The failure of the lowest job wins, the same one at any thread count; it
 * stops the hand-out. One loop runs at a time: a second thread that calls waits, and a loop
 * started inside a job runs on that job's thread alone, with its worker index. Threads have
 * stacks of 8 MiB at least.
 */
#ifndef MMH_POOL_H
#define MMH_POOL_H

#include "base/memory.h"

typedef struct mmh_pool mmh_pool;

/* worker < mmh_pool_threads(pool), and no two calls at the same time have the same one. err is
 * empty and never NULL. */
typedef mmh_status mmh_pool_job(void *context, size_t job, unsigned worker, mmh_error *err);

/* The ordered, serial half of a pipeline. */
typedef mmh_status mmh_pool_consume(void *context, size_t job, mmh_error *err);

/* threads 0: one per processor. Fewer than asked for start if the system refuses them. */
mmh_status mmh_pool_create(mmh_pool **pool, unsigned threads, const mmh_allocator *allocator,
                           mmh_error *err);
void mmh_pool_destroy(mmh_pool *pool); /* may be NULL */

unsigned mmh_pool_threads(const mmh_pool *pool); /* with the calling one: at least 1 */

/* Whether this is the thread that called: it runs no job of the pool, or it is worker 0. */
bool mmh_pool_is_caller(const mmh_pool *pool);

/* Run job 0 .. job_count - 1, in parallel. Returns when all that were started have ended. */
mmh_status mmh_pool_run(mmh_pool *pool, size_t job_count, mmh_pool_job *job, void *context,
                        mmh_error *err);

/*
 * Run `produce` for each job in parallel, then `consume` for each in job order, one at a time,
 * by whichever worker gets there; what consume reads of its job and of earlier consume calls
 * needs no lock.
 *
 *   window  jobs that may be started and not yet consumed; so slot job % window of a ring
 *           belongs to one job from its produce to its consume. 0: mmh_pool_window(pool)
 *
 * When job k fails in produce, the jobs before it are still consumed; none after it.
 */
mmh_status mmh_pool_ordered(mmh_pool *pool, size_t job_count, size_t window, mmh_pool_job *produce,
                            mmh_pool_consume *consume, void *context, mmh_error *err);

size_t mmh_pool_window(const mmh_pool *pool); /* a good window: 2 per thread + 1, 1 if alone */

/*
 * Stop handing out jobs: the running loop, and every later one, ends with MMH_E_CANCELLED unless
 * all of its jobs were done or one had failed. Safe in signal handlers and from any thread.
 * mmh_pool_resume takes it back.
 */
void mmh_pool_cancel(mmh_pool *pool);
void mmh_pool_resume(mmh_pool *pool);

/* Ask `cancelled` before each job (never from two threads at once); true cancels the loop.
 * NULL: ask nobody. Not while a loop runs. */
void mmh_pool_set_cancelled(mmh_pool *pool, bool (*cancelled)(void *user), void *user);

/* ---- for tests ---- */

/* Let the nth start of a thread from now on (1: the next), and all that follow, fail; 0: none.
 * Returns how many are still to go. */
uint64_t mmh_pool_fail_after(uint64_t nth);

#endif
