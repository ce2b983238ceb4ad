/* Is the robot, at some postures, certainly inside the tool's box and clear of itself? And where is its tool?

   Forward kinematics over a chain of frames, then distances between capsules that enclose the geoms. What is answered
   with yes is further away than asked for; everything else, and everything that is not a number, is answered with no
   and left to MuJoCo. The structures are those of clearance.py. Units m and rad. */

#include <math.h>
#include <stdint.h>

enum { FIXED, HINGE, SLIDE, MOST_FRAMES = 128, MOST_CAPSULES = 128 };

typedef struct { double position[3], rotation[9]; } pose; /* rotation row by row */
typedef struct { int64_t parent, motion, joint; pose in_parent; double axis[3], at_zero; } frame;
typedef struct { int64_t frame; double centre[3], half[3], length, radius; } capsule; /* half an axis, and its length */
typedef struct { int64_t first, second; } pair;
typedef struct {
  int64_t joints, frames, capsules, pairs, tool_frame;
  double tool[3], tool_rotation[9], low[3], high[3], kept, spare;
} robot;
typedef struct {
  const robot *robot;
  const frame *frames;
  const capsule *capsules;
  const pair *pairs;
  const double *postures; /* [count][joints] */
  double *tool;           /* position and quaternion wxyz, [7] */
} look;

static double dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static void rotate(const pose *p, const double *v, double *out) {
  for (int i = 0; i < 3; i++) out[i] = dot(p->rotation + 3 * i, v);
}

static void transform(const pose *p, const double *v, double *out) {
  rotate(p, v, out);
  for (int i = 0; i < 3; i++) out[i] += p->position[i];
}

static void multiply(const double *a, const double *b, double *out) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) out[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
}

/* Rodrigues' formula about a unit axis. */
static void turn(const double *axis, double angle, double *out) {
  double s = sin(angle), c = cos(angle), x = axis[0], y = axis[1], z = axis[2], d = 1 - c;
  double matrix[9] = {c + x * x * d,     x * y * d - z * s, x * z * d + y * s,
                      x * y * d + z * s, c + y * y * d,     y * z * d - x * s,
                      x * z * d - y * s, y * z * d + x * s, c + z * z * d};
  for (int i = 0; i < 9; i++) out[i] = matrix[i];
}

static void place_one(const frame *f, const double *joints, const pose *world, pose *here) {
  double moved = f->motion == FIXED ? 0.0 : joints[f->joint] - f->at_zero;
  pose local = f->in_parent;
  if (f->motion == HINGE) {
    double turned[9];
    turn(f->axis, moved, turned);
    multiply(f->in_parent.rotation, turned, local.rotation);
  } else if (f->motion == SLIDE) {
    double shift[3];
    rotate(&f->in_parent, f->axis, shift);
    for (int k = 0; k < 3; k++) local.position[k] += moved * shift[k];
  }
  if (f->parent < 0) {
    *here = local;
    return;
  }
  transform(world + f->parent, local.position, here->position);
  multiply(world[f->parent].rotation, local.rotation, here->rotation);
}

static void place(const frame *frames, int64_t count, const double *joints, pose *world) {
  for (int64_t i = 0; i < count; i++) place_one(frames + i, joints, world, world + i);
}

/* Of a rotation matrix, wxyz, from the largest of its four parts, so that no division is by little. */
static void quaternion(const double *m, double *out) {
  double squares[4] = {1 + m[0] + m[4] + m[8], 1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8], 1 - m[0] - m[4] + m[8]};
  double sums[4][4] = {{0, m[7] - m[5], m[2] - m[6], m[3] - m[1]},
                       {m[7] - m[5], 0, m[1] + m[3], m[2] + m[6]},
                       {m[2] - m[6], m[1] + m[3], 0, m[5] + m[7]},
                       {m[3] - m[1], m[2] + m[6], m[5] + m[7], 0}};
  int largest = 0;
  for (int i = 1; i < 4; i++)
    if (squares[i] > squares[largest]) largest = i;
  double twice = sqrt(squares[largest]);
  for (int i = 0; i < 4; i++) out[i] = i == largest ? 0.5 * twice : 0.5 * sums[largest][i] / twice;
}

static double clamp01(double x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

/* Distance of two segments a and b, given by centre and half axis, squared (Ericson, Real-Time Collision Detection,
   5.1.9, with both segments from end to end). */
static double segments_squared(const double *ca, const double *ha, const double *cb, const double *hb) {
  double u[3], v[3], r[3], gap[3];
  for (int i = 0; i < 3; i++) {
    u[i] = 2 * ha[i], v[i] = 2 * hb[i];
    r[i] = (ca[i] - ha[i]) - (cb[i] - hb[i]);
  }
  double a = dot(u, u), e = dot(v, v), b = dot(u, v), c = dot(u, r), f = dot(v, r), s = 0, t = 0;
  double parallel = a * e - b * b;
  if (a > 0 && parallel > 0) s = clamp01((b * f - c * e) / parallel);
  if (e > 0) t = clamp01((b * s + f) / e);
  if (a > 0) s = clamp01((b * t - c) / a);
  for (int i = 0; i < 3; i++) gap[i] = r[i] + s * u[i] - t * v[i];
  return dot(gap, gap);
}

static int inside(const robot *r, const pose *world) {
  double tool[3];
  transform(world + r->tool_frame, r->tool, tool);
  for (int i = 0; i < 3; i++)
    if (!(r->low[i] + r->spare <= tool[i] && tool[i] <= r->high[i] - r->spare)) return 0;
  return 1;
}

static int apart(const robot *r, const capsule *capsules, const pair *pairs, const pose *world) {
  double centre[MOST_CAPSULES][3], half[MOST_CAPSULES][3];
  for (int64_t i = 0; i < r->capsules; i++) {
    transform(world + capsules[i].frame, capsules[i].centre, centre[i]);
    rotate(world + capsules[i].frame, capsules[i].half, half[i]);
  }
  for (int64_t i = 0; i < r->pairs; i++) {
    int64_t a = pairs[i].first, b = pairs[i].second;
    double radii = capsules[a].radius + capsules[b].radius + r->kept + r->spare, between[3];
    double spheres = radii + capsules[a].length + capsules[b].length;
    for (int k = 0; k < 3; k++) between[k] = centre[a][k] - centre[b][k];
    if (dot(between, between) > spheres * spheres) continue;
    if (!(segments_squared(centre[a], half[a], centre[b], half[b]) > radii * radii)) return 0;
  }
  return 1;
}

/* Whether the first `count` postures are certainly allowed. */
int shoal_clear(const look *l, int64_t count) {
  pose world[MOST_FRAMES];
  for (int64_t i = 0; i < count; i++) {
    place(l->frames, l->robot->frames, l->postures + i * l->robot->joints, world);
    if (!inside(l->robot, world) || !apart(l->robot, l->capsules, l->pairs, world)) return 0;
  }
  return 1;
}

/* Where the first posture puts the tool. */
void shoal_tool(const look *l) {
  const robot *r = l->robot;
  pose world[MOST_FRAMES];
  double rotation[9];
  int64_t chain[MOST_FRAMES], length = 0;
  for (int64_t i = r->tool_frame; i >= 0; i = l->frames[i].parent) chain[length++] = i;
  while (length--) place_one(l->frames + chain[length], l->postures, world, world + chain[length]);
  transform(world + r->tool_frame, r->tool, l->tool);
  multiply(world[r->tool_frame].rotation, r->tool_rotation, rotation);
  quaternion(rotation, l->tool + 3);
}

/* The capsules' ends of the first posture, [2 capsules][3], for the comparison with MuJoCo. */
void shoal_points(const look *l, double *out) {
  const capsule *capsules = l->capsules;
  pose world[MOST_FRAMES];
  place(l->frames, l->robot->frames, l->postures, world);
  for (int64_t i = 0; i < l->robot->capsules; i++) {
    double centre[3], half[3];
    transform(world + capsules[i].frame, capsules[i].centre, centre);
    rotate(world + capsules[i].frame, capsules[i].half, half);
    for (int k = 0; k < 3; k++) {
      out[6 * i + k] = centre[k] - half[k];
      out[6 * i + 3 + k] = centre[k] + half[k];
    }
  }
}
