// The calendar, without a C library: days since 1970-01-01, a Thursday.

#ifndef SHELFCAST_CALENDAR_H
#define SHELFCAST_CALENDAR_H

#include <stdint.h>

// Years that are taken: a window before the first day and a horizon after the last fit 16 bits.
#define CALENDAR_FIRST_YEAR 1971u
#define CALENDAR_LAST_YEAR 2148u

typedef struct {
    uint16_t year;
    uint8_t month;  // 1..12
    uint8_t day;    // 1..31
} calendar_date_t;

// Read "YYYY-MM-DD". Returns 0, or -1 when that is no day of the years that are taken.
int calendar_read(const char *text, uint16_t *day);

// The date of a day.
calendar_date_t calendar_date(uint16_t day);

// 0 on a Monday, 6 on a Sunday.
uint8_t calendar_weekday(uint16_t day);

#endif
