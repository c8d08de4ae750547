/* A library that is told of a halt, and delays it until its function has returned. */

#include <unistd.h>
#include "erl_nif.h"

/* Since OTP 26; older headers do not have it. */
#if ERL_NIF_MINOR_VERSION < 17
extern int enif_set_option(ErlNifEnv *, int, ...);
#endif
enum { DELAY_HALT = 1, ON_HALT = 2 };

static ErlNifMutex *lock;
static ErlNifCond *changed;
static int halting;

static void say(const char *text, size_t count)
{
    if (write(1, text, count) < 0) _exit(9);
}

static void on_halt(void *data)
{
    say("on_halt\n", 8);
    enif_mutex_lock(lock);
    halting = 1;
    enif_cond_broadcast(changed);
    enif_mutex_unlock(lock);
}

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    lock = enif_mutex_create("halt");
    changed = enif_cond_create("halt");
    /* The second time each is refused. */
    return enif_set_option(env, DELAY_HALT) != 0 || enif_set_option(env, DELAY_HALT) == 0
        || enif_set_option(env, ON_HALT, on_halt) != 0 || enif_set_option(env, ON_HALT, on_halt) == 0;
}

static ERL_NIF_TERM wait_for_halt(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    say("waits\n", 6);
    enif_mutex_lock(lock);
    while (!halting) enif_cond_wait(changed, lock);
    enif_mutex_unlock(lock);
    usleep(100000);
    say("returns\n", 8);
    return enif_make_atom(env, "ok");
}

static ERL_NIF_TERM late(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    /* Options are set while a library is loaded, and only then. */
    return enif_make_int(env, enif_set_option(env, DELAY_HALT) != 0 && enif_set_option(env, ON_HALT, on_halt) != 0);
}

static ErlNifFunc functions[] = {{"wait", 0, wait_for_halt, ERL_NIF_DIRTY_JOB_IO_BOUND}, {"late", 0, late, 0}};

ERL_NIF_INIT(nif_halt, functions, load, NULL, NULL, NULL)
