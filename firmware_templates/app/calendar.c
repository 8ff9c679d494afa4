#include "calendar.h"

#include <stdbool.h>

#include "flash.h"

#define CALENDAR_EPOCH 1970u
#define CALENDAR_TEXT_CHARS 10u

static const FLASH_DATA uint8_t calendar_lengths[12] = {31, 28, 31, 30, 31, 30,
                                                        31, 31, 30, 31, 30, 31};

// Of all years that are taken, and of the two after them, 2100 alone is an exception.
static bool calendar_is_leap(uint16_t year) {
    return (year & 3u) == 0 && year != 2100u;
}

static uint16_t calendar_year_days(uint16_t year) {
    return calendar_is_leap(year) ? 366u : 365u;
}

static uint8_t calendar_month_days(uint16_t year, uint8_t month) {
    if (month == 2 && calendar_is_leap(year)) {
        return 29;
    }
    return calendar_lengths[month - 1u];
}

int calendar_read(const char *text, uint16_t *day) {
    uint16_t numbers[3] = {0, 0, 0};
    uint8_t part = 0;
    for (uint8_t i = 0; i < CALENDAR_TEXT_CHARS; i++) {
        const char character = text[i];
        if (i == 4 || i == 7) {
            if (character != '-') {
                return -1;
            }
            part++;
        } else if (character < '0' || character > '9') {
            return -1;
        } else {
            numbers[part] = (uint16_t)(numbers[part] * 10u + (uint16_t)(character - '0'));
        }
    }
    const uint16_t year = numbers[0];
    if (text[CALENDAR_TEXT_CHARS] != '\0' || year < CALENDAR_FIRST_YEAR ||
        year > CALENDAR_LAST_YEAR || numbers[1] < 1 || numbers[1] > 12 || numbers[2] < 1) {
        return -1;
    }
    const uint8_t month = (uint8_t)numbers[1];
    if (numbers[2] > calendar_month_days(year, month)) {
        return -1;
    }
    uint16_t count = (uint16_t)(numbers[2] - 1u);
    for (uint16_t before = CALENDAR_EPOCH; before < year; before++) {
        count = (uint16_t)(count + calendar_year_days(before));
    }
    for (uint8_t before = 1; before < month; before++) {
        count = (uint16_t)(count + calendar_month_days(year, before));
    }
    *day = count;
    return 0;
}

calendar_date_t calendar_date(uint16_t day) {
    calendar_date_t date = {.year = CALENDAR_EPOCH, .month = 1};
    while (day >= calendar_year_days(date.year)) {
        day = (uint16_t)(day - calendar_year_days(date.year));
        date.year++;
    }
    while (day >= calendar_month_days(date.year, date.month)) {
        day = (uint16_t)(day - calendar_month_days(date.year, date.month));
        date.month++;
    }
    date.day = (uint8_t)(day + 1u);
    return date;
}

uint8_t calendar_weekday(uint16_t day) {
    // Modulo 7 first: day + 3 may pass 16 bits.
    return (uint8_t)((day % 7u + 3u) % 7u);
}
