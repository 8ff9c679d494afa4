#include "shelf.h"

#include "calendar.h"

#define SHELF_VERSION 1u      // of the layout of shelf_state_t
#define SHELF_ABSURD_SHIFT 6  // 64 deviations above the mean are no sales

#ifdef BOARD_STORAGE_BYTES
typedef char shelf_fits_storage_t[sizeof(shelf_state_t) <= STORAGE_SLOT_BYTES ? 1 : -1];
#endif
typedef char shelf_is_whole_words_t[sizeof(shelf_state_t) % 4u == 0 ? 1 : -1];

static shelf_state_t shelf;
static MODEL_STATE(shelf_model);
static int32_t shelf_ahead[SHELF_HORIZON];
static shelf_outlook_t shelf_weighed;
static bool shelf_saved;

static int32_t shelf_sum(int32_t sum, int32_t units) {
    return units > INT32_MAX - sum ? INT32_MAX : sum + units;
}

// Feed the model the units of a day, with the calendar of the next.
static void shelf_feed(int32_t units, uint16_t day) {
    int8_t sample[MODEL_FEATURES];
    sample[0] = units_quantize(units, &inputs_units, &shelf.settings.scaling);
    const uint16_t next = (uint16_t)(day + 1u);
#if INPUTS_WEEKDAY_AT
    const FLASH_DATA int8_t *weekday = &inputs_weekday[2u * calendar_weekday(next)];
    sample[INPUTS_WEEKDAY_AT] = weekday[0];
    sample[INPUTS_WEEKDAY_AT + 1] = weekday[1];
#endif
#if INPUTS_MONTH_AT
    const FLASH_DATA int8_t *month = &inputs_month[2u * (calendar_date(next).month - 1u)];
    sample[INPUTS_MONTH_AT] = month[0];
    sample[INPUTS_MONTH_AT + 1] = month[1];
#endif
    (void)next;
    (void)forecast_step(sample, &model, shelf_model);  // a head of one step takes any number
}

// Feed the last `count` days from the zero state.
static void shelf_feed_days(uint16_t count) {
    forecast_reset(&model, shelf_model);
    for (; count > 0; count--) {
        const uint16_t back = (uint16_t)(count - 1u);
        const uint16_t place = (uint16_t)((shelf.newest + MODEL_STEPS - back) % MODEL_STEPS);
        shelf_feed(shelf.units[place] & ~SHELF_FILLED, (uint16_t)(shelf.last - back));
    }
}

#if SHELF_STREAM
// Keep the state of the stream.
static void shelf_keep(void) {
    forecast_save(shelf.saved, &model, shelf_model);
}
#endif

// Forecast the days after the last one.
static void shelf_look_ahead(void) {
    int8_t outputs[MODEL_OUTPUTS];
    const uint8_t horizon = shelf_horizon(&shelf.settings);
#if SHELF_STREAM
    (void)forecast_restore(shelf.saved, &model, shelf_model);  // this model's: shelf_start
#else
    shelf_feed_days(MODEL_STEPS);
#endif
    for (uint8_t day = 0; day < horizon; day++) {
#if MODEL_OUTPUTS == 1
        if (day > 0) {
            shelf_feed(shelf_ahead[day - 1u], (uint16_t)(shelf.last + day));
        }
        (void)forecast_output(outputs, &model, shelf_model);
        const int8_t value = outputs[0];
#else
        if (day == 0) {
            (void)forecast_output(outputs, &model, shelf_model);
        }
        const int8_t value = outputs[day];
#endif
        shelf_ahead[day] = units_dequantize(value, &inputs_outputs, &shelf.settings.scaling);
    }
}

// Let a day pass.
static void shelf_push(int32_t units) {
    shelf.last++;
    shelf.newest = (uint16_t)((shelf.newest + 1u) % MODEL_STEPS);
    shelf.units[shelf.newest] = units;
    if (shelf.seen < MODEL_STEPS) {
        shelf.seen++;
    }
#if SHELF_STREAM
    (void)forecast_restore(shelf.saved, &model, shelf_model);
    shelf_feed(units & ~SHELF_FILLED, shelf.last);
    shelf_keep();
#endif
}

// Begin with a window of days that sold the mean, up to the day before the first.
static void shelf_begin(uint16_t day) {
    for (uint16_t i = 0; i < MODEL_STEPS; i++) {
        shelf.units[i] = shelf.settings.scaling.mean | SHELF_FILLED;
    }
    shelf.model = MODEL_CRC32;
    shelf.last = (uint16_t)(day - 1u);
    shelf.quantity = 0;
#if SHELF_STREAM
    shelf_feed_days(MODEL_STEPS - 1);
    shelf_keep();
#endif
}

static void shelf_save(void) {
    shelf_saved = storage_save(&shelf.head) == STORAGE_OK;
}

// Round up to whole units.
static int32_t shelf_whole(int32_t units) {
    const uint32_t whole = ((uint32_t)units + 0xffffu) >> 16;
    return (int32_t)((whole > 0x7fffu ? 0x7fffu : whole) << 16);
}

// Set the forecasts against the stock.
static void shelf_weigh(void) {
    int32_t total = 0;
    int32_t need = 0;
    const uint8_t quarters = shelf.settings.safety & 3u;
    uint8_t left = shelf_horizon(&shelf.settings);
    shelf_weighed.out = 0;
    shelf_weighed.lead_demand = 0;
    for (uint8_t day = 1; left > 0; day++) {
        int32_t units = shelf_ahead[day - 1u];
        left--;
        total = shelf_sum(total, units);
        if (shelf_weighed.out == 0 && total > shelf.stock) {
            shelf_weighed.out = day;
        }
        if (day == shelf.settings.lead) {
            shelf_weighed.lead_demand = total;
        }
        if (quarters != 0 && left == 0) {
            units = (units >> 2) * quarters;
        }
        need = shelf_sum(need, units);
    }
    shelf_weighed.need = need;
    shelf_weighed.enough = shelf_sum(need, need >> 3);
}

// Raise, keep or clear the alert of the last day.
static void shelf_decide(void) {
    const bool raised = shelf.quantity != 0;
    if (shelf.stock >= shelf_weighed.enough) {
        shelf.alert = raised ? SHELF_ALERT_CLEAR : SHELF_ALERT_NONE;
        shelf.quantity = 0;
        return;
    }
    const bool late = (uint16_t)(shelf.last - shelf.ordered) > shelf.settings.lead;
    if (shelf.stock < shelf_weighed.need && (!raised || late)) {
        shelf.alert = SHELF_ALERT_RESTOCK;
        shelf.ordered = shelf.last;
        shelf.quantity =
            shelf_whole(shelf_sum(shelf_weighed.lead_demand, shelf_weighed.enough) - shelf.stock);
        if (shelf.quantity < shelf.settings.minimum) {
            shelf.quantity = shelf.settings.minimum;
        }
        return;
    }
    shelf.alert = raised ? SHELF_ALERT_WAITING : SHELF_ALERT_NONE;
}

void shelf_start(void) {
    shelf_saved = storage_load(&shelf.head, SHELF_VERSION, sizeof shelf) == STORAGE_OK;
    if (shelf.model != MODEL_CRC32) {
        // Another model's forecasts are in its history; the settings are the shelf's.
        shelf.seen = 0;
    }
    if (shelf.seen > 0) {
        shelf_look_ahead();
        shelf_weigh();
    }
}

const shelf_state_t *shelf_state(void) {
    return &shelf;
}

uint8_t shelf_horizon(const shelf_settings_t *settings) {
    return (uint8_t)(settings->lead + (settings->safety + 3u) / 4u);
}

const int32_t *shelf_forecasts(void) {
    return shelf_ahead;
}

const shelf_outlook_t *shelf_outlook(void) {
    return &shelf_weighed;
}

shelf_doubts_t shelf_doubts(void) {
    shelf_doubts_t doubts = {.is_short = shelf.seen < MODEL_STEPS};
    for (uint16_t i = 0; i < MODEL_STEPS; i++) {
        doubts.known = (uint16_t)(doubts.known + (shelf.units[i] >= 0));
    }
    doubts.has_gaps = doubts.known < shelf.seen;
    return doubts;
}

bool shelf_is_saved(void) {
    return shelf_saved;
}

int shelf_ready(void) {
    if (shelf.settings.name[0] == '\0') {
        return SHELF_ERR_UNSET;
    }
    return shelf.seen == 0 ? SHELF_ERR_EMPTY : SHELF_OK;
}

void shelf_set(const shelf_settings_t *settings) {
    shelf.settings = *settings;
    if (shelf.seen > 0) {
#if SHELF_STREAM
        // The state was fed in another scaling: it is made again from the days that are known.
        shelf_feed_days(MODEL_STEPS);
        shelf_keep();
#endif
        shelf_look_ahead();
        shelf_weigh();
    }
    shelf_save();
}

int shelf_day(uint16_t day, int32_t units, int32_t stock) {
    if (shelf_ready() == SHELF_ERR_UNSET) {
        return SHELF_ERR_UNSET;
    }
    if ((units - shelf.settings.scaling.mean) >> SHELF_ABSURD_SHIFT >=
        shelf.settings.scaling.deviation) {
        return SHELF_ERR_UNITS;
    }
    int32_t lost = 0;
    if (shelf.seen == 0) {
        shelf_begin(day);
    } else if (day <= shelf.last) {
        return day == shelf.last ? SHELF_ERR_REPEATED : SHELF_ERR_ORDER;
    } else if (day - shelf.last > MODEL_STEPS) {
        return SHELF_ERR_GAP;
    } else if (day - shelf.last == 1) {
        const int32_t expected = shelf.stock - units;
        lost = expected > stock ? expected - stock : 0;
    }
    while ((uint16_t)(shelf.last + 1u) < day) {
        shelf_push(shelf_ahead[0] | SHELF_FILLED);
        shelf_look_ahead();
    }
    shelf_push(units);
    shelf.stock = stock;
    shelf.lost = lost;
    shelf_look_ahead();
    shelf_weigh();
    shelf_decide();
    shelf_save();
    return SHELF_OK;
}

void shelf_restart(void) {
    shelf.seen = 0;
    shelf_save();
}
