/* The loop over time of one direction of: /*{name}*/
 *
 * For sequences of several lengths, and for resets.  Examples are sorted by length: n of them, the first,
 * take part in step t, whose rows stand from first[t] on.  The states after the last step are the
 * states' memory from the start, where each example's last state stays.
 *
 * Notation.  T steps.  A block is R examples from b0 on, whose rows at this step start at row at; r is the
 * example in the block, j the position in a vector.  Names are the cell's own; behind two
 * underscores stands what they point to:
 *   __b a sequence [N, n], __t the block's rows of it    __a the same for the whole call
 *   __f a state of all examples, __h of the block        __w a packed matrix
 *   __z what resets put in or take out                   __l the distance of rows
 *   __s a row of scratch memory an example               __x which number goes where
 *   __r, __o what a loop over j reads and writes
 *
 * Two ways to share the work.  Rows (split = 0): each thread has an even part of the step's examples.
 * Columns (split = 1), for few examples: all threads hold all examples of the step, compute their part of
 * the columns of every product, and the rows from r0 to r1 of all else.  In both, a row passes to another
 * thread where the number of examples changes, and there all threads wait for each other.
 */
#include "call.h"

/*{tables}*/

static void run_block(const call_t *const call, long t, long b0, long R, int id, int n_threads,
                      real *scratch) {
    const long split = call->split, parity = 0, at = call->first[t] + b0;
    const long r0 = split ? R * id / n_threads : 0, r1 = split ? R * (id + 1) / n_threads : R;
    const unsigned char *const resets = call->resets ? call->resets + at : 0;
    const long *const p = (const long *)(call->matrices + call->n_matrices);
    (void)parity, (void)resets;
/*{pointers}*/
/*{step}*/
/*{body}*/
/*{next}*/
}

static void run_share(void *job, int id, int n_threads) {
    const call_t *const call = job;
    real *const scratch = call->scratch + (call->split ? 0 : id * call->block * call->scratch_row);
    long n_before = -1;
    for (long step = 0; step < call->T; step++) {
        const long t = call->backwards ? call->T - 1 - step : step;
        const long n = call->first[t + 1] - call->first[t];
        if (n != n_before && n_before >= 0) wait_for_all(call->barrier, n_threads);
        n_before = n;
        const long from = call->split ? 0 : n * id / n_threads;
        const long to = call->split ? n : n * (id + 1) / n_threads;
        for (long b0 = from; b0 < to; b0 += call->block)
            run_block(call, t, b0, to - b0 < call->block ? to - b0 : call->block, id, n_threads, scratch);
    }
}
