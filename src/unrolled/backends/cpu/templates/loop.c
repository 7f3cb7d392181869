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
#include "products.h"
#include "functions.h"
#include "threads.h"

#define VECTORISED _Pragma("omp simd")
#define VECTORISED_SUM _Pragma("omp simd reduction(+ : total)")
#define OWNS(r) (!split || (r) % n_threads == id)

/* A call: what it runs over, how it is shared, and its memory.  There follow the matrices of the step's
 * products, then pointers and lengths of the cell's own, in the order in which run_block unpacks them. */
typedef struct {
    long T, B, block, split, threads, backwards, scratch_row, shared_row, widest, n_matrices;
    const products_t *products;
    real *workspace;
    matrix_t matrices[];
} call_t;

#define PRODUCT(k, m, x, x_row, w, out, out_row)                                                  \
    do {                                                                                          \
        const long panels = call->products->count_panels(m);                                      \
        const long first = split ? panels * id / n_threads : 0;                                   \
        const long last = split ? panels * (id + 1) / n_threads : panels;                         \
        call->products->product(R, k, m, first, last, x, x_row, w, out, out_row);                 \
        if (split && n_threads > 1) GOMP_barrier();                                               \
    } while (0)

/*{tables}*/

static void run_block(const call_t *const call, long b0, long R, int id, int n_threads, real *scratch,
                      real *shared, real *unowned) {
    const long T = call->T, B = call->B, split = call->split;
    const long *const p = (const long *)(call->matrices + call->n_matrices);
/*{pointers}*/
/*{begin}*/
    for (long step = 0; step < T; step++) {
        const long t = call->backwards ? T - 1 - step : step;
        const long parity = step & 1;
        (void)parity;
/*{step}*/
/*{body}*/
/*{next}*/
    }
/*{finish}*/
}

static void run_share(void *job, int id, int n_threads) {
    const call_t *const call = job;
    const long B = call->B, split = call->split, rows = split ? B : call->block;
    const long own = rows * (call->scratch_row + (split ? 0 : call->shared_row)) + call->widest;
    real *const scratch = call->workspace + id * own;
    real *const unowned = scratch + rows * call->scratch_row;
    real *const shared = split ? call->workspace + call->threads * own : unowned + call->widest;
    for (long b0 = split ? 0 : id * rows; b0 < B; b0 += split ? B : n_threads * rows)
        run_block(call, b0, B - b0 < rows ? B - b0 : rows, id, n_threads, scratch, shared, unowned);
}

/* Pack the matrices and run T > 0 steps of B > 0 examples.  The workspace has for each thread block rows of
 * scratch, block rows of products and one row, or (split) B rows of scratch and one row each, and B rows
 * of products for all. */
void ur_run(call_t *call) {
    for (long k = 0; k < call->n_matrices; k++) call->products->pack(call->matrices + k, call->threads);
    in_parallel(call->threads, run_share, call);
}
