// The inner loops of the decoder, chosen once for the processor that runs them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sovitsd {

constexpr int LANES = 16;
/// Outputs of a panel of weights: two vectors.
constexpr int PANEL = 32;
/// How far ahead of their use weights are fetched.
constexpr int PREFETCH_BYTES = 1024;
/// Activations that share a scale in products of whole numbers.
constexpr int GROUP = 64;

/// An IEEE half-precision number, as its bits.
struct Half {
  uint16_t bits;
};

enum class WeightKind : int32_t { single = 0, half = 1, int8 = 2 };

/// A packed matrix in panels of 32 outputs: (panels, inputs, 32), of bytes (panels, inputs / 4, 32, 4).
struct Matrix {
  const void* weights;
  /// Per output, padded to whole panels.
  const float* bias;
  /// Likewise; of bytes only.
  const float* scales;
  int panels;
  int inputs;
  WeightKind kind;
};

/// A row of activations in bytes, with one scale and one correction per group.
struct QuantizedRow {
  int8_t* values;
  float* scales;
  int32_t* corrections;
};

struct Kernels {
  const char* name;
  bool (*supported)();
  /// Panels [first, end) of y (rows, ·) = x (rows, inputs) times the matrix, plus bias, through a ReLU if asked.
  void (*multiply)(const Matrix&, int first, int end, const float* x, int x_stride, float* y, int y_stride, int rows,
                   bool relu);
  void (*quantize)(const float* x, int inputs, QuantizedRow);
  void (*multiply_int8)(const Matrix&, int first, int end, const QuantizedRow* x, float* y, int y_stride, int rows,
                        bool relu);
  void (*attend)(int d, const float* query, const float* keys, const float* values, int length, float* scores,
                 float* out);
  void (*add_and_normalize)(float* x, const float* y, const float* gain, const float* bias, int width);
};

/// All sets of kernels in this build, best first; the last one runs everywhere. Ends with a null pointer.
const Kernels* const* all_kernels();

}  // namespace sovitsd
