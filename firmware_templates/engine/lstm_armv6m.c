// The kernel for Armv6-M (Cortex-M0, M0+): no long multiplication, no saturation, eight registers
// that compute and a few more that can only be moved, added and compared.
//
// toolchain/firmware/kernels/armv6m.py lays out what is read here, and says which facts about a
// model the macros of config.h stand for. A first half for speed, a second one for size.

#include <stddef.h>

#include "activation.h"
#include "config.h"
#include "fixed_point.h"
#include "lstm.h"

// What the assembly reads of a layer.
typedef char lstm_layout_is_known
    [offsetof(lstm_layer_t, input_size) == 0 && offsetof(lstm_layer_t, hidden_size) == 2 &&
             offsetof(lstm_layer_t, input) == 4 && offsetof(lstm_layer_t, recurrent) == 16 &&
             offsetof(lstm_layer_t, bias) == 28 && offsetof(lstm_layer_t, constants) == 32 &&
             offsetof(lstm_layer_t, hidden_zero_point) == 36 &&
             offsetof(lstm_matrix_t, weights) == 0 && offsetof(lstm_matrix_t, index) == 4 &&
             offsetof(lstm_matrix_t, format) == 8 && LSTM_BLOCKS == 1 && LSTM_SCATTERED == 2
         ? 1
         : -1];

// A line of assembly per line; the formatter would fill them up.
// clang-format off

#define LOAD(to, from) "ldr     " to ", [sp, #" from "]\n"
#define STORE(from, to) "str     " from ", [sp, #" to "]\n"

// A gate's four sums and results are in the order in which a unit needs them: a is the forget gate,
// b the input, c the cell, d the output gate.

#if !FORECAST_PREFER_SIZE

// Dense matrices of less than eight columns are narrow: their values are int32, and the gates are
// summed one by one. All other values are int16, after a word that the sums of a wide row start
// from, with zeros up to a multiple of four.
#define LSTM_INLINE_INPUT (LSTM_INPUT_FORMATS == 1 && LSTM_INPUTS_NARROW)
#define LSTM_INLINE_WIDE (LSTM_RECURRENT_FORMATS == 1 && LSTM_RECURRENTS_WIDE)
#define LSTM_INLINE_RECURRENT                                                                      \
    (LSTM_INLINE_WIDE || LSTM_RECURRENT_FORMATS == 2 || LSTM_RECURRENT_FORMATS == 4)
#define LSTM_INLINE (LSTM_INLINE_INPUT && LSTM_INLINE_RECURRENT)

// With one input, and as many units in every layer, values and their ends are so many bytes from
// scratch on: nothing on the stack has to say so. An instruction adds up to 255.
#define LSTM_VALUES_BYTES (4 + (LSTM_HIDDEN_SIZE + 3) / 4 * 8)
#define LSTM_KNOWN                                                                                 \
    (LSTM_INLINE && LSTM_INLINE_WIDE && LSTM_INPUT_SIZE == 1 && LSTM_HIDDEN_SIZE > 0 &&            \
     LSTM_VALUES_BYTES < 256)
#define LSTM_TEXT_OF(number) #number
#define LSTM_TEXT(number) LSTM_TEXT_OF(number)
#define TO_VALUES_END(values) "adds    " values ", #" LSTM_TEXT(LSTM_VALUES_BYTES) "\n"

// Where things lie on the stack. Pointers are those of the next unit.
#define INPUT_SUM "0"  // of the input gate, over the inputs
#define CELL_SUM "4"   // of the cell gate, likewise
#define BIAS "8"
#define HIDDEN "12"
#define CELLS "16"
#define CONSTANTS "20"
#define HIDDEN_END "24"
#if LSTM_INLINE
#define RECALLED FRAME " + 36"  // values of the hidden state: scratch, as the caller gave it
#if LSTM_KNOWN
#define RECURRENT_WEIGHTS "28"
#define INPUT_WEIGHTS "32"
#define FRAME "36"
#else
#define RECALLED_END "28"
#define GIVEN RECALLED_END      // values of the inputs
#define GIVEN_END "32"
#define RECURRENT_WEIGHTS "36"
#define INPUT_WEIGHTS "40"
#define RECURRENT_INDEX "44"
#if LSTM_INLINE_WIDE
#define FRAME "44"
#else
#define FRAME "48"
#endif
#endif
#else
// A matrix in the order in which lstm_multiply loads it, then the other.
#define RECURRENT_KIND "28"
#define RECALLED_END "32"
#define RECALLED "36"
#define RECURRENT_WEIGHTS "40"
#define RECURRENT_INDEX "44"
#define INPUT_KIND "48"
#define GIVEN_END "52"
#define GIVEN "56"
#define INPUT_WEIGHTS "60"
#define INPUT_INDEX "64"
#define FRAME "68"
#endif

// Wide rows.
//
// Four gates share a word of weights: a + 2^8 b + 2^16 c + 2^24 d, each 128 too large, so that no
// byte is negative. A column takes three products of its value: with the word as it is, with its
// bytes swapped in pairs, and with its bytes reversed. The three sums, modulo 2^32, hold 96 bits:
// enough to tell four sums below 2^23 (that is 256 columns) apart.

// r8, r9, r10 += word (spoilt) * r2; spoils r3.
#define COLUMN(word)                \
    "rev16   r3, " word "\n"        \
    "muls    r3, r2\n"              \
    "add     r9, r3\n"              \
    "rev     r3, " word "\n"        \
    "muls    r3, r2\n"              \
    "add     r10, r3\n"             \
    "muls    " word ", r2\n"        \
    "add     r8, " word "\n"

// Two columns: their words at r6, their values in the halves of `pair`.
#define PAIR(pair)                  \
    "ldm     r6!, {r0, r1}\n"       \
    "sxth    r2, " pair "\n"        \
    COLUMN("r0")                    \
    "asrs    r2, " pair ", #16\n"   \
    COLUMN("r1")

#define FOUR_COLUMNS                \
    "ldm     r7!, {r4, r5}\n"       \
    PAIR("r4")                      \
    PAIR("r5")

// r8..r11 = a, b, c, d from r8 = a + 2^8 b + 2^16 c + 2^24 d, r9 = b + 2^8 a + 2^16 d + 2^24 c and
// r10 = d + 2^8 c + 2^16 b + 2^24 a. Here x0 are the lower 16 bits of x and x1 is the rest.
#define UNRAVEL                                                                   \
    "mov     r0, r8\n"                                                            \
    "mov     r1, r9\n"                                                            \
    "mov     r2, r10\n"                                                           \
    "lsls    r3, r1, #8\n"                                                        \
    "subs    r3, r0, r3\n"  /* a + 2^16 (c - a) */                                \
    "lsls    r4, r0, #8\n"                                                        \
    "subs    r4, r1, r4\n"  /* b + 2^16 (d - b) */                                \
    "lsrs    r5, r3, #16\n"                                                       \
    "adds    r5, r3\n"      /* lower half: c0 + a1 */                             \
    "lsrs    r1, r4, #16\n"                                                       \
    "adds    r1, r4\n"      /* lower half: d0 + b1 */                             \
    "lsls    r0, r5, #8\n"                                                        \
    "adds    r1, r0\n"                                                            \
    "subs    r1, r2\n"      /* lower half: b1 + 2^8 a1, as r2 has d0 + 2^8 c0 */  \
    "sxtb    r0, r1\n"      /* b1 */                                              \
    "subs    r1, r0\n"                                                            \
    "sxth    r1, r1\n"      /* 2^8 a1 */                                          \
    "lsls    r0, #16\n"                                                           \
    "lsls    r7, r4, #16\n"                                                       \
    "subs    r2, r7\n"                                                            \
    "uxth    r4, r4\n"                                                            \
    "adds    r4, r0\n"                                                            \
    "mov     r9, r4\n"                                                            \
    "lsls    r7, r3, #24\n"                                                       \
    "subs    r2, r7\n"      /* d + 2^8 c */                                       \
    "uxth    r3, r3\n"                                                            \
    "lsls    r0, r1, #8\n"                                                        \
    "adds    r3, r0\n"                                                            \
    "mov     r8, r3\n"                                                            \
    "asrs    r1, #8\n"                                                            \
    "subs    r5, r1\n"                                                            \
    "uxth    r5, r5\n"      /* c0 */                                              \
    "lsls    r0, r5, #8\n"                                                        \
    "subs    r2, r0\n"      /* d + 2^24 c1 */                                     \
    "lsls    r0, r2, #8\n"                                                        \
    "asrs    r0, #8\n"                                                            \
    "mov     r11, r0\n"                                                           \
    "subs    r2, r0\n"                                                            \
    "asrs    r2, #8\n"                                                            \
    "adds    r5, r2\n"                                                            \
    "mov     r10, r5\n"

// Rows: r8..r11 = the sums of the four gates, from weights at r6, which goes on to the next row, as
// r7 does where it is an index. They spoil r0 to r5, r7 and r12.

// Values from r7 to r1. What the sums start from takes the excess of the weights away.
#define WIDE_ROW                                                                              \
    "ldm     r7!, {r0}\n"                                                                     \
    "mov     r8, r0\n"                                                                        \
    "mov     r9, r0\n"                                                                        \
    "mov     r10, r0\n"                                                                       \
    "mov     r11, r1\n"                                                                       \
    "subs    r1, r7\n"                                                                        \
    "lsrs    r1, #4\n"  /* eight columns a turn; where four are over, begin in the middle */  \
    "bcs     3f\n"                                                                            \
    "2:\n"                                                                                    \
    FOUR_COLUMNS                                                                              \
    "3:\n"                                                                                    \
    FOUR_COLUMNS                                                                              \
    "cmp     r7, r11\n"                                                                       \
    "bne     2b\n"                                                                            \
    UNRAVEL

#define CLEAR_SUMS                  \
    "movs    r0, #0\n"              \
    "mov     r8, r0\n"              \
    "mov     r9, r0\n"              \
    "mov     r10, r0\n"             \
    "mov     r11, r0\n"

// Values at r5, index at r7. The values met are summed up as well: the excess of the weights is of
// these alone.
#define BLOCKS_ROW                                   \
    CLEAR_SUMS                                       \
    "adds    r5, #4\n"                               \
    "ldrb    r0, [r7]\n"                             \
    "adds    r7, #1\n"                               \
    "adds    r0, r7\n"                               \
    "mov     r12, r0\n"                              \
    "b       3f\n"                                   \
    "2:\n"                                           \
    "ldrb    r4, [r7]\n"                             \
    "adds    r7, #1\n"                               \
    "lsls    r4, #2\n"                               \
    "ldr     r4, [r5, r4]\n"                         \
    "ldm     r6!, {r0, r1}\n"                        \
    "sxth    r2, r4\n"                               \
    "add     r11, r2\n"                              \
    COLUMN("r0")                                     \
    "asrs    r2, r4, #16\n"                          \
    "add     r11, r2\n"                              \
    COLUMN("r1")                                     \
    "3:\n"                                           \
    "cmp     r7, r12\n"                              \
    "bne     2b\n"                                   \
    "ldr     r0, =0x7f7f7f80\n" /* -128 per byte */  \
    "mov     r1, r11\n"                              \
    "muls    r0, r1\n"                               \
    "add     r8, r0\n"                               \
    "add     r9, r0\n"                               \
    "add     r10, r0\n"                              \
    UNRAVEL                                          \
    "mov     r7, r12\n"

// Add the next weight times r1, if bit 0 of r0 says that it is there; r0 goes on to the next bit.
#define SCATTERED_WEIGHT(sum)       \
    "lsrs    r0, #1\n"              \
    "bcc     0f\n"                  \
    "ldrsb   r2, [r6, r3]\n"        \
    "adds    r6, #1\n"              \
    "muls    r2, r1\n"              \
    "add     " sum ", r2\n"         \
    "0:\n"

// Here the input gate comes first, as in every kernel.
#define SCATTERED_COLUMN            \
    SCATTERED_WEIGHT("r9")          \
    SCATTERED_WEIGHT("r8")          \
    SCATTERED_WEIGHT("r10")         \
    SCATTERED_WEIGHT("r11")

// Values from r5 to r1, index at r7.
#define SCATTERED_ROW               \
    CLEAR_SUMS                      \
    "adds    r5, #4\n"              \
    "mov     r12, r1\n"             \
    "movs    r3, #0\n"              \
    "2:\n"                          \
    "ldrb    r0, [r7]\n"            \
    "adds    r7, #1\n"              \
    "ldm     r5!, {r4}\n"           \
    "sxth    r1, r4\n"              \
    SCATTERED_COLUMN                \
    "asrs    r1, r4, #16\n"         \
    SCATTERED_COLUMN                \
    "cmp     r5, r12\n"             \
    "beq     3f\n"                  \
    "b       2b\n"                  \
    "3:\n"

// A column of a narrow row: word r4 (spoilt) times value r5, added up; spoils r3.
#define NARROW_COLUMN(add_a, add_b, add_c, add_d) \
    "sxtb    r3, r4\n"              \
    "muls    r3, r5\n"              \
    add_a ", r3\n"                  \
    "lsls    r3, r4, #16\n"         \
    "asrs    r3, #24\n"             \
    "muls    r3, r5\n"              \
    add_b ", r3\n"                  \
    "lsls    r3, r4, #8\n"          \
    "asrs    r3, #24\n"             \
    "muls    r3, r5\n"              \
    add_c ", r3\n"                  \
    "asrs    r4, #24\n"             \
    "muls    r4, r5\n"              \
    add_d ", r4\n"

// Values from r7 to r1.
#define NARROW_ROW                                               \
    CLEAR_SUMS                                                   \
    "2:\n"                                                       \
    "ldm     r6!, {r4}\n"                                        \
    "ldm     r7!, {r5}\n"                                        \
    NARROW_COLUMN("add r8", "add r9", "add r10", "add r11")      \
    "cmp     r7, r1\n"                                           \
    "bne     2b\n"

// Scales.

// Shift t, whose sign is that of `number`, right: by `first` with halves rounded up, then by n with
// halves rounded away from zero, but for the very last step: it is left in the carry, for the ADCS
// that adds t to something. Spoils r0.
//
// A shift leaves the last bit that it drops in the carry, and to add that bit rounds halves up. For
// halves away from zero, a negative number gets one less before. Where n is 0 nothing is dropped,
// and the carry is still the one of that subtraction, which it takes back.
#define ROUND(t, number, first, n)       \
    "asrs    r0, " number ", #31\n"      \
    "asrs    " t ", " first "\n"         \
    "adcs    " t ", r0\n"                \
    "asrs    " t ", " n "\n"

// A sum in r0 becomes t = sum * multiplier / 2^(31 + n), rounded as above. The multiplier comes in
// pieces so short that the sum times a piece has 32 bits. Spoils r0, r1, r2 and n.
#if LSTM_LARGE_SUMS
#define SCALE(t, n) /* sums below 2^23, pieces of 8 bits */ \
    "ldm     r7!, {r1, r2}\n"                \
    "muls    r1, r0\n"                       \
    "asrs    r1, #8\n"                       \
    "muls    r2, r0\n"                       \
    "adds    r2, r1\n"                       \
    "asrs    r2, #8\n"                       \
    "ldm     r7!, {r1, " t ", " n "}\n"      \
    "muls    r1, r0\n"                       \
    "adds    r1, r2\n"                       \
    "asrs    r1, #8\n"                       \
    "muls    " t ", r0\n"                    \
    "adds    " t ", r1\n"                    \
    ROUND(t, "r0", "#7", n)
#else
#define SCALE(t, n) /* sums up to 2^20, pieces of 10 bits */ \
    "ldm     r7!, {r1, r2, " t ", " n "}\n"  \
    "muls    r1, r0\n"                       \
    "asrs    r1, #10\n"                      \
    "muls    r2, r0\n"                       \
    "adds    r2, r1\n"                       \
    "asrs    r2, #10\n"                      \
    "muls    " t ", r0\n"                    \
    "adds    " t ", r2\n"                    \
    ROUND(t, "r0", "#11", n)
#endif

// r4 = a gate from its sum over the inputs, r0, and the one over the hidden state: Q3.12, and with
// 17 bits still. r6 is 0. Spoils r0 to r5.
#if LSTM_PARTS_SATURATE
#define SATURATE(part)              \
    "sxth    r0, " part "\n"        \
    "cmp     r0, " part "\n"        \
    "beq     0f\n"                  \
    "asrs    " part ", #31\n"       \
    "ldr     r0, =0x7fff\n"         \
    "eors    " part ", r0\n"        \
    "0:\n"
#define GATE(recurrent_sum)         \
    SCALE("r3", "r4")               \
    "adcs    r3, r6\n"              \
    SATURATE("r3")                  \
    "mov     r0, " recurrent_sum "\n" \
    SCALE("r4", "r5")               \
    "adcs    r4, r6\n"              \
    SATURATE("r4")                  \
    "adds    r4, r3\n"
#else
#define GATE(recurrent_sum)         \
    SCALE("r3", "r4")               \
    "adcs    r3, r6\n"              \
    "mov     r0, " recurrent_sum "\n" \
    SCALE("r4", "r5")               \
    "adcs    r4, r3\n"
#endif

// Activations: of a magnitude, with the sign put back onto what the table gives.

// value = |value|, r0 = its sign, as 0 or -1.
#define MAGNITUDE(value)            \
    "asrs    r0, " value ", #31\n"  \
    "eors    " value ", r0\n"       \
    "subs    " value ", r0\n"

// r3 = 2^bits times the table at r2 + r1 / 2^bits. Spoils r2.
#define LINE(bits)                  \
    "lsls    r2, #1\n"              \
    "add     r2, r12\n"             \
    "ldrh    r3, [r2, #0]\n"        \
    "ldrh    r2, [r2, #2]\n"        \
    "subs    r2, r3\n"              \
    "muls    r2, r1\n"              \
    "lsls    r3, #" bits "\n"       \
    "adds    r3, r2\n"

// r3 / 2^bits with the sign r0. As ~x is -x - 1, halves are rounded away from zero.
#define SIGNED(bits)                \
    "eors    r3, r0\n"              \
    "asrs    r3, #" bits "\n"       \
    "adcs    r3, r6\n"

// r3 = sigmoid(r4), saturated to Q3.12, -> Q0.15: the table has 3 / 2^9 knots per step.
#define SIGMOID                     \
    MAGNITUDE("r4")                 \
    "lsrs    r2, r4, #15\n"         \
    "beq     0f\n"                  \
    "ldr     r4, =0x7fff\n"         \
    "subs    r4, r0\n"              \
    "0:\n"                          \
    "lsls    r1, r4, #1\n"          \
    "adds    r1, r4\n"              \
    "lsrs    r2, r1, #9\n"          \
    "lsls    r1, #23\n"             \
    "lsrs    r1, #23\n"             \
    LINE("9")                       \
    SIGNED("10")                    \
    "movs    r0, #64\n"             \
    "lsls    r0, #8\n"              \
    "adds    r3, r0\n"

// r3 = tanh of r1 / 2^8 knots with the sign r0. Past the table it is what the last knot has.
#define TANH                        \
    "lsrs    r2, r1, #8\n"          \
    "uxtb    r1, r1\n"              \
    "cmp     r2, #255\n"            \
    "blo     0f\n"                  \
    "movs    r2, #254\n"            \
    "movs    r1, #128\n"            \
    "lsls    r1, #1\n"              \
    "0:\n"                          \
    LINE("8")                       \
    SIGNED("8")

__asm__(
    ".section .text.lstm_step, \"ax\", %progbits\n"
    ".syntax unified\n"
    ".thumb\n"
    ".p2align 2\n"

    // lstm_step(r0 input, r1 layer, r2 hidden, r3 cells, scratch on the stack)
    ".global lstm_step\n"
    ".type   lstm_step, %function\n"
    ".thumb_func\n"
    "lstm_step:\n"
    "push    {r4-r7, lr}\n"
    "mov     r4, r8\n"
    "mov     r5, r9\n"
    "mov     r6, r10\n"
    "mov     r7, r11\n"
    "push    {r4-r7}\n"
    "sub     sp, #" FRAME "\n"
    STORE("r2", HIDDEN)
    STORE("r3", CELLS)
    "ldrh    r4, [r1, #2]\n"
    "adds    r3, r2, r4\n"
    STORE("r3", HIDDEN_END)
    "ldr     r3, [r1, #4]\n"
    STORE("r3", INPUT_WEIGHTS)
    "ldr     r3, [r1, #16]\n"
    STORE("r3", RECURRENT_WEIGHTS)
#if !(LSTM_INLINE && LSTM_INLINE_WIDE)
    "ldr     r3, [r1, #20]\n"
    STORE("r3", RECURRENT_INDEX)
#endif
    "ldr     r3, [r1, #28]\n"
    STORE("r3", BIAS)
    "ldr     r3, [r1, #32]\n"
    STORE("r3", CONSTANTS)
    "ldr     r5, [sp, #" FRAME " + 36]\n"
#if !LSTM_INLINE
    STORE("r5", RECALLED)
#endif
    "movs    r6, #36\n"
    "ldrsb   r6, [r1, r6]\n"
#if LSTM_INLINE
#if LSTM_INLINE_WIDE
    "movs    r7, #3\n"
#else
    "movs    r7, #1\n"
#endif
    "bl      lstm_prepare_wide\n"
#if !LSTM_KNOWN
    STORE("r5", GIVEN)
#endif
    "movs    r2, r0\n"
    "ldrh    r4, [r1, #0]\n"
    "movs    r6, #0\n"
    "bl      lstm_prepare_narrow\n"
#else
    "ldrb    r7, [r1, #24]\n"
    "add     r3, sp, #" RECURRENT_KIND "\n"
    "bl      lstm_prepare\n"
    STORE("r5", RECALLED_END)
    STORE("r5", GIVEN)
    "ldr     r3, [r1, #8]\n"
    STORE("r3", INPUT_INDEX)
    "ldrb    r7, [r1, #12]\n"
    "movs    r2, r0\n"
    "ldrh    r4, [r1, #0]\n"
    "movs    r6, #0\n"
    "add     r3, sp, #" INPUT_KIND "\n"
    "bl      lstm_prepare\n"
#endif
#if !LSTM_KNOWN
    STORE("r5", GIVEN_END)
#endif

    // A unit. Its sums over the hidden state, into r8..r11:
    ".Lunit:\n"
#if LSTM_INLINE_WIDE
    LOAD("r6", RECURRENT_WEIGHTS)
    LOAD("r7", RECALLED)
#if LSTM_KNOWN
    "movs    r1, r7\n"
    TO_VALUES_END("r1")
#else
    LOAD("r1", RECALLED_END)
#endif
    WIDE_ROW
    STORE("r6", RECURRENT_WEIGHTS)
#elif LSTM_INLINE_RECURRENT
    LOAD("r1", RECALLED_END)
    LOAD("r5", RECALLED)
    LOAD("r6", RECURRENT_WEIGHTS)
    LOAD("r7", RECURRENT_INDEX)
#if LSTM_RECURRENT_FORMATS == 2
    BLOCKS_ROW
#else
    SCATTERED_ROW
#endif
    STORE("r6", RECURRENT_WEIGHTS)
    STORE("r7", RECURRENT_INDEX)
#else
    "add     r4, sp, #" RECURRENT_KIND "\n"
    "bl      lstm_multiply\n"
#endif

    // and those over the inputs, onto the bias: r0, on the stack, on the stack, lr.
#if LSTM_INLINE_INPUT
    LOAD("r4", BIAS)
    "ldm     r4!, {r0-r3}\n"
    STORE("r4", BIAS)
    "mov     lr, r3\n"
    LOAD("r6", INPUT_WEIGHTS)
#if LSTM_KNOWN
    LOAD("r7", RECALLED)
    TO_VALUES_END("r7")
#else
    LOAD("r7", GIVEN)
    LOAD("r3", GIVEN_END)
    "mov     r12, r3\n"
#endif
    "2:\n"
    "ldm     r6!, {r4}\n"
    "ldm     r7!, {r5}\n"
    NARROW_COLUMN("adds r0", "adds r1", "adds r2", "add lr")
#if !LSTM_KNOWN
    "cmp     r7, r12\n"
    "bne     2b\n"
#endif
    STORE("r6", INPUT_WEIGHTS)
#else
    "mov     r4, r8\n"
    "mov     r5, r9\n"
    "mov     r6, r10\n"
    "mov     r7, r11\n"
    "push    {r4-r7}\n"
    "add     r4, sp, #" INPUT_KIND " + 16\n"
    "bl      lstm_multiply\n"
    "pop     {r4-r7}\n"
    LOAD("r0", BIAS)
    "ldm     r0!, {r1, r2, r3}\n"
    "add     r8, r1\n"
    "add     r9, r2\n"
    "add     r10, r3\n"
    "ldm     r0!, {r1}\n"
    STORE("r0", BIAS)
    "add     r1, r11\n"
    "mov     lr, r1\n"
    "mov     r0, r8\n"
    "mov     r1, r9\n"
    "mov     r2, r10\n"
    "mov     r8, r4\n"
    "mov     r9, r5\n"
    "mov     r10, r6\n"
    "mov     r11, r7\n"
#endif
    STORE("r1", INPUT_SUM)
    STORE("r2", CELL_SUM)

    "ldr     r1, =activation_table\n"
    "mov     r12, r1\n"
    LOAD("r7", CONSTANTS)
    "movs    r6, #0\n"

    // Forget gate times cell, of scale 2^-15: what is kept of the cell, r8.
    GATE("r8")
    SIGMOID
    LOAD("r1", CELLS)
    "ldrsh   r2, [r1, r6]\n"
    "muls    r3, r2\n"
    ROUND("r3", "r3", "#1", "#14")
    "adcs    r3, r6\n"
    "mov     r8, r3\n"

    // Input gate times cell gate is added.
    LOAD("r0", INPUT_SUM)
    GATE("r9")
    SIGMOID
    "mov     r9, r3\n"
    LOAD("r0", CELL_SUM)
    GATE("r10")
    MAGNITUDE("r4")
    "lsls    r1, r4, #1\n"
    "adds    r1, r4\n"
    TANH
    "mov     r1, r9\n"
    "muls    r3, r1\n"
    "ldm     r7!, {r1, r2, r4, r5}\n"
    ROUND("r3", "r3", "#1", "r1")
    "mov     r0, r8\n"
    "adcs    r3, r0\n"

    // The cell is kept in r4 values from -r2 on.
    "adds    r0, r3, r2\n"
    "cmp     r0, r4\n"
    "bls     2f\n"
    "rsbs    r3, r2, #0\n"
    "cmp     r0, #0\n"
    "blt     2f\n"
    "adds    r3, r4\n"
    "2:\n"
    LOAD("r0", CELLS)
    "strh    r3, [r0]\n"
    "adds    r0, #2\n"
    STORE("r0", CELLS)

    // Its tanh: 3 / 2^8 knots per step, times 16, shifted right.
    "movs    r1, #48\n"
    "muls    r1, r3\n"
    "asrs    r1, r5\n"
    "adcs    r1, r6\n"
    MAGNITUDE("r1")
    TANH
    "mov     r8, r3\n"

    // Times the output gate: the hidden value.
    "mov     r0, lr\n"
    GATE("r11")
    SIGMOID
    "mov     r1, r8\n"
    "muls    r3, r1\n"

    // 30 bits times 31, by halves: the lower half r0 is signed, so that no sum overflows.
    "ldm     r7!, {r1, r2, r4, r5, r6}\n"
    "sxth    r0, r3\n"
    "subs    r3, r0\n"
    "asrs    r3, #16\n"
    "muls    r1, r0\n"
    "asrs    r1, #16\n"
    "muls    r0, r4\n"
    "adds    r1, r0\n"
    "muls    r2, r3\n"
    "adds    r1, r2\n"
    "muls    r3, r4\n"
    "lsls    r3, #1\n"
    "asrs    r1, #15\n"
    "adcs    r3, r1\n"
    "asrs    r0, r3, #31\n"
    "adds    r3, r0\n"
    "asrs    r3, r5\n"
    "adcs    r3, r6\n"
    "sxtb    r0, r3\n"
    "cmp     r0, r3\n"
    "beq     2f\n"
    "asrs    r3, #31\n"
    "movs    r0, #127\n"
    "eors    r3, r0\n"
    "2:\n"
    LOAD("r0", HIDDEN)
    "strb    r3, [r0]\n"
    "adds    r0, #1\n"
    STORE("r0", HIDDEN)
    LOAD("r1", HIDDEN_END)
    "cmp     r0, r1\n"
    "beq     2f\n"
    "b       .Lunit\n"
    "2:\n"

    "add     sp, #" FRAME "\n"
    "pop     {r4-r7}\n"
    "mov     r8, r4\n"
    "mov     r9, r5\n"
    "mov     r10, r6\n"
    "mov     r11, r7\n"
    "pop     {r4-r7, pc}\n"
    ".ltorg\n"

    // The r4 values at r2, less r6, become those of a wide row at r5, with zeros up to a multiple of
    // r7 + 1 of them, 2 or 4; r5 goes on to their end. Spoils r2, r3, r4, r7, r8 and r12.
    ".thumb_func\n"
    "lstm_prepare_wide:\n"
    "adds    r3, r4, r7\n"
    "bics    r3, r7\n"
    "lsls    r3, #1\n"
    "adds    r3, r5\n"
    "movs    r7, #0\n"
    "mov     r8, r7\n"
    "str     r7, [r3]\n"
    "subs    r3, #4\n"
    "str     r7, [r3]\n"
    "adds    r3, #8\n"
    "mov     r12, r3\n"
    "lsls    r3, r4, #1\n"
    "adds    r3, r5\n"
    "adds    r3, #2\n"
    "subs    r4, #1\n"
    "1:\n"
    "ldrsb   r7, [r2, r4]\n"
    "subs    r7, r6\n"
    "add     r8, r7\n"
    "strh    r7, [r3]\n"
    "subs    r3, #2\n"
    "subs    r4, #1\n"
    "bpl     1b\n"
    "mov     r7, r8\n"
    "ldr     r3, =0x7f7f7f80\n"  // -128 per byte
    "muls    r7, r3\n"
    "str     r7, [r5]\n"
    "mov     r5, r12\n"
    "bx      lr\n"

#if !LSTM_INLINE
    // The same for rows in format r7. Stores their kind at r3: the format, or 3 for a narrow row.
    ".thumb_func\n"
    "lstm_prepare:\n"
    "str     r7, [r3]\n"
    "cmp     r7, #0\n"
    "beq     1f\n"
    "movs    r7, #1\n"
    "b       lstm_prepare_wide\n"
    "1:\n"
    "movs    r7, #3\n"
    "cmp     r4, #8\n"
    "bhs     lstm_prepare_wide\n"
    "str     r7, [r3]\n"
#endif

    // The same for a narrow row.
    ".thumb_func\n"
    "lstm_prepare_narrow:\n"
    "movs    r7, #0\n"
    "1:\n"
    "ldrsb   r3, [r2, r7]\n"
    "subs    r3, r6\n"
    "stm     r5!, {r3}\n"
    "adds    r7, #1\n"
    "cmp     r7, r4\n"
    "bne     1b\n"
    "bx      lr\n"

#if !LSTM_INLINE
    // The next row of the matrix described at r4: kind, end of the values, values, weights, index.
    ".thumb_func\n"
    "lstm_multiply:\n"
    "push    {r4, lr}\n"
    "ldm     r4!, {r0, r1, r5, r6, r7}\n"
#if LSTM_HAS_BLOCKS
    "cmp     r0, #1\n"
    "bne     4f\n"
    BLOCKS_ROW
    "b       8f\n"
    ".ltorg\n"
    ".p2align 1\n"
    "4:\n"
#endif
#if LSTM_HAS_SCATTERED
    "cmp     r0, #2\n"
    "bne     4f\n"
    SCATTERED_ROW
    "b       8f\n"
    "4:\n"
#endif
    "movs    r7, r5\n"
    "cmp     r0, #3\n"
    "bne     4f\n"
    NARROW_ROW
    "b       9f\n"
    "4:\n"
    WIDE_ROW
    "b       9f\n"
    "8:\n"
    "ldr     r4, [sp, #0]\n"
    "str     r7, [r4, #16]\n"
    "9:\n"
    "pop     {r4, r5}\n"
    "str     r6, [r4, #12]\n"
    "bx      r5\n"
#endif
    ".ltorg\n"
    ".p2align 1\n"
    ".size   lstm_step, . - lstm_step\n"
    ".text\n"
);

// The half for size: one product at a time, one gate after the other, in the order input, forget,
// cell, output.
#else

#define LSTM_HAS_INDEX (LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED)

// Where things lie on the stack. Pointers are those of the next unit.
#define FACTOR "0"        // what the next gate is multiplied with
#define KEPT "4"          // of the cell
#define HIDDEN "8"
#define CELLS "12"
#define HIDDEN_END "16"
#define RECALLED_END "20" // of the hidden values before the step
#define GIVEN_END "24"    // of the inputs
#define LAYER "28"
#if LSTM_HAS_INDEX
#define RECURRENT_INDEX "32"
#define INPUT_INDEX "36"
#define NEXT_SUM "40"     // of SUMS
#define SUMS "44"         // per gate: over the hidden values, over the inputs; 0 of a dense matrix
#define FRAME "76"
#else
#define FRAME "32"
#endif

__asm__(
    ".section .text.lstm_step, \"ax\", %progbits\n"
    ".syntax unified\n"
    ".thumb\n"
    ".p2align 2\n"

    // lstm_step(r0 input, r1 layer, r2 hidden, r3 cells, scratch on the stack)
    ".global lstm_step\n"
    ".type   lstm_step, %function\n"
    ".thumb_func\n"
    "lstm_step:\n"
    "push    {r4-r7, lr}\n"
    "mov     r4, r8\n"
    "mov     r5, r9\n"
    "mov     r6, r10\n"
    "mov     r7, r11\n"
    "push    {r4-r7}\n"
    "sub     sp, #" FRAME "\n"
    STORE("r1", LAYER)
    STORE("r2", HIDDEN)
    STORE("r3", CELLS)
    "ldrh    r3, [r1, #0]\n"
    "adds    r0, r3\n"
    STORE("r0", GIVEN_END)
    "ldrh    r4, [r1, #2]\n"
    "adds    r3, r2, r4\n"
    STORE("r3", HIDDEN_END)
    "ldr     r5, [sp, #" FRAME " + 36]\n"
    "adds    r3, r5, r4\n"
    STORE("r3", RECALLED_END)
    "1:\n"
    "subs    r4, #1\n"
    "ldrb    r3, [r2, r4]\n"
    "strb    r3, [r5, r4]\n"
    "bne     1b\n"
    "ldr     r3, [r1, #4]\n"
    "mov     r10, r3\n"
    "ldr     r3, [r1, #16]\n"
    "mov     r9, r3\n"
    "ldr     r3, [r1, #28]\n"
    "mov     r11, r3\n"
#if LSTM_HAS_INDEX
    "ldr     r3, [r1, #8]\n"
    STORE("r3", INPUT_INDEX)
    "ldr     r3, [r1, #20]\n"
    STORE("r3", RECURRENT_INDEX)
#endif

    ".Lunit:\n"
#if LSTM_HAS_INDEX
    "add     r7, sp, #" SUMS "\n"
    STORE("r7", NEXT_SUM)
    "movs    r0, #0\n"
    "movs    r1, #0\n"
    "movs    r2, #0\n"
    "movs    r3, #0\n"
    "stm     r7!, {r0-r3}\n"
    "stm     r7!, {r0-r3}\n"
    "subs    r7, #32\n"
    "mov     r12, r3\n"
    "mov     r0, r11\n"
    "push    {r0}\n"
    "ldr     r1, [sp, #4 + " LAYER "]\n"
    "ldrb    r3, [r1, #12]\n"
    "cmp     r3, #0\n"
    "beq     1f\n"
    "adds    r7, #4\n"
    "ldr     r4, [sp, #4 + " INPUT_INDEX "]\n"
    "ldr     r5, [sp, #4 + " GIVEN_END "]\n"
    "mov     r11, r5\n"
    "ldrh    r2, [r1, #0]\n"
    "subs    r5, r2\n"
    "mov     r6, r10\n"
    "bl      lstm_multiply\n"
    "mov     r10, r6\n"
    "str     r4, [sp, #4 + " INPUT_INDEX "]\n"
    "subs    r7, #4\n"
    "1:\n"
    "ldr     r1, [sp, #4 + " LAYER "]\n"
    "ldrb    r3, [r1, #24]\n"
    "cmp     r3, #0\n"
    "beq     1f\n"
    "movs    r0, #36\n"
    "ldrsb   r0, [r1, r0]\n"
    "rsbs    r0, r0, #0\n"
    "mov     r12, r0\n"
    "ldr     r4, [sp, #4 + " RECURRENT_INDEX "]\n"
    "ldr     r5, [sp, #4 + " RECALLED_END "]\n"
    "mov     r11, r5\n"
    "ldrh    r2, [r1, #2]\n"
    "subs    r5, r2\n"
    "mov     r6, r9\n"
    "bl      lstm_multiply\n"
    "mov     r9, r6\n"
    "str     r4, [sp, #4 + " RECURRENT_INDEX "]\n"
    "1:\n"
    "pop     {r0}\n"
    "mov     r11, r0\n"
#endif
    LOAD("r4", LAYER)
    "ldr     r4, [r4, #32]\n"
    "movs    r5, r4\n"
    "adds    r5, #48\n"  // past the words

    "bl      lstm_gate\n"
    "bl      lstm_sigmoid\n"
    STORE("r0", FACTOR)

    // Forget gate times cell.
    "bl      lstm_gate\n"
    "bl      lstm_sigmoid\n"
    LOAD("r1", CELLS)
    "movs    r2, #0\n"
    "ldrsh   r1, [r1, r2]\n"
    "muls    r0, r1\n"
    "bl      lstm_scale\n"
    STORE("r0", KEPT)

    // Input gate times cell gate is added.
    "bl      lstm_gate\n"
    "movs    r1, #6\n"
    "muls    r0, r1\n"
    "bl      lstm_tanh\n"
    LOAD("r1", FACTOR)
    "muls    r0, r1\n"
    "bl      lstm_scale\n"
    LOAD("r1", KEPT)
    "adds    r0, r1\n"
    "ldm     r4!, {r2}\n"
    "sxth    r1, r2\n"
    "asrs    r2, #16\n"
    "bl      lstm_clamp\n"
    LOAD("r1", CELLS)
    "strh    r0, [r1]\n"
    "adds    r1, #2\n"
    STORE("r1", CELLS)

    // Its tanh: 6 / 2^9 knots per step, times 8 and shifted right, with halves rounded up, before
    // the doubling.
    "movs    r1, #48\n"
    "muls    r0, r1\n"
    "ldrb    r1, [r5]\n"
    "adds    r5, #1\n"
    "movs    r2, #0\n"
    "asrs    r0, r1\n"
    "adcs    r0, r2\n"
    "lsls    r0, #1\n"
    "bl      lstm_tanh\n"
    STORE("r0", FACTOR)

    // Times the output gate: the hidden value.
    "bl      lstm_gate\n"
    "bl      lstm_sigmoid\n"
    LOAD("r1", FACTOR)
    "muls    r0, r1\n"
    "bl      lstm_scale\n"
    LOAD("r1", LAYER)
    "movs    r2, #36\n"
    "ldrsb   r1, [r1, r2]\n"
    "adds    r0, r1\n"
    "movs    r2, #127\n"
    "bl      lstm_clamp_both\n"
    LOAD("r1", HIDDEN)
    "strb    r0, [r1]\n"
    "adds    r1, #1\n"
    STORE("r1", HIDDEN)
    LOAD("r0", HIDDEN_END)
    "cmp     r0, r1\n"
    "bne     .Lunit\n"

    "add     sp, #" FRAME "\n"
    "pop     {r4-r7}\n"
    "mov     r8, r4\n"
    "mov     r9, r5\n"
    "mov     r10, r6\n"
    "mov     r11, r7\n"
    "pop     {r4-r7, pc}\n"

    // r0 = a part of a gate: r0, and the products of r2 weights from r6 on with the values before
    // r7, to which r12 is added; in Q3.12. Multipliers are at r4, shifts at r5.
    ".thumb_func\n"
    "lstm_part:\n"
    "adds    r6, r2\n"
    "rsbs    r2, r2, #0\n"
    "1:\n"
    "ldrsb   r1, [r6, r2]\n"
    "ldrsb   r3, [r7, r2]\n"
    "add     r3, r12\n"
    "muls    r1, r3\n"
    "adds    r0, r1\n"
    "adds    r2, #1\n"
    "bne     1b\n"
    "lstm_scale:\n"
    "push    {lr}\n"
    "ldm     r4!, {r1}\n"
    "movs    r2, #0\n"
    "ldrsb   r2, [r5, r2]\n"
    "adds    r5, #1\n"
    "bl      fixed_multiply_by\n"
    "pop     {r3}\n"
    "mov     lr, r3\n"

    // r0 within 16 bits; within r2 and ~r2; within r2 and r1.
    "lstm_saturate:\n"
    "ldr     r2, =0x7fff\n"
    "lstm_clamp_both:\n"
    "mvns    r1, r2\n"
    "lstm_clamp:\n"
    "cmp     r0, r2\n"
    "ble     1f\n"
    "movs    r0, r2\n"
    "1:\n"
    "cmp     r0, r1\n"
    "bge     1f\n"
    "movs    r0, r1\n"
    "1:\n"
    "bx      lr\n"

    // r0 = the next gate, Q3.12. Weights are at r9, the input's at r10, the bias at r11; spoils r8.
    "lstm_gate:\n"
    "push    {lr}\n"
    "ldr     r6, [sp, #4 + " LAYER "]\n"
    "ldrh    r2, [r6, #2]\n"
#if LSTM_HAS_INDEX
    "ldr     r1, [sp, #4 + " NEXT_SUM "]\n"
    "ldm     r1!, {r0}\n"
    "ldrb    r3, [r6, #24]\n"
    "cmp     r3, #0\n"
    "beq     1f\n"
    "bl      lstm_scale\n"
    "b       2f\n"
    "1:\n"
#else
    "movs    r0, #0\n"
#endif
    "movs    r1, #36\n"
    "ldrsb   r1, [r6, r1]\n"
    "rsbs    r1, r1, #0\n"
    "mov     r12, r1\n"
    "mov     r6, r9\n"
    "ldr     r7, [sp, #4 + " RECALLED_END "]\n"
    "bl      lstm_part\n"
    "mov     r9, r6\n"
    "2:\n"
    "mov     r8, r0\n"
    "mov     r3, r11\n"  // 24 bits of bias
    "ldrb    r0, [r3, #0]\n"
    "ldrb    r1, [r3, #1]\n"
    "lsls    r1, #8\n"
    "adds    r0, r1\n"
    "movs    r1, #2\n"
    "ldrsb   r1, [r3, r1]\n"
    "lsls    r1, #16\n"
    "adds    r0, r1\n"
    "adds    r3, #3\n"
    "mov     r11, r3\n"
    "ldr     r6, [sp, #4 + " LAYER "]\n"
    "ldrh    r2, [r6, #0]\n"
#if LSTM_HAS_INDEX
    "ldr     r1, [sp, #4 + " NEXT_SUM "]\n"
    "ldr     r3, [r1, #4]\n"
    "adds    r0, r3\n"
    "adds    r1, #8\n"
    "str     r1, [sp, #4 + " NEXT_SUM "]\n"
    "ldrb    r3, [r6, #12]\n"
    "cmp     r3, #0\n"
    "beq     1f\n"
    "bl      lstm_scale\n"
    "b       2f\n"
    "1:\n"
#endif
    "movs    r1, #0\n"
    "mov     r12, r1\n"
    "mov     r6, r10\n"
    "ldr     r7, [sp, #4 + " GIVEN_END "]\n"
    "bl      lstm_part\n"
    "mov     r10, r6\n"
    "2:\n"
    "add     r0, r8\n"
    "bl      lstm_saturate\n"
    "pop     {pc}\n"

    // r0 = sigmoid(r0), Q3.12 -> Q0.15: the table has 3 / 2^9 knots per step.
    "lstm_sigmoid:\n"
    "push    {lr}\n"
    "movs    r1, #3\n"
    "muls    r0, r1\n"
    "movs    r1, #10\n"
    "bl      lstm_line\n"
    "movs    r1, #64\n"  // a half
    "lsls    r1, #8\n"
    "adds    r0, r1\n"
    "pop     {pc}\n"

    // r0 = tanh of r0 / 2^9 knots -> Q0.15.
    "lstm_tanh:\n"
    "movs    r1, #9\n"

    // r0 = 2^9 times the table at r0 / 2^9, divided by 2^r1: of the magnitude, with the sign put
    // back. As ~x is -x - 1, halves are rounded away from zero. Past the table it is what the last
    // knot has. Spoils r6.
    "lstm_line:\n"
    "asrs    r2, r0, #31\n"
    "eors    r0, r2\n"
    "subs    r0, r2\n"
    "lsrs    r3, r0, #9\n"
    "lsls    r0, #23\n"
    "lsrs    r0, #23\n"
    "cmp     r3, #255\n"
    "blo     1f\n"
    "movs    r3, #254\n"
    "movs    r0, #1\n"
    "lsls    r0, #9\n"
    "1:\n"
    "ldr     r6, =activation_table\n"
    "lsls    r3, #1\n"
    "adds    r3, r6\n"
    "ldrh    r6, [r3, #0]\n"
    "ldrh    r3, [r3, #2]\n"
    "subs    r3, r6\n"
    "muls    r3, r0\n"
    "lsls    r6, #9\n"
    "adds    r3, r6\n"
    "eors    r3, r2\n"
    "movs    r0, #0\n"
    "asrs    r3, r1\n"  // leaves the last bit it drops in the carry
    "adcs    r0, r3\n"
    "bx      lr\n"

#if LSTM_HAS_INDEX
    // Sums at r7 of the products of a row: of weights at r6, index at r4, with values at r5, to
    // which r12 is added, before r11. r3 is the format. Spoils r0 to r3 and r8.
    "lstm_multiply:\n"
    "push    {r3, r5, lr}\n"
    "cmp     r3, #1\n"
    "bne     2f\n"
    "ldrb    r3, [r4]\n"  // the number of blocks; of all
    "adds    r4, #1\n"
    "b       7f\n"
    "2:\n"
    "mov     r3, r11\n"
    "subs    r3, r5\n"
    "adds    r3, #1\n"
    "lsrs    r3, #1\n"  // pairs of columns
    "b       7f\n"
    "3:\n"
    "push    {r3}\n"
    "ldr     r1, [sp, #4]\n"
    "ldrb    r0, [r4]\n"
    "adds    r4, #1\n"
    "cmp     r1, #1\n"
    "bne     4f\n"
    "ldr     r5, [sp, #8]\n"
    "adds    r5, r0\n"
    "adds    r5, r0\n"
    "movs    r0, #0xff\n"
    "4:\n"
    // A pair of columns: r0 has a bit for each weight that there is, r2 is 4 times its number.
    "movs    r2, #0\n"
    "5:\n"
    "lsrs    r0, #1\n"
    "bcc     6f\n"
    "mov     r8, r0\n"
    "movs    r1, #0\n"
    "ldrsb   r1, [r6, r1]\n"
    "adds    r6, #1\n"
    "cmp     r1, #0\n"  // where a block fills up an odd number of columns there is no value
    "beq     6f\n"
    "lsrs    r3, r2, #4\n"
    "ldrsb   r3, [r5, r3]\n"
    "add     r3, r12\n"
    "muls    r1, r3\n"
    "movs    r3, #12\n"
    "ands    r3, r2\n"
    "lsls    r3, #1\n"
    "ldr     r0, [r7, r3]\n"
    "adds    r0, r1\n"
    "str     r0, [r7, r3]\n"
    "mov     r0, r8\n"
    "6:\n"
    "adds    r2, #4\n"
    "cmp     r2, #32\n"
    "bne     5b\n"
    "adds    r5, #2\n"
    "pop     {r3}\n"
    "subs    r3, #1\n"
    "7:\n"
    "cmp     r3, #0\n"
    "bne     3b\n"
    "pop     {r3, r5, pc}\n"
#endif
    ".ltorg\n"
    ".size   lstm_step, . - lstm_step\n"
    ".text\n"
);
#endif
// clang-format on
