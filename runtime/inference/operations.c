/* The operations of an exported policy for one input, over float vectors. Included by every generated kernel.

   The generated code calls these with constant sizes, so that the compiler specialises each call. NaN goes through
   every operation, as in ONNX Runtime: the safety layer recognises it in the command. */

#include <string.h>

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
enum { LANES = 8 };

#define INLINE static inline __attribute__((always_inline))

INLINE float larger(float a, float b) { return a > b || a != a ? a : b; }
INLINE float smaller(float a, float b) { return a < b || a != a ? a : b; }

/* e^x to 2 units in the last place: x = n ln 2 + r, a polynomial for e^r (Cephes, expf), n into the exponent. */
INLINE float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  float n = __builtin_rintf(x * 1.44269504088896341f);
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union { int bits; float number; } power = {(int)((unsigned)((int)n + 127) << 23)};
  return p * power.number;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE float hyperbolic_tangent(float x) { return 2.0f / (1.0f + exponential(-2.0f * x)) - 1.0f; }

/* y[i] = f(a[i]) */
#define UNARY(name, expression)                                               \
  INLINE void name(int size, float *restrict y, const float *restrict a) {    \
    for (int i = 0; i < size; i++) { float x = a[i]; y[i] = (expression); }   \
  }
UNARY(op_Sigmoid, sigmoid(x))
UNARY(op_Tanh, hyperbolic_tangent(x))
UNARY(op_Relu, larger(x, 0.0f))
UNARY(op_Exp, exponential(x))
UNARY(op_Neg, -x)
UNARY(op_Abs, __builtin_fabsf(x))
UNARY(op_Sqrt, __builtin_sqrtf(x))
UNARY(op_Reciprocal, 1.0f / x)

/* y[i] = f(a[i], b[i]); an operand of stride 0 is one number for all i */
#define BINARY(name, expression)                                                                              \
  INLINE void name(int size, float *restrict y, const float *a, int stride_a, const float *b, int stride_b) { \
    for (int i = 0; i < size; i++) { float l = a[i * stride_a], r = b[i * stride_b]; y[i] = (expression); }   \
  }
BINARY(op_Add, l + r)
BINARY(op_Sub, l - r)
BINARY(op_Mul, l * r)
BINARY(op_Div, l / r)
BINARY(op_Min, smaller(l, r))
BINARY(op_Max, larger(l, r))

/* Columns of a product: y[j] = bias[j] + sum over k of x[k] w[k][j], for `count` times LANES columns held in
   registers while the weights stream by once. */
#define COLUMNS(count)                                                                                            \
  INLINE void columns_##count(int depth, float *y, const float *x, const float *w, const float *bias) {           \
    lanes sum[count];                                                                                             \
    _Pragma("GCC unroll 8") for (int v = 0; v < count; v++) sum[v] = ((const lanes *)bias)[v];                    \
    for (int k = 0; k < depth; k++) {                                                                             \
      _Pragma("GCC unroll 8") for (int v = 0; v < count; v++) sum[v] += x[k] * ((const lanes *)w)[count * k + v]; \
    }                                                                                                             \
    _Pragma("GCC unroll 8") for (int v = 0; v < count; v++)((lanes *)y)[v] = sum[v];                              \
  }
COLUMNS(8)
COLUMNS(4)
COLUMNS(2)

/* Eight columns have one sum only, so that each addition would wait for the one before: four sums instead. */
INLINE void columns_1(int depth, float *y, const float *x, const float *w, const float *bias) {
  lanes sum[4] = {*(const lanes *)bias};
  int k = 0;
  for (; k + 4 <= depth; k += 4) {
    _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++) sum[v] += x[k + v] * ((const lanes *)w)[k + v];
  }
  for (; k < depth; k++) sum[0] += x[k] * ((const lanes *)w)[k];
  *(lanes *)y = (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Matrix times vector; `w` holds blocks of 64, 32, 16 and 8 columns one after the other, `y` has room for whole blocks. */
INLINE void op_Gemm(int depth, int columns, float *y, const float *x, const float *w, const float *bias) {
  int j = 0;
  for (; j + 64 <= columns; j += 64) columns_8(depth, y + j, x, w + j * depth, bias + j);
  if (columns - j >= 32) columns_4(depth, y + j, x, w + j * depth, bias + j), j += 32;
  if (columns - j >= 16) columns_2(depth, y + j, x, w + j * depth, bias + j), j += 16;
  if (columns - j >= 8) columns_1(depth, y + j, x, w + j * depth, bias + j);
}

/* Sum of x[i] - offset, or of its squares. */
#define TOTAL(name, expression)                                                                   \
  INLINE float name(int size, const float *x, float offset) {                                     \
    lanes sum[4] = {{0}};                                                                         \
    int i = 0;                                                                                    \
    for (; i + 4 * LANES <= size; i += 4 * LANES) {                                               \
      _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++) {                                       \
        lanes d = *(const lanes *)(x + i + v * LANES) - offset;                                   \
        sum[v] += (expression);                                                                   \
      }                                                                                           \
    }                                                                                             \
    lanes all = (sum[0] + sum[1]) + (sum[2] + sum[3]);                                            \
    float result = 0.0f;                                                                          \
    for (int v = 0; v < LANES; v++) result += all[v];                                             \
    for (; i < size; i++) { float d = x[i] - offset; result += (expression); }                    \
    return result;                                                                                \
  }
TOTAL(sum_of, d)
TOTAL(sum_of_squares, d * d)

INLINE void op_LayerNormalization(int size, float *restrict y, const float *restrict x, const float *restrict scale,
                                  const float *restrict bias, float epsilon) {
  float mean = sum_of(size, x, 0.0f) / size;
  float factor = 1.0f / __builtin_sqrtf(sum_of_squares(size, x, mean) / size + epsilon);
  for (int i = 0; i < size; i++) y[i] = (x[i] - mean) * factor * scale[i] + bias[i];
}

INLINE void op_Copy(int size, float *restrict y, const float *restrict a) { memcpy(y, a, size * sizeof(float)); }
