/* The floor: a student's network alone, written by hand for its one shape, with nothing checked and nothing general.

   Compiled with -DIN, -DLAYERS, -DWIDTH, -DOUT, -DREACH (sizes; widths are multiples of 64) and the parts of
   -ffast-math that change no other code of the process.
   w: for every layer its matrix in blocks of 64 columns, bias, LayerNorm scale and shift; then the action head's matrix
   padded to 8 columns and its bias; then the reachability head's hidden matrix, bias, output row and output bias. */

#include <math.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));

static inline const float *dense64(int depth, int columns, const float *x, const float *w, float *y) {
  const float *bias = w + (long)depth * columns;
  for (int j = 0; j < columns; j += 64) {
    lanes a[8];
    for (int v = 0; v < 8; v++) a[v] = *(const lanes *)(bias + j + 8 * v);
    for (int k = 0; k < depth; k++, w += 64)
      for (int v = 0; v < 8; v++) a[v] += x[k] * *(const lanes *)(w + 8 * v);
    for (int v = 0; v < 8; v++) *(lanes *)(y + j + 8 * v) = a[v];
  }
  return bias + columns;
}

static inline const float *norm_swish(int size, float *x, const float *w) {
  float sum = 0, squares = 0;
  for (int i = 0; i < size; i++) sum += x[i], squares += x[i] * x[i];
  float mean = sum / size, factor = 1 / sqrtf(squares / size - mean * mean + 1e-6f);
  for (int i = 0; i < size; i++) {
    float n = (x[i] - mean) * factor * w[i] + w[size + i];
    x[i] = n / (1 + expf(-n));
  }
  return w + 2 * size;
}

/* in [IN] to out [OUT + 1]: actions in (-1, 1) and the reachability's logit */
void floor_network(const float *w, const float *in, float *out) {
  float both[IN + WIDTH], a[WIDTH], b[WIDTH], hidden[REACH], head[8];
  const float *x = in;
  float *y = a;
  for (int layer = 0; layer < LAYERS; layer++) {
    w = norm_swish(WIDTH, y, dense64(layer ? WIDTH : IN, WIDTH, x, w, y));
    x = y;
    y = y == a ? b : a;
  }
  lanes sum[4] = {*(const lanes *)(w + 8 * WIDTH)};
  for (int k = 0; k < WIDTH; k += 4)
    for (int v = 0; v < 4; v++) sum[v] += x[k + v] * *(const lanes *)(w + 8 * (k + v));
  *(lanes *)head = sum[0] + sum[1] + sum[2] + sum[3];
  for (int j = 0; j < OUT; j++) out[j] = tanhf(head[j]);
  w += 8 * WIDTH + 8;
  memcpy(both, in, sizeof(float) * IN);
  memcpy(both + IN, x, sizeof(float) * WIDTH);
  w = dense64(IN + WIDTH, REACH, both, w, hidden);
  float logit = 0;
  for (int k = 0; k < REACH; k++) logit += (hidden[k] > 0 ? hidden[k] : 0) * w[k];
  out[OUT] = logit + w[REACH];
}
