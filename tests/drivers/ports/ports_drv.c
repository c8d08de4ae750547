/* A driver that does what its port is told to: each operation of port_control is one kind of functions. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "erl_driver.h"

typedef struct {
    ErlDrvPort port;
    ErlDrvTermData name, owner;
    ErlDrvMonitor monitor;
    ErlDrvPDL lock;
    int descriptor;
} Data;

/* Sends {Tag, Port} or {Tag, Port, Number} to the process that has opened the port. */
static void tell(Data *data, char *tag, long number)
{
    ErlDrvTermData words[] = { ERL_DRV_ATOM, driver_mk_atom(tag), ERL_DRV_PORT, data->name, ERL_DRV_INT, number, ERL_DRV_TUPLE, 3 };
    erl_drv_send_term(data->name, data->owner, words, sizeof words / sizeof words[0]);
}

static Data *last;

/* A callback that waits, for half a minute at most, until another one sets how it goes on. */
static volatile int is_waiting, goes_on;

static void wait_for_another(void)
{
    int turns = 30000;
    goes_on = 0;
    is_waiting = 1;
    while (!goes_on && --turns > 0) usleep(1000);
    is_waiting = 0;
}

static Data *made(ErlDrvPort port, ErlDrvTermData owner)
{
    Data *data = driver_alloc(sizeof(Data));
    memset(data, 0, sizeof *data);
    data->port = port;
    data->owner = owner;
    data->descriptor = -1;
    return data;
}

static ErlDrvData start(ErlDrvPort port, char *command)
{
    Data *data;
    if (strstr(command, "general")) return ERL_DRV_ERROR_GENERAL;
    if (strstr(command, "badarg")) return ERL_DRV_ERROR_BADARG;
    if (strstr(command, "errno")) { errno = ENOSPC; return ERL_DRV_ERROR_ERRNO; }
    data = made(port, driver_connected(port));
    data->name = driver_mk_port(port);
    return (ErlDrvData) data;
}

static void stop(ErlDrvData drv)
{
    Data *data = (Data *) drv;
    tell(data, "stopped", 0);
    if (data->descriptor >= 0) driver_select(data->port, (ErlDrvEvent) (long) data->descriptor, ERL_DRV_USE, 0);
    if (last == data) last = NULL;
    driver_free(data);
}

static void output(ErlDrvData drv, char *bytes, ErlDrvSizeT count)
{
    Data *data = (Data *) drv;
    driver_output2(data->port, "<", 1, bytes, count);
}

static void flush(ErlDrvData drv)
{
    Data *data = (Data *) drv;
    tell(data, "flushing", driver_sizeq(data->port));
    driver_set_timer(data->port, 500);
}

static void timeout(ErlDrvData drv)
{
    Data *data = (Data *) drv;
    tell(data, "timeout", driver_sizeq(data->port));
    /* Nobody hears it any more once the port is closed. */
    driver_output(data->port, "late", 4);
    driver_deq(data->port, driver_sizeq(data->port));
}

static void ready_input(ErlDrvData drv, ErlDrvEvent event)
{
    Data *data = (Data *) drv;
    char byte = 1;
    tell(data, "ready_input", read((int) (long) event, &byte, 1) + byte);
    driver_select(data->port, event, ERL_DRV_READ, 0);
}

static void stop_select(ErlDrvEvent event, void *unused)
{
    close((int) (long) event);
}

static void process_exit(ErlDrvData drv, ErlDrvMonitor *monitor)
{
    Data *data = (Data *) drv;
    tell(data, "process_exit", driver_compare_monitors(monitor, &data->monitor));
}

static void work(void *argument) { *(int *) argument += 1; }

static void ready_async(ErlDrvData drv, ErlDrvThreadData thread_data)
{
    tell((Data *) drv, "ready_async", *(int *) thread_data);
    driver_free(thread_data);
}

/* What the file of a library has. Nobody calls it. */
static int is_called;
void *nif_init(void)
{
    is_called = 1;
    return NULL;
}

static void nothing(void *argument) { driver_free(argument); }

static ErlDrvSSizeT control(ErlDrvData drv, unsigned command, char *bytes, ErlDrvSizeT count, char **answer, ErlDrvSizeT room)
{
    Data *data = (Data *) drv;
    ErlDrvPort port = data->port, other;
    long result = 0;
    unsigned key = 7;
    ErlDrvSizeT low, high;
    int *argument;
    void *file;
    switch (command) {
    case 1: set_busy_port(port, bytes[0]); break;
    case 2: result = driver_enq(port, bytes, count); break;
    case 3: result = driver_deq(port, bytes[0]); break;
    case 4:
        data = made(NULL, data->owner);
        other = driver_create_port(port, driver_caller(port), "a child", (ErlDrvData) data);
        data->port = other;
        data->name = driver_mk_port(other);
        tell(data, "created", (long) get_port_flags(other));
        break;
    case 5: result = driver_failure(port, bytes[0]); break;
    case 6: result = driver_failure_atom(port, "broken"); break;
    case 7: result = driver_failure_posix(port, ENOENT); break;
    case 8: result = driver_failure_eof(port); break;
    case 9: result = driver_exit(port, bytes[0]); break;
    case 10: last = data; break;
    case 11: result = driver_failure_atom(last->port, "by_another"); break;
    case 12: result = driver_monitor_process(port, driver_caller(port), &data->monitor); break;
    case 13: result = driver_demonitor_process(port, &data->monitor); break;
    case 14:
        data->descriptor = open("/dev/zero", O_RDONLY);
        result = driver_select(port, (ErlDrvEvent) (long) data->descriptor, ERL_DRV_READ | ERL_DRV_USE, 1);
        break;
    case 15:
        argument = driver_alloc(sizeof(int));
        *argument = 41;
        result = driver_async(port, &key, work, argument, nothing) > 0;
        break;
    case 16:
        data->lock = driver_pdl_create(port);
        result = driver_pdl_get_refc(data->lock) == 1 && driver_pdl_create(port) == NULL && driver_pdl_inc_refc(data->lock) == 2
            && driver_pdl_dec_refc(data->lock) == 1;
        driver_pdl_lock(data->lock);
        result = result && driver_pdl_get_refc(data->lock) == 2;
        driver_pdl_unlock(data->lock);
        break;
    case 17: erl_drv_set_os_pid(port, 4711); break;
    case 18: set_port_control_flags(port, PORT_CONTROL_FLAG_BINARY); *answer = NULL; return 0;
    case 19: result = get_port_flags(port); break;
    case 20:
        low = (ErlDrvSizeT) (unsigned char) bytes[0] << 8;
        high = (ErlDrvSizeT) (unsigned char) bytes[1] << 8;
        erl_drv_busy_msgq_limits(port, &low, &high);
        (*answer)[0] = low >> 8;
        (*answer)[1] = high >> 8;
        return 2;
    case 21:
        wait_for_another();
        result = bytes[0] ? driver_failure_atom(port, "waited") : 0;
        break;
    case 22: result = is_waiting; break;
    case 23: goes_on = 1; break;
    case 24:
        file = driver_dl_open("./ports_drv");
        if (file != NULL) {
            result = driver_dl_sym(file, "nif_init") == (void *) nif_init;
            driver_dl_close(file);
        }
        result = result && !is_called;
        break;
    default: return -1;
    }
    (*answer)[0] = (char) result;
    return 1;
}

static ErlDrvEntry entry = {
    .start = start, .stop = stop, .output = output, .ready_input = ready_input, .driver_name = "ports_drv", .control = control,
    .timeout = timeout, .ready_async = ready_async, .flush = flush, .extended_marker = ERL_DRV_EXTENDED_MARKER,
    .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION, .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION,
    /* erl hangs when such a port makes another one under a lock of the whole driver. */
    .driver_flags = ERL_DRV_FLAG_USE_PORT_LOCKING,
    .process_exit = process_exit, .stop_select = stop_select,
};

DRIVER_INIT(ports_drv)
{
    return &entry;
}
