// The picture of the connection: a copper wire between two poles. It carries a bead for each frame, it breaks when
// the transport is lost, and it is mended when the session is back. It stands still when there is nothing to show.

const JOINTS = 34;
const STEP = 1 / 120;                                  // s of simulated time
const TRAVEL = 0.75;                                   // s a bead needs from end to end
const MENDING = 0.7;                                   // s
const STUB = 88;                                       // px of wire left hanging on each pole after a break
const MOST_BEADS = 60;

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Overshoots a little and settles: what a mended wire does. */
const spring = (t) => 1 - Math.exp(-6 * t) * Math.cos(9 * t) * (1 - t);

export class Line {
  #state = "connecting";
  #joints = [];
  #beads = [];
  #running = false;
  #mended = 1;                                         // 0 to 1 while the wire is being mended
  #from = [];

  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#fit());
  }

  set state(state) {
    const whole = state === "connected";
    const was = this.#state === "connected";
    this.#state = state;
    if (whole && !was) {
      this.#from = this.#joints.map(({ x, y }) => ({ x, y }));
      const unseen = this.#joints.length === 0;        // connected before the first layout: nothing hangs there yet
      this.#mended = still.matches || unseen ? 1 : 0;
      if (still.matches) this.#hang();
    }
    if (!whole && was) this.#snap();
    this.#wake();
  }

  /** A bead: way is "in" or "out"; kind is a class of colour: message, replay, quiet or probe. */
  bead(way, kind) {
    if (still.matches || this.#beads.length > MOST_BEADS) return;
    const waiting = this.#beads.filter((bead) => bead.way === way && bead.at < 0.04).length;
    this.#beads.push({ way, kind, at: -0.045 * waiting });
    this.#wake();
  }

  get #ends() {
    return { left: 30, right: this.width - 30, top: 30 };
  }

  #rest(i) {
    const { left, right, top } = this.#ends;
    const t = i / (JOINTS - 1);
    return { x: left + (right - left) * t, y: top + 4 * Math.min(26, this.width / 30) * t * (1 - t) };
  }

  #fit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    Object.assign(this, { width, height });
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    const style = getComputedStyle(this.canvas);
    this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.#hang();
    if (this.#state !== "connected") this.#snap();
    this.#wake();
  }

  #hang() {
    this.#joints = Array.from({ length: JOINTS }, (_, i) => ({ ...this.#rest(i), px: 0, py: 0 }));
    for (const joint of this.#joints) Object.assign(joint, { px: joint.x, py: joint.y });
  }

  /** The break: both halves recoil towards their poles and swing there. */
  #snap() {
    this.#mended = 1;
    const middle = JOINTS / 2;
    this.#joints.forEach((joint, i) => {
      const near = i < middle ? i / middle : (JOINTS - 1 - i) / middle;
      const kick = (i < middle ? -1 : 1) * near * 2.2;
      Object.assign(joint, { px: joint.x - kick, py: joint.y + near * 1.4 });
    });
    if (still.matches) for (let i = 0; i < 2000; i++) this.#swing();
  }

  #swing() {
    const { left, right, top } = this.#ends;
    const half = JOINTS / 2;
    const length = STUB / half;
    this.#joints.forEach((joint, i) => {
      const vx = (joint.x - joint.px) * 0.985;
      const vy = (joint.y - joint.py) * 0.985;
      const stiff = i < half ? 1 - i / half : (JOINTS - 1 - i) / half - 1;   // copper keeps some of its reach
      Object.assign(joint, { px: joint.x, py: joint.y });
      joint.x += vx + 1300 * stiff * STEP * STEP;
      joint.y += vy + 900 * STEP * STEP;
    });
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < JOINTS - 1; i++) {
        if (i === half - 1) continue;
        const a = this.#joints[i], b = this.#joints[i + 1];
        const dx = b.x - a.x, dy = b.y - a.y, now = Math.hypot(dx, dy) || 1e-6;
        const pull = Math.min(0.5, 0.5 * (now - length) / now) * (now > length * 3 ? 0.12 : 1);
        a.x += dx * pull; a.y += dy * pull; b.x -= dx * pull; b.y -= dy * pull;
      }
      Object.assign(this.#joints[0], { x: left, y: top });
      Object.assign(this.#joints[JOINTS - 1], { x: right, y: top });
    }
  }

  #wake() {
    if (this.#running || !this.width) return;
    this.#running = true;
    let before = performance.now(), owed = 0;
    const frame = (now) => {
      const passed = Math.min(0.05, (now - before) / 1000);
      before = now;
      for (owed += passed; owed >= STEP; owed -= STEP) if (this.#state !== "connected") this.#swing();
      if (this.#mended < 1) this.#mend(passed);
      for (const bead of this.#beads) bead.at += passed / TRAVEL;
      this.#beads = this.#beads.filter((bead) => bead.at < (bead.kind === "probe" ? 0.5 : 1));
      this.#draw(now / 1000);
      const moving = !still.matches && (this.#state === "connecting" || this.#state === "reconnecting");
      this.#running = moving || this.#mended < 1 || this.#beads.length > 0 || this.#restless();
      if (this.#running) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  #restless() {
    return this.#state !== "connected" && this.#joints.some((j) => Math.hypot(j.x - j.px, j.y - j.py) > 0.02);
  }

  #mend(passed) {
    this.#mended = Math.min(1, this.#mended + passed / MENDING);
    const t = spring(this.#mended);
    this.#joints.forEach((joint, i) => {
      const from = this.#from[i], to = this.#rest(i);
      Object.assign(joint, { x: from.x + (to.x - from.x) * t, y: from.y + (to.y - from.y) * t });
      Object.assign(joint, { px: joint.x, py: joint.y });
    });
  }

  #draw(now) {
    const { pen, width, height } = this;
    pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineCap = pen.lineJoin = "round";
    const { left, right } = this.#ends;
    this.#pole(left);
    this.#pole(right);
    const whole = this.#state === "connected";
    if (!whole && this.#state !== "disconnected") {
      this.#stroke(Array.from({ length: JOINTS }, (_, i) => this.#rest(i)), "faint", 1.5, [2, 8], -now * 26);
    }
    const half = JOINTS / 2;
    for (const part of whole ? [this.#joints] : [this.#joints.slice(0, half), this.#joints.slice(half)]) {
      this.#stroke(part, "copper", 2.5);
    }
    this.#insulator(left);
    this.#insulator(right);
    for (const bead of this.#beads) if (bead.at > 0) this.#bead(bead, whole);
  }

  #stroke(points, colour, thickness, dash = [], offset = 0) {
    const { pen } = this;
    pen.beginPath();
    points.forEach(({ x, y }) => pen.lineTo(x, y));
    pen.setLineDash(dash);
    pen.lineDashOffset = offset;
    pen.strokeStyle = this.colour(colour);
    pen.lineWidth = thickness;
    pen.stroke();
    pen.setLineDash([]);
  }

  #pole(x) {
    const { top } = this.#ends;
    this.#stroke([{ x, y: top + 13 }, { x, y: this.height }], "pole", 4);
    this.#stroke([{ x: x - 17, y: top + 15 }, { x: x + 17, y: top + 15 }], "pole", 4);
  }

  #insulator(x) {
    const { pen } = this;
    const { top } = this.#ends;
    pen.fillStyle = this.colour(this.#state === "connected" ? "live" : this.#state === "disconnected" ? "pole" : "broken");
    pen.beginPath();
    pen.roundRect(x - 6, top - 7, 12, 17, [6, 6, 2, 2]);
    pen.fill();
  }

  #bead({ way, kind, at }, whole) {
    const { pen } = this;
    const t = (way === "out" ? at : 1 - at) * (JOINTS - 1);
    const i = Math.min(JOINTS - 2, Math.floor(t));
    const [a, b] = whole ? [this.#joints[i], this.#joints[i + 1]] : [this.#rest(i), this.#rest(i + 1)];
    const x = a.x + (b.x - a.x) * (t - i), y = a.y + (b.y - a.y) * (t - i);
    const fade = kind === "probe" ? 1 - 2 * at : Math.min(1, 12 * at, 12 * (1 - at));
    pen.fillStyle = this.colour({ message: "live", replay: "copper", quiet: "faint", probe: "broken" }[kind] ?? "ink");
    pen.globalAlpha = Math.max(0, fade);
    pen.beginPath();
    pen.arc(x, y, kind === "quiet" ? 3 : 5, 0, 7);
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = this.colour("ground");
    pen.stroke();
    pen.globalAlpha = 1;
  }
}
