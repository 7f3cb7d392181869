/* Elementary functions of a loop's precision, branch-free, so that the compiler vectorises them.
 *
 * EXP, TANH and SIGMOID are ours: argument reduction by multiples of ln 2 in two parts (Cody & Waite
 * 1980), a polynomial on |r| <= ln(2)/2, and scaling by powers of two in two steps, so that results
 * below the normal range are rounded once.  TANH goes through e^2x - 1, which keeps its relative
 * accuracy near 0.  NaN stays NaN: every comparison that bounds an argument is false for it.
 * The others are libm's.
 */
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef UR_FLOAT
typedef float real;
typedef int whole;
#define LOG2E 1.44269504088896341f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define SHIFT 12582912.0f
#define BIAS 127
#define MANTISSA 23
#define EXP_MOST 100.0f
#define EXP_LEAST -110.0f
#define TANH_MOST 10.0f
#define FABS fabsf
#define SQRT sqrtf
#define EXPM1 expm1f
#define LOG logf
#define LOG1P log1pf
#define SIN sinf
#define COS cosf
#define ERF erff
#define POW powf
#define COPYSIGN copysignf
#else
typedef double real;
typedef long long whole;
#define LOG2E 1.44269504088896340736
#define LN2_HIGH 6.93145751953125e-1
#define LN2_LOW 1.42860682030941723212e-6
#define SHIFT 6755399441055744.0
#define BIAS 1023
#define MANTISSA 52
#define EXP_MOST 720.0
#define EXP_LEAST -760.0
#define TANH_MOST 20.0
#define FABS fabs
#define SQRT sqrt
#define EXPM1 expm1
#define LOG log
#define LOG1P log1p
#define SIN sin
#define COS cos
#define ERF erf
#define POW pow
#define COPYSIGN copysign
#endif

/* 2^n for n within the exponents of normal numbers. */
INLINE real power_of_two(whole n) {
    whole bits = (n + BIAS) << MANTISSA;
    real value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The multiple of ln 2 nearest to x, as a number; the remainder is left in *r. */
INLINE real reduce(real x, real *r) {
    real n = (x * LOG2E + SHIFT) - SHIFT;
    *r = (x - n * LN2_HIGH) - n * LN2_LOW;
    return n;
}

/* (e^r - 1 - r) / r^2 for |r| <= ln(2)/2: Taylor's series, the first term left out below 2^-26 (2^-56). */
INLINE real tail(real r) {
#ifdef UR_FLOAT
    real p = 1.0f / 40320;
    p = p * r + 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    return p * r + 0.5f;
#else
    real p = 1.0 / 87178291200;
    p = p * r + 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    return p * r + 0.5;
#endif
}

INLINE real EXP(real x) {
    x = x > EXP_MOST ? EXP_MOST : x;
    x = x < EXP_LEAST ? EXP_LEAST : x;
    real r, n = reduce(x, &r);
    whole whole_n = (whole)n, half = whole_n >> 1;
    real p = 1 + (r + r * r * tail(r));
    return p * power_of_two(half) * power_of_two(whole_n - half);
}

INLINE real TANH(real x) {
    real a = FABS(x);
    a = 2 * (a > TANH_MOST ? TANH_MOST : a);
    real r, n = reduce(a, &r);
    real scale = power_of_two((whole)n);
    real e = scale * (r + r * r * tail(r)) + (scale - 1);
    return COPYSIGN(e / (e + 2), x);
}

INLINE real SIGMOID(real x) {
    real z = EXP(-FABS(x));
    real p = 1 / (1 + z);
    return x >= 0 ? p : z * p;
}
