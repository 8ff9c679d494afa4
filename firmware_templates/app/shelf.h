// A shelf: takes a day's units and stock, forecasts the days ahead, says when to order.
//
// All in integers; toolchain/shelf/ is the same in Python, and docs/shelf.md says what it computes.
// Units are Q15.16, days are numbers since 1970-01-01. What it knows outlives a power cut where the
// board has storage.

#ifndef SHELFCAST_SHELF_H
#define SHELFCAST_SHELF_H

#include <stdbool.h>
#include <stdint.h>

#include "inputs.h"
#include "model.h"
#include "storage.h"
#include "units.h"

#define SHELF_NAME_BYTES 16     // with its NUL
#define SHELF_FILLED INT32_MIN  // set in the units of a day that never came

enum shelf_status {
    SHELF_OK = 0,
    SHELF_ERR_UNSET = -1,     // no settings yet
    SHELF_ERR_EMPTY = -2,     // no day yet
    SHELF_ERR_UNITS = -3,     // absurd for this shelf
    SHELF_ERR_REPEATED = -4,  // the day came already
    SHELF_ERR_ORDER = -5,     // a day before the last one
    SHELF_ERR_GAP = -6,       // more than a window after the last one
};

enum shelf_alert {
    SHELF_ALERT_NONE,
    SHELF_ALERT_RESTOCK,
    SHELF_ALERT_WAITING,
    SHELF_ALERT_CLEAR,
};

typedef struct {
    char name[SHELF_NAME_BYTES];  // empty: not set up
    units_scaling_t scaling;
    int32_t minimum;  // the least that is ordered
    uint8_t lead;     // days from an order to its delivery
    uint8_t safety;   // quarters of a day
    uint16_t spare;   // the same bytes on every core
} shelf_settings_t;

// All that outlives a power cut, in the bytes that are stored.
typedef struct {
    storage_head_t head;
    uint32_t model;  // CRC of the model that the history was forecast with
    shelf_settings_t settings;
    int32_t stock;     // at the end of the last day
    int32_t lost;      // missing from the stock on it
    int32_t quantity;  // of the order that was raised; 0: none
    uint16_t last;     // the day that came last
    uint16_t ordered;  // the day the order was raised on
    uint16_t seen;     // days since the first, MODEL_STEPS at most; 0: none
    uint16_t newest;   // place of the last day in `units`
    uint16_t alert;    // enum shelf_alert, of the last day
    uint16_t spare;
    int32_t units[MODEL_STEPS];  // a ring of the window's days
#if SHELF_STREAM
    uint8_t saved[MODEL_SAVED_BYTES];  // the model's state after the last day
#endif
    storage_crc_t crc;
} shelf_state_t;

// What the stock has to cover.
typedef struct {
    int32_t need;         // demand over lead time and safety days
    int32_t enough;       // an eighth more
    int32_t lead_demand;  // until what is ordered today arrives
    uint8_t out;          // days until more is asked for than there is; 0: not within the horizon
} shelf_outlook_t;

// Doubts about a day.
typedef struct {
    uint16_t known;  // days of the window that really came
    bool is_short;   // fewer days than a window so far
    bool has_gaps;
} shelf_doubts_t;

// Find what was stored, and forecast from it.
void shelf_start(void);

// What the shelf knows.
const shelf_state_t *shelf_state(void);

// Days ahead that the settings need: at most SHELF_HORIZON.
uint8_t shelf_horizon(const shelf_settings_t *settings);

// Forecasts of the days after the last one (shelf_horizon).
const int32_t *shelf_forecasts(void);

// What the stock has to cover, as of the last day.
const shelf_outlook_t *shelf_outlook(void);
shelf_doubts_t shelf_doubts(void);

// Whether the last change outlives a power cut.
bool shelf_is_saved(void);

// Take settings that are within their limits. The history is kept.
void shelf_set(const shelf_settings_t *settings);

// Take a day: units sold, and the stock at its end. Returns SHELF_OK, or an error and has changed
// nothing.
int shelf_day(uint16_t day, int32_t units, int32_t stock);

// Whether there is something to report: SHELF_OK, SHELF_ERR_UNSET or SHELF_ERR_EMPTY.
int shelf_ready(void);

// Forget all days.
void shelf_restart(void);

#endif
