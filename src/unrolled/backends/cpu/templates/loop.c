/* The loop over time of one direction of: /*{name}*/
 *
 * Notation.  T steps, B examples.  A block is R examples from b0 on, with which one thread goes through
 * all of time; t is the step, r the example in the block, j the position in a vector.  Names are
 * the cell's own; behind two underscores stands what they point to:
 *   __b a sequence [T, B, n], __t its rows at this step    __a the same for the whole call
 *   __i, __h, __f a state: initial, now, final             __w a packed matrix
 *   __s a row of scratch memory an example                 __l the distance of rows
 *   __r, __o what a loop over j reads and writes           __x which number goes where
 *
 * Two ways to share the work.  Rows (split = 0): each thread takes blocks of examples; no barrier.
 * Columns (split = 1), for few examples: all threads hold one block of all examples.  Each computes its
 * part of the columns of every product, and the rows from r0 to r1 of all else; since a product reads
 * and writes what is others', there is a barrier before it and after.
 */
#include "call.h"

/*{tables}*/

static void run_block(const call_t *const call, long b0, long R, int id, int n_threads, real *scratch) {
    const long T = call->T, B = call->B, split = call->split;
    const long r0 = split ? R * id / n_threads : 0, r1 = split ? R * (id + 1) / n_threads : R;
    const long *const p = (const long *)(call->matrices + call->n_matrices);
/*{pointers}*/
/*{begin}*/
    for (long step = 0; step < T; step++) {
        const long t = call->backwards ? T - 1 - step : step;
        const long parity = step & 1, at = t * B + b0;
        (void)parity, (void)at;
/*{step}*/
/*{body}*/
/*{next}*/
    }
/*{finish}*/
}

static void run_share(void *job, int id, int n_threads) {
    const call_t *const call = job;
    const long B = call->B, rows = call->block;
    if (call->split) run_block(call, 0, B, id, n_threads, call->scratch);
    else
        for (long b0 = id * rows; b0 < B; b0 += n_threads * rows)
            run_block(call, b0, B - b0 < rows ? B - b0 : rows, id, n_threads,
                      call->scratch + id * rows * call->scratch_row);
}
