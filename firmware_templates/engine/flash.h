// Where constants live.
//
// Most cores read flash as they read RAM, and `const` is all it takes. AVR has separate addresses
// for the two: there a constant stays in flash, and is read from it, only when its type says so
// (ISO/IEC TR 18037, named address spaces, which avr-gcc has as __flash in GNU C). Its pointers
// have 16 bits, so such constants lie in the lower 64 KB: the linker script sees to that.

#ifndef SHELFCAST_FLASH_H
#define SHELFCAST_FLASH_H

#if defined(__AVR__) && !defined(__cplusplus)

#ifndef __FLASH
#error "AVR needs -std=gnu99: the model does not fit its RAM, and C99 has no word for its flash"
#endif

#define FLASH_DATA __flash

// A string literal that costs no RAM. Inside functions only.
#define FLASH_TEXT(literal)                                                                        \
    (__extension__({                                                                               \
        static const FLASH_DATA char flash_text[] = literal;                                       \
        &flash_text[0];                                                                            \
    }))

// The same for an initializer, which can only point to what has a name: FLASH_NAMED_TEXT defines it
// beforehand, FLASH_NAMED is a pointer to it.
#define FLASH_NAMED_TEXT(name, literal) static const FLASH_DATA char name[] = literal;
#define FLASH_NAMED(name, literal) name

#else

// C++ has no address spaces. On AVR it may hand a model on, but not look into it.
#define FLASH_DATA
#define FLASH_TEXT(literal) literal
#define FLASH_NAMED_TEXT(name, literal)
#define FLASH_NAMED(name, literal) literal

#endif

#endif
