/* Threads of the OpenMP runtime that torch has loaded: one pool, torch's own, of the size it was told.
 *
 * A team is started by the entry points of GNU's runtime, which LLVM's has too, so that any C compiler
 * serves, whatever OpenMP it has itself.  One thread alone runs without the runtime, which would hang in
 * a forked process.
 */
typedef void (*body_t)(void *job, int id, int n_threads);
typedef struct {
    body_t body;
    void *job;
} team_t;

extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);
extern void GOMP_parallel(void (*member)(void *), void *team, unsigned threads, unsigned flags);
extern void GOMP_barrier(void);

static void team_member(void *data) {
    const team_t *team = data;
    team->body(team->job, omp_get_thread_num(), omp_get_num_threads());
}

/* Run body on so many threads at once, and wait for all of them. */
static void in_parallel(int threads, body_t body, void *job) {
    team_t team = {body, job};
    if (threads > 1) GOMP_parallel(team_member, &team, threads, 0);
    else body(job, 0, 1);
}
