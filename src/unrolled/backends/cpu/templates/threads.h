/* Threads of the OpenMP runtime that torch has loaded: one pool, torch's own, of the size it was told.
 *
 * A team is started by the entry points of GNU's runtime, which LLVM's has too, so that any C compiler
 * serves, whatever OpenMP it has itself.  One thread alone runs without the runtime, which would hang in
 * a forked process.
 */
#include <sched.h>

typedef void (*body_t)(void *job, int id, int n_threads);
typedef struct {
    body_t body;
    void *job;
} team_t;

extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern void GOMP_parallel(void (*member)(void *), void *team, unsigned threads, unsigned flags);

static void team_member(void *data) {
    const team_t *team = data;
    team->body(team->job, omp_get_thread_num(), omp_get_num_threads());
}

/* Where threads wait for each other, thousands of times a call: spinning costs a tenth of the runtime's
 * barrier.  Who has waited long gives its processor away, for the others may be waiting for that. */
typedef struct {
    long arrived;
    char apart[64 - sizeof(long)];
    long round;
} barrier_t;

#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() (void)0
#endif
enum { SPINS = 2000 };

static inline void wait_for_all(barrier_t *barrier, int n_threads) {
    const long round = __atomic_load_n(&barrier->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == n_threads) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; spins++)
        if (spins < SPINS) RELAX();
        else sched_yield();
}

/* Run body on so many threads at once, and wait for all of them. */
static void in_parallel(int threads, body_t body, void *job) {
    team_t team = {body, job};
    if (threads > 1) GOMP_parallel(team_member, &team, threads, 0);
    else body(job, 0, 1);
}
