/* A library that counts the threads that are told of its end. */

#include <stdio.h>
#include "erl_nif.h"

/* Since OTP 26; older headers do not have it. */
#if ERL_NIF_MINOR_VERSION < 17
extern int enif_set_option(ErlNifEnv *, int, ...);
#endif
enum { ON_UNLOAD_THREAD = 3 };

static ErlNifMutex *lock;
static int threads, schedulers_only = 1;

static void on_unload_thread(void *data)
{
    enif_mutex_lock(lock);
    threads++;
    if (enif_thread_type() != 1 || *(int *) data != 4711) schedulers_only = 0;
    enif_mutex_unlock(lock);
}

static int data = 4711;

static int load(ErlNifEnv *env, void **to, ERL_NIF_TERM info)
{
    lock = enif_mutex_create("unload");
    *to = &data;
    return enif_set_option(env, ON_UNLOAD_THREAD, on_unload_thread) != 0 || enif_set_option(env, ON_UNLOAD_THREAD, on_unload_thread) == 0;
}

static void unload(ErlNifEnv *env, void *to)
{
    /* All of them were told before. */
    printf("%d threads, schedulers only: %d\n", threads, schedulers_only);
    fflush(stdout);
}

static ERL_NIF_TERM generation(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { return enif_make_int(env, threads); }

static ErlNifFunc functions[] = {{"generation", 0, generation, 0}};

ERL_NIF_INIT(nif_unload, functions, load, NULL, NULL, unload)
