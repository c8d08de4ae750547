#define NAME nif_object
#include "nif_empty.c"
