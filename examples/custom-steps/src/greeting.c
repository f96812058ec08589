#include "greeting.h"

#include <string.h>

#define GREETING(language, text) {language, text},
const struct greeting greetings[] = {
#include "greetings.h"
};
#undef GREETING

const size_t greetings_count = sizeof(greetings) / sizeof(greetings[0]);

const char *greeting_in(const char *language) {
    for (size_t i = 0; i < greetings_count; i++) {
        if (strcmp(greetings[i].language, language) == 0) {
            return greetings[i].text;
        }
    }
    return NULL;
}
