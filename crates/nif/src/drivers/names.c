/* What erl_driver.h has under other names than erl_nif.h. */

#include <stddef.h>
#include <stdint.h>

extern void *enif_mutex_create(char *);
void *erl_drv_mutex_create(char *a) { return enif_mutex_create(a); }

extern void enif_mutex_destroy(void *);
void erl_drv_mutex_destroy(void *a) { enif_mutex_destroy(a); }

extern int enif_mutex_trylock(void *);
int erl_drv_mutex_trylock(void *a) { return enif_mutex_trylock(a); }

extern void enif_mutex_lock(void *);
void erl_drv_mutex_lock(void *a) { enif_mutex_lock(a); }

extern void enif_mutex_unlock(void *);
void erl_drv_mutex_unlock(void *a) { enif_mutex_unlock(a); }

extern void *enif_cond_create(char *);
void *erl_drv_cond_create(char *a) { return enif_cond_create(a); }

extern void enif_cond_destroy(void *);
void erl_drv_cond_destroy(void *a) { enif_cond_destroy(a); }

extern void enif_cond_signal(void *);
void erl_drv_cond_signal(void *a) { enif_cond_signal(a); }

extern void enif_cond_broadcast(void *);
void erl_drv_cond_broadcast(void *a) { enif_cond_broadcast(a); }

extern void enif_cond_wait(void *, void *);
void erl_drv_cond_wait(void *a, void *b) { enif_cond_wait(a, b); }

extern void *enif_rwlock_create(char *);
void *erl_drv_rwlock_create(char *a) { return enif_rwlock_create(a); }

extern void enif_rwlock_destroy(void *);
void erl_drv_rwlock_destroy(void *a) { enif_rwlock_destroy(a); }

extern int enif_rwlock_tryrlock(void *);
int erl_drv_rwlock_tryrlock(void *a) { return enif_rwlock_tryrlock(a); }

extern void enif_rwlock_rlock(void *);
void erl_drv_rwlock_rlock(void *a) { enif_rwlock_rlock(a); }

extern void enif_rwlock_runlock(void *);
void erl_drv_rwlock_runlock(void *a) { enif_rwlock_runlock(a); }

extern int enif_rwlock_tryrwlock(void *);
int erl_drv_rwlock_tryrwlock(void *a) { return enif_rwlock_tryrwlock(a); }

extern void enif_rwlock_rwlock(void *);
void erl_drv_rwlock_rwlock(void *a) { enif_rwlock_rwlock(a); }

extern void enif_rwlock_rwunlock(void *);
void erl_drv_rwlock_rwunlock(void *a) { enif_rwlock_rwunlock(a); }

extern int enif_tsd_key_create(char *, int *);
int erl_drv_tsd_key_create(char *a, int *b) { return enif_tsd_key_create(a, b); }

extern void enif_tsd_key_destroy(int);
void erl_drv_tsd_key_destroy(int a) { enif_tsd_key_destroy(a); }

extern void enif_tsd_set(int, void *);
void erl_drv_tsd_set(int a, void *b) { enif_tsd_set(a, b); }

extern void *enif_tsd_get(int);
void *erl_drv_tsd_get(int a) { return enif_tsd_get(a); }

extern void *enif_thread_opts_create(char *);
void *erl_drv_thread_opts_create(char *a) { return enif_thread_opts_create(a); }

extern void enif_thread_opts_destroy(void *);
void erl_drv_thread_opts_destroy(void *a) { enif_thread_opts_destroy(a); }

extern int enif_thread_create(char *, void *, void *(*)(void *), void *, void *);
int erl_drv_thread_create(char *a, void *b, void *(*c)(void *), void *d, void *e) { return enif_thread_create(a, b, c, d, e); }

extern void *enif_thread_self(void);
void *erl_drv_thread_self(void) { return enif_thread_self(); }

extern int enif_equal_tids(void *, void *);
int erl_drv_equal_tids(void *a, void *b) { return enif_equal_tids(a, b); }

extern void enif_thread_exit(void *);
void erl_drv_thread_exit(void *a) { enif_thread_exit(a); }

extern int enif_thread_join(void *, void **);
int erl_drv_thread_join(void *a, void **b) { return enif_thread_join(a, b); }

extern char *enif_mutex_name(void *);
char *erl_drv_mutex_name(void *a) { return enif_mutex_name(a); }

extern char *enif_cond_name(void *);
char *erl_drv_cond_name(void *a) { return enif_cond_name(a); }

extern char *enif_rwlock_name(void *);
char *erl_drv_rwlock_name(void *a) { return enif_rwlock_name(a); }

extern char *enif_thread_name(void *);
char *erl_drv_thread_name(void *a) { return enif_thread_name(a); }

extern int64_t enif_monotonic_time(int);
int64_t erl_drv_monotonic_time(int a) { return enif_monotonic_time(a); }

extern int64_t enif_time_offset(int);
int64_t erl_drv_time_offset(int a) { return enif_time_offset(a); }

extern int64_t enif_convert_time_unit(int64_t, int, int);
int64_t erl_drv_convert_time_unit(int64_t a, int b, int c) { return enif_convert_time_unit(a, b, c); }

extern int enif_getenv(const char *, char *, size_t *);
int erl_drv_getenv(const char *a, char *b, size_t *c) { return enif_getenv(a, b, c); }

extern void enif_system_info(void *, size_t);
void driver_system_info(void *a, size_t b) { enif_system_info(a, b); }

int null_func(void) { return 0; }
