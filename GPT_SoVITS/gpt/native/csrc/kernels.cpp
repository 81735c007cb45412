// The kernels once per instruction set. Each set is compiled for its own processor and chosen when a decoder is made,
// so that one build serves all machines.
#include "kernels.h"

#include <cmath>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
#include <cpuid.h>

// GCC's own vectors of undefined contents look to it like variables that were forgotten.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

namespace sovitsd {

#if defined(__x86_64__) && defined(__GNUC__)

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
namespace avx512 {
#define SOVITSD_AVX512
#define SOVITSD_VNNI
#include "vectors.inc"
#include "attention.inc"
#include "int8_products.inc"
#include "products.inc"
#undef SOVITSD_VNNI
#undef SOVITSD_AVX512
}  // namespace avx512
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
namespace avx_vnni {
#define SOVITSD_AVX2
#define SOVITSD_AVX_VNNI
#include "vectors.inc"
#include "attention.inc"
#include "int8_products.inc"
#include "products.inc"
#undef SOVITSD_AVX_VNNI
#undef SOVITSD_AVX2
}  // namespace avx_vnni
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace avx2 {
#define SOVITSD_AVX2
#include "vectors.inc"
#include "attention.inc"
#include "int8_products.inc"
#include "products.inc"
#undef SOVITSD_AVX2
}  // namespace avx2
#pragma GCC pop_options

#endif

namespace portable {
#include "vectors.inc"
#include "attention.inc"
#include "int8_products.inc"
#include "products.inc"
}  // namespace portable

namespace {

#define SOVITSD_KERNELS(space, test)                                                                    \
  {#space, test, space::multiply, space::quantize, space::multiply_int8, space::attend, space::add_and_normalize}

#if defined(__x86_64__) && defined(__GNUC__)

// __builtin_cpu_supports also asks whether the operating system saves the registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
/// CPUID leaf 7.1; compilers of the age of GCC 12 know no name for it.
bool has_avx_vnni() {
  unsigned a, b, c, d;
  return has_avx2() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
         (a & (1u << 4));
}

const Kernels avx512_kernels = SOVITSD_KERNELS(avx512, has_avx512);
const Kernels avx_vnni_kernels = SOVITSD_KERNELS(avx_vnni, has_avx_vnni);
const Kernels avx2_kernels = SOVITSD_KERNELS(avx2, has_avx2);

#endif

const Kernels portable_kernels = SOVITSD_KERNELS(portable, [] { return true; });

const Kernels* const table[] = {
#if defined(__x86_64__) && defined(__GNUC__)
    &avx512_kernels, &avx_vnni_kernels, &avx2_kernels,
#endif
    &portable_kernels, nullptr};

}  // namespace

const Kernels* const* all_kernels() { return table; }

}  // namespace sovitsd
