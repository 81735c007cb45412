// The GPT's transformer for any number of rows: keys and values of each row, its prefill and the steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels.h"
#include "team.h"

namespace sovitsd {

/// The numbers that decide every shape; as in decoder.py.
struct Shape {
  int32_t layers;
  /// A multiple of 64.
  int32_t width;
  /// Each of width / heads numbers, a multiple of 16.
  int32_t heads;
  int32_t vocabulary;
  /// The token that ends a sequence.
  int32_t end;
  /// Rows of the phoneme statistics; 0 without pointers.
  int32_t phonemes;
  /// Tokens after which a pointer must leave its phoneme.
  int32_t longest_phoneme;
  WeightKind layer_kind;
  WeightKind head_kind;
};

struct Layer {
  Matrix in, out, up, down;
  const float *gain1, *bias1, *gain2, *bias2;
  /// Numbers of the heads that point at a phoneme.
  std::vector<int> pointers;
};

/// Where a row is in its text; see gpt/pointer.py.
struct Pointer {
  std::vector<int32_t> phonemes;
  int position = 0;
  int tokens = 0;
  /// Attention at the phoneme and at the one after it, one pair per pointing head.
  std::vector<float> observed;

  int last() const { return static_cast<int>(phonemes.size()) - 1; }
  int next() const { return position < last() ? position + 1 : position; }
};

/// Zeroed numbers in pages that take no memory before they are written.
class LazyMemory {
 public:
  LazyMemory() = default;
  /// Throws std::bad_alloc.
  explicit LazyMemory(size_t numbers);
  ~LazyMemory();
  LazyMemory(LazyMemory&& other) noexcept { swap(other); }
  LazyMemory& operator=(LazyMemory&& other) noexcept {
    swap(other);
    return *this;
  }

  float* get() const { return numbers_; }

 private:
  void swap(LazyMemory& other) noexcept {
    std::swap(numbers_, other.numbers_);
    std::swap(bytes_, other.bytes_);
  }

  float* numbers_ = nullptr;
  size_t bytes_ = 0;
};

/// One sequence: how far it has come, and its keys and values, (layers, key | value, heads, capacity, d).
struct Row {
  int length = 0;
  int capacity = 0;
  /// Position of the next token; the prompt's first has 0.
  int position = 0;
  Pointer pointer;
  LazyMemory cache;
};

enum class Status : int32_t { ok = 0, bad_argument = 1, no_memory = 2, not_finite = 3 };

class Decoder {
 public:
  /// The tensors are the caller's and must outlive this; for their order see decoder.py.
  Decoder(const Shape& shape, const void* const* tensors, const int32_t* pointers, int pointer_count, int threads,
          const Kernels& kernels);

  /// Add a row of `length` embedded positions, of which the first `text_length` see one another; logits (V,).
  Status prefill(const float* embedded, int length, int text_length, const int32_t* phonemes, int steps, float* logits);

  /// Read one token of every row, (B,), and give the logits of the next ones, (B, V).
  Status step(const int64_t* tokens, int count, float* logits);

  /// The last row takes the number of the one that leaves.
  Status remove(int row);

  int rows() const { return static_cast<int>(rows_.size()); }

 private:
  void multiply(const Matrix& m, int thread, const float* x, int x_stride, float* y, int y_stride, int rows, bool relu);
  void attend_pointer(Row& row, int observation, const float* query, const float* keys, const float* values, float* out);
  /// Make room for the activations of so many rows or positions: nothing is allocated while the team works.
  void reserve(int rows, int longest);
  Status finish(int first, int count, const float* hidden, float* logits);
  void advance(Row& row, float* logits);
  float* keys(Row& row, int layer, int head) const;
  float* values(Row& row, int layer, int head) const;

  Shape shape_;
  const Kernels& kernels_;
  int d_;
  std::vector<Layer> layers_;
  Matrix head_;
  const float* token_embedding_;
  /// One row per position, scaled; `positions_` rows.
  const float* token_positions_;
  int positions_;
  const float* phoneme_tokens_;
  const float* phoneme_moving_;
  int pointer_heads_;
  std::vector<Row> rows_;
  Team& team_;
  std::vector<float> x_, qkv_, attended_, product_, inner_, logits_;
  std::vector<std::vector<float>> scores_;
  struct Scratch {
    std::vector<int8_t> values;
    std::vector<float> scales;
    std::vector<int32_t> corrections;
    std::vector<QuantizedRow> rows;
  };
  std::vector<Scratch> scratch_;
};

}  // namespace sovitsd
