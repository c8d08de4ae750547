/* A native function that does nothing, one that makes an object, and one that sends a message. */
#include <erl_nif.h>

static ErlNifResourceType *objects;

static int load(ErlNifEnv *env, void **data, ERL_NIF_TERM info)
{
    objects = enif_open_resource_type(env, NULL, "object", NULL, ERL_NIF_RT_CREATE, NULL);
    return objects == NULL;
}

static ERL_NIF_TERM nothing(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    return argv[0];
}

static ERL_NIF_TERM object(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    void *data = enif_alloc_resource(objects, 32);
    ERL_NIF_TERM term = enif_make_resource(env, data);
    enif_release_resource(data);
    return term;
}

static ERL_NIF_TERM send_message(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    ErlNifPid to;
    ErlNifEnv *own = enif_alloc_env();
    int sent;
    if (!enif_get_local_pid(env, argv[0], &to))
        return enif_make_badarg(env);
    sent = enif_send(env, &to, own, enif_make_tuple2(own, enif_make_atom(own, "message"), enif_make_int(own, 1)));
    enif_free_env(own);
    return enif_make_int(env, sent);
}

static ErlNifFunc functions[] = {{"nothing", 1, nothing}, {"object", 0, object}, {"send", 1, send_message}};

#ifndef NAME
#define NAME nif_empty
#endif
/* By way of a macro, as ERL_NIF_INIT takes its first argument literally. */
#define INIT(name) ERL_NIF_INIT(name, functions, load, NULL, NULL, NULL)
INIT(NAME)
