// One row looks at the slots that it may see: the query heads that share a key-value head, at once.
//
// Names: g query head of the group, s a slot seen, D head width.
#pragma once

#include <cmath>
#include <cstdint>

#include "packed_matrix.h"

namespace duologue {

// Keys or values of one head in the arena: slot s begins at base + s * stride.
struct Slab {
    const bf16* base;
    int64_t stride;
    const bf16* at(int64_t slot) const { return base + slot * stride; }
};

#ifdef DUOLOGUE_AVX512

// The sum of each of 16 vectors.
inline __m512 sum_of_each(const __m512 r[16]) {
    __m512 t[8], u[4];
    for (int i = 0; i < 8; i++) {
        const __m512 a = r[2 * i], b = r[2 * i + 1];
        t[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
    for (int i = 0; i < 4; i++) {
        const __m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
        u[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    const auto halved = [](__m512 a, __m512 b) {
        return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    };
    return halved(halved(u[0], u[1]), halved(u[2], u[3]));
}

inline void scores_of(const bf16* queries, int G, int D, const Slab& keys, const int64_t* slots, int count, float* scores) {
    for (int first = 0; first < count; first += kLanes) {
        const int num = std::min(kLanes, count - first);
        const bf16* at[kLanes];
        for (int i = 0; i < kLanes; i++) at[i] = keys.at(slots[first + std::min(i, num - 1)]);
        for (int g = 0; g < G; g++) {
            __m512 sums[kLanes];
            for (int i = 0; i < kLanes; i++) sums[i] = _mm512_setzero_ps();
            for (int d = 0; d < D; d += 2 * kLanes) {
                const __mmask32 real = D - d >= 2 * kLanes ? 0xffffffffu : (1u << (D - d)) - 1;
                const __m512bh q = (__m512bh)_mm512_maskz_loadu_epi16(real, queries + g * D + d);
                for (int i = 0; i < kLanes; i++)
                    sums[i] = _mm512_dpbf16_ps(sums[i], q, (__m512bh)_mm512_maskz_loadu_epi16(real, at[i] + d));
            }
            const __mmask16 there = (__mmask16)((1u << num) - 1);
            _mm512_mask_storeu_ps(scores + g * count + first, there, sum_of_each(sums));
        }
    }
}

inline float exponentials(float* scores, int count, float scale) {
    const float log2e = 1.44269504088896f;
    __m512 tops = _mm512_set1_ps(-INFINITY);
    const auto real_at = [&](int s) { return count - s >= kLanes ? (__mmask16)0xffff : (__mmask16)((1u << (count - s)) - 1); };
    for (int s = 0; s < count; s += kLanes)
        tops = _mm512_mask_max_ps(tops, real_at(s), tops, _mm512_maskz_loadu_ps(real_at(s), scores + s));
    const __m512 times = _mm512_set1_ps(scale * log2e), top = _mm512_set1_ps(_mm512_reduce_max_ps(tops) * scale * log2e);
    __m512 sums = _mm512_setzero_ps();
    for (int s = 0; s < count; s += kLanes) {
        const __mmask16 real = real_at(s);
        const __m512 e = exp2_of(_mm512_fmsub_ps(_mm512_maskz_loadu_ps(real, scores + s), times, top));
        _mm512_mask_storeu_ps(scores + s, real, e);
        sums = _mm512_mask_add_ps(sums, real, sums, e);
    }
    return _mm512_reduce_add_ps(sums);
}

// out[GT][D] of some heads of the group.
template <int GT>
void weighted_sum_of(const float* weights, int count, int D, const Slab& values, const int64_t* slots, float* out) {
    for (int d = 0; d < D; d += 2 * kLanes) {
        const bool is_whole = D - d >= 2 * kLanes;
        __m512 sum[GT][2];
        for (int g = 0; g < GT; g++) sum[g][0] = sum[g][1] = _mm512_setzero_ps();
        for (int s = 0; s < count; s++) {
            const bf16* value = values.at(slots[s]) + d;
            const __m512 a = load_bf16(value), b = is_whole ? load_bf16(value + kLanes) : _mm512_setzero_ps();
            for (int g = 0; g < GT; g++) {
                const __m512 weight = _mm512_set1_ps(weights[g * count + s]);
                sum[g][0] = _mm512_fmadd_ps(weight, a, sum[g][0]);
                sum[g][1] = _mm512_fmadd_ps(weight, b, sum[g][1]);
            }
        }
        for (int g = 0; g < GT; g++) {
            _mm512_storeu_ps(out + g * D + d, sum[g][0]);
            if (is_whole) _mm512_storeu_ps(out + g * D + d + kLanes, sum[g][1]);
        }
    }
}

inline void weighted_sums(const float* weights, int G, int count, int D, const Slab& values, const int64_t* slots, float* out) {
    int g = 0;
    for (; g + 4 <= G; g += 4) weighted_sum_of<4>(weights + g * count, count, D, values, slots, out + g * D);
    if (G - g == 3) weighted_sum_of<3>(weights + g * count, count, D, values, slots, out + g * D);
    if (G - g == 2) weighted_sum_of<2>(weights + g * count, count, D, values, slots, out + g * D);
    if (G - g == 1) weighted_sum_of<1>(weights + g * count, count, D, values, slots, out + g * D);
}

#else

inline void scores_of(const bf16* queries, int G, int D, const Slab& keys, const int64_t* slots, int count, float* scores) {
    for (int s = 0; s < count; s++) {
        const bf16* key = keys.at(slots[s]);
        for (int g = 0; g < G; g++) {
            float sum = 0;
            for (int d = 0; d < D; d++) sum += float_of(queries[g * D + d]) * float_of(key[d]);
            scores[g * count + s] = sum;
        }
    }
}

inline float exponentials(float* scores, int count, float scale) {
    float top = -INFINITY, sum = 0;
    for (int s = 0; s < count; s++) top = std::max(top, scores[s] * scale);
    for (int s = 0; s < count; s++) sum += scores[s] = std::exp(scores[s] * scale - top);
    return sum;
}

inline void weighted_sums(const float* weights, int G, int count, int D, const Slab& values, const int64_t* slots, float* out) {
    std::fill(out, out + G * D, 0.0f);
    for (int s = 0; s < count; s++) {
        const bf16* value = values.at(slots[s]);
        for (int g = 0; g < G; g++)
            for (int d = 0; d < D; d++) out[g * D + d] += weights[g * count + s] * float_of(value[d]);
    }
}

#endif

// What the query heads of a group find, [G][D]; `scores` has room for G * count numbers.
inline void attend(const bf16* queries, int G, int D, const Slab& keys, const Slab& values, const int64_t* slots, int count,
                   float* scores, float* out) {
    scores_of(queries, G, D, keys, slots, count, scores);
    const float scale = 1 / std::sqrt((float)D);
    float sums[64];
    for (int g = 0; g < G; g++) sums[g] = exponentials(scores + g * count, count, scale);
    weighted_sums(scores, G, count, D, values, slots, out);
    for (int g = 0; g < G; g++)
        for (int d = 0; d < D; d++) out[g * D + d] /= sums[g];
}

}  // namespace duologue
