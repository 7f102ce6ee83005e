// Products of small matrices whose right factor and result stay in the cache.
#pragma once

#include <cstring>

#include "vectors.h"

namespace duologue {

constexpr int kRows = 4;  // rows of a product that are summed at once

// c[rows][16 * NZ] (+)= a[rows][2 * pairs] x b[pairs][16 * NZ][2]; `scale`, where given, first multiplies what is in c.
template <int NZ, bool ADD>
void product(int rows, int pairs, const bf16* a, int64_t a_row, const bf16* b, int64_t b_pair, float* c, int64_t c_row,
             const float* scale = nullptr) {
    for (int r = 0; r < rows; r += kRows) {
        __m512 sum[kRows][NZ];
        for (int i = 0; i < kRows; i++)
            for (int z = 0; z < NZ; z++) {
                if (!ADD) {
                    sum[i][z] = _mm512_setzero_ps();
                } else {
                    sum[i][z] = _mm512_loadu_ps(c + (r + i) * c_row + z * kLanes);
                    if (scale) sum[i][z] = _mm512_mul_ps(sum[i][z], _mm512_loadu_ps(scale + z * kLanes));
                }
            }
        const bf16* rows_of_a = a + r * a_row;
        for (int p = 0; p < pairs; p++) {
            __m512bh right[NZ];
            for (int z = 0; z < NZ; z++) right[z] = (__m512bh)_mm512_loadu_si512(b + p * b_pair + z * 2 * kLanes);
            for (int i = 0; i < kRows; i++) {
                int32_t pair;
                std::memcpy(&pair, rows_of_a + i * a_row + 2 * p, sizeof pair);
                const __m512bh left = (__m512bh)_mm512_set1_epi32(pair);
                for (int z = 0; z < NZ; z++) sum[i][z] = _mm512_dpbf16_ps(sum[i][z], left, right[z]);
            }
        }
        for (int i = 0; i < kRows; i++)
            for (int z = 0; z < NZ; z++) _mm512_storeu_ps(c + (r + i) * c_row + z * kLanes, sum[i][z]);
    }
}

// The same for any number of vectors.
template <bool ADD>
void wide_product(int rows, int pairs, const bf16* a, int64_t a_row, const bf16* b, int64_t b_pair, float* c,
                  int64_t c_row, int lanes) {
    int z = 0;
    for (; z + 64 <= lanes; z += 64) product<4, ADD>(rows, pairs, a, a_row, b + 2 * z, b_pair, c + z, c_row);
    if (lanes - z == 48) product<3, ADD>(rows, pairs, a, a_row, b + 2 * z, b_pair, c + z, c_row);
    if (lanes - z == 32) product<2, ADD>(rows, pairs, a, a_row, b + 2 * z, b_pair, c + z, c_row);
    if (lanes - z == 16) product<1, ADD>(rows, pairs, a, a_row, b + 2 * z, b_pair, c + z, c_row);
}

}  // namespace duologue
