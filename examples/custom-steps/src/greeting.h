#ifndef GREETING_H
#define GREETING_H

#include <stddef.h>

struct greeting {
    const char *language;
    const char *text;
};

/* The table, and how many rows it has. */
extern const struct greeting greetings[];
extern const size_t greetings_count;

/* The greeting in a language, or NULL. */
const char *greeting_in(const char *language);

#endif
