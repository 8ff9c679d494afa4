// Faults of a core that notices none by itself.

#ifndef SHELFCAST_STARTUP_H
#define SHELFCAST_STARTUP_H

#include "flash.h"

// Send `# fault ` and `words`, a FLASH_TEXT, then restart the chip.
void startup_fault(const FLASH_DATA char *words) __attribute__((noreturn));

// Restart the chip if the stack has grown into the variables.
void startup_check_stack(void);

#endif
