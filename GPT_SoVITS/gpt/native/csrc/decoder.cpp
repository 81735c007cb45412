#include "decoder.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif

namespace sovitsd {

namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();

int round_up(int number, int multiple) { return (number + multiple - 1) / multiple * multiple; }

}  // namespace

#if defined(__unix__) || defined(__APPLE__)

// Pages of its own: calloc clears, and so takes, what it has in its heap. No huge pages: the positions of a head are
// close to one another, those of the next head are not, so that a few positions would take all of the row's memory.
LazyMemory::LazyMemory(size_t numbers) : bytes_(numbers * sizeof(float)) {
  void* pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
#if defined(MADV_NOHUGEPAGE)
  madvise(pages, bytes_, MADV_NOHUGEPAGE);
#endif
  numbers_ = static_cast<float*>(pages);
}

LazyMemory::~LazyMemory() {
  if (numbers_) munmap(numbers_, bytes_);
}

#else

LazyMemory::LazyMemory(size_t numbers) : numbers_(static_cast<float*>(std::calloc(numbers, sizeof(float)))) {
  if (!numbers_) throw std::bad_alloc();
}

LazyMemory::~LazyMemory() { std::free(numbers_); }

#endif

Decoder::Decoder(const Shape& shape, const void* const* tensors, const int32_t* pointers, int pointer_count,
                 int threads, const Kernels& kernels)
    : shape_(shape), kernels_(kernels), d_(shape.width / shape.heads), pointer_heads_(pointer_count), team_(shared_team(threads)) {
  const int width = shape.width;
  auto matrix = [&tensors](int outputs, int inputs, WeightKind kind) {
    Matrix m;
    m.weights = *tensors++;
    m.bias = static_cast<const float*>(*tensors++);
    m.scales = static_cast<const float*>(*tensors++);
    m.panels = round_up(outputs, PANEL) / PANEL;
    m.inputs = inputs;
    m.kind = kind;
    return m;
  };
  auto numbers = [&tensors] { return static_cast<const float*>(*tensors++); };
  layers_.resize(shape.layers);
  for (Layer& layer : layers_) {
    layer.in = matrix(3 * width, width, shape.layer_kind);
    layer.out = matrix(width, width, shape.layer_kind);
    layer.up = matrix(4 * width, width, shape.layer_kind);
    layer.down = matrix(width, 4 * width, shape.layer_kind);
    layer.gain1 = numbers();
    layer.bias1 = numbers();
    layer.gain2 = numbers();
    layer.bias2 = numbers();
  }
  head_ = matrix(shape.vocabulary, width, shape.head_kind);
  token_embedding_ = numbers();
  token_positions_ = numbers();
  phoneme_tokens_ = numbers();
  phoneme_moving_ = numbers();
  positions_ = *static_cast<const int32_t*>(*tensors++);
  for (int i = 0; i < pointer_count; i++) layers_[pointers[2 * i]].pointers.push_back(pointers[2 * i + 1]);
  scores_.resize(team_.threads());
  scratch_.resize(team_.threads());
}

float* Decoder::keys(Row& row, int layer, int head) const {
  return row.cache.get() + (static_cast<size_t>(2 * layer) * shape_.heads + head) * row.capacity * d_;
}

float* Decoder::values(Row& row, int layer, int head) const {
  return row.cache.get() + (static_cast<size_t>(2 * layer + 1) * shape_.heads + head) * row.capacity * d_;
}

void Decoder::multiply(const Matrix& m, int thread, const float* x, int x_stride, float* y, int y_stride, int rows,
                       bool relu) {
  const int piece = std::max(1, m.panels / (team_.threads() * 4));
  if (m.kind != WeightKind::int8) {
    team_.share(m.panels, piece, [&](int first, int end) {
      kernels_.multiply(m, first, end, x, x_stride, y, y_stride, rows, relu);
    });
    return;
  }
  // Each thread rounds the rows for itself: that costs less than waiting for one another.
  Scratch& scratch = scratch_[thread];
  const int groups = m.inputs / GROUP;
  for (int b = 0; b < rows; b++) {
    scratch.rows[b] = {scratch.values.data() + static_cast<size_t>(b) * m.inputs,
                       scratch.scales.data() + static_cast<size_t>(b) * groups,
                       scratch.corrections.data() + static_cast<size_t>(b) * groups};
    kernels_.quantize(x + static_cast<size_t>(b) * x_stride, m.inputs, scratch.rows[b]);
  }
  team_.share(m.panels, piece, [&](int first, int end) {
    kernels_.multiply_int8(m, first, end, scratch.rows.data(), y, y_stride, rows, relu);
  });
}

void Decoder::reserve(int rows, int longest) {
  const size_t size = static_cast<size_t>(rows) * shape_.width;
  x_.resize(size);
  qkv_.resize(3 * size);
  attended_.resize(size);
  product_.resize(size);
  inner_.resize(4 * size);
  for (auto& scores : scores_) scores.resize(std::max<size_t>(scores.size(), longest));
  if (shape_.layer_kind != WeightKind::int8) return;
  for (Scratch& scratch : scratch_) {  // for the widest matrix
    scratch.values.resize(4 * size);
    scratch.scales.resize(4 * size / GROUP);
    scratch.corrections.resize(4 * size / GROUP);
    scratch.rows.resize(rows);
  }
}

Status Decoder::prefill(const float* embedded, int length, int text_length, const int32_t* phonemes, int steps,
                        float* logits) {
  if (length < 1 || text_length < 1 || text_length > length || steps < 0 || length - text_length > positions_)
    return Status::bad_argument;
  const int width = shape_.width, heads = shape_.heads;
  Row row;
  row.length = length;
  row.position = length - text_length;
  row.capacity = round_up(length + steps + 1, LANES);
  row.cache = LazyMemory(static_cast<size_t>(shape_.layers) * 2 * width * row.capacity);
  if (pointer_heads_) {
    row.pointer.phonemes.assign(phonemes, phonemes + text_length);
    for (int32_t phoneme : row.pointer.phonemes)
      if (phoneme < 0 || phoneme >= shape_.phonemes) return Status::bad_argument;
    row.pointer.observed.assign(2 * static_cast<size_t>(pointer_heads_), 0.0f);
  }
  const size_t positions = length;
  reserve(length, row.capacity);
  std::copy(embedded, embedded + positions * width, x_.begin());
  team_.run([&](int thread) {
    float* x = x_.data();
    int observation = 0;
    for (int number = 0; number < shape_.layers; number++) {
      const Layer& layer = layers_[number];
      multiply(layer.in, thread, x, width, qkv_.data(), 3 * width, length, false);
      team_.share(heads, 1, [&](int first, int end) {
        for (int head = first; head < end; head++) {
          float *k = keys(row, number, head), *v = values(row, number, head);
          for (int t = 0; t < length; t++) {
            const float* from = qkv_.data() + static_cast<size_t>(t) * 3 * width + width + head * d_;
            float* block = k + static_cast<size_t>(t / LANES * LANES) * d_ + t % LANES;
            for (int c = 0; c < d_; c++) block[c * LANES] = from[c];
            std::memcpy(v + static_cast<size_t>(t) * d_, from + width, d_ * sizeof(float));
          }
        }
      });
      // Of the last layer only the last position is read.
      const int from = number + 1 == shape_.layers ? length - 1 : 0, count = length - from;
      team_.share(count * heads, 8, [&](int first, int end) {
        for (int i = first; i < end; i++) {
          const int t = from + i / heads, head = i % heads;
          const float* query = qkv_.data() + static_cast<size_t>(t) * 3 * width + head * d_;
          float* out = attended_.data() + static_cast<size_t>(t) * width + head * d_;
          const float *k = keys(row, number, head), *v = values(row, number, head);
          if (t == length - 1)
            for (size_t p = 0; p < layer.pointers.size(); p++)
              if (layer.pointers[p] == head) {
                attend_pointer(row, observation + static_cast<int>(p), query, k, v, out);
                query = nullptr;
              }
          if (query) kernels_.attend(d_, query, k, v, t < text_length ? text_length : t + 1, scores_[thread].data(), out);
        }
      });
      observation += static_cast<int>(layer.pointers.size());
      auto offset = [&](std::vector<float>& all, int each) { return all.data() + static_cast<size_t>(from) * each; };
      auto normalize = [&](const float* gain, const float* bias) {
        team_.share(count, 8, [&](int first, int end) {
          for (int t = first; t < end; t++)
            kernels_.add_and_normalize(offset(x_, width) + static_cast<size_t>(t) * width,
                                       offset(product_, width) + static_cast<size_t>(t) * width, gain, bias, width);
        });
      };
      multiply(layer.out, thread, offset(attended_, width), width, offset(product_, width), width, count, false);
      normalize(layer.gain1, layer.bias1);
      multiply(layer.up, thread, offset(x_, width), width, offset(inner_, 4 * width), 4 * width, count, true);
      multiply(layer.down, thread, offset(inner_, 4 * width), 4 * width, offset(product_, width), width, count, false);
      normalize(layer.gain2, layer.bias2);
    }
  });
  rows_.push_back(std::move(row));
  const Status status = finish(rows() - 1, 1, x_.data() + (positions - 1) * width, logits);
  if (status != Status::ok) rows_.pop_back();
  return status;
}

Status Decoder::step(const int64_t* tokens, int count, float* logits) {
  if (count != rows() || count == 0) return Status::bad_argument;
  const int width = shape_.width, heads = shape_.heads;
  int longest = 0;
  for (int b = 0; b < count; b++) {
    const Row& row = rows_[b];
    if (tokens[b] < 0 || tokens[b] >= shape_.vocabulary || row.length >= row.capacity || row.position >= positions_)
      return Status::bad_argument;
    longest = std::max(longest, row.capacity);
  }
  reserve(count, longest);
  for (int b = 0; b < count; b++) {
    const float* token = token_embedding_ + static_cast<size_t>(tokens[b]) * width;
    const float* position = token_positions_ + static_cast<size_t>(rows_[b].position) * width;
    for (int i = 0; i < width; i++) x_[static_cast<size_t>(b) * width + i] = token[i] + position[i];
  }
  team_.run([&](int thread) {
    float* x = x_.data();
    int observation = 0;
    for (int number = 0; number < shape_.layers; number++) {
      const Layer& layer = layers_[number];
      multiply(layer.in, thread, x, width, qkv_.data(), 3 * width, count, false);
      team_.share(count * heads, std::max(1, count * heads / (team_.threads() * 4)), [&](int first, int end) {
        for (int i = first; i < end; i++) {
          const int b = i / heads, head = i % heads;
          Row& row = rows_[b];
          const int t = row.length;
          const float* query = qkv_.data() + static_cast<size_t>(b) * 3 * width + head * d_;
          float *k = keys(row, number, head), *v = values(row, number, head);
          float* block = k + static_cast<size_t>(t / LANES * LANES) * d_ + t % LANES;
          for (int c = 0; c < d_; c++) block[c * LANES] = query[width + c];
          std::memcpy(v + static_cast<size_t>(t) * d_, query + 2 * width, d_ * sizeof(float));
          float* out = attended_.data() + static_cast<size_t>(b) * width + head * d_;
          bool pointing = false;
          for (size_t p = 0; p < layer.pointers.size(); p++)
            if (layer.pointers[p] == head) {
              attend_pointer(row, observation + static_cast<int>(p), query, k, v, out);
              pointing = true;
            }
          if (!pointing) kernels_.attend(d_, query, k, v, t + 1, scores_[thread].data(), out);
        }
      });
      observation += static_cast<int>(layer.pointers.size());
      auto normalize = [&](const float* gain, const float* bias) {
        team_.share(count, 1, [&](int first, int end) {
          for (int b = first; b < end; b++)
            kernels_.add_and_normalize(x + static_cast<size_t>(b) * width,
                                       product_.data() + static_cast<size_t>(b) * width, gain, bias, width);
        });
      };
      multiply(layer.out, thread, attended_.data(), width, product_.data(), width, count, false);
      normalize(layer.gain1, layer.bias1);
      multiply(layer.up, thread, x, width, inner_.data(), 4 * width, count, true);
      multiply(layer.down, thread, inner_.data(), 4 * width, product_.data(), width, count, false);
      normalize(layer.gain2, layer.bias2);
    }
  });
  for (Row& row : rows_) {
    row.length++;
    row.position++;
  }
  return finish(0, count, x_.data(), logits);
}

Status Decoder::remove(int row) {
  if (row < 0 || row >= rows()) return Status::bad_argument;
  if (row + 1 < rows()) rows_[row] = std::move(rows_.back());
  rows_.pop_back();
  return Status::ok;
}

/// Attention of a pointing head: it sees the phoneme of the last token and the one after it alone.
void Decoder::attend_pointer(Row& row, int observation, const float* query, const float* keys, const float* values,
                             float* out) {
  const Pointer& pointer = row.pointer;
  const int slots[2] = {pointer.position, pointer.next()};
  const bool stays = pointer.tokens < shape_.longest_phoneme || pointer.position == pointer.last();
  float scores[2], largest = -INFINITE;
  for (int i = 0; i < 2; i++) {
    const float* block = keys + static_cast<size_t>(slots[i] / LANES * LANES) * d_ + slots[i] % LANES;
    float score = 0.0f;
    for (int c = 0; c < d_; c++) score += query[c] * block[c * LANES];
    scores[i] = i == 0 && !stays ? -INFINITE : score / std::sqrt(static_cast<float>(d_));
    largest = std::max(largest, scores[i]);
  }
  float weights[2] = {std::exp(scores[0] - largest), std::exp(scores[1] - largest)};
  if (slots[0] == slots[1]) {  // the last phoneme: there is no other
    weights[0] = 1.0f;
    weights[1] = 0.0f;
  }
  const float total = weights[0] + weights[1];
  for (float& weight : weights) weight /= total;
  for (int c = 0; c < d_; c++)
    out[c] = weights[0] * values[static_cast<size_t>(slots[0]) * d_ + c] +
             weights[1] * values[static_cast<size_t>(slots[1]) * d_ + c];
  float* observed = row.pointer.observed.data() + 2 * observation;
  observed[0] = weights[0];
  observed[1] = slots[0] == slots[1] ? weights[0] : weights[1];
}

/// Logits of rows [first, first + count) from their last hidden states (count, E).
Status Decoder::finish(int first, int count, const float* hidden, float* logits) {
  const int stride = head_.panels * PANEL;
  logits_.resize(static_cast<size_t>(count) * stride);
  team_.run([&](int thread) {
    multiply(head_, thread, hidden, shape_.width, logits_.data(), stride, count, false);
  });
  for (int b = 0; b < count; b++) {
    float* row = logits + static_cast<size_t>(b) * shape_.vocabulary;
    std::memcpy(row, logits_.data() + static_cast<size_t>(b) * stride, shape_.vocabulary * sizeof(float));
    for (int i = 0; i < shape_.vocabulary; i++)
      if (!std::isfinite(row[i])) return Status::not_finite;
    if (pointer_heads_) advance(rows_[first + b], row);
  }
  return Status::ok;
}

/// Move a row to the phoneme that its next token speaks, and bias its logits; see Pointers.advance in gpt/pointer.py.
void Decoder::advance(Row& row, float* logits) {
  Pointer& pointer = row.pointer;
  float here = 0.0f, after = 0.0f;
  for (int i = 0; i < pointer_heads_; i++) {
    here += pointer.observed[2 * i];
    after += pointer.observed[2 * i + 1];
  }
  const int duration = pointer.tokens, longest = shape_.longest_phoneme;
  const int column = std::min(std::max(duration - 1, 0), longest - 1);
  const float moving = phoneme_moving_[static_cast<size_t>(pointer.phonemes[pointer.position]) * longest + column];
  const bool moves = duration > 0 && std::log(after) - std::log(here) + moving > 0.0f;
  const bool spoken = pointer.position == pointer.last() && duration > 0;
  const int now = moves ? pointer.next() : pointer.position;
  pointer.tokens = now == pointer.position ? duration + 1 : 1;
  pointer.position = now;
  const float* bias = phoneme_tokens_ + static_cast<size_t>(pointer.phonemes[now]) * shape_.vocabulary;
  for (int i = 0; i < shape_.vocabulary; i++) logits[i] += bias[i];
  if (!spoken) logits[shape_.end] = -INFINITE;
  if (spoken && duration >= longest) logits[shape_.end] = INFINITE;
}

}  // namespace sovitsd
