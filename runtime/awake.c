/* Threads that keep processors from halting: they do nothing, and give way to everything else. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#define STACK_BYTES (64 * 1024)

static int awake;

static void *stay(void *unused) {
  unsigned long high = ~(~0ul >> 1), divisor = 3, number = high;
  while (__atomic_load_n(&awake, __ATOMIC_RELAXED)) {
    /* Divisions that wait for each other leave the core's units to its other hardware thread. A pause would do the same,
       but hypervisors take it for the waiting of a lock, and the processor away. */
    number = number / divisor | high;
    __asm__ volatile("" : "+r"(number), "+r"(divisor));
  }
  return unused;
}

/* One thread more, on this processor; 0, or the error's number. */
int shoal_keep_awake(int processor) {
  static const struct sched_param none;
  pthread_t thread;
  pthread_attr_t attributes;
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  __atomic_store_n(&awake, 1, __ATOMIC_RELAXED);
  pthread_attr_init(&attributes);
  /* Small, because all of it is locked where memory is locked. */
  int error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
  if (!error) error = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (!error) error = pthread_attr_setaffinity_np(&attributes, sizeof only, &only);
  /* Not even for its first moment may it run like the thread that starts it, which is perhaps a real-time one. */
  if (!error) error = pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  if (!error) error = pthread_create(&thread, &attributes, stay, 0);
  if (!error) error = pthread_setschedparam(thread, SCHED_IDLE, &none);
  pthread_attr_destroy(&attributes);
  return error;
}

/* All of them end. */
void shoal_let_sleep(void) { __atomic_store_n(&awake, 0, __ATOMIC_RELAXED); }
