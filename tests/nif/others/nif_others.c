/* A library that uses the functions of the interface that nif_families does not. The module nif_others calls it. */

#define _GNU_SOURCE
#include "erl_nif.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static ErlNifResourceType *objects, *plain;

static ERL_NIF_TERM atom(ErlNifEnv *env, const char *name) { return enif_make_atom(env, name); }
static ERL_NIF_TERM flag(ErlNifEnv *env, int holds) { return enif_make_int(env, holds != 0); }
static ERL_NIF_TERM text(ErlNifEnv *env, const char *text) { return enif_make_string(env, text, ERL_NIF_LATIN1); }

/* ---- Terms ---- */

/* Which kinds a term is of. */
static ERL_NIF_TERM kinds(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM t = argv[0], found[12];
    (void)argc;
    found[0] = flag(env, enif_is_atom(env, t));
    found[1] = flag(env, enif_is_binary(env, t));
    found[2] = flag(env, enif_is_empty_list(env, t));
    found[3] = flag(env, enif_is_exception(env, t));
    found[4] = flag(env, enif_is_fun(env, t));
    found[5] = flag(env, enif_is_list(env, t));
    found[6] = flag(env, enif_is_map(env, t));
    found[7] = flag(env, enif_is_number(env, t));
    found[8] = flag(env, enif_is_pid(env, t));
    found[9] = flag(env, enif_is_port(env, t));
    found[10] = flag(env, enif_is_ref(env, t));
    found[11] = flag(env, enif_is_tuple(env, t));
    return enif_make_list_from_array(env, found, 12);
}

/* A list or tuple as the other; lengths of atoms and texts. */
static ERL_NIF_TERM turned(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM items[64], head, tail = argv[0];
    const ERL_NIF_TERM *elements;
    unsigned length;
    int arity, count = 0;
    (void)argc;
    if (enif_get_tuple(env, argv[0], &arity, &elements))
        return enif_make_list_from_array(env, elements, arity);
    if (enif_get_atom_length(env, argv[0], &length, ERL_NIF_LATIN1))
        return enif_make_uint(env, length);
    while (count < 64 && enif_get_list_cell(env, tail, &head, &tail))
        items[count++] = head;
    return enif_is_empty_list(env, tail) ? enif_make_tuple_from_array(env, items, count) : enif_make_badarg(env);
}

static ERL_NIF_TERM names(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM made[6];
    (void)argc;
    (void)argv;
    made[0] = enif_make_atom_len(env, "atom and more", 4);
    made[1] = flag(env, enif_make_existing_atom_len(env, "no such atom as this here", 25, &made[2], ERL_NIF_LATIN1));
    if (!enif_make_existing_atom_len(env, "okay", 2, &made[2], ERL_NIF_LATIN1))
        return enif_make_badarg(env);
    made[3] = enif_make_string_len(env, "string and more", 6, ERL_NIF_LATIN1);
    made[4] = flag(env, enif_is_exception(env, enif_make_badarg(env)));
    made[5] = atom(env, "end");
    return enif_raise_exception(env, enif_make_list_from_array(env, made, 6));
}

static ERL_NIF_TERM maps(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM keys[3], values[3], map, value, without, result[6];
    ErlNifMapIterator at;
    (void)argc;
    keys[0] = atom(env, "a");
    keys[1] = argv[0];
    keys[2] = enif_make_int(env, 3);
    for (int i = 0; i < 3; i++)
        values[i] = enif_make_int(env, i);
    if (!enif_make_map_from_arrays(env, keys, values, 3, &map))
        return atom(env, "duplicate");
    if (!enif_get_map_value(env, map, argv[0], &value) || !enif_make_map_remove(env, map, argv[0], &without))
        return enif_make_badarg(env);
    result[0] = map;
    result[1] = value;
    result[2] = without;
    enif_map_iterator_create(env, map, &at, ERL_NIF_MAP_ITERATOR_FIRST);
    result[3] = flag(env, enif_map_iterator_is_head(env, &at));
    for (int i = 0; i < 3; i++)
        enif_map_iterator_next(env, &at);
    result[4] = flag(env, enif_map_iterator_is_tail(env, &at));
    enif_map_iterator_destroy(env, &at);
    result[5] = flag(env, enif_get_map_value(env, map, atom(env, "none"), &value));
    return enif_make_tuple_from_array(env, result, 6);
}

static ERL_NIF_TERM copies(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifEnv *other = enif_alloc_env();
    ERL_NIF_TERM copy, back;
    (void)argc;
    copy = enif_make_copy(other, argv[0]);
    back = enif_make_copy(env, copy);
    enif_free_env(other);
    return enif_make_tuple3(env, back, enif_make_ref(env), enif_make_unique_integer(env, ERL_NIF_UNIQUE_POSITIVE | ERL_NIF_UNIQUE_MONOTONIC));
}

/* What is there since OTP 26 and 29. */
static ERL_NIF_TERM newer(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM made = atom(env, "none"), part = made;
    unsigned length = 0;
    (void)argc;
    (void)argv;
#if ERL_NIF_MINOR_VERSION >= 17
    if (!enif_get_string_length(env, argv[0], &length, ERL_NIF_UTF8))
        length = 1000;
    enif_make_new_atom(env, "sn\xc3\xb6", &made, ERL_NIF_UTF8);
    enif_make_new_atom_len(env, "partly", 4, &part, ERL_NIF_LATIN1);
#endif
#if ERL_NIF_MINOR_VERSION >= 18
    unsigned place, other;
    if (!enif_get_atom_cache_index(env, made, &place) || place > enif_max_atom_cache_index() || enif_get_atom_cache_index(env, argv[0], &other))
        return enif_make_badarg(env);
    if (enif_term_size(made) != 0 || enif_term_size(argv[0]) != 4 * 2 * sizeof(ERL_NIF_TERM))
        return atom(env, "size");
#endif
    return enif_make_tuple3(env, enif_make_uint(env, length), made, part);
}

/* ---- Processes and ports ---- */

static ERL_NIF_TERM identities(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifPid pid, named, none;
    ErlNifPort port, port_named;
    ERL_NIF_TERM result[8];
    (void)argc;
    if (!enif_get_local_pid(env, argv[0], &pid) || !enif_get_local_port(env, argv[1], &port))
        return enif_make_badarg(env);
    enif_set_pid_undefined(&none);
    result[0] = flag(env, enif_is_process_alive(env, &pid));
    result[1] = flag(env, enif_is_port_alive(env, &port));
    result[2] = flag(env, enif_whereis_pid(env, atom(env, "nif_others_process"), &named) && enif_compare_pids(&named, &pid) == 0);
    result[3] = flag(env, enif_whereis_port(env, atom(env, "nif_others_port"), &port_named));
    result[4] = flag(env, enif_is_pid_undefined(&none));
    result[5] = flag(env, enif_is_pid_undefined(&pid));
    result[6] = flag(env, enif_whereis_pid(env, atom(env, "nobody_here"), &named));
    result[7] = flag(env, enif_port_command(env, &port, NULL, text(env, "to the port\n")));
    return enif_make_list_from_array(env, result, 8);
}

/* ---- Objects and descriptors ---- */

typedef struct {
    int descriptors[2];
} pipe_object;

static void end_of_pipe(ErlNifEnv *env, void *object) {
    (void)env;
    close(((pipe_object *)object)->descriptors[1]);
}

static void stop_pipe(ErlNifEnv *env, void *object, ErlNifEvent event, int direct) {
    (void)env;
    (void)object;
    (void)direct;
    close(event);
}

/* A pipe with something to read, of which the message is told that is given. */
static ERL_NIF_TERM open_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    pipe_object *object = enif_alloc_resource(objects, sizeof(pipe_object));
    void *other = enif_alloc_resource(plain, 100);
    ERL_NIF_TERM term;
    int size, selected;
    (void)argc;
    size = enif_sizeof_resource(object) == sizeof(pipe_object) && enif_sizeof_resource(other) == 100;
    enif_keep_resource(other);
    enif_release_resource(other);
    enif_release_resource(other);
    if (pipe(object->descriptors) != 0)
        return enif_make_badarg(env);
    selected = enif_select_x(env, object->descriptors[0], ERL_NIF_SELECT_READ | ERL_NIF_SELECT_CUSTOM_MSG, object, NULL, argv[0], NULL);
    if (write(object->descriptors[1], "x", 1) != 1)
        return enif_make_badarg(env);
    term = enif_make_resource(env, object);
    enif_release_resource(object);
    return enif_make_tuple3(env, term, flag(env, size), enif_make_int(env, selected));
}

static ERL_NIF_TERM close_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    pipe_object *object;
    (void)argc;
    if (!enif_get_resource(env, argv[0], objects, (void **)&object))
        return enif_make_badarg(env);
    return flag(env, enif_select_x(env, object->descriptors[0], ERL_NIF_SELECT_STOP, object, NULL, argv[0], NULL) >= 0);
}

/* Whether the term of a monitor is a reference, and gone with the monitor. */
static ERL_NIF_TERM monitor(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    pipe_object *object;
    ErlNifMonitor watch;
    ErlNifPid pid;
    ERL_NIF_TERM term;
    (void)argc;
    if (!enif_get_resource(env, argv[0], objects, (void **)&object) || !enif_get_local_pid(env, argv[1], &pid))
        return enif_make_badarg(env);
    if (enif_monitor_process(env, object, &pid, &watch) != 0)
        return atom(env, "not_monitored");
    term = enif_make_monitor_term(env, &watch);
    return enif_make_tuple2(env, flag(env, enif_is_ref(env, term)), enif_make_int(env, enif_demonitor_process(env, object, &watch)));
}

static void monitored_ends(ErlNifEnv *env, void *object, ErlNifPid *pid, ErlNifMonitor *watch) {
    (void)env;
    (void)object;
    (void)pid;
    (void)watch;
}

/* ---- Queues ---- */

static ERL_NIF_TERM queue(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifIOQueue *q = enif_ioq_create(ERL_NIF_IOQ_NORMAL);
    ErlNifIOVec *vector = NULL;
    ErlNifBinary binary;
    ERL_NIF_TERM tail;
    size_t size;
    (void)argc;
    enif_alloc_binary(10, &binary);
    memcpy(binary.data, "0123456789", 10);
    if (!enif_inspect_iovec(NULL, 16, argv[0], &tail, &vector) || !enif_ioq_enqv(q, vector, 0) || !enif_ioq_enq_binary(q, &binary, 4))
        return enif_make_badarg(env);
    enif_free_iovec(vector);
    size = enif_ioq_size(q);
    enif_ioq_destroy(q);
    return enif_make_uint64(env, size);
}

/* ---- Threads and locks ---- */

typedef struct {
    ErlNifRWLock *lock;
    ErlNifMutex *mutex;
    ErlNifCond *ready;
    ErlNifTSDKey key;
    ErlNifTid self;
    int is_ready, own, is_named, try_while_held;
} shared_data;

static void *thread(void *argument) {
    shared_data *data = argument;
    enif_tsd_set(data->key, data);
    data->own = enif_tsd_get(data->key) == data;
    data->self = enif_thread_self();
    data->is_named = strcmp(enif_thread_name(data->self), "others") == 0;
    data->try_while_held = enif_rwlock_tryrwlock(data->lock) != 0 && enif_rwlock_tryrlock(data->lock) == 0;
    enif_rwlock_runlock(data->lock);
    enif_mutex_lock(data->mutex);
    data->is_ready = 1;
    enif_cond_signal(data->ready);
    enif_mutex_unlock(data->mutex);
    enif_thread_exit(data);
    return NULL;
}

static ERL_NIF_TERM threads(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    shared_data data;
    ErlNifThreadOpts *options = enif_thread_opts_create("options");
    ErlNifTid tid;
    void *result;
    ERL_NIF_TERM found[10];
    (void)argc;
    (void)argv;
    memset(&data, 0, sizeof(data));
    data.lock = enif_rwlock_create("a lock");
    data.mutex = enif_mutex_create("a mutex");
    data.ready = enif_cond_create("a condition");
    enif_tsd_key_create("a key", &data.key);
    found[0] = text(env, enif_rwlock_name(data.lock));
    found[1] = text(env, enif_mutex_name(data.mutex));
    found[2] = text(env, enif_cond_name(data.ready));
    options->suggested_stack_size = 64;
    enif_rwlock_rlock(data.lock);
    if (enif_thread_create("others", &tid, thread, &data, options) != 0)
        return enif_make_badarg(env);
    enif_mutex_lock(data.mutex);
    while (!data.is_ready)
        enif_cond_wait(data.ready, data.mutex);
    enif_mutex_unlock(data.mutex);
    found[8] = flag(env, enif_equal_tids(tid, data.self) && !enif_equal_tids(tid, enif_thread_self()));
    enif_thread_join(tid, &result);
    enif_thread_opts_destroy(options);
    enif_rwlock_runlock(data.lock);
    enif_rwlock_rwlock(data.lock);
    enif_rwlock_rwunlock(data.lock);
    found[3] = flag(env, enif_mutex_trylock(data.mutex) == 0);
    enif_mutex_unlock(data.mutex);
    found[4] = flag(env, result == &data);
    found[5] = flag(env, data.own && enif_tsd_get(data.key) == NULL);
    found[6] = flag(env, data.is_named);
    found[7] = flag(env, data.try_while_held);
    found[9] = atom(env, "end");
    enif_tsd_key_destroy(data.key);
    enif_cond_destroy(data.ready);
    enif_mutex_destroy(data.mutex);
    enif_rwlock_destroy(data.lock);
    return enif_make_list_from_array(env, found, 10);
}

/* ---- The system ---- */

static int printed(char *to, size_t size, const char *format, ...) {
    va_list arguments;
    int count;
    va_start(arguments, format);
    count = enif_vsnprintf(to, size, format, arguments);
    va_end(arguments);
    return count;
}

static int printed_to(FILE *file, const char *format, ...) {
    va_list arguments;
    int count;
    va_start(arguments, format);
    count = enif_vfprintf(file, format, arguments);
    va_end(arguments);
    return count;
}

static void failed(void *to, const char *why) { *(int *)to = why != NULL; }

static ERL_NIF_TERM system_(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    char buffer[200], *memory;
    size_t size = sizeof(buffer);
    int fails = 0, count;
    void *own;
    FILE *file = tmpfile();
    ERL_NIF_TERM result[9];
    (void)argc;
    result[0] = enif_make_int(env, enif_getenv("NIF_OTHERS", buffer, &size));
    size = 2;
    result[1] = enif_make_int(env, enif_getenv("NIF_OTHERS", buffer, &size));
    result[2] = enif_make_int(env, enif_getenv("NO_SUCH_VARIABLE", buffer, &size));
    count = printed(buffer, sizeof(buffer), "%s %d %T", "text", 42, argv[0]);
    result[3] = enif_make_tuple2(env, enif_make_int(env, count), text(env, buffer));
    count = enif_fprintf(file, "%05d %T", 7, argv[0]) + printed_to(file, "%s", "more");
    result[4] = enif_make_tuple2(env, enif_make_int(env, count), enif_make_int(env, (int)ftell(file)));
    fclose(file);
    enif_dlopen("/no/such/library.so", failed, &fails);
    own = enif_dlopen("./nif_others", NULL, NULL);
    result[5] = enif_make_tuple2(env, flag(env, fails), flag(env, own != NULL && enif_dlsym(own, "nif_init", NULL, NULL) != NULL));
    memory = enif_alloc(10);
    strcpy(memory, "kept");
    memory = enif_realloc(memory, 100000);
    result[6] = text(env, memory);
    enif_free(memory);
    result[7] = flag(env, enif_is_tuple(env, enif_now_time(env)) && enif_is_tuple(env, enif_cpu_time(env)));
    result[8] = flag(env, enif_time_offset(ERL_NIF_SEC) > 1000000000);
    return enif_make_list_from_array(env, result, 9);
}

static int load(ErlNifEnv *env, void **private, ERL_NIF_TERM info) {
    ErlNifResourceTypeInit callbacks = {end_of_pipe, stop_pipe, monitored_ends, 3, NULL};
    (void)private;
    (void)info;
    objects = enif_open_resource_type_x(env, "pipes", &callbacks, ERL_NIF_RT_CREATE, NULL);
    plain = enif_open_resource_type(env, NULL, "plain", NULL, ERL_NIF_RT_CREATE, NULL);
    return objects == NULL || plain == NULL;
}

static ErlNifFunc functions[] = {
    {"kinds", 1, kinds, 0},     {"turned", 1, turned, 0},         {"names", 0, names, 0},
    {"maps", 1, maps, 0},       {"copies", 1, copies, 0},         {"newer", 1, newer, 0},
    {"queue", 1, queue, 0},     {"identities", 2, identities, 0}, {"open_pipe", 1, open_pipe, 0},
    {"monitor", 2, monitor, 0}, {"close_pipe", 1, close_pipe, 0}, {"threads", 0, threads, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"system", 1, system_, 0},
};

ERL_NIF_INIT(nif_others, functions, load, NULL, NULL, NULL)
