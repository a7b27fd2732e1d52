/*
 * Thread pool: one loop at a time, jobs handed out in order under one lock.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Jobs are chunks of a quarter of a megabyte and more, so a mutex for each hand-out costs
 * nothing that can be measured, and everything stays easy to see through. Because jobs are
 * handed out in order, every job below a failed one has been started and runs to its end; the
 * lowest failure is therefore the same at any thread count.
 */
#include "base/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "base/io.h"

enum { STACK_BYTES = 8 << 20, THREADS_MAX = 1024 }; /* Classic McEliece crashes on 1 MiB */

/* One loop, on the stack of the thread that asked for it; guarded by the pool's lock. */
struct loop {
    size_t job_count;
    size_t next;       /* first job that was not handed out */
    size_t window;     /* 0: a plain loop */
    size_t consumed;   /* jobs consumed, in order */
    uint8_t *produced; /* [window] slot job % window holds a result */
    bool consuming;    /* some worker is in consume */
    mmh_pool_job *produce;
    mmh_pool_consume *consume;
    void *context;
    unsigned workers;  /* pool threads inside the loop, the calling one aside */
    size_t failed_job; /* lowest job that failed; job_count: none */
    mmh_error failure;
    bool cancelled;
};

struct worker {
    mmh_pool *pool;
    unsigned index;
    pthread_t thread;
};

struct mmh_pool {
    const mmh_allocator *allocator;
    unsigned threads;       /* with the calling one */
    struct worker *workers; /* [threads - 1] */
    pthread_mutex_t lock;
    pthread_cond_t work;     /* a loop began, or the pool ends */
    pthread_cond_t progress; /* a window moved on, or the loop is over, or a worker left */
    pthread_cond_t idle;     /* no loop runs */
    struct loop *loop;
    uint64_t loops; /* begun so far: a worker enters each once */
    bool ending;
    atomic_bool cancel;
    bool (*cancelled)(void *user);
    void *user;
};

/* The job that this thread is in, so that a loop started inside it runs right there. */
static _Thread_local struct here {
    const mmh_pool *pool;
    unsigned worker;
} here;

static void loop_fail(struct loop *loop, size_t job, mmh_status status, const mmh_error *failure)
{
    if (job >= loop->failed_job)
        return;
    loop->failed_job = job;
    loop->failure = *failure;
    if (loop->failure.status == MMH_OK) /* the job left its error empty */
        mmh_fail(&loop->failure, status, "job %zu failed", job);
    loop->failure.status = status;
}

/* Jobs may be handed out up to here. */
static size_t loop_end(const struct loop *loop)
{
    return loop->cancelled ? loop->next : MMH_MIN(loop->job_count, loop->failed_job);
}

/* Called with the lock held. */
static void loop_ask_cancelled(mmh_pool *pool, struct loop *loop)
{
    if (!loop->cancelled && (atomic_load_explicit(&pool->cancel, memory_order_relaxed) ||
                             (pool->cancelled && pool->cancelled(pool->user))))
        loop->cancelled = true;
}

/* Consume all that is ready, unless another worker is at it. Called with the lock held. */
static void loop_consume(mmh_pool *pool, struct loop *loop, unsigned worker)
{
    if (loop->consuming)
        return;
    loop->consuming = true;
    while (loop->consumed < MMH_MIN(loop->next, loop->failed_job) &&
           loop->produced[loop->consumed % loop->window]) {
        size_t job = loop->consumed;
        if (loop->cancelled)
            break;
        mmh_error failure = { .status = MMH_OK };
        pthread_mutex_unlock(&pool->lock);
        struct here before = here;
        here = (struct here){ pool, worker };
        mmh_status status = loop->consume(loop->context, job, &failure);
        here = before;
        pthread_mutex_lock(&pool->lock);
        if (status != MMH_OK) {
            loop_fail(loop, job, status, &failure);
            break;
        }
        loop->produced[job % loop->window] = 0;
        loop->consumed++;
        pthread_cond_broadcast(&pool->progress);
    }
    loop->consuming = false;
}

/* Take part in a loop until there is nothing left to start. Called with the lock held. */
static void loop_work(mmh_pool *pool, struct loop *loop, unsigned worker)
{
    for (;;) {
        loop_ask_cancelled(pool, loop);
        if (loop->next >= loop_end(loop))
            break;
        if (loop->window && loop->next - loop->consumed >= loop->window) {
            pthread_cond_wait(&pool->progress, &pool->lock);
            continue;
        }
        size_t job = loop->next++;
        mmh_error failure = { .status = MMH_OK };
        pthread_mutex_unlock(&pool->lock);
        struct here before = here;
        here = (struct here){ pool, worker };
        mmh_status status = loop->produce(loop->context, job, worker, &failure);
        here = before;
        pthread_mutex_lock(&pool->lock);
        if (status != MMH_OK)
            loop_fail(loop, job, status, &failure);
        else if (loop->window)
            loop->produced[job % loop->window] = 1;
        if (loop->window)
            loop_consume(pool, loop, worker);
    }
    pthread_cond_broadcast(&pool->progress); /* others may wait for a window that never moves */
}

static void *worker_main(void *argument)
{
    const struct worker *self = argument;
    mmh_pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    while (!pool->ending) {
        struct loop *loop = pool->loop;
        if (!loop || seen == pool->loops) {
            pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        seen = pool->loops;
        loop->workers++;
        loop_work(pool, loop, self->index);
        loop->workers--;
        pthread_cond_broadcast(&pool->progress);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static atomic_uint_least64_t fault_countdown; /* 0: none; 1: this start and all later ones fail */

uint64_t mmh_pool_fail_after(uint64_t nth)
{
    return atomic_exchange(&fault_countdown, nth);
}

static int thread_start(pthread_t *thread, const pthread_attr_t *attributes, struct worker *worker)
{
    uint_least64_t left = atomic_load(&fault_countdown);
    while (left > 1 && !atomic_compare_exchange_weak(&fault_countdown, &left, left - 1))
        continue;
    return left == 1 ? EAGAIN : pthread_create(thread, attributes, worker_main, worker);
}

mmh_status mmh_pool_create(mmh_pool **out, unsigned threads, const mmh_allocator *allocator,
                           mmh_error *err)
{
    *out = NULL;
    threads = threads ? MMH_MIN(threads, THREADS_MAX) : MMH_MIN(mmh_cpu_count(), THREADS_MAX);
    mmh_pool *pool = mmh_alloc_array(allocator, 1, sizeof *pool);
    if (!pool)
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for a thread pool");
    pool->allocator = allocator;
    pool->threads = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->progress, NULL);
    pthread_cond_init(&pool->idle, NULL);
    atomic_init(&pool->cancel, false);
    if (threads > 1 &&
        !(pool->workers = mmh_alloc_array(allocator, threads - 1, sizeof *pool->workers))) {
        mmh_pool_destroy(pool);
        return mmh_fail(err, MMH_E_MEMORY, "out of memory for %u threads", threads);
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (pool->threads < threads) {
        struct worker *worker = &pool->workers[pool->threads - 1];
        *worker = (struct worker){ .pool = pool, .index = pool->threads };
        if (thread_start(&worker->thread, &attributes, worker))
            break; /* a limit of the system: fewer threads do the same work */
        pool->threads++;
    }
    pthread_attr_destroy(&attributes);
    *out = pool;
    return MMH_OK;
}

void mmh_pool_destroy(mmh_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    assert(!pool->loop);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i + 1 < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->progress);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    mmh_free(pool->allocator, pool->workers);
    mmh_free(pool->allocator, pool);
}

unsigned mmh_pool_threads(const mmh_pool *pool)
{
    return pool->threads;
}

bool mmh_pool_is_caller(const mmh_pool *pool)
{
    return here.pool != pool || here.worker == 0;
}

size_t mmh_pool_window(const mmh_pool *pool)
{
    return pool->threads == 1 ? 1 : 2 * (size_t)pool->threads + 1;
}

/* A loop inside a job: on this thread, without the lock (`cancelled` is not asked: another
 * thread may be asking it). */
static mmh_status loop_run_here(mmh_pool *pool, struct loop *loop, mmh_error *err)
{
    for (size_t job = 0; job < loop->job_count; job++) {
        mmh_error failure = { .status = MMH_OK };
        if (atomic_load_explicit(&pool->cancel, memory_order_relaxed))
            return mmh_fail(err, MMH_E_CANCELLED, "cancelled");
        mmh_status status = loop->produce(loop->context, job, here.worker, &failure);
        if (status == MMH_OK && loop->consume)
            status = loop->consume(loop->context, job, &failure);
        if (status != MMH_OK) {
            loop_fail(loop, job, status, &failure);
            return mmh_fail(err, status, "%s", loop->failure.message);
        }
    }
    return MMH_OK;
}

static mmh_status loop_run(mmh_pool *pool, struct loop *loop, mmh_error *err)
{
    loop->failed_job = loop->job_count;
    if (here.pool == pool)
        return loop_run_here(pool, loop, err);
    if (loop->window) {
        loop->produced = mmh_alloc_array(pool->allocator, loop->window, 1);
        if (!loop->produced)
            return mmh_fail(err, MMH_E_MEMORY, "out of memory for a window of %zu jobs",
                            loop->window);
    }
    pthread_mutex_lock(&pool->lock);
    while (pool->loop)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pool->loop = loop;
    pool->loops++;
    if (loop->job_count > 1 && pool->threads > 1)
        pthread_cond_broadcast(&pool->work);
    loop_work(pool, loop, 0);
    while (loop->workers)
        pthread_cond_wait(&pool->progress, &pool->lock);
    pool->loop = NULL;
    pthread_cond_signal(&pool->idle);
    pthread_mutex_unlock(&pool->lock);
    mmh_free(pool->allocator, loop->produced);
    if (loop->failed_job < loop->job_count)
        return mmh_fail(err, loop->failure.status, "%s", loop->failure.message);
    if (loop->next < loop->job_count || (loop->window && loop->consumed < loop->job_count))
        return mmh_fail(err, MMH_E_CANCELLED, "cancelled");
    return MMH_OK;
}

mmh_status mmh_pool_run(mmh_pool *pool, size_t job_count, mmh_pool_job *job, void *context,
                        mmh_error *err)
{
    struct loop loop = { .job_count = job_count, .produce = job, .context = context };
    return loop_run(pool, &loop, err);
}

mmh_status mmh_pool_ordered(mmh_pool *pool, size_t job_count, size_t window, mmh_pool_job *produce,
                            mmh_pool_consume *consume, void *context, mmh_error *err)
{
    window = window ? window : mmh_pool_window(pool);
    struct loop loop = {
        .job_count = job_count,
        .window = MMH_MAX(MMH_MIN(window, job_count), 1),
        .produce = produce,
        .consume = consume,
        .context = context,
    };
    return loop_run(pool, &loop, err);
}

void mmh_pool_cancel(mmh_pool *pool)
{
    atomic_store(&pool->cancel, true);
}

void mmh_pool_resume(mmh_pool *pool)
{
    atomic_store(&pool->cancel, false);
}

void mmh_pool_set_cancelled(mmh_pool *pool, bool (*cancelled)(void *user), void *user)
{
    pool->cancelled = cancelled;
    pool->user = user;
}
