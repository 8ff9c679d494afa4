#include "shelf_verbs.h"

#include "calendar.h"
#include "decimal.h"
#include "line.h"
#include "shelf.h"

#define SHELF_QUARTER_BITS 14  // of Q15.16 below a quarter

// The month or the day of a date, behind its dash.
static void shelf_send_two_digits(uint8_t number) {
    line_char('-');
    if (number < 10) {
        line_char('0');
    }
    line_unsigned(number);
}

static void shelf_send_date(const FLASH_DATA char *key, uint16_t day) {
    const calendar_date_t date = calendar_date(day);
    line_text(key);
    line_unsigned(date.year);
    shelf_send_two_digits(date.month);
    shelf_send_two_digits(date.day);
}

static void shelf_send_number(const FLASH_DATA char *key, int32_t number) {
    line_text(key);
    decimal_send(number);
}

static void shelf_send_count(const FLASH_DATA char *key, uint32_t count) {
    line_text(key);
    line_unsigned(count);
}

static void shelf_send_saved(void) {
    line_text(shelf_is_saved() ? FLASH_TEXT(" saved=1") : FLASH_TEXT(" saved=0"));
}

// Begin the answer " ok verb".
static void shelf_begin_answer(const console_request_t *request) {
    console_begin(request->seq, FLASH_TEXT("ok "));
    line_text(request->name);
}

// The word at a place of several, each ended by NUL.
static const FLASH_DATA char *shelf_pick(const FLASH_DATA char *words, uint8_t place) {
    while (place > 0) {
        place = (uint8_t)(place - (*words++ == '\0'));
    }
    return words;
}

// One of the doubts of `flags=`; *mark is what goes before it.
static void shelf_send_flag(const FLASH_DATA char **mark, const FLASH_DATA char *name) {
    line_text(*mark);
    line_text(name);
    *mark = FLASH_TEXT(",");
}

// The key=values of `day` and `report`.
static void shelf_send_report(void) {
    const shelf_state_t *state = shelf_state();
    const shelf_outlook_t *ahead = shelf_outlook();
    const shelf_doubts_t doubts = shelf_doubts();
    const int32_t *forecasts = shelf_forecasts();
    const uint8_t horizon = shelf_horizon(&state->settings);
    shelf_send_date(FLASH_TEXT(" date="), state->last);
    shelf_send_number(FLASH_TEXT(" stock="), state->stock);
    shelf_send_number(FLASH_TEXT(" forecast="), forecasts[0]);
    for (uint8_t day = 1; day < horizon; day++) {
        shelf_send_number(FLASH_TEXT(","), forecasts[day]);
    }
    shelf_send_number(FLASH_TEXT(" need="), ahead->need);
    line_text(FLASH_TEXT(" alert="));
    line_text(shelf_pick(FLASH_TEXT("none\0restock\0waiting\0clear"), (uint8_t)state->alert));
    shelf_send_number(FLASH_TEXT(" quantity="), state->quantity);
    if (ahead->out == 0) {
        line_text(FLASH_TEXT(" out=-"));
    } else {
        shelf_send_date(FLASH_TEXT(" out="), (uint16_t)(state->last + ahead->out));
    }
    shelf_send_count(FLASH_TEXT(" known="), doubts.known);
    line_text(FLASH_TEXT(" flags="));
    const FLASH_DATA char *mark = FLASH_TEXT("");
    if (doubts.is_short) {
        shelf_send_flag(&mark, FLASH_TEXT("short"));
    }
    if (doubts.has_gaps) {
        shelf_send_flag(&mark, FLASH_TEXT("gaps"));
    }
    if (state->lost != 0) {
        shelf_send_flag(&mark, FLASH_TEXT("stock"));
    }
    if (!shelf_is_saved()) {
        shelf_send_flag(&mark, FLASH_TEXT("unsaved"));
    }
    if (*mark == '\0') {
        line_text(FLASH_TEXT("-"));
    }
    shelf_send_number(FLASH_TEXT(" lost="), state->lost);
    shelf_send_saved();
}

// The code of an error: those of shelf_status, from the first.
static const FLASH_DATA char *shelf_code(int status) {
    return shelf_pick(FLASH_TEXT(PROTOCOL_ERR_UNSET "\0" PROTOCOL_ERR_EMPTY "\0" PROTOCOL_ERR_UNITS
                                                    "\0" PROTOCOL_ERR_REPEATED
                                                    "\0" PROTOCOL_ERR_ORDER "\0" PROTOCOL_ERR_GAP),
                      (uint8_t)(SHELF_ERR_UNSET - status));
}

// The reason, for people.
static const FLASH_DATA char *shelf_reason(int status) {
#if CONSOLE_HAS_WINDOW
    return shelf_pick(FLASH_TEXT("set it up first\0"
                                 "no day has come yet\0"
                                 "64 deviations and more above the mean\0"
                                 "the day has come already\0"
                                 "a later day has come already\0"
                                 "a window and more is missing: restart, if it is right"),
                      (uint8_t)(SHELF_ERR_UNSET - status));
#else
    (void)status;
    return FLASH_TEXT("refused");
#endif
}

// Refuse units or a stock that decimal_read does not take. Returns -1.
static int shelf_refuse_number(const console_request_t *request, const FLASH_DATA char *code) {
    return console_refuse(request->seq, code, FLASH_TEXT("0 to 32767, 5 decimals"));
}

// Refuse for a status of the shelf. Returns -1.
static int shelf_refuse(const console_request_t *request, int status) {
    return console_refuse(request->seq, shelf_code(status), shelf_reason(status));
}

static int shelf_refuse_range(const console_request_t *request, const FLASH_DATA char *words) {
    return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_RANGE), words);
}

int shelf_verb_shelf(const console_request_t *request) {
    const shelf_state_t *state = shelf_state();
    const shelf_settings_t *settings = &state->settings;
    shelf_begin_answer(request);
    line_text(FLASH_TEXT(" name="));
    for (const char *next = settings->name; *next != '\0'; next++) {
        line_char(*next);
    }
    if (settings->name[0] == '\0') {
        line_text(FLASH_TEXT("-"));
    }
    shelf_send_number(FLASH_TEXT(" mean="), settings->scaling.mean);
    shelf_send_number(FLASH_TEXT(" deviation="), settings->scaling.deviation);
    shelf_send_count(FLASH_TEXT(" lead="), settings->lead);
    shelf_send_number(FLASH_TEXT(" safety="), (int32_t)settings->safety << SHELF_QUARTER_BITS);
    shelf_send_number(FLASH_TEXT(" minimum="), settings->minimum);
    shelf_send_count(FLASH_TEXT(" horizon="), SHELF_HORIZON);
    line_text(SHELF_STREAM ? FLASH_TEXT(" forecast=stream") : FLASH_TEXT(" forecast=window"));
    line_text(FLASH_TEXT(" storage=" STORAGE_KIND));
    shelf_send_count(FLASH_TEXT(" writes="), state->head.generation);
    line_end();
    return 0;
}

// Copy a name of letters, digits, dots and dashes. Returns 0, or -1 when it is none.
static int shelf_read_name(const char *word, char *name) {
    uint8_t length = 0;
    for (; *word != '\0'; word++) {
        const char lower = (char)(*word | 0x20);
        const bool fits = (lower >= 'a' && lower <= 'z') || (*word >= '0' && *word <= '9') ||
                          *word == '.' || *word == '-' || *word == '_';
        if (!fits || length == SHELF_NAME_BYTES - 1) {
            return -1;
        }
        name[length++] = *word;
    }
    return length > 0 ? 0 : -1;
}

// Read the next word of *rest. Returns 0, or -1 when it is no number.
static int shelf_read_decimal(char **rest, int32_t *number) {
    return decimal_read(console_word(rest), number);
}

int shelf_verb_set(const console_request_t *request) {
    shelf_settings_t settings = {0};
    uint32_t lead;
    int32_t safety;
    char *rest = request->arguments;
    const bool bad = shelf_read_name(console_word(&rest), settings.name) != 0 ||
                     shelf_read_decimal(&rest, &settings.scaling.mean) != 0 ||
                     shelf_read_decimal(&rest, &settings.scaling.deviation) != 0 ||
                     console_number(console_word(&rest), &lead) != 0 ||
                     shelf_read_decimal(&rest, &safety) != 0 ||
                     shelf_read_decimal(&rest, &settings.minimum) != 0;
    if (bad || *rest != '\0') {
        return console_refuse_arguments(request, FLASH_TEXT(""));
    }
    if (settings.scaling.deviation == 0) {
        return shelf_refuse_range(request, FLASH_TEXT("deviation is 0"));
    }
    const uint32_t quarters = (uint32_t)safety >> SHELF_QUARTER_BITS;
    if ((uint32_t)safety != quarters << SHELF_QUARTER_BITS) {
        return shelf_refuse_range(request, FLASH_TEXT("safety: quarters of a day"));
    }
    if (lead > SHELF_HORIZON || lead + (quarters + 3u) / 4u > SHELF_HORIZON ||
        lead + quarters == 0) {
        return shelf_refuse_range(request, FLASH_TEXT("days ahead: 1 to horizon"));
    }
    settings.lead = (uint8_t)lead;
    settings.safety = (uint8_t)quarters;
    if (!request->repeated) {
        shelf_set(&settings);
    }
    shelf_begin_answer(request);
    shelf_send_saved();
    line_end();
    return 0;
}

int shelf_verb_report(const console_request_t *request) {
    const int status = shelf_ready();
    if (status != SHELF_OK) {
        return shelf_refuse(request, status);
    }
    shelf_begin_answer(request);
    shelf_send_report();
    line_end();
    return 0;
}

int shelf_verb_day(const console_request_t *request) {
    if (!request->repeated) {
        char *rest = request->arguments;
        const char *date = console_word(&rest);
        char *units_word = console_word(&rest);
        char *stock_word = console_word(&rest);
        uint16_t day;
        int32_t units;
        int32_t stock;
        if (*stock_word == '\0' || *rest != '\0') {
            return console_refuse_arguments(request, FLASH_TEXT(""));
        }
        if (shelf_ready() == SHELF_ERR_UNSET) {
            return shelf_refuse(request, SHELF_ERR_UNSET);
        }
        if (calendar_read(date, &day) != 0) {
            return console_refuse(request->seq, FLASH_TEXT(PROTOCOL_ERR_DATE),
                                  FLASH_TEXT("no day of 1971 to 2148"));
        }
        if (decimal_read(units_word, &units) != 0) {
            return shelf_refuse_number(request, FLASH_TEXT(PROTOCOL_ERR_UNITS));
        }
        if (decimal_read(stock_word, &stock) != 0) {
            return shelf_refuse_number(request, FLASH_TEXT(PROTOCOL_ERR_STOCK));
        }
        const int status = shelf_day(day, units, stock);
        if (status != SHELF_OK) {
            return shelf_refuse(request, status);
        }
    }
    return shelf_verb_report(request);
}

#if CONSOLE_HAS_WINDOW
int shelf_verb_history(const console_request_t *request) {
    const shelf_state_t *state = shelf_state();
    const int status = shelf_ready();
    if (status != SHELF_OK) {
        return shelf_refuse(request, status);
    }
    shelf_begin_answer(request);
    shelf_send_date(FLASH_TEXT(" date="), state->last);
    line_text(FLASH_TEXT(" units="));
    for (uint16_t day = 1; day <= MODEL_STEPS; day++) {
        const int32_t units = state->units[(uint16_t)((state->newest + day) % MODEL_STEPS)];
        if (day > 1) {
            line_text(FLASH_TEXT(","));
        }
        shelf_send_number(units < 0 ? FLASH_TEXT("~") : FLASH_TEXT(""), units & ~SHELF_FILLED);
    }
    line_end();
    return 0;
}
#endif

int shelf_verb_restart(const console_request_t *request) {
    if (!request->repeated) {
        shelf_restart();
    }
    shelf_begin_answer(request);
    shelf_send_saved();
    line_end();
    return 0;
}

void shelf_verbs_sense(const sensor_sample_t *sample) {
    const int status = shelf_day(sample->day, sample->units, sample->stock);
    line_text(FLASH_TEXT("# day"));
    if (status == SHELF_OK) {
        shelf_send_report();
    } else {
        line_text(FLASH_TEXT(" err "));
        line_text(shelf_code(status));
    }
    line_end_log();
}
