/* The matrix products of gemm.c, as the loops call them: compiled once for a precision, not for each cell. */
#ifdef UR_FLOAT
typedef float real;
#else
typedef double real;
#endif

/* W, whose entry (column of result j, row of operand i) is at w[j * w_out + i * w_in], and its panels. */
typedef struct {
    long k, m;
    const real *w;
    long w_out, w_in;
    real *packed;
} matrix_t;

typedef struct {
    void (*pack)(const matrix_t *matrix, long threads);
    long (*count_panels)(long m);
    void (*product)(long rows, long k, long m, long first, long last, const real *x, long x_row,
                    const real *packed, real *out, long out_row);
} products_t;
