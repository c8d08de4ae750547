/* A driver that echoes. FAIL_INIT: it cannot be loaded. WRONG_NAME: it is another one. */

#include <string.h>
#include "erl_driver.h"

static int init(void)
{
#ifdef FAIL_INIT
    return 1;
#else
    return 0;
#endif
}

static ErlDrvData start(ErlDrvPort port, char *command)
{
    return (ErlDrvData) port;
}

static void output(ErlDrvData data, char *bytes, ErlDrvSizeT count)
{
    driver_output((ErlDrvPort) data, bytes, count);
}

static ErlDrvSSizeT control(ErlDrvData data, unsigned command, char *bytes, ErlDrvSizeT count, char **answer, ErlDrvSizeT room)
{
    driver_lock_driver((ErlDrvPort) data);
    return 0;
}

static ErlDrvEntry entry = {
    .init = init,
    .start = start,
    .output = output,
    .control = control,
#ifdef WRONG_NAME
    .driver_name = "another_drv",
#else
    .driver_name = "loading_drv",
#endif
    .extended_marker = ERL_DRV_EXTENDED_MARKER,
    .major_version = ERL_DRV_EXTENDED_MAJOR_VERSION,
    .minor_version = ERL_DRV_EXTENDED_MINOR_VERSION,
};

#ifndef NO_INIT
DRIVER_INIT(loading_drv)
{
    return &entry;
}
#endif
