#include "greeting.h"

#include <stdio.h>
#include <string.h>

static int languages(void) {
    for (size_t i = 0; i < greetings_count; i++) {
        printf("%s\n", greetings[i].language);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *language = argc > 1 ? argv[1] : "en";
    const char *text;

    if (strcmp(language, "--languages") == 0) {
        return languages();
    }
    text = greeting_in(language);
    if (text == NULL) {
        fprintf(stderr, "greet: no greeting in `%s`\n", language);
        return 1;
    }
    printf("%s\n", text);
    return 0;
}
