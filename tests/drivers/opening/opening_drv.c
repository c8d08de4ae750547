/* A driver whose ports are open when it says so. The command names what start returns, and what is acknowledged, and when. */
#include <erl_driver.h>
#include <errno.h>
#include <string.h>

typedef struct {
    ErlDrvPort port;
    ErlDrvData answer;
    int error;
    int fails;
} Data;

static ErlDrvData problem(const char *command)
{
    if (strstr(command, "general")) return ERL_DRV_ERROR_GENERAL;
    if (strstr(command, "badarg")) return ERL_DRV_ERROR_BADARG;
    if (strstr(command, "errno")) return ERL_DRV_ERROR_ERRNO;
    return NULL;
}

static ErlDrvData start(ErlDrvPort port, char *command)
{
    Data *data = driver_alloc(sizeof(Data));
    data->port = port;
    data->answer = problem(command) != NULL ? problem(command) : (ErlDrvData) data;
    data->error = ENOSPC;
    data->fails = strstr(command, "failure") != NULL;
    errno = ENOSPC;
    if (strstr(command, "start")) { driver_free(data); return problem(command); }
    driver_set_timer(port, 50);
    return (ErlDrvData) data;
}

static void stop(ErlDrvData drv)
{
}

static void timeout(ErlDrvData drv)
{
    Data *data = (Data *) drv;
    if (data->fails) {
        driver_failure_posix(data->port, EIO);
        return;
    }
    errno = data->error;
    erl_drv_init_ack(data->port, data->answer);
    /* Once is enough: this says nothing. */
    erl_drv_init_ack(data->port, data->answer);
}

static void output(ErlDrvData drv, char *bytes, ErlDrvSizeT count)
{
    driver_output(((Data *) drv)->port, bytes, count);
}

static ErlDrvEntry entry = {
    .start = start, .stop = stop, .output = output, .timeout = timeout, .driver_name = "opening_drv",
    .extended_marker = ERL_DRV_EXTENDED_MARKER, .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION,
    .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION, .driver_flags = ERL_DRV_FLAG_USE_INIT_ACK,
};

DRIVER_INIT(opening_drv)
{
    return &entry;
}
