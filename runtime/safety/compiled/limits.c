/* The next step of the target towards a command: `Limits.propose` of limits.py, bit for bit, and its `path`.

   Compiled without contraction of a * b + c, which would round otherwise than Python. Units rad and rad a period. */

#include <math.h>
#include <stdint.h>

enum { NOT_FINITE = 1, CORRECTED = 2, TAKEN = 4, MOST_JOINTS = 64, LONGEST_PATH = 64 };
static const double rounding = 1e-5, spacing = 0.05;

typedef struct { double low, high, step, change, brake; } joint_limits;
typedef struct {
  int64_t joints;
  const joint_limits *limits;
  const double *wanted;
  double *target, *last, *proposed, *steps;
} motion;

static double reach(double room, double change) {
  if (room <= change) return room;
  double steps = ceil((sqrt(1 + 8 * room / change) - 1) / 2);
  return room / steps + change * (steps - 1) / 2;
}

static int propose_joint(const joint_limits *l, double wanted, double x, double last, double share, double *proposed,
                         double *taken) {
  double step = wanted - x, upward = l->step * share, downward = -upward, most;
  if (l->high - x < l->brake && (most = reach(l->high - x, l->change)) < upward) upward = most;
  if (x - l->low < l->brake && (most = -reach(x - l->low, l->change)) > downward) downward = most;
  if (!(downward <= step && step <= upward)) step = step > upward ? upward : downward;
  if (!(-l->change <= step - last && step - last <= l->change))
    step = step > last ? last + l->change : last - l->change;
  double moved = step == wanted - x ? wanted : x + step;
  if (!(l->low <= moved && moved <= l->high) && l->low <= x && x <= l->high) moved = moved > l->high ? l->high : l->low;
  *proposed = moved;
  *taken = step;
  return fabs(moved - wanted) > rounding;
}

/* Postures [count][joints] on the way to rest; 0 when there are more than LONGEST_PATH. */
static int64_t braking_path(const motion *m, double *postures) {
  double here[MOST_JOINTS], steps[MOST_JOINTS], moved = 0;
  int64_t n = m->joints, count = 1;
  for (int64_t i = 0; i < n; i++) postures[i] = here[i] = m->proposed[i], steps[i] = m->steps[i];
  for (;;) {
    int moving = 0;
    for (int64_t i = 0; i < n; i++) moving |= fabs(steps[i]) > m->limits[i].change;
    if (!moving && !(moved > 0)) return count;
    if (moving) {
      double largest = 0;
      for (int64_t i = 0; i < n; i++) {
        double left = fabs(steps[i]) - m->limits[i].change;
        steps[i] = copysign(left > 0 ? left : 0, steps[i]);
        here[i] += steps[i];
        if (fabs(steps[i]) > largest) largest = fabs(steps[i]);
      }
      moved += largest;
      if (moved < spacing) continue;
    }
    if (count == LONGEST_PATH) return 0;
    for (int64_t i = 0; i < n; i++) postures[count * n + i] = here[i];
    count++, moved = 0;
  }
}

/* Which of NOT_FINITE, CORRECTED and TAKEN hold; TAKEN only with a look, from clearance.c. */
int shoal_propose(const motion *m, double share, const look *sight) {
  int64_t n = m->joints;
  int found = 0;
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(m->wanted[i])) return NOT_FINITE;
  for (int64_t i = 0; i < n; i++)
    if (propose_joint(m->limits + i, m->wanted[i], m->target[i], m->last[i], share, m->proposed + i, m->steps + i))
      found = CORRECTED;
  double postures[LONGEST_PATH * MOST_JOINTS];
  int64_t count = sight ? braking_path(m, postures) : 0;
  if (!count || !shoal_clear(sight, postures, count)) return found;
  for (int64_t i = 0; i < n; i++) m->target[i] = m->proposed[i], m->last[i] = m->steps[i];
  return found | TAKEN;
}

/* For the comparison with Python: the number of postures, and they. */
int shoal_path(const motion *m, double *postures) { return (int)braking_path(m, postures); }
