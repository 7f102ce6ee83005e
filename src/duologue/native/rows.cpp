// The primitive of generation as one call: rows of tokens through the whole model, each seeing the slots of its lane that
// its mask opens (generation/rows.py says the same in PyTorch, and is what this is tested against).
//
// Sums and what runs from layer to layer are float32; what is multiplied is bfloat16 or int8. A row's result does not
// depend on the rows beside it: each is summed in one order, whatever their number.
//
// Names: N rows, M width, H query heads, K key-value heads, G = H / K, D head width, F width of the feed-forward.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include <omp.h>

#include "packed_matrix.h"
#include "row_attention.h"

namespace duologue {
namespace {

struct Layer {
    const float *attention_norm, *ffn_norm;  // [M]
    const float *q_norm, *k_norm;            // [D], or none
    Matrix qkv, output, gate_up, down;       // gate_up: in each panel 16 outputs of the gate, then 16 of the other
    bf16 *keys, *values;                     // [slots, K, D]
};

struct Model {
    int32_t num_layers, M, H, K, D, F, vocab_size;
    float eps;
    const bf16* embedding;      // [V, M]
    const float* last_norm;     // [M]
    const float* frequencies;   // [D / 2]
    Matrix head;                // [V, M]
    const Layer* layers;
    bool is_int8() const { return head.is_int8(); }
};

struct Part {  // rows of one lane
    int64_t start;      // the lane's first slot in the arena
    int32_t num_rows, num_slots;
    const float* mask;  // [num_rows, num_slots]: below zero where a row may not look
};

// ---------------------------------------------------------------------------------------------- what a call needs

template <class X>
struct Aligned {  // memory that is kept from call to call, and grows
    X* at = nullptr;
    size_t size = 0;
    X* take(size_t count) {
        if (count > size) {
            std::free(at);
            size = count + count / 4;
            at = (X*)std::aligned_alloc(64, (size * sizeof(X) + 63) / 64 * 64);
            if (!at) {
                size = 0;
                throw std::bad_alloc();
            }
        }
        return at;
    }
    ~Aligned() { std::free(at); }
};

struct Workspace {
    Aligned<float> x, qkv, found, hidden, scores, angles, scales;
    Aligned<uint8_t> bytes;
    Aligned<bf16> queries;
    std::vector<int64_t> slots;       // those that rows see, row after row
    std::vector<int64_t> slots_from;  // [N + 1]
};

Workspace& workspace() {
    static thread_local Workspace kept;
    return kept;
}

void list_slots(Workspace& work, const Part* parts, int num_parts) {
    work.slots.clear();
    work.slots_from.assign(1, 0);
    for (int p = 0; p < num_parts; p++)
        for (int r = 0; r < parts[p].num_rows; r++) {
            const float* mask = parts[p].mask + (int64_t)r * parts[p].num_slots;
            for (int s = 0; s < parts[p].num_slots; s++)
                if (mask[s] >= 0) work.slots.push_back(parts[p].start + s);
            work.slots_from.push_back((int64_t)work.slots.size());
        }
}

// ---------------------------------------------------------------------------------------------- small parts

void normalised(float* to, const float* from, const float* weight, int count, float eps) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; i++) sum += from[i] * from[i];
    const float times = 1 / std::sqrt(sum / count + eps);
    for (int i = 0; i < count; i++) to[i] = from[i] * times * weight[i];
}

// One head of one row: norm where the model has it, then turned by its angles.
void turned(float* x, const float* norm, float eps, const float* cosines, const float* sines, int D) {
    if (norm) normalised(x, x, norm, D, eps);
    for (int i = 0; i < D / 2; i++) {
        const float a = x[i], b = x[i + D / 2];
        x[i] = a * cosines[i] - b * sines[i];
        x[i + D / 2] = b * cosines[i] + a * sines[i];
    }
}

void gated(float* to, const float* gate, const float* up) {
#ifdef DUOLOGUE_AVX512
    const __m512 g = _mm512_loadu_ps(gate);
    const __m512 e = exp2_of(_mm512_mul_ps(g, _mm512_set1_ps(-1.44269504088896f)));
    const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(e, _mm512_set1_ps(1.0f)));
    _mm512_storeu_ps(to, _mm512_mul_ps(silu, _mm512_loadu_ps(up)));
#else
    for (int i = 0; i < kPanel / 2; i++) to[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
#endif
}

// ---------------------------------------------------------------------------------------------- a pass

// One thread's part of a pass; all threads run it side by side and meet at the barriers.
struct Pass {
    const Model& model;
    const int32_t *tokens, *positions;
    const int64_t* places;
    int N;
    Workspace& work;
    float *x, *qkv, *found, *hidden, *angles;
    bf16* queries;
    Inputs inputs;
    int score_room;

    Pass(const Model& model, int N, const int32_t* tokens, const int32_t* positions, const int64_t* places,
         Workspace& work, int num_threads)
        : model(model), tokens(tokens), positions(positions), places(places), N(N), work(work) {
        const int widest = std::max({model.M, model.H * model.D, model.F});
        const int64_t row = (int64_t)(widest + 31) / 32 * 32 * 2;
        x = work.x.take((size_t)N * model.M);
        qkv = work.qkv.take((size_t)N * qkv_row());
        found = work.found.take((size_t)N * model.H * model.D);
        hidden = work.hidden.take((size_t)N * model.F);
        angles = work.angles.take((size_t)N * model.D);
        queries = work.queries.take((size_t)N * model.H * model.D);
        inputs = {work.bytes.take((size_t)N * row), work.scales.take(N), row};
        int64_t most = 1;
        for (int i = 0; i < N; i++) most = std::max(most, work.slots_from[i + 1] - work.slots_from[i]);
        score_room = (int)(most * (model.H / model.K) + kPanel);
        work.scores.take((size_t)num_threads * score_room);
    }

    int qkv_row() const { return (model.H + 2 * model.K) * model.D; }

    template <class Use>
    void for_each_row(int thread, int num_threads, Use use) const {
        for (int i = N * (int64_t)thread / num_threads; i < N * (int64_t)(thread + 1) / num_threads; i++) use(i);
    }

    // y(row, first output, numbers) for each panel of this thread.
    template <class Use>
    void product(const Matrix& matrix, int thread, int num_threads, Use use) const {
        const int64_t panels = matrix.panels();
        for (int p = panels * thread / num_threads; p < panels * (thread + 1) / num_threads; p++)
            multiply(matrix, p, inputs, N, [&](int row, const float* y) { use(row, p * kPanel, y); });
    }

    void add_to_x(const Matrix& matrix, int thread, int num_threads) const {
        product(matrix, thread, num_threads, [&](int row, int first, const float* y) {
            float* to = x + (int64_t)row * model.M + first;
            for (int i = 0; i < std::min(kPanel, model.M - first); i++) to[i] += y[i];
        });
    }

    void start(int thread, int num_threads) const {
        for_each_row(thread, num_threads, [&](int i) {
            const bf16* from = model.embedding + (int64_t)tokens[i] * model.M;
            for (int c = 0; c < model.M; c++) x[(int64_t)i * model.M + c] = float_of(from[c]);
            for (int c = 0; c < model.D / 2; c++) {
                const float angle = positions[i] * model.frequencies[c];
                angles[(int64_t)i * model.D + c] = std::cos(angle);
                angles[(int64_t)i * model.D + model.D / 2 + c] = std::sin(angle);
            }
        });
    }

    void put_normalised(const float* norm, int thread, int num_threads) const {
        std::vector<float> row(model.M);
        for_each_row(thread, num_threads, [&](int i) {
            normalised(row.data(), x + (int64_t)i * model.M, norm, model.M, model.eps);
            put_row(inputs, i, row.data(), model.M, model.is_int8());
        });
    }

    void put(const float* rows, int count, int thread, int num_threads) const {
        for_each_row(thread, num_threads, [&](int i) {
            put_row(inputs, i, rows + (int64_t)i * count, count, model.is_int8());
        });
    }

    // Queries are turned and kept; keys are turned and, with the values, written into their slots.
    void place_heads(const Layer& layer, int thread, int num_threads) const {
        const int H = model.H, K = model.K, D = model.D;
        for_each_row(thread, num_threads, [&](int i) {
            float* row = qkv + (int64_t)i * qkv_row();
            const float *cosines = angles + (int64_t)i * D, *sines = cosines + D / 2;
            for (int h = 0; h < H; h++) turned(row + h * D, layer.q_norm, model.eps, cosines, sines, D);
            for (int k = 0; k < K; k++) turned(row + (H + k) * D, layer.k_norm, model.eps, cosines, sines, D);
            store_bf16_row(queries + (int64_t)i * H * D, row, H * D);
            store_bf16_row(layer.keys + places[i] * K * D, row + H * D, K * D);
            store_bf16_row(layer.values + places[i] * K * D, row + (H + K) * D, K * D);
        });
    }

    void attend_all(const Layer& layer, int thread, int num_threads) const {
        const int K = model.K, D = model.D, G = model.H / K;
        float* scores = work.scores.at + (size_t)thread * score_room;
        for (int64_t task = thread; task < (int64_t)N * K; task += num_threads) {
            const int64_t i = task / K, k = task % K;
            const int64_t from = work.slots_from[i], count = work.slots_from[i + 1] - from;
            const int64_t at = (i * model.H + k * G) * D;
            const Slab keys = {layer.keys + k * D, (int64_t)K * D}, values = {layer.values + k * D, (int64_t)K * D};
            attend(queries + at, G, D, keys, values, work.slots.data() + from, (int)count, scores, found + at);
        }
    }

    void run_layer(const Layer& layer, int thread, int num_threads) const {
        put_normalised(layer.attention_norm, thread, num_threads);
#pragma omp barrier
        product(layer.qkv, thread, num_threads, [&](int row, int first, const float* y) {
            const int count = std::min(kPanel, qkv_row() - first);
            std::memcpy(qkv + (int64_t)row * qkv_row() + first, y, count * sizeof(float));
        });
#pragma omp barrier
        place_heads(layer, thread, num_threads);
#pragma omp barrier
        attend_all(layer, thread, num_threads);
#pragma omp barrier
        put(found, model.H * model.D, thread, num_threads);
#pragma omp barrier
        add_to_x(layer.output, thread, num_threads);
#pragma omp barrier
        put_normalised(layer.ffn_norm, thread, num_threads);
#pragma omp barrier
        product(layer.gate_up, thread, num_threads, [&](int row, int first, const float* y) {
            gated(hidden + (int64_t)row * model.F + first / 2, y, y + kPanel / 2);
        });
#pragma omp barrier
        put(hidden, model.F, thread, num_threads);
#pragma omp barrier
        add_to_x(layer.down, thread, num_threads);
#pragma omp barrier
    }
};

}  // namespace
}  // namespace duologue

using namespace duologue;

// Rows through the layers and the last norm, hidden [N, M]; their keys and values go to `places`, slots of the arena.
// Gives 0, or 1 where memory has ended.
extern "C" int32_t run_rows(const Model* model, int32_t num_parts, const Part* parts, const int32_t* tokens,
                            const int32_t* positions, const int64_t* places, float* hidden, int32_t num_threads) try {
    int N = 0;
    for (int p = 0; p < num_parts; p++) N += parts[p].num_rows;
    Workspace& work = workspace();
    list_slots(work, parts, num_parts);
    const Pass pass(*model, N, tokens, positions, places, work, num_threads);
#pragma omp parallel num_threads(num_threads)
    {
        const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
        pass.start(thread, threads);
        for (int layer = 0; layer < model->num_layers; layer++) pass.run_layer(model->layers[layer], thread, threads);
        pass.for_each_row(thread, threads, [&](int i) {
            const int64_t at = (int64_t)i * model->M;
            normalised(hidden + at, pass.x + at, model->last_norm, model->M, model->eps);
        });
    }
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}

// What the head says of hidden [N, M]: logits [N, V].
extern "C" int32_t logits_of(const Model* model, int32_t N, const float* hidden, float* logits, int32_t num_threads) try {
    Workspace& work = workspace();
    const int64_t row = (int64_t)(model->M + 31) / 32 * 32 * 2;
    const Inputs inputs = {work.bytes.take((size_t)N * row), work.scales.take(N), row};
    const int64_t panels = model->head.panels();
    for (int i = 0; i < N; i++) put_row(inputs, i, hidden + (int64_t)i * model->M, model->M, model->is_int8());
#pragma omp parallel num_threads(num_threads)
    {
        const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
        for (int p = panels * thread / threads; p < panels * (thread + 1) / threads; p++)
            multiply(model->head, p, inputs, N, [&](int i, const float* y) {
                const int count = std::min(kPanel, model->vocab_size - p * kPanel);
                std::memcpy(logits + (int64_t)i * model->vocab_size + p * kPanel, y, count * sizeof(float));
            });
    }
    return 0;
} catch (const std::bad_alloc&) {
    return 1;
}
