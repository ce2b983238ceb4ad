/* What is wrong with the readings: `ReadingWatch.check` of watch.py. The structure is that of watch.py beside this. */

#include <math.h>
#include <stdint.h>

/* As _REASONS in watch.py. */
enum { FOLLOWING, STALE, JUMPED, OUT_OF_ORDER, NOT_A_NUMBER, OUT_OF_RANGE, FROZEN, EFFORT, NOT_TRACKING, NO_OBJECT };

typedef struct {
  int64_t joints, readings, own_readings;
  const double *low, *high, *effort_max;
  double *same, *same_target;
  const double *values, *effort, *target;
  int64_t judges_jumps, judges_frozen, judges_effort, judges_tracking;
  double stale_after, largest_jump, frozen_travel, tracking_max;
  int64_t frozen_after, effort_ticks;
  /* Memory of the ticks before. */
  double now, newest;
  int64_t has_same, same_ticks, frozen, effort_count, measures_effort;
} watch;

static int all_finite(const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(values[i])) return 0;
  return 1;
}

static int clock_jumped(watch *w, double now) {
  double before = w->now;
  w->now = now;
  if (!w->judges_jumps || before == -INFINITY) return 0;
  return !(0 <= now - before && now - before <= w->largest_jump);
}

static int is_frozen(watch *w, const double *measured, const double *target, int yielding) {
  int same = w->has_same;
  for (int64_t i = 0; same && i < 2 * w->joints; i++) same = measured[i] == w->same[i];
  if (!same) {
    for (int64_t i = 0; i < 2 * w->joints; i++) w->same[i] = measured[i];
    w->has_same = 1, w->same_ticks = 0, w->frozen = 0;
  }
  if (!same || yielding) {
    for (int64_t i = 0; i < w->joints; i++) w->same_target[i] = target[i];
    return (int)w->frozen;
  }
  double travelled = 0;
  for (int64_t i = 0; i < w->joints; i++)
    if (fabs(target[i] - w->same_target[i]) > travelled) travelled = fabs(target[i] - w->same_target[i]);
  if (++w->same_ticks >= w->frozen_after && travelled >= w->frozen_travel) w->frozen = 1;
  return (int)w->frozen;
}

static int check_effort(watch *w, const double *effort) {
  if (!all_finite(effort, w->joints)) return w->measures_effort ? NOT_A_NUMBER : FOLLOWING;
  w->measures_effort = 1;
  for (int64_t i = 0; i < w->joints; i++)
    if (!(-w->effort_max[i] <= effort[i] && effort[i] <= w->effort_max[i]))
      return ++w->effort_count > w->effort_ticks ? EFFORT : FOLLOWING;
  w->effort_count = 0;
  return FOLLOWING;
}

int shoal_check(watch *w, double now, double time, int started, int yielding) {
  const double *values = w->values, *target = w->target;
  int jumped = clock_jumped(w, now);
  if (!(-w->stale_after <= now - time && now - time <= w->stale_after)) return STALE;
  if (jumped) {
    w->newest = time;
    return JUMPED;
  }
  if (time < w->newest) return OUT_OF_ORDER;
  int fresh = time > w->newest;
  w->newest = time;
  if (!all_finite(values, w->own_readings)) return NOT_A_NUMBER;
  if (!all_finite(values, w->readings)) return NO_OBJECT;
  for (int64_t i = 0; i < w->joints; i++)
    if (!(w->low[i] <= values[i] && values[i] <= w->high[i])) return OUT_OF_RANGE;
  if (w->judges_frozen && started && fresh && is_frozen(w, values, target, yielding)) return FROZEN;
  int reason = w->judges_effort ? check_effort(w, w->effort) : FOLLOWING;
  if (reason != FOLLOWING || !started || !w->judges_tracking) return reason;
  for (int64_t i = 0; i < w->joints; i++)
    if (!(fabs(values[i] - target[i]) <= w->tracking_max)) return NOT_TRACKING;
  return FOLLOWING;
}
