/* A library that uses every family of functions of the interface. The module nif_families calls it. */

#define _GNU_SOURCE
#include "erl_nif.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    int value;
    int descriptors[2];
    ErlNifMonitor monitor;
    ErlNifPid owner;
} object;

typedef struct {
    ErlNifResourceType *objects;
    ErlNifMutex *lock;
    int destroyed;
    int generation;
} private_data;

static ERL_NIF_TERM atom(ErlNifEnv *env, const char *name) { return enif_make_atom(env, name); }

static private_data *data_of(ErlNifEnv *env) { return (private_data *)enif_priv_data(env); }

/* ---- Calls ---- */

static ERL_NIF_TERM nothing(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)env;
    (void)argc;
    return argv[0];
}

/* Sums 1..N, a thousand numbers a call. */
static ERL_NIF_TERM sum_on(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifUInt64 from, to, sum;
    ERL_NIF_TERM next[3];
    (void)argc;
    if (!enif_get_uint64(env, argv[0], &from) || !enif_get_uint64(env, argv[1], &to) || !enif_get_uint64(env, argv[2], &sum))
        return enif_make_badarg(env);
    for (int count = 0; from <= to; from++, count++) {
        if (count == 1000) {
            next[0] = enif_make_uint64(env, from);
            next[1] = argv[1];
            next[2] = enif_make_uint64(env, sum);
            if (enif_consume_timeslice(env, 10))
                sum += 0;
            return enif_schedule_nif(env, "sum_on", (from / 1000) % 3 == 0 ? ERL_NIF_DIRTY_JOB_CPU_BOUND : 0, sum_on, 3, next);
        }
        sum += from;
    }
    return enif_make_uint64(env, sum);
}

static ERL_NIF_TERM sum(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM first[3];
    (void)argc;
    first[0] = enif_make_int(env, 1);
    first[1] = argv[0];
    first[2] = enif_make_int(env, 0);
    return enif_schedule_nif(env, "sum_on", 0, sum_on, 3, first);
}

static ERL_NIF_TERM kind_of_thread(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    (void)argv;
    return enif_make_int(env, enif_thread_type());
}

static ERL_NIF_TERM raise(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ERL_NIF_TERM reason;
    (void)argc;
    enif_raise_exception(env, argv[0]);
    return enif_has_pending_exception(env, &reason) ? enif_raise_exception(env, reason) : argv[0];
}

/* ---- Terms ---- */

static ERL_NIF_TERM type(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return enif_make_int(env, enif_term_type(env, argv[0]));
}

static ERL_NIF_TERM number(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int i;
    unsigned u;
    long l;
    unsigned long ul;
    double d;
    ERL_NIF_TERM none = atom(env, "none");
    (void)argc;
    return enif_make_tuple(env, 5, enif_get_int(env, argv[0], &i) ? enif_make_int(env, i) : none,
                           enif_get_uint(env, argv[0], &u) ? enif_make_uint(env, u) : none,
                           enif_get_long(env, argv[0], &l) ? enif_make_long(env, l) : none,
                           enif_get_ulong(env, argv[0], &ul) ? enif_make_ulong(env, ul) : none,
                           enif_get_double(env, argv[0], &d) ? enif_make_double(env, d) : none);
}

static ERL_NIF_TERM text(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    char buffer[12], small[400];
    unsigned length = 0;
    ERL_NIF_TERM found = atom(env, "none"), reversed = atom(env, "none");
    int string = enif_get_string(env, argv[0], buffer, sizeof(buffer), ERL_NIF_LATIN1);
    int name = enif_get_atom(env, argv[0], small, sizeof(small), ERL_NIF_LATIN1);
    (void)argc;
    if (name > 0)
        enif_make_existing_atom(env, small, &found, ERL_NIF_LATIN1);
    enif_make_reverse_list(env, argv[0], &reversed);
    enif_get_list_length(env, argv[0], &length);
    enif_snprintf(small, sizeof(small), "%T|%5d|%-4s|%lx|%c|%.2f|%%", argv[0], 42, "ab", 255L, 'z', 1.5);
    return enif_make_list(env, 6, enif_make_int(env, string), enif_make_int(env, name), found, reversed, enif_make_uint(env, length),
                          enif_make_string(env, small, ERL_NIF_LATIN1));
}

static ERL_NIF_TERM order(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    return enif_make_tuple3(env, enif_make_int(env, enif_compare(argv[0], argv[1])), enif_make_int(env, enif_is_identical(argv[0], argv[1])),
                            enif_make_uint64(env, enif_hash(ERL_NIF_PHASH2, argv[0], 0)));
}

/* All pairs of a map, forwards and backwards, and the map of them with values made keys' copies. */
static ERL_NIF_TERM pairs(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifMapIterator iterator;
    ERL_NIF_TERM key, value, forwards = enif_make_list(env, 0), backwards = enif_make_list(env, 0), map = enif_make_new_map(env);
    size_t size;
    (void)argc;
    if (!enif_get_map_size(env, argv[0], &size) || !enif_map_iterator_create(env, argv[0], &iterator, ERL_NIF_MAP_ITERATOR_FIRST))
        return enif_make_badarg(env);
    while (enif_map_iterator_get_pair(env, &iterator, &key, &value)) {
        forwards = enif_make_list_cell(env, enif_make_tuple2(env, key, value), forwards);
        enif_make_map_put(env, map, key, key, &map);
        enif_make_map_update(env, map, key, value, &map);
        enif_map_iterator_next(env, &iterator);
    }
    enif_map_iterator_destroy(env, &iterator);
    enif_map_iterator_create(env, argv[0], &iterator, ERL_NIF_MAP_ITERATOR_LAST);
    while (enif_map_iterator_get_pair(env, &iterator, &key, &value)) {
        backwards = enif_make_list_cell(env, enif_make_tuple2(env, key, value), backwards);
        enif_map_iterator_prev(env, &iterator);
    }
    enif_map_iterator_destroy(env, &iterator);
    return enif_make_tuple4(env, enif_make_uint64(env, size), forwards, backwards, map);
}

/* ---- Binaries ---- */

static ERL_NIF_TERM binaries(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifBinary from, own, external;
    ERL_NIF_TERM copy, grown, part, back;
    unsigned char *bytes;
    size_t used;
    (void)argc;
    if (!enif_inspect_iolist_as_binary(env, argv[0], &from))
        return enif_make_badarg(env);
    bytes = enif_make_new_binary(env, from.size, &copy);
    memcpy(bytes, from.data, from.size);
    enif_alloc_binary(from.size, &own);
    memcpy(own.data, from.data, from.size);
    enif_realloc_binary(&own, from.size * 2);
    memcpy(own.data + from.size, from.data, from.size);
    grown = enif_make_binary(env, &own);
    part = enif_make_sub_binary(env, grown, from.size / 2, from.size);
    enif_term_to_binary(env, argv[0], &external);
    used = enif_binary_to_term(env, external.data, external.size, &back, 0);
    used = used == external.size;
    enif_release_binary(&external);
    return enif_make_tuple5(env, copy, grown, part, back, enif_make_uint64(env, used));
}

/* Libraries write a few bytes more than they have asked for: there is room for 7 behind new bytes, resized bytes, and encoded terms. */
static ERL_NIF_TERM room(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    enum { BINARIES = 3 * 256, ROOM = 7 };
    static ErlNifBinary made[BINARIES];
    ERL_NIF_TERM list = enif_make_list(env, 0);
    size_t i, size;
    (void)argc;
    for (i = 0; i < BINARIES; i++) {
        size = 60 + i / 3;
        if (i % 3 == 2) {
            enif_term_to_binary(env, argv[0], &made[i]);
        } else {
            enif_alloc_binary(i % 3 == 0 ? size : size / 2, &made[i]);
            if (i % 3 == 1)
                enif_realloc_binary(&made[i], size);
            memset(made[i].data, i, made[i].size);
        }
        memset(made[i].data + made[i].size, 255, ROOM);
    }
    for (i = 0; i < BINARIES; i++)
        list = enif_make_list_cell(env, enif_make_binary(env, &made[i]), list);
    return list;
}

static ERL_NIF_TERM queue(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifIOVec vector, *vec = &vector;
    ErlNifIOQueue *q = enif_ioq_create(ERL_NIF_IOQ_NORMAL);
    ERL_NIF_TERM tail, head = atom(env, "none"), out;
    SysIOVec *slices;
    unsigned char *to;
    size_t left, at = 0;
    int count;
    (void)argc;
    if (!enif_inspect_iovec(env, 64, argv[0], &tail, &vec) || !enif_ioq_enqv(q, vec, 3)) {
        enif_ioq_destroy(q);
        return enif_make_badarg(env);
    }
    enif_ioq_deq(q, 2, &left);
    enif_ioq_peek_head(env, q, NULL, &head);
    slices = enif_ioq_peek(q, &count);
    to = enif_make_new_binary(env, enif_ioq_size(q), &out);
    for (int i = 0; i < count; i++) {
        memcpy(to + at, slices[i].iov_base, slices[i].iov_len);
        at += slices[i].iov_len;
    }
    enif_ioq_destroy(q);
    return enif_make_tuple4(env, out, head, tail, enif_make_uint64(env, left));
}

/* ---- Objects ---- */

static void destroy(ErlNifEnv *env, void *memory) {
    private_data *data = data_of(env);
    object *it = memory;
    if (it->descriptors[0] >= 0)
        close(it->descriptors[0]);
    if (it->descriptors[1] >= 0)
        close(it->descriptors[1]);
    enif_mutex_lock(data->lock);
    data->destroyed++;
    enif_mutex_unlock(data->lock);
}

static void stopped(ErlNifEnv *env, void *memory, ErlNifEvent event, int is_direct) {
    (void)env;
    (void)memory;
    (void)event;
    (void)is_direct;
}

static void down(ErlNifEnv *env, void *memory, ErlNifPid *pid, ErlNifMonitor *monitor) {
    object *it = memory;
    ErlNifEnv *message = enif_alloc_env();
    (void)env;
    enif_send(NULL, &it->owner, message,
              enif_make_tuple3(message, atom(message, "down"), enif_make_pid(message, pid),
                               atom(message, enif_compare_monitors(monitor, &it->monitor) == 0 ? "same" : "other")));
    enif_free_env(message);
}

static void called(ErlNifEnv *env, void *memory, void *argument) {
    (void)env;
    *(int *)argument += ((object *)memory)->value;
}

static ERL_NIF_TERM new_object(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = enif_alloc_resource(data_of(env)->objects, sizeof(object));
    ERL_NIF_TERM term;
    (void)argc;
    it->descriptors[0] = it->descriptors[1] = -1;
    enif_self(env, &it->owner);
    if (!enif_get_int(env, argv[0], &it->value))
        it->value = -1;
    term = enif_make_resource(env, it);
    enif_release_resource(it);
    return term;
}

static object *get(ErlNifEnv *env, ERL_NIF_TERM term) {
    void *it = NULL;
    return enif_get_resource(env, term, data_of(env)->objects, &it) ? it : NULL;
}

static ERL_NIF_TERM value_of(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    (void)argc;
    return it ? enif_make_int(env, it->value) : enif_make_badarg(env);
}

static ERL_NIF_TERM bytes_of(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    (void)argc;
    return it ? enif_make_resource_binary(env, it, &it->value, sizeof(it->value)) : enif_make_badarg(env);
}

static ERL_NIF_TERM destroyed(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    private_data *data = data_of(env);
    int count;
    (void)argc;
    (void)argv;
    enif_mutex_lock(data->lock);
    count = data->destroyed;
    enif_mutex_unlock(data->lock);
    return enif_make_int(env, count);
}

static ERL_NIF_TERM generation(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    (void)argc;
    (void)argv;
    return enif_make_int(env, data_of(env)->generation);
}

static ERL_NIF_TERM watch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    ErlNifPid pid;
    (void)argc;
    if (it == NULL || !enif_get_local_pid(env, argv[1], &pid))
        return enif_make_badarg(env);
    return enif_make_int(env, enif_monitor_process(env, it, &pid, &it->monitor));
}

static ERL_NIF_TERM unwatch(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    (void)argc;
    return it ? enif_make_int(env, enif_demonitor_process(env, it, &it->monitor)) : enif_make_badarg(env);
}

static ERL_NIF_TERM call_object(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    int sum = 1;
    int result = enif_dynamic_resource_call(env, atom(env, "nif_families"), atom(env, "object"), argv[0], &sum);
    (void)argc;
    return enif_make_tuple2(env, enif_make_int(env, result), enif_make_int(env, sum));
}

/* ---- Descriptors ---- */

static ERL_NIF_TERM open_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    (void)argc;
    if (it == NULL || pipe2(it->descriptors, O_NONBLOCK) != 0)
        return enif_make_badarg(env);
    return enif_make_int(env, enif_select(env, it->descriptors[0], ERL_NIF_SELECT_READ, it, NULL, argv[1]));
}

static ERL_NIF_TERM write_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    ErlNifBinary bytes;
    (void)argc;
    if (it == NULL || !enif_inspect_binary(env, argv[1], &bytes))
        return enif_make_badarg(env);
    return enif_make_long(env, write(it->descriptors[1], bytes.data, bytes.size));
}

static ERL_NIF_TERM read_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    char bytes[64];
    ssize_t count;
    ERL_NIF_TERM term;
    (void)argc;
    if (it == NULL || (count = read(it->descriptors[0], bytes, sizeof(bytes))) < 0)
        return atom(env, "nothing");
    memcpy(enif_make_new_binary(env, count, &term), bytes, count);
    return term;
}

static ERL_NIF_TERM stop_pipe(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    object *it = get(env, argv[0]);
    int cancelled, result;
    (void)argc;
    if (it == NULL)
        return enif_make_badarg(env);
    enif_select(env, it->descriptors[0], ERL_NIF_SELECT_READ, it, NULL, atom(env, "undefined"));
    cancelled = enif_select(env, it->descriptors[0], ERL_NIF_SELECT_READ | ERL_NIF_SELECT_CANCEL, it, NULL, atom(env, "undefined"));
    result = enif_select(env, it->descriptors[0], ERL_NIF_SELECT_STOP, it, NULL, atom(env, "undefined"));
    return enif_make_tuple2(env, enif_make_int(env, cancelled), enif_make_int(env, result));
}

/* ---- Messages from threads ---- */

#define THREADS 8

typedef struct {
    ErlNifPid to;
    int number;
    int count;
} sender;

static void *send_all(void *argument) {
    sender *it = argument;
    ErlNifEnv *env = enif_alloc_env();
    for (int n = 1; n <= it->count; n++) {
        ERL_NIF_TERM message = enif_make_tuple3(env, enif_make_int(env, it->number), enif_make_int(env, n), enif_make_string(env, "text", ERL_NIF_LATIN1));
        enif_send(NULL, &it->to, env, message);
        enif_clear_env(env);
    }
    enif_free_env(env);
    return argument;
}

static ERL_NIF_TERM send_from_threads(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifTid threads[THREADS];
    sender senders[THREADS];
    int count, joined = 0;
    (void)argc;
    if (!enif_get_int(env, argv[0], &count))
        return enif_make_badarg(env);
    for (int i = 0; i < THREADS; i++) {
        enif_self(env, &senders[i].to);
        senders[i].number = i;
        senders[i].count = count;
        if (enif_thread_create("sender", &threads[i], send_all, &senders[i], NULL) != 0)
            return enif_make_badarg(env);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        enif_thread_join(threads[i], &result);
        joined += result == &senders[i];
    }
    return enif_make_int(env, joined);
}

static ERL_NIF_TERM send_self(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifPid self;
    (void)argc;
    enif_self(env, &self);
    return enif_make_int(env, enif_send(env, &self, NULL, argv[0]));
}

/* ---- Time and the machine ---- */

static ERL_NIF_TERM times(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) {
    ErlNifTime now = enif_monotonic_time(ERL_NIF_USEC);
    ErlNifSysInfo info;
    (void)argc;
    (void)argv;
    enif_system_info(&info, sizeof(info));
    return enif_make_list(env, 5, enif_make_int(env, enif_monotonic_time(ERL_NIF_USEC) >= now),
                          enif_make_int64(env, enif_convert_time_unit(-1500, ERL_NIF_MSEC, ERL_NIF_SEC)),
                          enif_make_int(env, enif_convert_time_unit(1, 17, ERL_NIF_SEC) == ERL_NIF_TIME_ERROR),
                          enif_make_int(env, info.dirty_scheduler_support), enif_make_int(env, enif_is_current_process_alive(env)));
}

/* ---- Loading ---- */

static int open_types(ErlNifEnv *env, private_data *data) {
    ErlNifResourceTypeInit callbacks = {destroy, stopped, down, 4, called};
    ErlNifResourceFlags tried;
    data->objects = enif_init_resource_type(env, "object", &callbacks, ERL_NIF_RT_CREATE | ERL_NIF_RT_TAKEOVER, &tried);
    return data->objects == NULL;
}

static int load(ErlNifEnv *env, void **private, ERL_NIF_TERM info) {
    private_data *data = enif_alloc(sizeof(private_data));
    (void)info;
    memset(data, 0, sizeof(*data));
    data->lock = enif_mutex_create("families");
    *private = data;
    return open_types(env, data);
}

static int upgrade(ErlNifEnv *env, void **private, void **before, ERL_NIF_TERM info) {
    private_data *data;
    if (load(env, private, info))
        return 1;
    data = *private;
    data->generation = ((private_data *)*before)->generation + 1;
    return 0;
}

static void unload(ErlNifEnv *env, void *private) {
    (void)env;
    enif_mutex_destroy(((private_data *)private)->lock);
    enif_free(private);
}

static ErlNifFunc functions[] = {
    {"nothing", 1, nothing, 0},
    {"sum", 1, sum, 0},
    {"normal", 0, kind_of_thread, 0},
    {"dirty_cpu", 0, kind_of_thread, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"dirty_io", 0, kind_of_thread, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"raise", 1, raise, 0},
    {"raise_dirty", 1, raise, ERL_NIF_DIRTY_JOB_CPU_BOUND},
    {"type", 1, type, 0},
    {"number", 1, number, 0},
    {"text", 1, text, 0},
    {"order", 2, order, 0},
    {"pairs", 1, pairs, 0},
    {"binaries", 1, binaries, 0},
    {"room", 1, room, 0},
    {"queue", 1, queue, 0},
    {"new_object", 1, new_object, 0},
    {"value_of", 1, value_of, 0},
    {"bytes_of", 1, bytes_of, 0},
    {"destroyed", 0, destroyed, 0},
    {"generation", 0, generation, 0},
    {"watch", 2, watch, 0},
    {"unwatch", 1, unwatch, 0},
    {"call_object", 1, call_object, 0},
    {"open_pipe", 2, open_pipe, 0},
    {"write_pipe", 2, write_pipe, 0},
    {"read_pipe", 1, read_pipe, 0},
    {"stop_pipe", 1, stop_pipe, 0},
    {"send_from_threads", 1, send_from_threads, ERL_NIF_DIRTY_JOB_IO_BOUND},
    {"send_self", 1, send_self, 0},
    {"times", 0, times, 0},
};

ERL_NIF_INIT(nif_families, functions, load, NULL, upgrade, unload)
