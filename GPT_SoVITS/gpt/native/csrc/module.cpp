// The C interface, which decoder.py calls by ctypes. setuptools builds and names it as if it were a Python module; no
// header of Python is needed.
#include <cstring>
#include <exception>
#include <new>

#include "decoder.h"

#if defined(_WIN32)
#define SOVITSD_EXPORT extern "C" __declspec(dllexport)
#else
#define SOVITSD_EXPORT extern "C" __attribute__((visibility("default")))
#endif

using sovitsd::Decoder;
using sovitsd::Status;

namespace {

/// The kernels of a name that this processor can run, or its best ones for "".
const sovitsd::Kernels* find_kernels(const char* name) {
  for (auto kernels = sovitsd::all_kernels(); *kernels; kernels++)
    if ((*kernels)->supported() && (name[0] == '\0' || std::strcmp(name, (*kernels)->name) == 0)) return *kernels;
  return nullptr;
}

}  // namespace

/// Name of the kernels that `sovitsd_new` takes for a name; null when this processor cannot run them.
SOVITSD_EXPORT const char* sovitsd_kernels(const char* name) {
  const auto* kernels = find_kernels(name);
  return kernels ? kernels->name : nullptr;
}

SOVITSD_EXPORT Decoder* sovitsd_new(const sovitsd::Shape* shape, const void* const* tensors, const int32_t* pointers,
                                    int pointer_count, int threads, const char* kernels) {
  const auto* found = find_kernels(kernels);
  if (!found) return nullptr;
  try {
    return new Decoder(*shape, tensors, pointers, pointer_count, threads, *found);
  } catch (const std::exception&) {  // no memory, or no more threads
    return nullptr;
  }
}

SOVITSD_EXPORT void sovitsd_delete(Decoder* decoder) { delete decoder; }

SOVITSD_EXPORT Status sovitsd_prefill(Decoder* decoder, const float* embedded, int length, int text_length,
                                      const int32_t* phonemes, int steps, float* logits) {
  try {
    return decoder->prefill(embedded, length, text_length, phonemes, steps, logits);
  } catch (const std::bad_alloc&) {
    return Status::no_memory;
  }
}

SOVITSD_EXPORT Status sovitsd_step(Decoder* decoder, const int64_t* tokens, int count, float* logits) {
  try {
    return decoder->step(tokens, count, logits);
  } catch (const std::bad_alloc&) {
    return Status::no_memory;
  }
}

SOVITSD_EXPORT Status sovitsd_remove(Decoder* decoder, int row) { return decoder->remove(row); }

/// Linkers of Windows ask for it. Nothing imports this file.
SOVITSD_EXPORT void* PyInit__decoder() { return nullptr; }
