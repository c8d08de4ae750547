/* A function that never returns. */

#include "erl_nif.h"

static ERL_NIF_TERM stay(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    for (volatile unsigned turns = 0;; turns++) {
    }
}

static ErlNifFunc functions[] = {{"stay", 0, stay, 0}};

ERL_NIF_INIT(nif_stuck, functions, NULL, NULL, NULL, NULL)
