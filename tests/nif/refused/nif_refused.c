/* A library of which something is wrong: what, is said when it is compiled. */

#include "erl_nif.h"

static ERL_NIF_TERM nothing(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { return argv[0]; }

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info) {
#ifdef VETO
    return 17;
#else
    return 0;
#endif
}

static ErlNifFunc functions[] = {
#ifdef NO_FUNCTION
    {"missing", 1, nothing, 0},
#endif
#ifdef WRONG_FLAGS
    {"nothing", 1, nothing, 9},
#else
    {"nothing", 1, nothing, 0},
#endif
#ifdef TWICE
    {"nothing", 1, nothing, 0},
#endif
};

#ifndef NO_INIT
ErlNifEntry *nif_init(void) {
    static ErlNifEntry entry = {
        ERL_NIF_MAJOR_VERSION, ERL_NIF_MINOR_VERSION, "nif_refused", sizeof(functions) / sizeof(*functions), functions, load, NULL, NULL, NULL,
        ERL_NIF_VM_VARIANT,    1,                     sizeof(ErlNifResourceTypeInit), "erts-99.0",
    };
#ifdef WRONG_NAME
    entry.name = "other";
#endif
#ifdef TOO_NEW
    entry.minor = 99;
#endif
#ifdef TOO_OLD
    entry.major = 1;
#endif
#ifdef VARIANT
    entry.vm_variant = "beam.other";
#endif
#ifdef NULL_ENTRY
    return NULL;
#else
    return &entry;
#endif
}
#endif
