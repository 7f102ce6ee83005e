// Softmax cross-entropy over rows of logits in bfloat16: each row's loss, and its error in place of its logits.
//
// A row is read three times, but from memory once: it stays in the cache.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vectors.h"

namespace duologue {
namespace {

constexpr float kLog2E = 1.44269504088896f;
constexpr float kLn2 = 0.69314718055994531f;

// What the last vector of a row holds of it; lanes past its end count as logits that nobody chose.
__mmask16 real_lanes(int64_t at, int64_t width) {
    return width - at >= kLanes ? 0xffff : (__mmask16)((1u << (width - at)) - 1);
}

__m512 load(const bf16* row, int64_t at, int64_t width) {
    const __mmask16 real = real_lanes(at, width);
    const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(real, row + at)), 16);
    return _mm512_mask_blend_ps(real, _mm512_set1_ps(-INFINITY), _mm512_castsi512_ps(bits));
}

// The loss of one row; the row becomes softmax(row), less one at the label.
float loss_of(bf16* row, int64_t width, int64_t label) {
    const __m512 to_log2 = _mm512_set1_ps(kLog2E);
    const float chosen = _mm512_cvtss_f32(load(row + label, 0, 1));
    __m512 tops = _mm512_set1_ps(-INFINITY);
    for (int64_t at = 0; at < width; at += kLanes) tops = _mm512_max_ps(tops, load(row, at, width));
    const float top = _mm512_reduce_max_ps(tops) * kLog2E;
    __m512 sums = _mm512_setzero_ps();
    for (int64_t at = 0; at < width; at += kLanes)
        sums = _mm512_add_ps(sums, exp2_of(_mm512_fmsub_ps(load(row, at, width), to_log2, _mm512_set1_ps(top))));
    const float log2_sum = top + std::log2(_mm512_reduce_add_ps(sums));
    for (int64_t at = 0; at < width; at += kLanes) {
        __m512 error = exp2_of(_mm512_fmsub_ps(load(row, at, width), to_log2, _mm512_set1_ps(log2_sum)));
        if (label >= at && label < at + kLanes)
            error = _mm512_mask_sub_ps(error, (__mmask16)(1u << (label - at)), error, _mm512_set1_ps(1.0f));
        _mm256_mask_storeu_epi16(row + at, real_lanes(at, width), (__m256i)_mm512_cvtneps_pbh(error));
    }
    return log2_sum * kLn2 - chosen;
}

}  // namespace
}  // namespace duologue

// logits [rows, width] become errors; losses [rows] in nats.
extern "C" void cross_entropy(duologue::bf16* logits, int64_t rows, int64_t width, const int64_t* labels,
                              float* losses) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) losses[i] = duologue::loss_of(logits + i * width, width, labels[i]);
}
