// Draws a recorded robot on a 2D canvas: perspective camera, depth-sorted shaded capsules, goal, trail, shadow.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("recording").textContent);
  const canvas = document.getElementById("scene");
  if (!data || !canvas) return;
  const ctx = canvas.getContext("2d");
  const shade = document.createElement("canvas");
  const shadeCtx = shade.getContext("2d");

  // --- recording ---------------------------------------------------------------------------------
  const decode = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Int16Array(bytes.buffer);
  };
  const parts = data.radius.length;
  const segments = decode(data.segments); // [frame][part][end][xyz], tenths of a millimetre
  const tools = decode(data.tool); // [frame][xyz in tenths of a millimetre, wxyz * 32767]
  const frames = tools.length / 7;
  const duration = (frames - 1) * data.dt_s;
  const visits = data.visits;

  const mix = (a, b, t) => a + (b - a) * t;
  function poseAt(time) {
    const at = Math.min(Math.max(time / data.dt_s, 0), frames - 1);
    const i = Math.min(Math.floor(at), Math.max(0, frames - 2));
    const j = Math.min(i + 1, frames - 1);
    const f = at - i;
    const arm = [];
    for (let k = 0; k < parts; k++) {
      const ends = [0, 1].map((end) =>
        [0, 1, 2].map((axis) => {
          const index = (k * 2 + end) * 3 + axis;
          return mix(segments[i * parts * 6 + index], segments[j * parts * 6 + index], f) * 1e-4;
        }));
      arm.push({ a: ends[0], b: ends[1], radius: data.radius[k], colour: data.colour[k] });
    }
    const position = [0, 1, 2].map((axis) => mix(tools[i * 7 + axis], tools[j * 7 + axis], f) * 1e-4);
    const sign = [3, 4, 5, 6].reduce((sum, c) => sum + tools[i * 7 + c] * tools[j * 7 + c], 0) < 0 ? -1 : 1;
    const q = [3, 4, 5, 6].map((c) => mix(tools[i * 7 + c], sign * tools[j * 7 + c], f));
    const frame = Math.round(at);
    let visit = 0;
    while (visit + 1 < visits.length && visits[visit + 1].first <= frame) visit++;
    const reached = visits[visit].reached !== null && frame >= visits[visit].reached;
    return { arm, position, quaternion: unit(q), frame, visit, reached,
             distance: mix(data.distance_mm[i], data.distance_mm[j], f),
             reachability: data.reachability[frame],
             angle: mix(data.angle_deg[i], data.angle_deg[j], f) };
  }

  // --- vectors -----------------------------------------------------------------------------------
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const along = (a, d, t) => [a[0] + d[0] * t, a[1] + d[1] * t, a[2] + d[2] * t];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  function unit(v) {
    const length = Math.hypot(...v) || 1;
    return v.map((x) => x / length);
  }
  function axesOf([w, x, y, z]) { // columns of the rotation of a unit quaternion wxyz
    return [
      [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
      [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
      [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
    ];
  }

  // --- camera ------------------------------------------------------------------------------------
  const LIGHT = unit([0.45, -0.35, 0.82]);
  const camera = { azimuth: data.camera.azimuth, elevation: data.camera.elevation, zoom: 1, target: data.camera.target };
  let view = {};
  function aim(width, height) {
    const ca = Math.cos(camera.azimuth), sa = Math.sin(camera.azimuth);
    const ce = Math.cos(camera.elevation), se = Math.sin(camera.elevation);
    const back = [ca * ce, sa * ce, se];
    const focal = 2.25 * Math.min(height, width * 0.92) * camera.zoom;
    const eye = along(camera.target, back, data.camera.distance);
    view = { eye, forward: back.map((x) => -x), right: [-sa, ca, 0], up: [-ca * se, -sa * se, ce],
             focal, x: width / 2, y: height * 0.53 };
  }
  function project(p) {
    const d = sub(p, view.eye);
    const depth = Math.max(dot(d, view.forward), 0.05);
    const scale = view.focal / depth;
    return { x: view.x + dot(d, view.right) * scale, y: view.y - dot(d, view.up) * scale, depth, scale };
  }

  // --- colours -----------------------------------------------------------------------------------
  let theme = {};
  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    theme = { dark: of("--dark") === "1", sky: of("--scene-sky"), ground: of("--scene-ground"), grid: of("--scene-grid"),
              ink: of("--ink"), trail: of("--accent"), waiting: of("--waiting"), reached: of("--good") };
  }
  const css = (c, alpha = 1) => `rgba(${c.map((x) => Math.round(Math.min(1, Math.max(0, x)) * 255)).join(",")},${alpha})`;
  function lit(colour, normal) {
    const sky = 0.5 + 0.5 * normal[2];
    const diffuse = Math.max(0, dot(normal, LIGHT));
    const half = unit(along(LIGHT, view.forward, -1));
    const gloss = 0.22 * Math.pow(Math.max(0, dot(normal, half)), 26);
    const rim = 0.1 * Math.pow(1 - Math.abs(dot(normal, view.forward)), 3);
    const head = Math.max(0, -dot(normal, view.forward)); // a lamp at the camera, so that no side is dull
    const strength = (theme.dark ? 0.24 : 0.32) + 0.16 * sky + 0.42 * diffuse + 0.2 * head;
    return colour.map((c, i) => c * strength * [1.0, 1.0, 1.02][i] + gloss + rim * (theme.dark ? 1 : 0.25));
  }

  // --- primitives --------------------------------------------------------------------------------
  function hull(target, a, b, ra, rb) {
    const dx = b.x - a.x, dy = b.y - a.y, length = Math.hypot(dx, dy);
    target.beginPath();
    if (length <= Math.abs(ra - rb) + 1e-6) {
      const big = ra >= rb ? a : b;
      target.arc(big.x, big.y, Math.max(ra, rb), 0, 2 * Math.PI);
      return;
    }
    const angle = Math.atan2(dy, dx), open = Math.acos((ra - rb) / length);
    target.arc(a.x, a.y, ra, angle + open, angle - open + 2 * Math.PI);
    target.arc(b.x, b.y, rb, angle - open, angle + open);
    target.closePath();
  }

  function ball(centre, radius, colour, alpha = 1) {
    const r = radius * centre.scale;
    const l = [dot(LIGHT, view.right), -dot(LIGHT, view.up)];
    const facing = Math.max(0.2, -dot(LIGHT, view.forward));
    const spot = { x: centre.x + l[0] * r * 0.55, y: centre.y + l[1] * r * 0.55 };
    const gradient = ctx.createRadialGradient(spot.x, spot.y, 0, centre.x, centre.y, r);
    for (let i = 0; i <= 5; i++) {
      const t = i / 5;
      // From the point that faces the light to the rim, which on average is lit from the side.
      const normal = unit(along(LIGHT.map((x) => x * (1 - t)), view.forward, -(facing * 0.35) * (1 - t) - 0.12));
      const edge = unit(along([-LIGHT[0] * 0.35, -LIGHT[1] * 0.35, -0.15], view.forward, -0.35));
      const n = unit([0, 1, 2].map((k) => mix(normal[k], edge[k], t * t)));
      gradient.addColorStop(t, css(lit(colour, n)));
    }
    ctx.globalAlpha = alpha;
    ctx.fillStyle = gradient;
    ctx.beginPath();
    ctx.arc(centre.x, centre.y, r, 0, 2 * Math.PI);
    ctx.fill();
    ctx.globalAlpha = 1;
  }

  function capsule(part) {
    const a = project(part.a), b = project(part.b);
    const ra = part.radius * a.scale, rb = part.radius * b.scale;
    const dx = b.x - a.x, dy = b.y - a.y, length = Math.hypot(dx, dy);
    const near = a.depth < b.depth ? a : b;
    if (length < 0.5) { ball(near, part.radius, part.colour); return; }
    const n = [-dy / length, dx / length], r = Math.max(ra, rb);
    const side = [0, 1, 2].map((k) => n[0] * view.right[k] - n[1] * view.up[k]);
    const axis = unit(sub(part.b, part.a));
    let facing = unit(cross(axis, side));
    if (dot(facing, view.forward) > 0) facing = facing.map((x) => -x);
    const m = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const gradient = ctx.createLinearGradient(m.x - n[0] * r, m.y - n[1] * r, m.x + n[0] * r, m.y + n[1] * r);
    for (let i = 0; i <= 12; i++) {
      const t = (i / 12) * 2 - 1;
      const normal = along(side.map((x) => x * t), facing, Math.sqrt(Math.max(0, 1 - t * t)));
      gradient.addColorStop(i / 12, css(lit(part.colour, unit(normal))));
    }
    hull(ctx, a, b, ra, rb);
    ctx.fillStyle = gradient;
    ctx.fill();
    const endOn = Math.abs(dot(axis, view.forward));
    if (endOn > 0.3) ball(near, part.radius, part.colour, Math.min(1, (endOn - 0.3) / 0.5));
    hull(ctx, a, b, ra, rb);
    ctx.strokeStyle = theme.dark ? "rgba(0,0,0,.55)" : "rgba(30,38,52,.42)";
    ctx.lineWidth = Math.max(0.8, view.focal / 900);
    ctx.stroke();
  }

  function line(from, to, width, colour, alpha = 1, cap = "round") {
    const a = project(from), b = project(to);
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = colour;
    ctx.lineWidth = Math.max(0.7, width * (a.scale + b.scale) / 2);
    ctx.lineCap = cap;
    ctx.beginPath();
    ctx.moveTo(a.x, a.y);
    ctx.lineTo(b.x, b.y);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  const AXES = ["#e5484d", "#2fa35b", "#3a7bfd"];
  function triad(origin, axes, length, width, alpha) {
    const drawn = axes.map((axis, i) => ({ tip: along(origin, axis, length), axis, colour: AXES[i] }));
    drawn.sort((p, q) => project(q.tip).depth - project(p.tip).depth);
    for (const { tip, colour } of drawn) {
      line(origin, tip, width * 1.9, theme.dark ? "#0b0f16" : "#ffffff", alpha * 0.85);
      line(origin, tip, width, colour, alpha);
      const p = project(tip);
      ctx.globalAlpha = alpha;
      ctx.fillStyle = colour;
      ctx.beginPath();
      ctx.arc(p.x, p.y, width * p.scale * 1.15, 0, 2 * Math.PI);
      ctx.fill();
      ctx.globalAlpha = 1;
    }
  }

  // --- scene -------------------------------------------------------------------------------------
  const FLOOR = 1.25, STEP = 0.1;
  function floor() {
    const [cx, cy] = [0.3, 0];
    const fade = (x, y) => Math.max(0, 1 - Math.pow(Math.hypot(x - cx, y - cy) / FLOOR, 2));
    ctx.fillStyle = theme.ground;
    ctx.beginPath();
    for (let i = 0; i <= 72; i++) {
      const p = project([cx + FLOOR * 1.02 * Math.cos(i * Math.PI / 36), cy + FLOOR * 1.02 * Math.sin(i * Math.PI / 36), 0]);
      if (i) ctx.lineTo(p.x, p.y); else ctx.moveTo(p.x, p.y);
    }
    ctx.fill();
    const count = Math.ceil(FLOOR / STEP);
    for (let i = -count; i <= count; i++) {
      const heavy = i % 5 === 0 ? 0.0028 : 0.0014;
      for (let j = -count; j < count; j++) {
        const [u, v, w] = [i * STEP, j * STEP, (j + 1) * STEP];
        const alpha = fade(cx + u, cy + (v + w) / 2);
        if (alpha > 0.02) {
          line([cx + u, cy + v, 0], [cx + u, cy + w, 0], heavy, theme.grid, alpha);
          line([cx + v, cy + u, 0], [cx + w, cy + u, 0], heavy, theme.grid, alpha);
        }
      }
    }
  }

  function shadows(pose, width, height) {
    // Drawn small and scaled up, which blurs: soft edges without a filter that not every browser has.
    const small = 0.22;
    shade.width = Math.max(2, Math.round(width * small));
    shade.height = Math.max(2, Math.round(height * small));
    shadeCtx.setTransform(small, 0, 0, small, 0, 0);
    const down = (p) => [p[0] - LIGHT[0] / LIGHT[2] * p[2] * 0.55, p[1] - LIGHT[1] / LIGHT[2] * p[2] * 0.55, 0];
    shadeCtx.fillStyle = "#000";
    for (const part of pose.arm) {
      const [a, b] = [project(down(part.a)), project(down(part.b))];
      const squash = Math.max(0.35, Math.sin(camera.elevation));
      // The footprint is an ellipse in perspective; squeezing the canvas makes ellipses of the circles.
      shadeCtx.save();
      shadeCtx.scale(1, squash);
      hull(shadeCtx, { x: a.x, y: a.y / squash }, { x: b.x, y: b.y / squash }, part.radius * a.scale, part.radius * b.scale);
      shadeCtx.fill();
      shadeCtx.restore();
    }
    ctx.save();
    ctx.imageSmoothingEnabled = true;
    ctx.imageSmoothingQuality = "high";
    const blur = view.focal * 0.004;
    ctx.globalAlpha = theme.dark ? 0.085 : 0.032;
    for (const [dx, dy] of [[0, 0], [1, 0.4], [-1, -0.4], [0.4, 1], [-0.4, -1]]) {
      ctx.drawImage(shade, dx * blur, dy * blur, width, height);
    }
    ctx.restore();
  }

  function goal(pose) {
    const visit = visits[pose.visit];
    const state = pose.reached ? theme.reached : theme.waiting;
    const foot = [visit.position[0], visit.position[1], 0];
    const centre = project(visit.position);
    return {
      under() {
        ctx.setLineDash([3, 5]);
        line(visit.position, foot, 0.0022, state, 0.75);
        ctx.setLineDash([]);
        ctx.strokeStyle = state;
        ctx.lineWidth = 1.5;
        ctx.globalAlpha = 0.8;
        ctx.beginPath();
        for (let i = 0; i <= 32; i++) {
          const p = project(along(foot, [Math.cos(i * Math.PI / 16), Math.sin(i * Math.PI / 16), 0], data.tolerance_m));
          if (i) ctx.lineTo(p.x, p.y); else ctx.moveTo(p.x, p.y);
        }
        ctx.stroke();
        ctx.globalAlpha = 1;
      },
      depth: centre.depth,
      draw() {
        const r = data.tolerance_m * centre.scale;
        const halo = ctx.createRadialGradient(centre.x, centre.y, r * 0.1, centre.x, centre.y, r);
        halo.addColorStop(0, state + "12");
        halo.addColorStop(0.8, state + "40");
        halo.addColorStop(1, state + "66");
        ctx.fillStyle = halo;
        ctx.beginPath();
        ctx.arc(centre.x, centre.y, r, 0, 2 * Math.PI);
        ctx.fill();
        ctx.strokeStyle = state;
        ctx.lineWidth = pose.reached ? 2.2 : 1.3;
        ctx.stroke();
      },
      over() {
        triad(visit.position, axesOf(visit.quaternion), 0.105, 0.007, 1);
        ctx.fillStyle = state;
        ctx.strokeStyle = theme.dark ? "#0b0f16" : "#fff";
        ctx.lineWidth = 1.5;
        ctx.beginPath();
        ctx.arc(centre.x, centre.y, Math.max(3, 0.0095 * centre.scale), 0, 2 * Math.PI);
        ctx.fill();
        ctx.stroke();
      },
    };
  }

  function trail(pose) {
    const first = Math.max(1, pose.frame - Math.round(2.2 / data.dt_s));
    const point = (i) => [0, 1, 2].map((axis) => tools[i * 7 + axis] * 1e-4);
    const pieces = [];
    for (let i = first; i <= pose.frame; i++) {
      const [a, b] = [point(i - 1), i === pose.frame ? pose.position : point(i)];
      const age = (i - first + 1) / (pose.frame - first + 1);
      pieces.push({ depth: project(b).depth - 0.02, draw: () => line(a, b, 0.006, theme.trail, 0.9 * age * age, "butt") });
    }
    return pieces;
  }

  function draw() {
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    aim(width, height);
    const sky = ctx.createLinearGradient(0, 0, 0, height);
    sky.addColorStop(0, theme.sky);
    sky.addColorStop(1, theme.ground);
    ctx.fillStyle = sky;
    ctx.fillRect(0, 0, width, height);
    const pose = poseAt(clock);
    const target = goal(pose);
    floor();
    shadows(pose, width, height);
    target.under();
    const items = pose.arm.map((part) => ({
      depth: (project(part.a).depth + project(part.b).depth) / 2 - 0.3 * part.radius, draw: () => capsule(part) }));
    items.push(target, ...trail(pose));
    items.sort((p, q) => q.depth - p.depth);
    for (const item of items) item.draw();
    triad(pose.position, axesOf(pose.quaternion), 0.06, 0.0045, 0.95);
    target.over();
    readout(pose);
  }

  // --- controls ----------------------------------------------------------------------------------
  const by = (id) => document.getElementById(id);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let clock = 0, playing = !calm, speed = 1, last = 0, sway = !calm, swayTime = 0;
  function readout(pose) {
    by("hud-goal").textContent = `${pose.visit + 1} / ${visits.length}`;
    by("hud-distance").textContent = `${pose.distance.toFixed(pose.distance < 100 ? 1 : 0)} mm`;
    by("hud-angle").textContent = `${pose.angle.toFixed(1)}°`;
    by("hud-reachable").textContent = `${Math.round(100 * pose.reachability)} %`;
    const visit = visits[pose.visit];
    const elapsed = Math.max(0, clock - visit.first * data.dt_s);
    const state = by("hud-state");
    state.className = pose.reached ? "reached" : "moving";
    state.textContent = pose.reached ? `✓ ${((visit.reached - visit.first) * data.dt_s).toFixed(1)} s` : `${elapsed.toFixed(1)} s`;
    if (document.activeElement !== scrub || playing) scrub.value = String(clock);
    scrub.setAttribute("aria-valuetext", `${clock.toFixed(1)} s, goal ${pose.visit + 1}`);
  }
  const scrub = by("scrub");
  scrub.max = String(duration);
  scrub.step = String(data.dt_s / 4);
  scrub.addEventListener("input", () => { clock = Number(scrub.value); play(false); });
  const marks = by("marks");
  visits.forEach((visit) => {
    const mark = document.createElement("i");
    mark.style.left = `${100 * visit.first / Math.max(1, frames - 1)}%`;
    mark.className = visit.reached === null ? "missed" : "reached";
    marks.append(mark);
  });
  function play(on) {
    playing = on;
    by("play").setAttribute("aria-label", on ? "Pause" : "Play");
    by("play").dataset.state = on ? "playing" : "paused";
    if (!on) requestAnimationFrame(draw);
  }
  by("play").addEventListener("click", () => {
    if (!playing && clock >= duration) clock = 0;
    play(!playing);
  });
  function jump(step) {
    const now = poseAt(clock).visit;
    const to = Math.min(visits.length - 1, Math.max(0, now + step));
    clock = visits[to].first * data.dt_s;
    requestAnimationFrame(draw);
  }
  by("previous").addEventListener("click", () => jump(-1));
  by("next").addEventListener("click", () => jump(1));
  by("speed").addEventListener("click", () => {
    speed = { 0.5: 1, 1: 2, 2: 0.5 }[speed];
    by("speed").textContent = `${speed}×`;
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); play(!playing); }
    if (event.key === "ArrowRight") jump(1);
    if (event.key === "ArrowLeft") jump(-1);
  });
  const pointers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.setPointerCapture(event.pointerId);
    sway = false;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const spread = () => { const [p, q] = [...pointers.values()]; return Math.hypot(p[0] - q[0], p[1] - q[1]); };
    const [x, y] = pointers.get(event.pointerId);
    const before = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) {
      camera.azimuth -= (event.clientX - x) * 0.008;
      camera.elevation = Math.min(1.45, Math.max(0.04, camera.elevation + (event.clientY - y) * 0.006));
    } else if (pointers.size === 2 && before > 0) {
      camera.zoom = Math.min(3, Math.max(0.5, camera.zoom * spread() / before));
    }
    requestAnimationFrame(draw);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls the page
    event.preventDefault();
    camera.zoom = Math.min(3, Math.max(0.5, camera.zoom * Math.exp(-event.deltaY * 0.004)));
    requestAnimationFrame(draw);
  }, { passive: false });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); draw(); });
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(canvas);

  const home = camera.azimuth;
  function tick(now) {
    const dt = Math.min(0.1, (now - last) / 1000);
    last = now;
    if (playing) {
      clock += dt * speed;
      if (clock > duration + 0.8) clock = 0;
      if (sway) { swayTime += dt; camera.azimuth = home + 0.3 * Math.sin(swayTime * 0.22); }
      draw();
    }
    requestAnimationFrame(tick);
  }
  readTheme();
  const link = /^#t=([0-9.]+)$/.exec(location.hash); // report.html#t=4.2 opens paused at that moment
  if (link) { clock = Math.min(duration, Number(link[1])); sway = false; }
  play(playing && !link);
  draw();
  requestAnimationFrame((now) => { last = now; tick(now); });
})();
