// Weights packed in panels of 32 outputs, and rows multiplied by a panel: in bfloat16, or in int8 with a scale for each
// output and each row. One panel is read once for up to 8 rows, so that a step of a search reads the weights once.
//
// Packed, with g = 2 numbers of bfloat16 or 4 of int8 side by side: [outputs / 32][inputs / g][32][g].
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#define DUOLOGUE_AVX512 1
#include "vectors.h"
#else
namespace duologue {
using bf16 = uint16_t;
}
#endif

namespace duologue {

constexpr int kPanel = 32;  // outputs in a panel
constexpr int kTile = 8;    // rows that share one reading of a panel

struct Matrix {
    const void* packed;
    const float* scales;    // of each output, for int8; else none
    const int32_t* shifts;  // 128 times the sum of each output's weights, for int8: rows are stored as 128 more than they are
    int32_t outputs, inputs;
    int panels() const { return (outputs + kPanel - 1) / kPanel; }
    bool is_int8() const { return scales != nullptr; }
};

inline float float_of(bf16 x) {
    const uint32_t bits = (uint32_t)x << 16;
    float found;
    std::memcpy(&found, &bits, sizeof found);
    return found;
}

inline bf16 bf16_of(float x) {  // to the nearest, ties to even; what is no number stays none
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (bf16)(bits >> 16 | 0x40);
    return (bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// ---------------------------------------------------------------------------------------------- rows to be multiplied

struct Inputs {  // rows as a matrix takes them: bfloat16, or bytes and a scale for each row
    uint8_t* bytes;
    float* scales;
    int64_t row;  // bytes of a row
    const uint8_t* at(int i) const { return bytes + i * row; }
};

inline void store_bf16_row(bf16* to, const float* from, int count) {
    int i = 0;
#ifdef DUOLOGUE_AVX512
    for (; i + kLanes <= count; i += kLanes) store_bf16(to + i, _mm512_loadu_ps(from + i));
#endif
    for (; i < count; i++) to[i] = bf16_of(from[i]);
}

// A row of floats becomes row i of the inputs.
inline void put_row(const Inputs& inputs, int i, const float* from, int count, bool is_int8) {
    uint8_t* to = inputs.bytes + i * inputs.row;
    if (!is_int8) return store_bf16_row((bf16*)to, from, count);
    float most = 0, nothing = 0;  // which is no number where a number of the row is none
#pragma omp simd reduction(max : most) reduction(+ : nothing)
    for (int c = 0; c < count; c++) {
        most = std::max(most, std::fabs(from[c]));
        nothing += 0 * from[c];
    }
    const float scale = most > 0 ? most / 127 : 1;
    const float times = 1 / scale;
    for (int c = 0; c < count; c++) to[c] = (uint8_t)(128 + (int)std::nearbyintf(from[c] * times));
    inputs.scales[i] = scale + nothing;
}

// ---------------------------------------------------------------------------------------------- a panel

#ifdef DUOLOGUE_AVX512

// out[R][32] = rows x panel in bfloat16. Each output has one sum, in one order, so that a row's neighbours change nothing.
template <int R>
void panel_bf16(const uint8_t* const rows[R], const bf16* panel, int pairs, float* out) {
    __m512 sum[R][2];
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int p = 0; p < pairs; p++) {
        const __m512bh a = (__m512bh)_mm512_loadu_si512(panel + p * 2 * kPanel);
        const __m512bh b = (__m512bh)_mm512_loadu_si512(panel + p * 2 * kPanel + kPanel);
        for (int r = 0; r < R; r++) {
            int32_t pair;
            std::memcpy(&pair, rows[r] + 4 * p, sizeof pair);
            const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], a, x);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], b, x);
        }
    }
    for (int r = 0; r < R; r++)
        for (int z = 0; z < 2; z++) _mm512_storeu_ps(out + r * kPanel + z * kLanes, sum[r][z]);
}

// The same in int8; what comes out is in units of the row's and the output's scale.
template <int R>
void panel_int8(const uint8_t* const rows[R], const int8_t* panel, int quads, const int32_t* shifts, float* out) {
    __m512i sum[R][2];
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    for (int q = 0; q < quads; q++) {
        const __m512i a = _mm512_loadu_si512(panel + q * 4 * kPanel);
        const __m512i b = _mm512_loadu_si512(panel + q * 4 * kPanel + 64);
        for (int r = 0; r < R; r++) {
            int32_t quad;
            std::memcpy(&quad, rows[r] + 4 * q, sizeof quad);
            const __m512i x = _mm512_set1_epi32(quad);
            sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], x, a);
            sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], x, b);
        }
    }
    for (int r = 0; r < R; r++)
        for (int z = 0; z < 2; z++) {
            const __m512i real = _mm512_sub_epi32(sum[r][z], _mm512_loadu_si512(shifts + z * kLanes));
            _mm512_storeu_ps(out + r * kPanel + z * kLanes, _mm512_cvtepi32_ps(real));
        }
}

#else  // for all other processors, in words that a compiler makes vectors of

template <int R>
void panel_bf16(const uint8_t* const rows[R], const bf16* panel, int pairs, float* out) {
    for (int r = 0; r < R; r++) {
        float sum[kPanel] = {};
        for (int p = 0; p < pairs; p++) {
            bf16 pair[2];
            std::memcpy(pair, rows[r] + 4 * p, sizeof pair);
            const float first = float_of(pair[0]), second = float_of(pair[1]);
            const uint32_t* weights = (const uint32_t*)panel + p * kPanel;
            for (int i = 0; i < kPanel; i++) {
                float low, high;
                const uint32_t low_bits = weights[i] << 16, high_bits = weights[i] & 0xffff0000u;
                std::memcpy(&low, &low_bits, sizeof low);
                std::memcpy(&high, &high_bits, sizeof high);
                sum[i] += first * low + second * high;
            }
        }
        std::memcpy(out + r * kPanel, sum, sizeof sum);
    }
}

template <int R>
void panel_int8(const uint8_t* const rows[R], const int8_t* panel, int quads, const int32_t* shifts, float* out) {
    for (int r = 0; r < R; r++) {
        int32_t sum[kPanel] = {};
        for (int q = 0; q < quads; q++)
            for (int i = 0; i < kPanel; i++) {
                const int8_t* weights = panel + (q * kPanel + i) * 4;
                const uint8_t* x = rows[r] + 4 * q;
                sum[i] += x[0] * weights[0] + x[1] * weights[1] + x[2] * weights[2] + x[3] * weights[3];
            }
        for (int i = 0; i < kPanel; i++) out[r * kPanel + i] = (float)(sum[i] - shifts[i]);
    }
}

#endif

template <int R>
void panel_rows(const Matrix& matrix, int panel, const Inputs& inputs, int first, float* out) {
    const uint8_t* rows[R];
    for (int r = 0; r < R; r++) rows[r] = inputs.at(first + r);
    const int64_t numbers = (int64_t)panel * kPanel * matrix.inputs;
    if (!matrix.is_int8()) return panel_bf16<R>(rows, (const bf16*)matrix.packed + numbers, matrix.inputs / 2, out);
    const int at = panel * kPanel;
    panel_int8<R>(rows, (const int8_t*)matrix.packed + numbers, matrix.inputs / 4, matrix.shifts + at, out);
    for (int r = 0; r < R; r++)
        for (int i = 0; i < kPanel; i++) out[r * kPanel + i] *= inputs.scales[first + r] * matrix.scales[at + i];
}

// Calls use(row, y) for each row, where y[32] is what the panel gives for it.
template <class Use>
void multiply(const Matrix& matrix, int panel, const Inputs& inputs, int num_rows, Use use) {
    alignas(64) float out[kTile * kPanel];
    for (int first = 0; first < num_rows; first += kTile) {
        const int count = std::min(kTile, num_rows - first);
        switch (count) {
            case 1: panel_rows<1>(matrix, panel, inputs, first, out); break;
            case 2: panel_rows<2>(matrix, panel, inputs, first, out); break;
            case 3: panel_rows<3>(matrix, panel, inputs, first, out); break;
            case 4: panel_rows<4>(matrix, panel, inputs, first, out); break;
            case 5: panel_rows<5>(matrix, panel, inputs, first, out); break;
            case 6: panel_rows<6>(matrix, panel, inputs, first, out); break;
            case 7: panel_rows<7>(matrix, panel, inputs, first, out); break;
            default: panel_rows<8>(matrix, panel, inputs, first, out);
        }
        for (int r = 0; r < count; r++) use(first + r, out + r * kPanel);
    }
}

}  // namespace duologue
