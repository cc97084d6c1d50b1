// The cards of targets. The page draws all its elements anew for a change of one: here only a card that changes.
const ActButton = {
  props: { card: Object, act: String, label: String, group: String, picture: String },
  inject: ["tell"],
  template: `
    <button type="button" class="button" :disabled="!!card.obstacle" :aria-label="label"
      :title="card.obstacle || (picture ? label : null)" :aria-description="card.obstacle || null"
      :aria-busy="card.doing.includes(act + (group || '')) || null"
      @click="tell({ act, name: card.name, group })">
      <span v-if="picture" v-html="picture"></span><slot></slot>
    </button>`,
};

const RangeCard = {
  props: { card: Object, pictures: Object },
  inject: ["tell"],
  components: { ActButton },
  data() {
    return { news: null };
  },
  watch: {
    // Two names for one animation: a second hit starts it anew. Where a hub begins anew, so does the count.
    "card.shots"(shots, before) {
      this.news = shots > before ? `${this.card.flashes}-${shots % 2}` : null;
    },
  },
  methods: {
    drag(event) {
      event.dataTransfer.setData("text/plain", "");
      event.dataTransfer.effectAllowed = "copy";
      document.body.classList.add("dragging");
      this.tell({ act: "drag", name: this.card.name });
    },
    drop() {
      document.body.classList.remove("dragging");
    },
  },
  template: `
    <article class="card" draggable="true" :aria-label="card.name" :data-state="card.state" :data-live="card.live"
      :data-chosen="card.chosen" :data-news="news" :aria-busy="card.busy" @dragstart="drag" @dragend="drop">
      <header>
        <h2 :title="card.name">{{ card.name }}</h2>
        <span class="state" role="status"><span v-html="pictures[card.icon]"></span><span>{{ card.words }}</span></span>
      </header>
      <div class="scene">
        <span v-html="pictures.target"></span>
        <div class="flash">{{ news ? card.flash : "" }}</div>
      </div>
      <div class="detail">
        <p class="last"><strong>{{ card.last }}</strong><span>{{ card.more }}</span></p>
        <ActButton class="ghost" act="identify" :card="card" :picture="pictures.identify" :label="'Identify ' + card.name" />
        <ActButton class="ghost" act="groups" :card="card" :picture="pictures.groups" :label="'Groups of ' + card.name" />
      </div>
      <div class="chips">
        <span class="chip" v-for="group in card.groups" :key="group"><span>{{ group }}</span>
          <ActButton class="tiny" act="leave" :card="card" :group="group" :picture="pictures.close"
            :label="'Take ' + card.name + ' out of ' + group" />
        </span>
      </div>
      <footer>
        <ActButton act="stand" :card="card" :label="'Stand ' + card.name + ' up'"><span>Stand</span></ActButton>
        <ActButton act="lay" :card="card" :label="'Lay ' + card.name + ' down'"><span>Lay</span></ActButton>
        <ActButton class="accent" act="activate" :card="card" :label="'Activate ' + card.name"><span>Activate</span></ActButton>
      </footer>
    </article>`,
};

const HealthCard = {
  props: { card: Object, pictures: Object },
  components: { ActButton },
  template: `
    <article class="panel" :aria-label="card.name" :data-state="card.state" :data-live="card.live">
      <header><h2 :title="card.name">{{ card.name }}</h2><span class="state">{{ card.words }}</span></header>
      <svg class="spark" viewBox="0 0 200 44" preserveAspectRatio="none" role="img" :aria-label="'Round trips to ' + card.name">
        <polygon v-if="card.spark" :points="'0,44 ' + card.spark + ' 200,44'" /><polyline :points="card.spark" />
      </svg>
      <dl class="facts">
        <div v-for="[name, value, bad] in card.facts" :key="name">
          <dt>{{ name }}</dt>
          <dd :data-fact="name" :data-bad="bad">{{ bad ? "⚠ " + value : value }}</dd>
        </div>
      </dl>
      <ActButton class="wide" act="log" :card="card" :label="'Read the log of ' + card.name">
        <span v-html="pictures.log"></span><span>Read its log</span>
      </ActButton>
    </article>`,
};

export default {
  props: { kind: String, pictures: Object, cards: Array },
  emits: ["act"],
  components: { range: RangeCard, health: HealthCard },
  provide() {
    return { tell: (what) => this.$emit("act", what) };
  },
  data() {
    return { shown: this.cards };
  },
  methods: {
    show(changed, names) {
      const known = new Map(this.shown.map((card) => [card.name, card]));
      for (const card of changed) known.set(card.name, card);
      this.shown = (names ?? this.shown.map((card) => card.name)).map((name) => known.get(name));
    },
  },
  template: `
    <div>
      <component v-for="card in shown" :key="card.name" :is="kind" :card="card" :pictures="pictures" />
    </div>`,
};
