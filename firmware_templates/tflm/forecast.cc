#include "forecast.h"

#include <cstdarg>
#include <cstddef>
#include <cstring>
#include <new>

#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

extern "C" {
#include "port.h"
}

static_assert(TFLITE_SCHEMA_VERSION == MODEL_SCHEMA_VERSION,
              "this TensorFlow Lite Micro reads another version of the .tflite schema");
static_assert(sizeof(void *) == 4, "the arena was computed for pointers of 4 bytes");

namespace {

constexpr size_t kArenaBytes = MODEL_ARENA_BYTES;
static_assert(kArenaBytes % FORECAST_ARENA_ALIGNMENT == 0, "the arena ends between two buffers");

using Resolver = tflite::MicroMutableOpResolver<MODEL_OPERATOR_COUNT>;

// Constructed in place by the first reset: no constructor runs before main.
alignas(Resolver) uint8_t forecast_resolver[sizeof(Resolver)];
alignas(tflite::MicroInterpreter) uint8_t forecast_place[sizeof(tflite::MicroInterpreter)];
tflite::MicroInterpreter *forecast_interpreter;
bool forecast_ready;

#define FORECAST_ADD(name) resolver->Add##name() == kTfLiteOk &&

bool forecast_set_up(const forecast_model_t *file, forecast_state_t *state) {
    Resolver *resolver = new (forecast_resolver) Resolver;
    const bool known = MODEL_OPERATORS(FORECAST_ADD) true;
    forecast_interpreter = new (forecast_place) tflite::MicroInterpreter(
        tflite::GetModel(file->tflite), *resolver, state->bytes, kArenaBytes);
    return known && forecast_interpreter->AllocateTensors() == kTfLiteOk &&
           forecast_interpreter->input(0)->bytes == (size_t)file->steps * file->features &&
           forecast_interpreter->output(0)->bytes == file->outputs;
}

}  // namespace

void forecast_reset(const forecast_model_t *file, forecast_state_t *state) {
    if (forecast_interpreter == nullptr) {
        forecast_ready = forecast_set_up(file, state);
    } else if (forecast_ready) {
        forecast_ready = forecast_interpreter->Reset() == kTfLiteOk;
    }
}

void forecast_rewind(const forecast_model_t *, forecast_state_t *) {
}

int forecast_window(const int8_t *window, int8_t *outputs, const forecast_model_t *file,
                    forecast_state_t *) {
    if (!forecast_ready) {
        return FORECAST_ERR_SETUP;
    }
    std::memcpy(forecast_interpreter->input(0)->data.raw, window,
                (size_t)file->steps * file->features);
    if (forecast_interpreter->Invoke() != kTfLiteOk) {
        return FORECAST_ERR_INVOKE;
    }
    std::memcpy(outputs, forecast_interpreter->output(0)->data.raw, file->outputs);
    return FORECAST_OK;
}

uint32_t forecast_arena_used() {
    return (uint32_t)forecast_interpreter->arena_used_bytes();
}

int forecast_is_ready() {
    return forecast_ready;
}

// What the library expects of its surroundings.

namespace {

bool forecast_in_line;  // a log line has begun

void forecast_put(char character) {
    if (character == '\r') {
        return;
    }
    if (!forecast_in_line) {
        if (character == '\n') {
            return;
        }
        forecast_in_line = true;
        for (const char *text = "# tflm: "; *text != '\0'; text++) {
            port_put((uint8_t)*text);
        }
    }
    port_put((uint8_t)character);
    forecast_in_line = character != '\n';
}

void forecast_put_text(const char *text) {
    while (*text != '\0') {
        forecast_put(*text++);
    }
}

void forecast_put_number(uint32_t value) {
    char digits[10];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value > 0);
    while (count > 0) {
        forecast_put(digits[--count]);
    }
}

}  // namespace

extern "C" {

// What a library that kept its error strings has to say, as log lines: %d, %u and %s, and of what
// else it may be the letter alone.
void DebugLog(const char *format, va_list args) {
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            forecast_put(*format);
            continue;
        }
        do {
            format++;
        } while (*format == 'l' || *format == 'z');
        if (*format == 's') {
            forecast_put_text(va_arg(args, const char *));
        } else if (*format == 'd' || *format == 'u') {
            const uint32_t value = va_arg(args, uint32_t);
            const bool negative = *format == 'd' && (value >> 31) != 0;
            forecast_put_text(negative ? "-" : "");
            forecast_put_number(negative ? 0u - value : value);
        } else if (*format == '\0') {
            return;
        } else {
            forecast_put(*format);
            if (*format == '%') {
                continue;
            }
            return;  // its argument's size is unknown, and so are those behind it
        }
    }
}

int DebugVsnprintf(char *buffer, size_t size, const char *, va_list) {
    if (size > 0) {
        *buffer = '\0';
    }
    return 0;
}

// Whatever must not happen is a fault, which says where.
void abort() {
    __builtin_trap();
}

void __cxa_pure_virtual() {
    __builtin_trap();
}

void __assert_func(const char *, int, const char *, const char *) {
    __builtin_trap();
}
}

// Nothing is ever allocated.
void operator delete(void *) noexcept {
}
void operator delete(void *, size_t) noexcept {
}
