/* What a compiled loop is called with, and the product within it. */
#include "products.h"
#include "functions.h"
#include "threads.h"

#define VECTORISED _Pragma("omp simd")
#define VECTORISED_SUM _Pragma("omp simd reduction(+ : total)")

/* A call: what it runs over, how it is shared, and its memory.  first[t] is the first row of step t, and
 * resets has a byte for each row; an even loop has no use for either.  There follow the matrices of the
 * step's products, then pointers and lengths of the cell's own, in the order in which they are unpacked. */
typedef struct {
    long T, B, block, split, threads, backwards, scratch_row, n_matrices;
    const products_t *products;
    barrier_t *barrier;
    real *scratch;
    const long *first;
    const unsigned char *resets;
    matrix_t matrices[];
} call_t;

#define PRODUCT(k, m, x, x_row, w, out, out_row)                                                  \
    do {                                                                                          \
        const long panels = call->products->count_panels(m);                                      \
        const long first = split ? panels * id / n_threads : 0;                                   \
        const long last = split ? panels * (id + 1) / n_threads : panels;                         \
        if (split) wait_for_all(call->barrier, n_threads);                                        \
        call->products->product(R, k, m, first, last, x, x_row, w, out, out_row);                 \
        if (split) wait_for_all(call->barrier, n_threads);                                        \
    } while (0)

static void run_share(void *job, int id, int n_threads);

void ur_pack(call_t *call) {
    for (long k = 0; k < call->n_matrices; k++) call->products->pack(call->matrices + k, call->threads);
}

/* Run T > 0 steps of B > 0 examples on matrices that are packed.  There is scratch memory for block rows of
 * each thread, or (split) for B rows. */
void ur_run_packed(call_t *call) {
    *call->barrier = (barrier_t){0};
    in_parallel(call->threads, run_share, call);
}

void ur_run(call_t *call) {
    ur_pack(call);
    ur_run_packed(call);
}
