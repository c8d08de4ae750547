#define NAME nif_send
#include "nif_empty.c"
