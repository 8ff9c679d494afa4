// The kernel for cores with Helium, the vectors of Armv8.1-M; integers are all it takes.
//
// Units go in groups of eight, of which the first is what does not fill eight. To a group's gates,
// in Q3.12, each matrix adds its part; then the eight units take their step in the lanes of vectors
// of int16. A row of weights meets 16 values in one instruction, and the last turn of that loop
// takes no more columns than are left: neither weights nor values are padded.
//
// Lanes beyond a group that is not full hold whatever lies behind its weights, which are those of
// the next group (hence the first is the odd one), and are never stored.
//
// What is assembly: loops with a predicated last turn and predicated lanes, for which gcc 12 has
// neither pattern nor economy.

// Scheduling makes more vectors live than the core has; and the assembly wants every register.
#pragma GCC optimize("no-schedule-insns", "omit-frame-pointer")

#include <arm_mve.h>
#include <stdbool.h>
#include <stddef.h>

#include "activation.h"
#include "config.h"
#include "lstm.h"

#if !defined(__ARM_FEATURE_MVE)
#error "lstm_helium.c needs a core with Helium, and -mfloat-abi=hard or softfp"
#endif

// Order of the gates in every array here but scattered weights.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_OUTPUT,
    GATE_CELL,
    GATES
};

#define LSTM_LANES 8u

// Dense matrices of fewer columns, and those of fewer units than lanes, are laid out by columns.
#define LSTM_MANY_COLUMNS 5u

// A gate's scale, sums -> Q3.12. Both factors are those of VQRDMULH: value * factor / 2^31,
// rounded. The second is a right shift that rounds halves away from zero, as the reference does.
typedef struct {
    int32_t multiplier;
    int32_t divisor;
    int32_t left;  // shift before both; 0 where the divisor is not 1
} lstm_scale_t;

// What layer->constants holds. Powers of two are shifts to the left, mostly negative.
typedef struct {
    lstm_scale_t input_scale[GATES];
    lstm_scale_t recurrent_scale[GATES];
    int32_t update_shift;       // input gate * cell gate -> cell
    int32_t hidden_multiplier;  // tanh(cell) * output gate -> hidden
    int32_t hidden_shift;
    int32_t cell_clip;         // the cell stays in [-cell_clip, cell_clip]; 0: no clip
    int32_t cell_scale_power;  // the cell's scale is 2^this, -18..-9
} lstm_constants_t;

// What all layers have in common, the compiler may know.
#ifdef LSTM_CELL_POWER
#define LSTM_POWER_OF(constants) LSTM_CELL_POWER
#else
#define LSTM_POWER_OF(constants) (constants)->cell_scale_power
#endif
#ifdef LSTM_CELL_CLIP
#define LSTM_CLIP_OF(constants) LSTM_CELL_CLIP
#else
#define LSTM_CLIP_OF(constants) (constants)->cell_clip
#endif

// The gates of eight units: Q3.12, then Q0.15.
typedef int16_t lstm_gates_t[GATES][LSTM_LANES];

// What is being computed: the gates of some units.
typedef struct {
    lstm_gates_t gates;
    // For the assembly, which moves on from gate to gate and finds the end of the gates here.
    struct lstm_next {
        int16_t *gate;
        uint32_t units;
        const lstm_scale_t *scale;
    } next;
} lstm_work_t;

// Sums of even units in q2 and of odd ones in q3 become lanes of Q3.12 in q0. Moves on from the
// scale at r7; changes r8 to r10.
#if LSTM_SHIFTS_LEFT
#define LSTM_SHIFT "vshl.s32 q2, r10\n vshl.s32 q3, r10\n"
#else
#define LSTM_SHIFT ""
#endif
#define LSTM_SCALE                                                                                 \
    "ldm r7!, {r8, r9, r10}\n" LSTM_SHIFT "vqrdmulh.s32 q2, q2, r8\n"                              \
    "vqrdmulh.s32 q3, q3, r8\n"                                                                    \
    "vqrdmulh.s32 q2, q2, r9\n"                                                                    \
    "vqrdmulh.s32 q3, q3, r9\n"                                                                    \
    "vqmovnb.s32 q0, q2\n"                                                                         \
    "vqmovnt.s32 q0, q3\n"

// Four rows of weights, the first at r5, each two rows after the one before, times the r3 values at
// r2. The sums are in r4, r6, r8 and r10: VMLADAV takes registers of even numbers.
#define LSTM_ROWS                                                                                  \
    "mov r12, r2\n"                                                                                \
    "add r7, r5, r3, lsl #1\n"                                                                     \
    "add r9, r7, r3, lsl #1\n"                                                                     \
    "add r11, r9, r3, lsl #1\n"                                                                    \
    "dlstp.8 lr, r3\n"                                                                             \
    "2:\n"                                                                                         \
    "vldrb.8 q0, [r12], #16\n"                                                                     \
    "vldrb.8 q1, [r5], #16\n"                                                                      \
    "vmladava.s8 r4, q0, q1\n"                                                                     \
    "vldrb.8 q1, [r7], #16\n"                                                                      \
    "vmladava.s8 r6, q0, q1\n"                                                                     \
    "vldrb.8 q1, [r9], #16\n"                                                                      \
    "vmladava.s8 r8, q0, q1\n"                                                                     \
    "vldrb.8 q1, [r11], #16\n"                                                                     \
    "vmladava.s8 r10, q0, q1\n"                                                                    \
    "letp lr, 2b\n"

// Add a dense matrix by rows to the gates of units: gate after gate, unit after unit.
__attribute__((noinline, unused)) static void lstm_add_rows(const int8_t *weights,
                                                            const int32_t *bias,
                                                            const int8_t *values, uint32_t columns,
                                                            struct lstm_next *next) {
    register const int8_t *row __asm__("r0") = weights;
    register const int32_t *first __asm__("r1") = bias;
    register const int8_t *given __asm__("r2") = values;
    register uint32_t count __asm__("r3") = columns;
    __asm__ volatile("1:\n"
                     // Even units. The biases of odd ones come along and are overwritten.
                     "ldm r1, {r4-r10}\n"
                     "mov r5, r0\n" LSTM_ROWS  //
                     "vmov q2[2], q2[0], r4, r8\n"
                     "vmov q2[3], q2[1], r6, r10\n"
                     // Odd units.
                     "adds r4, r1, #4\n"
                     "ldm r4, {r4-r10}\n"
                     "adds r5, r0, r3\n" LSTM_ROWS  //
                     "vmov q3[2], q3[0], r4, r8\n"
                     "vmov q3[3], q3[1], r6, r10\n"
                     "ldr r12, %[next]\n"
                     "ldm r12, {r5, r6, r7}\n" LSTM_SCALE  // from here on r5 is the gate
                     "vldrh.16 q1, [r5]\n"
                     "vqadd.s16 q0, q0, q1\n"
                     "vstrh.16 q0, [r5], #16\n"
                     "mla r0, r6, r3, r0\n"
                     "add r1, r1, r6, lsl #2\n"
                     "stm r12, {r5, r6, r7}\n"
                     "cmp r5, r12\n"
                     "bne 1b\n"
                     : "+r"(row), "+r"(first)
                     : "r"(given), "r"(count), [next] "m"(next)
                     : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "q0", "q1",
                       "q2", "q3", "cc", "memory");
}

// Set the gates of units to a dense matrix by columns: gate after gate, column after column, the
// even units, then the odd ones.
__attribute__((noinline, unused)) static void
lstm_set_columns(const int8_t *weights, const int32_t *bias, const int8_t *values, uint32_t columns,
                 struct lstm_next *next) {
    register const int8_t *column __asm__("r0") = weights;
    register const int32_t *first __asm__("r1") = bias;
    register const int8_t *given __asm__("r2") = values;
    register uint32_t more __asm__("r3") = columns - 1;
    __asm__ volatile("ldr lr, %[next]\n"
                     "ldrd r6, r11, [lr]\n"
                     "ldr r7, [lr, #8]\n"
                     "add r4, r11, #1\n"
                     "lsrs r4, r4, #1\n"  // even units
                     "1:\n"
                     "vld20.32 {q2, q3}, [r1]\n"
                     "vld21.32 {q2, q3}, [r1]\n"
                     "add r1, r1, r11, lsl #2\n"
                     "ldrsb r8, [r2]\n"
                     "adds r5, r0, r4\n"
                     "vldrb.s32 q0, [r0]\n"
                     "add r0, r11\n"
                     "vldrb.s32 q1, [r5]\n"
                     "vmla.s32 q2, q0, r8\n"
                     "vmla.s32 q3, q1, r8\n"
                     "cbnz r3, 3f\n"
                     "2:\n" LSTM_SCALE  //
                     "vstrh.16 q0, [r6], #16\n"
                     "cmp r6, lr\n"
                     "bne 1b\n"
                     "b 5f\n"
                     // The columns after the first.
                     "3:\n"
                     "mov r9, r3\n"
                     "add r12, r2, #1\n"
                     "4:\n"
                     "ldrsb r8, [r12], #1\n"
                     "adds r5, r0, r4\n"
                     "vldrb.s32 q0, [r0]\n"
                     "add r0, r11\n"
                     "vldrb.s32 q1, [r5]\n"
                     "vmla.s32 q2, q0, r8\n"
                     "vmla.s32 q3, q1, r8\n"
                     "subs r9, #1\n"
                     "bne 4b\n"
                     "b 2b\n"
                     "5:\n"
                     : "+r"(column), "+r"(first)
                     : "r"(given), "r"(more), [next] "m"(next)
                     : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "q0", "q1",
                       "q2", "q3", "cc", "memory");
}

// -value where `sign` is negative.
static inline int16x8_t lstm_signed(int16x8_t value, int16x8_t sign) {
    __asm__("vpt.s16 lt, %q[sign], zr\n"
            "vnegt.s16 %q[value], %q[value]\n"
            : [value] "+w"(value)
            : [sign] "w"(sign)
            : "p0");
    return value;
}

// Sigmoid of eight values, Q3.12 -> Q0.15. That of -x is 1 less that of x.
static inline int16x8_t lstm_sigmoid(const int16_t *values) {
    // 3/512 knots per step: a knot, and how far from it in 2^-16 of the way to the next. Sigmoid is
    // the same at -32,768 and -32,767.
    int16x8_t magnitude = vqabsq_s16(vld1q_s16(values));
    uint16x8_t knot = vreinterpretq_u16_s16(vqdmulhq_n_s16(magnitude, 384 / 2));
    uint16x8_t rest = vreinterpretq_u16_s16(vmulq_n_s16(magnitude, 384));
    uint16x8_t low = vldrhq_gather_shifted_offset_u16(activation_table, knot);
    uint16x8_t high = vldrhq_gather_shifted_offset_u16(activation_table + 1, knot);
    uint16x8_t line = vrhaddq_u16(low, vmulhq_u16(vsubq_u16(high, low), rest));
    int16x8_t result = vreinterpretq_s16_u16(line);
    // The sign is read again: a vector less to keep.
    int16x8_t sign;
    __asm__("vldrh.s16 %q[sign], %[values]\n"
            "vptt.s16 lt, %q[sign], zr\n"
            "vnegt.s16 %q[result], %q[result]\n"
            "vbict.i16 %q[result], #0x8000\n"
            : [result] "+w"(result), [sign] "=&w"(sign)
            : [values] "m"(*(const int16x8_t *)(const void *)values)
            : "p0");
    return result;
}

// Tanh of what has the sign of `value`, from its place between the knots.
static inline int16x8_t lstm_tanh_between(int16x8_t value, uint16x8_t knot, uint16x8_t rest) {
    uint16x8_t low = vldrhq_gather_shifted_offset_u16(activation_table, knot);
    uint16x8_t high = vldrhq_gather_shifted_offset_u16(activation_table + 1, knot);
    uint16x8_t line = vaddq_u16(low, vrmulhq_u16(vsubq_u16(high, low), rest));
    return lstm_signed(vreinterpretq_s16_u16(vbicq_n_u16(line, 0x8000u)), value);
}

// Tanh of values of scale 2^(left - 12), -> Q0.15.
static inline int16x8_t lstm_tanh(int16x8_t value, int left) {
    uint16x8_t magnitude = vreinterpretq_u16_s16(vabsq_s16(value));
    if (left >= 0) {
        // 3/256 knots per step. Just before knot 255, the last, the line already rounds to 1.
        magnitude = vminq_u16(magnitude, vdupq_n_u16((uint16_t)(21759u >> left)));
        uint16_t step = (uint16_t)(768u << left);
        return lstm_tanh_between(value, vmulhq_u16(magnitude, vdupq_n_u16(step)),
                                 vmulq_n_u16(magnitude, step));
    }
    // 3 * value >> -left, rounded before its magnitude is taken.
    if (left == -1) {
        magnitude = vaddq_u16(magnitude, vreinterpretq_u16_s16(vabsq_s16(vrshrq_n_s16(value, 1))));
    } else {
        int16_t factor = (int16_t)(3u << (unsigned)(15 + left));
        magnitude = vreinterpretq_u16_s16(vabsq_s16(vqrdmulhq_n_s16(value, factor)));
    }
    return lstm_tanh_between(value, vshrq_n_u16(magnitude, 8), vshlq_n_u16(magnitude, 8));
}

// A product that awaits a shift to the right, which rounds halves up. One more, or one less where
// it is negative, and the result is what the reference gets in two steps: a shift by one bit,
// halves up; then by the rest, halves away from zero.
static inline int32x4_t lstm_balanced(int32x4_t product) {
    return vaddq_s32(product, vorrq_n_s32(vshrq_n_s32(product, 31), 1));
}

// Forget gate * cell, which stays at the cell's scale.
static inline int16x8_t lstm_keep(int16x8_t gate, int16x8_t cell) {
    int32x4_t even = lstm_balanced(vmullbq_int_s16(gate, cell));
    int32x4_t odd = lstm_balanced(vmulltq_int_s16(gate, cell));
    return vqrshrntq_n_s32(vqrshrnbq_n_s32(vreinterpretq_s16_s32(even), even, 15), odd, 15);
}

// Input gate * cell gate, to the cell's scale.
static inline int16x8_t lstm_update(int16x8_t gate, int16x8_t proposed,
                                    const lstm_constants_t *constants) {
    int32x4_t even = lstm_balanced(vmullbq_int_s16(gate, proposed));
    int32x4_t odd = lstm_balanced(vmulltq_int_s16(gate, proposed));
    even = vrshlq_n_s32(even, constants->update_shift);
    odd = vrshlq_n_s32(odd, constants->update_shift);
    return vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(even), even), odd);
}

// Tanh(cell) * output gate, to the hidden value's scale: at most 14 bits and a sign are left.
static inline int32x4_t lstm_shown(int32x4_t product, const lstm_constants_t *constants) {
    product = vqrdmulhq_n_s32(product, constants->hidden_multiplier);
    product = vaddq_s32(product, vshrq_n_s32(product, 31));
    return vrshlq_n_s32(product, constants->hidden_shift);
}

// The gates of units become their cells and hidden values.
__attribute__((noinline)) static void lstm_finish(const lstm_work_t *work, uint32_t units,
                                                  const lstm_layer_t *layer, int8_t *hidden,
                                                  int16_t *cells) {
    const lstm_constants_t *constants = (const lstm_constants_t *)layer->constants;
    int16x8_t proposed = lstm_tanh(vld1q_s16(work->gates[GATE_CELL]), 0);
    int16x8_t added = lstm_update(lstm_sigmoid(work->gates[GATE_INPUT]), proposed, constants);
    int16x8_t forget = lstm_sigmoid(work->gates[GATE_FORGET]);
    int16x8_t cell;
    __asm__("vctp.16 %[units]\n"
            "vpst\n"
            "vldrht.s16 %q[cell], [%[cells]]\n"
            : [cell] "=w"(cell)
            : [units] "r"(units), [cells] "r"(cells)
            : "p0", "memory");
    cell = vqaddq_s16(lstm_keep(forget, cell), added);
    if (LSTM_CLIP_OF(constants) > 0) {
        cell = vmaxq_s16(cell, vdupq_n_s16((int16_t)-LSTM_CLIP_OF(constants)));
        if (LSTM_CLIP_OF(constants) < INT16_MAX) {
            cell = vminq_s16(cell, vdupq_n_s16((int16_t)LSTM_CLIP_OF(constants)));
        }
    }
    __asm__("vctp.16 %[units]\n"
            "vpst\n"
            "vstrht.16 %q[cell], [%[cells]]\n"
            :
            : [cell] "w"(cell), [units] "r"(units), [cells] "r"(cells)
            : "p0", "memory");
    int16x8_t bounded = lstm_tanh(cell, LSTM_POWER_OF(constants) + 12);
    int16x8_t output = lstm_sigmoid(work->gates[GATE_OUTPUT]);
    int32x4_t even = lstm_shown(vmullbq_int_s16(bounded, output), constants);
    int32x4_t odd = lstm_shown(vmulltq_int_s16(bounded, output), constants);
    int16x8_t shown = vmovntq_s32(vreinterpretq_s16_s32(even), odd);
    shown = vaddq_n_s16(shown, layer->hidden_zero_point);
    int8x16_t bytes = vqmovnbq_s16(vreinterpretq_s8_s16(shown), shown);
    __asm__("vctp.16 %[units]\n"
            "vpst\n"
            "vstrbt.16 %q[bytes], [%[hidden]]\n"
            :
            : [bytes] "w"(bytes), [units] "r"(units), [hidden] "l"(hidden)
            : "p0", "memory");
}

#if LSTM_HAS_BLOCKS
#if LSTM_SHIFTS_LEFT
#define LSTM_READ_SHIFTS "adds r2, #4\n vldrw.u32 q6, [r2, q1]\n"
#define LSTM_SHIFT_GATES "vshl.s32 q0, q0, q6\n"
#define LSTM_SHIFT_CLOBBER , "q6"
#else
#define LSTM_READ_SHIFTS ""
#define LSTM_SHIFT_GATES ""
#define LSTM_SHIFT_CLOBBER
#endif

// Add a matrix in blocks to the gates of units, unit after unit, and move on in it. The weights of
// a unit lie gate after gate, two for each block. Eight blocks take one turn, in which their pairs
// of values are gathered. Then the four gates of the unit become Q3.12 in the lanes of a vector.
__attribute__((noinline)) static void lstm_add_blocks(lstm_matrix_t *matrix, const int32_t *bias,
                                                      const int8_t *values, int16_t *gate,
                                                      uint32_t units, const lstm_scale_t *scales) {
    struct {
        const int32_t *bias;
        int16_t *gate;
    } at = {bias, gate};
    const int16_t *end = gate + units;  // of the first gate
    register const int8_t *weights __asm__("r0") = matrix->weights;
    register const uint8_t *index __asm__("r1") = matrix->index;
    register const lstm_scale_t *scale __asm__("r2") = scales;
    register uint32_t bias_bytes __asm__("r3") = sizeof(*bias) * units;
    register const int8_t *given __asm__("r11") = values;
    // Where the gates of a unit have their biases (q2) and themselves (q3), in bytes; their scales
    // (q4, q5, and q6 where one shifts left).
    __asm__ volatile("movs r4, #0\n"
                     "vidup.u32 q3, r4, #1\n"
                     "vmul.i32 q2, q3, r3\n"
                     "movs r4, #12\n"
                     "vmul.i32 q1, q3, r4\n"
                     "vshl.i32 q3, q3, #4\n"
                     "vldrw.u32 q4, [r2, q1]\n"
                     "adds r2, #4\n"
                     "vldrw.u32 q5, [r2, q1]\n" LSTM_READ_SHIFTS  //
                     "1:\n"
                     "ldrb r3, [r1], #1\n"
                     "mov r2, r1\n"
                     "add r1, r3\n"
                     "mov r12, r0\n"
                     "add r5, r0, r3, lsl #1\n"
                     "add r7, r5, r3, lsl #1\n"
                     "add r9, r7, r3, lsl #1\n"
                     "movs r4, #0\n"
                     "movs r6, #0\n"
                     "mov r8, #0\n"
                     "mov r10, #0\n"
                     "wlstp.16 lr, r3, 3f\n"
                     "2:\n"
                     "vldrb.u16 q1, [r2], #8\n"
                     "vldrh.u16 q0, [r11, q1, uxtw #1]\n"
                     "vldrb.8 q1, [r12], #16\n"
                     "vmladava.s8 r4, q0, q1\n"
                     "vldrb.8 q1, [r5], #16\n"
                     "vmladava.s8 r6, q0, q1\n"
                     "vldrb.8 q1, [r7], #16\n"
                     "vmladava.s8 r8, q0, q1\n"
                     "vldrb.8 q1, [r9], #16\n"
                     "vmladava.s8 r10, q0, q1\n"
                     "letp lr, 2b\n"
                     "3:\n"
                     "vmov q0[2], q0[0], r4, r8\n"
                     "vmov q0[3], q0[1], r6, r10\n"
                     "add r0, r0, r3, lsl #3\n"
                     "ldrd r4, r6, %[at]\n"
                     "ldr r8, %[end]\n"
                     "vldrw.u32 q1, [r4, q2]\n"
                     "adds r4, #4\n"
                     "vadd.i32 q0, q0, q1\n" LSTM_SHIFT_GATES  //
                     "vqrdmulh.s32 q0, q0, q4\n"
                     "vqrdmulh.s32 q0, q0, q5\n"
                     // In the lower halves of the lanes: saturate, add to what is there, saturate.
                     "vqmovnb.s32 q0, q0\n"
                     "vldrh.u32 q1, [r6, q3]\n"
                     "vqadd.s16 q0, q0, q1\n"
                     "vstrh.32 q0, [r6, q3]\n"
                     "adds r6, #2\n"
                     "strd r4, r6, %[at]\n"
                     "cmp r6, r8\n"
                     "bne 1b\n"
                     : "+r"(weights), "+r"(index), "+r"(scale), "+r"(bias_bytes), [at] "+m"(at)
                     : "r"(given), [end] "m"(end)
                     : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r12", "lr", "q0", "q1", "q2",
                       "q3", "q4", "q5", "cc", "memory" LSTM_SHIFT_CLOBBER);
    matrix->weights = weights;
    matrix->index = index;
}
#endif

#if LSTM_HAS_SCATTERED
// Add a scattered matrix to the gates of units, unit after unit, and move on in it.
__attribute__((noinline)) static void lstm_add_scattered(lstm_matrix_t *matrix, const int32_t *bias,
                                                         const int8_t *values, uint32_t columns,
                                                         lstm_work_t *work, uint32_t units,
                                                         const lstm_scale_t *scales) {
    const int8_t *weights = matrix->weights;
    const uint8_t *index = matrix->index;
    for (uint32_t unit = 0; unit < units; unit++) {
        int32_t sums[GATES];
        for (uint32_t gate = 0; gate < GATES; gate++) {
            sums[gate] = bias[gate * units + unit];
        }
        for (uint32_t k = 0; k < columns; k += 2) {
            for (uint32_t present = *index++; present != 0; present &= present - 1) {
                uint32_t bit = (uint32_t)__builtin_ctz(present);
                // These have the gates in another order, in which the last two are swapped.
                uint32_t gate = (bit & 3u) ^ (bit >> 1 & 1u);
                sums[gate] += *weights++ * values[k + (bit >> 2)];
            }
        }
        for (uint32_t gate = 0; gate < GATES; gate++) {
            int32x4_t sum = vdupq_n_s32(sums[gate]);
#if LSTM_SHIFTS_LEFT
            sum = vshlq_r_s32(sum, scales[gate].left);
#endif
            sum = vqrdmulhq_n_s32(sum, scales[gate].multiplier);
            sum = vqrdmulhq_n_s32(sum, scales[gate].divisor);
            int16x8_t part = vqmovnbq_s32(vreinterpretq_s16_s32(sum), sum);
            part = vqaddq_n_s16(part, work->gates[gate][unit]);
            work->gates[gate][unit] = vgetq_lane_s16(part, 0);
        }
    }
    matrix->weights = weights;
    matrix->index = index;
}
#endif

// Copy count >= 1 bytes.
static inline void lstm_copy(int8_t *to, const int8_t *from, uint32_t count) {
    __asm__ volatile("dlstp.8 lr, %[count]\n"
                     "1:\n"
                     "vldrb.8 q0, [%[from]], #16\n"
                     "vstrb.8 q0, [%[to]], #16\n"
                     "letp lr, 1b\n"
                     : [to] "+r"(to), [from] "+r"(from)
                     : [count] "r"(count)
                     : "lr", "q0", "memory");
}

// A matrix to multiply by values, for the gates of some units.
typedef struct {
    uint32_t first;  // of the units
    uint32_t units;
    uint32_t hidden_size;  // all units
    uint32_t formats;      // that the matrix may have: LSTM_INPUT_FORMATS or LSTM_RECURRENT_FORMATS
    const lstm_matrix_t *matrix;
    lstm_matrix_t *place;  // where a sparse one is, which moves on from group to group
    const int32_t *bias;   // of all units
    const int8_t *values;  // (columns)
    uint32_t columns;
    const lstm_scale_t *scales;
} lstm_part_t;

// Known beforehand where all layers have one format.
static inline bool lstm_is(const lstm_part_t *part, enum lstm_format format) {
    uint32_t bit = 1u << format;
    return part->formats == bit || ((part->formats & bit) != 0 && part->matrix->format == format);
}

static inline bool lstm_by_columns(const lstm_part_t *part) {
    return part->columns < LSTM_MANY_COLUMNS || part->hidden_size < LSTM_LANES;
}

// Let the assembly begin with the first gate.
static inline void lstm_begin(lstm_work_t *work, const lstm_part_t *part) {
    work->next = (struct lstm_next){work->gates[0], part->units, part->scales};
}

// Add a part to the gates of its units.
__attribute__((always_inline)) static inline void lstm_add(lstm_work_t *work,
                                                           const lstm_part_t *part) {
    const int32_t *bias = part->bias + GATES * part->first;
#if LSTM_HAS_BLOCKS
    if (lstm_is(part, LSTM_BLOCKS)) {
        lstm_add_blocks(part->place, bias, part->values, work->gates[0], part->units, part->scales);
        return;
    }
#endif
#if LSTM_HAS_SCATTERED
    if (lstm_is(part, LSTM_SCATTERED)) {
        lstm_add_scattered(part->place, bias, part->values, part->columns, work, part->units,
                           part->scales);
        return;
    }
#endif
    const int8_t *weights = part->matrix->weights + GATES * part->first * part->columns;
#if LSTM_FEW_UNITS
    if (lstm_by_columns(part)) {
        lstm_work_t more;
        lstm_begin(&more, part);
        lstm_set_columns(weights, bias, part->values, part->columns, &more.next);
        for (uint32_t gate = 0; gate < GATES; gate++) {
            int16x8_t sum = vqaddq_s16(vld1q_s16(work->gates[gate]), vld1q_s16(more.gates[gate]));
            vst1q_s16(work->gates[gate], sum);
        }
        return;
    }
#endif
    lstm_begin(work, part);
    lstm_add_rows(weights, bias, part->values, part->columns, &work->next);
}

// Set the gates of its units to a part: the first one.
__attribute__((always_inline)) static inline void lstm_set(lstm_work_t *work,
                                                           const lstm_part_t *part) {
    bool by_columns = lstm_is(part, LSTM_DENSE);
#if LSTM_MANY_INPUTS
    by_columns = by_columns && lstm_by_columns(part);
#endif
    if (!by_columns) {
        for (uint32_t gate = 0; gate < GATES; gate++) {
            vst1q_s16(work->gates[gate], vdupq_n_s16(0));
        }
        lstm_add(work, part);
        return;
    }
    lstm_begin(work, part);
    lstm_set_columns(part->matrix->weights + GATES * part->first * part->columns,
                     part->bias + GATES * part->first, part->values, part->columns, &work->next);
}

void lstm_step(const int8_t *input, const lstm_layer_t *layer, int8_t *hidden, int16_t *cells,
               void *scratch) {
    // The hidden state as it is before the step.
    int8_t *before = (int8_t *)scratch;
    lstm_copy(before, hidden, layer->hidden_size);
#if LSTM_INPUT_FORMATS & 2
    // Blocks read pairs of values, from even addresses, and the last may reach past the values.
    int8_t *copy = before + (layer->hidden_size + 1u) / 2 * 2;
    lstm_copy(copy, input, layer->input_size);
    input = copy;
#endif
#if LSTM_INPUT_FORMATS != 1
    lstm_matrix_t input_place = layer->input;
#define LSTM_INPUT_PLACE &input_place
#else
#define LSTM_INPUT_PLACE NULL
#endif
#if LSTM_RECURRENT_FORMATS != 1
    lstm_matrix_t recurrent_place = layer->recurrent;
#define LSTM_RECURRENT_PLACE &recurrent_place
#else
#define LSTM_RECURRENT_PLACE NULL
#endif
    // What the layer's description says is read again for each group: registers are few.
    uint32_t units = (layer->hidden_size - 1u) % LSTM_LANES + 1;
    for (uint32_t first = 0; first < layer->hidden_size; first += units, units = LSTM_LANES) {
        const lstm_part_t given = {
            .first = first,
            .units = units,
            .hidden_size = layer->hidden_size,
            .formats = LSTM_INPUT_FORMATS,
            .matrix = &layer->input,
            .place = LSTM_INPUT_PLACE,
            .bias = layer->bias,
            .values = input,
            .columns = layer->input_size,
            .scales = ((const lstm_constants_t *)layer->constants)->input_scale,
        };
        lstm_work_t work;
        lstm_set(&work, &given);
        const lstm_part_t recalled = {
            .first = first,
            .units = units,
            .hidden_size = layer->hidden_size,
            .formats = LSTM_RECURRENT_FORMATS,
            .matrix = &layer->recurrent,
            .place = LSTM_RECURRENT_PLACE,
            .bias = layer->bias + GATES * layer->hidden_size,
            .values = before,
            .columns = layer->hidden_size,
            .scales = ((const lstm_constants_t *)layer->constants)->recurrent_scale,
        };
        lstm_add(&work, &recalled);
        lstm_finish(&work, units, layer, hidden + first, cells + first);
    }
}
