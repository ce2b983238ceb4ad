/* Threads that keep processors from halting: they do nothing, and give way to everything else.

   A thread of class SCHED_IDLE that waits for its turn behind a busy process shifts the scheduler's averages, so that
   others wake milliseconds later than without it (EEVDF). A busy processor does not halt anyway: so a minder, real-time
   but below everything that is, looks after the threads and lays those to rest that hardly get to run. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

enum { MOST = 256, STACK_BYTES = 64 * 1024 };
enum { LOOK_NS = 20000000, CROWDED_NS = LOOK_NS / 10 };
enum { FIRST_REST = 50, LONGEST_REST = 800 }; /* looks: 1 s, 16 s */
enum state { SPIN, REST, END };

struct keeper {
  pthread_t thread;
  clockid_t clock;
  sem_t go;
  int state, rest, looks;
  long long ran_ns;
};
static struct keeper keepers[MOST];
static int keeper_count, awake;
static pthread_t minder;

static void give(struct keeper *keeper, enum state state) { __atomic_store_n(&keeper->state, state, __ATOMIC_RELEASE); }

static void *keep(void *argument) {
  struct keeper *keeper = argument;
  unsigned long high = ~(~0ul >> 1), divisor = 3, number = high;
  for (;;) {
    switch (__atomic_load_n(&keeper->state, __ATOMIC_ACQUIRE)) {
      case END: return 0;
      case REST: sem_wait(&keeper->go);
    }
    /* Divisions that wait for each other leave the units of the core to its other hardware thread. A pause would too,
       but hypervisors take it for the waiting of a lock, and the processor away. */
    for (int i = 0; i < 100; i++) {
      number = number / divisor | high;
      __asm__ volatile("" : "+r"(number), "+r"(divisor));
    }
  }
}

/* SCHED_IDLE, or for a moment real-time, to see soon that it should rest. */
static int schedule(struct keeper *keeper, int policy) {
  struct sched_param parameters = {.sched_priority = policy == SCHED_FIFO};
  return pthread_setschedparam(keeper->thread, policy, &parameters);
}

static void look_after(struct keeper *keeper) {
  if (keeper->state == REST) {
    if (++keeper->looks < keeper->rest) return;
    schedule(keeper, SCHED_IDLE);
    give(keeper, SPIN);
    sem_post(&keeper->go);
    keeper->looks = 0;
    return;
  }
  struct timespec now;
  if (clock_gettime(keeper->clock, &now)) return;
  long long ran_ns = now.tv_sec * 1000000000ll + now.tv_nsec, before_ns = keeper->ran_ns;
  keeper->ran_ns = ran_ns;
  keeper->looks++;
  if (ran_ns - before_ns >= CROWDED_NS) {
    if (keeper->looks > FIRST_REST) keeper->rest = FIRST_REST;
    return;
  }
  /* The longer in vain, the longer until the next attempt. */
  if (keeper->looks <= FIRST_REST && keeper->rest < LONGEST_REST) keeper->rest *= 2;
  keeper->looks = 0;
  give(keeper, REST);
  schedule(keeper, SCHED_FIFO);
}

static void *mind(void *unused) {
  const struct timespec pause = {0, LOOK_NS};
  while (__atomic_load_n(&awake, __ATOMIC_ACQUIRE)) {
    nanosleep(&pause, 0);
    for (int i = 0; i < keeper_count; i++) look_after(&keepers[i]);
  }
  return unused;
}

static int start(pthread_t *thread, void *(*function)(void *), void *argument, int processor, int priority) {
  struct sched_param parameters = {.sched_priority = priority};
  cpu_set_t only;
  sigset_t all, before;
  pthread_attr_t attributes;
  sigfillset(&all);
  CPU_ZERO(&only);
  if (processor >= 0) CPU_SET(processor, &only);
  pthread_attr_init(&attributes);
  /* Small, because all of it is locked where memory is locked. */
  int error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
  if (!error && processor >= 0) error = pthread_attr_setaffinity_np(&attributes, sizeof only, &only);
  /* Not even for its first moment like the thread that starts it, which is perhaps the control loop. */
  if (!error) error = pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  if (!error) error = pthread_attr_setschedpolicy(&attributes, priority ? SCHED_FIFO : SCHED_OTHER);
  if (!error) error = pthread_attr_setschedparam(&attributes, &parameters);
  /* Signals are for the threads that have something to do. */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (!error) error = pthread_create(thread, &attributes, function, argument);
  pthread_sigmask(SIG_SETMASK, &before, 0);
  pthread_attr_destroy(&attributes);
  return error;
}

/* All of them end. */
void shoal_let_sleep(void) {
  if (__atomic_exchange_n(&awake, 0, __ATOMIC_ACQ_REL)) pthread_join(minder, 0);
  for (int i = 0; i < keeper_count; i++) {
    give(&keepers[i], END);
    schedule(&keepers[i], SCHED_FIFO);
    sem_post(&keepers[i].go);
    pthread_join(keepers[i].thread, 0);
    sem_destroy(&keepers[i].go);
  }
  keeper_count = 0;
}

/* One thread on each of these processors; 0, or the error's number and no thread. */
int shoal_stay_awake(int count, const int *processors) {
  int error = 0;
  if (awake) return EALREADY;
  if (count > MOST) return E2BIG;
  for (int i = 0; i < count && !error; i++) {
    struct keeper *keeper = &keepers[i];
    *keeper = (struct keeper){.state = SPIN, .rest = FIRST_REST};
    sem_init(&keeper->go, 0, 0);
    error = start(&keeper->thread, keep, keeper, processors[i], 0);
    if (error) break;
    keeper_count++;
    error = schedule(keeper, SCHED_IDLE);
    if (!error) error = pthread_getcpuclockid(keeper->thread, &keeper->clock);
  }
  if (!error) {
    awake = 1;
    error = start(&minder, mind, 0, -1, 1);
    if (error) awake = 0;
  }
  if (error) shoal_let_sleep();
  return error;
}
