/* Matrix products for the CPU backend: packed weights, register tiles, GCC/Clang vector extensions.
 *
 * Notation: rows are examples (or time steps times examples), k the length of an operand row, m the
 * length of a result row.  A packed matrix holds panels of PANEL columns, each panel k rows of VECS
 * vectors; the last ones have as many as they need, padded with zeros.  A tile of ROWS x PANEL
 * results stays in registers while one panel passes by (Goto & van de Geijn 2008).
 */
#include <string.h>

#include "products.h"
#include "threads.h"

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
/* Compilers would load a panel's vector for each row anew, and loads are what there is too little of. */
#if defined(__x86_64__)
#define IN_REGISTER(vector) __asm__("" : "+v"(vector))
#elif defined(__aarch64__)
#define IN_REGISTER(vector) __asm__("" : "+w"(vector))
#else
#define IN_REGISTER(vector) (void)0
#endif
#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

enum {
    LANES = BYTES / sizeof(real),
    VECS = BYTES == 64 ? 3 : 2,
    ROWS = BYTES == 64 ? 8 : 4,
    PANEL = VECS * LANES,
    ROW_BLOCK = 128,
    STEP_BLOCK = BYTES == 64 ? 192 : 256,
    M_BLOCK = 256,
    TILE_SIZE = STEP_BLOCK * ROWS + LANES, /* so that tiles begin in different sets of a cache */
    N_BLOCK = 12 * PANEL,
    A_TILES = M_BLOCK / ROWS * TILE_SIZE,
    OUTER_WORKSPACE = A_TILES + STEP_BLOCK * (N_BLOCK + PANEL), /* of one thread: of a, then of b */
    FEW = (1 << 19) / sizeof(real),
    WORTH = 4000000, /* multiplications from which threads are started: some 30 us of one */
};
typedef real vec __attribute__((vector_size(BYTES), aligned(sizeof(real))));

/* Two vectors zipped, the first and the second half of the result. */
#define SEQUENCE_2(f) f(0), f(1)
#define SEQUENCE_4(f) SEQUENCE_2(f), f(2), f(3)
#define SEQUENCE_8(f) SEQUENCE_4(f), f(4), f(5), f(6), f(7)
#define SEQUENCE_16(f) SEQUENCE_8(f), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)
#define LOW(n) ((n) / 2 + (n) % 2 * LANES)
#define HIGH(n) (LOW(n) + LANES / 2)
#ifdef UR_FLOAT
#if BYTES == 64
#define ALL(f) SEQUENCE_16(f)
#elif BYTES == 32
#define ALL(f) SEQUENCE_8(f)
#else
#define ALL(f) SEQUENCE_4(f)
#endif
typedef int lane_t;
#else
#if BYTES == 64
#define ALL(f) SEQUENCE_8(f)
#elif BYTES == 32
#define ALL(f) SEQUENCE_4(f)
#else
#define ALL(f) SEQUENCE_2(f)
#endif
typedef long lane_t;
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, ALL(LOW))
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, ALL(HIGH))
#else
typedef lane_t lanes_t __attribute__((vector_size(BYTES)));
#define ZIP_LOW(a, b) __builtin_shuffle(a, b, (lanes_t){ALL(LOW)})
#define ZIP_HIGH(a, b) __builtin_shuffle(a, b, (lanes_t){ALL(HIGH)})
#endif

/* The number of vectors in a panel that starts at column j of m: VECS, but a last lonely vector shares
 * with the panel before it, for a panel of one makes half the use of a row's loads. */
INLINE long vectors(long j, long m) {
    const long left = (m - j + LANES - 1) / LANES;
    return left == VECS + 1 ? (VECS + 1) / 2 : MIN(left, (long)VECS);
}
/* The number of panels, and where panel p starts. */
INLINE long count_panels(long m) { return (m + PANEL - 1) / PANEL; }
INLINE long start_of(long p, long m) {
    const long all = (m + LANES - 1) / LANES;
    const int shared = all > VECS && all % VECS == 1 && p == count_panels(m) - 1;
    enum { LAST = VECS + 1 - (VECS + 1) / 2 }; /* what vectors() leaves for the last panel */
    return p >= count_panels(m) ? all * LANES : shared ? (all - LAST) * LANES : p * PANEL;
}

/* out[R, N vectors] (+)= x[R, k] panel[k, N vectors], where x[r, i] is at x[r * x_row + i * x_column]. */
INLINE void tile(const int R, const int N, const int add, long k, const real *x, long x_row,
                 long x_column, const real *panel, real *out, long out_row) {
    vec sum[ROWS][VECS];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int n = 0; n < N; n++)
            sum[r][n] = add ? *(const vec *)(out + r * out_row + n * LANES) : (vec){0};
    for (long i = 0; i < k; i++) {
        vec b[VECS];
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) {
            b[n] = *(const vec *)(panel + (i * N + n) * LANES);
            IN_REGISTER(b[n]);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const real a = x[r * x_row + i * x_column];
#pragma GCC unroll 3
            for (int n = 0; n < N; n++) sum[r][n] += a * b[n];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) *(vec *)(out + r * out_row + n * LANES) = sum[r][n];
}

/* One row alone against a panel: four sums a vector, for one would wait for its own last addition.  Its
 * bits are not those that the row has among others; UR_INVARIANT is for who wants these at any price. */
#ifdef UR_INVARIANT
#define ALONE 0
#else
#define ALONE 1
#endif
INLINE void row_tile(const int N, long k, const real *x, const real *panel, real *out) {
    vec sum[4][VECS];
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++)
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) sum[s][n] = (vec){0};
    long i = 0;
    for (; i + 4 <= k; i += 4)
#pragma GCC unroll 4
        for (int s = 0; s < 4; s++)
#pragma GCC unroll 3
            for (int n = 0; n < N; n++)
                sum[s][n] += x[i + s] * *(const vec *)(panel + ((i + s) * N + n) * LANES);
    for (; i < k; i++)
#pragma GCC unroll 3
        for (int n = 0; n < N; n++) sum[0][n] += x[i] * *(const vec *)(panel + (i * N + n) * LANES);
#pragma GCC unroll 3
    for (int n = 0; n < N; n++)
        *(vec *)(out + n * LANES) = (sum[0][n] + sum[1][n]) + (sum[2][n] + sum[3][n]);
}

/* As many rows as are left after whole tiles. */
#define REST(R, N)                                                                                \
    case R:                                                                                       \
        if (R < ROWS) tile(R, N, 0, k, x + r * x_row, x_row, 1, panel, out + r * out_row, out_row); \
        break;
#define PANEL_OF(N)                                                                               \
    static void panel_##N(long rows, long k, const real *x, long x_row, const real *panel,        \
                          real *out, long out_row) {                                              \
        long r = 0;                                                                               \
        for (; r + ROWS <= rows; r += ROWS)                                                       \
            tile(ROWS, N, 0, k, x + r * x_row, x_row, 1, panel, out + r * out_row, out_row);      \
        switch (rows - r) {                                                                       \
        case 1:                                                                                   \
            if (ALONE && rows == 1) row_tile(N, k, x, panel, out);                                \
            else                                                                                  \
                tile(1, N, 0, k, x + r * x_row, x_row, 1, panel, out + r * out_row, out_row);     \
            break;                                                                                \
            REST(2, N) REST(3, N) REST(4, N) REST(5, N) REST(6, N) REST(7, N)                     \
        }                                                                                         \
    }
PANEL_OF(1)
PANEL_OF(2)
#if BYTES == 64
PANEL_OF(3)
#else
#define panel_3 panel_2
#endif

/* out[rows, m] = x[rows, k] W[k, m] for the panels from first to last; out is written in whole vectors. */
void ur_product(long rows, long k, long m, long first, long last, const real *x, long x_row,
                const real *packed, real *out, long out_row) {
    const long end = start_of(last, m);
    for (long j = start_of(first, m), n; j < end; j += n * LANES) {
        n = vectors(j, m);
        if (n == 3) panel_3(rows, k, x, x_row, packed + j * k, out + j, out_row);
        else if (n == 2) panel_2(rows, k, x, x_row, packed + j * k, out + j, out_row);
        else panel_1(rows, k, x, x_row, packed + j * k, out + j, out_row);
    }
}

/* How long a row of results is, in whole vectors; and how many numbers a packed matrix has. */
long ur_padded(long m) { return (m + LANES - 1) / LANES * LANES; }
long ur_packed_size(long k, long m) { return (m + PANEL - 1) / PANEL * PANEL * k; }

/* to[i * to_row + n] = from[n * from_row + i], a square of LANES: rows are zipped with those half the
 * square below, as many times as halving ends. */
INLINE void transpose(const real *from, long from_row, real *to, long to_row) {
    vec a[LANES], b[LANES];
    for (int n = 0; n < LANES; n++) a[n] = *(const vec *)(from + n * from_row);
#pragma GCC unroll 4
    for (int s = 1; s < LANES; s *= 2) {
#pragma GCC unroll 8
        for (int n = 0; n < LANES / 2; n++) {
            b[2 * n] = ZIP_LOW(a[n], a[n + LANES / 2]);
            b[2 * n + 1] = ZIP_HIGH(a[n], a[n + LANES / 2]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < LANES; i++) *(vec *)(to + i * to_row) = a[i];
}

/* Rows i0 to i1 of a panel of width columns, real_width of them W's own. */
INLINE void pack_rows(const matrix_t *c, long j, long i0, long i1, long width, long real_width, real *panel) {
    for (long i = i0; i < i1; i++) {
        const real *row = c->w + j * c->w_out + i * c->w_in;
        for (long n = 0; n < real_width; n++) panel[i * width + n] = row[n * c->w_out];
        for (long n = real_width; n < width; n++) panel[i * width + n] = 0;
    }
}

static void pack_weights(const matrix_t *c, long p) {
    const long j = start_of(p, c->m), whole = c->k / LANES * LANES;
    real *panel = c->packed + j * c->k;
    const long width = vectors(j, c->m) * LANES, real_width = MIN(width, c->m - j);
    const int squares = c->w_in == 1 && real_width == width;
    for (long n = 0; squares && n < width; n += LANES)
        for (long i = 0; i < whole; i += LANES)
            transpose(c->w + (j + n) * c->w_out + i, c->w_out, panel + i * width + n, width);
    pack_rows(c, j, squares ? whole : 0, c->k, width, real_width, panel);
}

static void pack_share(void *job, int id, int n_threads) {
    const matrix_t *const c = job;
    const long panels = count_panels(c->m);
    for (long p = panels * id / n_threads; p < panels * (id + 1) / n_threads; p++) pack_weights(c, p);
}

static void pack(const matrix_t *matrix, long threads) {
    in_parallel(matrix->k * matrix->m > WORTH / 16 ? threads : 1, pack_share, (void *)matrix);
}

const products_t ur_products = {pack, count_panels, ur_product};

typedef struct {
    long rows;
    const real *x;
    long x_row;
    const matrix_t *matrix;
    real *out;
    long out_row, block, next;
} product_all_t;

static void rows_share(void *job, int id, int n_threads) {
    product_all_t *const c = job;
    const matrix_t *const w = c->matrix;
    for (long r; (r = __atomic_fetch_add(&c->next, c->block, __ATOMIC_RELAXED)) < c->rows;)
        ur_product(MIN(c->block, c->rows - r), w->k, w->m, 0, count_panels(w->m), c->x + r * c->x_row,
                   c->x_row, w->packed, c->out + r * c->out_row, c->out_row);
}

static void panels_share(void *job, int id, int n_threads) {
    product_all_t *const c = job;
    const matrix_t *const w = c->matrix;
    const long panels = count_panels(w->m);
    for (long p; (p = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < panels;) {
        pack_weights(w, p);
        ur_product(c->rows, w->k, w->m, p, p + 1, c->x, c->x_row, w->packed, c->out, c->out_row);
    }
}

/* out[rows, m] = x[rows, k] W: over all time steps at once.  Threads take blocks of rows; or panels, which
 * they pack and use at once, where x is so small that it stays in a core's cache meanwhile. */
void ur_product_all(long rows, const real *x, long x_row, long k, long m, const real *w, long w_out,
                    long w_in, real *packed, real *out, long out_row, long threads) {
    const matrix_t matrix = {k, m, w, w_out, w_in, packed};
    const int few = rows * k <= FEW && count_panels(m) >= threads;
    if (!few) pack(&matrix, threads);
    const long per_thread = (rows + threads - 1) / threads;
    const long block = MIN((long)ROW_BLOCK, (per_thread + ROWS - 1) / ROWS * ROWS);
    product_all_t product = {rows, x, x_row, &matrix, out, out_row, block, 0};
    const long packing = few ? 16 * k * m : 0; /* which takes the time of so many multiplications */
    in_parallel(rows * k * m + packing > WORTH ? threads : 1, few ? panels_share : rows_share, &product);
}

/* Pack width columns from j of rows of b, k of them, as a panel. */
INLINE void pack_panel(long k, long j, long n, const real *b, long b_row, real *panel) {
    const long width = vectors(j, n) * LANES, real_width = MIN(width, n - j);
    for (long i = 0; i < k; i++) {
        memcpy(panel + i * width, b + i * b_row + j, real_width * sizeof(real));
        for (long c = real_width; c < width; c++) panel[i * width + c] = 0;
    }
}

/* Pack m columns of a, k rows, in tiles: [m / ROWS][k][ROWS].  Row by row, for a's rows lie far apart. */
INLINE void pack_tiles(long k, long m, const real *a, long a_row, real *tiles) {
    const long whole = m / ROWS * ROWS;
    for (long s = 0; s < k; s++) {
        const real *row = a + s * a_row;
        real *to = tiles + s * ROWS;
        for (long i = 0; i < whole; i += ROWS, to += TILE_SIZE) memcpy(to, row + i, ROWS * sizeof(real));
        for (long i = whole; i < m; i++) to[i - whole] = row[i];
    }
}

#define TILES_OF(N)                                                                               \
    static void tiles_##N(const int add, long k, long m, const real *tiles, const real *panel,    \
                          real *out, long out_row) {                                              \
        for (long i = 0; i < m; i += ROWS) {                                                      \
            const real *x = tiles + i / ROWS * TILE_SIZE;                                                        \
            real *to = out + i * out_row;                                                         \
            if (i + ROWS <= m) tile(ROWS, N, add, k, x, 1, ROWS, panel, to, out_row);             \
            else                                                                                  \
                for (long r = 0; r < m - i; r++)                                                  \
                    tile(1, N, add, k, x + r, 1, ROWS, panel, to + r * out_row, out_row);         \
        }                                                                                         \
    }
TILES_OF(1)
TILES_OF(2)
#if BYTES == 64
TILES_OF(3)
#else
#define tiles_3 tiles_2
#endif

typedef struct {
    long steps, m, n;
    const real *a;
    long a_row;
    const real *b;
    long b_row;
    real *out;
    long out_row;
    real *workspace;
} outer_t;

/* The columns of a from m0 to m1. */
static void outer_columns(const outer_t *c, long m0, long m1, real *a_tiles) {
    real *const panels = a_tiles + A_TILES;
    for (long j0 = 0, j1; j0 < c->n; j0 = j1) {
        for (j1 = j0; j1 < c->n && j1 < j0 + N_BLOCK;) j1 += vectors(j1, c->n) * LANES;
        for (long s = 0; s < c->steps; s += STEP_BLOCK) {
            const long k = MIN((long)STEP_BLOCK, c->steps - s);
            for (long j = j0; j < j1; j += vectors(j, c->n) * LANES)
                pack_panel(k, j, c->n, c->b + s * c->b_row, c->b_row, panels + (j - j0) * k);
            for (long i0 = m0; i0 < m1; i0 += M_BLOCK) {
                const long rows = MIN((long)M_BLOCK, m1 - i0);
                pack_tiles(k, rows, c->a + s * c->a_row + i0, c->a_row, a_tiles);
                for (long j = j0, vecs; j < j1; j += vecs * LANES) {
                    const real *panel = panels + (j - j0) * k;
                    real *to = c->out + i0 * c->out_row + j;
                    vecs = vectors(j, c->n);
                    if (vecs == 3) tiles_3(s > 0, k, rows, a_tiles, panel, to, c->out_row);
                    else if (vecs == 2) tiles_2(s > 0, k, rows, a_tiles, panel, to, c->out_row);
                    else tiles_1(s > 0, k, rows, a_tiles, panel, to, c->out_row);
                }
            }
        }
    }
}

static void outer_share(void *job, int id, int n_threads) {
    const outer_t *const c = job;
    const long tiles = (c->m + ROWS - 1) / ROWS, part = (tiles + n_threads - 1) / n_threads * ROWS;
    const long m0 = MIN(c->m, id * part), m1 = MIN(c->m, m0 + part);
    if (m0 < m1) outer_columns(c, m0, m1, c->workspace + id * OUTER_WORKSPACE);
}

/* out[m, n] = sum over steps of a[step, m] b[step, n]: the gradient of a weight.
 * Threads take columns of a; steps, columns of b and of a pass in blocks that stay in a core's cache
 * while they are used (Goto & van de Geijn 2008). */
void ur_total_outer(long steps, long m, long n, const real *a, long a_row, const real *b, long b_row,
                    real *out, long out_row, real *workspace, long threads) {
    outer_t outer = {steps, m, n, a, a_row, b, b_row, out, out_row, workspace};
    in_parallel(steps * m * n > WORTH ? threads : 1, outer_share, &outer);
}
long ur_total_outer_workspace(long threads) { return threads * OUTER_WORKSPACE; }

/* A product over all steps, of x with W or the sum of outer products of x's rows [m] with w's [k]. */
typedef struct {
    long outer, rows, k, m;
    const real *x;
    long x_row;
    const real *w;
    long w_out, w_in;
    real *workspace, *out;
    long out_row;
} job_t;

/* The jobs, one after the other. */
void ur_do(long n_jobs, const job_t *jobs, long threads) {
    for (const job_t *j = jobs; j < jobs + n_jobs; j++)
        if (j->outer)
            ur_total_outer(j->rows, j->m, j->k, j->x, j->x_row, j->w, j->w_out, j->out, j->out_row,
                           j->workspace, threads);
        else
            ur_product_all(j->rows, j->x, j->x_row, j->k, j->m, j->w, j->w_out, j->w_in, j->workspace,
                           j->out, j->out_row, threads);
}
