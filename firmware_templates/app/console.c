#include "console.h"

#include <stdbool.h>
#include <stddef.h>

#include "board.h"
#include "flash.h"
#include "forecast.h"
#include "hex.h"
#include "line.h"
#include "model.h"
#include "port.h"
#include "protocol.h"
#if APPLICATION_SHELF
#include "shelf_verbs.h"
#endif

#define CONSOLE_WINDOW_BYTES ((uint32_t)MODEL_STEPS * MODEL_FEATURES)

#if BOARD_LINE_BYTES < PROTOCOL_MIN_LINE_BYTES
#error "line_bytes of the board is below what the protocol needs."
#endif

// "@65535 step " before the digits of one sample, " *" and a CRC and the newline after them.
#if BOARD_LINE_BYTES < 12 + 2 * MODEL_FEATURES + 11
#error "the lines are too short for one sample of this model: render it again."
#endif

static MODEL_STATE(console_states);
#if CONSOLE_HAS_WINDOW
static int8_t console_window[CONSOLE_WINDOW_BYTES];  // (steps, features)
#endif
static int8_t console_outputs[MODEL_OUTPUTS];  // of the last forecast
static uint32_t console_ticks;                 // that it took

// Room for a copy of the states, where it costs little: a whole sequence is no state to go on from.
#define CONSOLE_CAN_SAVE (FORECAST_HAS_STEPS && !MODEL_WHOLE_SEQUENCE)
#if CONSOLE_HAS_WINDOW && CONSOLE_CAN_SAVE
static uint8_t console_saved[MODEL_SAVED_BYTES];
static bool console_has_saved;
#endif

static line_reader_t console_line;

// The last request carried out; seq 0: none that could be repeated.
static uint16_t console_last_seq;
static uint32_t console_last_crc;

CONSOLE_SHARED void console_begin(uint16_t seq, const FLASH_DATA char *words) {
    line_begin();
    if (seq != 0) {
        line_text(FLASH_TEXT("@"));
        line_unsigned(seq);
        line_text(FLASH_TEXT(" "));
    }
    line_text(words);
}

static void console_key_text(const FLASH_DATA char *key, const FLASH_DATA char *value) {
    line_text(key);
    line_text(value);
}

static void console_key_unsigned(const FLASH_DATA char *key, uint32_t value) {
    line_text(key);
    line_unsigned(value);
}

static void console_key_hex32(const FLASH_DATA char *key, uint32_t value) {
    line_text(key);
    line_hex32(value);
}

static void console_key_signed(const FLASH_DATA char *key, int32_t value) {
    line_text(key);
    line_signed(value);
}

// Refuse a request in fixed words. Returns -1, for the caller to return.
CONSOLE_SHARED int console_refuse(uint16_t seq, const FLASH_DATA char *code,
                                  const FLASH_DATA char *words) {
    console_begin(seq, FLASH_TEXT("err "));
    line_text(code);
    line_text(FLASH_TEXT(" "));
    line_text(words);
    line_end();
    return -1;
}

// Refuse a request for its arguments: what the verb takes, then the reason. Returns -1.
CONSOLE_SHARED int console_refuse_arguments(const console_request_t *request,
                                            const FLASH_DATA char *reason) {
    console_begin(request->seq, FLASH_TEXT("err " PROTOCOL_ERR_ARGS " "));
    line_text(request->name);
    line_text(FLASH_TEXT(" takes "));
    line_text(*request->usage != '\0' ? request->usage : FLASH_TEXT("no arguments"));
    line_text(reason);
    line_end();
    return -1;
}

#if CONSOLE_HAS_WINDOW
// Refuse values of the window that it does not have. Returns -1.
static int console_refuse_values(uint16_t seq, uint32_t offset, uint32_t count) {
    console_begin(seq, FLASH_TEXT("err " PROTOCOL_ERR_RANGE " "));
    line_unsigned(count);
    line_text(FLASH_TEXT(" values from "));
    line_unsigned(offset);
    line_text(FLASH_TEXT(" end past the window of "));
    line_unsigned(CONSOLE_WINDOW_BYTES);
    line_end();
    return -1;
}
#endif

// strcmp, which the C library has in 730 bytes for speed.
static bool console_equal(const char *word, const FLASH_DATA char *other) {
    while (*word != '\0' && *word == *other) {
        word++;
        other++;
    }
    return *word == *other;
}

// Cut the next word off *rest, which then begins after it. Empty when there is none.
CONSOLE_SHARED char *console_word(char **rest) {
    char *word = *rest;
    while (*word == ' ') {
        word++;
    }
    char *end = word;
    while (*end != '\0' && *end != ' ') {
        end++;
    }
    if (*end == ' ') {
        *end++ = '\0';
    }
    while (*end == ' ') {
        end++;
    }
    *rest = end;
    return word;
}

// Read a decimal number; one too large for 32 bits becomes the largest, which nothing here has.
// Returns 0, or -1 when the word is no number.
CONSOLE_SHARED int console_number(const char *word, uint32_t *value) {
    uint32_t number = 0;
    if (*word == '\0') {
        return -1;
    }
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9') {
            return -1;
        }
        const uint32_t digit = (uint32_t)(*word - '0');
        number = number > (UINT32_MAX - digit) / 10u ? UINT32_MAX : number * 10u + digit;
    }
    *value = number;
    return 0;
}

#if CONSOLE_HAS_WINDOW
static bool console_window_has(uint32_t offset, uint32_t count) {
    return count <= CONSOLE_WINDOW_BYTES && offset <= CONSOLE_WINDOW_BYTES - count;
}
#endif

// The key=values of `hello` and of `ready`.
static void console_describe(void) {
    console_key_unsigned(FLASH_TEXT(" protocol="), PROTOCOL_VERSION);
    console_key_text(FLASH_TEXT(" firmware="), FLASH_TEXT(PROTOCOL_FIRMWARE));
    console_key_text(FLASH_TEXT(" board="), FLASH_TEXT(BOARD_NAME));
    console_key_unsigned(FLASH_TEXT(" engine="), FORECAST_ENGINE_VERSION);
    console_key_hex32(FLASH_TEXT(" model="), MODEL_CRC32);
    console_key_unsigned(FLASH_TEXT(" steps="), MODEL_STEPS);
    console_key_unsigned(FLASH_TEXT(" features="), MODEL_FEATURES);
    console_key_unsigned(FLASH_TEXT(" outputs="), MODEL_OUTPUTS);
    console_key_text(FLASH_TEXT(" hidden="), FLASH_TEXT(MODEL_HIDDEN_SIZES));
    console_key_unsigned(FLASH_TEXT(" sequence="), MODEL_WHOLE_SEQUENCE);
    console_key_hex32(FLASH_TEXT(" in_scale="), MODEL_INPUT_SCALE_BITS);
    console_key_signed(FLASH_TEXT(" in_zero="), MODEL_INPUT_ZERO_POINT);
    console_key_hex32(FLASH_TEXT(" out_scale="), MODEL_OUTPUT_SCALE_BITS);
    console_key_signed(FLASH_TEXT(" out_zero="), MODEL_OUTPUT_ZERO_POINT);
    console_key_unsigned(FLASH_TEXT(" line="), BOARD_LINE_BYTES);
    console_key_unsigned(FLASH_TEXT(" clock="), port_clock_hz());
    console_key_unsigned(FLASH_TEXT(" ram="), port_static_bytes());
    console_key_unsigned(FLASH_TEXT(" stack="), port_stack_bytes());
#if !FORECAST_HAS_STEPS
    console_key_text(FLASH_TEXT(" runtime="), FLASH_TEXT("tflm"));
    console_key_unsigned(FLASH_TEXT(" arena="), MODEL_ARENA_BYTES);
    console_key_unsigned(FLASH_TEXT(" arena_used="), forecast_arena_used());
#endif
}

static int console_hello(const console_request_t *request) {
    console_begin(request->seq, FLASH_TEXT("ok hello"));
    console_describe();
    line_end();
    return 0;
}

static int console_help(const console_request_t *request);

static int console_reset(const console_request_t *request) {
    forecast_reset(&model, console_states);
    console_begin(request->seq, FLASH_TEXT("ok reset"));
    line_end();
    return 0;
}

#if !FORECAST_HAS_STEPS
// Say why there is no forecast. Returns -1.
static int console_refuse_run(uint16_t seq) {
    if (forecast_is_ready()) {
        return console_refuse(seq, FLASH_TEXT(PROTOCOL_ERR_RUNTIME),
                              FLASH_TEXT("the interpreter failed in the middle of the model"));
    }
    console_begin(seq, FLASH_TEXT("err " PROTOCOL_ERR_RUNTIME " "));
    line_text(FLASH_TEXT("the interpreter could not place the model in its arena of "));
    line_unsigned(MODEL_ARENA_BYTES);
    line_text(FLASH_TEXT(" bytes, "));
    line_unsigned(forecast_arena_used());
    line_text(FLASH_TEXT(" of them used when it gave up"));
    line_end();
    return -1;
}
#endif

#if CONSOLE_HAS_WINDOW
static int console_load(const console_request_t *request) {
    char *rest = request->arguments;
    const char *offset_word = console_word(&rest);
    const char *digits = console_word(&rest);
    uint32_t offset;
    if (console_number(offset_word, &offset) != 0) {
        return console_refuse_arguments(request, FLASH_TEXT(": the offset is a number"));
    }
    const int count = hex_count(digits);
    if (count < 0 || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(": two digits for each value"));
    }
    if (!console_window_has(offset, (uint32_t)count)) {
        return console_refuse_values(request->seq, offset, (uint32_t)count);
    }
    hex_decode(digits, (uint8_t *)console_window + offset, count);
    console_begin(request->seq, FLASH_TEXT("ok load"));
    console_key_unsigned(FLASH_TEXT(" bytes="), (uint32_t)count);
    line_end();
    return 0;
}

static int console_run(const console_request_t *request) {
    char *rest = request->arguments;
    const char *word = console_word(&rest);
    const bool keep = console_equal(word, FLASH_TEXT("keep"));
    if ((!keep && *word != '\0') || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(""));
    }
    if (!request->repeated) {
        if (keep) {
            forecast_rewind(&model, console_states);
        } else {
            forecast_reset(&model, console_states);
        }
        port_start_ticks();
        const int status = forecast_window(console_window, console_outputs, &model, console_states);
        console_ticks = port_ticks();
        if (status != FORECAST_OK) {
#if FORECAST_HAS_STEPS
            return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_INTERNAL),
                                  FLASH_TEXT("the engine refused"));
#else
            return console_refuse_run(request->seq);
#endif
        }
    }
    console_begin(request->seq, FLASH_TEXT("ok run out="));
    line_hex_bytes(console_outputs, MODEL_OUTPUTS);
    console_key_unsigned(FLASH_TEXT(" ticks="), console_ticks);
    line_end();
    return 0;
}
#endif

#if FORECAST_HAS_STEPS
#define CONSOLE_TEXT_OF(number) #number
#define CONSOLE_TEXT(macro) CONSOLE_TEXT_OF(macro)
#define CONSOLE_SAMPLE_WORDS ": two digits per value, " CONSOLE_TEXT(MODEL_FEATURES) " per sample"

static int console_step(const console_request_t *request) {
    char *rest = request->arguments;
    char *digits = console_word(&rest);
    if (hex_count(digits) != MODEL_FEATURES || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(CONSOLE_SAMPLE_WORDS));
    }
    if (!request->repeated) {
        // The sample takes the place of its own digits.
        int8_t *sample = (int8_t *)digits;
        hex_decode(digits, (uint8_t *)sample, MODEL_FEATURES);
        port_start_ticks();
        int status = forecast_step(sample, &model, console_states);
        if (status == FORECAST_OK && !MODEL_WHOLE_SEQUENCE) {
            status = forecast_output(console_outputs, &model, console_states);
        }
        console_ticks = port_ticks();
        if (status == FORECAST_ERR_STEPS) {
            return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_RANGE),
                                  FLASH_TEXT("the window has all its steps: reset first"));
        }
        if (status != FORECAST_OK) {
            return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_INTERNAL),
                                  FLASH_TEXT("the engine refused"));
        }
    }
    console_begin(request->seq, FLASH_TEXT("ok step"));
    if (!MODEL_WHOLE_SEQUENCE) {
        line_text(FLASH_TEXT(" out="));
        line_hex_bytes(console_outputs, MODEL_OUTPUTS);
    }
    console_key_unsigned(FLASH_TEXT(" ticks="), console_ticks);
    line_end();
    return 0;
}
#endif

#if CONSOLE_HAS_WINDOW
#if CONSOLE_CAN_SAVE
static int console_save(const console_request_t *request) {
    if (!request->repeated) {
        forecast_save(console_saved, &model, console_states);
        console_has_saved = true;
    }
    console_begin(request->seq, FLASH_TEXT("ok save hex="));
    line_hex_bytes((const int8_t *)console_saved, MODEL_SAVED_BYTES);
    line_end();
    return 0;
}

static int console_restore(const console_request_t *request) {
    if (!console_has_saved) {
        return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_STATE),
                              FLASH_TEXT("nothing was saved"));
    }
    if (!request->repeated &&
        forecast_restore(console_saved, &model, console_states) != FORECAST_OK) {
        return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_INTERNAL),
                              FLASH_TEXT("the engine refused"));
    }
    console_begin(request->seq, FLASH_TEXT("ok restore"));
    line_end();
    return 0;
}
#elif FORECAST_HAS_STEPS
static int console_save(const console_request_t *request) {
    return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_STATE),
                          FLASH_TEXT("the head reads whole windows: there is no stream"));
}

static int console_restore(const console_request_t *request) {
    return console_save(request);
}
#endif
#endif

#if FORECAST_HAS_STEPS
static int console_state(const console_request_t *request) {
    char *rest = request->arguments;
    const char *word = console_word(&rest);
    uint32_t layer;
    if (console_number(word, &layer) != 0 || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(": a number"));
    }
    if (layer >= MODEL_LSTM_COUNT) {
        console_begin(request->seq, FLASH_TEXT("err " PROTOCOL_ERR_RANGE " there is no layer "));
        line_unsigned(layer);
        line_text(FLASH_TEXT(", the last is "));
        line_unsigned(MODEL_LSTM_COUNT - 1);
        line_end();
        return -1;
    }
    const uint16_t size = model.lstms[layer].hidden_size;
    console_begin(request->seq, FLASH_TEXT("ok state h="));
    line_hex_bytes(forecast_hidden((uint8_t)layer, &model, console_states), size);
    line_text(FLASH_TEXT(" c="));
    line_hex_words(forecast_cells((uint8_t)layer, &model, console_states), size);
    line_end();
    return 0;
}
#else
static int console_no_steps(const console_request_t *request) {
    return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_RUNTIME),
                          FLASH_TEXT("the interpreter runs whole windows and shows no state"));
}

#define console_step console_no_steps
#define console_save console_no_steps
#define console_restore console_no_steps
#define console_state console_no_steps
#endif

#if CONSOLE_HAS_WINDOW
static int console_input(const console_request_t *request) {
    char *rest = request->arguments;
    const char *offset_word = console_word(&rest);
    const char *count_word = console_word(&rest);
    uint32_t offset;
    uint32_t count;
    if (console_number(offset_word, &offset) != 0 || console_number(count_word, &count) != 0 ||
        count == 0 || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(": two numbers, n at least 1"));
    }
    if (!console_window_has(offset, count)) {
        return console_refuse_values(request->seq, offset, count);
    }
    console_begin(request->seq, FLASH_TEXT("ok input hex="));
    line_hex_bytes(console_window + offset, (uint16_t)count);
    line_end();
    return 0;
}
#endif

static int console_stack(const console_request_t *request) {
    console_begin(request->seq, FLASH_TEXT("ok stack"));
    console_key_unsigned(FLASH_TEXT(" size="), port_stack_bytes());
    console_key_unsigned(FLASH_TEXT(" used="), port_stack_used());
    line_end();
    return 0;
}

#define CONSOLE_NOTHING(verb, usage, meaning)

#if CONSOLE_HAS_WINDOW
#define CONSOLE_MEANING_TEXT(name, meaning) FLASH_NAMED_TEXT(name, meaning)
#define CONSOLE_MEANING(name, meaning) FLASH_NAMED(name, meaning),
#else
#define CONSOLE_MEANING_TEXT(name, meaning)
#define CONSOLE_MEANING(name, meaning)
#endif

#define CONSOLE_TEXTS(verb, usage, meaning)                                                        \
    FLASH_NAMED_TEXT(console_##verb##_name, #verb)                                                 \
    FLASH_NAMED_TEXT(console_##verb##_usage, usage)                                                \
    CONSOLE_MEANING_TEXT(console_##verb##_meaning, meaning)

#define CONSOLE_ROW(verb, usage, meaning, answers)                                                 \
    {FLASH_NAMED(console_##verb##_name, #verb), FLASH_NAMED(console_##verb##_usage, usage),        \
     CONSOLE_MEANING(console_##verb##_meaning, meaning) answers},
#define CONSOLE_ENTRY(verb, usage, meaning) CONSOLE_ROW(verb, usage, meaning, console_##verb)

#if CONSOLE_HAS_WINDOW
PROTOCOL_VERBS(CONSOLE_TEXTS, CONSOLE_TEXTS)
#define CONSOLE_OWN PROTOCOL_VERBS(CONSOLE_ENTRY, CONSOLE_ENTRY)
#else
PROTOCOL_VERBS(CONSOLE_TEXTS, CONSOLE_NOTHING)
#define CONSOLE_OWN PROTOCOL_VERBS(CONSOLE_ENTRY, CONSOLE_NOTHING)
#endif

#if APPLICATION_SHELF
#if CONSOLE_HAS_WINDOW
#define CONSOLE_SHELF_VERBS(VERB) PROTOCOL_SHELF_VERBS(VERB, VERB)
#else
#define CONSOLE_SHELF_VERBS(VERB) PROTOCOL_SHELF_VERBS(VERB, CONSOLE_NOTHING)
#endif
CONSOLE_SHELF_VERBS(CONSOLE_TEXTS)
#define CONSOLE_SHELF_ENTRY(verb, usage, meaning)                                                  \
    CONSOLE_ROW(verb, usage, meaning, shelf_verb_##verb)
#define CONSOLE_OTHERS CONSOLE_SHELF_VERBS(CONSOLE_SHELF_ENTRY)
#else
#define CONSOLE_OTHERS
#endif

static const FLASH_DATA struct {
    const FLASH_DATA char *name;
    const FLASH_DATA char *usage;
#if CONSOLE_HAS_WINDOW
    const FLASH_DATA char *meaning;
#endif
    console_verb_t answer;
} console_verbs[] = {CONSOLE_OWN CONSOLE_OTHERS};
#define CONSOLE_VERB_COUNT (sizeof console_verbs / sizeof console_verbs[0])

static int console_help(const console_request_t *request) {
    for (size_t i = 0; i < CONSOLE_VERB_COUNT; i++) {
        line_text(FLASH_TEXT("# "));
        line_text(console_verbs[i].name);
        line_text(*console_verbs[i].usage != '\0' ? FLASH_TEXT(" ") : FLASH_TEXT(""));
        line_text(console_verbs[i].usage);
#if CONSOLE_HAS_WINDOW
        line_text(FLASH_TEXT("  "));
        line_text(console_verbs[i].meaning);
#endif
        line_end_log();
    }
    console_begin(request->seq, FLASH_TEXT("ok help"));
    line_end();
    return 0;
}

// Answer the whole line that has been received.
static void console_answer(void) {
    uint32_t crc;
    const line_crc_t seal = line_check(&console_line, &crc);
    char *rest = console_line.text;
    uint32_t seq = 0;
    // A damaged line answers without its number: that may be what is damaged.
    if (seal == LINE_CRC_WRONG) {
        (void)console_refuse(0, FLASH_TEXT(PROTOCOL_ERR_CRC),
                             FLASH_TEXT("the line arrived damaged"));
        return;
    }
    if (*rest == '@') {
        if (seal == LINE_CRC_ABSENT) {
            (void)console_refuse(0, FLASH_TEXT(PROTOCOL_ERR_CRC),
                                 FLASH_TEXT("a line with a sequence number needs a CRC"));
            return;
        }
        const char *word = console_word(&rest) + 1;
        if (console_number(word, &seq) != 0 || seq == 0 || seq > PROTOCOL_MAX_SEQ) {
            (void)console_refuse(0, FLASH_TEXT(PROTOCOL_ERR_ARGS),
                                 FLASH_TEXT("sequence numbers are 1 to 65535"));
            return;
        }
    }
    const char *name = console_word(&rest);
    if (*name == '\0') {
        if (seal == LINE_CRC_RIGHT) {
            (void)console_refuse((uint16_t)seq, FLASH_TEXT(PROTOCOL_ERR_VERB),
                                 FLASH_TEXT("no verb, help lists them"));
        }
        return;
    }
    for (size_t i = 0; i < CONSOLE_VERB_COUNT; i++) {
        if (!console_equal(name, console_verbs[i].name)) {
            continue;
        }
        const console_request_t request = {
            .seq = (uint16_t)seq,
            .repeated = seq != 0 && seq == console_last_seq && crc == console_last_crc,
            .name = console_verbs[i].name,
            .usage = console_verbs[i].usage,
            .arguments = rest,
        };
        if (*request.usage == '\0' && *rest != '\0') {
            (void)console_refuse_arguments(&request, FLASH_TEXT(""));
        } else if (console_verbs[i].answer(&request) == 0) {
            console_last_seq = request.seq;
            console_last_crc = crc;
        }
        return;
    }
    (void)console_refuse((uint16_t)seq, FLASH_TEXT(PROTOCOL_ERR_VERB),
                         FLASH_TEXT("no such verb, help lists them"));
}

void console_start(void) {
    forecast_reset(&model, console_states);
    line_text(FLASH_TEXT("# shelfcast " PROTOCOL_FIRMWARE " on " BOARD_NAME));
    line_end_log();
    line_begin();
    line_text(FLASH_TEXT("ready"));
    console_describe();
    line_end();
}

void console_receive(uint8_t byte) {
    switch (line_receive(byte, &console_line)) {
    case LINE_PART:
        break;
    case LINE_WHOLE:
        console_answer();
        break;
    case LINE_TOO_LONG:
        console_begin(0, FLASH_TEXT("err " PROTOCOL_ERR_LENGTH " lines are at most "));
        line_unsigned(BOARD_LINE_BYTES);
        line_text(FLASH_TEXT(" bytes, newline included"));
        line_end();
        break;
    }
}
