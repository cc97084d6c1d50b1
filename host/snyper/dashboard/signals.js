// Live plots of streams. What is drawn is acknowledged with the screen's own frame, which a hidden tab does not get.
const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 24;  // around the lines, in px
const TRACES = 8;
const SETTLED_MS = 200;  // after which a window that changes has its size
const isNarrow = matchMedia("(max-width: 40rem)");

const Plot = {
  props: { name: String, view: Object },  // span_s, and until which instant: to_us, null for now
  emits: ["move"],
  template: `<canvas role="img" :aria-label="label" :data-columns="count" :data-breaks="breaks" :data-marks="marked" :data-span="span" :data-highest="highest" :data-rolled="rolled" :data-pointed="pointed"
    @pointermove="point($event)" @pointerdown="grasp($event)" @pointerup="letGo" @pointercancel="letGo" @pointerleave="leave"></canvas>`,
  data() {
    return { label: this.name, count: 0, marked: 0, pointed: null, breaks: 0, span: null, highest: null, rolled: 0 };
  },
  created() {
    this.about = null;
    this.rows = [];
    this.marks = [];
    this.pointer = null;  // px
    this.grasped = null;  // where it was taken hold of, px
    this.moved = 0;  // px, since then
  },
  watch: {
    view() {
      this.draw();
    },
  },
  mounted() {
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.$el);
  },
  beforeUnmount() {
    this.sizes.disconnect();
  },
  methods: {
    take(news) {
      if (news.whole) {
        this.about = news.whole;
        this.cameAt_ms = performance.now();
        this.rows = [];
      }
      if (news.marks) this.marks = news.marks;  // all that there are
      if (!this.about || !news.numbers.length) return;
      const first = news.numbers[0];
      while (this.rows.length && this.rows[this.rows.length - 1].number >= first) this.rows.pop();
      news.numbers.forEach((number, at) => this.rows.push({
        number, low: news.low[at], high: news.high[at], broken: news.broken[at],
        mean: news.mean?.[at], deviation: news.deviation?.[at],
      }));
      const oldest = this.rows[this.rows.length - 1].number - this.about.columns;
      let gone = 0;
      while (this.rows[gone].number <= oldest) gone++;
      this.rows.splice(0, gone);
      this.marks = this.marks.filter(([at_us]) => at_us >= oldest * this.about.width_us);
    },
    isEmpty() {
      return !this.about || (!this.rows.length && this.view.to_us === null);
    },
    // The instants at both edges, in the hub's clock: what moves does so by whole columns.
    edges() {
      if (this.isEmpty()) return null;
      const to_us = this.view.to_us ?? (this.rows[this.rows.length - 1].number + 1) * this.about.width_us;
      return { from_us: to_us - this.view.span_s * 1e6, to_us };
    },
    // Whether an instant is yet to come, as far as is known here.
    isToCome(at_us) {
      return this.about?.now_us != null && at_us > this.about.now_us + (performance.now() - this.cameAt_ms) * 1e3;
    },
    draw() {
      const canvas = this.$el, ratio = window.devicePixelRatio || 1;
      const width = canvas.clientWidth, height = canvas.clientHeight;
      if (!width) return;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      if (this.isEmpty()) return;
      const style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(name).trim();
      const box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
      const { width_us } = this.about, { from_us, to_us } = this.edges();
      const x_of = (at_us) => box.right - (to_us - at_us) / (to_us - from_us) * (box.right - box.left) + this.moved;
      const x = (number) => x_of((number + 0.5) * width_us);
      const range = rangeOf(this.rows.filter((row) => (row.number + 1) * width_us > from_us && row.number * width_us < to_us));
      const y = (value) => box.bottom - ((value - range.low) / (range.high - range.low)) * (box.bottom - box.top);
      pen.font = `12px ${colour("--font")}`;
      this.drawGrid(pen, box, range, y, colour);
      this.drawTime(pen, box, (to_us - from_us) / 1e6, colour);
      pen.save();
      pen.beginPath();
      pen.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 4);
      pen.clip();
      pen.lineCap = pen.lineJoin = "round";
      let breaks = 0;
      for (let channel = 0; channel < this.about.names.length; channel++) {
        const hue = colour(`--trace-${channel % TRACES}`);
        const isRolling = this.rows.some((row) => row.mean && row.mean[channel] !== null);
        if (isRolling) this.drawBand(pen, channel, x, y, hue);
        pen.globalAlpha = isRolling ? 0.45 : 1;
        breaks += this.drawLine(pen, channel, x, y, hue);
        pen.globalAlpha = 1;
        if (isRolling) this.drawMean(pen, channel, x, y, hue);
      }
      this.drawMarks(pen, box, x_of, colour);
      this.drawPointed(pen, box, x, colour);
      pen.restore();
      this.count = this.rows.length;
      this.breaks = breaks;
      this.marked = this.marks.length;
      this.rolled = this.rows.filter((row) => row.mean && row.mean[0] !== null).length;
      this.highest = range.greatest;
      this.span = (to_us - from_us) / 1e6;
      this.label = this.rows.length ? `${this.name}: from ${short(range.least)} to ${short(range.greatest)}` : `${this.name}: ${NOTHING}`;
    },
    drawGrid(pen, box, range, y, colour) {
      pen.lineWidth = 1;
      pen.strokeStyle = colour("--line");
      pen.fillStyle = colour("--muted");
      if (!this.rows.length) {
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(NOTHING, (box.left + box.right) / 2, (box.top + box.bottom) / 2);
        return;
      }
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const value of range.ticks) {
        const at = Math.round(y(value)) + 0.5;
        pen.beginPath();
        pen.moveTo(box.left, at);
        pen.lineTo(box.right, at);
        pen.stroke();
        pen.fillText(tick(value, range.step), box.left - 8, at, box.left - 8);  // narrower where it has no room
      }
    },
    // What moves has seconds until now below it, what stays the time of day.
    drawTime(pen, box, span, colour) {
      pen.strokeStyle = colour("--line");
      pen.fillStyle = colour("--muted");
      pen.textBaseline = "top";
      const ticks = Math.max(2, Math.min(6, Math.floor((box.right - box.left) / 110)));
      if (this.view.to_us !== null && this.about.utc_us !== null) {
        this.drawClock(pen, box, span, ticks);
        return;
      }
      const step = niceTime(span / 6);
      for (let count = 0; count * step <= span * 1.0001; count++) {
        const at = box.right - (count * step / span) * (box.right - box.left);
        pen.beginPath();
        pen.moveTo(Math.round(at) + 0.5, box.bottom);
        pen.lineTo(Math.round(at) + 0.5, box.bottom + 4);
        pen.stroke();
        pen.textAlign = count === 0 ? "right" : "center";
        const end = this.view.to_us === null ? "now" : "0 s";
        if (at > box.left - 4) pen.fillText(count === 0 ? end : `−${lengthOf(count * step, step)}`, at, box.bottom + 8);
      }
    },
    drawClock(pen, box, span, ticks) {
      const step = niceTime(span / ticks);
      const perPx = span / (box.right - box.left);
      const to_s = (this.edges().to_us + this.about.utc_us) / 1e6 - this.moved * perPx;
      const zone_s = -60 * new Date(to_s * 1000).getTimezoneOffset();
      for (let at_s = Math.floor((to_s + zone_s) / step) * step - zone_s; at_s > to_s - span; at_s -= step) {
        const at = box.right - (to_s - at_s) / perPx;
        pen.beginPath();
        pen.moveTo(Math.round(at) + 0.5, box.bottom);
        pen.lineTo(Math.round(at) + 0.5, box.bottom + 4);
        pen.stroke();
        const words = timeOfDay(at_s, step), half = pen.measureText(words).width / 2;
        pen.textAlign = "center";
        pen.fillText(words, Math.min(Math.max(at, box.left + half - LEFT), box.right - half + RIGHT), box.bottom + 8);
      }
    },
    // Taken hold of, it is moved through its time.
    point(event) {
      this.pointer = event.offsetX;
      if (this.grasped !== null) this.moved = event.offsetX - this.grasped;
      this.draw();
    },
    grasp(event) {
      this.pointer = event.offsetX;
      if (event.button === 0 && this.edges()) {
        this.grasped = event.offsetX - this.moved;
        this.$el.setPointerCapture(event.pointerId);
      }
      this.draw();
    },
    letGo() {
      if (this.grasped === null) return;
      this.grasped = null;
      const { from_us, to_us } = this.edges();
      const by_us = this.moved / (this.$el.clientWidth - LEFT - RIGHT) * (to_us - from_us);
      const isMoved = Math.abs(this.moved) >= 4;
      this.moved = 0;
      if (isMoved) this.$emit("move", to_us - by_us);
    },
    leave() {
      this.pointer = null;
      this.draw();
    },
    // The instant that is pointed at, in parts of what is seen.
    anchor() {
      if (this.pointer === null) return null;
      const share = (this.pointer - LEFT) / (this.$el.clientWidth - LEFT - RIGHT);
      return Math.min(1, Math.max(0, share));
    },
    // The values of the column that is pointed at, each from the least to the greatest.
    drawPointed(pen, box, x, colour) {
      this.pointed = null;
      if (this.pointer === null || this.pointer < box.left || this.pointer > box.right || !this.rows.length || this.moved) return;
      const distance = (row) => Math.abs(x(row.number) - this.pointer);
      const found = this.rows.reduce((best, row) => (distance(row) < distance(best) ? row : best));
      const at = x(found.number);
      const lines = this.about.names.map((name, channel) => {
        const low = found.low[channel], high = found.high[channel];
        const value = low === null ? "–" : low === high ? short(low) : `${short(low)} … ${short(high)}`;
        return [name, value, this.about.units[channel]].filter(Boolean).join(" ");
      });
      this.pointed = lines.join(", ");
      const width = Math.max(...lines.map((line) => pen.measureText(line).width)) + 26, height = lines.length * 16 + 8;
      const left = at + 8 + width > box.right ? at - 8 - width : at + 8;
      pen.strokeStyle = colour("--muted");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(at, box.top);
      pen.lineTo(at, box.bottom);
      pen.stroke();
      pen.fillStyle = colour("--surface");
      pen.globalAlpha = 0.9;
      pen.fillRect(left, box.top, width, height);
      pen.globalAlpha = 1;
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      lines.forEach((line, channel) => {
        const middle = box.top + 12 + channel * 16;
        pen.fillStyle = colour(`--trace-${channel % TRACES}`);
        pen.fillRect(left + 6, middle - 1.5, 8, 3);
        pen.fillStyle = colour("--ink");
        pen.fillText(line, left + 20, middle);
      });
    },
    drawMarks(pen, box, x, colour) {
      pen.strokeStyle = pen.fillStyle = colour("--ink");
      pen.lineWidth = 1;
      pen.textAlign = "left";
      pen.textBaseline = "top";
      pen.setLineDash([4, 4]);
      let end = -Infinity;  // of the name before: one that has no room is left out
      for (const [at_us, name] of this.marks) {
        const at = Math.round(x(at_us)) + 0.5;
        pen.beginPath();
        pen.moveTo(at, box.top);
        pen.lineTo(at, box.bottom);
        pen.stroke();
        if (at < end) continue;
        pen.fillText(name, at + 4, box.top);
        end = at + pen.measureText(name).width + 8;
      }
      pen.setLineDash([]);
    },
    // From the least to the greatest value of each column, up and down in turns by its number. Returns how often it breaks.
    drawLine(pen, channel, x, y, hue) {
      let isOpen = false, breaks = 0;
      pen.strokeStyle = hue;
      pen.lineWidth = 1.5;
      pen.beginPath();
      for (const row of this.rows) {
        const low = row.low[channel], high = row.high[channel], at = x(row.number);
        if (row.broken[channel]) breaks++;
        if (low === null) {
          isOpen = false;
          continue;
        }
        const [one, other] = row.number % 2 ? [low, high] : [high, low];
        if (isOpen && !row.broken[channel]) pen.lineTo(at, y(one));
        else pen.moveTo(at, y(one));
        pen.lineTo(low === high ? at + 0.1 : at, y(other));
        isOpen = true;
      }
      pen.stroke();
      return breaks;
    },
    runs(channel) {
      const runs = [];
      let run = null;
      for (const row of this.rows) {
        if (!row.mean || row.mean[channel] === null || row.deviation[channel] === null) run = null;
        else if (!run || row.broken[channel]) runs.push(run = [row]);
        else run.push(row);
      }
      return runs;
    },
    drawBand(pen, channel, x, y, hue) {
      pen.fillStyle = hue;
      pen.globalAlpha = 0.16;
      for (const run of this.runs(channel)) {
        pen.beginPath();
        for (const row of run) pen.lineTo(x(row.number), y(row.mean[channel] + row.deviation[channel]));
        for (const row of [...run].reverse()) pen.lineTo(x(row.number), y(row.mean[channel] - row.deviation[channel]));
        pen.fill();
      }
    },
    drawMean(pen, channel, x, y, hue) {
      pen.strokeStyle = hue;
      pen.lineWidth = 2.5;
      for (const run of this.runs(channel)) {
        pen.beginPath();
        for (const row of run) pen.lineTo(x(row.number), y(row.mean[channel]));
        pen.stroke();
      }
    },
  },
};

const NOTHING = "nothing is kept of this time";
const TIMES_S = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000];
const niceTime = (step) => (step <= 30 ? nice(step) : TIMES_S.find((one) => one >= step * 0.9999) || nice(step));

const two = (value) => String(value).padStart(2, "0");
function timeOfDay(at_s, step) {
  const places = Math.max(0, Math.min(6, -Math.floor(Math.log10(Math.min(step, 1) * 1.0001))));
  const us = Math.round(at_s * 1e6), at = new Date(Math.floor(us / 1000));
  const day = `${at.getDate()} ${at.toLocaleString("en", { month: "short" })}`;
  if (step >= 86400) return day;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}`;
  if (step >= 3600) return at.getHours() === 0 ? day : time;
  if (step >= 60) return time;
  const part = places ? `.${String(us - Math.floor(us / 1e6) * 1e6).padStart(6, "0").slice(0, places)}` : "";
  return `${time}:${two(at.getSeconds())}${part}`;
}
// A length of time: 0.5 s, 30 s, 5 min, 1 h 30 min, 2 d.
function lengthOf(seconds, step = 0) {
  if (seconds < 59.5) return `${step ? tick(seconds, step) : Number(seconds.toPrecision(3))} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  seconds = Math.round(seconds);
  const at = units.findIndex(([, size]) => seconds >= size);
  const [[name, size], next] = [units[at], units[at + 1]];
  const whole = Math.floor(seconds / size), rest = Math.round((seconds - whole * size) / next[1]);
  return rest ? `${whole} ${name} ${rest} ${next[0]}` : `${whole} ${name}`;
}

const sameView = (one, other) => one?.span_s === other?.span_s && one?.to_us === other?.to_us;

// A small picture of an array: from the least to the greatest of each part, or of a matrix its cells.
const Picture = {
  props: { one: Object },
  template: `<canvas v-if="one.image.length" :width="one.image[0].length / 2" :height="one.image.length" aria-hidden="true"></canvas>
    <svg v-else :viewBox="'0 -2 ' + Math.max(1, one.bars.length) + ' 104'" preserveAspectRatio="none" aria-hidden="true"><path :d="path"/></svg>`,
  computed: {
    path() {
      return this.one.bars.map((bar, at) => (bar ? `M${at} ${99 - bar[1]}h1v${bar[1] - bar[0] + 2}h-1z` : "")).join("");
    },
  },
  mounted() {
    this.theme = new MutationObserver(() => this.draw());
    this.theme.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
    this.draw();
  },
  updated() {
    this.draw();
  },
  beforeUnmount() {
    this.theme.disconnect();
  },
  methods: {
    draw() {
      const { image } = this.one;
      if (!image.length) return;
      const style = getComputedStyle(this.$el);
      const [low, high] = ["--cell-low", "--cell-high"].map((name) => style.getPropertyValue(name).trim().match(/\w\w/g).map((part) => parseInt(part, 16)));
      const pen = this.$el.getContext("2d"), data = pen.createImageData(this.$el.width, this.$el.height);
      image.join("").match(/\w\w/g).forEach((cell, at) => {
        const level = parseInt(cell, 16), share = (level - 1) / 254;
        low.forEach((part, colour) => (data.data[4 * at + colour] = part + share * (high[colour] - part)));
        data.data[4 * at + 3] = level ? 255 : 0;
      });
      pen.putImageData(data, 0, 0);
    },
  },
};

const nice = (step) => {
  const power = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].find((one) => one * power >= step * 0.9999) * power;
};

// From what to what the values are drawn: whole steps, so that it stays when they hardly change.
function rangeOf(rows) {
  let least = Infinity, greatest = -Infinity;
  for (const row of rows) {
    for (let channel = 0; channel < row.low.length; channel++) {
      if (row.low[channel] === null) continue;
      least = Math.min(least, row.low[channel]);
      greatest = Math.max(greatest, row.high[channel]);
    }
  }
  if (least > greatest) [least, greatest] = [0, 0];
  const size = Math.max(greatest - least, Math.abs(greatest) * 1e-9, 1e-300);
  const step = Number.isFinite(size) ? nice(greatest === least ? Math.max(Math.abs(greatest), 1) / 2 : size / 4) : Number.MAX_VALUE / 8;
  let low = Math.floor(least / step) * step, high = Math.ceil(greatest / step) * step;
  if (low === high) [low, high] = [low - step, high + step];
  const ticks = [];
  for (let at = 0; at <= 12 && low + at * step <= high + step / 2; at++) ticks.push(low + at * step);
  return { low, high, ticks, step, least, greatest };
}

const short = (value) => String(Number(value.toPrecision(4)));
const tick = (value, step) => digits(value, step).replace("-", "−");
function digits(value, step) {
  const size = Math.max(Math.abs(value), step);
  if (size >= 1e6 || step < 1e-4) return value === 0 ? "0" : value.toExponential(Math.min(3, Math.max(0, Math.round(Math.log10(size / step)))));
  return value.toFixed(Math.max(0, Math.min(4, -Math.floor(Math.log10(step * 1.0001)))));
}

export default {
  props: { pictures: Object },
  emits: ["act"],
  components: { Plot, Picture },
  data() {
    // The time that is seen of all streams, and of each recording that is open.
    return { state: null, live: { span_s: 10, to_us: null }, views: {}, wholes: {}, arrays: null, isFirst: true, isRolling: false, find: "", mark: "", abouts: {} };
  },
  computed: {
    spanAt() {
      return this.state.spans_s.indexOf(this.live.span_s);
    },
    isPaused() {
      return this.live.to_us !== null;
    },
    listed() {
      const words = this.find.trim().toLowerCase();
      return this.state.streams.filter((one) => one.on || one.name.toLowerCase().includes(words));
    },
  },
  mounted() {
    this.isHere = true;
    this.missing = this.kept("signals") || [];
    this.sizes = new ResizeObserver(() => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.say_size(), this.columns ? SETTLED_MS : 0);
    });
    this.theme = new MutationObserver(() => (this.$refs.plots || []).forEach((plot) => plot.draw()));
    this.theme.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
    this.sizes.observe(this.$el);
    document.addEventListener("keydown", this.press);
  },
  beforeUnmount() {
    this.isHere = false;
    this.sizes.disconnect();
    this.theme.disconnect();
    clearTimeout(this.settling);
    document.removeEventListener("keydown", this.press);
  },
  methods: {
    lengthOf,
    began(one) {
      if (one.began_ms === null) return "at an unknown time";
      return new Date(one.began_ms).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
    },
    tell(what) {
      this.$emit("act", what);
    },
    say_size() {
      const inner = this.$el.clientWidth - 2 - 2 * (isNarrow.matches ? 16 : 20) - LEFT - RIGHT;  // border, padding of a panel
      if (!this.$el.clientWidth || inner === this.columns) return;
      this.columns = inner;
      this.tell({ act: "size", columns: Math.max(1, Math.round(inner)) });
    },
    take(frame) {
      if (frame.state) {
        const wholes = this.wholes;
        this.state = frame.state;
        this.wholes = Object.fromEntries(this.state.opened.map((one) => [one.name, one.view]));
        const isWhole = (name) => !this.views[name] || sameView(this.views[name], wholes[name]);
        this.views = Object.fromEntries(this.state.opened.map(({ name, view }) => [name, isWhole(name) ? view : this.views[name]]));
        this.restore();
      }
      if (frame.arrays) this.arrays = frame.arrays;
      this.$nextTick(() => {
        for (const [name, news] of Object.entries(frame.news || {})) {
          if (news.whole) this.abouts[name] = news.whole;
          this.plot(name)?.take(news);
        }
        requestAnimationFrame(() => {
          if (!this.isHere) return;
          for (const name of Object.keys(frame.news || {})) this.plot(name)?.draw();
          this.tell({ act: "drawn", number: frame.number });
        });
      });
    },
    // A page that is opened anew, also since the dashboard was, shows the streams that this tab showed before.
    restore() {
      const listed = new Set(this.state.streams.map((one) => one.name));
      const shown = this.state.shown.map((one) => one.name);
      for (const name of this.missing.filter((one) => listed.has(one) && !shown.includes(one))) this.tell({ act: "choose", name });
      this.missing = this.missing.filter((one) => !listed.has(one));
      this.keep("signals", [...shown, ...this.missing]);
    },
    keep(name, value) {
      try { sessionStorage.setItem(`snyper.${name}`, JSON.stringify(value)); } catch (e) { /* private */ }
    },
    kept(name) {
      try { return JSON.parse(sessionStorage.getItem(`snyper.${name}`)); } catch (e) { return null; }
    },
    plot(name) {
      return (this.$refs.plots || []).find((plot) => plot.name === name);
    },
    viewOf(one) {
      return one ? this.views[one.name] : this.live;
    },
    // Zoom all streams, or a recording: around what is pointed at where nothing moves, which then stays so.
    zoom(by, one = null) {
      const span_s = this.state && (one ? this.spanOf(one, by) : this.state.spans_s[this.spanAt + by]);
      if (!span_s) return;
      if (!one && !this.isPaused) return this.look(null, span_s, null);
      const plots = one ? [this.plot(one.name)] : this.livePlots();
      const plot = plots.find((each) => each.pointer !== null) || plots[0];
      const { from_us, to_us } = plot?.edges() || {};
      if (!to_us) return;
      const share = plot.anchor() ?? (one ? 0.5 : 1), at_us = from_us + share * (to_us - from_us);
      const until_us = at_us + (1 - share) * span_s * 1e6;
      this.look(one, span_s, !one && this.isToCome(until_us) ? Math.min(until_us, to_us) : until_us);
    },
    spanOf(one, by) {
      const { span_s } = this.views[one.name], whole_s = one.view.span_s;
      if (by < 0) return this.state.spans_s.filter((other) => other < span_s * 0.999).pop();
      if (span_s >= whole_s) return null;
      return Math.min(whole_s, this.state.spans_s.find((other) => other > span_s * 1.001) ?? 2 * span_s);
    },
    // Look at what was earlier, with a number below 0, or later, by so many spans.
    step(by, one = null) {
      const edges = (one ? this.plot(one.name) : this.livePlots()[0])?.edges();
      if (edges) this.go(one, edges.to_us + by * (edges.to_us - edges.from_us));
    },
    // Look until an instant; beyond now all streams go on.
    go(one, to_us) {
      this.look(one, this.viewOf(one).span_s, !one && this.isToCome(to_us) ? null : to_us);
    },
    isToCome(at_us) {
      return this.livePlots().some((plot) => plot.isToCome(at_us));
    },
    look(one, span_s, to_us) {
      const view = { span_s, to_us: to_us === null ? null : Math.round(to_us) };
      if (one) this.views[one.name] = view;
      else this.live = view;
      const isWhole = one && sameView(view, this.wholes[one.name]);
      this.tell({ act: "look", recording: one ? one.name : null, ...view, to_us: isWhole ? null : view.to_us });
    },
    addressOf(one) {
      return `/export/array?${new URLSearchParams({ index: one.index, name: one.name })}`;
    },
    page(before) {
      this.isFirst = before === null;
      this.tell({ act: "page", before });
    },
    pause() {
      const edges = this.livePlots().map((plot) => plot.edges()).filter(Boolean);
      if (!this.isPaused && !edges.length) return;
      const to_us = this.isPaused ? null : Math.round(Math.max(...edges.map((each) => each.to_us)));
      this.live = { ...this.live, to_us };
      this.tell({ act: "pause", to_us });
    },
    livePlots() {
      return (this.state?.shown || []).map((one) => this.plot(one.name)).filter(Boolean);
    },
    roll() {
      this.isRolling = !this.isRolling;
      this.tell({ act: "rolling", on: this.isRolling });
    },
    putMark() {
      if (this.state?.shown.length) this.tell({ act: "mark", name: this.mark });
    },
    download(one) {
      const edges = this.plot(one.name)?.edges();
      if (!edges) return;
      const link = document.createElement("a");
      link.href = `/export/signal?${new URLSearchParams({ [one.stream ? "recording" : "name"]: one.name, ...edges })}`;
      link.download = "";
      link.click();
    },
    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (event.target.closest("input, textarea, select, [contenteditable], [role=combobox], .q-dialog")) return;
      const panel = event.target.closest("[data-recording]");
      const one = panel && this.state.opened.find((each) => each.name === panel.dataset.recording);
      if (event.key === "p") this.pause();
      else if (event.key === "r") this.roll();
      else if (event.key === "k") this.putMark();
      else if (event.key === "+") this.zoom(-1, one);
      else if (event.key === "-") this.zoom(1, one);
      else if (event.key === "ArrowLeft") this.step(-0.25, one);
      else if (event.key === "ArrowRight") this.step(0.25, one);
    },
  },
  template: `
    <div>
      <p class="subtitle" role="status">{{ state ? state.words : "Reading …" }}</p>
      <template v-if="state && state.empty && !state.shown.length">
        <section class="empty">
          <span class="sign-of-page" v-html="pictures.signals"></span>
          <h2>No stream here yet</h2>
          <p>What a device samples, a sine to try it with, or a target's piezo:</p>
          <code>snyper simulate-signal --hub {{ state.hub }}</code>
        </section>
      </template>
      <template v-else-if="state">
        <div class="zones" role="group" aria-label="Streams">
          <input v-if="state.streams.length > 12" v-model="find" class="find" type="search" placeholder="Find a stream" aria-label="Find a stream" />
          <button v-for="one in listed" :key="one.name" type="button" class="button zone" :aria-pressed="String(one.on)"
            :data-live="String(one.live)" :disabled="!one.on && state.is_full" @click="tell({ act: 'choose', name: one.name })">
            <span v-if="!one.live" v-html="pictures.lost"></span><i v-if="one.recorded" class="recorded" role="img" aria-label="recorded" title="It is recorded"></i><span>{{ one.name }}</span>
          </button>
          <span v-if="state.cut" class="hint">{{ state.cut }} listed</span>
        </div>
        <div class="toolbar" v-if="state.shown.length">
          <button type="button" class="button" :aria-pressed="String(isPaused)" title="P" @click="pause">
            <span v-html="isPaused ? pictures.play : pictures.pause"></span><span>{{ isPaused ? "Go on" : "Pause" }}</span>
          </button>
          <div class="span" role="group" aria-label="Time that is seen">
            <button type="button" class="button ghost" aria-label="Earlier" title="Earlier: ←" @click="step(-0.25)"><span v-html="pictures.earlier"></span></button>
            <button type="button" class="button ghost" aria-label="Less time" title="Less time: +" :disabled="spanAt === 0" @click="zoom(-1)"><span v-html="pictures.plus"></span></button>
            <output>{{ lengthOf(live.span_s) }}</output>
            <button type="button" class="button ghost" aria-label="More time" title="More time: -" :disabled="spanAt === state.spans_s.length - 1" @click="zoom(1)"><span v-html="pictures.minus"></span></button>
            <button type="button" class="button ghost" aria-label="Later" title="Later: →" :disabled="!isPaused" @click="step(0.25)"><span v-html="pictures.later"></span></button>
          </div>
          <button type="button" class="button" :aria-pressed="String(isRolling)" title="Rolling mean and deviation: R" @click="roll">Rolling mean</button>
          <form class="mark" @submit.prevent="putMark">
            <input v-model="mark" maxlength="48" placeholder="mark" autocomplete="off" aria-label="Name of marks" />
            <button type="submit" class="button" title="Name this instant in all streams that are shown: K">Mark</button>
          </form>
        </div>
        <p v-else class="hint">Choose a stream, or several.</p>
        <section v-for="one in state.shown" :key="one.name" class="panel signal" :aria-label="one.name" :data-live="String(one.live)">
          <header>
            <h2 :title="one.name">{{ one.name }}</h2>
            <div>
              <button type="button" class="button ghost record" :aria-pressed="String(one.recorded)" :aria-label="(one.recorded ? 'End the recording of ' : 'Record ') + one.name" :title="one.recorded ? 'End the recording' : 'Record'"
                @click="tell({ act: 'record', name: one.name, on: !one.recorded })"><span v-html="one.recorded ? pictures.stop : pictures.record"></span></button>
              <button type="button" class="button ghost" :aria-label="'Download what is seen of ' + one.name" title="Download what is seen (.npy)" @click="download(one)"><span v-html="pictures.download"></span></button>
              <button type="button" class="button ghost" :aria-label="'Close ' + one.name" title="Close" @click="tell({ act: 'choose', name: one.name })"><span v-html="pictures.close"></span></button>
            </div>
          </header>
          <p class="how" role="status" :data-bad="String(one.bad)">{{ one.bad ? "⚠ " + one.words : one.words }}</p>
          <p v-if="one.recording" class="recording" :data-bad="String(one.recording_bad)"><i class="recorded" v-if="one.recorded" aria-hidden="true"></i>{{ one.recording_bad ? "⚠ " + one.recording : one.recording }}</p>
          <Plot ref="plots" :name="one.name" :view="live" @move="(to_us) => go(null, to_us)" />
          <ul class="channels" v-if="abouts[one.name]">
            <li v-for="(name, at) in abouts[one.name].names" :key="at" v-show="name || abouts[one.name].units[at]"><i :class="'trace-' + at"></i>{{ name }}<span v-if="abouts[one.name].units[at]">{{ abouts[one.name].units[at] }}</span></li>
            <li v-if="abouts[one.name].more">and {{ abouts[one.name].more }} more</li>
            <li v-if="isRolling">mean and deviation of {{ Number(abouts[one.name].rolling_s.toPrecision(2)) }} s</li>
          </ul>
        </section>
      </template>
      <template v-if="state && (state.recordings.length || state.opened.length || state.recordings_problem)">
        <section class="panel recordings" aria-label="Recordings">
          <header>
            <h2>Recordings</h2><span class="hint">{{ state.more_recordings }}</span>
            <button v-if="state.opened.length && !state.shown.length" type="button" class="button" :aria-pressed="String(isRolling)" title="Rolling mean and deviation: R" @click="roll">Rolling mean</button>
          </header>
          <p v-if="state.recordings_problem" class="problem">⚠ {{ state.recordings_problem }}</p>
          <ul>
            <li v-for="one in state.recordings" :key="one.folder">
              <button type="button" class="button ghost" :aria-pressed="String(one.on)" :disabled="!one.on && state.is_full" :aria-label="(one.on ? 'Close ' : 'Open ') + one.stream + ', ' + began(one)" :title="one.folder" @click="tell({ act: 'choose', name: one.folder })">
                <span v-html="one.on ? pictures.close : pictures.signals"></span><strong>{{ one.stream }}</strong>
              </button>
              <span class="facts"><span>{{ began(one) }}</span><span v-if="one.recorded"><i class="recorded" role="img" aria-label="recorded now"></i></span><span v-for="figure in one.figures">{{ figure }}</span></span>
            </li>
          </ul>
        </section>
        <section v-for="one in state.opened" :key="one.name" class="panel signal" :aria-label="one.name" :data-recording="one.name" data-live="true">
          <header>
            <h2 :title="one.name">{{ one.stream }}</h2>
            <div>
              <button type="button" class="button ghost" :aria-label="'Earlier in ' + one.name" title="Earlier: ←" @click="step(-0.25, one)"><span v-html="pictures.earlier"></span></button>
              <button type="button" class="button ghost" :aria-label="'Less time of ' + one.name" title="Less time: +" @click="zoom(-1, one)"><span v-html="pictures.plus"></span></button>
              <output>{{ lengthOf(views[one.name].span_s) }}</output>
              <button type="button" class="button ghost" :aria-label="'More time of ' + one.name" title="More time: -" :disabled="!spanOf(one, 1)" @click="zoom(1, one)"><span v-html="pictures.minus"></span></button>
              <button type="button" class="button ghost" :aria-label="'Later in ' + one.name" title="Later: →" @click="step(0.25, one)"><span v-html="pictures.later"></span></button>
              <button type="button" class="button ghost" :aria-label="'Download what is seen of ' + one.name" title="Download what is seen (.npy)" @click="download(one)"><span v-html="pictures.download"></span></button>
              <button type="button" class="button ghost" :aria-label="'Close ' + one.name" title="Close" @click="tell({ act: 'choose', name: one.name })"><span v-html="pictures.close"></span></button>
            </div>
          </header>
          <p class="how" :data-bad="String(one.bad)">{{ one.bad ? "⚠ " + one.words : "Recording " + one.name }}</p>
          <Plot ref="plots" :name="one.name" :view="views[one.name]" @move="(to_us) => go(one, to_us)" />
          <ul class="channels" v-if="abouts[one.name]">
            <li v-for="(name, at) in abouts[one.name].names" :key="at" v-show="name || abouts[one.name].units[at]"><i :class="'trace-' + at"></i>{{ name }}<span v-if="abouts[one.name].units[at]">{{ abouts[one.name].units[at] }}</span></li>
            <li v-if="abouts[one.name].more">and {{ abouts[one.name].more }} more</li>
            <li v-if="isRolling">mean and deviation of {{ Number(abouts[one.name].rolling_s.toPrecision(2)) }} s</li>
          </ul>
        </section>
      </template>
      <section v-if="state && arrays" class="arrays" aria-label="Arrays">
        <h2>Arrays</h2>
        <p v-if="arrays.problem" class="hint">None to be had at {{ state.gateway }}: {{ arrays.problem }} To store some there: <code>snyper gateway --arrays FOLDER</code></p>
        <p v-else class="hint">{{ arrays.count.toLocaleString("en") }} stored at {{ state.gateway }}</p>
        <ul>
          <li v-for="one in arrays.arrays" :key="one.index" class="panel" :aria-label="one.name">
            <Picture :one="one" />
            <h3 :title="one.name">{{ one.name }}</h3>
            <p>{{ one.about }}<br>{{ one.size }}, {{ began({ began_ms: one.created_ms }) }}</p>
            <div>
              <span class="hint">{{ one.index }}</span>
              <a class="button ghost" download :href="addressOf(one)" :aria-label="'Download ' + one.name" title="Download (.npy)"><span v-html="pictures.download"></span></a>
              <button type="button" class="button ghost" :aria-label="'Delete ' + one.name" title="Delete" @click="tell({ act: 'delete', index: one.index })"><span v-html="pictures.trash"></span></button>
            </div>
          </li>
        </ul>
        <div class="pager" v-if="!isFirst || (arrays.next ?? null) !== null">
          <button type="button" class="button" :disabled="isFirst" @click="page(null)">Newest</button>
          <button type="button" class="button" :disabled="(arrays.next ?? null) === null" @click="page(arrays.next)">Older</button>
        </div>
      </section>
    </div>`,
};
