// The wall of cameras and their records. What is drawn is acknowledged with the screen's own frame, which a hidden tab does not get.
const KEEPS = ["words", "problem", "is_read", "where", "hub", "count", "cut", "cameras", "places", "is_first", "found", "figures", "rules"];

const isNarrow = matchMedia("(max-width: 40rem)");

const timeOf = (at_s, isExact) => new Date(at_s * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: isExact ? "2-digit" : undefined });
function lengthOf(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [name, size] = units.find(([, one]) => seconds >= one) || units[3];
  return `${Math.max(0, Math.floor(seconds / size))} ${name}`;
}

// A picture, with the boxes of what was seen on it. Where its size is not known, the browser has to have it whole for that.
const Shot = {
  props: { one: Object, isLarge: Boolean, words: String },
  data() {
    return { isGone: false, natural: null };
  },
  computed: {
    boxes() {
      return this.one?.boxes || [];
    },
    source() {
      if (!this.one) return null;
      return this.isLarge || (this.boxes.length && !this.one.size) ? this.one.picture : this.one.thumbnail;
    },
    size() {
      return this.one.size || this.natural;
    },
    letter() {
      // As wide as it is shown: a high picture has room at its sides.
      const [width, height] = this.size;
      return isNarrow.matches ? Math.max(width, 1.35 * height) / 24 : Math.max(width, 2.4 * height) / 45;
    },
  },
  watch: {
    source() {
      this.isGone = false;
      this.natural = null;
    },
  },
  methods: {
    loaded(event) {
      this.natural = [event.target.naturalWidth, event.target.naturalHeight];
    },
  },
  template: `
    <span class="shot">
      <img v-if="source && !isGone" :src="source" :alt="words" :loading="isLarge ? 'eager' : 'lazy'" decoding="async" @load="loaded" @error="isGone = true" />
      <span v-else class="none">{{ isGone ? "The picture is not to be had" : "No picture" }}</span>
      <svg v-if="boxes.length && size && !isGone" :viewBox="'0 0 ' + size[0] + ' ' + size[1]" aria-hidden="true">
        <g v-for="(box, at) in boxes" :key="at" :class="box.kind">
          <rect :x="box.x" :y="box.y" :width="box.width" :height="box.height" />
          <text v-if="isLarge && box.words" :x="box.x" :y="Math.max(box.y - letter / 3, letter)" :font-size="letter">{{ box.words }}</text>
        </g>
      </svg>
    </span>`,
};

const Tile = {
  props: { tile: Object, age: String, isKnown: Boolean, pictures: Object },
  emits: ["enlarge", "look"],
  components: { Shot },
  computed: {
    isHere() {
      return this.isKnown && this.tile.state === "here";
    },
    state() {
      if (!this.isKnown) return "not known";
      return this.tile.state === "asleep" && this.tile.asleep_until ? `asleep until ${timeOf(this.tile.asleep_until)}` : this.tile.state;
    },
    isWell() {
      return !this.tile.health || this.tile.health.toLowerCase() === "healthy";
    },
  },
  template: `
    <article class="camera" :aria-label="tile.name" :data-live="String(isHere)" :data-state="isKnown ? tile.state : 'unknown'">
      <button type="button" class="large" :disabled="!tile.record" :aria-label="'Enlarge the last picture of ' + tile.name" @click="$emit('enlarge')">
        <Shot :one="tile.record" words="" />
        <span class="plates" v-if="tile.record && tile.record.plates.length"><b v-for="plate in tile.record.plates.slice(0, 3)">{{ plate }}</b></span>
      </button>
      <header>
        <h3 :title="tile.name">{{ tile.name }}</h3>
        <span class="state" role="status"><span v-if="!isHere" v-html="tile.state === 'asleep' ? pictures.sleep : pictures.lost"></span><span>{{ state }}</span></span>
      </header>
      <p class="about"><span :title="tile.place">{{ tile.place }}</span><span class="age">{{ age }}</span></p>
      <ul v-if="!isWell || tile.warnings.length">
        <li v-if="!isWell">⚠ health: {{ tile.health }}</li>
        <li v-for="warning in tile.warnings" :key="warning">⚠ {{ warning }}</li>
      </ul>
      <button type="button" class="button ghost wide" :aria-label="'Records of ' + tile.name" @click="$emit('look')"><span v-html="pictures.find"></span><span>{{ tile.detections.toLocaleString("en") }} {{ tile.detections === 1 ? "record" : "records" }}</span></button>
    </article>`,
};

export default {
  props: { pictures: Object },
  emits: ["act"],
  components: { Shot, Tile },
  data() {
    return {
      state: null, tiles: {}, order: [], ahead_s: 0, tick_s: 0, find: "",
      form: { plate: "", camera_id: "", checkpoint_id: "", from: "", until: "", visits: false },
      large: null, isInRecords: false,
    };
  },
  computed: {
    shown() {
      return this.order.map((id) => this.tiles[id]).filter(Boolean);
    },
    records() {
      return this.state?.found?.records || [];
    },
    isAsked() {
      const { plate, camera_id, checkpoint_id, from, until } = this.form;
      return !!(plate || camera_id || checkpoint_id || from || until);
    },
    // As it is known now: it may have been protected meanwhile.
    record() {
      return this.large && (this.records.find((one) => this.isSame(one, this.large)) || this.large);
    },
    at() {
      return this.isInRecords && this.large ? this.records.findIndex((one) => this.isSame(one, this.large)) : -1;
    },
  },
  mounted() {
    this.isHere = true;
    this.ticking = setInterval(() => { if (!document.hidden) this.tick_s = performance.now() / 1000; }, 1000);
    document.addEventListener("keydown", this.press);
    this.tell({ act: "ready" });
  },
  beforeUnmount() {
    this.isHere = false;
    clearInterval(this.ticking);
    document.removeEventListener("keydown", this.press);
  },
  methods: {
    timeOf,
    tell(what) {
      this.$emit("act", what);
    },
    take(frame) {
      if (frame.now_s) {
        this.tick_s = performance.now() / 1000;
        this.ahead_s = frame.now_s - this.tick_s;
      }
      for (const tile of frame.tiles || []) this.tiles[tile.id] = tile;
      if (frame.order) {
        this.order = frame.order;
        const listed = new Set(frame.order);
        for (const id of Object.keys(this.tiles)) if (!listed.has(id)) delete this.tiles[id];
      }
      const news = Object.fromEntries(KEEPS.filter((name) => name in frame).map((name) => [name, frame[name]]));
      if (this.state || Object.keys(news).length) this.state = { ...this.state, ...news };
      requestAnimationFrame(() => {
        if (this.isHere) this.tell({ act: "drawn", number: frame.number });
      });
    },
    ageOf(tile) {
      if (tile.seen_s === null) return "";
      const seconds = this.tick_s + this.ahead_s - tile.seen_s;
      return seconds < 1 ? "now" : `${lengthOf(seconds)} ago`;
    },
    isSame(one, other) {
      return one.cursor === other.cursor && one.id === other.id;
    },
    when(one) {
      if (one.at_s === null) return "at an unknown time";
      const begin = timeOf(one.at_s, true);
      return one.until_s && one.until_s - one.at_s >= 1 ? `${begin}, for ${lengthOf(one.until_s - one.at_s)}` : begin;
    },
    search(more = {}) {
      Object.assign(this.form, more);
      const { from, until, ...words } = this.form;
      const at_s = (field) => (field ? new Date(field).getTime() / 1000 : null);
      this.tell({ act: "search", ...words, from_s: at_s(from), until_s: at_s(until) });
    },
    clear() {
      this.search({ plate: "", camera_id: "", checkpoint_id: "", from: "", until: "" });
    },
    lookAt(tile) {
      this.search({ plate: "", camera_id: tile.id, checkpoint_id: "", from: "", until: "", visits: false });
      this.$refs.records.scrollIntoView({ block: "start" });
      this.$refs.plate.focus({ preventScroll: true });
    },
    addressOf(extension) {
      const at_s = (field) => (field ? new Date(field).getTime() / 1000 : "");
      const { plate, camera_id, checkpoint_id, from, until } = this.form;
      const asked = { plate, camera_id, checkpoint_id, from_s: at_s(from), until_s: at_s(until) };
      return `/export/cameras/records.${extension}?${new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== ""))}`;
    },
    enlarge(one, isInRecords) {
      this.large = one;
      this.isInRecords = isInRecords;
      this.$nextTick(() => { if (!this.$refs.large.open) this.$refs.large.showModal(); });
    },
    step(by) {
      const next = this.records[this.at + by];
      if (this.at >= 0 && next) this.large = next;
    },
    filterWords() {
      this.tell({ act: "find", words: this.find });
    },
    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input, textarea, select, [contenteditable], [role=combobox], .q-dialog")) return;
      if (this.large && this.$refs.large.open) {
        if (event.key === "ArrowLeft") this.step(-1);
        else if (event.key === "ArrowRight") this.step(1);
      } else if (event.key === "/" && this.$refs.plate) {
        event.preventDefault();
        this.$refs.plate.focus();
      }
    },
  },
  template: `
    <div>
      <p class="subtitle" role="status">{{ state ? state.words : "Reading …" }}</p>
      <p v-if="state && state.problem && state.is_read" class="alarm" role="alert"><span v-html="pictures.lost"></span><span>The gateway at {{ state.where }} is lost: {{ state.problem }}. This page goes on by itself as soon as it is back.</span></p>
      <section v-if="state && !state.count && (state.problem || state.is_read)" class="empty">
        <span class="sign-of-page" v-html="pictures.cameras"></span>
        <template v-if="state.problem">
          <h2>No cameras to be had at {{ state.where }}</h2>
          <p class="why">{{ state.problem[0].toUpperCase() + state.problem.slice(1) }}.</p>
          <p>A gateway with cameras is begun so; another one than this is named by <code>snyper dashboard --cameras URL</code>:</p>
          <code>snyper gateway --cameras cameras --listen 127.0.0.1:8765</code>
        </template>
        <template v-else>
          <h2>No camera here yet</h2>
          <p>What cameras send to {{ state.where }} is seen here. To try it, with a hub that the gateway has:</p>
          <code>snyper simulate-cameras -n 4 --hub {{ state.hub }}</code>
        </template>
      </section>
      <template v-if="state && state.count">
        <section class="wall" aria-label="Wall of cameras">
          <div class="heads" v-if="state.count > 12 || find || state.cut">
            <input v-model="find" class="find" type="search" placeholder="Find a camera or place" aria-label="Find a camera or place" @input="filterWords" />
            <span v-if="state.cut" class="hint">{{ state.cut }}: find the others by name</span>
          </div>
          <div class="tiles-of">
            <Tile v-for="tile in shown" :key="tile.id" :tile="tile" :age="ageOf(tile)" :isKnown="!state.problem" :pictures="pictures" @enlarge="enlarge(tile.record, false)" @look="lookAt(tile)" />
          </div>
          <p v-if="!shown.length" class="hint">No camera has “{{ find }}” in its name, its place or its state.</p>
        </section>
        <dl class="stats"><div v-for="[name, value, more] in state.figures" :key="name"><dt>{{ name }}</dt><dd>{{ value }}</dd><dd class="more">{{ more }}</dd></div></dl>
        <section class="panel records" aria-label="Records" ref="records">
          <header>
            <h2>Records</h2>
            <div class="zones" role="group" aria-label="What is listed">
              <button type="button" class="button zone" :aria-pressed="String(!form.visits)" @click="search({ visits: false })">Each</button>
              <button type="button" class="button zone" :aria-pressed="String(form.visits)" @click="search({ visits: true })">Visits</button>
            </div>
          </header>
          <form @submit.prevent="search()">
            <label>Plate<input ref="plate" v-model="form.plate" maxlength="128" autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder="ABC1234, AB*, ~1ABC1234" aria-describedby="plate-help" /></label>
            <label>Camera<input v-model="form.camera_id" list="known-cameras" maxlength="128" autocomplete="off" placeholder="any" /></label>
            <label>Checkpoint<input v-model="form.checkpoint_id" list="known-places" maxlength="128" autocomplete="off" placeholder="any" /></label>
            <label class="time">From<input v-model="form.from" type="datetime-local" max="9999-12-31T23:59" /></label>
            <label class="time">Until<input v-model="form.until" type="datetime-local" max="9999-12-31T23:59" /></label>
            <div class="actions">
              <button type="submit" class="button primary"><span v-html="pictures.find"></span><span>Search</span></button>
              <button type="button" class="button" :disabled="!isAsked" @click="clear">Clear</button>
            </div>
            <datalist id="known-cameras"><option v-for="one in state.cameras" :key="one" :value="one"></option></datalist>
            <datalist id="known-places"><option v-for="one in state.places" :key="one" :value="one"></option></datalist>
          </form>
          <p class="hint" id="plate-help"><code>*</code> is any letters, <code>?</code> one, and <code>~1</code> before a plate lets one letter differ. Times are those of this computer.</p>
          <p v-if="!state.found" class="hint" role="status">Reading …</p>
          <template v-else>
            <p v-if="state.found.problem" class="alarm" role="alert"><span v-html="pictures.lost"></span><span>These could not be looked for: {{ state.found.problem }}</span></p>
            <div class="heads">
              <p class="hint" role="status">{{ state.found.visits ? "Visits: a vehicle, for as long as a camera saw it" : state.found.count.toLocaleString("en") + (state.found.count === 1 ? " record" : " records") }}</p>
              <div class="toolbar">
                <a v-for="extension in ['csv', 'zip']" class="button" download :href="addressOf(extension)" :aria-label="'Download these records as ' + extension.toUpperCase()" :title="extension === 'zip' ? 'With the pictures, and a list of their hashes' : 'For a spreadsheet'"><span v-html="pictures.download"></span><span>{{ extension.toUpperCase() }}</span></a>
              </div>
            </div>
            <p v-if="!records.length && !state.found.problem" class="hint">{{ isAsked ? "No such record." : "There is no record yet." }}</p>
            <ul class="found">
              <li v-for="one in records" :key="one.id + '/' + one.cursor">
                <button type="button" class="large" :aria-label="'Enlarge ' + (one.plates.join(', ') || 'a detection') + ' at ' + one.camera + ', ' + when(one)" @click="enlarge(one, true)">
                  <Shot :one="one" words="" />
                  <strong v-if="one.plates.length">{{ one.plates.join(", ") }}</strong><strong v-else class="nobody">no plate</strong>
                  <span class="where">{{ one.camera }}<template v-if="one.place"> · {{ one.place }}</template></span>
                  <span class="time">{{ when(one) }}</span>
                  <span class="tags">
                    <em v-if="one.count">{{ one.count === 1 ? "once" : one.count + " times" }}</em>
                    <em v-if="one.protected"><span v-html="pictures.lock"></span>protected</em>
                    <em v-if="one.double">perhaps twice</em>
                    <em v-for="warning in one.warnings.slice(0, 2)" class="bad">⚠ {{ warning }}</em>
                  </span>
                </button>
              </li>
            </ul>
            <div class="pager" v-if="!state.is_first || state.found.next !== null">
              <button type="button" class="button" :disabled="state.is_first" @click="tell({ act: 'page', before: '' })">Newest</button>
              <button type="button" class="button" :disabled="state.found.next === null" @click="tell({ act: 'page', before: state.found.next })">Older</button>
            </div>
          </template>
        </section>
        <section v-if="state.rules.rules.length || state.rules.fired.length" class="panel" aria-label="Rules">
          <header><h2>Rules</h2></header>
          <p v-if="!state.rules.rules.length" class="hint">The gateway has none now.</p>
          <div v-else class="table" tabindex="0"><table>
            <thead><tr><th scope="col">Rule</th><th scope="col">When</th><th scope="col">Then</th></tr></thead>
            <tbody><tr v-for="(rule, at) in state.rules.rules" :key="at"><td v-for="(words, column) in rule" :data-head="['Rule', 'When', 'Then'][column]">{{ words || "–" }}</td></tr></tbody>
          </table></div>
          <h3>What they did</h3>
          <p v-if="!state.rules.fired.length" class="hint">Nothing yet.</p>
          <div v-else class="table" tabindex="0"><table>
            <thead><tr><th scope="col">Time</th><th scope="col">Rule</th><th scope="col">Camera</th><th scope="col">What</th></tr></thead>
            <tbody><tr v-for="(one, at) in state.rules.fired" :key="at"><td data-head="Time">{{ one.at_s === null ? "–" : timeOf(one.at_s, true) }}</td><td data-head="Rule">{{ one.rule || "–" }}</td><td data-head="Camera">{{ one.camera || "–" }}</td><td data-head="What">{{ one.what || "–" }}</td></tr></tbody>
          </table></div>
        </section>
      </template>
      <dialog ref="large" class="sheet enlarged" aria-label="A detection" @close="large = null" @click="$event.target === $refs.large && $refs.large.close()">
        <template v-if="record">
          <header>
            <h2>{{ record.plates.join(", ") || "No plate" }}</h2>
            <div>
              <template v-if="at >= 0">
                <button type="button" class="button ghost" aria-label="Newer" title="Newer: ←" :disabled="at === 0" @click="step(-1)"><span v-html="pictures.earlier"></span></button>
                <button type="button" class="button ghost" aria-label="Older" title="Older: →" :disabled="at === records.length - 1" @click="step(1)"><span v-html="pictures.later"></span></button>
              </template>
              <a v-if="record.picture" class="button ghost" download :href="record.picture" aria-label="Download the picture" title="Download the picture"><span v-html="pictures.download"></span></a>
              <button type="button" class="button ghost" aria-label="Close" title="Close: Esc" @click="$refs.large.close()"><span v-html="pictures.close"></span></button>
            </div>
          </header>
          <Shot :one="record" :isLarge="true" :words="'The picture of ' + (record.plates.join(', ') || 'a detection')" />
          <div class="crops" v-if="record.crops.length"><img v-for="crop in record.crops" :key="crop" :src="crop" alt="A plate" /></div>
          <dl class="facts">
            <div><dt>Camera</dt><dd>{{ record.camera }}</dd></div>
            <div v-if="record.place"><dt>Checkpoint</dt><dd>{{ record.place }}</dd></div>
            <div><dt>Time</dt><dd>{{ when(record) }}</dd></div>
            <div v-if="record.received_s"><dt>Received</dt><dd>{{ timeOf(record.received_s, true) }}</dd></div>
            <div v-if="record.count"><dt>Seen</dt><dd>{{ record.count === 1 ? "once" : record.count + " times" }}</dd></div>
            <div v-for="[name, value] in record.facts" :key="name"><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
          </dl>
          <p v-for="warning in record.warnings" :key="warning" class="problem">⚠ {{ warning }}</p>
          <p v-if="record.double" class="hint">The same was sent shortly before: it may be one detection that came twice.</p>
          <div class="actions" v-if="record.cursor">
            <span class="hint">{{ record.protected ? "It stays however old it gets." : "It goes when it is old." }}</span>
            <button type="button" class="button" @click="tell({ act: 'protect', cursor: record.cursor, on: !record.protected })"><span v-html="record.protected ? pictures.open_lock : pictures.lock"></span><span>{{ record.protected ? "Protect no more" : "Protect" }}</span></button>
          </div>
        </template>
      </dialog>
    </div>`,
};
