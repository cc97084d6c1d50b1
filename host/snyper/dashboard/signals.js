// Live plots of streams. What is drawn is acknowledged with the screen's own frame, which a hidden tab does not get.
const LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 24;  // around the lines, in px
const TRACES = 8, MARKS = 100;
const SETTLED_MS = 200;  // after which a window that changes has its size
const isNarrow = matchMedia("(max-width: 40rem)");

const Plot = {
  props: { name: String, height: Number },
  template: `<canvas role="img" :aria-label="label" :data-columns="count" :data-breaks="breaks" :data-marks="marked" :data-highest="highest" :data-pointed="pointed"
    @pointermove="point($event.offsetX)" @pointerdown="point($event.offsetX)" @pointerleave="point(null)"></canvas>`,
  data() {
    return { label: this.name, count: 0, marked: 0, pointed: null, breaks: 0, highest: null };
  },
  created() {
    this.about = null;
    this.rows = [];
    this.marks = [];
    this.pointer = null;  // px
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
        this.rows = [];
      }
      if (news.marks) this.marks.push(...news.marks);
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
      this.marks = this.marks.filter(([at_us]) => at_us >= oldest * this.about.width_us).slice(-MARKS);
    },
    // The instants at both edges, in the hub's clock.
    edges() {
      if (!this.rows.length) return null;
      const to = (this.rows[this.rows.length - 1].number + 1) * this.about.width_us;
      return { from_us: to - this.about.columns * this.about.width_us, to_us: to };
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
      if (!this.rows.length) return;
      const style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(name).trim();
      const box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
      const { columns, width_us } = this.about;
      const last = this.rows[this.rows.length - 1].number;
      const step = (box.right - box.left) / columns;
      const x = (number) => box.right - (last - number + 0.5) * step;
      const range = rangeOf(this.rows);
      const y = (value) => box.bottom - ((value - range.low) / (range.high - range.low)) * (box.bottom - box.top);
      pen.font = `12px ${colour("--font")}`;
      this.drawGrid(pen, box, range, y, columns * width_us / 1e6, colour);
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
      this.drawMarks(pen, box, (at_us) => x(at_us / width_us - 0.5), colour);
      this.drawPointed(pen, box, step, last, colour);
      pen.restore();
      this.count = this.rows.length;
      this.breaks = breaks;
      this.marked = this.marks.length;
      this.highest = range.greatest;
      this.label = `${this.name}: from ${short(range.least)} to ${short(range.greatest)}`;
    },
    drawGrid(pen, box, range, y, span, colour) {
      pen.lineWidth = 1;
      pen.strokeStyle = colour("--line");
      pen.fillStyle = colour("--muted");
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const value of range.ticks) {
        const at = Math.round(y(value)) + 0.5;
        pen.beginPath();
        pen.moveTo(box.left, at);
        pen.lineTo(box.right, at);
        pen.stroke();
        pen.fillText(tick(value, range.step), box.left - 8, at);
      }
      pen.textBaseline = "top";
      const step = nice(span / 6);
      for (let count = 0; count * step <= span * 1.0001; count++) {
        const at = box.right - (count * step / span) * (box.right - box.left);
        pen.beginPath();
        pen.moveTo(Math.round(at) + 0.5, box.bottom);
        pen.lineTo(Math.round(at) + 0.5, box.bottom + 4);
        pen.stroke();
        pen.textAlign = count === 0 ? "right" : "center";
        if (at > box.left - 4) pen.fillText(count === 0 ? "now" : `−${tick(count * step, step)} s`, at, box.bottom + 8);
      }
    },
    point(at) {
      this.pointer = at;
      this.draw();
    },
    // The values of the column that is pointed at, each from the least to the greatest.
    drawPointed(pen, box, step, last, colour) {
      this.pointed = null;
      if (this.pointer === null || this.pointer < box.left || this.pointer > box.right) return;
      const number = last - (box.right - this.pointer) / step + 0.5;
      const distance = (row) => Math.abs(row.number - number);
      const found = this.rows.reduce((best, row) => (distance(row) < distance(best) ? row : best));
      const at = box.right - (last - found.number + 0.5) * step;
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
  components: { Plot },
  data() {
    return { state: null, isPaused: false, isRolling: false, find: "", abouts: {} };
  },
  computed: {
    spanAt() {
      return this.state.spans_s.indexOf(this.state.span_s);
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
        this.state = frame.state;
        this.restore();
      }
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
    zoom(by) {
      const span_s = this.state?.spans_s[this.spanAt + by];
      if (span_s) this.tell({ act: "span", span_s });
    },
    pause() {
      this.isPaused = !this.isPaused;
      this.tell({ act: "pause", on: this.isPaused });
    },
    roll() {
      this.isRolling = !this.isRolling;
      this.tell({ act: "rolling", on: this.isRolling });
    },
    download(name) {
      const edges = this.plot(name)?.edges();
      if (!edges) return;
      const link = document.createElement("a");
      link.href = `/export/signal?${new URLSearchParams({ name, ...edges })}`;
      link.download = "";
      link.click();
    },
    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (event.target.closest("input, textarea, select, [contenteditable], [role=combobox], .q-dialog")) return;
      if (event.key === "p") this.pause();
      else if (event.key === "r") this.roll();
      else if (event.key === "+") this.zoom(-1);
      else if (event.key === "-") this.zoom(1);
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
          <button type="button" class="button" :aria-pressed="String(isPaused)" @click="pause">
            <span v-html="isPaused ? pictures.play : pictures.pause"></span><span>{{ isPaused ? "Go on" : "Pause" }}</span>
          </button>
          <div class="span" role="group" aria-label="Seconds that are seen">
            <button type="button" class="button ghost" aria-label="Less time" title="Less time: +" :disabled="spanAt === 0" @click="zoom(-1)"><span v-html="pictures.plus"></span></button>
            <output>{{ state.span_s }} s</output>
            <button type="button" class="button ghost" aria-label="More time" title="More time: -" :disabled="spanAt === state.spans_s.length - 1" @click="zoom(1)"><span v-html="pictures.minus"></span></button>
          </div>
          <button type="button" class="button" :aria-pressed="String(isRolling)" title="Rolling mean and deviation: R" @click="roll">Rolling mean</button>
        </div>
        <p v-else class="hint">Choose a stream, or several.</p>
        <section v-for="one in state.shown" :key="one.name" class="panel signal" :aria-label="one.name" :data-live="String(one.live)">
          <header>
            <h2 :title="one.name">{{ one.name }}</h2>
            <div>
              <button type="button" class="button ghost record" :aria-pressed="String(one.recorded)" :aria-label="(one.recorded ? 'End the recording of ' : 'Record ') + one.name" :title="one.recorded ? 'End the recording' : 'Record'"
                @click="tell({ act: 'record', name: one.name, on: !one.recorded })"><span v-html="one.recorded ? pictures.stop : pictures.record"></span></button>
              <button type="button" class="button ghost" :aria-label="'Download what is seen of ' + one.name" title="Download what is seen (.npy)" @click="download(one.name)"><span v-html="pictures.download"></span></button>
              <button type="button" class="button ghost" :aria-label="'Close ' + one.name" title="Close" @click="tell({ act: 'choose', name: one.name })"><span v-html="pictures.close"></span></button>
            </div>
          </header>
          <p class="how" role="status" :data-bad="String(one.bad)">{{ one.bad ? "⚠ " + one.words : one.words }}</p>
          <p v-if="one.recording" class="recording" :data-bad="String(one.recording_bad)"><i class="recorded" v-if="one.recorded" aria-hidden="true"></i>{{ one.recording_bad ? "⚠ " + one.recording : one.recording }}</p>
          <Plot ref="plots" :name="one.name" />
          <ul class="channels" v-if="abouts[one.name]">
            <li v-for="(name, at) in abouts[one.name].names" :key="at" v-show="name || abouts[one.name].units[at]"><i :class="'trace-' + at"></i>{{ name }}<span v-if="abouts[one.name].units[at]">{{ abouts[one.name].units[at] }}</span></li>
            <li v-if="abouts[one.name].more">and {{ abouts[one.name].more }} more</li>
            <li v-if="isRolling">mean and deviation of {{ Number(abouts[one.name].rolling_s.toPrecision(2)) }} s</li>
          </ul>
        </section>
      </template>
    </div>`,
};
