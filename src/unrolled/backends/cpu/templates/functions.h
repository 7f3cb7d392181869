/* Elementary functions of a loop's precision, branch-free, so that the compiler vectorises them.
 *
 * EXP, EXPM1, TANH and SIGMOID are ours: argument reduction by multiples of ln 2 in two parts (Cody &
 * Waite 1980), a polynomial on |r| <= ln(2)/2, and scaling by powers of two in two steps, so that results
 * below the normal range are rounded once.  EXPM1 and TANH go through e^r - 1, which keeps its relative
 * accuracy near 0.  So are LOG and LOG1P: a power of two apart, log m = 2 artanh((m - 1) / (m + 1)) as a
 * series; what 1 + x loses comes back as the first term of its own logarithm.  NaN stays NaN: every
 * comparison that bounds an argument is false for it.  SIN, COS, ERF and POW are libm's, one number
 * at a time.
 */
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef UR_FLOAT
typedef float real;
typedef int whole;
typedef unsigned bits;
#define LOG2E 1.44269504088896341f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define SHIFT 12582912.0f
#define BIAS 127
#define MANTISSA 23
#define EXP_MOST 100.0f
#define EXP_LEAST -110.0f
#define EXPM1_MOST 88.8f
#define TANH_MOST 10.0f
#define SIGMOID_MOST 104.0f
#define UP 24
#define LEAST_NORMAL 1.17549435e-38f
#define SQRT_HALF 0.707106781f
#define FABS fabsf
#define SQRT sqrtf
#define SIN sinf
#define COS cosf
#define ERF erff
#define POW powf
#define COPYSIGN copysignf
#else
typedef double real;
typedef long long whole;
typedef unsigned long long bits;
#define LOG2E 1.44269504088896340736
#define LN2_HIGH 6.93145751953125e-1
#define LN2_LOW 1.42860682030941723212e-6
#define SHIFT 6755399441055744.0
#define BIAS 1023
#define MANTISSA 52
#define EXP_MOST 720.0
#define EXP_LEAST -760.0
#define EXPM1_MOST 709.9
#define TANH_MOST 20.0
#define SIGMOID_MOST 745.2
#define UP 53
#define LEAST_NORMAL 2.2250738585072014e-308
#define SQRT_HALF 0.70710678118654752440
#define FABS fabs
#define SQRT sqrt
#define SIN sin
#define COS cos
#define ERF erf
#define POW pow
#define COPYSIGN copysign
#endif

INLINE bits bits_of(real x) {
    bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

INLINE real number_of(bits b) {
    real value;
    memcpy(&value, &b, sizeof value);
    return value;
}

/* 2^n for n within the exponents of normal numbers. */
INLINE real power_of_two(whole n) { return number_of((bits)(n + BIAS) << MANTISSA); }

/* The remainder of x by the nearest multiple *n of ln 2.  Added to SHIFT, a number is rounded to a whole
 * one that stands in the last bits: no conversion, which is undefined for NaN and slow for doubles. */
INLINE real reduce(real x, whole *n) {
    const real shifted = x * LOG2E + SHIFT, m = shifted - SHIFT;
    *n = (whole)(bits_of(shifted) - bits_of(SHIFT));
    return (x - m * LN2_HIGH) - m * LN2_LOW;
}

/* (e^r - 1 - r) / r^2 for |r| <= ln(2)/2.  In double precision Taylor's series, the first term left out
 * below 2^-56; in single precision the polynomial through its values at six Chebyshev points, at most
 * 5e-9 away. */
INLINE real tail(real r) {
#ifdef UR_FLOAT
    real p = 1.98909911e-4f;
    p = p * r + 1.39336498e-3f;
    p = p * r + 8.33331048e-3f;
    p = p * r + 4.16664667e-2f;
    p = p * r + 1.66666672e-1f;
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
    whole n;
    const real r = reduce(x, &n), p = 1 + (r + r * r * tail(r));
    const whole half = n >> 1;
    return p * power_of_two(half) * power_of_two(n - half);
}

INLINE real TANH(real x) {
    real a = FABS(x);
    a = 2 * (a > TANH_MOST ? TANH_MOST : a);
    whole n;
    const real r = reduce(a, &n), scale = power_of_two(n);
    const real e = scale * (r + r * r * tail(r)) + (scale - 1);
    return COPYSIGN(e / (e + 2), x);
}

/* With half of 2^n, for 2^n itself may be beyond the largest number. */
INLINE real EXPM1(real x) {
    x = x > EXPM1_MOST ? EXPM1_MOST : x;
    x = x < -2 * TANH_MOST ? -2 * TANH_MOST : x;
    whole n;
    const real r = reduce(x, &n), half = power_of_two(n - 1);
    return 2 * (half * (r + r * r * tail(r)) + (half - (real)0.5));
}

/* (artanh(s) - s) 2 / s for z = s^2 and |s| <= (sqrt(2) - 1) / (sqrt(2) + 1): the series. */
INLINE real artanh_tail(real z) {
#ifdef UR_FLOAT
    real p = 2.0f / 9;
    p = p * z + 2.0f / 7;
    p = p * z + 2.0f / 5;
    return (p * z + 2.0f / 3) * z;
#else
    real p = 2.0 / 21;
    p = p * z + 2.0 / 19;
    p = p * z + 2.0 / 17;
    p = p * z + 2.0 / 15;
    p = p * z + 2.0 / 13;
    p = p * z + 2.0 / 11;
    p = p * z + 2.0 / 9;
    p = p * z + 2.0 / 7;
    p = p * z + 2.0 / 5;
    return (p * z + 2.0 / 3) * z;
#endif
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)); f = m - 1 is exact, and so is the first term of
 * log m = f - f^2/2 + s (f^2/2 + tail). */
INLINE real LOG(real x) {
    const int below = x < LEAST_NORMAL;
    const bits one = bits_of(1), least = bits_of(SQRT_HALF);
    const bits b = bits_of(below ? x * power_of_two(MANTISSA + 1) : x) + (one - least);
    const whole n = (whole)(b >> MANTISSA) - BIAS - (below ? MANTISSA + 1 : 0);
    const real k = number_of(bits_of(SHIFT) + (bits)n) - SHIFT;
    const real f = number_of((b & (((bits)1 << MANTISSA) - 1)) + least) - 1, h = f * f / 2;
    const real s = f / (2 + f), t = s * (h + artanh_tail(s * s)) + k * LN2_LOW;
    const real y = k * LN2_HIGH + (f - (h - t));
    return x < 0 ? NAN : x == 0 ? -INFINITY : x < INFINITY ? y : x;
}

INLINE real LOG1P(real x) {
    const real u = 1 + x, lost = x - (u - 1);
    return LOG(u) + (u > 0 && u < INFINITY ? lost / u : 0);
}

/* Through z = e^-|x|, which can't overflow: one power of two, held off the range below normal numbers by
 * 2^UP, scales it, and rounding comes last. */
INLINE real SIGMOID(real x) {
    real a = FABS(x);
    a = a > SIGMOID_MOST ? SIGMOID_MOST : a;
    whole n;
    const real r = reduce(-a, &n), p = 1 + (r + r * r * tail(r));
    const real z = p * power_of_two(n + UP) * number_of((bits)(BIAS - UP) << MANTISSA);
    return (x < 0 ? z : 1) / (1 + z);
}
