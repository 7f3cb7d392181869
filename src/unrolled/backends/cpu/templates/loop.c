/* The loop over time of one direction of: /*{name}*/
 *
 * Notation.  T steps, B examples.  A block is R examples from b0 on, with which one thread goes through
 * all of time; t is the step, r the example in the block, j the position in a vector.  Names are
 * the cell's own; behind two underscores stands what they point to:
 *   __b a sequence [T, B, n], __t its rows at this step    __a the same for the whole call
 *   __i, __h, __f a state: initial, now, final             __w a packed matrix
 *   __s a row of scratch memory an example                 __l the distance of rows
 *   __r, __o what a loop over j reads and writes
 *
 * Two ways to share the work.  Rows (split = 0): each thread takes blocks of examples; no barrier.
 * Columns (split = 1), for few examples: all threads hold all examples, each computes its part of every
 * product into shared memory, with a barrier after it; the rest they all compute, and each writes its own
 * examples' results.  Products alternate between two buffers (a state's among three), so that no thread
 * writes what another still reads.
 */
#include "functions.h"
#include "threads.h"

#define VECTORISED _Pragma("omp simd")
#define VECTORISED_SUM _Pragma("omp simd reduction(+ : total)")
#define OWNS(r) (!split || (r) % n_threads == id)

typedef void (*product_t)(long rows, long k, long m, long first, long last, const real *x, long x_row,
                          const real *packed, real *out, long out_row);
typedef long (*panels_t)(long m);

#define PRODUCT(k, m, x, x_row, w, out, out_row)                                                  \
    do {                                                                                          \
        const long panels = count_panels(m);                                                      \
        if (split) {                                                                              \
            product(R, k, m, panels * id / n_threads, panels * (id + 1) / n_threads, x, x_row, w, \
                    out, out_row);                                                                \
            if (n_threads > 1) GOMP_barrier();                                                    \
        } else                                                                                    \
            product(R, k, m, 0, panels, x, x_row, w, out, out_row);                               \
    } while (0)

/*{tables}*/

static void run_block(long T, long B, long b0, long R, int backwards, int split, int id, int n_threads,
                      void *const *p, const long *ld, real *scratch, real *shared, real *unowned,
                      product_t product, panels_t count_panels) {
/*{pointers}*/
/*{begin}*/
    for (long step = 0; step < T; step++) {
        const long t = backwards ? T - 1 - step : step;
        const long parity = step & 1;
        (void)parity;
/*{step}*/
/*{body}*/
/*{next}*/
    }
/*{finish}*/
}

typedef struct {
    long T, B, block;
    int backwards, split, threads;
    void *const *p;
    const long *ld;
    real *workspace;
    long scratch_row, shared_row, widest;
    product_t product;
    panels_t count_panels;
} call_t;

static void run_share(void *job, int id, int n_threads) {
    const call_t *const c = job;
    const long rows = c->split ? c->B : c->block;
    const long own = rows * (c->scratch_row + (c->split ? 0 : c->shared_row)) + c->widest;
    real *const scratch = c->workspace + id * own;
    real *const unowned = scratch + rows * c->scratch_row;
    real *const shared = c->split ? c->workspace + c->threads * own : unowned + c->widest;
    const long first = c->split ? 0 : id * rows, apart = c->split ? c->B : n_threads * rows;
    for (long b0 = first; b0 < c->B; b0 += apart)
        run_block(c->T, c->B, b0, c->B - b0 < rows ? c->B - b0 : rows, c->backwards, c->split, id,
                  n_threads, c->p, c->ld, scratch, shared, unowned, c->product, c->count_panels);
}

/* Run T > 0 steps of B > 0 examples.  p and ld are in the order that the caller knows; workspace has
 * for each thread block rows of scratch, block rows of products and one row, or (split) B rows of scratch
 * and one row each, and B rows of products for all. */
void ur_run(long T, long B, long block, int backwards, int split, int threads, void *const *p,
            const long *ld, real *workspace, long scratch_row, long shared_row, long widest,
            product_t product, panels_t count_panels) {
    call_t call = {T, B, block, backwards, split, threads, p, ld, workspace,
                   scratch_row, shared_row, widest, product, count_panels};
    in_parallel(threads, run_share, &call);
}
