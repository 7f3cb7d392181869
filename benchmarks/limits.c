/* The machine's limits: fused multiply-adds a second, and bytes a second read from each cache.

   limits THREADS             prints a line for each figure, best of TRIES:
     fma THREADS GFLOP/s
     read THREADS BYTES GB/s  BYTES: each thread's own part; GB/s: of all threads together
   limits THREADS BYTES ...   the reads of these parts alone, each rounded up to a few vectors */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Accumulators: enough to hide the latency of an addition, few enough for the registers. */
#if defined(__AVX512F__)
enum { LANES = 16, ACCUMULATORS = 24 };
#elif defined(__AVX__)
enum { LANES = 8, ACCUMULATORS = 12 };
#elif defined(__aarch64__)
enum { LANES = 4, ACCUMULATORS = 24 };
#else
enum { LANES = 4, ACCUMULATORS = 12 };
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));

enum { TRIES = 15, FMA_ROUNDS = 1000000, LOADS = 8 };
static const size_t SMALLEST = 16 << 10, LARGEST = 64 << 20, TRAFFIC = 128 << 20;

typedef struct {
    size_t bytes; /* 0: multiply and add */
    Vector *data;
    pthread_barrier_t *start;
    double began, ended;
    Vector sum; /* what keeps the work from being optimised away */
} Task;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static Vector multiply_add(Vector factor) {
    Vector a[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; i++) a[i] = factor * (float)i;
    for (long n = 0; n < FMA_ROUNDS; n++) {
#pragma GCC unroll 32
        for (int i = 0; i < ACCUMULATORS; i++) a[i] = a[i] * factor + factor;
    }
    for (int i = 1; i < ACCUMULATORS; i++) a[0] += a[i];
    return a[0];
}

static Vector read_all(const Vector *data, size_t bytes) {
    Vector sum[LOADS] = {0};
    size_t vectors = bytes / sizeof(Vector);
    for (size_t left = TRAFFIC; left >= bytes; left -= bytes) {
        for (size_t n = 0; n < vectors; n += LOADS) {
#pragma GCC unroll 8
            for (int i = 0; i < LOADS; i++) sum[i] += data[n + i];
        }
        __asm__ volatile("" ::: "memory"); /* the next pass reads again */
    }
    for (int i = 1; i < LOADS; i++) sum[0] += sum[i];
    return sum[0];
}

static void *work(void *argument) {
    Task *task = argument;
    if (task->bytes) memset(task->data, 0, task->bytes); /* by its own thread: pages near it */
    for (int warm = 0; warm < 2; warm++) {
        pthread_barrier_wait(task->start);
        task->began = now();
        task->sum = task->bytes ? read_all(task->data, task->bytes)
                                : multiply_add((Vector){0} + 0.5f);
        task->ended = now();
    }
    return NULL;
}

/* Seconds from the first thread's start to the last one's end. */
static double run(int threads, size_t bytes, char *memory) {
    Task tasks[threads];
    pthread_t ids[threads];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    for (int i = 0; i < threads; i++) {
        Task task = {.bytes = bytes, .data = (Vector *)(memory + i * bytes), .start = &start};
        tasks[i] = task;
        if (pthread_create(&ids[i], NULL, work, &tasks[i])) {
            fprintf(stderr, "can't start a thread\n");
            exit(1);
        }
    }
    volatile float sink = 0;
    double began = 0, ended = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sink += tasks[i].sum[0];
        if (i == 0 || tasks[i].began < began) began = tasks[i].began;
        if (tasks[i].ended > ended) ended = tasks[i].ended;
    }
    pthread_barrier_destroy(&start);
    return ended - began;
}

static double best(int threads, size_t bytes, char *memory) {
    double seconds = 1e9;
    for (int i = 0; i < TRIES; i++) {
        double s = run(threads, bytes, memory);
        if (s < seconds) seconds = s;
    }
    return seconds;
}

static void print_read(int threads, size_t bytes, char *memory) {
    double read = (double)(TRAFFIC / bytes * bytes) * threads;
    printf("read %d %zu %.3f\n", threads, bytes, read / best(threads, bytes, memory) / 1e9);
}

static size_t rounded(const char *word) {
    size_t unit = LOADS * sizeof(Vector), bytes = strtoull(word, NULL, 10);
    if (bytes < 1 || bytes > LARGEST) {
        fprintf(stderr, "expected 1 to %zu bytes a thread, got %s\n", LARGEST, word);
        exit(2);
    }
    return (bytes + unit - 1) / unit * unit;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 0;
    if (threads < 1) {
        fprintf(stderr, "limits THREADS [BYTES ...]\n");
        return 2;
    }
    char *memory = aligned_alloc(4096, LARGEST * threads);
    if (!memory) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    if (count > 2) {
        for (int i = 2; i < count; i++) print_read(threads, rounded(arguments[i]), memory);
    } else {
        double flops = 2.0 * LANES * ACCUMULATORS * FMA_ROUNDS * threads;
        printf("fma %d %.3f\n", threads, flops / best(threads, 0, memory) / 1e9);
        for (size_t bytes = SMALLEST; bytes <= LARGEST; bytes *= 2)
            print_read(threads, bytes, memory);
    }
    free(memory);
    return 0;
}
