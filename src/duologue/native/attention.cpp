// Causal attention within the documents of packed rows, forward and backward, in blocks that stay in the cache.
//
// Numbers are bfloat16, sums are float32. All products are laid out so that the lanes of a vector are queries (or, for
// the gradients of keys and values, the head's width): the softmax then needs no sum across lanes, and the left factor
// of every product is read as broadcast pairs, the right one as [pairs][lanes][2], which is what vdpbf16ps multiplies.
//
// Names: b row of the batch, h query head, kv key-value head, m query, n key, d place in the head's width; T tokens in
// a row, D head width. "T" at the end of a buffer's name: transposed; "Pairs": two neighbours of the summed axis lie
// side by side. Rows are padded to whole blocks with zeros.
//
// Source: Dao 2023, arXiv:2307.08691 (FlashAttention-2).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "layouts.h"
#include "products.h"
#include "vectors.h"

namespace duologue {
namespace {

constexpr int kBlock = 64;  // queries and keys in a block
constexpr float kNever = -1e30f;
constexpr float kLog2E = 1.44269504088896f;

// ---------------------------------------------------------------------------------------------- who sees whom

struct Mask {  // query m sees the keys from first[m] to m
    const int32_t* first;
    int T;
    int first_of(int m) const { return first[std::min(m, T - 1)]; }
    // Whether every query of a block sees every key of a block.
    bool is_open(int m0, int n0) const { return n0 + kBlock <= m0 && n0 >= first_of(m0 + kBlock - 1); }
    int first_block(int m0) const { return first_of(m0) / kBlock * kBlock; }
    // The queries m0 ... m0 + 15 that see key n.
    __mmask16 lanes(int m0, int n) const {
        const __m512i m = _mm512_add_epi32(_mm512_set1_epi32(m0), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5,
                                                                                   4, 3, 2, 1, 0));
        const __mmask16 real = m0 + kLanes <= T ? 0xffff : m0 >= T ? 0 : (__mmask16)((1u << (T - m0)) - 1);
        const __m512i start = _mm512_maskz_loadu_epi32(real, first + m0);
        const __m512i key = _mm512_set1_epi32(n);
        return real & _mm512_cmple_epi32_mask(key, m) & _mm512_cmple_epi32_mask(start, key);
    }
};

void hide(float* scores_T, const Mask& mask, int m0, int n0) {
    for (int n = 0; n < kBlock; n++)
        for (int z = 0; z < kBlock; z += kLanes) {
            float* at = scores_T + n * kBlock + z;
            const __m512 seen = _mm512_loadu_ps(at);
            _mm512_storeu_ps(at, _mm512_mask_blend_ps(mask.lanes(m0 + z, n0 + n), _mm512_set1_ps(-INFINITY), seen));
        }
}

struct Shape {
    int32_t B, T, H, K, D;
    float scale;
    int padded() const { return (T + kBlock - 1) / kBlock * kBlock; }
};

struct Buffer {  // one block of memory, given out piece by piece; there is none where memory has ended
    char* base;
    size_t used = 0;
    explicit Buffer(size_t bytes) : base((char*)std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {}
    ~Buffer() { std::free(base); }
    Buffer(const Buffer&) = delete;
    template <class X>
    X* take(size_t count) {
        X* at = (X*)(base + used);
        used += (count * sizeof(X) + 63) / 64 * 64;
        return at;
    }
};

// ---------------------------------------------------------------------------------------------- products of blocks

// In a block on the diagonal a key is seen by the queries from its own place on. Of the others, as far as they fill
// whole vectors, nothing is computed: `use(i)` is called for each 16 keys, whose first query is the i-th 16's.
template <class Use>
void for_each_step(Use use) {
    use(std::integral_constant<int, 0>());
    use(std::integral_constant<int, 1>());
    use(std::integral_constant<int, 2>());
    use(std::integral_constant<int, 3>());
}

// [keys][queries] = left [keys][D] x right [D / 2][queries][2]
void by_width(bool is_diagonal, int D, const bf16* left, const bf16* right, float* out) {
    if (!is_diagonal) return product<4, false>(kBlock, D / 2, left, D, right, 2 * kBlock, out, kBlock);
    for_each_step([=](auto i) {
        const int at = kLanes * i;
        product<4 - i, false>(kLanes, D / 2, left + at * D, D, right + 2 * at, 2 * kBlock, out + at * kBlock + at, kBlock);
    });
}

// [D][queries] += left [D][keys] x right [keys / 2][queries][2]; `scale`, where given, first multiplies what is there.
void by_keys(bool is_diagonal, int D, const bf16* left, int64_t row, const bf16* right, float* out,
             const float* scale = nullptr) {
    if (!is_diagonal) return product<4, true>(D, kBlock / 2, left, row, right, 2 * kBlock, out, kBlock, scale);
    for_each_step([=](auto i) {
        const int at = kLanes * i;
        product<4 - i, true>(D, kLanes / 2, left + at, row, right + at * kBlock + 2 * at, 2 * kBlock, out + at, kBlock,
                             i == 0 ? scale : nullptr);
    });
}

// [keys][D] += left [keys][queries] x right [queries / 2][D][2]
void by_queries(bool is_diagonal, int D, const bf16* left, const bf16* right, float* out) {
    for (int at = 0; at < kBlock; at += kLanes) {
        const int first = is_diagonal ? at : 0;
        wide_product<true>(kLanes, (kBlock - first) / 2, left + at * kBlock + first, kBlock, right + first * D, 2 * D,
                           out + at * D, D, D);
    }
}

// ---------------------------------------------------------------------------------------------- forward

struct Softmax {  // of the queries of a block, over the keys seen so far
    float highest[kBlock], sum[kBlock], shrink[kBlock];
    void begin() {
        std::fill_n(highest, kBlock, kNever);
        std::fill_n(sum, kBlock, 0.0f);
    }
    // Turns scores_T[keys][queries] into weights as pairs of keys; `shrink` is what earlier results are multiplied by.
    void take(const float* scores_T, bf16* weights_pairs, float unit) {
        const __m512 to_log2 = _mm512_set1_ps(unit);
        for (int z = 0; z < kBlock; z += kLanes) {
            __m512 top = _mm512_loadu_ps(scores_T + z);
            for (int n = 1; n < kBlock; n++) top = _mm512_max_ps(top, _mm512_loadu_ps(scores_T + n * kBlock + z));
            const __m512 before = _mm512_loadu_ps(highest + z);
            top = _mm512_max_ps(before, _mm512_mul_ps(top, to_log2));
            const __m512 factor = exp2_of(_mm512_sub_ps(before, top));
            __m512 total = _mm512_mul_ps(_mm512_loadu_ps(sum + z), factor);
            for (int n = 0; n < kBlock; n += 2) {
                const float* at = scores_T + n * kBlock + z;
                const __m512 even = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(at), to_log2, top));
                const __m512 odd = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(at + kBlock), to_log2, top));
                total = _mm512_add_ps(total, _mm512_add_ps(even, odd));
                const __m512i pair = _mm512_or_si512(bits_of(even), _mm512_slli_epi32(bits_of(odd), 16));
                _mm512_storeu_si512(weights_pairs + (n / 2 * kBlock + z) * 2, pair);
            }
            _mm512_storeu_ps(highest + z, top);
            _mm512_storeu_ps(shrink + z, factor);
            _mm512_storeu_ps(sum + z, total);
        }
    }
};

bool forward_group(const Shape& s, const Strided& q, const Strided& k, const Strided& v, const Mask& mask, bf16* out,
                   float* log2_sums, int b, int kv) {
    const int P = s.padded(), D = s.D, group = s.H / s.K;
    Buffer memory(size_t(3) * P * D * 2 + size_t(2) * kBlock * D * 2 + D * kBlock * 4 + kBlock * kBlock * 6 + 4096);
    if (!memory.base) return false;
    bf16 *keys = memory.take<bf16>(P * D), *values = memory.take<bf16>(P * D), *values_T = memory.take<bf16>(P * D);
    bf16 *queries = memory.take<bf16>(kBlock * D), *queries_pairs = memory.take<bf16>(kBlock * D);
    bf16* weights = memory.take<bf16>(kBlock * kBlock);
    float *scores_T = memory.take<float>(kBlock * kBlock), *found_T = memory.take<float>(D * kBlock);
    gather(keys, k, b, kv, 0, P, s.T, D);
    gather(values, v, b, kv, 0, P, s.T, D);
    transposed(values_T, values, P, D);
    for (int h = kv * group; h < (kv + 1) * group; h++)
        for (int m0 = 0; m0 < s.T; m0 += kBlock) {
            gather(queries, q, b, h, m0, kBlock, s.T, D);
            pairs_of_width(queries_pairs, queries, kBlock, D);
            std::memset(found_T, 0, D * kBlock * sizeof(float));
            Softmax softmax;
            softmax.begin();
            for (int n0 = mask.first_block(m0); n0 <= m0; n0 += kBlock) {
                by_width(n0 == m0, D, keys + n0 * D, queries_pairs, scores_T);
                if (!mask.is_open(m0, n0)) hide(scores_T, mask, m0, n0);
                softmax.take(scores_T, weights, s.scale * kLog2E);
                by_keys(n0 == m0, D, values_T + n0, P, weights, found_T, softmax.shrink);
            }
            const int count = std::min(kBlock, s.T - m0);
            float inverse[kBlock];
            for (int m = 0; m < kBlock; m++) inverse[m] = 1.0f / std::max(softmax.sum[m], 1e-30f);
            for (int m = 0; m < count; m++)
                log2_sums[(int64_t(b) * s.H + h) * s.T + m0 + m] = softmax.highest[m] + std::log2(softmax.sum[m]);
            bf16* tokens = out + ((int64_t(b) * s.T + m0) * s.H + h) * D;
            write_transposed(tokens, int64_t(s.H) * D, found_T, kBlock, inverse, count, D);
        }
    return true;
}

// ---------------------------------------------------------------------------------------------- backward

// Weights and their errors from scores and products: both as [keys][queries], the errors as pairs of keys too.
void errors_of(const float* scores_T, const float* wanted_T, const float* log2_sum, const float* mean, float unit,
               bf16* weights, bf16* errors, bf16* errors_pairs) {
    const __m512 to_log2 = _mm512_set1_ps(unit);
    for (int z = 0; z < kBlock; z += kLanes) {
        const __m512 shift = _mm512_loadu_ps(log2_sum + z), centre = _mm512_loadu_ps(mean + z);
        for (int n = 0; n < kBlock; n += 2) {
            __m512i bits[2];
            for (int i = 0; i < 2; i++) {
                const int at = (n + i) * kBlock + z;
                const __m512 weight = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores_T + at), to_log2, shift));
                const __m512 error = _mm512_mul_ps(weight, _mm512_sub_ps(_mm512_loadu_ps(wanted_T + at), centre));
                const __m256i narrow = (__m256i)_mm512_cvtneps_pbh(error);
                store_bf16(weights + at, weight);
                _mm256_storeu_si256((__m256i*)(errors + at), narrow);
                bits[i] = _mm512_cvtepu16_epi32(narrow);
            }
            const __m512i pair = _mm512_or_si512(bits[0], _mm512_slli_epi32(bits[1], 16));
            _mm512_storeu_si512(errors_pairs + (n / 2 * kBlock + z) * 2, pair);
        }
    }
}

void write_rows(bf16* to, int64_t token, const float* from, float scale, int count, int D) {
    const __m512 factor = _mm512_set1_ps(scale);
    for (int i = 0; i < count; i++)
        for (int d = 0; d < D; d += kLanes)
            store_bf16(to + i * token + d, _mm512_mul_ps(_mm512_loadu_ps(from + i * D + d), factor));
}

float dot(const bf16* x, const bf16* y, int D) {
    __m512 sum = _mm512_setzero_ps();
    for (int d = 0; d < D; d += kLanes) sum = _mm512_fmadd_ps(load_bf16(x + d), load_bf16(y + d), sum);
    return _mm512_reduce_add_ps(sum);
}

bool backward_group(const Shape& s, const Strided& q, const Strided& k, const Strided& v, const Strided& found,
                    const Strided& grad, const Mask& mask, const float* log2_sums, bf16* grad_q, bf16* grad_k,
                    bf16* grad_v, int b, int kv) {
    const int P = s.padded(), D = s.D, group = s.H / s.K;
    const size_t whole = size_t(P) * D, block = size_t(kBlock) * D, square = kBlock * kBlock;
    Buffer memory(whole * (3 * 2 + 2 * 4) + block * (6 * 2 + 4) + square * (3 * 2 + 2 * 4) + 8192);
    if (!memory.base) return false;
    bf16 *keys = memory.take<bf16>(whole), *values = memory.take<bf16>(whole), *keys_T = memory.take<bf16>(whole);
    float *sum_k = memory.take<float>(whole), *sum_v = memory.take<float>(whole), *sum_q_T = memory.take<float>(block);
    bf16 *queries = memory.take<bf16>(block), *queries_width = memory.take<bf16>(block),
         *queries_tokens = memory.take<bf16>(block);
    bf16 *grads = memory.take<bf16>(block), *grads_width = memory.take<bf16>(block),
         *grads_tokens = memory.take<bf16>(block);
    bf16 *weights = memory.take<bf16>(square), *errors = memory.take<bf16>(square),
         *errors_pairs = memory.take<bf16>(square);
    float *scores_T = memory.take<float>(square), *wanted_T = memory.take<float>(square);
    gather(keys, k, b, kv, 0, P, s.T, D);
    gather(values, v, b, kv, 0, P, s.T, D);
    transposed(keys_T, keys, P, D);
    std::memset(sum_k, 0, whole * sizeof(float));
    std::memset(sum_v, 0, whole * sizeof(float));
    float log2_sum[kBlock], mean[kBlock], scale[kBlock];
    std::fill_n(scale, kBlock, s.scale);
    for (int h = kv * group; h < (kv + 1) * group; h++)
        for (int m0 = 0; m0 < s.T; m0 += kBlock) {
            const int count = std::min(kBlock, s.T - m0);
            gather(queries, q, b, h, m0, kBlock, s.T, D);
            gather(grads, grad, b, h, m0, kBlock, s.T, D);
            pairs_of_width(queries_width, queries, kBlock, D);
            pairs_of_width(grads_width, grads, kBlock, D);
            pairs_of_tokens(queries_tokens, queries, kBlock, D);
            pairs_of_tokens(grads_tokens, grads, kBlock, D);
            for (int m = 0; m < kBlock; m++) {
                log2_sum[m] = m < count ? log2_sums[(int64_t(b) * s.H + h) * s.T + m0 + m] : -kNever;
                mean[m] = m < count ? dot(grads + m * D, found.at(b, m0 + m, h), D) : 0.0f;
            }
            std::memset(sum_q_T, 0, block * sizeof(float));
            for (int n0 = mask.first_block(m0); n0 <= m0; n0 += kBlock) {
                by_width(n0 == m0, D, keys + n0 * D, queries_width, scores_T);
                by_width(n0 == m0, D, values + n0 * D, grads_width, wanted_T);
                if (!mask.is_open(m0, n0)) hide(scores_T, mask, m0, n0);
                errors_of(scores_T, wanted_T, log2_sum, mean, s.scale * kLog2E, weights, errors, errors_pairs);
                by_queries(n0 == m0, D, weights, grads_tokens, sum_v + n0 * D);
                by_queries(n0 == m0, D, errors, queries_tokens, sum_k + n0 * D);
                by_keys(n0 == m0, D, keys_T + n0, P, errors_pairs, sum_q_T);
            }
            bf16* tokens = grad_q + ((int64_t(b) * s.T + m0) * s.H + h) * D;
            write_transposed(tokens, int64_t(s.H) * D, sum_q_T, kBlock, scale, count, D);
        }
    const int64_t first = (int64_t(b) * s.T * s.K + kv) * D, token = int64_t(s.K) * D;
    write_rows(grad_k + first, token, sum_k, s.scale, s.T, D);
    write_rows(grad_v + first, token, sum_v, 1.0f, s.T, D);
    return true;
}

}  // namespace
}  // namespace duologue

// q [B, T, H, D], k and v [B, T, K, D] lie as their strides say; first_seen [B, T], out [B, T, H, D] and log2_sums
// [B, H, T] are contiguous. A key-value head with its query heads is one piece of work, so that no sum depends on the
// number of threads. Both give whether there was memory for it.
extern "C" {

bool attention_forward(const duologue::Shape* s, const duologue::Strided* q, const duologue::Strided* k,
                       const duologue::Strided* v, const int32_t* first_seen, duologue::bf16* out, float* log2_sums) {
    int missed = 0;
#pragma omp parallel for schedule(static) reduction(+ : missed)
    for (int i = 0; i < s->B * s->K; i++) {
        const int b = i / s->K;
        const duologue::Mask mask{first_seen + int64_t(b) * s->T, s->T};
        missed += !duologue::forward_group(*s, *q, *k, *v, mask, out, log2_sums, b, i % s->K);
    }
    return missed == 0;
}

bool attention_backward(const duologue::Shape* s, const duologue::Strided* q, const duologue::Strided* k,
                        const duologue::Strided* v, const int32_t* first_seen, const duologue::Strided* out,
                        const float* log2_sums, const duologue::Strided* grad, duologue::bf16* grad_q,
                        duologue::bf16* grad_k, duologue::bf16* grad_v) {
    int missed = 0;
#pragma omp parallel for schedule(static) reduction(+ : missed)
    for (int i = 0; i < s->B * s->K; i++) {
        const int b = i / s->K;
        const duologue::Mask mask{first_seen + int64_t(b) * s->T, s->T};
        missed += !duologue::backward_group(*s, *q, *k, *v, *out, *grad, mask, log2_sums, grad_q, grad_k, grad_v, b,
                                            i % s->K);
    }
    return missed == 0;
}
}
