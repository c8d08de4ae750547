/* Functions that take long, on dirty schedulers. */

#include <unistd.h>
#include "erl_nif.h"

static int is_alive(ErlNifEnv *env) { return enif_is_current_process_alive(env); }

typedef struct { ErlNifPid to; int before, after, sent; } News;

/* A process that was ended sends nothing any more; a thread of ours does. */
static void *tell(void *argument)
{
    News *news = argument;
    ErlNifEnv *own = enif_alloc_env();
    enif_send(NULL, &news->to, own, enif_make_tuple4(own, enif_make_atom(own, "ends"), enif_make_int(own, news->before),
                                                     enif_make_int(own, news->after), enif_make_int(own, news->sent)));
    enif_free_env(own);
    return NULL;
}

/* Tells a process that it has begun, rests, and tells it how it has found its own process: before and after. */
static ERL_NIF_TERM rest(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    News news;
    ErlNifTid thread;
    int ms;
    ErlNifEnv *own;
    ERL_NIF_TERM list = enif_make_list(env, 0);
    if (!enif_get_local_pid(env, argv[0], &news.to) || !enif_get_int(env, argv[1], &ms)) return enif_make_badarg(env);
    news.before = is_alive(env);
    own = enif_alloc_env();
    enif_send(env, &news.to, own, enif_make_atom(own, "begins"));
    enif_clear_env(own);
    for (; ms > 0; ms -= 10) {
        usleep(10000);
        /* The heap is the function's all the time. */
        for (int i = 0; i < 100; i++) list = enif_make_list_cell(env, enif_make_int(env, i), list);
    }
    news.after = is_alive(env);
    news.sent = enif_send(env, &news.to, own, enif_make_atom(own, "late"));
    enif_thread_create("teller", &thread, tell, &news, NULL);
    enif_thread_join(thread, NULL);
    enif_free_env(own);
    return list;
}

static ErlNifFunc functions[] = {
    {"rest_cpu", 2, rest, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"rest_io", 2, rest, ERL_NIF_DIRTY_JOB_IO_BOUND},
};

ERL_NIF_INIT(nif_dirty, functions, NULL, NULL, NULL, NULL)
