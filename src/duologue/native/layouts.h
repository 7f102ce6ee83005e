// The layouts in which blocks of a head are multiplied, made from rows of tokens [count][D].
#pragma once

#include <algorithm>
#include <cstring>

#include "vectors.h"

namespace duologue {

struct Strided {  // [B, T, heads, D] as it lies in memory; D is contiguous
    const bf16* data;
    int64_t row, token, head;
    const bf16* at(int64_t b, int64_t t, int64_t h) const { return data + b * row + t * token + h * head; }
};

// Some tokens of a head, one after the other; zeros where the row has ended.
inline void gather(bf16* to, const Strided& x, int64_t b, int64_t h, int first, int count, int T, int D) {
    for (int i = 0; i < count; i++, to += D) {
        if (first + i < T) std::memcpy(to, x.at(b, first + i, h), D * sizeof(bf16));
        else std::memset(to, 0, D * sizeof(bf16));
    }
}

// Of 16 rows the next pairs, 16 or 8 as `left` numbers allow, a vector for each pair; gives how many they are.
inline int pairs_across(__m512i r[16], const bf16* from, int row, int left) {
    const bool is_whole = left >= 2 * kLanes;
    for (int j = 0; j < 16; j++)
        r[j] = is_whole ? _mm512_loadu_si512(from + j * row)
                        : _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)(from + j * row)));
    transpose_16x16(r);
    return is_whole ? 16 : 8;
}

// [count][D] -> [D / 2][count][2]
inline void pairs_of_width(bf16* to, const bf16* from, int count, int D) {
    for (int i = 0; i < count; i += kLanes)
        for (int d = 0; d < D; d += 2 * kLanes) {
            __m512i r[16];
            const int used = pairs_across(r, from + i * D + d, D, D - d);
            for (int j = 0; j < used; j++) _mm512_storeu_si512(to + ((d / 2 + j) * count + i) * 2, r[j]);
        }
}

// [count][D] -> [count / 2][D][2]
inline void pairs_of_tokens(bf16* to, const bf16* from, int count, int D) {
    for (int i = 0; i < count; i += 2)
        for (int d = 0; d < D; d += kLanes) {
            const __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(from + i * D + d)));
            const __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(from + (i + 1) * D + d)));
            _mm512_storeu_si512(to + (i / 2 * D + d) * 2, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
        }
}

// [count][D] -> [D][count]
inline void transposed(bf16* to, const bf16* from, int count, int D) {
    for (int i = 0; i < count; i += kLanes)
        for (int d = 0; d < D; d += 2 * kLanes) {
            __m512i r[16];
            const int used = pairs_across(r, from + i * D + d, D, D - d);
            for (int j = 0; j < used; j++) {
                const __m256i even = _mm512_cvtepi32_epi16(r[j]), odd = _mm512_cvtepi32_epi16(_mm512_srli_epi32(r[j], 16));
                _mm256_storeu_si256((__m256i*)(to + (d + 2 * j) * count + i), even);
                _mm256_storeu_si256((__m256i*)(to + (d + 2 * j + 1) * count + i), odd);
            }
        }
}

// from[D][row] in float32, times a number for each of its columns, of which `count` become tokens of [B, T, H, D].
inline void write_transposed(bf16* to, int64_t token, const float* from, int row, const float* scale, int count, int D) {
    for (int i = 0; i < count; i += kLanes)
        for (int d = 0; d < D; d += kLanes) {
            __m512i r[16];
            const __m512 factor = _mm512_loadu_ps(scale + i);
            for (int j = 0; j < 16; j++)
                r[j] = _mm512_castps_si512(_mm512_mul_ps(_mm512_loadu_ps(from + (d + j) * row + i), factor));
            transpose_16x16(r);
            for (int j = 0; j < std::min(kLanes, count - i); j++)
                store_bf16(to + (i + j) * token + d, _mm512_castsi512_ps(r[j]));
        }
}

}  // namespace duologue
