/* The functions of the C interface that take a variable number of arguments: Rust cannot define such. Each gathers its
 * arguments and leaves the work to a function in Rust. */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t term;
typedef struct environment environment;

extern term enif_make_tuple_from_array(environment *env, const term elements[], unsigned count);
extern term enif_make_list_from_array(environment *env, const term elements[], unsigned count);
extern int swarmrt_nif_set_option(environment *env, int option, void *callback);
/* The text of a term, of about `limit` parts; to be freed by free(). */
extern char *swarmrt_nif_text(term value, long limit, size_t *length);

/* Arguments that need no memory of their own. */
#define FEW 32

#define DEFINE_MAKE(NAME, FROM_ARRAY)                                        \
    term NAME(environment *env, unsigned count, ...) {                       \
        term few[FEW];                                                       \
        term *all = count > FEW ? malloc(count * sizeof(term)) : few;        \
        va_list arguments;                                                   \
        term result;                                                         \
        if (all == NULL)                                                     \
            abort();                                                         \
        va_start(arguments, count);                                          \
        for (unsigned at = 0; at < count; at++)                              \
            all[at] = va_arg(arguments, term);                               \
        va_end(arguments);                                                   \
        result = FROM_ARRAY(env, all, count);                                \
        if (all != few)                                                      \
            free(all);                                                       \
        return result;                                                       \
    }

DEFINE_MAKE(enif_make_tuple, enif_make_tuple_from_array)
DEFINE_MAKE(enif_make_list, enif_make_list_from_array)

int enif_set_option(environment *env, int option, ...) {
    va_list arguments;
    void *callback = NULL;
    int result;
    va_start(arguments, option);
    /* All options but the first have a function. */
    if (option != 1)
        callback = va_arg(arguments, void *);
    va_end(arguments);
    result = swarmrt_nif_set_option(env, option, callback);
    return result;
}

/* Text that grows. */
typedef struct {
    char *start;
    size_t length;
    size_t room;
} text;

static void add(text *to, const char *bytes, size_t count) {
    if (to->length + count + 1 > to->room) {
        size_t room = (to->length + count + 1) * 2;
        char *more = realloc(to->start, room);
        if (more == NULL)
            abort();
        to->start = more;
        to->room = room;
    }
    memcpy(to->start + to->length, bytes, count);
    to->length += count;
    to->start[to->length] = '\0';
}

/* Longer directives are no directives of ours. */
#define DIRECTIVE_MAX 40

/* One argument by its directive, of which the conversion is the last character. */
#define ADD_AS(TYPE)                                                         \
    do {                                                                     \
        TYPE value = va_arg(*arguments, TYPE);                               \
        int count = snprintf(NULL, 0, directive, value);                     \
        char *bytes = count >= 0 ? malloc((size_t)count + 1) : NULL;         \
        if (bytes == NULL)                                                   \
            return -1;                                                       \
        snprintf(bytes, (size_t)count + 1, directive, value);                \
        add(to, bytes, (size_t)count);                                       \
        free(bytes);                                                         \
    } while (0)

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#endif

struct arguments {
    va_list list;
};

static int add_directive(text *to, const char *directive, const char *length, char conversion, va_list *arguments) {
    int wide = strcmp(length, "l") == 0 || strcmp(length, "z") == 0 || strcmp(length, "t") == 0 || strcmp(length, "j") == 0 ||
               strcmp(length, "ll") == 0;
    switch (conversion) {
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        /* All the wider types have 64 bits. */
        if (wide)
            ADD_AS(long long);
        else
            ADD_AS(int);
        return 0;
    case 'c':
        ADD_AS(int);
        return 0;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        if (strcmp(length, "L") == 0)
            ADD_AS(long double);
        else
            ADD_AS(double);
        return 0;
    case 's':
        ADD_AS(const char *);
        return 0;
    case 'p':
        ADD_AS(void *);
        return 0;
    default:
        return -1;
    }
}

/* Formats as printf does, and terms by %T. The length, or -1. */
static int format_text(text *to, const char *format, va_list *arguments) {
    add(to, "", 0);
    while (*format != '\0') {
        char directive[DIRECTIVE_MAX + 2], length[3] = "";
        size_t at = 0;
        long precision = -1;
        int in_precision = 0;
        size_t plain = strcspn(format, "%");
        add(to, format, plain);
        format += plain;
        if (*format == '\0')
            break;
        directive[at++] = *format++;
        if (*format == '%') {
            add(to, "%", 1);
            format++;
            continue;
        }
        while (*format != '\0' && strchr("-+ #0123456789.*", *format) != NULL) {
            if (at >= DIRECTIVE_MAX - 14)
                return -1;
            if (*format == '.') {
                in_precision = 1;
                precision = 0;
            }
            if (*format == '*') {
                int value = va_arg(*arguments, int);
                at += (size_t)snprintf(directive + at, 13, "%d", value);
                if (in_precision)
                    precision = value;
                format++;
                continue;
            }
            if (in_precision && *format >= '0' && *format <= '9')
                precision = precision * 10 + (*format - '0');
            directive[at++] = *format++;
        }
        for (size_t count = 0; *format != '\0' && strchr("hlLqjzt", *format) != NULL; format++) {
            if (count < 2) {
                length[count++] = *format;
                length[count] = '\0';
            }
        }
        if (*format == 'T') {
            size_t count = 0;
            char *bytes = swarmrt_nif_text(va_arg(*arguments, term), precision, &count);
            if (bytes == NULL)
                return -1;
            add(to, bytes, count);
            free(bytes);
            format++;
            continue;
        }
        if (*format == '\0')
            return -1;
        if (strcmp(length, "l") == 0 || strcmp(length, "z") == 0 || strcmp(length, "t") == 0 || strcmp(length, "j") == 0 ||
            strcmp(length, "ll") == 0 || strcmp(length, "q") == 0) {
            if (strchr("diuoxX", *format) != NULL) {
                directive[at++] = 'l';
                directive[at++] = 'l';
            }
            strcpy(length, "ll");
        } else if (length[0] != '\0') {
            directive[at++] = length[0];
            if (length[1] != '\0')
                directive[at++] = length[1];
        }
        directive[at++] = *format;
        directive[at] = '\0';
        if (add_directive(to, directive, length, *format, arguments) != 0)
            return -1;
        format++;
    }
    return (int)to->length;
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* Formats a list that stays the caller's. */
static int format_list(text *to, const char *format, va_list list) {
    struct arguments arguments;
    int length;
    va_copy(arguments.list, list);
    length = format_text(to, format, &arguments.list);
    va_end(arguments.list);
    return length;
}

int enif_vsnprintf(char *buffer, size_t size, const char *format, va_list list) {
    text to = {NULL, 0, 0};
    int length = format_list(&to, format, list);
    if (size > 0) {
        size_t count = to.length < size ? to.length : size - 1;
        memcpy(buffer, to.start, count);
        buffer[count] = '\0';
    }
    free(to.start);
    return length;
}

int enif_snprintf(char *buffer, size_t size, const char *format, ...) {
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = enif_vsnprintf(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}

int enif_vfprintf(FILE *file, const char *format, va_list list) {
    text to = {NULL, 0, 0};
    int length = format_list(&to, format, list);
    fwrite(to.start, 1, to.length, file);
    free(to.start);
    return length;
}

int enif_fprintf(FILE *file, const char *format, ...) {
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = enif_vfprintf(file, format, arguments);
    va_end(arguments);
    return length;
}
